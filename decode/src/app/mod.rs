//! Application protocols: what was asked, what came back, how long it took.
//!
//! Decoders take bytes and time and give [`Events`]; they know no flows, no sockets and no clock.
//! Datagram protocols see one datagram at a time and remember open questions in [`Pending`]; stream
//! protocols implement [`StreamDecoder`] over in-order bytes of both sides. Every buffer has a
//! bound. Any bytes give a clean result.

mod budget;
mod conversation;
pub mod datagram;
mod decoder;
pub mod dhcp;
pub mod dhcpv6;
pub mod dns;
mod event;
mod field;
pub mod http1;
pub mod http2;
mod kept;
pub mod mdns;
pub mod mysql;
mod pending;
mod ports;
pub mod postgres;
pub mod quic;
pub mod radius;
mod redact;
pub mod redis;
pub mod sip;
pub mod smtp;
pub mod sql;
pub mod ssh;
mod statement;
pub mod stream;
mod table;
mod talk;
mod text;
pub mod tls;
#[cfg(test)]
#[path = "../../tests/conversations/transcript.rs"]
mod transcript;

pub use budget::Budget;
pub use conversation::{Interest, MAX_CONVERSATION_BYTES, Opened, Peer, TcpConversation};
pub use decoder::{Datagram, Guess, Side, StreamDecoder, Verdict};
pub use event::{Attribute, Draft, EventView, Events, Kind, MAX_TEXT_BYTES, Pair, Value};
pub use field::{App, FIELDS, Face, Field, FieldInfo, Redaction};
pub use pending::{MAX_PENDING_AGE_US, Pending};
pub use ports::{Classify, PortLists, PortMatch, PortOf, Ports};
pub use redact::{Redactor, Treatment};
