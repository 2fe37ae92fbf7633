//! Conversations of real clients and servers, against expectations written by hand and against
//! tshark.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod guesses;
mod mysql;
mod postgres;
mod recordings;
mod redis;
mod sip;
mod smtp;
mod transcript;

use decode::app::{EventView, Events, Kind, Side, StreamDecoder, Value, Verdict};
