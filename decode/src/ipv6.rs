//! The IPv6 header and its extension headers (RFC 8200, spec 6.3).

use crate::{Fragment, Frame, Malformed, Outcome, Packet, offload, transport};

const HEADER_BYTES: u32 = 40;
/// Most extension headers that are skipped.
const MAX_EXTENSION_HEADERS: usize = 8;
/// The hop-by-hop header with nothing but a jumbo payload option (RFC 2675).
const JUMBO_HEADER_BYTES: u32 = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const NO_NEXT_HEADER: u8 = 59;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;

/// Parses the header at `at` and what follows it. `wire_len` is at least `data.len()`.
#[inline(always)]
pub(crate) fn parse(
    frame: &Frame<'_>,
    data: &[u8],
    at: usize,
    wire_len: u32,
    out: &mut Packet,
) -> Outcome {
    let Some(header) = data.get(at..).and_then(|rest| rest.first_chunk::<40>()) else {
        return Outcome::Malformed(Malformed::IpTruncated);
    };
    if header[0] >> 4 != 6 {
        return Outcome::Malformed(Malformed::IpVersion);
    }
    let ip_at = at as u32;
    let first_next = header[6];
    let (ip_len, absent) = match u16::from_be_bytes([header[4], header[5]]) {
        // What follows an empty packet in the frame is padding.
        0 if first_next == NO_NEXT_HEADER => (HEADER_BYTES, 0),
        0 => (wire_len - ip_at, absent_jumbo_header(frame, data, at, first_next)),
        payload_length => (HEADER_BYTES + u32::from(payload_length), 0),
    };

    out.ipv6 = true;
    out.tos = header[0] << 4 | header[1] >> 4;
    out.src.copy_from_slice(&header[8..24]);
    out.dst.copy_from_slice(&header[24..40]);
    out.packets = 1;
    out.bytes = u64::from(ip_len - absent);
    let end = ip_at + ip_len;
    let upper = walk(data, ip_at + HEADER_BYTES, end, first_next);
    out.protocol = upper.protocol;
    let l4_len = end - upper.at;
    let l4 = transport::captured(data, upper.at, l4_len);
    if let Some(fragment) = upper.fragment {
        transport::fragment(l4, upper.at, l4_len, out);
        return Outcome::Fragment(fragment);
    }
    transport::parse(l4, upper.at, l4_len, out);
    if frame.gso_size != 0 {
        let ip = offload::Ip { at: ip_at, len: ip_len, absent };
        offload::count_segments(frame, data, &ip, out);
    }
    Outcome::Packet
}

/// Where the walk over extension headers ended.
pub(crate) struct Upper {
    /// The protocol that starts at `at`: of the upper layer, of a fragment's payload, or of the
    /// extension header that was cut, too long, or one too many.
    pub(crate) protocol: u8,
    /// From the start of the data; never beyond the `end` given to [`walk`].
    pub(crate) at: u32,
    /// Set when `at` is the payload of a fragment.
    pub(crate) fragment: Option<Fragment>,
}

/// Skips extension headers from `at`, at most 8. Headers must lie before `end`, where the packet
/// ends according to its length field, and `at <= end`; they need not be captured.
#[inline(always)]
pub(crate) fn walk(data: &[u8], at: u32, end: u32, next: u8) -> Upper {
    if is_extension(next) {
        walk_extensions(data, at, end, next)
    } else {
        Upper { protocol: next, at, fragment: None }
    }
}

fn walk_extensions(data: &[u8], mut at: u32, end: u32, mut next: u8) -> Upper {
    for _ in 0..MAX_EXTENSION_HEADERS {
        let rest = data.get(at as usize..).unwrap_or_default();
        let (true, Some(&[following, length])) = (is_extension(next), rest.first_chunk::<2>())
        else {
            break;
        };
        let header_len = match next {
            FRAGMENT => 8,
            // RFC 4302 section 2.2: in units of 4 bytes, minus 2.
            AUTHENTICATION => (u32::from(length) + 2) * 4,
            _ => (u32::from(length) + 1) * 8,
        };
        if header_len > end - at {
            break;
        }
        if next == FRAGMENT {
            let Some(header) = rest.first_chunk::<8>() else { break };
            let fragment = fragment_header(header);
            // RFC 6946: an atomic fragment is a whole packet.
            if fragment.offset_bytes != 0 || fragment.more {
                let fragment = Some(fragment);
                return Upper { protocol: following, at: at + header_len, fragment };
            }
        }
        next = following;
        at += header_len;
    }
    Upper { protocol: next, at, fragment: None }
}

#[inline(always)]
pub(crate) fn is_extension(next: u8) -> bool {
    matches!(
        next,
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS | MOBILITY
    )
}

fn fragment_header(header: &[u8; 8]) -> Fragment {
    let offset = u16::from_be_bytes([header[2], header[3]]);
    Fragment {
        id: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
        offset_bytes: offset & 0xfff8,
        more: offset & 1 == 1,
    }
}

/// Bytes that the kernel put into an offloaded packet above 64 KiB and takes out again before the
/// wire: the hop-by-hop header with the jumbo length ("BIG TCP", Linux `ipv6_hopopt_jumbo_remove`).
fn absent_jumbo_header(frame: &Frame<'_>, data: &[u8], at: usize, first_next: u8) -> u32 {
    let options = data.get(at + HEADER_BYTES as usize..).and_then(|rest| rest.first_chunk::<4>());
    match options {
        // Length 8, option 0xc2 with 4 bytes.
        Some([_, 0, 0xc2, 4]) if first_next == HOP_BY_HOP && frame.gso_size != 0 => {
            JUMBO_HEADER_BYTES
        }
        _ => 0,
    }
}
