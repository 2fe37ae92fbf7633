//! Frames built by hand, and short ways to parse them.

use decode::{Frame, Link, Outcome, Packet, parse};

pub const ETHERNET: [u8; 12] = [2, 0, 0, 0, 0, 0xd, 2, 0, 0, 0, 0, 0x5];
pub const DST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xd];
pub const SRC_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x5];

/// An Ethernet frame: MACs, then the parts.
pub fn ethernet(parts: &[&[u8]]) -> Vec<u8> {
    [&ETHERNET[..], &parts.concat()].concat()
}

/// An IPv4 header of 20 bytes from 192.0.2.1 to 198.51.100.2.
pub fn ipv4(total_length: u16, protocol: u8) -> Vec<u8> {
    let mut header = vec![0x45, 0, 0, 0, 0x12, 0x34, 0, 0, 64, protocol, 0, 0];
    header[2..4].copy_from_slice(&total_length.to_be_bytes());
    header.extend([192, 0, 2, 1, 198, 51, 100, 2]);
    header
}

/// An IPv6 header from 2001:db8::1 to 2001:db8::2.
pub fn ipv6(payload_length: u16, next_header: u8) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0, 0, 0, next_header, 64];
    header[4..6].copy_from_slice(&payload_length.to_be_bytes());
    header.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    header.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    header
}

/// A UDP header from port 5000 to 53.
pub fn udp(length: u16) -> Vec<u8> {
    let mut header = vec![0x13, 0x88, 0, 53, 0, 0, 0, 0];
    header[4..6].copy_from_slice(&length.to_be_bytes());
    header
}

/// A TCP header from port 40000 to 443 with `options` zero bytes, a multiple of 4.
pub fn tcp(options: usize) -> Vec<u8> {
    let mut header =
        vec![0x9c, 0x40, 0x01, 0xbb, 0, 0, 0, 7, 0, 0, 0, 9, 0, 0x18, 0x20, 0, 0, 0, 0, 0];
    header[12] = (((20 + options) / 4) << 4) as u8;
    header.resize(20 + options, 0);
    header
}

/// Parses `data` as the whole of what was on the wire.
pub fn parse_as(link: Link, data: &[u8]) -> (Outcome, Packet) {
    parse_frame(link, &frame(data))
}

pub fn frame(data: &[u8]) -> Frame<'_> {
    Frame { data, wire_len: data.len() as u32, ..Frame::default() }
}

pub fn parse_frame(link: Link, frame: &Frame<'_>) -> (Outcome, Packet) {
    // What the array held before must not matter.
    let mut packet = Packet {
        src: [0xee; 16],
        src_port: 1,
        vlan: 9,
        fragments: 3,
        tcp_seq: 1,
        ..Packet::default()
    };
    let outcome = parse(link, frame, &mut packet);
    (outcome, packet)
}

/// Parses an Ethernet frame that must be a packet.
#[track_caller]
pub fn packet(data: &[u8]) -> Packet {
    let (outcome, packet) = parse_as(Link::Ethernet, data);
    assert_eq!(outcome, Outcome::Packet);
    packet
}
