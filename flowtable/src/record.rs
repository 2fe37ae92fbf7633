//! The flow record: what one direction of a conversation did over one export interval.

use std::net::IpAddr;

use decode::app::App;

/// Which way a direction runs, seen from the capture interface (spec 6.2).
///
/// Fixed by the first packet of the direction and never changed afterwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The destination MAC is the interface's own.
    In,
    /// The source MAC is the interface's own.
    Out,
    /// Neither, or the interface has no MAC. Exported like [`Direction::Out`].
    #[default]
    Unknown,
}

/// One direction of a conversation over one export interval.
///
/// Plain data, about 140 bytes, no heap. Counters are what the wire saw (design D6), before any
/// scaling by the sample rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When the record was cut, ns since the Unix epoch. In replay, the export tick in packet time.
    pub time_ns: u64,
    /// Number of the conversation's first frame in the capture; orders records cut at one tick.
    /// `u64::MAX` for one that began with fragments which never became a datagram.
    pub first_frame: u64,
    /// Source address.
    pub src: IpAddr,
    /// Destination address, of the same family as `src`.
    pub dst: IpAddr,
    /// Source port; 0 where the protocol has none, and for ICMP.
    pub src_port: u16,
    /// Destination port; ICMP and ICMPv6: type × 256 + code.
    pub dst_port: u16,
    /// IP protocol number after extension headers.
    pub protocol: u8,
    /// OR of the type-of-service or traffic-class bytes.
    pub tos: u8,
    /// OR of the eight TCP flag bits; 0 for other protocols.
    pub tcp_flags: u8,
    /// Direction relative to the capture interface.
    pub direction: Direction,
    /// Innermost VLAN id, 0 when untagged.
    pub vlan: u16,
    /// Source MAC of the direction's first packet; zero when the link has none.
    pub src_mac: [u8; 6],
    /// Destination MAC of the direction's first packet; zero when the link has none.
    pub dst_mac: [u8; 6],
    /// Wire packets.
    pub packets: u64,
    /// IP bytes on the wire, link headers excluded.
    pub bytes: u64,
    /// IP fragments among `packets`.
    pub fragments: u32,
    /// N of 1:N flow sampling; 1 when unsampled.
    pub sample_rate: u32,
    /// The application protocol that was recognised; its number on the wire is
    /// [`App::wire_id`].
    pub app: Option<App>,
    /// Number shared by both directions of a TCP or UDP conversation; 0 for other protocols.
    pub connection_id: u32,
    /// From the first payload of the peer to the first of this direction, µs, at most 2³² − 1;
    /// `None` unless the peer's came first. TCP and UDP.
    pub first_payload_us: Option<u32>,
}
