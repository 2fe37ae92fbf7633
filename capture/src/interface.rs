//! Facts about a network interface in this network namespace.

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_indextoname, if_nametoindex};
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage};
use thiserror::Error;

use crate::hardware;
use crate::sys::interface_address;
use crate::{LINKTYPE_ETHERNET, LINKTYPE_PER_FRAME};

/// The name that means every interface of the namespace, as in libpcap.
const ANY: &str = "any";

/// An interface and what a capture needs to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name as given.
    pub name: String,
    /// Kernel index; 0 for `any`, every interface of the namespace.
    pub index: u32,
    /// MAC address; `None` when the link has none (tun) or it is all zero (lo).
    pub mac: Option<[u8; 6]>,
    /// Addresses with their prefix lengths, in system order.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Loopback: every frame passes twice.
    pub loopback: bool,
    /// LINKTYPE number of its frames, [`LINKTYPE_PER_FRAME`] for `any`; `None` when this probe
    /// cannot read frames of the hardware type.
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
    /// Looks an interface up by name; `any` stands for all of them.
    ///
    /// # Errors
    /// No such interface, or the kernel would not tell its facts.
    pub fn find(name: &str) -> Result<Self, InterfaceError> {
        if name == ANY {
            return Ok(Self::any());
        }
        let index =
            if_nametoindex(name).map_err(|_| InterfaceError::Unsupported(name.to_owned()))?;
        let failed = |source| InterfaceError::Facts { name: name.to_owned(), source };
        let (hardware_type, mac) = interface_address(name).map_err(failed)?;
        let (addresses, loopback) = addresses(name).map_err(|e| failed(e.into()))?;
        let linktype = hardware::linktype(hardware_type);
        let has_mac = linktype == Some(LINKTYPE_ETHERNET) && mac != [0; 6];
        Ok(Self {
            name: name.to_owned(),
            index,
            mac: has_mac.then_some(mac),
            addresses,
            loopback,
            linktype,
            hardware_type,
        })
    }

    /// The facts as they are now: by the index, so under its new name after a rename; when the
    /// index is gone, by the name, which an interface of another index may have taken. A ring stays
    /// on the index it was opened for.
    ///
    /// # Errors
    /// Neither is there, or the kernel would not tell the facts.
    pub fn refresh(&self) -> Result<Self, InterfaceError> {
        if self.index == 0 {
            return Ok(self.clone());
        }
        Self::find(&current_name(self.index).unwrap_or_else(|| self.name.clone()))
    }

    /// The hardware type in words, for messages: "IEEE 802.11 monitor with radiotap header".
    pub fn hardware_name(&self) -> &'static str {
        hardware::name(self.hardware_type)
    }

    fn any() -> Self {
        Self {
            name: ANY.to_owned(),
            index: 0,
            mac: None,
            addresses: Vec::new(),
            loopback: false,
            linktype: Some(LINKTYPE_PER_FRAME),
            hardware_type: libc::ARPHRD_VOID,
        }
    }
}

/// Name of the interface of this index, or "number N".
pub(crate) fn name_of(index: u32) -> String {
    match current_name(index) {
        Some(name) => name,
        None if index == 0 => ANY.to_owned(),
        None => format!("number {index}"),
    }
}

fn current_name(index: u32) -> Option<String> {
    let name = if_indextoname(index).ok()?.into_string().ok()?;
    // nix 0.31 gives an empty name, not an error, once the index is gone.
    (!name.is_empty()).then_some(name)
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
    fn any_is_every_interface_and_stays_so() {
        let any = Interface::find("any").unwrap();
        assert_eq!((any.index, any.mac, any.loopback), (0, None, false));
        assert_eq!(any.refresh().unwrap(), any);
        assert_eq!(name_of(0), "any");
    }

    #[test]
    fn an_unknown_name_is_reported_in_the_documented_words() {
        let error = Interface::find("nope0").unwrap_err();
        assert_eq!(error.to_string(), "unsupported interface nope0");
    }
}
