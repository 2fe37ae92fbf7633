//! Which of the three modes runs, and the capture filters that go with them (spec 2.4, 14.2, 15).

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

#[cfg(test)]
mod tests {
    use capture::{Filter, Frame, LINKTYPE_ETHERNET, PacketType};
    use etherparse::PacketBuilder;

    use super::*;
    use crate::cli::Origin;

    fn settings(flags: &[(&'static str, &str)]) -> Settings {
        let mut settings = Settings::default();
        for (flag, value) in flags {
            settings.set(flag, vec![(*value).to_owned()], Origin::Flag);
        }
        settings
    }

    fn matches(expression: &str, data: &[u8]) -> bool {
        let filter = Filter::compile(expression, LINKTYPE_ETHERNET).unwrap();
        let (wire_len, linktype) = (data.len() as u32, LINKTYPE_ETHERNET);
        let packet_type = PacketType::Unknown;
        filter.matches(&Frame {
            time_ns: 0,
            data,
            wire_len,
            linktype,
            vlan: None,
            packet_type,
            offload: None,
        })
    }

    /// UDP over Ethernet and IPv4, with a VLAN tag if there is an id.
    fn udp(vlan: Option<u16>, ports: (u16, u16)) -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let (source, destination) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        let mut frame = Vec::new();
        let payload = [0; 24];
        match vlan {
            Some(id) => ethernet
                .single_vlan(id.try_into().unwrap())
                .ipv4(source, destination, 64)
                .udp(ports.0, ports.1)
                .write(&mut frame, &payload),
            None => ethernet
                .ipv4(source, destination, 64)
                .udp(ports.0, ports.1)
                .write(&mut frame, &payload),
        }
        .unwrap();
        frame
    }

    /// The same with fragment offset 8, in which ports are payload; the tag moves the header.
    fn later_fragment(vlan: Option<u16>) -> Vec<u8> {
        let mut frame = udp(vlan, (9, 9));
        frame[14 + 4 * usize::from(vlan.is_some()) + 7] = 1;
        frame
    }

    /// An IPv6 fragment header in front of what may be anything.
    fn v6_fragment() -> Vec<u8> {
        let mut frame =
            [&[2; 6][..], &[4; 6], &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 16, 44, 64]].concat();
        frame.extend([0; 32]);
        frame.extend([17, 0, 0, 8, 0, 0, 0, 1, 0, 9, 0, 9, 0, 8, 0, 0]);
        frame
    }

    #[test]
    fn the_default_filters_take_tagged_frames_and_fragments_of_both_families() {
        let Mode::Dns(dns) = mode(&settings(&[("dns", "")])).unwrap() else { panic!() };
        let Mode::Radius(radius) = mode(&settings(&[("radius", "")])).unwrap() else { panic!() };
        for (filter, wanted, other) in
            [(&dns.filter, (53, 4000), (4000, 53)), (&radius.filter, (4000, 1813), (1813, 4000))]
        {
            for vlan in [None, Some(100)] {
                assert!(matches(filter, &udp(vlan, wanted)), "{filter} {vlan:?}");
                assert!(!matches(filter, &udp(vlan, other)), "{filter} {vlan:?}");
                assert!(matches(filter, &later_fragment(vlan)), "{filter} {vlan:?}");
            }
            assert!(matches(filter, &v6_fragment()), "{filter}");
        }
    }

    #[test]
    fn a_mirror_is_captured_whatever_its_port_and_a_filter_narrows_radius() {
        let mirror = settings(&[("dns", ""), ("juniper-mirror", "")]);
        let Mode::Dns(dns) = mode(&mirror).unwrap() else { panic!() };
        assert!(matches(&dns.filter, &udp(Some(7), (1, 2))));
        let narrow = settings(&[("radius", ""), ("filter", "dst host 10.0.0.9")]);
        let Mode::Radius(radius) = mode(&narrow).unwrap() else { panic!() };
        assert!(!matches(&radius.filter, &udp(None, (4000, 1812))));
    }
}
