//! Interfaces of a device, stored and published (7.4).

use serde::{Deserialize, Serialize};

use super::lenient;

/// One element of the answer of `GET /device/<id>/interfaces`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredInterface {
    /// Record id, 0 when absent.
    #[serde(
        default,
        serialize_with = "lenient::as_text",
        deserialize_with = "lenient::number_or_zero"
    )]
    pub id: u64,
    /// Interface index.
    #[serde(
        default,
        serialize_with = "lenient::as_text",
        deserialize_with = "lenient::number_or_zero"
    )]
    pub snmp_id: u64,
    /// Alias.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub snmp_alias: String,
    /// Name.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub interface_description: String,
    /// First address as text, empty when there is none.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub interface_ip: String,
    /// Its mask in address notation.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub interface_ip_netmask: String,
    /// Further addresses.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub secondary_ips: Vec<Address>,
}

/// One interface as it is published. The body of `PUT /company/<company>/device/<id>/tags/snmp` is
/// a map of these, keyed by interface name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceUpdate {
    /// Interface index.
    #[serde(
        default,
        serialize_with = "lenient::as_text",
        deserialize_with = "lenient::number_or_zero"
    )]
    pub index: u64,
    /// Alias.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub alias: String,
    /// Name again.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub desc: String,
    /// Speed; always 0 from a probe.
    #[serde(default, deserialize_with = "lenient::number_or_zero")]
    pub speed: u64,
    /// Type; always 0 from a probe.
    #[serde(default, rename = "type", deserialize_with = "lenient::number_or_zero")]
    pub kind: u64,
    /// First address as text, empty when there is none.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub address: String,
    /// Its mask in address notation.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub netmask: String,
    /// Further addresses; null when there are none.
    #[serde(default)]
    pub alias_address: Option<Vec<Address>>,
}

/// An address with its mask, both as text in address notation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The address.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub address: String,
    /// The mask, for example `255.255.255.0` or `ffff:ffff:ffff:ffff::`.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub netmask: String,
}

impl InterfaceUpdate {
    /// Whether `stored`, an interface of the same name, already says all this: equal index, first
    /// address, mask and further addresses.
    pub fn is_stored_as(&self, stored: &StoredInterface) -> bool {
        self.index == stored.snmp_id
            && self.address == stored.interface_ip
            && self.netmask == stored.interface_ip_netmask
            && self.alias_address.as_deref().unwrap_or_default() == stored.secondary_ips
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn eth0() -> InterfaceUpdate {
        InterfaceUpdate {
            index: 47927,
            desc: "eth0".into(),
            address: "192.0.2.10".into(),
            netmask: "255.255.255.0".into(),
            alias_address: Some(vec![Address {
                address: "2001:db8::10".into(),
                netmask: "ffff:ffff:ffff:ffff::".into(),
            }]),
            ..InterfaceUpdate::default()
        }
    }

    #[test]
    fn an_update_has_the_members_of_the_contract() {
        let kernel = InterfaceUpdate { desc: "kernel".into(), ..InterfaceUpdate::default() };
        let updates = BTreeMap::from([("eth0", eth0()), ("kernel", kernel)]);
        let expected: serde_json::Value = serde_json::from_str(
            r#"{ "eth0": { "index": "47927", "alias": "", "desc": "eth0", "speed": 0, "type": 0,
              "address": "192.0.2.10", "netmask": "255.255.255.0",
              "alias_address": [ { "address": "2001:db8::10", "netmask": "ffff:ffff:ffff:ffff::" } ] },
            "kernel": { "index": "0", "alias": "", "desc": "kernel", "speed": 0, "type": 0,
              "address": "", "netmask": "", "alias_address": null } }"#,
        )
        .unwrap();
        assert_eq!(serde_json::to_value(updates).unwrap(), expected);
    }

    #[test]
    fn an_unchanged_interface_needs_no_update() {
        let text = r#"[{"id": "1", "snmp_id": "47927", "snmp_alias": "", "interface_description":
            "eth0", "interface_ip": "192.0.2.10", "interface_ip_netmask": "255.255.255.0",
            "secondary_ips": [{"address": "2001:db8::10", "netmask": "ffff:ffff:ffff:ffff::"}]}]"#;
        let stored: Vec<StoredInterface> = serde_json::from_str(text).unwrap();
        assert!(eth0().is_stored_as(&stored[0]));
        let moved = InterfaceUpdate { index: 1, ..eth0() };
        assert!(!moved.is_stored_as(&stored[0]));
    }

    #[test]
    fn null_and_missing_further_addresses_are_the_same() {
        let stored: StoredInterface =
            serde_json::from_str(r#"{"snmp_id": 0, "secondary_ips": null}"#).unwrap();
        assert!(InterfaceUpdate::default().is_stored_as(&stored));
    }
}
