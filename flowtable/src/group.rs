//! A group of packets on its way through the table: parsed in place, then hashed, prefetched and
//! counted together (design D3).

use decode::Packet;

use crate::config::Moment;

/// Packets in a full group. Measured best at 16–32 (docs/decisions.md).
pub const GROUP: usize = 32;

/// Up to [`GROUP`] packets, each with its bytes, its time and the number of its frame. Made anew
/// for each block of frames, whose bytes it borrows.
pub struct Group<'a> {
    packets: [Packet; GROUP],
    data: [&'a [u8]; GROUP],
    origins: [Origin; GROUP],
    len: usize,
}

/// When and where a packet came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin {
    /// The reader's time, which drives timers.
    pub now: Moment,
    /// When the packet passed, ns since the Unix epoch.
    pub time_ns: u64,
    /// Number of its frame in the capture; `u64::MAX` when it belongs to no single frame.
    pub frame: u64,
    /// Payload bytes of each wire segment of an offloaded frame, as the kernel gave it; 0 for none.
    pub gso_size: u16,
}

impl Default for Group<'_> {
    fn default() -> Self {
        Self {
            packets: [Packet::default(); GROUP],
            data: [&[]; GROUP],
            origins: [Origin::default(); GROUP],
            len: 0,
        }
    }
}

impl<'a> Group<'a> {
    /// The free slot to parse the next packet into. It counts only after [`Group::commit`].
    ///
    /// # Panics
    /// When the group is full.
    #[inline]
    pub fn slot(&mut self) -> &mut Packet {
        &mut self.packets[self.len]
    }

    /// Keeps the packet in the slot, which was parsed from `data`. Without its bytes, pass none:
    /// it is counted, and nothing more.
    #[inline]
    pub fn commit(&mut self, data: &'a [u8], origin: Origin) {
        self.data[self.len] = data;
        self.origins[self.len] = origin;
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
    pub(crate) fn data(&self) -> &[&'a [u8]] {
        &self.data[..self.len]
    }

    #[inline]
    pub(crate) fn origins(&self) -> &[Origin] {
        &self.origins[..self.len]
    }
}
