//! Bodies of flow POSTs: 80 zero bytes, then one packed Cap'n Proto message (wire contract 3–5).
//!
//! Compression is the caller's. Encoding writes one segment of exactly the needed size; decoding
//! accepts any legal framing, larger structs and unknown union members, within fixed bounds.

mod decode;
mod encode;
mod record;
mod unpack;

pub use decode::{DecodeError, decode_body};
pub use encode::{EncodeError, Encoder, size_of_record, unpacked_size};
pub use record::{Record, ValueRef};

/// Length of the zero prefix, a retired key field (POST-3).
pub const PREFIX_BYTES: usize = 80;

/// A batch is split so that its unpacked message stays at or below this (wire contract, section 4).
pub const MAX_UNPACKED_BYTES: usize = 32 << 20;

/// Unpacked bytes of a message beside its records: segment table, root pointer, root, list tag.
pub const MESSAGE_OVERHEAD_BYTES: usize = 32;

/// Longest text value on the wire, without the terminating zero byte.
pub const MAX_TEXT_BYTES: usize = 384;

/// The largest unpacked message that [`decode_body`] reads, as other receivers do.
pub const MAX_DECODE_BYTES: usize = 128 << 20;

/// The most memory that [`decode_body`] gives out for records, values and texts together.
pub const MAX_RECORD_MEMORY_BYTES: usize = 256 << 20;

/// `app_protocol` of a record whose sender never set it: the schema's default.
pub const APP_PROTOCOL_UNSET: u32 = u32::MAX;
