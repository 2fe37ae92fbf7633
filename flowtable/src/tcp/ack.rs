//! What a segment says about the other direction's stream: acknowledgments, SACK, windows.

use super::Segment;
use super::details::Details;
use super::number::{FAR, distance, elapsed_us};
use super::options::{SackBlock, SackBlocks, Timestamps};
use super::state::{Side, TcpState, bit};
use crate::Way;

impl TcpState {
    /// The acknowledgment field of a segment with ACK and without RST.
    #[inline(always)]
    pub(super) fn acknowledge(
        &mut self,
        way: Way,
        segment: &Segment,
        now_us: u32,
        details: &mut Details,
    ) {
        let (side, peer) = self.pair(way);
        let moved = distance(segment.ack, side.acked);
        if moved == 0 && side.bits & bit::ACKED != 0 {
            if segment.len == 0 && peer.expected != segment.ack {
                self.repeated_ack(way, segment, now_us, details);
            }
            return;
        }
        if !(1..FAR).contains(&moved) && !first_or_far(side, moved) {
            return;
        }
        side.acked = segment.ack;
        side.bits = side.bits & !bit::DUPLICATES | bit::ACKED;
        if peer.bits & bit::PROBE != 0 && distance(segment.ack, peer.probe_end) >= 0 {
            self.answered(way, segment.timestamps, now_us);
        }
        if self.has(way.other(), bit::HOLES) {
            self.acknowledge_holes(way, segment.ack, now_us, details);
        }
    }

    /// The window field of a segment with ACK and without SYN and RST.
    #[inline(always)]
    pub(super) fn window(
        &mut self,
        way: Way,
        segment: &Segment,
        now_us: u32,
        details: &mut Details,
    ) {
        if segment.window != self.sides[way.index()].window || segment.window == 0 {
            self.window_moved(way, segment, now_us, details);
        }
    }

    fn window_moved(&mut self, way: Way, segment: &Segment, now_us: u32, details: &mut Details) {
        let i = way.index();
        let (side, ledger) = (&mut self.sides[i], &mut self.ledgers[i]);
        side.window = segment.window;
        ledger.min_window = ledger.min_window.min(segment.window);
        let was_zero = side.bits & bit::ZERO != 0;
        if segment.window == 0 {
            side.bits |= bit::ZERO;
            let count = u16::try_from(segment.pieces()).unwrap_or(u16::MAX);
            ledger.zero_windows = ledger.zero_windows.saturating_add(count);
            if !was_zero {
                match details.obtain(&mut self.detail) {
                    Some(detail) => {
                        detail.sides[i].counts.zero_transitions += 1;
                        detail.sides[i].zero_since_us = now_us;
                    }
                    None => self.lacking = true,
                }
            }
        } else if was_zero {
            side.bits &= !bit::ZERO;
            if let Some(detail) = details.get(self.detail) {
                let own = &mut detail.sides[i];
                let closed_us = elapsed_us(now_us, own.zero_since_us);
                own.counts.zero_us = own.counts.zero_us.saturating_add(closed_us);
            }
        }
    }

    /// The probe of the other direction is acknowledged: a sample, unless it is ambiguous.
    fn answered(&mut self, way: Way, timestamps: Option<Timestamps>, now_us: u32) {
        let (_, peer) = self.pair(way);
        let valid = is_answer(peer, timestamps);
        let sample_us = elapsed_us(now_us, peer.probe_us);
        peer.bits &= !(bit::PROBE | bit::DIRTY);
        if valid {
            let ledger = &mut self.ledgers[way.index()];
            ledger.rtt.add(sample_us);
            let least_us = ledger.least_rtt_us.wrapping_sub(1).min(sample_us.max(1) - 1);
            ledger.least_rtt_us = least_us + 1;
        }
    }

