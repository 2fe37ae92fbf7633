//! One incomplete datagram: which bytes are missing, and those received.

use std::ops::Range;

use crate::transport;
use crate::{Fragment, Packet, ipv6};

/// Index of the last byte a hole can have; payloads end before it.
const TOP: u16 = 65_535;

/// Bytes `first..=last` of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: u16,
    pub(super) last: u16,
}

impl Span {
    /// The bytes a fragment covers according to its headers. `None` when it has none, or ends at
    /// byte 0 or beyond 65,534 (FRG-5).
    pub(super) fn of(fragment: &Fragment, payload_len: u32) -> Option<Self> {
        let first = u32::from(fragment.offset_bytes);
        let last = first.checked_add(payload_len.checked_sub(1)?)?;
        let last = u16::try_from(last).ok().filter(|&last| last != 0 && last < TOP)?;
        Some(Self { first: fragment.offset_bytes, last })
    }
}

/// Where captured bytes belong. They lie one after the other in `Datagram::data`.
#[derive(Clone, Copy, Debug)]
struct Piece {
    offset: u16,
    len: u16,
}

/// Holes and data of an incomplete datagram, and the sum of its fragments.
#[derive(Debug)]
pub(super) struct Datagram {
    /// Ascending, disjoint, not adjacent.
    holes: Vec<Span>,
    pieces: Vec<Piece>,
    data: Vec<u8>,
    /// First byte that was on the wire but not captured.
    cut_at: u16,
    /// Length of the whole, known once its last fragment came.
    len: u16,
    /// Addresses, VLAN and MACs of the newest fragment with the sums of all, and the transport
    /// fields if the first fragment came.
    sum: Packet,
    /// What the first fragment's payload starts with, once it came: the protocol, or an IPv6
    /// extension header.
    first_next: Option<u8>,
}

impl Datagram {
    /// [`Self::heap_bytes`] of a new one: its single hole.
    pub(super) const NEW_HEAP_BYTES: usize = size_of::<Span>();

    pub(super) fn new() -> Self {
        let mut holes = Vec::new();
        holes.reserve_exact(1);
        holes.push(Span { first: 0, last: TOP });
        Self {
            holes,
            pieces: Vec::new(),
            data: Vec::new(),
            cut_at: TOP,
            len: 0,
            sum: Packet::default(),
            first_next: None,
        }
    }

    /// Heap bytes in use.
    pub(super) fn heap_bytes(&self) -> usize {
        self.holes.capacity() * size_of::<Span>()
            + self.pieces.capacity() * size_of::<Piece>()
            + self.data.capacity()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.holes.is_empty()
    }

    /// The holes that `span` reaches into, as indices; empty for a duplicate.
    pub(super) fn overlapped(&self, span: Span) -> Range<usize> {
        let start = self.holes.partition_point(|hole| hole.last < span.first);
        let end = self.holes.partition_point(|hole| hole.first <= span.last);
        start..end.max(start)
    }

    /// Heap bytes that [`Self::fill`] is going to add.
    pub(super) fn growth_bytes(&self, overlapped: &Range<usize>, captured: usize) -> usize {
        growth(&self.holes, 1) * size_of::<Span>()
            + growth(&self.pieces, overlapped.len()) * size_of::<Piece>()
            + growth(&self.data, captured)
    }

