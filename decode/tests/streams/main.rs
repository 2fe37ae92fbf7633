//! HTTP/1 and TLS over real connections: recordings of ours and the shared captures, each with
//! values written by hand, and `tshark` as second opinion where it is installed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod capture;
mod http;
mod tls;
