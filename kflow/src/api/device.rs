//! Devices: the object of a lookup and the body of a creation.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::lenient;

/// Answer of a device lookup or creation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceBody {
    /// The device.
    pub device: Device,
}

/// Answer of `GET /devices`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceList {
    /// All devices of the company.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub devices: Vec<Device>,
}

/// A device as the API describes it (7.2).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Device id; records carry its low 32 bits.
    #[serde(serialize_with = "lenient::as_text", deserialize_with = "lenient::number")]
    pub id: u64,
    /// Company the device belongs to.
    #[serde(serialize_with = "lenient::as_text", deserialize_with = "lenient::number")]
    pub company_id: u64,
    /// Name, as used in the sender id.
    pub device_name: String,
    /// For example `host-nprobe-dns-www`.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub device_type: String,
    /// For example `kprobe`.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub device_subtype: String,
    /// Free text.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub device_description: String,
    /// First address as text, empty when there is none.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub ip: String,
    /// Addresses the device sends from, as text.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub sending_ips: Vec<String>,
    /// Sampling 1:N; 0 (also read for absent) and 1 mean unsampled.
    #[serde(
        default,
        serialize_with = "lenient::as_text",
        deserialize_with = "lenient::number_or_zero"
    )]
    pub device_sample_rate: u64,
    /// For example `none`.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub device_bgp_type: String,
    /// `Y` or `N`.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub cdn_attr: String,
    /// Records per second the plan allows; 0 when absent (AGG-9).
    #[serde(default, deserialize_with = "lenient::number_or_zero")]
    pub max_flow_rate: u64,
    /// The plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// The site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<Site>,
    /// Custom columns (7.5).
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub custom_column_data: Vec<CustomColumn>,
}

/// The plan of a device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Plan id, 0 when absent.
    #[serde(default, deserialize_with = "lenient::number_or_zero")]
    pub id: u64,
    /// Plan name.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub name: String,
    /// Records per second of the plan, 0 when absent.
    #[serde(default, deserialize_with = "lenient::number_or_zero")]
    pub max_fps: u64,
}

/// The site of a device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Site {
    /// Site id, 0 when absent.
    #[serde(default, deserialize_with = "lenient::number_or_zero")]
    pub id: u64,
    /// Site name.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub site_name: String,
}

/// One device-specific column (7.5).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CustomColumn {
    /// Column id; only the low 32 bits fit a record.
    #[serde(serialize_with = "lenient::as_text", deserialize_with = "lenient::number")]
    pub field_id: u64,
    /// Name, for example `FRAGMENTS`.
    pub col_name: String,
    /// Type as announced; see [`Self::kind`].
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub col_type: String,
}

impl CustomColumn {
    /// What values of this column are, `None` for a type that is not in section 7.5.
    pub fn kind(&self) -> Option<ColumnKind> {
        Some(match self.col_type.as_str() {
            "string" => ColumnKind::Text,
            "byte" | "uint16" | "uint32" | "uint64" => ColumnKind::Unsigned,
            "int8" | "int16" | "int32" | "int64" => ColumnKind::Signed,
            "float32" | "float64" => ColumnKind::Float,
            "addr" | "inet" => ColumnKind::Address,
            _ => return None,
        })
    }
}

/// Kinds of column types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// `string`.
    Text,
    /// `byte`, `uint16`, `uint32`, `uint64`.
    Unsigned,
    /// `int8` to `int64`; no wire representation.
    Signed,
    /// `float32`, `float64`; the latter has no wire representation.
    Float,
    /// `addr`, and `inet` of the reference test server.
    Address,
}

/// Body of a device creation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CreateDevice {
    /// The device to create.
    pub device: NewDevice,
}

/// A device to be created (7.3).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NewDevice {
    /// Name with `.` replaced by `_`.
    pub device_name: String,
    /// For example `host-nprobe-dns-www`.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub device_type: String,
    /// For example `kprobe`.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub device_subtype: String,
    /// The name as the user gave it.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub device_description: String,
    /// Sampling 1:N.
    #[serde(
        default,
        serialize_with = "lenient::as_text",
        deserialize_with = "lenient::number_or_zero"
    )]
    pub device_sample_rate: u64,
    /// For example `none`.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub device_bgp_type: String,
    /// Plan; 0 is left out.
    #[serde(
        default,
        skip_serializing_if = "is_zero",
        deserialize_with = "lenient::number_or_zero"
    )]
    pub plan_id: u64,
    /// Site; 0 is left out.
    #[serde(
        default,
        skip_serializing_if = "is_zero",
        deserialize_with = "lenient::number_or_zero"
    )]
    pub site_id: u64,
    /// `Y` or `N`.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub cdn_attr: String,
    /// Addresses as text.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub sending_ips: Vec<String>,
}

