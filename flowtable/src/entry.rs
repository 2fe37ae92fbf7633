//! What the table holds of a conversation: a hot line that every packet touches, and a cold line
//! for what is rare.

use decode::Packet;

use crate::key::{Key, STATE_MASK, Way};
use crate::record::Direction;
use crate::tcp::FirstPayload;

/// Bits of a hot entry's key tail that are not the key's.
pub(crate) mod state {
    /// The entry holds a conversation.
    pub(crate) const IN_USE: u64 = 1 << 0;
    /// A packet of the direction was seen; shift by the way.
    pub(crate) const SEEN: u64 = 1 << 1;
    /// What is pending was counted under a sampling rate of the one or the other kind: it changes
    /// with the rate.
    pub(crate) const RATE: u64 = 1 << 3;
    /// The direction sent FIN; shift by the way.
    pub(crate) const FIN: u64 = 1 << 5;
    /// FIN in both directions or RST in either: due at the next tick, then removed.
    pub(crate) const CLOSED: u64 = 1 << 7;
    /// Payload of the direction was seen; shift by the way.
    pub(crate) const PAYLOAD: u64 = 1 << 29;
    /// An application decoder wants the conversation's payload.
    pub(crate) const APP: u64 = 1 << 31;
}

/// One cache line per conversation. Counters are per [`Way`], since the last record.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Hot {
    addresses: [u64; 4],
    /// Key tail, with the [`state`] bits.
    tail: u64,
    pub(crate) packets: [u32; 2],
    /// Low 32 bits; carries go to [`Cold::byte_carries`].
    pub(crate) bytes: [u32; 2],
    pub(crate) tos: [u8; 2],
    pub(crate) tcp_flags: [u8; 2],
    /// Quarter of the last packet, either direction.
    pub(crate) last: u16,
    /// Quarter from which the next record is due.
    pub(crate) due: u16,
}

const _: () = assert!(size_of::<Hot>() == 64);

/// What most packets leave alone.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Cold {
    /// Number of the conversation's first frame.
    pub(crate) first_frame: u64,
    /// First payloads of both directions.
    pub(crate) payload: FirstPayload,
    pub(crate) fragments: [u32; 2],
    /// Source and destination MAC of each direction's first packet.
    pub(crate) macs: [[[u8; 6]; 2]; 2],
    /// Where the TCP state is; 0 for none.
    pub(crate) tcp: u32,
    /// Where the application's state is; 0 for none.
    pub(crate) app: u32,
    /// Above the 32 bits of [`Hot::bytes`].
    pub(crate) byte_carries: [u16; 2],
    pub(crate) direction: [Direction; 2],
    /// Direction of the conversation's first packet.
    pub(crate) first: Way,
}

const _: () = assert!(size_of::<Cold>() == 64);

impl Hot {
    /// `rate` is [`state::RATE`] or 0.
    pub(crate) fn new(key: &Key, rate: u64, last: u16, due: u16) -> Self {
        let tail = key.tail & !STATE_MASK | state::IN_USE | rate;
        Self { addresses: key.addresses, tail, last, due, ..Self::default() }
    }

    /// An entry without conversation that remembers the number of another.
    pub(crate) fn free(link: u64) -> Self {
        Self { addresses: [link, 0, 0, 0], ..Self::default() }
    }

    /// What [`Hot::free`] remembers.
    pub(crate) fn link(&self) -> u64 {
        self.addresses[0]
    }

    /// Whether this entry holds the conversation of `key`.
    #[inline(always)]
    pub(crate) fn is(&self, key: &Key) -> bool {
        self.addresses == key.addresses && (self.tail ^ key.tail) & !STATE_MASK == 0
    }

    pub(crate) fn key(&self) -> Key {
        Key { addresses: self.addresses, tail: self.tail & !STATE_MASK }
    }

    #[inline(always)]
    pub(crate) fn has(&self, bits: u64) -> bool {
        self.tail & bits == bits
    }

    #[inline(always)]
    pub(crate) fn set(&mut self, bits: u64) {
        self.tail |= bits;
    }

    #[inline(always)]
    pub(crate) fn clear(&mut self, bits: u64) {
        self.tail &= !bits;
    }

    /// Whether its counters were begun under the rate of this kind.
    #[inline(always)]
    pub(crate) fn is_counted_under(&self, rate: u64) -> bool {
        (self.tail ^ rate) & state::RATE == 0
    }

    /// Anything counted since the last record.
    #[inline(always)]
    pub(crate) fn is_pending(&self) -> bool {
        self.packets[0] | self.packets[1] != 0
    }

    /// Quarters since the last packet.
    #[inline(always)]
    pub(crate) fn idle(&self, now: u16) -> u16 {
        now.wrapping_sub(self.last)
    }

    /// Whether the record's time has come.
    #[inline(always)]
    pub(crate) fn is_due(&self, now: u16) -> bool {
        now.wrapping_sub(self.due).cast_signed() >= 0
    }
}

impl Cold {
    /// Notes what the first packet of a direction tells.
    pub(crate) fn begin(&mut self, way: Way, packet: &Packet, local_mac: Option<[u8; 6]>) {
        let i = way.index();
        self.macs[i] = [packet.src_mac, packet.dst_mac];
        self.direction[i] = match local_mac {
            Some(mac) if mac == packet.dst_mac => Direction::In,
            Some(mac) if mac == packet.src_mac => Direction::Out,
            _ => Direction::Unknown,
        };
    }
}
