//! The conversation table: groups of packets in, records out.

use std::io;
use std::sync::Arc;

use decode::Packet;

use crate::apps::{self, Apps, Wish};
use crate::config::Config;
use crate::cut::Cut;
use crate::entry::{Cold, Hot, state};
use crate::group::{GROUP, Group, Origin};
use crate::index::Index;
use crate::key::{Key, Way, mix};
use crate::latency::Latencies;
use crate::performance::{self, Performance};
use crate::sampling::{Change, Decision};
use crate::stats::TableStats;
use crate::store::Store;
use crate::translate::Translations;

const TCP: u8 = 6;
const UDP: u8 = 17;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// Quarters in a second.
const PER_SECOND: u16 = 4;

/// One reader's conversations. Not shared; memory is reserved at start.
pub struct FlowTable {
    pub(crate) store: Store,
    pub(crate) performance: Performance,
    pub(crate) apps: Option<Apps>,
    pub(crate) config: Config,
    pub(crate) stats: TableStats,
    /// Where the clock hand stands, and how many entries it owes.
    pub(crate) hand: usize,
    pub(crate) owed: u64,
    pub(crate) hand_ns: u64,
    /// Where the search for the next conversation to evict goes on.
    pub(crate) evict_at: usize,
    /// Entries of one tick, sorted before they are cut (replay only).
    pub(crate) due_now: Vec<(u64, u32)>,
    /// The last change of the sampling rate.
    pub(crate) change: Change,
    work: Box<[Work; GROUP]>,
}

/// A packet between the passes of one group.
#[derive(Clone, Copy, Default)]
struct Work {
    key: Key,
    hash: u64,
    way: Way,
    export: [bool; 2],
    /// An entry whose tag fits, or `NONE`.
    candidate: usize,
}

const NONE: usize = usize::MAX;
/// Sampling leaves the packet out.
const IGNORED: usize = usize::MAX - 1;

impl FlowTable {
    /// Reserves memory for `config.capacity` conversations, committed as they come: about 150 bytes
    /// each, 340 for TCP.
    ///
    /// # Errors
    /// The kernel's refusal to map, or a capacity over 2³¹.
    pub fn new(config: Config) -> io::Result<Self> {
        let capacity = config.capacity.max(1);
        Ok(Self {
            store: Store::new(capacity, config.hash_key)?,
            performance: Performance::new(capacity, config.ids_key)?,
            apps: config.apps.clone().map(|apps| Apps::new(capacity, apps)),
            config,
            stats: TableStats::default(),
            hand: 0,
            owed: 0,
            hand_ns: 0,
            evict_at: 0,
            due_now: Vec::new(),
            change: Change::default(),
            work: Box::new([Work::default(); GROUP]),
        })
    }

    /// Bytes of memory that a table of this capacity uses when it is full of TCP, and decoders keep
    /// all that they may: `decoder_bytes`, `None` without decoders.
    pub fn bytes(capacity: usize, decoder_bytes: Option<usize>) -> usize {
        let apps = decoder_bytes.map_or(0, |bytes| Apps::bytes(capacity, bytes));
        Store::bytes(capacity).saturating_add(Performance::bytes(capacity)).saturating_add(apps)
    }

