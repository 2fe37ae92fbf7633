//! The stream of one direction: what is in order, what is out of order, what was sent again
//! (spec 11.4).

use super::Segment;
use super::details::Details;
use super::flags::{FIN, RST, SYN};
use super::holes::Hole;
use super::number::{FAR, distance, elapsed_us};
use super::state::{Side, TcpState, bit};
use crate::Way;

/// Age at which a filled hole was a loss, when there is no round trip to tell.
const DEFAULT_THRESHOLD_US: u32 = 3_000;

/// No sender sends again sooner after it was told, even on the same machine: there a handshake is
/// answered within 5 µs, but data that another CPU overtook comes as late as 6 µs after the news.
const MIN_REACTION_US: u32 = 20;

/// Longest gap across which the low half of a timestamp still says which came first.
const TSVAL_HORIZON_US: u32 = 10_000_000;

/// Distance of IP identifications that may be put down to counting; most senders count, for the
/// others this seldom fits.
const IP_ID_HORIZON: u16 = 64;

/// The same for a sender that was seen counting: a quarter of all, so that it is clear which comes
/// first.
const COUNTED_HORIZON: u16 = 1 << 14;

/// Payload of a full segment on Ethernet, without options.
const FULL_SEGMENT: u32 = 1_460;

/// Merged segments are walked in at most this many pieces.
const MAX_PIECES: u32 = 256;

/// One wire segment of a merged one.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub(super) seq: u32,
    /// Payload bytes.
    pub(super) len: u32,
    pub(super) flags: u8,
    pub(super) tsval: Option<u32>,
    pub(super) ip_id: u16,
    pub(super) time_ns: u64,
}

impl Piece {
    pub(super) fn end(&self) -> u32 {
        let control = u32::from(self.flags & SYN != 0) + u32::from(self.flags & FIN != 0);
        self.seq.wrapping_add(self.len).wrapping_add(control)
    }

    pub(super) fn time_us(&self) -> u32 {
        (self.time_ns / 1000) as u32
    }
}

/// When a segment was sent, measured by another one of the same side.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    Before,
    After,
    Unknown,
}

impl Side {
    /// Goes on to `end` with a segment that has the latest data.
    #[inline(always)]
    fn advance(&mut self, piece: &Piece, end: u32, probe_end: u32) {
        let now_us = piece.time_us();
        self.expected = end;
        self.last_data_us = now_us;
        let tsval = piece.tsval.unwrap_or(0);
        self.tsval = tsval as u16;
        self.ip_id = piece.ip_id;
        if self.bits & bit::PROBE == 0 {
            self.bits = self.bits & !bit::DIRTY | bit::PROBE;
            self.probe_end = probe_end;
            self.probe_us = now_us;
            self.probe_tsval = tsval;
        }
    }

    /// A probe over which something was sent again says less (Karn), and nothing when the copy
    /// has the same timestamp.
    fn spoil_probe(&mut self, piece: &Piece) {
        if self.bits & bit::PROBE != 0 && distance(piece.seq, self.probe_end) < 0 {
            self.bits |= bit::DIRTY;
            if piece.tsval.unwrap_or(0) == self.probe_tsval {
                self.probe_tsval = 0;
            }
        }
    }
}

impl TcpState {
    /// Payload of a segment without SYN, FIN and RST.
    #[inline(always)]
    pub(super) fn data(&mut self, way: Way, segment: &Segment, details: &mut Details) {
        let (side, peer) = self.pair(way);
        let ordinary = segment.seq == side.expected && peer.bits & bit::ZERO == 0;
        if !ordinary {
            return self.out_of_line(way, segment, details);
        }
        let end = segment.seq.wrapping_add(segment.len);
        let probe_end = segment.seq.wrapping_add(segment.first_piece_bytes());
        side.advance(&last_piece(segment), end, probe_end);
    }

    /// Anything that takes sequence numbers.
    #[inline(never)]
    pub(super) fn out_of_line(&mut self, way: Way, segment: &Segment, details: &mut Details) {
        let first = segment.first_piece_bytes();
        let size = first.max(segment.len.div_ceil(MAX_PIECES)).max(1);
        let mut piece = Piece { len: 0, ..last_piece(segment) };
        piece.seq = segment.seq;
        piece.ip_id = segment.ip_id.unwrap_or(0);
        let mut left = segment.len;
        loop {
            piece.len = left.min(size);
            left -= piece.len;
            piece.flags = segment.flags & if left > 0 { !FIN } else { 0xff };
            if piece.seq == self.sides[way.index()].expected {
                return self.in_order(way, segment, &piece, left);
            }
            self.place(way, &piece, details);
            if left == 0 {
                return;
            }
            piece.seq = piece.seq.wrapping_add(piece.len);
            piece.ip_id = following(piece.ip_id, 1);
        }
    }

