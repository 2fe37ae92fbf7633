//! Bytes to meaning: link, network and transport headers, fragments, and application protocols.
//!
//! [`parse`] turns one captured frame into one [`Packet`], written in place, without allocation;
//! [`fragments::Reassembler`] joins what [`parse`] calls a fragment. Lengths and counts come from
//! the headers and the wire length, never from the number of bytes captured, so a short snap
//! length changes no count. [`app`] has the protocols above.
//!
//! Knows nothing of flows, does no I/O and reads no clock. Any bytes give a clean result.
#![forbid(unsafe_code)]

pub mod app;
pub mod fragments;
mod frame;
mod ipv4;
mod ipv6;
mod link;
mod offload;
mod outcome;
mod packet;
mod parse;
mod transport;

pub use frame::{Frame, Link};
pub use outcome::{Fragment, Ignored, Malformed, Outcome};
pub use packet::Packet;
pub use parse::parse;
