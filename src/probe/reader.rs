//! A reader's inner loop: frames to packets to records to batches. The same for live and replay.

use std::sync::Arc;

use capture::{Frame, RingStats};
use decode::fragments::Reassembler;
use decode::{Link, Outcome};
use export::{Batch, Feed};
use flowtable::{Cut, FlowTable, GROUP, Group, Moment, Origin, Sampling};

use super::settings::{Follower, Values};
use crate::status::{Counters, FrameStats};

/// Records in a batch before it is handed over, and what they may take.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 64 << 10;
/// Fragments that never became a datagram belong to no single frame.
const NO_FRAME: u64 = u64::MAX;

/// One reader's flow state. Owned by its thread, shared with nobody.
pub(super) struct Reader {
    reassembler: Reassembler,
    table: FlowTable,
    outbox: Outbox,
    stats: FrameStats,
    link: (u32, Option<Link>),
    frames: u64,
    follower: Option<Follower>,
}

/// Records on their way to the exporter.
struct Outbox {
    feed: Feed,
    batch: Batch,
    alive: bool,
    /// What comes now is of one time and in the order of first frames.
    by_frame: bool,
}

impl Outbox {
    fn new(feed: Feed) -> Self {
        Self { feed, batch: Batch::with_capacity(BATCH), alive: true, by_frame: false }
    }

    /// Records in the order of first frames begin or end.
    fn set_by_frame(&mut self, by_frame: bool) {
        self.send();
        self.by_frame = by_frame;
    }

    #[inline]
    fn push(&mut self, cut: &Cut<'_>) {
        self.batch.push(cut);
        if self.batch.len() >= BATCH || self.batch.bytes() >= BATCH_BYTES {
            self.send();
        }
    }

    fn send(&mut self) {
        if self.by_frame && !self.batch.is_empty() {
            self.batch.promise_order();
        }
        self.alive &= self.feed.send(&mut self.batch);
        self.batch.reserve(BATCH);
    }
}

impl Reader {
    pub(super) fn new(table: FlowTable, feed: Feed) -> Self {
        Self {
            reassembler: Reassembler::new(),
            table,
            outbox: Outbox::new(feed),
            stats: FrameStats::default(),
            link: (u32::MAX, None),
            frames: 0,
            follower: None,
        }
    }

    /// Heeds settings that change while it runs.
    pub(super) fn following(self, follower: Follower) -> Self {
        Self { follower: Some(follower), ..self }
    }

    /// The capture filter in force when the reader began to follow.
    pub(super) fn filter(&self) -> Option<String> {
        self.follower.as_ref().and_then(|follower| follower.values().filter.clone())
    }

    /// Brings changed settings into force and gives them. Call it between blocks; one load when
    /// there are none.
    #[inline]
    pub(super) fn heed(&mut self, now: Moment) -> Option<Arc<Values>> {
        let values = self.follower.as_mut().and_then(Follower::poll)?;
        self.change(&values, now);
        Some(values)
    }

    #[cold]
    fn change(&mut self, values: &Values, now: Moment) {
        let sampling = Sampling::new(values.rate);
        self.table.set_sampling(sampling, now, &mut |cut| self.outbox.push(&cut));
        self.table.set_translations(Arc::clone(&values.translations));
    }

