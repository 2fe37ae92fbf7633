//! TCP metrics as a state machine: segments in, what one record of one direction says out.
//!
//! Definitions are those of spec sections 11 and 12.3, with the corrected rules; beside the legacy
//! columns it keeps what they round away. Sequence numbers, times and counters wrap or saturate;
//! any segments in any order give figures, never a panic.
//!
//! A conversation has a [`TcpState`] of fixed size. What only an unruly connection needs (holes,
//! causes of retransmissions, windows that closed) lives in a pool, [`Details`], and is taken from
//! it when the connection leaves the ordinary path. When the pool is empty the connection goes on
//! without: holes are then forgotten, and its records say so.
//!
//! No clock, no sockets, no allocation: time comes with the segments.

mod ack;
mod cause;
mod details;
mod exchange;
mod handshake;
mod holes;
mod id;
mod metrics;
mod number;
mod options;
mod rtt;
mod segment;
mod sequence;
mod state;

pub use details::Details;
pub use exchange::{FirstPayload, clamped_ms};
pub use id::ConnectionIds;
pub use metrics::{Close, Ending, Role, TcpMetrics};
pub use options::{SackBlock, SackBlocks, SynOptions, Timestamps};
pub use rtt::Rtt;
pub use segment::Segment;
pub use state::TcpState;

/// The TCP flags that the metrics look at (RFC 9293 section 3.1).
pub mod flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronize sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// The acknowledgment field is significant.
    pub const ACK: u8 = 0x10;
}
