//! A group of packets on its way through the table: parsed in place, then hashed, prefetched and
//! counted together (design D3).

use decode::Packet;

use crate::config::Moment;

/// Packets in a full group. Measured best at 16–32 (docs/decisions.md).
pub const GROUP: usize = 32;

/// Up to [`GROUP`] packets, each with its time and the number of its frame.
pub struct Group {
    packets: Box<[Packet; GROUP]>,
    origins: Box<[Origin; GROUP]>,
    len: usize,
}

/// When and where a packet came.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Origin {
    pub(crate) now: Moment,
    /// Number of its frame in the capture.
    pub(crate) frame: u64,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            packets: Box::new([Packet::default(); GROUP]),
            origins: Box::new([Origin::default(); GROUP]),
            len: 0,
        }
    }
}

impl Group {
    /// The free slot to parse the next packet into. It counts only after [`Group::commit`].
    ///
    /// # Panics
    /// When the group is full.
    #[inline]
    pub fn slot(&mut self) -> &mut Packet {
        &mut self.packets[self.len]
    }

    /// Keeps the packet in the slot: when it came, and the number of its frame in the capture.
    #[inline]
    pub fn commit(&mut self, now: Moment, frame: u64) {
        self.origins[self.len] = Origin { now, frame };
        self.len += 1;
    }

    /// True when there is no free slot.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.len == GROUP
    }

    /// True when nothing is committed.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets all packets.
    #[inline]
    pub fn clear(&mut self) {
        self.len = 0;
    }

    #[inline]
    pub(crate) fn packets(&self) -> &[Packet] {
        &self.packets[..self.len]
    }

    #[inline]
    pub(crate) fn origins(&self) -> &[Origin] {
        &self.origins[..self.len]
    }
}
