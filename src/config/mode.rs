//! Which of the three modes runs, and the capture filters that go with them (spec 2.4, 14.2, 15).

#![allow(dead_code, reason = "read by what is wired when its flags are")]

use crate::cli::{Settings, UsageError};

use super::value::{number, ports};

/// Later fragments of IPv4 datagrams, and all fragments of IPv6 ones.
const FRAGMENTS: &str = "ip[6:2] & 0x1fff != 0 or ip6[6] = 44";
const RADIUS_PORTS: [u16; 2] = [1812, 1813];

/// What the probe does with packets; exactly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Flow records.
    Flow,
    /// DNS answers to the DNS endpoint.
    Dns(DnsMode),
    /// RADIUS accounting to the tag API.
    Radius(RadiusMode),
}

/// Settings of DNS mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsMode {
    /// pcap-filter(7) expression to capture by: that of the mode, else the one for flows, else the
    /// default with its port and fragments.
    pub filter: String,
    /// Packets come in the envelope of a Juniper mirror (spec 14.5).
    pub juniper_mirror: bool,
}

/// Settings of RADIUS mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RadiusMode {
    /// UDP destination ports, at least one.
    pub ports: Vec<u16>,
    /// pcap-filter(7) expression to capture by.
    pub filter: String,
}

/// Reads the mode.
///
/// # Errors
/// Two modes, or a flag of a mode that is not the one.
pub(super) fn mode(settings: &Settings) -> Result<Mode, UsageError> {
    let (dns, radius) = (settings.has("dns"), settings.has("radius"));
    if dns && radius {
        return Err(UsageError("--dns and --radius exclude each other".to_owned()));
    }
    for (flag, mode, chosen) in
        [("juniper-mirror", "dns", dns), ("dns-filter", "dns", dns), ("ports", "radius", radius)]
    {
        if settings.has(flag) && !chosen {
            return Err(UsageError(format!("--{flag} has no meaning without --{mode}")));
        }
    }
    if dns {
        return dns_mode(settings).map(Mode::Dns);
    }
    if radius { radius_mode(settings).map(Mode::Radius) } else { Ok(Mode::Flow) }
}

/// UDP port of DNS, 53 unless given.
pub(super) fn dns_port(settings: &Settings) -> Result<u16, UsageError> {
    Ok(number(settings, "dns-port", 0, 65_535)?.map_or(53, |port| port as u16))
}

/// UDP ports of RADIUS, 1812 and 1813 unless given.
pub(super) fn radius_ports(settings: &Settings) -> Result<Vec<u16>, UsageError> {
    Ok(ports(settings, "radius-port")?.unwrap_or_else(|| RADIUS_PORTS.to_vec()))
}

fn dns_mode(settings: &Settings) -> Result<DnsMode, UsageError> {
    let juniper_mirror = settings.has("juniper-mirror");
    let given = settings.one("dns-filter").or_else(|| settings.one("filter"));
    let filter = match given {
        Some(filter) => filter.to_owned(),
        None if juniper_mirror => format!("udp or {FRAGMENTS}"),
        None => format!("udp src port {} or {FRAGMENTS}", dns_port(settings)?),
    };
    Ok(DnsMode { filter, juniper_mirror })
}

fn radius_mode(settings: &Settings) -> Result<RadiusMode, UsageError> {
    let ports = match ports(settings, "ports")? {
        Some(ports) => ports,
        None => radius_ports(settings)?,
    };
    let list: Vec<String> = ports.iter().map(ToString::to_string).collect();
    let own = format!("udp dst port ({}) or {FRAGMENTS}", list.join(" or "));
    let filter = match settings.one("filter") {
        Some(filter) => format!("({own}) and ({filter})"),
        None => own,
    };
    Ok(RadiusMode { ports, filter })
}
