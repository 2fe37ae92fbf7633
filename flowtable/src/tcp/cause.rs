//! Why something was sent again, as far as the packets tell (RFC 5681, RFC 6298, RFC 6675, RFC
//! 8985).

use super::details::{Details, SideDetail};
use super::holes::Hole;
use super::number::{distance, elapsed_us};
use super::sequence::Piece;
use super::state::{TcpState, bit};
use crate::Way;

/// Smallest retransmission timeout in wide use; RFC 6298 asks for 1 s.
const MIN_TIMEOUT_US: u32 = 200_000;
/// Smallest silence before a tail loss probe, below which it can't be told from a burst.
const MIN_TAIL_PROBE_US: u32 = 1_000;
/// Duplicate ACKs that start a fast retransmission (RFC 5681 section 3.2).
const DUP_ACKS: u8 = 3;
/// Value of the run counter at which a repeat is counted (spec 11.4.1).
const REPEATS_AT: u8 = 3;

/// What made the sender send again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    Fast,
    Timeout,
    TailProbe,
    Unknown,
}

impl TcpState {
    /// Counts a retransmission of direction `way`: one that filled `hole` was lost before the
    /// capture point, another one after it or not at all.
    pub(super) fn retransmitted(
        &mut self,
        way: Way,
        piece: &Piece,
        hole: Option<&Hole>,
        details: &mut Details,
    ) {
        let i = way.index();
        let ledger = &mut self.ledgers[i];
        ledger.retransmitted = ledger.retransmitted.saturating_add(1);
        let Some(detail) = details.obtain(&mut self.detail) else {
            self.lacking = true;
            return;
        };
        let own = &mut detail.sides[i];
        // The first run is one of the direction's first sequence number.
        let run_seq = if own.in_run { own.run_seq } else { ledger.first_seq };
        own.run_len = if piece.seq == run_seq { own.run_len.saturating_add(1) } else { 0 };
        (own.run_seq, own.in_run) = (piece.seq, true);
        own.counts.repeats += u32::from(own.run_len == REPEATS_AT);
        own.resent_ids.note(piece.ip_id);

        let end = piece.end();
        match self.cause(way, piece, own) {
            Cause::Fast => own.counts.fast += 1,
            Cause::Timeout => {
                own.counts.timeout += 1;
                // Until all that was outstanding is acknowledged, the sender goes over it again.
                own.recover_to = Some(self.sides[i].expected);
            }
            Cause::TailProbe => own.counts.tail_probe += 1,
            Cause::Unknown => {}
        }
        own.counts.late_fills += u32::from(hole.is_some());
        let peer = &self.sides[way.other().index()];
        let needless = peer.bits & bit::ACKED != 0 && distance(peer.acked, end) >= 0;
        own.counts.needless += u32::from(needless);
        own.resent = (!needless).then_some((piece.seq, end));
    }

    fn cause(&self, way: Way, piece: &Piece, own: &SideDetail) -> Cause {
        let (i, j) = (way.index(), way.other().index());
        let (side, peer) = (&self.sides[i], &self.sides[j]);
        let acked = if peer.bits & bit::ACKED != 0 { peer.acked } else { piece.seq };
        let silence_us = elapsed_us(piece.time_us(), side.last_data_us);
        let rtt_us = self.rtt_us(way).saturating_add(self.rtt_us(way.other()));
        let dup_acks = peer.bits & bit::DUPLICATES != 0 && self.ledgers[j].dup_run >= DUP_ACKS;
        let sacked = own.sacked_to.is_some_and(|sacked_to| {
            distance(sacked_to, piece.end()) > 0 && distance(sacked_to, acked) > 0
        });
        // Duplicate ACKs come within a round trip of the last data, so a longer silence isn't
        // theirs; but that needs a round trip to compare with.
        if silence_us >= MIN_TIMEOUT_US.max(rtt_us.saturating_mul(2))
            && (rtt_us > 0 || !(dup_acks || sacked))
        {
            return Cause::Timeout;
        }
        if own.recover_to.is_some_and(|recover_to| distance(recover_to, acked) > 0) {
            return Cause::Timeout;
        }
        if dup_acks || sacked {
            return Cause::Fast;
        }
        let is_tail = piece.end() == side.expected;
        // The probe timer is two round trips (RFC 8985 section 7.2); measured ones vary.
        if is_tail && rtt_us > 0 && silence_us >= MIN_TAIL_PROBE_US.max(rtt_us / 2 * 3) {
            return Cause::TailProbe;
        }
        Cause::Unknown
    }

    /// The latest idea of a side's round trip, µs; 0 when there is none.
    fn rtt_us(&self, way: Way) -> u32 {
        let ledger = &self.ledgers[way.index()];
        if ledger.rtt.last_us > 0 { ledger.rtt.last_us } else { ledger.handshake_us }
    }
}