    /// A piece in order, and the `left` bytes of its segment behind it.
    fn in_order(&mut self, way: Way, segment: &Segment, first: &Piece, left: u32) {
        let (side, peer) = self.pair(way);
        let mut last = last_piece(segment);
        let rest = first.len.wrapping_add(left);
        let end = Piece { len: rest, flags: segment.flags, ..*first }.end();
        let last_len = if left == 0 { first.len } else { (left - 1) % first.len.max(1) + 1 };
        let probes = last_len == 1 && segment.flags & FIN == 0 && peer.bits & bit::ZERO != 0;
        if !probes {
            return side.advance(&last, end, first.end());
        }
        // A byte against a closed window: the receiver decides whether it counts (RFC 9293 section
        // 3.8.6.1).
        side.bits |= bit::WINDOW_PROBE;
        side.last_data_us = last.time_us();
        if left > 0 {
            last.ip_id = preceding(last.ip_id);
            side.advance(&last, end.wrapping_sub(1), first.end());
        }
    }

    /// One wire segment that is not in order.
    fn place(&mut self, way: Way, piece: &Piece, details: &mut Details) {
        if self.is_keepalive(way, piece) {
            return;
        }
        let side = &mut self.sides[way.index()];
        let jump = distance(piece.seq, side.expected);
        if jump.unsigned_abs() > FAR.unsigned_abs() {
            side.expected = piece.end();
            side.bits &= !(bit::PROBE | bit::HOLES);
            if let Some(detail) = details.get(self.detail) {
                detail.sides[way.index()].holes.clear();
            }
        } else if jump > 0 {
            self.gap(way, piece, details);
        } else {
            self.below(way, piece, details);
        }
    }

    /// A keep-alive repeats the last byte or none when all is acknowledged (RFC 9293 section
    /// 3.8.4); some stacks probe a closed window the same way.
    fn is_keepalive(&self, way: Way, piece: &Piece) -> bool {
        let [side, peer] = [way, way.other()].map(|way| &self.sides[way.index()]);
        piece.len <= 1
            && piece.flags & (SYN | FIN | RST) == 0
            && piece.seq == side.expected.wrapping_sub(1)
            && (peer.bits & bit::ACKED == 0
                || peer.bits & bit::ZERO != 0
                || distance(peer.acked, side.expected) >= 0)
    }

    /// Something is missing in front of this segment.
    fn gap(&mut self, way: Way, piece: &Piece, details: &mut Details) {
        let (side, peer) = self.pair(way);
        let (start, since_us, before_id) = (side.expected, side.last_data_us, side.ip_id);
        let acked =
            if peer.bits & bit::ACKED != 0 { distance(peer.acked, start).max(0) } else { 0 };
        let len = piece.seq.wrapping_sub(start);
        let probed = side.bits & bit::WINDOW_PROBE != 0;
        side.bits &= !bit::WINDOW_PROBE;
        side.advance(piece, piece.end(), piece.end());
        if probed && len == 1 && acked == 1 {
            // The byte sent against a closed window was taken.
            return;
        }
        let acked = acked.unsigned_abs();
        // What is missing was sent between the last segment and this one.
        let suspect = details.was_losing(since_us, piece.time_us(), piece.time_ns);
        let Some(detail) = details.obtain(&mut self.detail) else {
            self.lacking = true;
            return;
        };
        let own = &mut detail.sides[way.index()];
        own.counts_ids = counts_over(before_id, piece, len);
        own.largest = own.largest.max(u16::try_from(piece.len).unwrap_or(u16::MAX));
        own.counts.gaps += u32::from(!suspect);
        own.counts.suspect_gaps += u32::from(suspect);
        own.counts.unseen_bytes += u64::from(acked.min(len));
        own.counts.holes_dropped += u32::from(own.holes.push(Hole {
            start,
            end: piece.seq,
            at_us: piece.time_us(),
            tsval: piece.tsval.unwrap_or(0) as u16,
            ip_id: piece.ip_id,
            acked: acked >= len,
            suspect,
            told_us: 0,
        }));
        self.sides[way.index()].bits |= bit::HOLES;
    }

