//! A kept record, and how it looks as JSON: with the members of a probe's own JSON lines, the name of
//! its device, and its custom columns by name under `metrics`.

use std::net::IpAddr;

use kflow::Flow;
use kflow::wire::{APP_PROTOCOL_UNSET, Record, ValueRef};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::clock;
use crate::columns::Names;
use crate::pack::{Packed, Values};

/// One record as it is kept. Ports, VLAN, flags and protocol are clipped to the width they have in
/// a packet.
pub(crate) struct Row {
    pub(crate) time_ms: u64,
    pub(crate) bytes: u64,
    pub(crate) packets: u64,
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) device_id: u32,
    /// Hundredths, never 0.
    pub(crate) sample_rate_x100: u32,
    pub(crate) app: u32,
    pub(crate) src_port: u16,
    pub(crate) dst_port: u16,
    pub(crate) vlan: u16,
    pub(crate) tcp_flags: u16,
    pub(crate) tos: u8,
    pub(crate) protocol: u8,
    pub(crate) direction: Direction,
    pub(crate) columns: Packed,
}

/// Which counters of a record were used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    In,
    /// Outbound or unknown.
    Out,
    /// Both counters; bytes and packets are their sums.
    Both,
}

impl Row {
    /// The row of `flow`, and how many of its columns did not fit. `tags` are further columns.
    pub(crate) fn new<'a>(
        flow: &'a Flow,
        sender_device: u32,
        time_ms: u64,
        tags: impl Iterator<Item = (u32, ValueRef<'a>)>,
    ) -> (Self, u64) {
        let (columns, left_out) = Packed::new(tags.chain(flow.customs()));
        let inbound = flow.in_bytes > 0 || flow.in_packets > 0;
        let outbound = flow.out_bytes > 0 || flow.out_packets > 0;
        let factor = if flow.sample_adj { 1 } else { 100 };
        let row = Self {
            time_ms,
            bytes: flow.in_bytes.saturating_add(flow.out_bytes),
            packets: flow.in_packets.saturating_add(flow.out_packets),
            src: flow.src,
            dst: flow.dst,
            device_id: if flow.device_id == 0 { sender_device } else { flow.device_id },
            sample_rate_x100: match flow.sample_rate.saturating_mul(factor) {
                0 => 100,
                rate => rate,
            },
            app: if flow.app_protocol == APP_PROTOCOL_UNSET { 0 } else { flow.app_protocol },
            src_port: clip_u16(flow.src_port),
            dst_port: clip_u16(flow.dst_port),
            vlan: clip_u16(flow.vlan_in.max(flow.vlan_out)),
            tcp_flags: clip_u16(flow.tcp_flags),
            tos: clip_u8(flow.tos),
            protocol: clip_u8(flow.protocol),
            direction: match (inbound, outbound) {
                (true, true) => Direction::Both,
                (true, false) => Direction::In,
                (false, _) => Direction::Out,
            },
            columns,
        };
        (row, left_out)
    }

    /// The row for `serde_json`, with the name of its device.
    pub(crate) fn json<'a>(&'a self, device: &'a str, names: &'a Names) -> RowJson<'a> {
        RowJson { row: self, device, names }
    }
}

fn clip_u16(number: u32) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

fn clip_u8(number: u32) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

/// See [`Row::json`].
pub(crate) struct RowJson<'a> {
    row: &'a Row,
    device: &'a str,
    names: &'a Names,
}

impl Serialize for RowJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let row = self.row;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time", &clock::rfc3339(row.time_ms))?;
        map.serialize_entry("device", self.device)?;
        map.serialize_entry("src", &row.src)?;
        map.serialize_entry("dst", &row.dst)?;
        map.serialize_entry("src_port", &row.src_port)?;
        map.serialize_entry("dst_port", &row.dst_port)?;
        map.serialize_entry("protocol", &row.protocol)?;
        map.serialize_entry("packets", &row.packets)?;
        map.serialize_entry("bytes", &row.bytes)?;
        map.serialize_entry(
            "direction",
            match row.direction {
                Direction::In => "in",
                Direction::Out => "out",
                Direction::Both => "both",
            },
        )?;
        map.serialize_entry("tcp_flags", &row.tcp_flags)?;
        map.serialize_entry("tos", &row.tos)?;
        map.serialize_entry("vlan", &row.vlan)?;
        map.serialize_entry("sample_rate", &(f64::from(row.sample_rate_x100) / 100.0))?;
        map.serialize_entry("app", &row.app)?;
        let metrics = Metrics { values: row.columns.iter(), names: self.names };
        map.serialize_entry("metrics", &metrics)?;
        map.end()
    }
}

/// Custom columns by name. A column that a record names twice appears twice.
struct Metrics<'a> {
    values: Values<'a>,
    names: &'a Names,
}

impl Serialize for Metrics<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (id, value) in self.values.clone() {
            match self.names.name(id) {
                Some(name) => map.serialize_key(name)?,
                None => map.serialize_key(&format_args!("column_{id}"))?,
            }
            match value {
                ValueRef::U32(v) => map.serialize_value(&v)?,
                ValueRef::F32(v) => map.serialize_value(&v)?,
                ValueRef::Text(v) => map.serialize_value(v)?,
                ValueRef::Digits(v) => map.serialize_value(&v.to_string())?,
                ValueRef::U64(v) => map.serialize_value(&v)?,
                ValueRef::Addr(v) => map.serialize_value(&v)?,
                ValueRef::U16(v) => map.serialize_value(&v)?,
                ValueRef::U8(v) => map.serialize_value(&v)?,
            }
        }
        map.end()
    }
}
