//! The kflow wire: schema, packed encode and decode, device, tag, DNS and metrics types.
//!
//! Knows nothing of the probe and does no I/O. Every decoder takes any bytes and gives a value or
//! a typed error; what it may allocate is bounded and documented with it.
#![forbid(unsafe_code)]

pub mod api;
pub mod dns;
mod flow;
// Generated from schema/kflow.capnp and committed, so that building needs no schema compiler.
// After a change of the schema, with capnp 0.9 or later and `cargo install capnpc --version 0.27.0`:
//     cd kflow && capnp compile -orust:src --src-prefix=schema schema/kflow.capnp
#[rustfmt::skip]
#[allow(clippy::all, warnings, clippy::pedantic, reason = "generated code is kept as generated")]
mod kflow_capnp;
pub mod tags;
pub mod tsdb;
pub mod wire;

pub use flow::{Custom, Flow, Value};