    /// Takes frames whose bytes live as long as the feeder. What it holds is counted when it is
    /// dropped, at the latest.
    pub(super) fn feeder<'f>(&mut self) -> Feeder<'_, 'f> {
        Feeder { reader: self, group: Group::default() }
    }

    /// Live: lets the clock hand catch up, and hands over what is due.
    pub(super) fn sweep(&mut self, now: Moment) {
        self.expire_fragments(now);
        self.table.sweep(now, &mut |cut| self.outbox.push(&cut));
    }

    /// Replay: the export tick at `now`.
    pub(super) fn tick(&mut self, now: Moment) {
        self.expire_fragments(now);
        self.outbox.set_by_frame(true);
        self.table.tick(now, &mut |cut| self.outbox.push(&cut));
        self.outbox.set_by_frame(false);
        self.outbox.alive = self.outbox.alive && self.outbox.feed.tick(now.wall_ns);
    }

    /// Hands the records at hand to the exporter.
    pub(super) fn hand_over(&mut self) {
        self.outbox.send();
    }

    /// The end: everything pending becomes records.
    pub(super) fn flush(&mut self, now: Moment) {
        let mut credits = Vec::new();
        self.reassembler.flush(&mut |packet| credits.push(*packet));
        self.credit(&credits, now);
        self.outbox.set_by_frame(true);
        self.table.flush(now, &mut |cut| self.outbox.push(&cut));
        self.outbox.set_by_frame(false);
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
        let latencies = self.table.latencies().clone();
        let table = self.table.stats();
        Counters { ring, frames, table, latencies, ..Counters::default() }
    }

    /// The capture lost packets between two packet times, ns since the Unix epoch.
    pub(super) fn note_capture_loss(&mut self, from_ns: u64, to_ns: u64) {
        self.table.note_capture_loss(from_ns, to_ns);
    }

    fn expire_fragments(&mut self, now: Moment) {
        let mut credits = Vec::new();
        self.reassembler.expire(now.elapsed_ns, &mut |credit| credits.push(*credit));
        self.credit(&credits, now);
    }

    /// Counts fragments that never became a datagram, and nothing more: their bytes are gone.
    fn credit(&mut self, packets: &[decode::Packet], now: Moment) {
        for chunk in packets.chunks(GROUP) {
            let mut group = Group::default();
            for packet in chunk {
                *group.slot() = decode::Packet { l4_header_len: 0, payload_len: 0, ..*packet };
                let origin =
                    Origin { now, time_ns: now.wall_ns, frame: NO_FRAME, ..Origin::default() };
                group.commit(&[], origin);
            }
            self.table.update(&group, &mut |cut| self.outbox.push(&cut));
        }
    }
}

/// The way of frames into a reader: they are parsed one by one and counted in groups.
pub(super) struct Feeder<'r, 'f> {
    reader: &'r mut Reader,
    group: Group<'f>,
}

impl<'f> Feeder<'_, 'f> {
    /// Takes one frame. `number` is its place in the capture, `now` the reader's time.
    #[inline]
    pub(super) fn frame(&mut self, frame: &Frame<'f>, number: u64, now: Moment) {
        let reader = &mut *self.reader;
        reader.frames += 1;
        if reader.link.0 != frame.linktype {
            reader.link = (frame.linktype, Link::from_linktype(frame.linktype));
        }
        let Some(link) = reader.link.1 else {
            reader.stats.unsupported_link += 1;
            reader.stats.unsupported_linktype = frame.linktype;
            return;
        };
        let gso_size = frame.offload.map_or(0, |offload| offload.segment_bytes);
        let input = decode::Frame {
            data: frame.data,
            wire_len: frame.wire_len,
            vlan: frame.vlan.map(capture::VlanTag::id),
            gso_size,
            gso_hdr_len: frame.offload.map_or(0, |offload| offload.header_bytes),
        };
        let origin = Origin { now, time_ns: frame.time_ns, frame: number, gso_size };
        match decode::parse(link, &input, self.group.slot()) {
            Outcome::Packet => {
                self.group.commit(frame.data, origin);
                if self.group.is_full() {
                    self.count();
                }
            }
            Outcome::Fragment(fragment) => self.fragment(&fragment, frame.data, origin),
            Outcome::Ignored(why) => reader.stats.ignored[why.index()] += 1,
            Outcome::Malformed(why) => reader.stats.malformed[why.index()] += 1,
        }
    }

    /// Replay: the export tick at `now`, behind the frames so far.
    pub(super) fn tick(&mut self, now: Moment) {
        self.count();
        self.reader.tick(now);
    }

    /// Counts what is in the group.
    #[inline]
    fn count(&mut self) {
        let Reader { table, outbox, .. } = &mut *self.reader;
        table.update(&self.group, &mut |cut| outbox.push(&cut));
        self.group.clear();
    }

    /// Off the common path: a fragment may complete a datagram, and push others out.
    #[cold]
    fn fragment(&mut self, fragment: &decode::Fragment, data: &[u8], origin: Origin) {
        let packet = *self.group.slot();
        self.count();
        let mut credits = Vec::new();
        let Reader { reassembler, table, outbox, .. } = &mut *self.reader;
        let elapsed_ns = origin.now.elapsed_ns;
        let push = &mut |credit: &decode::Packet| credits.push(*credit);
        let payload = packet.payload(data);
        if let Some(datagram) = reassembler.push(elapsed_ns, &packet, fragment, payload, push) {
            let mut whole = Group::default();
            *whole.slot() = datagram.packet;
            whole.commit(datagram.bytes, origin);
            table.update(&whole, &mut |cut| outbox.push(&cut));
        }
        self.reader.credit(&credits, origin.now);
    }
}

impl Drop for Feeder<'_, '_> {
    fn drop(&mut self) {
        if !self.group.is_empty() {
            self.count();
        }
    }
}
