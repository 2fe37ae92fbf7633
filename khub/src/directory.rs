//! The devices of the one company, with their interfaces.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use kflow::api::{Device, InterfaceUpdate, NewDevice, Plan, Site, StoredInterface, strict_name};

/// Id of the only company.
pub(crate) const COMPANY_ID: u64 = 1;

const MAX_DEVICES: usize = 10_000;
const MAX_INTERFACES: usize = 1024;
const MAX_NAME_BYTES: usize = 255;
const MAX_ADDRESSES: usize = 64;
const MAX_TEXT_BYTES: usize = 1024;

/// Why a device cannot be created.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CreateError {
    /// A device of this name, after normalisation, exists.
    Exists,
    /// A member is missing or too long; says which.
    Bad(&'static str),
    /// The table is full.
    Full,
}

/// Devices by id, name and address. Ids count from 1 and are never used again.
pub(crate) struct Directory {
    devices: BTreeMap<u64, Entry>,
    by_name: HashMap<String, u64>,
    by_address: HashMap<IpAddr, u64>,
    next_id: u64,
    max_flow_rate: u64,
}

struct Entry {
    device: Device,
    interfaces: BTreeMap<String, StoredInterface>,
}

impl Directory {
    /// No devices; those to come get this `max_flow_rate` in records per second.
    pub(crate) fn new(max_flow_rate: u32) -> Self {
        Self {
            devices: BTreeMap::new(),
            by_name: HashMap::new(),
            by_address: HashMap::new(),
            next_id: 1,
            max_flow_rate: max_flow_rate.into(),
        }
    }

    /// Finds a device by decimal id, textual address or name (compared after normalisation).
    pub(crate) fn find(&self, key: &str) -> Option<&Device> {
        let id = match key_kind(key) {
            Key::Id(id) => id,
            Key::Address(addr) => *self.by_address.get(&addr)?,
            Key::Name(name) => *self.by_name.get(&name)?,
        };
        self.by_id(id)
    }

    /// The device with this id.
    pub(crate) fn by_id(&self, id: u64) -> Option<&Device> {
        self.devices.get(&id).map(|entry| &entry.device)
    }

