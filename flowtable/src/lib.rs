//! Packets to flow records: keys, the conversation table, counters and expiry.
//!
//! Sans-IO: time and packets are arguments, records are the result. No clock, no thread, no
//! socket. One table belongs to one reader; nothing is shared.
#![forbid(unsafe_code)]

mod record;

pub use record::{Direction, Record};