    /// Stores what `span` brings into the holes that it overlaps and adds up the counts.
    /// `captured` is the captured beginning of the span's bytes.
    pub(super) fn fill(
        &mut self,
        span: Span,
        overlapped: Range<usize>,
        fragment: &Fragment,
        packet: &Packet,
        captured: &[u8],
    ) {
        reserve(&mut self.holes, 1);
        reserve(&mut self.pieces, overlapped.len());
        reserve(&mut self.data, captured.len());
        let reached = self.holes.get(overlapped.clone()).unwrap_or_default();
        let (Some(&lowest), Some(&highest)) = (reached.first(), reached.last()) else { return };
        for hole in reached {
            let first = hole.first.max(span.first);
            let last = hole.last.min(span.last);
            let from = usize::from(first - span.first);
            let to = usize::from(last - span.first) + 1;
            let seen = captured.get(from..to.min(captured.len())).unwrap_or_default();
            if seen.len() < to - from {
                self.cut_at = self.cut_at.min(first + seen.len() as u16);
            }
            if !seen.is_empty() {
                self.pieces.push(Piece { offset: first, len: seen.len() as u16 });
                self.data.extend_from_slice(seen);
            }
        }
        // The top hole closes with the last fragment only; a hole below data received stays open.
        let closes = !fragment.more && highest.last == TOP;
        if closes {
            self.len = span.last + 1;
        }
        let before =
            (lowest.first < span.first).then(|| Span { first: lowest.first, last: span.first - 1 });
        let after = (highest.last > span.last && !closes)
            .then(|| Span { first: span.last + 1, last: highest.last });
        self.holes.splice(overlapped, before.into_iter().chain(after));
        self.add_counts(fragment, packet, captured);
    }

    fn add_counts(&mut self, fragment: &Fragment, packet: &Packet, captured: &[u8]) {
        let before = self.sum;
        self.sum = *packet;
        self.sum.packets = before.packets.saturating_add(packet.packets);
        self.sum.bytes = before.bytes.saturating_add(packet.bytes);
        if self.first_next.is_none() && fragment.offset_bytes == 0 {
            self.first_next = Some(packet.protocol);
            upper(captured, packet.payload_len, &mut self.sum);
        } else if self.first_next.is_some() {
            self.sum.protocol = before.protocol;
            self.sum.src_port = before.src_port;
            self.sum.dst_port = before.dst_port;
            self.sum.tcp_flags = before.tcp_flags;
        }
    }

    /// The fragments so far as one packet without payload (FRG-10): of the transport flow when the
    /// first fragment came, else with ports 0.
    pub(super) fn credit(&self) -> Packet {
        let mut packet = self.sum;
        packet.fragments = packet.packets;
        packet.tcp_seq = 0;
        packet.tcp_ack = 0;
        packet.tcp_window = 0;
        packet.l4_header_len = 0;
        packet.l4_at = 0;
        packet.payload_at = 0;
        packet.payload_len = 0;
        packet.payload_captured = 0;
        packet
    }

    /// Copies the data into `whole` in order and gives the packet for it. To be called once
    /// [complete](Self::is_complete).
    pub(super) fn join(&self, whole: &mut Vec<u8>) -> Packet {
        whole.clear();
        whole.resize(usize::from(self.len), 0);
        let mut rest = self.data.as_slice();
        for piece in &self.pieces {
            let start = usize::from(piece.offset);
            let (bytes, following) =
                rest.split_at_checked(usize::from(piece.len)).unwrap_or_default();
            rest = following;
            if let Some(place) = whole.get_mut(start..start + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        }
        whole.truncate(usize::from(self.cut_at));
        let mut packet = self.credit();
        packet.protocol = self.first_next.unwrap_or(packet.protocol);
        upper(whole, u32::from(self.len), &mut packet);
        packet
    }
}

/// Fills protocol and transport fields from `data`, the captured beginning of `len` bytes that
/// follow the fragment header. Extension headers can stand there (RFC 8200 section 4.5).
fn upper(data: &[u8], len: u32, packet: &mut Packet) {
    let mut l4_at = 0;
    if packet.ipv6 {
        let upper = ipv6::walk(data, 0, len, packet.protocol);
        packet.protocol = upper.protocol;
        l4_at = upper.at;
    }
    let l4_len = len - l4_at;
    transport::parse(transport::captured(data, l4_at, l4_len), l4_at, l4_len, packet);
}

/// Elements by which room for `more` grows `list`: to double the size, or to what is needed.
fn growth<T>(list: &Vec<T>, more: usize) -> usize {
    let needed = list.len() + more;
    if needed <= list.capacity() { 0 } else { needed.max(list.capacity() * 2) - list.capacity() }
}

fn reserve<T>(list: &mut Vec<T>, more: usize) {
    let grown = growth(list, more);
    if grown > 0 {
        list.reserve_exact(list.capacity() + grown - list.len());
    }
}
