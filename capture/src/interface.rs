//! Facts about a network interface in this network namespace.

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage};
use thiserror::Error;

use crate::sys::interface_address;
use crate::{LINKTYPE_ETHERNET, LINKTYPE_RAW};

/// An interface and what a capture needs to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name as given.
    pub name: String,
    /// Kernel index, never 0.
    pub index: u32,
    /// MAC address; `None` when the link has none (tun) or it is all zero (lo).
    pub mac: Option<[u8; 6]>,
    /// Addresses with their prefix lengths, in system order.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Loopback: every frame passes twice.
    pub loopback: bool,
    /// LINKTYPE number of its frames; `None` when this probe does not know the hardware type.
    pub linktype: Option<u32>,
    /// ARPHRD_* number behind `linktype`.
    pub hardware_type: u16,
}

/// The interface cannot be captured on.
#[derive(Debug, Error)]
pub enum InterfaceError {
    /// There is none of this name (spec 2.6, ERR-2).
    #[error("unsupported interface {0}")]
    Unsupported(String),
    /// Its facts could not be read.
    #[error("reading the facts of interface {name}: {source}")]
    Facts {
        /// Name as given.
        name: String,
        /// The kernel's word.
        #[source]
        source: std::io::Error,
    },
}

impl Interface {
    /// Looks an interface up by name.
    ///
    /// # Errors
    /// No such interface, or the kernel would not tell its facts.
    pub fn find(name: &str) -> Result<Self, InterfaceError> {
        let index =
            if_nametoindex(name).map_err(|_| InterfaceError::Unsupported(name.to_owned()))?;
        let failed = |source| InterfaceError::Facts { name: name.to_owned(), source };
        let (hardware_type, mac) = interface_address(name).map_err(failed)?;
        let (addresses, loopback) = addresses(name).map_err(|e| failed(e.into()))?;
        let has_mac = linktype(hardware_type) == Some(LINKTYPE_ETHERNET) && mac != [0; 6];
        Ok(Self {
            name: name.to_owned(),
            index,
            mac: has_mac.then_some(mac),
            addresses,
            loopback,
            linktype: linktype(hardware_type),
            hardware_type,
        })
    }
}

/// Mobile modems without a link header (net/if_arp.h); libc does not name it.
const ARPHRD_RAWIP: u16 = 519;

/// ARPHRD_* (net/if_arp.h) to LINKTYPE.
fn linktype(hardware_type: u16) -> Option<u32> {
    match hardware_type {
        libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => Some(LINKTYPE_ETHERNET),
        // Point-to-point and tunnel devices deliver from the IP header on.
        libc::ARPHRD_NONE
        | libc::ARPHRD_PPP
        | libc::ARPHRD_TUNNEL
        | libc::ARPHRD_TUNNEL6
        | libc::ARPHRD_SIT
        | libc::ARPHRD_IPGRE
        | ARPHRD_RAWIP => Some(LINKTYPE_RAW),
        _ => None,
    }
}

fn addresses(name: &str) -> nix::Result<(Vec<(IpAddr, u8)>, bool)> {
    let mut found = Vec::new();
    let mut loopback = false;
    for entry in getifaddrs()?.filter(|entry| entry.interface_name == name) {
        loopback |= entry.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        if let Some(address) = entry.address.as_ref().and_then(ip) {
            let bits = entry.netmask.as_ref().and_then(ip).map_or(0, prefix_length);
            found.push((address, bits));
        }
    }
    Ok((found, loopback))
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    match address.family()? {
        AddressFamily::Inet => address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip())),
        AddressFamily::Inet6 => address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())),
        _ => None,
    }
}

fn prefix_length(mask: IpAddr) -> u8 {
    let ones = match mask {
        IpAddr::V4(mask) => mask.to_bits().leading_ones(),
        IpAddr::V6(mask) => mask.to_bits().leading_ones(),
    };
    ones as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_no_mac_and_its_address() {
        let lo = Interface::find("lo").unwrap();
        assert!(lo.loopback);
        assert_eq!(lo.mac, None);
        assert_eq!(lo.linktype, Some(LINKTYPE_ETHERNET));
        assert!(lo.addresses.contains(&("127.0.0.1".parse().unwrap(), 8)));
    }

    #[test]
    fn an_unknown_name_is_reported_in_the_documented_words() {
        let error = Interface::find("nope0").unwrap_err();
        assert_eq!(error.to_string(), "unsupported interface nope0");
    }
}
