//! The kflow wire: schema, packed encode and decode, device, tag, DNS and metrics types.
//!
//! Knows nothing of the probe and does no I/O.
#![forbid(unsafe_code)]

mod flow;

pub use flow::{Custom, Flow, Value};
