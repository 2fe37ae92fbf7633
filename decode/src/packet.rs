//! The result of parsing: one plain record per packet.

/// What one packet says, as counted on the wire. Plain data, meant to be written in place into an
/// array that is used again and again.
///
/// Offsets (`l4_at`, `payload_at`) count from the start of the bytes that were parsed: the frame,
/// or [`Datagram::bytes`](crate::fragments::Datagram::bytes) for a reassembled datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// Source address. IPv4: the four octets in `[12..16]`, the rest zero.
    pub src: [u8; 16],
    /// Destination address, laid out like `src`.
    pub dst: [u8; 16],
    /// IP bytes on the wire, from the IP headers (spec 6.3): header and payload without padding.
    /// For an offloaded frame the sum over its wire packets; each repeats IP and transport header.
    pub bytes: u64,
    /// Packets on the wire: 1, the segments of an offloaded frame, or the fragments of a datagram.
    pub packets: u32,
    /// Fragments among `packets`: 0, or equal to it.
    pub fragments: u32,
    /// Where the transport header starts; for a fragment, where its payload starts.
    pub l4_at: u32,
    /// Where the transport payload starts.
    pub payload_at: u32,
    /// Payload bytes according to the headers. 0 when the transport header is malformed or too
    /// much of it was cut off by the snap length.
    pub payload_len: u32,
    /// Payload bytes that were captured, at most `payload_len`.
    pub payload_captured: u32,
    /// TCP sequence number; 0 unless TCP with `l4_header_len` > 0. So are the next two.
    pub tcp_seq: u32,
    /// TCP acknowledgment number.
    pub tcp_ack: u32,
    /// TCP window as sent, not scaled.
    pub tcp_window: u16,
    /// Source port; 0 for ICMP, for other protocols and for malformed transport headers.
    pub src_port: u16,
    /// Destination port; type × 256 + code for ICMP and ICMPv6; else 0 like `src_port`.
    pub dst_port: u16,
    /// Id of the innermost VLAN tag, 1–4095; 0 for none. Priority tags (id 0) name no VLAN and
    /// leave the id of the tag around them.
    pub vlan: u16,
    /// Source MAC of the outermost Ethernet header; the sender of a cooked capture if it has
    /// 6 bytes; else zero.
    pub src_mac: [u8; 6],
    /// Destination MAC of the outermost Ethernet header; else zero.
    pub dst_mac: [u8; 6],
    /// IPv6 rather than IPv4.
    pub ipv6: bool,
    /// Number of the transport protocol. For IPv6 the one after the extension headers, or the
    /// number of the extension header at which the walk had to stop.
    pub protocol: u8,
    /// Type of service byte or traffic class, with ECN.
    pub tos: u8,
    /// The 8 TCP flags, FIN 0x01 … CWR 0x80.
    pub tcp_flags: u8,
    /// Bytes of the transport header: TCP 20–60 with options, UDP 8, ICMP 4. 0 for other
    /// protocols, for malformed headers, and for TCP when fewer than 16 bytes were captured: then
    /// there is nothing to follow a TCP state by.
    pub l4_header_len: u8,
}

impl Packet {
    /// The captured payload within `data`, the bytes this packet was parsed from. Empty when
    /// `data` is some other, shorter slice.
    #[must_use]
    pub fn payload<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        let start = self.payload_at as usize;
        data.get(start..start.saturating_add(self.payload_captured as usize)).unwrap_or_default()
    }
}