    /// Counts a group of packets. Records are cut only when a full table evicts, or a closed
    /// connection's ports are used again.
    pub fn update(&mut self, group: &Group<'_>, sink: &mut impl FnMut(Cut<'_>)) {
        let packets = group.packets();
        self.hash_and_prefetch(packets);
        self.find_and_prefetch(packets);
        for (i, packet) in packets.iter().enumerate() {
            let (work, data, origin) = (self.work[i], group.data()[i], &group.origins()[i]);
            if work.candidate == IGNORED {
                self.stats.packets_unsampled += u64::from(packet.packets);
                continue;
            }
            let way = work.way;
            let entry = match self.entry_of(&work) {
                Some(entry)
                    if !is_syn(packet) || !self.is_reused(entry, way, packet, data, origin) =>
                {
                    entry
                }
                Some(entry) => {
                    self.close(entry, origin.now, sink);
                    self.begin(&work, packet, origin, sink)
                }
                None => self.begin(&work, packet, origin, sink),
            };
            if !self.store.hot[entry].is_counted_under(self.change.kind) {
                self.renew(entry, origin.now, sink);
            }
            self.count(entry, &work, packet, origin.now.quarter());
            if packet.payload_len > 0 && !self.store.hot[entry].has(state::PAYLOAD << way.index()) {
                self.first_payload(entry, way, packet, origin);
            }
            if packet.protocol == TCP
                && let Some(segment) = performance::segment(packet, data, origin)
            {
                self.performance.segment(&mut self.store.cold[entry].tcp, way, &segment);
            }
            if self.store.hot[entry].has(state::APP) && apps::matters(packet) {
                self.decode(entry, &work, packet, data, origin, sink);
            }
            if packet.protocol == TCP && packet.tcp_flags & (FIN | RST) != 0 {
                self.note_close(entry, way, packet.tcp_flags);
            }
        }
    }

    /// Says that the capture lost packets between two packet times, ns since the Unix epoch. What
    /// was missed is then not held against the network (design D7). Times may lie ahead of the
    /// packets seen so far.
    pub fn note_capture_loss(&mut self, from_ns: u64, to_ns: u64) {
        self.performance.note_capture_loss(from_ns, to_ns);
    }

    /// Latencies over all conversations so far.
    pub fn latencies(&self) -> &Latencies {
        &self.performance.latencies
    }

    /// From now on, directions are judged by this MAC; those that are known keep theirs.
    pub fn set_local_mac(&mut self, mac: Option<[u8; 6]>) {
        self.config.local_mac = mac;
    }

    /// Reports these addresses and ports as others from now on. Conversations under the names they
    /// had end as if they fell silent.
    pub fn set_translations(&mut self, translations: Arc<Translations>) {
        self.config.translations = translations;
    }

    /// Counters and what the table holds now.
    pub fn stats(&self) -> TableStats {
        let (tcp_details, tcp_details_refused) = self.performance.details_used();
        let conversations = self.store.len() as u64;
        let apps = self.apps.as_ref().map(Apps::stats).unwrap_or_default();
        TableStats { conversations, tcp_details, tcp_details_refused, apps, ..self.stats }
    }

    #[inline(always)]
    fn hash_and_prefetch(&mut self, packets: &[Packet]) {
        if !self.config.translations.is_empty() {
            return self.translate_and_prefetch(packets);
        }
        for (work, packet) in self.work.iter_mut().zip(packets) {
            let (key, way) = Key::of(packet);
            let hash = self.store.hasher.hash(&key);
            *work = match self.config.sampling.decide(hash, way, packet.protocol) {
                Decision::Track { export } => {
                    self.store.index.prefetch(Index::tag(hash));
                    Work { key, hash, way, export, candidate: NONE }
                }
                Decision::Ignore => Work { candidate: IGNORED, ..Work::default() },
            };
        }
    }

    /// The same with translations: sampling decides by the ends as they are, all that follows knows
    /// the translated ones (TRN-7).
    #[inline(never)]
    fn translate_and_prefetch(&mut self, packets: &[Packet]) {
        for (work, packet) in self.work.iter_mut().zip(packets) {
            let (key, true_way) = Key::of(packet);
            let hash = self.store.hasher.hash(&key);
            *work = match self.config.sampling.decide(hash, true_way, packet.protocol) {
                Decision::Track { mut export } => {
                    let mut translated = *packet;
                    self.config.translations.apply(&mut translated);
                    let (key, way) = Key::of(&translated);
                    let hash = self.store.hasher.hash(&key);
                    if way != true_way {
                        export.reverse();
                    }
                    self.store.index.prefetch(Index::tag(hash));
                    Work { key, hash, way, export, candidate: NONE }
                }
                Decision::Ignore => Work { candidate: IGNORED, ..Work::default() },
            };
        }
    }

    /// Finds candidates and asks for what the packets will touch of them: the hot line, and for TCP
    /// the cold line and then the state that it points to.
    #[inline(always)]
    fn find_and_prefetch(&mut self, packets: &[Packet]) {
        let mut any_tcp = false;
        for (work, packet) in self.work.iter_mut().zip(packets) {
            if work.candidate != IGNORED {
                let tag = Index::tag(work.hash);
                work.candidate = self.store.index.find(tag, |_| true).unwrap_or(NONE);
                self.store.hot.prefetch(work.candidate);
                if packet.protocol == TCP {
                    any_tcp = true;
                    self.store.cold.prefetch(work.candidate);
                }
            }
        }
        if any_tcp {
            for (work, packet) in self.work.iter().zip(packets) {
                if packet.protocol == TCP
                    && let Some(cold) = self.store.cold.as_slice().get(work.candidate)
                {
                    self.performance.prefetch(cold.tcp);
                }
            }
        }
    }

    /// The candidate, if it is the one; otherwise a full search: tags collide, and entries come
    /// and go within a group.
    #[inline(always)]
    fn entry_of(&self, work: &Work) -> Option<usize> {
        match self.store.hot.as_slice().get(work.candidate) {
            Some(hot) if hot.is(&work.key) && hot.has(state::IN_USE) => Some(work.candidate),
            _ => self.store.find(Index::tag(work.hash), &work.key),
        }
    }

    /// Starts a conversation, evicting another when the table is full.
    fn begin(
        &mut self,
        work: &Work,
        packet: &Packet,
        origin: &Origin,
        sink: &mut impl FnMut(Cut<'_>),
    ) -> usize {
        if self.store.is_full() {
            self.evict_one(origin.now, sink);
        }
        let quarter = origin.now.quarter();
        let due = quarter.wrapping_add(skew(work.hash));
        let mut hot = Hot::new(&work.key, self.change.kind, quarter, due);
        let mut cold = Cold { first_frame: origin.frame, first: work.way, ..Cold::default() };
        cold.begin(work.way, packet, self.config.local_mac);
        if let Some(apps) = &self.apps
            && matches!(packet.protocol, TCP | UDP)
        {
            let (slot, is_wanted) = apps.begin(packet, &work.key);
            cold.app = slot;
            hot.set(if is_wanted { state::APP } else { 0 });
        }
        self.stats.created += 1;
        self.store.insert(Index::tag(work.hash), hot, cold).expect("one entry is free")
    }

    #[inline(always)]
    fn count(&mut self, entry: usize, work: &Work, packet: &Packet, quarter: u16) {
        let (way, i) = (work.way, work.way.index());
        let hot = &mut self.store.hot.as_mut_slice()[entry];
        hot.last = quarter;
        if !work.export[i] {
            // Its records are left out, but the conversation is not one-sided.
            hot.set(state::SEEN << i);
            self.stats.packets_unsampled += u64::from(packet.packets);
            return;
        }
        self.stats.packets += u64::from(packet.packets);
        hot.packets[i] = hot.packets[i].saturating_add(packet.packets);
        let bytes = u64::from(hot.bytes[i]) + packet.bytes;
        let carry = (bytes >> 32) as u16;
        hot.bytes[i] = bytes as u32;
        hot.tos[i] |= packet.tos;
        hot.tcp_flags[i] |= packet.tcp_flags;
        if carry != 0 || packet.fragments != 0 || !hot.has(state::SEEN << i) {
            self.count_rare(entry, way, packet, carry);
        }
    }

    #[cold]
    fn count_rare(&mut self, entry: usize, way: Way, packet: &Packet, carry: u16) {
        let i = way.index();
        let (hot, cold) = (&mut self.store.hot[entry], &mut self.store.cold[entry]);
        cold.byte_carries[i] = cold.byte_carries[i].saturating_add(carry);
        cold.fragments[i] = cold.fragments[i].saturating_add(packet.fragments);
        if !hot.has(state::SEEN << i) {
            hot.set(state::SEEN << i);
            cold.begin(way, packet, self.config.local_mac);
        }
    }

    /// The first payload of a direction: the legacy application latency runs between the two.
    #[cold]
    fn first_payload(&mut self, entry: usize, way: Way, packet: &Packet, origin: &Origin) {
        let (hot, cold) = (&mut self.store.hot[entry], &mut self.store.cold[entry]);
        let is_answer = match packet.protocol {
            TCP => packet.tcp_flags & RST == 0,
            UDP => true,
            _ => false,
        };
        if !is_answer {
            return;
        }
        hot.set(state::PAYLOAD << way.index());
        cold.payload.note(way, origin.time_ns);
        if let Some(latency_us) = cold.payload.latency_us(way) {
            self.performance.latencies.application(latency_us);
        }
    }

    /// Gives a packet to the decoder of its conversation. Each message that it completes causes a
    /// record of its direction at once; the due time stays (spec 8.3).
    #[inline(never)]
    fn decode(
        &mut self,
        entry: usize,
        work: &Work,
        packet: &Packet,
        data: &[u8],
        origin: &Origin,
        sink: &mut impl FnMut(Cut<'_>),
    ) {
        let Some(apps) = &mut self.apps else { return };
        let cold = &mut self.store.cold[entry];
        let opening = || self.performance.opening(cold.tcp);
        let wish = apps.packet(&mut cold.app, work.way, packet, data, origin, work.hash, opening);
        if wish == Wish::Enough {
            self.store.hot[entry].clear(state::APP);
        }
        self.report(entry, work.way, work.export, origin.now, sink);
    }

    /// A SYN that opens a connection on the ports of one that has closed, or that must have ended
    /// unseen.
    #[cold]
    fn is_reused(
        &self,
        entry: usize,
        way: Way,
        packet: &Packet,
        data: &[u8],
        origin: &Origin,
    ) -> bool {
        if packet.tcp_flags & ACK == 0 && self.store.hot[entry].has(state::CLOSED) {
            return true;
        }
        performance::segment(packet, data, origin).is_some_and(|segment| {
            self.performance.starts_anew(self.store.cold[entry].tcp, way, &segment)
        })
    }

    /// FIN in both directions or RST in either closes a connection (spec 8.3).
    fn note_close(&mut self, entry: usize, way: Way, flags: u8) {
        let hot = &mut self.store.hot[entry];
        if flags & FIN != 0 {
            hot.set(state::FIN << way.index());
        }
        if flags & RST != 0 || hot.has(state::FIN | state::FIN << 1) {
            hot.set(state::CLOSED);
        }
    }
}

#[inline(always)]
fn is_syn(packet: &Packet) -> bool {
    packet.tcp_flags & SYN != 0 && packet.protocol == TCP
}

/// First export after a whole number of seconds in 0…15, the same for a flow under one hash key:
/// spreads the load of flows that begin together (spec 8.2).
fn skew(hash: u64) -> u16 {
    ((mix(hash) >> 60) as u16) * PER_SECOND
}