    /// RFC 5681 section 2: no data, nothing new, the same window, and something outstanding. With
    /// SACK the window may differ (RFC 6675 section 2).
    #[inline(never)]
    fn repeated_ack(&mut self, way: Way, segment: &Segment, now_us: u32, details: &mut Details) {
        if self.has(way.other(), bit::HOLES)
            && let Some(detail) = details.get(self.detail)
        {
            detail.sides[way.other().index()].holes.told(now_us);
        }
        let (side, peer) = self.pair(way);
        let outstanding = peer.bits & bit::SEEN != 0 && distance(peer.expected, segment.ack) > 0;
        let same_window = segment.window == side.window || segment.sack.is_some();
        if !outstanding || !same_window || segment.has(super::flags::FIN) {
            return;
        }
        let run_goes_on = side.bits & bit::DUPLICATES != 0;
        side.bits |= bit::DUPLICATES;
        let ledger = &mut self.ledgers[way.index()];
        ledger.dup_run = if run_goes_on { ledger.dup_run.saturating_add(1) } else { 1 };
        ledger.dup_acks = ledger.dup_acks.saturating_add(1);
    }

    /// Holes that the receiver doesn't have: their bytes passed, but were not captured.
    #[inline(never)]
    fn acknowledge_holes(&mut self, way: Way, ack: u32, now_us: u32, details: &mut Details) {
        let Some(detail) = details.get(self.detail) else { return };
        let other = &mut detail.sides[way.other().index()];
        other.holes.told(now_us);
        for hole in other.holes.as_mut_slice() {
            if !hole.acked && distance(ack, hole.end) >= 0 {
                hole.acked = true;
                other.counts.unseen_bytes += u64::from(hole.end.wrapping_sub(hole.start));
            }
        }
    }

    /// SACK blocks sent in direction `way`; they are about the other direction's data.
    pub(super) fn sacked(
        &mut self,
        way: Way,
        segment: &Segment,
        sack: &SackBlocks,
        details: &mut Details,
    ) {
        let Some(detail) = details.obtain(&mut self.detail) else {
            self.lacking = true;
            return;
        };
        let (blocks, ack, pieces) = (sack.as_slice(), segment.ack, segment.pieces());
        let duplicate = duplicate_block(blocks, ack);
        let counts = &mut detail.sides[way.index()].counts;
        counts.sacks = counts.sacks.saturating_add(pieces);
        if duplicate.is_some() {
            counts.dsacks = counts.dsacks.saturating_add(pieces);
        }
        let other = &mut detail.sides[way.other().index()];
        if let (Some(block), Some((start, end))) = (duplicate, other.resent)
            && distance(block.left, end) < 0
            && distance(start, block.right) < 0
        {
            other.counts.needless += 1;
            other.resent = None;
        }
        // Nothing beyond a quarter of the sequence space is believed.
        let ahead = |number| Some(distance(number, ack)).filter(|ahead| (1..FAR).contains(ahead));
        let known = other.sacked_to.and_then(ahead);
        let highest = blocks.iter().filter_map(|block| ahead(block.right)).max().max(known);
        other.sacked_to = highest.map(|highest| ack.wrapping_add_signed(highest));
    }
}

/// Whether an acknowledgment is taken though it is not simply newer: the first one, and one so far
/// off that the stream must have been taken up elsewhere.
#[cold]
fn first_or_far(side: &Side, moved: i32) -> bool {
    side.bits & bit::ACKED == 0 || moved.unsigned_abs() >= FAR.unsigned_abs()
}

/// Whether the acknowledgment of a probe tells the round trip. An echo of the probe's own
/// timestamp does in any case; an older one, or none, only if nothing was sent again (Karn, RFC
/// 6298 section 3); a newer one means that something later was answered (RFC 7323 section 4.3).
pub(super) fn is_answer(peer: &Side, timestamps: Option<Timestamps>) -> bool {
    let clean = peer.bits & bit::DIRTY == 0;
    match timestamps {
        Some(Timestamps { echo, .. }) if peer.probe_tsval != 0 => {
            match distance(echo, peer.probe_tsval) {
                0 => true,
                ..0 => clean,
                1.. => false,
            }
        }
        _ => clean,
    }
}

/// A first block at or below the acknowledgment, or within the second, reports data that came
/// twice (RFC 2883 section 4).
fn duplicate_block(blocks: &[SackBlock], ack: u32) -> Option<SackBlock> {
    let first = *blocks.first()?;
    let below = distance(first.right, ack) <= 0;
    let within = blocks.get(1).is_some_and(|second| {
        distance(first.left, second.left) >= 0 && distance(first.right, second.right) <= 0
    });
    (below || within).then_some(first)
}
