//! One conversation's state, and the ordinary path of a segment through it.

use super::Segment;
use super::details::Details;
use super::flags::{ACK, FIN, RST, SYN};
use super::metrics::Close;
use super::rtt::Rtt;
use crate::Way;

/// Bits of [`Side::bits`].
pub(super) mod bit {
    /// Any segment but a reset was seen.
    pub(in super::super) const SEEN: u16 = 1 << 0;
    /// An ACK without SYN was seen; the window is one of those that are scaled.
    pub(in super::super) const PLAIN: u16 = 1 << 1;
    /// The handshake interval was given out as a sample.
    pub(in super::super) const REPORTED: u16 = 1 << 2;
    /// A SYN was seen, with or without ACK.
    pub(in super::super) const SYN: u16 = 1 << 3;
    /// A SYN with ACK was seen.
    pub(in super::super) const SYN_ACK: u16 = 1 << 4;
    /// The SYN offered window scaling.
    pub(in super::super) const SCALES: u16 = 1 << 5;
    /// A FIN was seen.
    pub(in super::super) const FIN: u16 = 1 << 6;
    /// The probe waits for its answer.
    pub(in super::super) const PROBE: u16 = 1 << 7;
    /// Something at or below the probe was sent again since (Karn).
    pub(in super::super) const DIRTY: u16 = 1 << 8;
    /// There are holes in the stream.
    pub(in super::super) const HOLES: u16 = 1 << 9;
    /// The advertised window is zero.
    pub(in super::super) const ZERO: u16 = 1 << 10;
    /// The last ACKs were duplicates.
    pub(in super::super) const DUPLICATES: u16 = 1 << 11;
    /// The handshake interval is known.
    pub(in super::super) const HANDSHAKE: u16 = 1 << 12;
    /// The handshake interval is a round trip beyond doubt.
    pub(in super::super) const CLEAN: u16 = 1 << 13;
    /// A byte was sent against a closed window.
    pub(in super::super) const WINDOW_PROBE: u16 = 1 << 14;
    /// `acked` is valid.
    pub(in super::super) const ACKED: u16 = 1 << 15;
}

/// What every segment of a direction touches; both directions share a cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct Side {
    /// The sequence number that comes next.
    pub(super) expected: u32,
    /// Highest acknowledgment this side sent.
    pub(super) acked: u32,
    /// The probe: end of a segment, when it passed, its timestamp (0 without).
    pub(super) probe_end: u32,
    pub(super) probe_us: u32,
    pub(super) probe_tsval: u32,
    /// When something was last sent that takes sequence numbers.
    pub(super) last_data_us: u32,
    /// Last advertised, not scaled.
    pub(super) window: u16,
    pub(super) bits: u16,
    /// IP identification and low half of the timestamp of the segment sent last.
    pub(super) ip_id: u16,
    pub(super) tsval: u16,
}

/// What is counted of a direction, and what was learnt from its SYN.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct Ledger {
    pub(super) rtt: Rtt,
    /// First sequence number seen; that of the SYN if there was one.
    pub(super) first_seq: u32,
    pub(super) handshake_us: u32,
    /// Smallest sample of the connection, µs; 0 without samples.
    pub(super) least_rtt_us: u32,
    pub(super) retransmitted: u32,
    /// What does not fit is counted in the details, which reordering always needs.
    pub(super) out_of_order: u16,
    pub(super) dup_acks: u16,
    pub(super) zero_windows: u16,
    pub(super) initial_window: u16,
    /// Smallest since the last record, not scaled.
    pub(super) min_window: u16,
    pub(super) scale: u8,
    /// Duplicate ACKs in a row, while [`bit::DUPLICATES`] is set.
    pub(super) dup_run: u8,
}

/// State of one TCP conversation, both ways: 176 bytes, no heap. An ordinary segment reads and
/// writes the first 64.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct TcpState {
    pub(super) sides: [Side; 2],
    pub(super) ledgers: [Ledger; 2],
    /// Where the details are in [`Details`]; 0 for none.
    pub(super) detail: u32,
    /// Who sent the first SYN.
    pub(super) opener: Option<Way>,
    pub(super) close: Option<Closing>,
    /// Details were needed and there was no room.
    pub(super) lacking: bool,
}

