//! A reader's inner loop: frames to packets to records to batches. The same for live and replay.

use capture::{Frame, RingStats};
use decode::fragments::Reassembler;
use decode::{Link, Outcome};
use export::Feed;
use flowtable::{FlowTable, Group, Moment, Record};

use crate::status::{Counters, FrameStats};

/// Records in a batch before it is handed over.
const BATCH: usize = 512;
/// Fragments that never became a datagram belong to no single frame.
const NO_FRAME: u64 = u64::MAX;

/// One reader's flow state. Owned by its thread, shared with nobody.
pub(super) struct Reader {
    group: Group,
    reassembler: Reassembler,
    table: FlowTable,
    outbox: Outbox,
    stats: FrameStats,
    link: (u32, Option<Link>),
    frames: u64,
}

/// Records on their way to the exporter.
struct Outbox {
    feed: Feed,
    batch: Vec<Record>,
    alive: bool,
}

impl Outbox {
    #[inline]
    fn push(&mut self, record: Record) {
        self.batch.push(record);
        if self.batch.len() >= BATCH {
            self.send();
        }
    }

    fn send(&mut self) {
        self.alive &= self.feed.send(&mut self.batch);
        self.batch.reserve(BATCH);
    }
}

impl Reader {
    pub(super) fn new(table: FlowTable, feed: Feed) -> Self {
        Self {
            group: Group::default(),
            reassembler: Reassembler::new(),
            table,
            outbox: Outbox { feed, batch: Vec::with_capacity(BATCH), alive: true },
            stats: FrameStats::default(),
            link: (u32::MAX, None),
            frames: 0,
        }
    }

    /// Takes one frame. `number` is its place in the capture, `now` the reader's time.
    #[inline]
    pub(super) fn frame(&mut self, frame: &Frame<'_>, number: u64, now: Moment) {
        self.frames += 1;
        if self.link.0 != frame.linktype {
            self.link = (frame.linktype, Link::from_linktype(frame.linktype));
        }
        let Some(link) = self.link.1 else {
            self.stats.unsupported_link += 1;
            self.stats.unsupported_linktype = frame.linktype;
            return;
        };
        let input = decode::Frame {
            data: frame.data,
            wire_len: frame.wire_len,
            vlan: frame.vlan.map(capture::VlanTag::id),
            gso_size: frame.offload.map_or(0, |offload| offload.segment_bytes),
            gso_hdr_len: frame.offload.map_or(0, |offload| offload.header_bytes),
        };
        match decode::parse(link, &input, self.group.slot()) {
            Outcome::Packet => {
                self.group.commit(now, number);
                if self.group.is_full() {
                    self.count_group();
                }
            }
            Outcome::Fragment(fragment) => self.fragment(&fragment, frame, number, now),
            Outcome::Ignored(why) => self.stats.ignored[why.index()] += 1,
            Outcome::Malformed(why) => self.stats.malformed[why.index()] += 1,
        }
    }

    /// Counts what is still in the group. Call before time passes and before a block is given back.
    #[inline]
    pub(super) fn count_group(&mut self) {
        if !self.group.is_empty() {
            self.table.update(&self.group, &mut |record| self.outbox.push(record));
            self.group.clear();
        }
    }

    /// Live: lets the clock hand catch up, and hands over what is due.
    pub(super) fn sweep(&mut self, now: Moment) {
        self.count_group();
        self.expire_fragments(now);
        self.table.sweep(now, &mut |record| self.outbox.push(record));
    }

    /// Replay: the export tick at `now`.
    pub(super) fn tick(&mut self, now: Moment) {
        self.count_group();
        self.expire_fragments(now);
        self.table.tick(now, &mut |record| self.outbox.push(record));
        self.hand_over();
        self.outbox.alive = self.outbox.alive && self.outbox.feed.tick(now.wall_ns);
    }

    /// Hands the records at hand to the exporter.
    pub(super) fn hand_over(&mut self) {
        self.outbox.send();
    }

    /// The end: everything pending becomes records.
    pub(super) fn flush(&mut self, now: Moment) {
        self.count_group();
        let mut credits = Vec::new();
        self.reassembler.flush(&mut |packet| credits.push(*packet));
        for packet in credits {
            self.commit(packet, NO_FRAME, now);
        }
        self.count_group();
        self.table.flush(now, &mut |record| self.outbox.push(record));
        self.hand_over();
    }

    /// False when the exporter has ended and nothing can be handed over any more.
    pub(super) fn is_heard(&self) -> bool {
        self.outbox.alive
    }

    /// The interface's MAC may change while it is captured on.
    pub(super) fn set_local_mac(&mut self, mac: Option<[u8; 6]>) {
        self.table.set_local_mac(mac);
    }

    /// Frames taken so far.
    #[inline]
    pub(super) fn frames(&self) -> u64 {
        self.frames
    }

    /// Counts frames that the ring announced but could not give.
    pub(super) fn lost_in_block(&mut self, frames: u32) {
        self.stats.broken += u64::from(frames);
    }

    /// Counters as of now.
    pub(super) fn counters(&self, ring: RingStats) -> Counters {
        let reassembly = self.reassembler.stats();
        let frames = FrameStats { frames: self.frames, reassembly, ..self.stats.clone() };
        Counters { ring, frames, table: self.table.stats() }
    }

    /// Off the common path: a fragment may complete a datagram, and push others out.
    #[cold]
    fn fragment(
        &mut self,
        fragment: &decode::Fragment,
        frame: &Frame<'_>,
        number: u64,
        now: Moment,
    ) {
        let packet = *self.group.slot();
        let payload = packet.payload(frame.data);
        let mut credits = Vec::new();
        let whole = self
            .reassembler
            .push(now.elapsed_ns, &packet, fragment, payload, &mut |credit| credits.push(*credit))
            .map(|datagram| datagram.packet);
        for packet in credits {
            self.commit(packet, NO_FRAME, now);
        }
        if let Some(packet) = whole {
            self.commit(packet, number, now);
        }
    }

    fn expire_fragments(&mut self, now: Moment) {
        let mut credits = Vec::new();
        self.reassembler.expire(now.elapsed_ns, &mut |credit| credits.push(*credit));
        for packet in credits {
            self.commit(packet, NO_FRAME, now);
        }
        self.count_group();
    }

    fn commit(&mut self, packet: decode::Packet, number: u64, now: Moment) {
        *self.group.slot() = packet;
        self.group.commit(now, number);
        if self.group.is_full() {
            self.count_group();
        }
    }
}
