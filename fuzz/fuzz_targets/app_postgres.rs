//! Any bytes of both sides, gaps and ends leave the PostgreSQL decoder within its bounds.
//! Input: see `conversation`.
#![no_main]

mod conversation;

use decode::app::postgres::{Postgres, guess};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| conversation::play(input, &mut Postgres::new(), guess, 128 << 10));