const _: () = assert!(size_of::<[Side; 2]>() == 64 && size_of::<TcpState>() == 176);

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    Fin,
    Reset(Way),
}

impl TcpState {
    /// Takes in a segment that was sent in direction `way`. Segments come in capture order; those
    /// of one conversation always with the same `details`.
    #[inline(always)]
    pub fn update(&mut self, way: Way, segment: &Segment, details: &mut Details) {
        let side = &self.sides[way.index()];
        if segment.flags & (FIN | SYN | RST | ACK) != ACK
            || side.bits & bit::PLAIN == 0
            || segment.sack.is_some()
        {
            return self.update_rare(way, segment, details);
        }
        // Acknowledgments first: they are the same for each piece of a merged segment.
        let now_us = segment.time_us();
        self.acknowledge(way, segment, now_us, details);
        self.window(way, segment, now_us, details);
        if segment.len > 0 {
            self.data(way, segment, details);
        }
    }

    /// How the connection was closed as seen by direction `way`; `None` while it is open.
    #[must_use]
    pub fn close(&self, way: Way) -> Option<Close> {
        Some(match self.close? {
            Closing::Fin => Close::Fin,
            Closing::Reset(by) if by == way => Close::ResetBySender,
            Closing::Reset(_) => Close::ResetByReceiver,
        })
    }

    /// Gives back what the conversation holds of `details`, before it is forgotten.
    pub fn release(&mut self, details: &mut Details) {
        details.release(&mut self.detail);
    }

    /// Makes a state that was released an element of a list: `next` stands where the details did.
    pub(crate) fn set_link(&mut self, next: u32) {
        self.detail = next;
    }

    /// What [`TcpState::set_link`] set.
    pub(crate) fn link(&self) -> u32 {
        self.detail
    }

    #[inline(never)]
    fn update_rare(&mut self, way: Way, segment: &Segment, details: &mut Details) {
        if segment.has(RST) {
            // Its window and acknowledgment are those of no receiver (spec 11.3).
            self.close.get_or_insert(Closing::Reset(way));
            return;
        }
        if segment.has(SYN) {
            return self.syn(way, segment, details);
        }
        let now_us = segment.time_us();
        if !self.has(way, bit::SEEN) {
            self.begin(way, segment);
        }
        if segment.has(ACK) && !self.has(way, bit::PLAIN) {
            self.first_plain_ack(way, segment, now_us);
        }
        if segment.has(ACK) {
            if let Some(sack) = &segment.sack {
                self.sacked(way, segment, sack, details);
            }
            self.acknowledge(way, segment, now_us, details);
            self.window(way, segment, now_us, details);
        }
        if segment.len > 0 || segment.has(FIN) {
            self.out_of_line(way, segment, details);
        }
        if segment.has(FIN) {
            self.sides[way.index()].bits |= bit::FIN;
            if self.has(way.other(), bit::FIN) {
                self.close.get_or_insert(Closing::Fin);
            }
        }
    }

    /// The first segment of a direction whose SYN was not seen.
    fn begin(&mut self, way: Way, segment: &Segment) {
        let side = &mut self.sides[way.index()];
        side.bits |= bit::SEEN;
        side.expected = segment.seq;
        side.last_data_us = segment.time_us();
        self.ledgers[way.index()].first_seq = segment.seq;
    }

    #[inline(always)]
    pub(super) fn has(&self, way: Way, bits: u16) -> bool {
        self.sides[way.index()].bits & bits == bits
    }

    /// One side and its peer.
    #[inline(always)]
    pub(super) fn pair(&mut self, way: Way) -> (&mut Side, &mut Side) {
        let [up, down] = &mut self.sides;
        match way {
            Way::Up => (up, down),
            Way::Down => (down, up),
        }
    }
}
