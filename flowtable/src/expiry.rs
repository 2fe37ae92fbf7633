//! When records are cut and conversations end: the sweep, eviction, and the final flush.
//!
//! Two drivers, one rule. Live, a clock hand visits a few entries per call and comes round in two
//! seconds (design D4). In replay, every entry is visited at each two-second tick of packet time,
//! and what is due is cut in order of first appearance, so that the output depends on the capture
//! alone.

use crate::config::Moment;
use crate::cut::Cut;
use crate::entry::state;
use crate::key::Way;
use crate::record::Record;
use crate::table::FlowTable;
use crate::tcp::Ending;

/// The export tick: one round of the clock hand.
pub(crate) const TICK_NS: u64 = 2_000_000_000;
/// Between two records of a running flow, quarters of a second (15 s).
const ACTIVE: u16 = 60;
/// A TCP or UDP conversation is forgotten after so long without a packet (60 s).
const IDLE: u16 = 240;
/// The hand visits at most so many entries in one call: well under a millisecond.
const MOST_VISITS: u64 = 16_384;
/// Entries looked at to find one to evict.
const EVICTION_SAMPLE: usize = 16;

/// What a visit finds to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Nothing,
    Export,
    Close,
    Expire,
}

/// TCP and UDP: protocols with two directions that belong together.
fn keeps_state(protocol: u8) -> bool {
    matches!(protocol, 6 | 17)
}