    /// All devices by id.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Device> {
        self.devices.values().map(|entry| &entry.device)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.devices.len()
    }

    /// Adds a device. The name is stored normalised; an address that already leads to a device goes
    /// on leading there.
    pub(crate) fn create(
        &mut self,
        new: NewDevice,
        site: Option<Site>,
    ) -> Result<&Device, CreateError> {
        let name = strict_name(&new.device_name);
        let addresses = check(&new, &name)?;
        if self.by_name.contains_key(&name) {
            return Err(CreateError::Exists);
        }
        if self.devices.len() == MAX_DEVICES {
            return Err(CreateError::Full);
        }
        let id = self.next_id;
        self.next_id += 1;
        self.by_name.insert(name.clone(), id);
        for addr in &addresses {
            self.by_address.entry(*addr).or_insert(id);
        }
        let site = site.unwrap_or(Site { id: new.site_id, site_name: "default".into() });
        let device = Device {
            id,
            company_id: COMPANY_ID,
            device_name: name,
            device_type: new.device_type,
            device_subtype: new.device_subtype,
            device_description: new.device_description,
            ip: addresses.first().map(ToString::to_string).unwrap_or_default(),
            sending_ips: addresses.iter().map(ToString::to_string).collect(),
            device_sample_rate: new.device_sample_rate.max(1),
            device_bgp_type: new.device_bgp_type,
            cdn_attr: new.cdn_attr,
            max_flow_rate: self.max_flow_rate,
            plan: Some(Plan {
                id: new.plan_id,
                name: "default".into(),
                max_fps: self.max_flow_rate,
            }),
            site: Some(site),
            custom_column_data: Vec::new(),
        };
        let entry = Entry { device, interfaces: BTreeMap::new() };
        Ok(&self.devices.entry(id).or_insert(entry).device)
    }

    /// Makes up a device for a name or address that was looked up (`--dev`); `peer` asked. `None`
    /// for keys that cannot become a device: ids, empty or overlong names.
    pub(crate) fn adopt(
        &mut self,
        key: &str,
        peer: Option<IpAddr>,
        sample_rate: u32,
    ) -> Option<Result<&Device, CreateError>> {
        let (name, address) = match key_kind(key) {
            Key::Id(_) => return None,
            Key::Address(addr) => (strict_name(&addr.to_string()), Some(addr)),
            Key::Name(name) if name.is_empty() || name.len() > MAX_NAME_BYTES => return None,
            Key::Name(name) => (name, peer),
        };
        let new = NewDevice {
            device_name: name,
            device_type: "host-nprobe-dns-www".into(),
            device_subtype: "kprobe".into(),
            device_description: key.into(),
            device_sample_rate: sample_rate.into(),
            device_bgp_type: "none".into(),
            cdn_attr: "N".into(),
            sending_ips: address.iter().map(ToString::to_string).collect(),
            ..NewDevice::default()
        };
        Some(self.create(new, None))
    }

    /// The interfaces of a device by name, `None` for an unknown device.
    pub(crate) fn interfaces(&self, device_id: u64) -> Option<Vec<StoredInterface>> {
        Some(self.devices.get(&device_id)?.interfaces.values().cloned().collect())
    }

    /// Stores interfaces and gives the number for which there was no room, `None` for an unknown
    /// device. Names and texts above 1,024 bytes are no interface names and count as no room.
    pub(crate) fn update_interfaces(
        &mut self,
        device_id: u64,
        updates: BTreeMap<String, InterfaceUpdate>,
    ) -> Option<u64> {
        let interfaces = &mut self.devices.get_mut(&device_id)?.interfaces;
        let mut dropped = 0;
        for (name, update) in updates {
            let known = interfaces.get(&name).map(|stored| stored.id);
            if !fits(&name, &update) || (known.is_none() && interfaces.len() == MAX_INTERFACES) {
                dropped += 1;
                continue;
            }
            let stored = StoredInterface {
                id: known.unwrap_or(interfaces.len() as u64 + 1),
                snmp_id: update.index,
                snmp_alias: update.alias,
                interface_description: name.clone(),
                interface_ip: update.address,
                interface_ip_netmask: update.netmask,
                secondary_ips: update.alias_address.unwrap_or_default(),
            };
            interfaces.insert(name, stored);
        }
        Some(dropped)
    }
}

enum Key {
    Id(u64),
    Address(IpAddr),
    Name(String),
}

fn key_kind(key: &str) -> Key {
    if let Ok(id) = key.parse() {
        Key::Id(id)
    } else if let Ok(addr) = key.parse() {
        Key::Address(addr)
    } else {
        Key::Name(strict_name(key))
    }
}

fn check(new: &NewDevice, name: &str) -> Result<Vec<IpAddr>, CreateError> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return Err(CreateError::Bad("device_name must have 1 to 255 characters"));
    }
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(CreateError::Bad("device_name must not be a number, it would hide an id"));
    }
    let texts = [
        &new.device_type,
        &new.device_subtype,
        &new.device_description,
        &new.device_bgp_type,
        &new.cdn_attr,
    ];
    if texts.iter().any(|text| text.len() > MAX_TEXT_BYTES) {
        return Err(CreateError::Bad("a text has more than 1024 bytes"));
    }
    if new.sending_ips.len() > MAX_ADDRESSES {
        return Err(CreateError::Bad("more than 64 sending_ips"));
    }
    let addresses: Result<_, _> = new.sending_ips.iter().map(|text| text.parse()).collect();
    addresses.map_err(|_| CreateError::Bad("sending_ips holds something that is no address"))
}

