//! What the metrics need to know of one packet.

use decode::Packet;

use super::options::{self, SackBlocks, SynOptions, Timestamps};

const TCP: u8 = 6;
const FIXED_HEADER_BYTES: usize = 20;
/// Version 4, header without options.
const IPV4_PLAIN: u8 = 0x45;

/// A TCP segment as captured, or several that offload merged (design D6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// When it passed, ns since the Unix epoch or any other fixed point.
    pub time_ns: u64,
    /// First sequence number.
    pub seq: u32,
    /// Acknowledgment number; means nothing without [`flags::ACK`](super::flags::ACK).
    pub ack: u32,
    /// Payload bytes on the wire, of all merged segments together.
    pub len: u32,
    /// Payload bytes of each merged segment but the last; 0 for a segment of its own.
    pub piece_bytes: u32,
    /// Window as sent, not scaled.
    pub window: u16,
    /// The eight flag bits.
    pub flags: u8,
    /// Identification of the (first) IPv4 packet, if known; 0 tells nothing.
    pub ip_id: Option<u16>,
    /// The timestamps option.
    pub timestamps: Option<Timestamps>,
    /// The SACK option.
    pub sack: Option<SackBlocks>,
    /// Options of a SYN; default for other segments.
    pub syn: SynOptions,
}

impl Segment {
    /// The segment in `packet`, which was parsed from `data`, or `None` when it isn't TCP or too
    /// little of its header was captured.
    ///
    /// `gso_size` is the payload size of the merged segments as the kernel gave it, 0 if it gave
    /// none; then equal shares are assumed. Options are read as far as they were captured.
    #[inline(always)]
    #[must_use]
    pub fn new(packet: &Packet, data: &[u8], time_ns: u64, gso_size: u16) -> Option<Self> {
        if packet.protocol != TCP || packet.l4_header_len == 0 {
            return None;
        }
        let mut segment = Self {
            time_ns,
            seq: packet.tcp_seq,
            ack: packet.tcp_ack,
            len: packet.payload_len,
            piece_bytes: 0,
            window: packet.tcp_window,
            flags: packet.tcp_flags,
            ip_id: ip_id(packet, data),
            ..Self::default()
        };
        if packet.packets > 1 && packet.fragments == 0 {
            segment.piece_bytes = match gso_size {
                0 => packet.payload_len.div_ceil(packet.packets),
                size => u32::from(size),
            };
        }
        if usize::from(packet.l4_header_len) > FIXED_HEADER_BYTES {
            let at = packet.l4_at as usize;
            let end = data.len().min(at.saturating_add(usize::from(packet.l4_header_len)));
            let bytes = data.get(at.saturating_add(FIXED_HEADER_BYTES)..end).unwrap_or_default();
            segment.timestamps = options::plain_timestamps(bytes);
            if segment.timestamps.is_none() {
                segment.read_options(bytes);
            }
        }
        Some(segment)
    }

    fn read_options(&mut self, bytes: &[u8]) {
        let options = options::parse(bytes);
        self.timestamps = options.timestamps;
        self.sack = options.sack;
        self.syn = options.syn;
    }

    /// Time in microseconds, modulo 2³².
    #[inline(always)]
    pub(super) fn time_us(&self) -> u32 {
        (self.time_ns / 1000) as u32
    }

    #[inline(always)]
    pub(super) fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// Payload of the first wire segment.
    #[inline(always)]
    pub(super) fn first_piece_bytes(&self) -> u32 {
        if self.piece_bytes == 0 { self.len } else { self.len.min(self.piece_bytes) }
    }

    /// Wire segments it stands for, at least 1.
    #[inline(always)]
    pub(super) fn pieces(&self) -> u32 {
        if self.piece_bytes == 0 { 1 } else { self.len.div_ceil(self.piece_bytes).max(1) }
    }
}

/// Identification of an IPv4 packet. The header is found from its end, so that link headers and
/// tags don't matter; one with options, which hardly exists, tells nothing.
#[inline(always)]
fn ip_id(packet: &Packet, data: &[u8]) -> Option<u16> {
    if packet.ipv6 {
        return None;
    }
    let header = data.get((packet.l4_at as usize).checked_sub(20)?..)?.first_chunk::<10>()?;
    (header[0] == IPV4_PLAIN && header[9] == TCP)
        .then(|| u16::from_be_bytes([header[4], header[5]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// IPv4 and TCP with timestamps, 14 bytes into the frame.
    fn frame() -> (Packet, Vec<u8>) {
        let mut data = vec![0; 66];
        data[14] = IPV4_PLAIN;
        data[18..20].copy_from_slice(&[0x12, 0x34]);
        data[23] = TCP;
        data[54..66].copy_from_slice(&[1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9]);
        let packet = Packet {
            protocol: TCP,
            l4_at: 34,
            l4_header_len: 32,
            payload_len: 3_000,
            packets: 1,
            ..Packet::default()
        };
        (packet, data)
    }

    #[test]
    fn options_and_identification_come_from_the_frame() {
        let (packet, data) = frame();
        let segment = Segment::new(&packet, &data, 5, 0).unwrap();
        assert_eq!(segment.ip_id, Some(0x1234));
        assert_eq!(segment.timestamps, Some(Timestamps { value: 7, echo: 9 }));
        assert_eq!((segment.len, segment.pieces(), segment.first_piece_bytes()), (3_000, 1, 3_000));
    }

    #[test]
    fn merged_segments_are_as_large_as_the_kernel_says_or_of_equal_share() {
        let (packet, data) = frame();
        let packet = Packet { packets: 3, ..packet };
        let segment = Segment::new(&packet, &data, 5, 1_448).unwrap();
        assert_eq!((segment.pieces(), segment.first_piece_bytes()), (3, 1_448));
        let segment = Segment::new(&packet, &data, 5, 0).unwrap();
        assert_eq!((segment.pieces(), segment.first_piece_bytes()), (3, 1_000));
    }

    #[test]
    fn a_datagram_joined_from_fragments_is_one_segment() {
        let (packet, data) = frame();
        let packet = Packet { packets: 3, fragments: 3, ..packet };
        assert_eq!(Segment::new(&packet, &data, 5, 0).unwrap().pieces(), 1);
    }

    #[test]
    fn a_cut_option_is_left_out_and_a_cut_header_is_no_segment() {
        let (packet, data) = frame();
        assert_eq!(Segment::new(&packet, &data[..64], 5, 0).unwrap().timestamps, None);
        assert_eq!(Segment::new(&packet, &[], 5, 0).unwrap().ip_id, None);
        assert_eq!(Segment::new(&Packet { l4_header_len: 0, ..packet }, &data, 5, 0), None);
        assert_eq!(Segment::new(&Packet { protocol: 17, ..packet }, &data, 5, 0), None);
    }

    #[test]
    fn ipv6_has_no_identification() {
        let (packet, data) = frame();
        let segment = Segment::new(&Packet { ipv6: true, ..packet }, &data, 5, 0).unwrap();
        assert_eq!(segment.ip_id, None);
    }
}
