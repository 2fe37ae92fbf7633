//! QUIC, HTTP/2 and SSH of real programs, as `scripts/record` recorded them. Expectations were read
//! from `tshark`'s dissection by hand; where `tshark` is installed it is asked again.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod http2;
mod quic;
mod recording;
mod ssh;
