//! The IPv4 header (RFC 791, spec 6.3).

use crate::{Fragment, Frame, Malformed, Outcome, Packet, offload, transport};

const FIXED_HEADER_BYTES: usize = 20;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

/// Parses the header at `at` and what follows it. `wire_len` is at least `data.len()`.
#[inline(always)]
pub(crate) fn parse(
    frame: &Frame<'_>,
    data: &[u8],
    at: usize,
    wire_len: u32,
    out: &mut Packet,
) -> Outcome {
    let Some(header) = data.get(at..).and_then(|rest| rest.first_chunk::<FIXED_HEADER_BYTES>())
    else {
        return Outcome::Malformed(Malformed::IpTruncated);
    };
    if header[0] >> 4 != 4 {
        return Outcome::Malformed(Malformed::IpVersion);
    }
    let header_len = u32::from(header[0] & 0x0f) * 4;
    if header_len < FIXED_HEADER_BYTES as u32 {
        return Outcome::Malformed(Malformed::IpHeaderLength);
    }
    let ip_at = at as u32;
    let ip_len = match u16::from_be_bytes([header[2], header[3]]) {
        // Large offload: the kernel writes 0 where the length doesn't fit 16 bits.
        0 => wire_len - ip_at,
        total_length => u32::from(total_length),
    };
    if ip_len < header_len {
        return Outcome::Malformed(Malformed::IpTotalLength);
    }

    out.tos = header[1];
    out.protocol = header[9];
    out.src[12..].copy_from_slice(&header[12..16]);
    out.dst[12..].copy_from_slice(&header[16..20]);
    out.packets = 1;
    out.bytes = u64::from(ip_len);
    let l4_at = ip_at + header_len;
    let l4_len = ip_len - header_len;
    let l4 = transport::captured(data, l4_at, l4_len);

    let fragmentation = u16::from_be_bytes([header[6], header[7]]);
    if fragmentation & (MORE_FRAGMENTS | OFFSET_MASK) != 0 {
        transport::fragment(l4, l4_at, l4_len, out);
        return Outcome::Fragment(Fragment {
            id: u32::from(u16::from_be_bytes([header[4], header[5]])),
            offset_bytes: (fragmentation & OFFSET_MASK) << 3,
            more: fragmentation & MORE_FRAGMENTS != 0,
        });
    }
    transport::parse(l4, l4_at, l4_len, out);
    if frame.gso_size != 0 {
        let ip = offload::Ip { at: ip_at, len: ip_len, absent: 0 };
        offload::count_segments(frame, data, &ip, out);
    }
    Outcome::Packet
}