fn fits(name: &str, update: &InterfaceUpdate) -> bool {
    let further = update.alias_address.as_deref().unwrap_or_default();
    let texts = [name, &update.alias, &update.address, &update.netmask].into_iter();
    let further_texts = further.iter().flat_map(|a| [a.address.as_str(), a.netmask.as_str()]);
    further.len() <= MAX_ADDRESSES
        && texts.chain(further_texts).all(|text| text.len() <= MAX_TEXT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(name: &str) -> NewDevice {
        NewDevice::probe(name, [192, 0, 2, 10].into(), 0, 0)
    }

    #[test]
    fn a_device_is_found_by_id_address_and_name_in_any_spelling() {
        let mut directory = Directory::new(4000);
        directory.create(probe("pd.host-1"), None).unwrap();
        for key in ["1", "192.0.2.10", "pd.host-1", "pd_host-1", "pd_host_1"] {
            assert_eq!(directory.find(key).map(|d| d.id), Some(1), "{key}");
        }
        for key in ["2", "192.0.2.11", "pd", ""] {
            assert!(directory.find(key).is_none(), "{key}");
        }
    }

    #[test]
    fn a_name_in_another_spelling_is_the_same_name() {
        let mut directory = Directory::new(4000);
        directory.create(probe("a.b"), None).unwrap();
        assert_eq!(directory.create(probe("a-b"), None).unwrap_err(), CreateError::Exists);
    }

    #[test]
    fn creation_checks_what_it_stores() {
        let mut directory = Directory::new(4000);
        for name in ["", "123", &"x".repeat(256)] {
            let refused = directory.create(probe(name), None).unwrap_err();
            assert!(matches!(refused, CreateError::Bad(_)), "{name}");
        }
        let mut bad_address = probe("a");
        bad_address.sending_ips = vec!["nowhere".into()];
        assert!(matches!(directory.create(bad_address, None), Err(CreateError::Bad(_))));
        assert_eq!(directory.len(), 0);
    }

    #[test]
    fn adoption_takes_names_and_addresses_but_no_ids() {
        let mut directory = Directory::new(4000);
        let peer = Some([127, 0, 0, 1].into());
        assert!(directory.adopt("77", peer, 1).is_none());
        assert!(directory.adopt("", peer, 1).is_none());
        let named = directory.adopt("my.host", peer, 8).unwrap().unwrap();
        assert_eq!((named.device_name.as_str(), named.ip.as_str()), ("my_host", "127.0.0.1"));
        assert_eq!(named.device_sample_rate, 8);
        let addressed = directory.adopt("2001:db8::1", peer, 1).unwrap().unwrap();
        assert_eq!(addressed.device_name, "2001_db8__1");
        assert_eq!(directory.find("2001:db8:0::1").map(|d| d.id), Some(2));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut directory = Directory::new(4000);
        for number in 0..MAX_DEVICES {
            directory.create(probe(&format!("host{number}")), None).unwrap();
        }
        assert_eq!(directory.create(probe("more"), None).unwrap_err(), CreateError::Full);
    }

    #[test]
    fn interfaces_are_stored_by_name_and_bounded() {
        let mut directory = Directory::new(4000);
        directory.create(probe("a"), None).unwrap();
        let update = |index| InterfaceUpdate { index, ..InterfaceUpdate::default() };
        let first = BTreeMap::from([("eth0".to_owned(), update(5))]);
        assert_eq!(directory.update_interfaces(1, first), Some(0));
        let again = BTreeMap::from([("eth0".to_owned(), update(6))]);
        assert_eq!(directory.update_interfaces(1, again), Some(0));
        let stored = directory.interfaces(1).unwrap();
        assert_eq!((stored.len(), stored[0].id, stored[0].snmp_id), (1, 1, 6));
        let many = (0..2000).map(|number| (format!("if{number}"), update(number))).collect();
        assert_eq!(directory.update_interfaces(1, many), Some(2000 - 1023));
        assert_eq!(directory.update_interfaces(2, BTreeMap::new()), None);
    }
}
