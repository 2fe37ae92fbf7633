//! One kflow record as plain data: the fields of `CHF` that this project writes or reads.

use std::net::{IpAddr, Ipv4Addr};

/// One direction of a conversation as it stands on the wire (`CHF` in `schema/kflow.capnp`).
///
/// Fields the probe never sets are absent here and ignored when read. `timestamp` fields stay
/// zero on the wire: the receiver stamps the flow.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// Source address; IPv4 travels as a number, IPv6 as 16 bytes.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Layer-4 source port, 0 for ICMP and others.
    pub src_port: u32,
    /// Layer-4 destination port; ICMP: type × 256 + code.
    pub dst_port: u32,
    /// IP protocol number.
    pub protocol: u32,
    /// OR of the type-of-service bytes.
    pub tos: u32,
    /// OR of the TCP flags.
    pub tcp_flags: u32,
    /// Bytes and packets of an inbound record, else 0.
    pub in_bytes: u64,
    /// See `in_bytes`.
    pub in_packets: u64,
    /// Bytes and packets of an outbound or unknown-direction record, else 0.
    pub out_bytes: u64,
    /// See `out_bytes`.
    pub out_packets: u64,
    /// Inbound: low 16 bits of the destination MAC.
    pub input_port: u32,
    /// Outbound: low 16 bits of the source MAC.
    pub output_port: u32,
    /// Inbound: VLAN id or 0.
    pub vlan_in: u32,
    /// Outbound: VLAN id or 0.
    pub vlan_out: u32,
    /// Source MAC, first octet in bits 47–40.
    pub src_mac: u64,
    /// Destination MAC, likewise.
    pub dst_mac: u64,
    /// As on the wire: N × 100 times the resampling weight.
    pub sample_rate: u32,
    /// True when `sample_rate` includes the factor 100; the probe always sets it.
    pub sample_adj: bool,
    /// Numeric device id.
    pub device_id: u32,
    /// Application id, 0 when none; 4294967295 (the schema's default) reads as "not set".
    pub app_protocol: u32,
    /// Marks low-resolution copies on the receiving side; never set by the probe.
    pub big: bool,
    /// Custom column values, at most one per column id.
    pub customs: Vec<Custom>,
}

/// One value for one device-specific column.
#[derive(Clone, Debug, PartialEq)]
pub struct Custom {
    /// Column id as announced by the device description (`field_id`).
    pub id: u32,
    /// The value; its kind selects the union member.
    pub value: Value,
}

/// The kinds of value the wire has. Signed integers and 64-bit floats have no representation.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `uint32Val`: all decoder and performance columns.
    U32(u32),
    /// `float32Val`.
    F32(f32),
    /// `strVal`: cut to 384 bytes at a UTF-8 boundary and before any zero byte when encoded.
    Text(String),
    /// `uint64Val`.
    U64(u64),
    /// `addrVal`: 17 bytes on the wire, family first.
    Addr(IpAddr),
    /// `uint16Val`.
    U16(u16),
    /// `uint8Val`.
    U8(u8),
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            src: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            dst: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            src_port: 0,
            dst_port: 0,
            protocol: 0,
            tos: 0,
            tcp_flags: 0,
            in_bytes: 0,
            in_packets: 0,
            out_bytes: 0,
            out_packets: 0,
            input_port: 0,
            output_port: 0,
            vlan_in: 0,
            vlan_out: 0,
            src_mac: 0,
            dst_mac: 0,
            sample_rate: 100,
            sample_adj: true,
            device_id: 0,
            app_protocol: 0,
            big: false,
            customs: Vec::new(),
        }
    }
}
