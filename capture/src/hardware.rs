//! Hardware types (ARPHRD_*, net/if_arp.h): which LINKTYPE their frames have, and their names.

use crate::{LINKTYPE_ETHERNET, LINKTYPE_RAW};

/// Mobile modems without a link header; libc does not name it.
const RAWIP: u16 = 519;
const IP6GRE: u16 = 823;

/// The LINKTYPE of what a packet socket delivers, or `None` for types this probe cannot read.
#[inline]
pub(crate) fn linktype(hardware_type: u16) -> Option<u32> {
    match hardware_type {
        libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => Some(LINKTYPE_ETHERNET),
        // Point-to-point and tunnel devices deliver from the IP header on.
        libc::ARPHRD_NONE
        | libc::ARPHRD_PPP
        | libc::ARPHRD_TUNNEL
        | libc::ARPHRD_TUNNEL6
        | libc::ARPHRD_SIT
        | libc::ARPHRD_IPGRE
        | IP6GRE
        | RAWIP => Some(LINKTYPE_RAW),
        _ => None,
    }
}

/// Devices that may or may not put a header before the IP packet: their frames are taken without
/// (SOCK_DGRAM). The offload metadata is lost with it, so others are taken raw.
pub(crate) fn is_cooked(hardware_type: u16) -> bool {
    matches!(hardware_type, libc::ARPHRD_PPP | libc::ARPHRD_IPGRE | IP6GRE)
}

/// A hardware type in words, for messages.
pub(crate) fn name(hardware_type: u16) -> &'static str {
    match hardware_type {
        libc::ARPHRD_ETHER => "Ethernet",
        libc::ARPHRD_LOOPBACK => "loopback",
        libc::ARPHRD_NONE | RAWIP => "raw IP",
        libc::ARPHRD_PPP => "PPP",
        libc::ARPHRD_TUNNEL | libc::ARPHRD_TUNNEL6 | libc::ARPHRD_SIT => "IP tunnel",
        libc::ARPHRD_IPGRE | IP6GRE => "GRE tunnel",
        libc::ARPHRD_SLIP | libc::ARPHRD_CSLIP => "SLIP",
        libc::ARPHRD_ATM => "ATM",
        libc::ARPHRD_IEEE1394 => "IEEE 1394",
        libc::ARPHRD_INFINIBAND => "InfiniBand",
        libc::ARPHRD_CAN => "CAN bus",
        libc::ARPHRD_IEEE80211 => "IEEE 802.11",
        libc::ARPHRD_IEEE80211_PRISM => "IEEE 802.11 monitor with Prism header",
        libc::ARPHRD_IEEE80211_RADIOTAP => "IEEE 802.11 monitor with radiotap header",
        libc::ARPHRD_IEEE802154 => "IEEE 802.15.4",
        NETLINK => "netlink monitor",
        _ => "unknown",
    }
}

const NETLINK: u16 = 824;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monitor_mode_and_buses_are_not_readable_but_have_names() {
        assert_eq!(linktype(803), None);
        assert_eq!(name(803), "IEEE 802.11 monitor with radiotap header");
        assert_eq!(linktype(280), None);
        assert_eq!(name(280), "CAN bus");
    }

    #[test]
    fn tunnels_are_raw_ip() {
        for hardware_type in [65534, 512, 768, 769, 776, 778, 823, 519] {
            assert_eq!(linktype(hardware_type), Some(101), "{hardware_type}");
        }
    }
}
