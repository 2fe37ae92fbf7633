//! Link layers, down to where IP starts (spec 6.1).

use crate::{Ignored, Malformed, Outcome, Packet};

/// Most labels of an MPLS stack that are removed.
const MAX_MPLS_LABELS: usize = 8;

/// Which IP header comes next, and where.
pub(crate) enum Network {
    V4(usize),
    V6(usize),
}

#[inline(always)]
pub(crate) fn ethernet(data: &[u8], out: &mut Packet) -> Result<Network, Outcome> {
    let Some(header) = data.first_chunk::<14>() else {
        return Err(Outcome::Ignored(Ignored::ShortFrame));
    };
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, type_high, type_low] = *header;
    out.dst_mac = [d0, d1, d2, d3, d4, d5];
    out.src_mac = [s0, s1, s2, s3, s4, s5];
    ether_type(data, u16::from_be_bytes([type_high, type_low]), 14, out)
}

/// LINKTYPE_LINUX_SLL: packet type, device type, address length, address, EtherType.
pub(crate) fn cooked_v1(data: &[u8], out: &mut Packet) -> Result<Network, Outcome> {
    let Some(header) = data.first_chunk::<16>() else {
        return Err(Outcome::Ignored(Ignored::ShortFrame));
    };
    has_ether_type(u16::from_be_bytes([header[2], header[3]]))?;
    if header[4..6] == [0, 6] {
        out.src_mac.copy_from_slice(&header[6..12]);
    }
    ether_type(data, u16::from_be_bytes([header[14], header[15]]), 16, out)
}

/// LINKTYPE_LINUX_SLL2: EtherType, interface, device type, packet type, address length, address.
pub(crate) fn cooked_v2(data: &[u8], out: &mut Packet) -> Result<Network, Outcome> {
    let Some(header) = data.first_chunk::<20>() else {
        return Err(Outcome::Ignored(Ignored::ShortFrame));
    };
    has_ether_type(u16::from_be_bytes([header[8], header[9]]))?;
    if header[11] == 6 {
        out.src_mac.copy_from_slice(&header[12..18]);
    }
    ether_type(data, u16::from_be_bytes([header[0], header[1]]), 20, out)
}

#[inline(always)]
pub(crate) fn raw_ip(data: &[u8]) -> Result<Network, Outcome> {
    match data.first().map(|first| first >> 4) {
        Some(4) => Ok(Network::V4(0)),
        Some(6) => Ok(Network::V6(0)),
        Some(_) => Err(Outcome::Malformed(Malformed::IpVersion)),
        None => Err(Outcome::Ignored(Ignored::ShortFrame)),
    }
}

/// LINKTYPE_NULL and LINKTYPE_LOOP. Families are below 65,536, so a larger number is one of the
/// other byte order.
pub(crate) fn bsd_loopback(data: &[u8]) -> Result<Network, Outcome> {
    let Some(header) = data.first_chunk::<4>() else {
        return Err(Outcome::Ignored(Ignored::ShortFrame));
    };
    let family = u32::from_be_bytes(*header);
    let family = if family > 0xffff { family.swap_bytes() } else { family };
    match family {
        2 => Ok(Network::V4(4)),
        // AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, Darwin.
        10 | 24 | 28 | 30 => Ok(Network::V6(4)),
        _ => Err(Outcome::Ignored(Ignored::Family)),
    }
}

/// Frame relay (770), radiotap (803) and netlink (824) devices put something else where other
/// devices have the EtherType (tcpdump.org, LINKTYPE_LINUX_SLL).
fn has_ether_type(device_type: u16) -> Result<(), Outcome> {
    match device_type {
        770 | 803 | 824 => Err(Outcome::Ignored(Ignored::Device)),
        _ => Ok(()),
    }
}

/// Follows EtherTypes from `at`, where the header that `ether_type` names starts.
#[inline(always)]
fn ether_type(
    data: &[u8],
    mut ether_type: u16,
    mut at: usize,
    out: &mut Packet,
) -> Result<Network, Outcome> {
    loop {
        match ether_type {
            0x0800 => return Ok(Network::V4(at)),
            0x86dd => return Ok(Network::V6(at)),
            0x8100 | 0x88a8 | 0x9100 | 0x9200 => {
                let tag = chunk::<4>(data, at)?;
                let id = u16::from_be_bytes([tag[0], tag[1]]) & 0xfff;
                // Id 0 is a priority tag and names no VLAN (IEEE 802.1Q 9.6).
                out.vlan = if id == 0 { out.vlan } else { id };
                ether_type = u16::from_be_bytes([tag[2], tag[3]]);
                at += 4;
            }
            0x8847 | 0x8848 => return mpls(data, at),
            0x8864 => return pppoe(data, at),
            0x0806 => return Err(Outcome::Ignored(Ignored::Arp)),
            _ => return Err(Outcome::Ignored(Ignored::EtherType)),
        }
    }
}

/// RFC 3032: labels of 4 bytes up to the bottom-of-stack bit. Nothing names the payload, so the
/// version nibble has to; RFC 4928 keeps pseudowires clear of 4 and 6.
fn mpls(data: &[u8], mut at: usize) -> Result<Network, Outcome> {
    for _ in 0..MAX_MPLS_LABELS {
        let label = chunk::<4>(data, at)?;
        at += 4;
        if label[2] & 1 == 1 {
            return match chunk::<1>(data, at)?[0] >> 4 {
                4 => Ok(Network::V4(at)),
                6 => Ok(Network::V6(at)),
                _ => Err(Outcome::Ignored(Ignored::MplsPayload)),
            };
        }
    }
    Err(Outcome::Malformed(Malformed::MplsDepth))
}

/// RFC 2516 section 4: version, code, session and length in 6 bytes, then the PPP protocol.
fn pppoe(data: &[u8], at: usize) -> Result<Network, Outcome> {
    let header = chunk::<8>(data, at)?;
    match u16::from_be_bytes([header[6], header[7]]) {
        0x0021 => Ok(Network::V4(at + 8)),
        0x0057 => Ok(Network::V6(at + 8)),
        _ => Err(Outcome::Ignored(Ignored::PppProtocol)),
    }
}

#[inline(always)]
fn chunk<const N: usize>(data: &[u8], at: usize) -> Result<&[u8; N], Outcome> {
    data.get(at..)
        .and_then(|rest| rest.first_chunk::<N>())
        .ok_or(Outcome::Malformed(Malformed::LinkTruncated))
}
