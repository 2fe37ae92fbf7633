//! The capture interface as the device API stores it (wire contract 7.4).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use kflow::api::{Address, InterfaceUpdate, StoredInterface};

/// The entry that stands for the host itself.
const KERNEL: &str = "kernel";

/// The capture interface, as the system describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Name, such as `eth0`.
    pub name: String,
    /// MAC address; all zeros counts as none.
    pub mac: Option<[u8; 6]>,
    /// Addresses with prefix lengths, in system order. Loopback, link-local and multicast
    /// addresses are left out when publishing.
    pub addresses: Vec<(IpAddr, u8)>,
}

impl Interface {
    /// What is published, by name: the interface and the kernel. `None` without MAC or address.
    pub(crate) fn updates(&self) -> Option<BTreeMap<String, InterfaceUpdate>> {
        let mac = self.mac.filter(|mac| *mac != [0; 6])?;
        let mut addresses =
            self.addresses.iter().filter(|(address, _)| is_global_unicast(address)).map(
                |&(address, prefix)| Address {
                    address: address.to_string(),
                    netmask: netmask(address, prefix),
                },
            );
        let first = addresses.next()?;
        let others: Vec<Address> = addresses.collect();
        let update = InterfaceUpdate {
            index: u16::from_be_bytes([mac[4], mac[5]]).into(),
            desc: self.name.clone(),
            address: first.address,
            netmask: first.netmask,
            alias_address: (!others.is_empty()).then_some(others),
            ..InterfaceUpdate::default()
        };
        let kernel = InterfaceUpdate { desc: KERNEL.into(), ..InterfaceUpdate::default() };
        Some(BTreeMap::from([(self.name.clone(), update), (KERNEL.into(), kernel)]))
    }
}

/// The updates that say something new.
pub(crate) fn changed(
    updates: BTreeMap<String, InterfaceUpdate>,
    stored: &[StoredInterface],
) -> BTreeMap<String, InterfaceUpdate> {
    let is_new = |name: &str, update: &InterfaceUpdate| {
        let mut same_name = stored.iter().filter(|stored| stored.interface_description == name);
        !same_name.any(|stored| update.is_stored_as(stored))
    };
    updates.into_iter().filter(|(name, update)| is_new(name, update)).collect()
}

/// Private ranges count; unspecified, broadcast, loopback, link-local and multicast do not.
fn is_global_unicast(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !(address.is_unspecified()
                || address.is_broadcast()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_multicast())
        }
        IpAddr::V6(address) => {
            !(address.is_unspecified()
                || address.is_loopback()
                || address.is_unicast_link_local()
                || address.is_multicast())
        }
    }
}

/// The mask in address notation; a prefix longer than the address counts as its full length.
fn netmask(address: IpAddr, prefix: u8) -> String {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(_) => {
            let host_bits = 32 - prefix.min(32);
            Ipv4Addr::from_bits(u32::MAX.checked_shl(host_bits).unwrap_or(0)).to_string()
        }
        IpAddr::V6(_) => {
            let host_bits = 128 - prefix.min(128);
            Ipv6Addr::from_bits(u128::MAX.checked_shl(host_bits).unwrap_or(0)).to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eth0() -> Interface {
        let address = |text: &str, prefix| (text.parse().unwrap(), prefix);
        Interface {
            name: "eth0".into(),
            mac: Some([0x00, 0x1c, 0x42, 0x60, 0xbb, 0x37]),
            addresses: vec![
                address("127.0.0.1", 8),
                address("169.254.1.1", 16),
                address("192.0.2.10", 24),
                address("fe80::1", 64),
                address("2001:db8::10", 64),
            ],
        }
    }

    #[test]
    fn global_addresses_are_published_with_masks_in_address_notation() {
        let updates = eth0().updates().unwrap();
        let eth0 = &updates["eth0"];
        assert_eq!((eth0.index, eth0.desc.as_str()), (47927, "eth0"));
        assert_eq!((eth0.address.as_str(), eth0.netmask.as_str()), ("192.0.2.10", "255.255.255.0"));
        let alias = &eth0.alias_address.as_ref().unwrap()[..];
        assert_eq!(alias.len(), 1);
        assert_eq!(alias[0].address, "2001:db8::10");
        assert_eq!(alias[0].netmask, "ffff:ffff:ffff:ffff::");
        assert_eq!((updates["kernel"].index, updates["kernel"].address.as_str()), (0, ""));
    }

    #[test]
    fn an_interface_without_mac_or_address_is_not_published() {
        assert_eq!(Interface { mac: None, ..eth0() }.updates(), None);
        assert_eq!(Interface { mac: Some([0; 6]), ..eth0() }.updates(), None);
        let loopback = vec![("::1".parse().unwrap(), 128)];
        assert_eq!(Interface { addresses: loopback, ..eth0() }.updates(), None);
    }

    #[test]
    fn only_what_is_not_stored_is_sent() {
        let stored: Vec<StoredInterface> = serde_json::from_str(
            r#"[{"id": "1", "snmp_id": "0", "interface_description": "kernel"},
                {"id": "2", "snmp_id": "1", "interface_description": "eth0"}]"#,
        )
        .unwrap();
        let sent = changed(eth0().updates().unwrap(), &stored);
        assert_eq!(sent.keys().collect::<Vec<_>>(), ["eth0"]);
    }

    #[test]
    fn any_prefix_length_gives_a_mask() {
        let mask = |address: &str, prefix| netmask(address.parse().unwrap(), prefix);
        assert_eq!(mask("10.0.0.1", 0), "0.0.0.0");
        assert_eq!(mask("10.0.0.1", 31), "255.255.255.254");
        assert_eq!(mask("10.0.0.1", 255), "255.255.255.255");
        assert_eq!(mask("::2", 0), "::");
        assert_eq!(mask("::2", 128), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    }
}
