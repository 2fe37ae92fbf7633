//! Wire packets behind a frame that segmentation offload merged or has yet to split (design D6).
//!
//! The offloaded transport is the innermost one: for a tunnel each wire packet repeats all headers
//! up to the inner transport header. Those are parsed (VXLAN, Geneve, GRE, IP in IP), and the
//! kernel's `hdr_len` helps where they can't be.

use crate::transport::{TCP, UDP, UDP_HEADER_BYTES};
use crate::{Frame, Link, Outcome, Packet};

const IP_IN_IP: u8 = 4;
const IPV6_IN_IP: u8 = 41;
const GRE: u8 = 47;
const ETHER_TYPE_TEB: u16 = 0x6558;
const TCP_HEADER_BYTES: std::ops::RangeInclusive<u32> = 20..=60;

/// The outer IP packet as it lies in the frame.
pub(crate) struct Ip {
    pub(crate) at: u32,
    pub(crate) len: u32,
    /// Bytes of its headers that are in the frame but never on the wire.
    pub(crate) absent: u32,
}

/// Sets `packets` and `bytes` of `out` to those of the wire; `out` is otherwise complete.
/// Does nothing for transports that no offload splits.
#[cold]
pub(crate) fn count_segments(frame: &Frame<'_>, data: &[u8], ip: &Ip, out: &mut Packet) {
    let Some(headers_end) = headers_end(frame, data, out) else { return };
    let Some(payload_len) = (ip.at + ip.len).checked_sub(headers_end) else { return };
    let segments = payload_len.div_ceil(u32::from(frame.gso_size)).max(1);
    let repeated = headers_end - ip.at - ip.absent;
    out.packets = segments;
    out.bytes += u64::from(segments - 1) * u64::from(repeated);
}

/// Where the payload starts that is split, from the start of the frame.
fn headers_end(frame: &Frame<'_>, data: &[u8], out: &Packet) -> Option<u32> {
    let hint = u32::from(frame.gso_hdr_len);
    match out.protocol {
        TCP if out.l4_header_len > 0 => Some(out.payload_at),
        // Cut by the snap length, or malformed.
        TCP => match hint.checked_sub(out.l4_at) {
            Some(header_len) if TCP_HEADER_BYTES.contains(&header_len) => Some(hint),
            _ => Some(out.l4_at + TCP_HEADER_BYTES.start()),
        },
        UDP => match inner_headers_end(data, out) {
            // A hint short of the inner headers says that the outer datagrams are what is split.
            Some(inner) if hint == 0 || hint >= inner => Some(inner),
            _ => Some(out.l4_at + UDP_HEADER_BYTES),
        },
        IP_IN_IP | IPV6_IN_IP | GRE => {
            inner_headers_end(data, out).or((hint > out.l4_at).then_some(hint))
        }
        _ => None,
    }
}

fn inner_headers_end(data: &[u8], out: &Packet) -> Option<u32> {
    let l4_at = out.l4_at as usize;
    let (link, inner_at) = match (out.protocol, out.dst_port) {
        (IP_IN_IP | IPV6_IN_IP, _) => (Link::RawIp, l4_at),
        (GRE, _) => gre(data, l4_at)?,
        // VXLAN (RFC 7348) and the port Linux used before there was one: 8 bytes, then Ethernet.
        (UDP, 4789 | 8472) => (Link::Ethernet, l4_at + 16),
        (UDP, 6081) => geneve(data, l4_at + 8)?,
        _ => return None,
    };
    let inner = data.get(inner_at..)?;
    let mut packet = Packet::default();
    let frame = Frame { data: inner, wire_len: inner.len() as u32, ..Frame::default() };
    match crate::parse(link, &frame, &mut packet) {
        Outcome::Packet if matches!(packet.protocol, TCP | UDP) && packet.l4_header_len > 0 => {
            Some(inner_at as u32 + packet.payload_at)
        }
        _ => None,
    }
}

/// RFC 2784 and RFC 2890: flags, protocol type, then 4 bytes each for checksum, key and sequence.
fn gre(data: &[u8], at: usize) -> Option<(Link, usize)> {
    let header = data.get(at..)?.first_chunk::<4>()?;
    let optional = (header[0] & 0b1011_0000).count_ones() as usize * 4;
    link_of(u16::from_be_bytes([header[2], header[3]]), at + 4 + optional)
}

/// RFC 8926 section 3.4: length of options in units of 4 bytes, protocol type.
fn geneve(data: &[u8], at: usize) -> Option<(Link, usize)> {
    let header = data.get(at..)?.first_chunk::<4>()?;
    let options = usize::from(header[0] & 0x3f) * 4;
    link_of(u16::from_be_bytes([header[2], header[3]]), at + 8 + options)
}

fn link_of(ether_type: u16, at: usize) -> Option<(Link, usize)> {
    match ether_type {
        0x0800 | 0x86dd => Some((Link::RawIp, at)),
        ETHER_TYPE_TEB => Some((Link::Ethernet, at)),
        _ => None,
    }
}
