//! When records are cut and conversations end: the sweep, eviction, and the final flush.
//!
//! Two drivers, one rule. Live, a clock hand visits a few entries per call and comes round in two
//! seconds (design D4). In replay, every entry is visited at each two-second tick of packet time,
//! and what is due is cut in order of first appearance, so that the output depends on the capture
//! alone.

use crate::apps::Apps;
use crate::config::Moment;
use crate::cut::Cut;
use crate::entry::state;
use crate::key::Way;
use crate::record::Record;
use crate::table::FlowTable;
use crate::tcp::{Ending, TcpMetrics};

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
        let visits = self.owed.min(MOST_VISITS);
        self.settle(visits as usize, now, sink);
        for _ in 0..visits {
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
        self.settle(usize::MAX, now, sink);
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
        let (hot, cold) = (&self.store.hot[entry], &mut self.store.cold[entry]);
        self.performance.release(&mut cold.tcp);
        if let Some(apps) = &mut self.apps {
            apps.release(&mut cold.app, hot.key().protocol());
        }
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
        let cold = &self.store.cold[entry];
        let (first, slot) = (cold.first, cold.app);
        if let Some(apps) = &mut self.apps {
            apps.learn_facts(slot, self.store.hot[entry].key().protocol());
        }
        for way in [first, first.other()] {
            if self.store.hot[entry].packets[way.index()] != 0 {
                let (record, tcp) = self.take(entry, way, now, ending);
                let event = self.apps.as_ref().and_then(Apps::facts);
                sink(Cut { record: &record, tcp: tcp.as_ref(), event });
            }
        }
    }

    /// Cuts a record for each message that the last packet has completed, if its direction is
    /// exported.
    pub(crate) fn report(
        &mut self,
        entry: usize,
        way: Way,
        export: [bool; 2],
        now: Moment,
        sink: &mut impl FnMut(Cut<'_>),
    ) {
        let protocol = self.store.hot[entry].key().protocol();
        let slot = self.store.cold[entry].app;
        for number in 0.. {
            let event = |apps: &Option<Apps>| -> Option<(Way, Option<u64>)> {
                let (way, event) = apps.as_ref()?.event(number, slot, way, protocol)?;
                Some((way, event.latency_us))
            };
            let Some((way, latency_us)) = event(&self.apps) else { break };
            if let Some(latency_us) = latency_us {
                self.performance.latencies.application(latency_us);
            }
            if !export[way.index()] {
                continue;
            }
            let (record, tcp) = self.take(entry, way, now, Ending::Open);
            let event = self.apps.as_ref().and_then(|apps| apps.event(number, slot, way, protocol));
            let event = event.map(|(_, event)| event);
            sink(Cut { record: &record, tcp: tcp.as_ref(), event });
        }
    }

    /// The record of one direction; its counters begin anew.
    fn take(
        &mut self,
        entry: usize,
        way: Way,
        now: Moment,
        ending: Ending,
    ) -> (Record, Option<TcpMetrics>) {
        let record = self.record(entry, way, now);
        let slot = self.store.cold[entry].tcp;
        let tcp = self.performance.take(slot, way, now.wall_ns, ending);
        self.stats.records += 1;
        let (hot, cold, i) = (&mut self.store.hot[entry], &mut self.store.cold[entry], way.index());
        (hot.packets[i], hot.bytes[i], hot.tos[i], hot.tcp_flags[i]) = Default::default();
        (cold.byte_carries[i], cold.fragments[i]) = Default::default();
        (record, tcp)
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
            sample_rate: self.rate_of(entry),
            app: self.apps.as_ref().and_then(|apps| apps.app(cold.app, key.protocol())),
            connection_id: self.performance.connection_id(&key),
            first_payload_us: cold
                .payload
                .latency_us(way)
                .map(|us| u32::try_from(us).unwrap_or(u32::MAX)),
        }
    }
}
