//! Takes fragments, gives datagrams, and credits what never becomes one.

use super::datagram::Span;
use super::table::{Key, NEW_ENTRY_BYTES, Table};
use super::{Datagram, MAX_BYTES, MAX_DATAGRAMS, ReassemblyStats, TIMEOUT_NS};
use crate::{Fragment, Packet};

/// What the biggest datagram can take: 64 KiB of data with its holes and pieces at their worst.
const MIN_BYTES: usize = 1 << 20;

/// Joins the fragments of one reader. Memory grows on demand up to the bounds of this module.
#[derive(Debug)]
pub struct Reassembler {
    table: Table,
    /// The datagram given out last; its memory is used again.
    whole: Vec<u8>,
    clock: Clock,
    stats: ReassemblyStats,
    max_datagrams: usize,
    max_bytes: usize,
}

impl Default for Reassembler {
    fn default() -> Self {
        Self::new()
    }
}

impl Reassembler {
    /// One with the bounds of the specification, [`MAX_DATAGRAMS`] and [`MAX_BYTES`].
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(MAX_DATAGRAMS, MAX_BYTES)
    }

    /// One with other bounds, raised to 1 datagram and 1 MiB where they are lower: the biggest
    /// datagram must fit.
    #[must_use]
    pub fn with_limits(max_datagrams: usize, max_bytes: usize) -> Self {
        Self {
            table: Table::new(),
            whole: Vec::new(),
            clock: Clock::default(),
            stats: ReassemblyStats::default(),
            max_datagrams: max_datagrams.max(1),
            max_bytes: max_bytes.max(MIN_BYTES),
        }
    }

    /// Takes a fragment and gives its datagram if it was the last one missing.
    ///
    /// `packet` and `fragment` are what [`parse`](crate::parse) gave, `payload` is
    /// [`packet.payload(frame.data)`](Packet::payload), `now_ns` the time of the frame. Datagrams
    /// that give way to this one are passed to `credit`.
    pub fn push(
        &mut self,
        now_ns: u64,
        packet: &Packet,
        fragment: &Fragment,
        payload: &[u8],
        credit: &mut dyn FnMut(&Packet),
    ) -> Option<Datagram<'_>> {
        let now_ns = self.clock.advance_to(now_ns);
        let Some(span) = Span::of(fragment, packet.payload_len) else {
            self.stats.out_of_range += 1;
            return None;
        };
        let captured = payload.get(..packet.payload_len as usize).unwrap_or(payload);
        let key = Key::of(packet, fragment);
        if self.table.find(&key).is_none() {
            self.make_room_for_entry(credit);
            self.table.insert(key, now_ns);
        }
        let datagram = self.table.find(&key)?;
        let overlapped = datagram.overlapped(span);
        if overlapped.is_empty() {
            self.stats.duplicates += 1;
            return None;
        }
        let growth_bytes = datagram.growth_bytes(&overlapped, captured.len());
        self.table.touch(&key, now_ns);
        self.make_room_for_bytes(growth_bytes, &key, credit);

        self.stats.used += 1;
        let complete = self.table.update(&key, |datagram| {
            datagram.fill(span, overlapped, fragment, packet, captured);
            datagram.is_complete()
        })?;
        if !complete {
            return None;
        }
        self.stats.completed += 1;
        let packet = self.table.remove(&key)?.join(&mut self.whole);
        Some(Datagram { packet, bytes: &self.whole })
    }

    /// Gives up datagrams whose last fragment is more than [`TIMEOUT_NS`] ago. To be called at
    /// least every 2 s, also while no packet comes; costs nothing when none is due.
    pub fn expire(&mut self, now_ns: u64, credit: &mut dyn FnMut(&Packet)) {
        let now_ns = self.clock.advance_to(now_ns);
        while let Some((key, last_ns)) = self.table.oldest()
            && now_ns.saturating_sub(last_ns) > TIMEOUT_NS
        {
            self.stats.expired += 1;
            self.give_up(&key, credit);
        }
    }

    /// Gives up all datagrams, oldest first: at the end of a capture. They count as expired.
    pub fn flush(&mut self, credit: &mut dyn FnMut(&Packet)) {
        while let Some((key, _)) = self.table.oldest() {
            self.stats.expired += 1;
            self.give_up(&key, credit);
        }
    }

    /// Incomplete datagrams now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether no datagram is waiting for fragments.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.len() == 0
    }

    /// Memory that incomplete datagrams take now, in bytes, bookkeeping included.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.table.bytes()
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> ReassemblyStats {
        self.stats
    }

    fn make_room_for_entry(&mut self, credit: &mut dyn FnMut(&Packet)) {
        while self.table.len() >= self.max_datagrams
            && let Some((key, _)) = self.table.oldest()
        {
            self.stats.evicted_for_count += 1;
            self.give_up(&key, credit);
        }
        while self.table.bytes() + NEW_ENTRY_BYTES > self.max_bytes
            && let Some((key, _)) = self.table.oldest()
        {
            self.stats.evicted_for_memory += 1;
            self.give_up(&key, credit);
        }
    }

    /// Evicts others until `growth_bytes` more fit; `keep` alone always does.
    fn make_room_for_bytes(
        &mut self,
        growth_bytes: usize,
        keep: &Key,
        credit: &mut dyn FnMut(&Packet),
    ) {
        while self.table.bytes() + growth_bytes > self.max_bytes
            && let Some((key, _)) = self.table.oldest()
            && key != *keep
        {
            self.stats.evicted_for_memory += 1;
            self.give_up(&key, credit);
        }
    }

    fn give_up(&mut self, key: &Key, credit: &mut dyn FnMut(&Packet)) {
        if let Some(datagram) = self.table.remove(key) {
            credit(&datagram.credit());
        }
    }
}

/// Time that never goes back. Frames of several CPUs come slightly out of order, and the wall
/// clock can be set: neither may leave datagrams waiting for a time that is far ahead.
#[derive(Debug, Default)]
struct Clock {
    seen_ns: u64,
    elapsed_ns: u64,
}

impl Clock {
    /// A step back of more than this is a clock that was set, not disorder.
    const DISORDER_NS: u64 = 1_000_000_000;

    /// Time elapsed, not counting steps back.
    fn advance_to(&mut self, now_ns: u64) -> u64 {
        if now_ns >= self.seen_ns {
            self.elapsed_ns = self.elapsed_ns.saturating_add(now_ns - self.seen_ns);
            self.seen_ns = now_ns;
        } else if self.seen_ns - now_ns > Self::DISORDER_NS {
            self.seen_ns = now_ns;
        }
        self.elapsed_ns
    }
}