    /// Something at or below what was seen already.
    fn below(&mut self, way: Way, piece: &Piece, details: &mut Details) {
        let end = piece.end();
        let hole = self.hole_at(way, piece, details);
        let side = &mut self.sides[way.index()];
        side.spoil_probe(piece);
        let horizon = self.ip_id_horizon(way, details);
        let side = &mut self.sides[way.index()];
        let copy = sent_relative(piece, side.tsval, side.ip_id, horizon, side.last_data_us);
        let mut late = copy == Sent::Before;
        if let Some(hole) = hole {
            late |= self.fill(way, piece, &hole, details);
        } else if copy == Sent::Before
            && distance(end, side.expected) <= 0
            && !self.is_overtaken_again(way, piece, details)
        {
            // The very packet again: the network or the capture made two of it.
            match details.obtain(&mut self.detail) {
                Some(detail) => detail.sides[way.index()].counts.duplicates += 1,
                None => self.lacking = true,
            }
            return;
        } else {
            self.retransmitted(way, piece, None, details);
        }
        let side = &mut self.sides[way.index()];
        side.last_data_us = piece.time_us();
        if !late && let Some(detail) = details.get(self.detail) {
            let own = &mut detail.sides[way.index()];
            if own.front_id == 0 || own.front != side.expected {
                (own.front, own.front_id) = (side.expected, side.ip_id);
            }
        }
        if distance(end, side.expected) > 0 {
            side.expected = end;
        }
        if !late {
            side.tsval = piece.tsval.unwrap_or(0) as u16;
            side.ip_id = piece.ip_id;
        }
    }

    /// Whether a segment that was seen before cannot be the same packet: every segment behind its
    /// data was sent after the original, and its identification is nearer to that of the last than
    /// there are segments between. So it was sent again, and something later overtook it.
    fn is_overtaken_again(&self, way: Way, piece: &Piece, details: &mut Details) -> bool {
        let side = &self.sides[way.index()];
        let Some(detail) = details.get(self.detail) else { return false };
        let own = &detail.sides[way.index()];
        let tells = own.counts_ids && piece.ip_id != 0 && side.ip_id != 0;
        if !tells || piece.len == 0 || piece.flags & (SYN | RST) != 0 {
            return false;
        }
        let largest = piece.len.max(own.largest.into()).max(FULL_SEGMENT);
        let segments = side.expected.wrapping_sub(piece.end()).div_ceil(largest);
        // What was sent again since the last segment of the stream has identifications, too.
        let has_front = own.front_id != 0 && own.front == side.expected;
        let again = if has_front { side.ip_id.wrapping_sub(own.front_id) } else { 0 };
        let original = segments.saturating_add(again.into()).min(COUNTED_HORIZON.into());
        let behind = u32::from(side.ip_id.wrapping_sub(piece.ip_id));
        0 < behind && behind < original && own.resent_ids.lacks(piece.ip_id)
    }

    /// How far IP identifications of this side tell which segment was sent first.
    fn ip_id_horizon(&self, way: Way, details: &mut Details) -> u16 {
        match details.get(self.detail) {
            Some(detail) if detail.sides[way.index()].counts_ids => COUNTED_HORIZON,
            _ => IP_ID_HORIZON,
        }
    }

    /// The hole that has all of the segment; in any case closes what the segment covers.
    fn hole_at(&mut self, way: Way, piece: &Piece, details: &mut Details) -> Option<Hole> {
        if !self.has(way, bit::HOLES) {
            return None;
        }
        let own = &mut details.get(self.detail)?.sides[way.index()];
        let hole = own.holes.containing(piece.seq, piece.end());
        own.counts.holes_dropped += u32::from(own.holes.fill(piece.seq, piece.end()));
        if own.holes.is_empty() {
            self.sides[way.index()].bits &= !bit::HOLES;
        }
        hole
    }