impl NewDevice {
    /// The device that a probe creates for itself: host type, unsampled, one address.
    pub fn probe(name: &str, address: IpAddr, plan_id: u64, site_id: u64) -> Self {
        Self {
            device_name: super::lookup_name(name),
            device_type: "host-nprobe-dns-www".into(),
            device_subtype: "kprobe".into(),
            device_description: name.into(),
            device_sample_rate: 1,
            device_bgp_type: "none".into(),
            plan_id,
            site_id,
            cdn_attr: "N".into(),
            sending_ips: vec![address.to_string()],
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: &str = r#"{ "device": {
        "id": "9623", "company_id": "1289", "device_name": "pd_host",
        "device_type": "host-nprobe-dns-www", "device_subtype": "kprobe",
        "device_description": "pd_host", "ip": "192.0.2.10",
        "device_sample_rate": "1", "device_bgp_type": "none", "cdn_attr": "N",
        "max_flow_rate": 4000,
        "plan": { "id": 11, "name": "example" },
        "custom_column_data": [
          { "field_id": "3", "col_name": "FRAGMENTS", "col_type": "uint32" } ]
    } }"#;

    #[test]
    fn the_device_of_the_contract_is_read() {
        let device = serde_json::from_str::<DeviceBody>(DEVICE).unwrap().device;
        assert_eq!((device.id, device.company_id), (9623, 1289));
        assert_eq!((device.device_sample_rate, device.max_flow_rate), (1, 4000));
        assert_eq!(device.plan.unwrap().id, 11);
        let column = &device.custom_column_data[0];
        assert_eq!((column.field_id, column.col_name.as_str()), (3, "FRAGMENTS"));
        assert_eq!(column.kind(), Some(ColumnKind::Unsigned));
    }

    #[test]
    fn numbers_may_be_bare_or_in_texts_and_optional_members_null_or_absent() {
        let text = r#"{"id": 7, "company_id": 1, "device_name": "a", "max_flow_rate": "10",
            "device_sample_rate": null, "custom_column_data": null, "ip": null, "unknown": [1]}"#;
        let device: Device = serde_json::from_str(text).unwrap();
        assert_eq!((device.id, device.max_flow_rate, device.device_sample_rate), (7, 10, 0));
        assert!(device.custom_column_data.is_empty());
        let least: Device =
            serde_json::from_str(r#"{"id":"7","company_id":"1","device_name":"a"}"#).unwrap();
        assert_eq!(least.max_flow_rate, 0);
    }

    #[test]
    fn an_id_that_is_no_number_is_refused() {
        for id in ["\"x\"", "-1", "1.5", "null", "\"\"", "[]"] {
            let text = format!(r#"{{"id":{id},"company_id":1,"device_name":"a"}}"#);
            assert!(serde_json::from_str::<Device>(&text).is_err(), "{id}");
        }
    }

    #[test]
    fn numbers_in_texts_are_written_as_texts() {
        let device = Device { id: 5, company_id: 1, max_flow_rate: 4000, ..Device::default() };
        let json = serde_json::to_value(&device).unwrap();
        assert_eq!(json["id"], "5");
        assert_eq!(json["device_sample_rate"], "0");
        assert_eq!(json["max_flow_rate"], 4000);
    }

    #[test]
    fn a_creation_has_the_members_of_the_contract() {
        let device = NewDevice::probe("pd.host", [192, 0, 2, 10].into(), 11, 394);
        let expected: serde_json::Value = serde_json::from_str(
            r#"{ "device": {
            "device_name": "pd_host", "device_type": "host-nprobe-dns-www",
            "device_subtype": "kprobe", "device_description": "pd.host",
            "device_sample_rate": "1", "device_bgp_type": "none",
            "plan_id": 11, "site_id": 394, "cdn_attr": "N",
            "sending_ips": ["192.0.2.10"] } }"#,
        )
        .unwrap();
        assert_eq!(serde_json::to_value(CreateDevice { device }).unwrap(), expected);
    }

    #[test]
    fn a_creation_without_plan_and_site_leaves_them_out() {
        let device = NewDevice::probe("a", [192, 0, 2, 10].into(), 0, 0);
        let json = serde_json::to_value(device).unwrap();
        assert!(json.get("plan_id").is_none() && json.get("site_id").is_none());
    }
}
