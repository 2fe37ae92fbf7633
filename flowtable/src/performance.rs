//! TCP metrics of the table's conversations: their states, the pool for unruly ones, latencies over
//! all connections.

use std::io;

use decode::Packet;
use mem::Slab;

use crate::group::Origin;
use crate::key::{Key, Way};
use crate::latency::Latencies;
use crate::tcp::{ConnectionIds, Details, Ending, Segment, TcpMetrics, TcpState};

/// One of so many conversations may be unruly at a time before records lack details.
const DETAILS_SHARE: usize = 16;
/// Even a small table has room for some.
const MIN_DETAILS: usize = 64;

/// The states of all TCP conversations of one table. A conversation holds the number of its state,
/// 0 for none.
pub(crate) struct Performance {
    states: Slab<TcpState>,
    /// First of the free states, each of which holds the number of the next; 0 for none.
    free: u32,
    details: Details,
    ids: ConnectionIds,
    pub(crate) latencies: Latencies,
}

impl Performance {
    /// Room for `capacity` conversations.
    pub(crate) fn new(capacity: usize, ids_key: u64) -> io::Result<Self> {
        Ok(Self {
            states: Slab::with_capacity(capacity)?,
            free: 0,
            details: Details::with_capacity(Self::details(capacity))?,
            ids: ConnectionIds::new(ids_key),
            latencies: Latencies::default(),
        })
    }

    /// Memory when every conversation is TCP.
    pub(crate) fn bytes(capacity: usize) -> usize {
        let details = Self::details(capacity).saturating_mul(Details::BYTES_EACH);
        capacity.saturating_mul(size_of::<TcpState>()).saturating_add(details)
    }

    fn details(capacity: usize) -> usize {
        (capacity / DETAILS_SHARE).max(MIN_DETAILS).min(capacity)
    }

    /// Hints that the state under `slot` is needed soon.
    #[inline(always)]
    pub(crate) fn prefetch(&self, slot: u32) {
        self.states.prefetch_whole(index(slot));
    }

    /// Takes in a segment; fills an empty `slot`.
    #[inline(always)]
    pub(crate) fn segment(&mut self, slot: &mut u32, way: Way, segment: &Segment) {
        if *slot == 0 {
            self.begin(slot);
        }
        if let Some(state) = self.states.as_mut_slice().get_mut(index(*slot)) {
            state.update(way, segment, &mut self.details);
        }
    }

    /// Whether the segment opens another connection on the ports of the one under `slot`.
    pub(crate) fn starts_anew(&self, slot: u32, way: Way, segment: &Segment) -> bool {
        let state = self.states.as_slice().get(index(slot));
        state.is_some_and(|state| state.starts_anew(way, segment))
    }

    /// How the connection under `slot` was opened, if that was seen ([`TcpState::opening`]).
    pub(crate) fn opening(&self, slot: u32) -> Option<(Way, [Option<u32>; 2])> {
        self.states.as_slice().get(index(slot))?.opening()
    }

    /// What the record of one direction says; counters begin anew.
    pub(crate) fn take(
        &mut self,
        slot: u32,
        way: Way,
        time_ns: u64,
        ending: Ending,
    ) -> Option<TcpMetrics> {
        let state = self.states.as_mut_slice().get_mut(index(slot))?;
        let metrics = state.take(way, time_ns, ending, &mut self.details);
        if let Some(handshake_us) = state.handshake_sample(way) {
            self.latencies.handshake(metrics.role, handshake_us);
        }
        Some(metrics)
    }

    /// Forgets the conversation under `slot`.
    pub(crate) fn release(&mut self, slot: &mut u32) {
        let number = std::mem::take(slot);
        if let Some(state) = self.states.as_mut_slice().get_mut(index(number)) {
            state.release(&mut self.details);
            state.set_link(self.free);
            self.free = number;
        }
    }

    /// The table is empty: states are given out from the first on again.
    pub(crate) fn reset(&mut self) {
        self.states.clear();
        self.free = 0;
    }

    /// Id of a conversation, 0 for protocols that have none.
    pub(crate) fn connection_id(&self, key: &Key) -> u32 {
        self.ids.of_key(key).unwrap_or(0)
    }

    pub(crate) fn note_capture_loss(&mut self, from_ns: u64, to_ns: u64) {
        self.details.note_capture_loss(from_ns, to_ns);
    }

    /// Connections that have details now, and those that found no room for them.
    pub(crate) fn details_used(&self) -> (u64, u64) {
        (self.details.in_use() as u64, self.details.refused())
    }

    /// There are as many states as conversations, so there is always one.
    #[cold]
    fn begin(&mut self, slot: &mut u32) {
        if let Some(state) = self.states.as_mut_slice().get_mut(index(self.free)) {
            *slot = self.free;
            self.free = state.link();
            *state = TcpState::default();
        } else if let Some(place) = self.states.push(TcpState::default()) {
            *slot = place as u32 + 1;
        }
    }
}

/// Place of a slot in the slab; that of slot 0 lies outside.
#[inline(always)]
fn index(slot: u32) -> usize {
    (slot as usize).wrapping_sub(1)
}

/// The segment of a packet whose bytes were captured as far as the metrics need them.
#[inline(always)]
pub(crate) fn segment(packet: &Packet, data: &[u8], origin: &Origin) -> Option<Segment> {
    Segment::new(packet, data, origin.time_ns, origin.gso_size)
}
