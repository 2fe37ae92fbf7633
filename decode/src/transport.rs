//! Transport headers: ports, TCP fields and payload (spec 6.4).
//!
//! A header can be *malformed*, when the IP packet is too short for it, or *cut*, when the snap
//! length left too little of it. Both leave the packet counted; a cut one keeps the fields seen.

use crate::Packet;

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;

pub(crate) const UDP_HEADER_BYTES: u32 = 8;
const TCP_MIN_HEADER_BYTES: u32 = 20;
const ICMP_HEADER_BYTES: u32 = 4;

/// The captured part of the `len` bytes that start at `at`; link-layer padding is left out.
#[inline(always)]
pub(crate) fn captured(data: &[u8], at: u32, len: u32) -> &[u8] {
    let rest = data.get(at as usize..).unwrap_or_default();
    rest.get(..len as usize).unwrap_or(rest)
}

/// Fills the transport fields for `out.protocol`. `l4` are the captured ones of `l4_len` bytes
/// that start at `l4_at`.
#[inline(always)]
pub(crate) fn parse(l4: &[u8], l4_at: u32, l4_len: u32, out: &mut Packet) {
    out.l4_at = l4_at;
    out.payload_at = l4_at;
    match out.protocol {
        TCP => tcp(l4, l4_len, out),
        UDP => udp(l4, l4_len, out),
        ICMP | ICMPV6 => icmp(l4, l4_len, out),
        _ => payload(l4, 0, l4_len, out),
    }
}

/// Fills the payload fields of a fragment, whose transport header is the reassembler's to read.
pub(crate) fn fragment(l4: &[u8], l4_at: u32, l4_len: u32, out: &mut Packet) {
    out.fragments = 1;
    out.l4_at = l4_at;
    payload(l4, 0, l4_len, out);
}

#[inline(always)]
fn tcp(l4: &[u8], l4_len: u32, out: &mut Packet) {
    if l4_len < TCP_MIN_HEADER_BYTES {
        return;
    }
    // The checksum and the urgent pointer behind these 16 bytes are of no use here.
    let Some(header) = l4.first_chunk::<16>() else {
        return tcp_cut(l4, out);
    };
    let header_len = u32::from(header[12] >> 4) * 4;
    if header_len < TCP_MIN_HEADER_BYTES || header_len > l4_len {
        return;
    }
    out.src_port = u16::from_be_bytes([header[0], header[1]]);
    out.dst_port = u16::from_be_bytes([header[2], header[3]]);
    out.tcp_seq = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    out.tcp_ack = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    out.tcp_flags = header[13];
    out.tcp_window = u16::from_be_bytes([header[14], header[15]]);
    payload(l4, header_len, l4_len - header_len, out);
}

#[cold]
fn tcp_cut(l4: &[u8], out: &mut Packet) {
    ports(l4, out);
    out.tcp_flags = l4.get(13).copied().unwrap_or(0);
}

#[inline(always)]
fn udp(l4: &[u8], l4_len: u32, out: &mut Packet) {
    if l4_len < UDP_HEADER_BYTES {
        return;
    }
    let available = l4_len - UDP_HEADER_BYTES;
    let Some(header) = l4.first_chunk::<6>() else {
        ports(l4, out);
        return payload(l4, UDP_HEADER_BYTES, available, out);
    };
    out.src_port = u16::from_be_bytes([header[0], header[1]]);
    out.dst_port = u16::from_be_bytes([header[2], header[3]]);
    let payload_len = match u16::from_be_bytes([header[4], header[5]]) {
        // RFC 2675 section 4: too long for the field.
        0 => available,
        length => u32::from(length).saturating_sub(UDP_HEADER_BYTES).min(available),
    };
    payload(l4, UDP_HEADER_BYTES, payload_len, out);
}

fn icmp(l4: &[u8], l4_len: u32, out: &mut Packet) {
    if l4_len < ICMP_HEADER_BYTES {
        return;
    }
    if let Some(type_and_code) = l4.first_chunk::<2>() {
        out.dst_port = u16::from_be_bytes(*type_and_code);
    }
    payload(l4, ICMP_HEADER_BYTES, l4_len - ICMP_HEADER_BYTES, out);
}

fn ports(l4: &[u8], out: &mut Packet) {
    if let Some(header) = l4.first_chunk::<4>() {
        out.src_port = u16::from_be_bytes([header[0], header[1]]);
        out.dst_port = u16::from_be_bytes([header[2], header[3]]);
    }
}

#[inline(always)]
fn payload(l4: &[u8], header_len: u32, payload_len: u32, out: &mut Packet) {
    out.l4_header_len = header_len as u8;
    out.payload_at = out.l4_at + header_len;
    out.payload_len = payload_len;
    out.payload_captured = (l4.len() as u32).saturating_sub(header_len).min(payload_len);
}
