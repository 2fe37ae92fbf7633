//! One direction of a TCP connection as in-order bytes (spec 13.1).
//!
//! Bytes that were seen are dropped; the first copy of a byte wins. A segment ahead of a gap waits
//! until the gap is filled, until the other end has acknowledged the missing bytes (which the
//! capture then never saw), for one second of packet time, or until there is no room; then the gap
//! is reported as lost. In-order segments, super-segments of offload among them, are passed on
//! without a copy, and a direction in which nothing waits takes 16 bytes.

use std::collections::VecDeque;

/// TCP flag: no more bytes follow.
pub const FIN: u8 = 0x01;
/// TCP flag: the connection begins.
pub const SYN: u8 = 0x02;
/// TCP flag: the connection is broken off.
pub const RST: u8 = 0x04;
/// TCP flag: the acknowledgment number holds.
pub const ACK: u8 = 0x10;

/// Most that waits ahead of a gap in one direction, bytes, with the cost of keeping it.
pub const MAX_WAITING_BYTES: usize = 64 * 1024;
/// Longest time that a segment waits ahead of a gap, µs of packet time.
pub const MAX_WAITING_US: u64 = 1_000_000;

/// What a waiting piece costs besides its bytes: its entry, the queue's slack, the allocator.
const PIECE_BYTES: usize = 96;
/// What a direction costs in which anything waits.
const WAITING_BYTES: usize = 96;
/// Payload lengths beyond this are not believed; no offload makes such segments.
const MAX_SEGMENT_BYTES: u32 = 1 << 24;

/// One TCP segment, or a super-segment of several.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Sequence number of the SYN if there is one, else of the first payload byte.
    pub seq: u32,
    /// Acknowledgment number; holds only with [`ACK`].
    pub ack: u32,
    /// TCP flags.
    pub flags: u8,
    /// Payload as far as captured.
    pub payload: &'a [u8],
    /// Payload bytes on the wire. More than captured means that the rest is lost.
    pub payload_len: u32,
}

/// What comes out of a direction, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// The next bytes, never empty.
    Bytes(&'a [u8]),
    /// So many bytes are lost, at least one.
    Gap(u64),
    /// The direction has ended; nothing comes after it.
    End,
}

/// Puts the segments of one direction in order.
#[derive(Debug, Default)]
pub struct Assembler {
    waiting: Option<Box<Waiting>>,
    /// Sequence number of the next byte to pass on.
    next: u32,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// It is not known where the bytes begin.
    #[default]
    Unseen,
    Open,
    Ended,
}

/// What waits ahead of a gap.
#[derive(Debug)]
struct Waiting {
    /// Sorted by distance from `next`, without overlap, none empty, none at `next` itself.
    pieces: VecDeque<Piece>,
    /// Bytes and cost of the pieces.
    cost: usize,
    /// When the oldest of what waits came.
    since_us: u64,
    /// Sequence number at which the direction ends.
    fin: Option<u32>,
}

#[derive(Debug)]
struct Piece {
    seq: u32,
    /// Length on the wire, at least that of `bytes`.
    len: u32,
    arrived_us: u64,
    bytes: Box<[u8]>,
}

impl Piece {
    fn cost(&self) -> usize {
        self.bytes.len() + PIECE_BYTES
    }
}

impl Assembler {
    /// Says where the bytes begin: one after the SYN's number. Without it they begin with the
    /// first segment.
    pub fn start(&mut self, seq: u32) {
        if self.phase == Phase::Unseen {
            self.next = seq;
            self.phase = Phase::Open;
        }
    }

