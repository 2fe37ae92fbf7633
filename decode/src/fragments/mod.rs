//! Reassembly of IPv4 and IPv6 fragments (spec section 7).
//!
//! Bounds: [`MAX_DATAGRAMS`] incomplete datagrams and [`MAX_BYTES`] of memory, which grows with the
//! data received. At a bound the datagram whose last fragment is oldest gives way. Nothing is lost
//! from the counts: the fragments of a datagram that gives way or times out are handed back as a
//! packet to credit.
//!
//! Overlaps are resolved in favour of the first byte received, IPv6 included. Only what fills a
//! hole is used and counted. The checks of RFC 1858 and RFC 5722 against hostile overlap are not
//! made: this is an observer, and says what was on the wire.

mod datagram;
mod reassembler;
mod table;

pub use reassembler::Reassembler;

use crate::Packet;

/// Most incomplete datagrams at one time (FRG-9).
pub const MAX_DATAGRAMS: usize = 4096;
/// Most memory for incomplete datagrams, bookkeeping included (FRG-9).
pub const MAX_BYTES: usize = 16 << 20;
/// How long a datagram waits for its next fragment (FRG-11).
pub const TIMEOUT_NS: u64 = 60_000_000_000;

/// A datagram put together again.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// The whole as one packet: transport fields of the joined header; `packets` and `fragments`
    /// the number of fragments used, `bytes` the sum of theirs; VLAN, MACs and type of service of
    /// the fragment that completed it. `l4_at` and `payload_at` count from the start of `bytes`.
    pub packet: Packet,
    /// Payload of the IP datagram as far as it was captured without a gap. Shorter than the
    /// datagram when the snap length cut a fragment.
    pub bytes: &'a [u8],
}

/// What became of fragments and datagrams since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReassemblyStats {
    /// Fragments that filled a hole.
    pub used: u64,
    /// Fragments that held nothing new, neither stored nor counted (FRG-5).
    pub duplicates: u64,
    /// Fragments without payload, or ending at byte 0 or beyond 65,534, not counted (FRG-5).
    pub out_of_range: u64,
    /// Datagrams completed.
    pub completed: u64,
    /// Datagrams given up after [`TIMEOUT_NS`], credited.
    pub expired: u64,
    /// Datagrams given up for the bound on their number, credited.
    pub evicted_for_count: u64,
    /// Datagrams given up for the bound on memory, credited.
    pub evicted_for_memory: u64,
}
