//! JSON of the custom dimension API, which RADIUS mode uses (wire contract, section 8).

use serde::{Deserialize, Serialize};

/// Body of `POST …/batch/customdimensions/<column>/populators`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Populators {
    /// Whether the batch replaces everything known.
    #[serde(default)]
    pub replace_all: bool,
    /// Whether the request ends its logical batch.
    #[serde(default)]
    pub complete: bool,
    /// Life of the values in minutes, 0 for ever.
    #[serde(default)]
    pub ttl_minutes: u64,
    /// In further parts of a batch: the `guid` of the answer to its first part. A probe sends whole
    /// batches and leaves it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guid: Option<String>,
    /// Values to set; left out when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upserts: Vec<Upsert>,
    /// Values to remove; left out when empty. The server applies them first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deletes: Vec<Delete>,
}

impl Populators {
    /// A whole batch in one request, as a probe sends it.
    pub fn whole(upserts: Vec<Upsert>, deletes: Vec<Delete>) -> Self {
        Self { replace_all: false, complete: true, ttl_minutes: 0, guid: None, upserts, deletes }
    }
}

/// A value and the traffic it applies to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upsert {
    /// For example a user name.
    pub value: String,
    /// The value applies when any of these matches.
    #[serde(default)]
    pub criteria: Vec<Criteria>,
}

impl Upsert {
    /// `value` for the traffic of one textual address.
    pub fn address(value: impl Into<String>, address: impl Into<String>) -> Self {
        let criteria = Criteria { addr: vec![address.into()], ..Criteria::default() };
        Self { value: value.into(), criteria: vec![criteria] }
    }
}

/// A value to remove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    /// The value.
    pub value: String,
}

/// Conditions that must all hold; within a list any element may. The probe uses `addr` alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Criteria {
    /// `src`, `dst` or `either`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    /// Ports or port ranges.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub port: Vec<String>,
    /// Protocol numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub protocol: Vec<u32>,
    /// AS numbers or ranges.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub asn: Vec<String>,
    /// VLAN ids or ranges.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vlans: Vec<String>,
    /// Names of the last-hop AS.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lasthop_as_name: Vec<String>,
    /// Next-hop AS numbers or ranges.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nexthop_asn: Vec<String>,
    /// Names of the next-hop AS.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nexthop_as_name: Vec<String>,
    /// AS path patterns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bgp_aspath: Vec<String>,
    /// Community patterns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bgp_community: Vec<String>,
    /// Any of these TCP flag bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_flags: Option<u32>,
    /// Addresses or prefixes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addr: Vec<String>,
    /// MAC addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mac: Vec<String>,
    /// Country codes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub country: Vec<String>,
    /// Site names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub site: Vec<String>,
    /// Device types.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_type: Vec<String>,
    /// Interface names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interface_name: Vec<String>,
    /// Device names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_name: Vec<String>,
    /// Next-hop addresses or prefixes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub next_hop: Vec<String>,
}

/// Answer of the batch call; clients treat any 2xx as success, whatever the body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PopulatorsAnswer {
    /// For people.
    pub message: String,
    /// Joins the parts of a batch.
    pub guid: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_the_members_of_the_contract() {
        let batch = Populators::whole(
            vec![Upsert::address("bob", "10.1.2.3")],
            vec![Delete { value: "alice".into() }],
        );
        let expected: serde_json::Value = serde_json::from_str(
            r#"{ "replace_all": false, "complete": true, "ttl_minutes": 0,
            "upserts": [ { "value": "bob", "criteria": [ { "addr": ["10.1.2.3"] } ] } ],
            "deletes": [ { "value": "alice" } ] }"#,
        )
        .unwrap();
        assert_eq!(serde_json::to_value(&batch).unwrap(), expected);
        assert_eq!(serde_json::from_value::<Populators>(expected).unwrap(), batch);
    }

    #[test]
    fn empty_lists_are_left_out() {
        let json = serde_json::to_string(&Populators::whole(vec![], vec![])).unwrap();
        assert_eq!(json, r#"{"replace_all":false,"complete":true,"ttl_minutes":0}"#);
    }
}