impl FlowTable {
    /// Lets the clock hand go on to where it should be by `now`. For live capture; call at least
    /// every 100 ms.
    pub fn sweep(&mut self, now: Moment, sink: &mut impl FnMut(Cut<'_>)) {
        let elapsed = now.elapsed_ns.saturating_sub(self.hand_ns);
        let entries = self.store.hot.len() as u64;
        if elapsed >= TICK_NS || entries == 0 {
            // A call that comes late owes at most one round.
            self.owed = entries;
            self.hand_ns = now.elapsed_ns;
        } else {
            let visits = entries * elapsed / TICK_NS;
            self.owed = (self.owed + visits).min(entries);
            self.hand_ns += visits * TICK_NS / entries;
        }
        for _ in 0..self.owed.min(MOST_VISITS) {
            self.owed -= 1;
            if self.hand >= self.store.hot.len() {
                self.hand = 0;
            }
            self.visit(self.hand, now, sink);
            self.hand += 1;
        }
    }

    /// Visits every conversation. For replay: call at each tick, every 2 s of packet time from the
    /// first frame on, before the packets that follow it.
    pub fn tick(&mut self, now: Moment, sink: &mut impl FnMut(Cut<'_>)) {
        if self.is_empty() {
            // Nothing to visit, and what follows starts at the front again.
            self.store.reset();
            self.performance.reset();
            return;
        }
        let quarter = now.quarter();
        let mut due = std::mem::take(&mut self.due_now);
        due.clear();
        for entry in 0..self.store.hot.len() {
            if self.verdict(entry, quarter) != Verdict::Nothing {
                due.push((self.store.cold[entry].first_frame, entry as u32));
            }
        }
        due.sort_unstable();
        for &(_, entry) in &due {
            self.visit(entry as usize, now, sink);
        }
        self.due_now = due;
    }

    /// Cuts all that is pending, in order of first appearance, and empties the table.
    pub fn flush(&mut self, now: Moment, sink: &mut impl FnMut(Cut<'_>)) {
        let mut all = std::mem::take(&mut self.due_now);
        all.clear();
        for entry in 0..self.store.hot.len() {
            if self.store.is_used(entry) && self.store.hot[entry].is_pending() {
                all.push((self.store.cold[entry].first_frame, entry as u32));
            }
        }
        all.sort_unstable();
        for &(_, entry) in &all {
            self.cut(entry as usize, now, Ending::Open, sink);
        }
        for entry in 0..self.store.hot.len() {
            if self.store.is_used(entry) {
                self.note_end(entry);
            }
        }
        self.store.remove_all();
        self.performance.reset();
        self.due_now = all;
    }

    /// True when no conversation is held.
    pub fn is_empty(&self) -> bool {
        self.store.len() == 0
    }

    #[inline]
    fn verdict(&self, entry: usize, quarter: u16) -> Verdict {
        let hot = &self.store.hot[entry];
        if !hot.has(state::IN_USE) {
            return Verdict::Nothing;
        }
        if hot.has(state::CLOSED) {
            return Verdict::Close;
        }
        let due = hot.is_due(quarter);
        // Only these keep state that a later packet could need.
        let done = due && !hot.is_pending() && !keeps_state(hot.key().protocol());
        if done || hot.idle(quarter) >= IDLE {
            Verdict::Expire
        } else if due && hot.is_pending() {
            Verdict::Export
        } else {
            Verdict::Nothing
        }
    }

    #[inline]
    fn visit(&mut self, entry: usize, now: Moment, sink: &mut impl FnMut(Cut<'_>)) {
        let quarter = now.quarter();
        match self.verdict(entry, quarter) {
            Verdict::Nothing => {}
            Verdict::Export => {
                self.cut(entry, now, Ending::Open, sink);
                let hot = &mut self.store.hot[entry];
                let next = hot.due.wrapping_add(ACTIVE);
                let past = quarter.wrapping_sub(next).cast_signed() >= 0;
                hot.due = if past { quarter.wrapping_add(ACTIVE) } else { next };
            }
            Verdict::Close => self.close(entry, now, sink),
            Verdict::Expire => {
                self.stats.expired += 1;
                self.end(entry, now, Ending::Idle, sink);
            }
        }
    }

    /// Makes room for one conversation: of the next few entries the one that is idle the longest.
    pub(crate) fn evict_one(&mut self, now: Moment, sink: &mut impl FnMut(Cut<'_>)) {
        let quarter = now.quarter();
        let entries = self.store.hot.len();
        let mut oldest = None;
        for _ in 0..EVICTION_SAMPLE.min(entries) {
            if self.evict_at >= entries {
                self.evict_at = 0;
            }
            let hot = &self.store.hot[self.evict_at];
            let idle = if hot.has(state::CLOSED) { u16::MAX } else { hot.idle(quarter) };
            if hot.has(state::IN_USE) && oldest.is_none_or(|(_, most)| idle > most) {
                oldest = Some((self.evict_at, idle));
            }
            self.evict_at += 1;
        }
        if let Some((entry, _)) = oldest {
            self.stats.evicted += 1;
            self.end(entry, now, Ending::Open, sink);
        }
    }

    /// Ends a connection that has closed.
    pub(crate) fn close(&mut self, entry: usize, now: Moment, sink: &mut impl FnMut(Cut<'_>)) {
        self.stats.closed += 1;
        self.end(entry, now, Ending::Open, sink);
    }

    /// Cuts what is pending and removes the conversation.
    fn end(&mut self, entry: usize, now: Moment, ending: Ending, sink: &mut impl FnMut(Cut<'_>)) {
        self.cut(entry, now, ending, sink);
        self.note_end(entry);
        self.store.remove(entry);
    }

    fn note_end(&mut self, entry: usize) {
        self.performance.release(&mut self.store.cold[entry].tcp);
        let hot = &self.store.hot[entry];
        let both = hot.has(state::SEEN) && hot.has(state::SEEN << 1);
        if !both && keeps_state(hot.key().protocol()) {
            self.stats.one_sided += 1;
        }
    }

    /// Cuts up to two records, the conversation's first direction first, and clears the counters.
    pub(crate) fn cut(
        &mut self,
        entry: usize,
        now: Moment,
        ending: Ending,
        sink: &mut impl FnMut(Cut<'_>),
    ) {
        let first = self.store.cold[entry].first;
        for way in [first, first.other()] {
            if self.store.hot[entry].packets[way.index()] != 0 {
                let record = self.record(entry, way, now);
                let tcp =
                    self.performance.take(self.store.cold[entry].tcp, way, now.wall_ns, ending);
                self.stats.records += 1;
                sink(Cut { record: &record, tcp: tcp.as_ref(), event: None });
            }
        }
        let (hot, cold) = (&mut self.store.hot[entry], &mut self.store.cold[entry]);
        (hot.packets, hot.bytes, hot.tos, hot.tcp_flags) = Default::default();
        (cold.byte_carries, cold.fragments) = Default::default();
    }

    fn record(&self, entry: usize, way: Way, now: Moment) -> Record {
        let (hot, cold, i) = (&self.store.hot[entry], &self.store.cold[entry], way.index());
        let key = hot.key();
        let [(src, src_port), (dst, dst_port)] = key.endpoints(way);
        Record {
            time_ns: now.wall_ns,
            first_frame: cold.first_frame,
            src,
            dst,
            src_port,
            dst_port,
            protocol: key.protocol(),
            tos: hot.tos[i],
            tcp_flags: hot.tcp_flags[i],
            direction: cold.direction[i],
            vlan: key.vlan(),
            src_mac: cold.macs[i][0],
            dst_mac: cold.macs[i][1],
            packets: u64::from(hot.packets[i]),
            bytes: u64::from(cold.byte_carries[i]) << 32 | u64::from(hot.bytes[i]),
            fragments: cold.fragments[i],
            sample_rate: self.config.sampling.rate(),
            app: None,
            connection_id: self.performance.connection_id(&key),
            first_payload_us: cold
                .payload
                .latency_us(way)
                .map(|us| u32::try_from(us).unwrap_or(u32::MAX)),
        }
    }
}
