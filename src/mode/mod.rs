//! What the modes other than flow take of packets: DNS responses and RADIUS accounting, no flow
//! records (spec 14 and 15).
//!
//! [`ModeReader`] turns frames into whole UDP datagrams, and into TCP segments where the filter lets
//! them pass; a [`Collect`] takes what it wants of them; what was taken goes as parcels to the
//! sender. Bounds: those of the reassembler; a parcel goes early at 1 MiB, in replay at 10 MB. Like
//! the flow engine it has no clock, thread or socket.

mod dns;
mod mirror;
mod radius;
mod reader;

use decode::Packet;
use export::posts::Parcel;

use crate::status::ModeCounters;

pub use dns::Dns;
pub use radius::Radius;
pub use reader::{ModeReader, Timing};

/// Takes what a mode is about out of packets, and keeps it until it is handed over.
pub trait Collect {
    /// One datagram or segment with its captured payload; `time_ns` since the Unix epoch.
    fn packet(&mut self, packet: &Packet, payload: &[u8], time_ns: u64);

    /// Frees what has waited too long, by the reader's time in ns.
    fn expire(&mut self, _elapsed_ns: u64) {}

    /// Bytes that wait to be handed over; 0 when nothing does.
    fn waiting_bytes(&self) -> usize;

    /// What waits, to be handed over.
    fn take(&mut self) -> Parcel;

    /// What became of packets so far.
    fn counters(&self) -> ModeCounters;
}
