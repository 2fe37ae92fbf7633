//! SYN segments: who opened, handshake latencies, window scale, connections on used ports.

use super::Segment;
use super::ack::is_answer;
use super::details::{Details, SideDetail};
use super::flags::{ACK, SYN};
use super::number::elapsed_us;
use super::state::{Ledger, Side, TcpState, bit};
use crate::Way;

impl TcpState {
    /// Whether `segment` opens another connection on the ports of this one. [`TcpState::update`]
    /// then forgets the old one; who wants its last figures takes them before.
    #[must_use]
    pub fn starts_anew(&self, way: Way, segment: &Segment) -> bool {
        let peer = &self.sides[way.other().index()];
        // The peer's own SYN was the last that was heard of it.
        let opening = peer.bits & (bit::SYN | bit::PLAIN) == bit::SYN;
        if !segment.has(SYN) || self.repeats_syn(way, segment) {
            return false;
        }
        if segment.has(ACK) {
            self.has(way, bit::SEEN) && !opening
        } else {
            self.has(way, bit::SEEN) || peer.bits & bit::SEEN != 0 && !opening
        }
    }

    /// A segment with SYN and without RST.
    pub(super) fn syn(&mut self, way: Way, segment: &Segment, details: &mut Details) {
        let now_us = segment.time_us();
        if self.starts_anew(way, segment) {
            self.release(details);
            *self = Self::default();
        }
        if self.repeats_syn(way, segment) {
            self.syn_again(way, segment, now_us, details);
        } else {
            self.first_syn(way, segment, now_us, details);
        }
        if segment.has(ACK) {
            self.syn_ack(way, segment, now_us);
            self.acknowledge(way, segment, now_us, details);
        }
    }

    /// The first ACK without SYN of a direction: answers the peer's SYN+ACK if this side asked for
    /// it.
    pub(super) fn first_plain_ack(&mut self, way: Way, segment: &Segment, now_us: u32) {
        let i = way.index();
        let (side, peer) = self.pair(way);
        side.bits |= bit::PLAIN;
        let answers = side.bits & bit::SYN != 0
            && peer.bits & (bit::SYN_ACK | bit::PROBE) == bit::SYN_ACK | bit::PROBE;
        if answers && side.bits & bit::HANDSHAKE == 0 {
            let interval_us = elapsed_us(now_us, peer.probe_us);
            let clean = is_answer(peer, segment.timestamps);
            side.bits |= bit::HANDSHAKE | if clean { bit::CLEAN } else { 0 };
            self.ledgers[i].handshake_us = interval_us;
        }
        self.ledgers[i].min_window = segment.window;
    }

    /// Who opened the connection, and the sequence numbers of the first bytes of that end and of
    /// the other, as far as they are known.
    pub(crate) fn opening(&self) -> Option<(Way, [Option<u32>; 2])> {
        let opener = self.opener?;
        let start = |way: Way| {
            let peer = &self.sides[way.other().index()];
            if self.has(way, bit::SYN) {
                Some(self.ledgers[way.index()].first_seq.wrapping_add(1))
            } else {
                // Of a SYN that was not seen.
                Some(peer.acked).filter(|_| peer.bits & bit::ACKED != 0)
            }
        };
        Some((opener, [opener, opener.other()].map(start)))
    }

    fn repeats_syn(&self, way: Way, segment: &Segment) -> bool {
        self.has(way, bit::SYN) && segment.seq == self.ledgers[way.index()].first_seq
    }

    fn first_syn(&mut self, way: Way, segment: &Segment, now_us: u32, details: &mut Details) {
        let i = way.index();
        let after_syn = segment.seq.wrapping_add(1);
        let scales = if segment.syn.window_scale.is_some() { bit::SCALES } else { 0 };
        self.close = None;
        if let Some(detail) = details.get(self.detail) {
            detail.sides[i] = SideDetail::default();
        }
        self.sides[i] = Side {
            expected: after_syn.wrapping_add(segment.len),
            probe_end: after_syn,
            probe_us: now_us,
            probe_tsval: segment.timestamps.map_or(0, |timestamps| timestamps.value),
            last_data_us: now_us,
            window: segment.window,
            bits: bit::SEEN | bit::SYN | bit::PROBE | scales,
            ip_id: segment.ip_id.unwrap_or(0),
            tsval: segment.timestamps.map_or(0, |timestamps| timestamps.value as u16),
            ..Side::default()
        };
        self.ledgers[i] = Ledger {
            first_seq: segment.seq,
            initial_window: segment.window,
            min_window: segment.window,
            scale: segment.syn.window_scale.unwrap_or(0).min(14),
            ..Ledger::default()
        };
        if self.opener.is_none() {
            self.opener = Some(if segment.has(ACK) { way.other() } else { way });
        }
    }

    /// A SYN that was seen before. The latest one is what the handshake runs from (spec 11.2).
    fn syn_again(&mut self, way: Way, segment: &Segment, now_us: u32, details: &mut Details) {
        let i = way.index();
        let before = self.ledgers[i].retransmitted;
        // With simultaneous opening each side sends SYN, then SYN+ACK (RFC 9293 section 3.5).
        let crossing = segment.has(ACK) && !self.has(way, bit::SYN_ACK);
        if !crossing {
            self.out_of_line(way, segment, details);
        }
        let side = &mut self.sides[i];
        let again = crossing || self.ledgers[i].retransmitted != before;
        if again && side.bits & bit::PROBE != 0 {
            side.probe_us = now_us;
            side.probe_tsval = segment.timestamps.map_or(0, |timestamps| timestamps.value);
            side.bits |= bit::DIRTY;
        }
    }

    /// A SYN+ACK: answers the peer's SYN, the first time.
    fn syn_ack(&mut self, way: Way, segment: &Segment, now_us: u32) {
        let (side, peer) = self.pair(way);
        let first = side.bits & bit::SYN_ACK == 0;
        side.bits |= bit::SYN_ACK;
        if first && peer.bits & (bit::SYN | bit::PROBE) == bit::SYN | bit::PROBE {
            let interval_us = elapsed_us(now_us, peer.probe_us);
            let clean = is_answer(peer, segment.timestamps);
            side.bits |= bit::HANDSHAKE | if clean { bit::CLEAN } else { 0 };
            self.ledgers[way.index()].handshake_us = interval_us;
        }
    }
}
