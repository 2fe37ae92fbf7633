//! A packed message to records.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use capnp::Word;
use capnp::message::ReaderOptions;

use super::unpack::unpack;
use super::{MAX_DECODE_BYTES, MAX_RECORD_MEMORY_BYTES, PREFIX_BYTES};
use crate::kflow_capnp::custom::value;
use crate::kflow_capnp::{c_h_f, custom, packed_c_h_f};
use crate::{Custom, Flow, Value};

const NESTING_LIMIT: i32 = 16;

/// Why a body is not a batch of records.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The body ends inside the prefix.
    #[error("body has {have_bytes} bytes, the prefix alone has {PREFIX_BYTES}")]
    Short {
        /// Length of the body in bytes.
        have_bytes: usize,
    },
    /// The prefix holds something else than zeros.
    #[error("prefix byte {offset} is not zero")]
    Prefix {
        /// Offset of the first such byte.
        offset: usize,
    },
    /// The packed stream ends inside a word or run.
    #[error("packed message ends too early, at byte {offset} behind the prefix")]
    Truncated {
        /// Where the missing byte was expected, counted from the end of the prefix.
        offset: usize,
    },
    /// Unpacked or decoded, the message would exceed a bound.
    #[error("message needs more than {limit_bytes} bytes")]
    TooLarge {
        /// [`MAX_DECODE_BYTES`] for the unpacked message, [`MAX_RECORD_MEMORY_BYTES`] for its records.
        limit_bytes: usize,
    },
    /// Words follow the message.
    #[error("{extra_bytes} bytes follow the message")]
    Trailing {
        /// Their number, unpacked.
        extra_bytes: usize,
    },
    /// An address is neither null nor of a known length and family.
    #[error("an address of {have_bytes} bytes in {field}")]
    Address {
        /// The schema's name of the field.
        field: &'static str,
        /// Its length in bytes.
        have_bytes: usize,
    },
    /// A pointer or size in the message is wrong, or it is nested or shared too deeply.
    #[error("bad message: {0}")]
    Message(#[from] capnp::Error),
}

/// Reads an uncompressed POST body: the prefix and one packed message.
///
/// Accepts several segments, structs larger or smaller than ours, and addresses of 5 or 17 bytes;
/// custom values of a kind unknown to the schema are left out; texts that are not UTF-8 are
/// repaired. Memory stays below [`MAX_DECODE_BYTES`] + [`MAX_RECORD_MEMORY_BYTES`].
///
/// # Errors
/// See [`DecodeError`]; no record of a faulty body is returned.
pub fn decode_body(body: &[u8]) -> Result<Vec<Flow>, DecodeError> {
    let (prefix, packed) =
        body.split_at_checked(PREFIX_BYTES).ok_or(DecodeError::Short { have_bytes: body.len() })?;
    if let Some(offset) = prefix.iter().position(|&byte| byte != 0) {
        return Err(DecodeError::Prefix { offset });
    }
    let words = unpack(packed, MAX_DECODE_BYTES)?;
    let mut rest = Word::words_to_bytes(&words);
    let mut options = ReaderOptions::new();
    options.nesting_limit(NESTING_LIMIT);
    options.traversal_limit_in_words(Some(MAX_DECODE_BYTES / size_of::<Word>()));
    let message = capnp::serialize::read_message_from_flat_slice(&mut rest, options)?;
    if !rest.is_empty() {
        return Err(DecodeError::Trailing { extra_bytes: rest.len() });
    }
    let records = message.get_root::<packed_c_h_f::Reader<'_>>()?.get_msgs()?;
    let mut budget = Budget { left_bytes: MAX_RECORD_MEMORY_BYTES };
    budget.take(records.len() as usize, size_of::<Flow>())?;
    records.iter().map(|record| read_flow(record, &mut budget)).collect()
}

/// Memory that may still be given out. Lists can overlap or have elements of no size, so a small
/// message can name far more elements than it has bytes.
struct Budget {
    left_bytes: usize,
}

