//! A reader's inner loop in a mode: frames to datagrams to parcels. The same for live and replay.

use capture::{Frame, RingStats};
use decode::fragments::Reassembler;
use decode::{Link, Outcome, Packet};
use export::posts::PostFeed;
use flowtable::Moment;

use super::Collect;
use crate::status::{Counters, FrameStats};

/// Live: a parcel goes early when it has so many bytes.
const LIVE_PARCEL_BYTES: usize = 1 << 20;
/// Replay: the same, the limit of a POST.
const REPLAY_PARCEL_BYTES: usize = 10_000_000;
/// Live: parcels go at most so often, so that the sender, which gathers them for a second, has all of
/// one second.
const LIVE_INTERVAL_NS: u64 = 100_000_000;
/// Replay: what a parcel covers.
const REPLAY_INTERVAL_NS: u64 = 1_000_000_000;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// When what has been collected is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// Soon: the sender gathers for a second.
    Live,
    /// Packet time: a second after the first of it.
    Replay,
}

/// One reader's state. Owned by its thread.
pub struct ModeReader<C> {
    collector: C,
    reassembler: Reassembler,
    feed: PostFeed,
    timing: Timing,
    /// Live: when something was handed over; replay: when the first of what waits came.
    since_ns: Option<u64>,
    is_heard: bool,
    stats: FrameStats,
    link: (u32, Option<Link>),
    frames: u64,
}

impl<C: Collect> ModeReader<C> {
    /// A reader that collects for this feed.
    pub fn new(collector: C, feed: PostFeed, timing: Timing) -> Self {
        Self {
            collector,
            reassembler: Reassembler::new(),
            feed,
            timing,
            since_ns: None,
            is_heard: true,
            stats: FrameStats::default(),
            link: (u32::MAX, None),
            frames: 0,
        }
    }

    /// Takes one frame at the reader's time `now`.
    pub fn frame(&mut self, frame: &Frame<'_>, now: Moment) {
        self.frames += 1;
        if self.link.0 != frame.linktype {
            self.link = (frame.linktype, Link::from_linktype(frame.linktype));
        }
        let Some(link) = self.link.1 else {
            self.stats.unsupported_link += 1;
            self.stats.unsupported_linktype = frame.linktype;
            return;
        };
        if self.timing == Timing::Replay {
            self.hand_over_if_due(now);
        }
        let input = decode::Frame {
            data: frame.data,
            wire_len: frame.wire_len,
            vlan: frame.vlan.map(capture::VlanTag::id),
            gso_size: frame.offload.map_or(0, |offload| offload.segment_bytes),
            gso_hdr_len: frame.offload.map_or(0, |offload| offload.header_bytes),
        };
        let mut packet = Packet::default();
        match decode::parse(link, &input, &mut packet) {
            Outcome::Packet => {
                let payload = packet.payload(frame.data);
                collect(&mut self.collector, &packet, payload, input.gso_size, frame.time_ns);
            }
            Outcome::Fragment(fragment) => {
                let payload = packet.payload(frame.data);
                let whole =
                    self.reassembler.push(now.elapsed_ns, &packet, &fragment, payload, &mut |_| {});
                if let Some(whole) = whole {
                    let payload = whole.packet.payload(whole.bytes);
                    collect(&mut self.collector, &whole.packet, payload, 0, frame.time_ns);
                }
            }
            Outcome::Ignored(why) => self.stats.ignored[why.index()] += 1,
            Outcome::Malformed(why) => self.stats.malformed[why.index()] += 1,
        }
        self.after_frame(now);
    }

    /// Lets time pass: what is due is handed over, old fragments are forgotten.
    pub fn sweep(&mut self, now: Moment) {
        self.reassembler.expire(now.elapsed_ns, &mut |_| {});
        self.collector.expire(now.elapsed_ns);
        self.hand_over_if_due(now);
    }

    /// The end: everything that waits is handed over.
    pub fn flush(&mut self, now: Moment) {
        self.reassembler.flush(&mut |_| {});
        self.hand_over(now);
    }

    /// False when the sender has ended.
    pub fn is_heard(&self) -> bool {
        self.is_heard
    }

    /// Frames taken so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Counts frames that the ring announced but could not give.
    pub fn lost_in_block(&mut self, frames: u32) {
        self.stats.broken += u64::from(frames);
    }

    /// Counters as of now.
    pub fn counters(&self, ring: RingStats) -> Counters {
        let reassembly = self.reassembler.stats();
        let frames = FrameStats { frames: self.frames, reassembly, ..self.stats.clone() };
        let mode = self.collector.counters();
        Counters { ring, frames, mode, ..Counters::default() }
    }

    fn after_frame(&mut self, now: Moment) {
        let most = match self.timing {
            Timing::Live => LIVE_PARCEL_BYTES,
            Timing::Replay => REPLAY_PARCEL_BYTES,
        };
        let waiting_bytes = self.collector.waiting_bytes();
        if waiting_bytes >= most {
            self.hand_over(now);
        } else if self.timing == Timing::Replay && waiting_bytes > 0 {
            self.since_ns.get_or_insert(now.elapsed_ns);
        }
    }

    fn hand_over_if_due(&mut self, now: Moment) {
        let interval_ns = match self.timing {
            Timing::Live => LIVE_INTERVAL_NS,
            Timing::Replay => REPLAY_INTERVAL_NS,
        };
        let due = |since_ns| now.elapsed_ns.saturating_sub(since_ns) >= interval_ns;
        if self.since_ns.is_none_or(due) {
            self.hand_over(now);
        }
    }

    fn hand_over(&mut self, now: Moment) {
        if self.collector.waiting_bytes() == 0 {
            return;
        }
        self.is_heard &= self.feed.send(self.collector.take());
        self.since_ns = match self.timing {
            Timing::Live => Some(now.elapsed_ns),
            Timing::Replay => None,
        };
    }
}

/// Gives each datagram of a frame to the collector: with offload, one frame may stand for several
/// datagrams of `segment_bytes`.
fn collect(
    collector: &mut impl Collect,
    packet: &Packet,
    payload: &[u8],
    segment_bytes: u16,
    time_ns: u64,
) {
    match packet.protocol {
        UDP if segment_bytes > 0 => {
            for datagram in payload.chunks(segment_bytes.into()) {
                collector.packet(packet, datagram, time_ns);
            }
        }
        UDP | TCP if packet.l4_header_len > 0 => collector.packet(packet, payload, time_ns),
        _ => {}
    }
}