    /// What was missing came: late on its way, or sent again because it was lost before it got
    /// here. True for late.
    fn fill(&mut self, way: Way, piece: &Piece, hole: &Hole, details: &mut Details) -> bool {
        let overtaken = self.is_overtaken(way, piece, hole);
        let horizon = self.ip_id_horizon(way, details);
        let ledger = &mut self.ledgers[way.index()];
        let late = match sent_relative(piece, hole.tsval, hole.ip_id, horizon, hole.at_us) {
            Sent::Before => true,
            Sent::After => false,
            Sent::Unknown => overtaken,
        };
        // A loss may have become known since.
        let suspect = hole.suspect || details.was_losing(hole.at_us, hole.at_us, piece.time_ns);
        if suspect || hole.acked && late {
            if let Some(detail) = details.get(self.detail) {
                detail.sides[way.index()].counts.suspect_fills += 1;
            }
        } else if late {
            match ledger.out_of_order.checked_add(1) {
                Some(count) => ledger.out_of_order = count,
                None => {
                    if let Some(detail) = details.get(self.detail) {
                        detail.sides[way.index()].counts.more_out_of_order += 1;
                    }
                }
            }
        } else {
            self.retransmitted(way, piece, Some(hole), details);
        }
        late
    }
}

impl TcpState {
    /// Whether what fills a hole comes too soon to have been sent again. That takes a round trip
    /// of the sender's side from when the peer told of the hole. The handshake's is one (spec 11.4),
    /// but may have been slow: the smallest counts. Before any news, only a timeout can have made
    /// the sender send again.
    fn is_overtaken(&self, way: Way, piece: &Piece, hole: &Hole) -> bool {
        let ledger = &self.ledgers[way.index()];
        let handshake_us = self.has(way, bit::HANDSHAKE).then_some(ledger.handshake_us);
        let least_us = (ledger.least_rtt_us > 0).then_some(ledger.least_rtt_us);
        let round_trip_us = handshake_us.into_iter().chain(least_us).min();
        match round_trip_us {
            Some(us) if hole.told_us != 0 => {
                elapsed_us(piece.time_us(), hole.told_us) < us.max(MIN_REACTION_US)
            }
            _ => {
                let least_us = round_trip_us.unwrap_or(0).max(DEFAULT_THRESHOLD_US);
                elapsed_us(piece.time_us(), hole.at_us) < least_us
            }
        }
    }
}

/// The last wire segment of a merged one, as far as its order of sending goes.
#[inline(always)]
fn last_piece(segment: &Segment) -> Piece {
    let ip_id = segment.ip_id.unwrap_or(0);
    Piece {
        seq: segment.seq,
        len: segment.len,
        flags: segment.flags,
        tsval: segment.timestamps.map(|timestamps| timestamps.value),
        ip_id: if segment.piece_bytes == 0 {
            ip_id
        } else {
            following(ip_id, segment.pieces() - 1)
        },
        time_ns: segment.time_ns,
    }
}

/// Identification of the `n`th packet after one; 0 stays what tells nothing.
fn following(ip_id: u16, n: u32) -> u16 {
    if ip_id == 0 { 0 } else { ip_id.wrapping_add(n as u16) }
}

/// Identification of the packet before one.
fn preceding(ip_id: u16) -> u16 {
    if ip_id == 0 { 0 } else { ip_id.wrapping_sub(1) }
}

/// Whether a sender counts its IP identifications: from the last segment before `missing` bytes to
/// the `piece` behind them they went on by as many as there were segments, or few more.
fn counts_over(before: u16, piece: &Piece, missing: u32) -> bool {
    let segments = missing.div_ceil(piece.len.max(1));
    let most = segments.saturating_add(IP_ID_HORIZON.into()).min(COUNTED_HORIZON.into());
    before != 0 && piece.ip_id != 0 && u32::from(piece.ip_id.wrapping_sub(before)) <= most
}

/// Compares the sending of `piece` with that of a segment of the same side seen at `then_us`: by
/// timestamp (RFC 7323 section 4.1: it never goes back), else by IP identification, if that lies
/// within `horizon`.
fn sent_relative(piece: &Piece, tsval: u16, ip_id: u16, horizon: u16, then_us: u32) -> Sent {
    if let Some(own) = piece.tsval
        && elapsed_us(piece.time_us(), then_us) < TSVAL_HORIZON_US
    {
        match (own as u16).wrapping_sub(tsval).cast_signed() {
            0 => {}
            ..0 => return Sent::Before,
            1.. => return Sent::After,
        }
    }
    if piece.ip_id == 0 || ip_id == 0 {
        return Sent::Unknown;
    }
    let (after, before) = (piece.ip_id.wrapping_sub(ip_id), ip_id.wrapping_sub(piece.ip_id));
    if before <= horizon {
        Sent::Before
    } else if after <= horizon {
        Sent::After
    } else {
        Sent::Unknown
    }
}
