//! Behaviour of the parser and the reassembler, rule by rule.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod captures;
mod fragments;
mod frames;
mod link;
mod network;
mod offload;
mod properties;
mod transport;
