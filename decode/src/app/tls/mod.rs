//! TLS handshakes in clear.

pub mod client_hello;
mod ja4;
mod reader;

pub use client_hello::ClientHello;
pub use ja4::{Ja4, Transport};