impl Budget {
    fn take(&mut self, count: usize, each_bytes: usize) -> Result<(), DecodeError> {
        self.left_bytes = count
            .checked_mul(each_bytes)
            .and_then(|bytes| self.left_bytes.checked_sub(bytes))
            .ok_or(DecodeError::TooLarge { limit_bytes: MAX_RECORD_MEMORY_BYTES })?;
        Ok(())
    }
}

fn read_flow(chf: c_h_f::Reader<'_>, budget: &mut Budget) -> Result<Flow, DecodeError> {
    let customs = if chf.has_custom() {
        let list = chf.get_custom()?;
        budget.take(list.len() as usize, size_of::<Custom>())?;
        let mut customs = Vec::with_capacity(list.len() as usize);
        for custom in list {
            customs.extend(read_custom(custom, budget)?);
        }
        customs
    } else {
        Vec::new()
    };
    Ok(Flow {
        src: read_address("ipv6SrcAddr", chf.get_ipv6_src_addr()?, chf.get_ipv4_src_addr())?,
        dst: read_address("ipv6DstAddr", chf.get_ipv6_dst_addr()?, chf.get_ipv4_dst_addr())?,
        src_port: chf.get_l4_src_port(),
        dst_port: chf.get_l4_dst_port(),
        protocol: chf.get_protocol(),
        tos: chf.get_tos(),
        tcp_flags: chf.get_tcp_flags(),
        in_bytes: chf.get_in_bytes(),
        in_packets: chf.get_in_pkts(),
        out_bytes: chf.get_out_bytes(),
        out_packets: chf.get_out_pkts(),
        input_port: chf.get_input_port(),
        output_port: chf.get_output_port(),
        vlan_in: chf.get_vlan_in(),
        vlan_out: chf.get_vlan_out(),
        src_mac: chf.get_src_eth_mac(),
        dst_mac: chf.get_dst_eth_mac(),
        sample_rate: chf.get_sample_rate(),
        sample_adj: chf.get_sample_adj(),
        device_id: chf.get_device_id(),
        app_protocol: chf.get_app_protocol(),
        big: chf.get_big(),
        customs,
    })
}

fn read_custom(
    custom: custom::Reader<'_>,
    budget: &mut Budget,
) -> Result<Option<Custom>, DecodeError> {
    let Ok(which) = custom.get_value().which() else { return Ok(None) };
    let value = match which {
        value::Uint32Val(v) => Value::U32(v),
        value::Float32Val(v) => Value::F32(v),
        value::Uint64Val(v) => Value::U64(v),
        value::Uint16Val(v) => Value::U16(v),
        value::Uint8Val(v) => Value::U8(v),
        value::AddrVal(bytes) => Value::Addr(read_custom_address(bytes?)?),
        value::StrVal(text) => {
            let bytes = text?.as_bytes();
            // A repaired byte takes three.
            budget.take(bytes.len(), 3)?;
            Value::Text(String::from_utf8_lossy(bytes).into_owned())
        }
    };
    Ok(Some(Custom { id: custom.get_id(), value }))
}

fn read_address(field: &'static str, v6: &[u8], v4: u32) -> Result<IpAddr, DecodeError> {
    if v6.is_empty() {
        return Ok(IpAddr::V4(Ipv4Addr::from_bits(v4)));
    }
    let octets: [u8; 16] =
        v6.try_into().map_err(|_| DecodeError::Address { field, have_bytes: v6.len() })?;
    Ok(IpAddr::V6(Ipv6Addr::from(octets)))
}

/// Family byte, then 4 or 16 address bytes; an IPv4 address may be padded to 17 bytes in all.
fn read_custom_address(bytes: &[u8]) -> Result<IpAddr, DecodeError> {
    match *bytes {
        [4, a, b, c, d] | [4, a, b, c, d, _, _, _, _, _, _, _, _, _, _, _, _] => {
            Ok(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
        }
        [6, ref octets @ ..] if octets.len() == 16 => read_address("addrVal", octets, 0),
        _ => Err(DecodeError::Address { field: "addrVal", have_bytes: bytes.len() }),
    }
}