    /// True once it is known where the bytes begin.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.phase != Phase::Unseen
    }

    /// True after [`Chunk::End`].
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Takes a segment, and gives what is in order by now. At most `room` bytes, and never more
    /// than [`MAX_WAITING_BYTES`], wait afterwards. `now_us` is the packet's time, µs.
    pub fn push(
        &mut self,
        segment: &Segment<'_>,
        now_us: u64,
        room: usize,
        sink: &mut impl FnMut(Chunk<'_>),
    ) {
        let seq = segment.seq.wrapping_add(u32::from(segment.flags & SYN != 0));
        self.start(seq);
        self.expire(now_us, sink);
        let captured = segment.payload.len().min(MAX_SEGMENT_BYTES as usize) as u32;
        let len = segment.payload_len.clamp(captured, MAX_SEGMENT_BYTES);
        let fin = segment.flags & FIN != 0;
        if len == 0 && !fin {
            return;
        }
        let room = room.min(MAX_WAITING_BYTES);
        while self.phase == Phase::Open {
            let ahead = distance(seq, self.next);
            if ahead <= 0 {
                let behind = ahead.unsigned_abs();
                let bytes = segment.payload.get(behind as usize..).unwrap_or_default();
                self.pass(bytes, len.saturating_sub(behind), sink);
                if fin {
                    self.end_at(seq.wrapping_add(len), sink);
                }
                return;
            }
            if self.keep(seq, segment.payload, len, fin, now_us, room) {
                return;
            }
            self.give_up_gap(Some(seq), sink);
        }
    }

    /// Gives up the gaps that something has waited behind for [`MAX_WAITING_US`].
    pub fn expire(&mut self, now_us: u64, sink: &mut impl FnMut(Chunk<'_>)) {
        while let Some(waiting) = &self.waiting
            && now_us.saturating_sub(waiting.since_us) >= MAX_WAITING_US
        {
            self.give_up_gap(None, sink);
        }
    }

    /// The other end has all bytes before `ack`: those missing among them were not captured.
    pub fn acknowledge(&mut self, ack: u32, sink: &mut impl FnMut(Chunk<'_>)) {
        while let Some(waiting) = &self.waiting
            && distance(ack, waiting.first(self.next)) >= 0
        {
            self.give_up_gap(None, sink);
        }
    }

    /// Gives all that waits, with the gaps between, and the end.
    pub fn finish(&mut self, sink: &mut impl FnMut(Chunk<'_>)) {
        while self.waiting.is_some() {
            self.give_up_gap(None, sink);
        }
        self.end(sink);
    }

    /// Bytes on the heap, with the cost of keeping them.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| WAITING_BYTES + waiting.cost)
    }

    /// Forgets what waits, without a word. The direction goes on behind it.
    pub(super) fn forget_waiting(&mut self) {
        self.waiting = None;
    }

    /// Reports as lost what is missing up to the first waiting piece, or up to `seq` if that is
    /// nearer, and passes on what follows it without a gap.
    fn give_up_gap(&mut self, seq: Option<u32>, sink: &mut impl FnMut(Chunk<'_>)) {
        let first = self.waiting.as_ref().map(|waiting| waiting.first(self.next));
        let ends = [first, seq].into_iter().flatten();
        let lost = ends.map(|end| end.wrapping_sub(self.next)).min().unwrap_or(0);
        if lost > 0 {
            sink(Chunk::Gap(lost.into()));
            self.next = self.next.wrapping_add(lost);
        }
        self.pass(&[], 0, sink);
    }

    /// Passes on `len` bytes at `next`, of which those that came earlier are taken from what waits,
    /// and whatever then follows without a gap.
    fn pass(&mut self, bytes: &[u8], len: u32, sink: &mut impl FnMut(Chunk<'_>)) {
        let Some(mut waiting) = self.waiting.take() else {
            self.emit(bytes, len, sink);
            return;
        };
        let base = self.next;
        let part = |from: u32, to: u32| {
            let to = (to as usize).min(bytes.len());
            bytes.get(from as usize..to).unwrap_or_default()
        };
        let mut at = 0;
        let mut taken = false;
        while let Some(piece) = waiting.pieces.front() {
            let piece_at = piece.seq.wrapping_sub(base);
            if piece_at > at.max(len) {
                break;
            }
            self.emit(part(at, piece_at), piece_at - at, sink);
            self.emit(&piece.bytes, piece.len, sink);
            at = piece_at + piece.len;
            waiting.cost -= piece.cost();
            waiting.pieces.pop_front();
            taken = true;
        }
        self.emit(part(at, len), len.saturating_sub(at), sink);
        if let Some(fin) = waiting.fin
            && distance(fin, self.next) <= 0
        {
            self.end(sink);
        } else if waiting.fin.is_some() || !waiting.pieces.is_empty() {
            if taken {
                let arrivals = waiting.pieces.iter().map(|piece| piece.arrived_us);
                waiting.since_us = arrivals.min().unwrap_or(waiting.since_us);
            }
            self.waiting = Some(waiting);
        }
    }

    fn emit(&mut self, bytes: &[u8], len: u32, sink: &mut impl FnMut(Chunk<'_>)) {
        let bytes = bytes.get(..len as usize).unwrap_or(bytes);
        if !bytes.is_empty() {
            sink(Chunk::Bytes(bytes));
        }
        let missing = len - bytes.len() as u32;
        if missing > 0 {
            sink(Chunk::Gap(missing.into()));
        }
        self.next = self.next.wrapping_add(len);
    }

    /// A FIN whose segment has been passed on. Before `next` it would contradict bytes that came.
    fn end_at(&mut self, fin: u32, sink: &mut impl FnMut(Chunk<'_>)) {
        if self.phase == Phase::Open && fin == self.next {
            self.end(sink);
        }
    }

    fn end(&mut self, sink: &mut impl FnMut(Chunk<'_>)) {
        self.waiting = None;
        if self.phase != Phase::Ended {
            self.phase = Phase::Ended;
            sink(Chunk::End);
        }
    }

    /// Keeps what is new of a segment ahead of a gap; false when there is no room for it.
    fn keep(
        &mut self,
        seq: u32,
        payload: &[u8],
        len: u32,
        fin: bool,
        now_us: u64,
        room: usize,
    ) -> bool {
        let parts = self.uncovered(seq, len);
        let piece = |&(from, to): &(u32, u32)| {
            let captured = (to as usize).min(payload.len());
            let bytes = payload.get(from as usize..captured).unwrap_or_default();
            let seq = seq.wrapping_add(from);
            Piece { seq, len: to - from, arrived_us: now_us, bytes: bytes.into() }
        };
        let kept = self.waiting.as_ref().map_or(0, |waiting| waiting.cost);
        let captured = |&(from, to): &(u32, u32)| {
            (to as usize).min(payload.len()).saturating_sub(from as usize) + PIECE_BYTES
        };
        let cost: usize = parts.iter().map(captured).sum();
        if WAITING_BYTES + kept + cost > room {
            return false;
        }
        if parts.is_empty() && !fin {
            return true;
        }
        let next = self.next;
        let waiting = self.waiting.get_or_insert_with(|| {
            Box::new(Waiting { pieces: VecDeque::new(), cost: 0, since_us: now_us, fin: None })
        });
        for piece in parts.iter().map(piece) {
            let after = |other: &Piece| other.seq.wrapping_sub(next) < piece.seq.wrapping_sub(next);
            let place = waiting.pieces.partition_point(after);
            waiting.cost += piece.cost();
            waiting.pieces.insert(place, piece);
        }
        if fin {
            waiting.fin = waiting.fin.or(Some(seq.wrapping_add(len)));
        }
        true
    }

    /// The parts of a segment that do not wait already, as offsets into it.
    fn uncovered(&self, seq: u32, len: u32) -> Vec<(u32, u32)> {
        let start = seq.wrapping_sub(self.next);
        let end = start + len;
        let mut parts = Vec::new();
        let mut at = start;
        let pieces = self.waiting.as_ref().map(|waiting| &waiting.pieces);
        for piece in pieces.into_iter().flatten() {
            let from = piece.seq.wrapping_sub(self.next);
            if from >= end {
                break;
            }
            if from > at {
                parts.push((at - start, from - start));
            }
            at = at.max(from + piece.len);
        }
        if at < end {
            parts.push((at - start, len));
        }
        parts
    }
}

impl Waiting {
    /// Where the first gap ends.
    fn first(&self, next: u32) -> u32 {
        self.pieces.front().map(|piece| piece.seq).or(self.fin).unwrap_or(next)
    }
}

/// How far `a` is after `b`; negative before it (RFC 1982 with 32 bits).
fn distance(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

#[cfg(test)]
mod tests;
