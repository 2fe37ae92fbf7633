//! Any bytes of both sides, gaps and ends leave the Redis decoder within its bounds.
//! Input: see `conversation`.
#![no_main]

mod conversation;

use decode::app::redis::{Redis, guess};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| conversation::play(input, &mut Redis::new(), guess, 64 << 10));
