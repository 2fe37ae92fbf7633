//! Records to a packed message.

use std::net::IpAddr;

use capnp::Word;
use capnp::message::{Builder, ScratchSpaceHeapAllocator};
use capnp::private::layout::PointerBuilder;

use super::record::{Digits, Record, ValueRef, wire_text};
use super::{MAX_UNPACKED_BYTES, MESSAGE_OVERHEAD_BYTES, PREFIX_BYTES};
use crate::Flow;
use crate::kflow_capnp::{c_h_f, custom, packed_c_h_f};

const WORD_BYTES: usize = 8;
const RECORD_BYTES: usize = 344;
const CUSTOM_BYTES: usize = 32;
const LIST_TAG_BYTES: usize = 8;
const IPV6_BYTES: usize = 16;
/// Family, 16 address bytes.
const ADDR_BYTES: usize = 17;
const ADDR_PADDED_BYTES: usize = 24;

/// Why a batch cannot be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The message would exceed [`MAX_UNPACKED_BYTES`]; split the batch.
    #[error("batch needs {needed_bytes} bytes unpacked, {MAX_UNPACKED_BYTES} are allowed")]
    TooLarge {
        /// Unpacked size of the whole message in bytes.
        needed_bytes: usize,
    },
}

/// Bytes that one record takes in an unpacked message (wire contract, section 4): 344, with
/// addresses and custom columns on top. A message takes [`MESSAGE_OVERHEAD_BYTES`] more.
pub fn unpacked_size<R: Record + ?Sized>(record: &R) -> usize {
    record.unpacked_bytes()
}

/// As [`unpacked_size`], from the parts that it depends on.
pub fn size_of_record<'a>(
    src: IpAddr,
    dst: IpAddr,
    customs: impl Iterator<Item = ValueRef<'a>>,
) -> usize {
    let addresses = usize::from(src.is_ipv6()) + usize::from(dst.is_ipv6());
    let mut bytes = RECORD_BYTES + addresses * IPV6_BYTES;
    let mut count = 0;
    for value in customs {
        count += 1;
        bytes += CUSTOM_BYTES + value_bytes(value);
    }
    bytes + if count > 0 { LIST_TAG_BYTES } else { 0 }
}

/// Encodes batches, keeping its working memory (at most [`MAX_UNPACKED_BYTES`]) between them.
#[derive(Default)]
pub struct Encoder {
    scratch: Vec<Word>,
}

impl Encoder {
    /// An encoder that has not reserved memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the uncompressed POST body of `flows` to `out`: 80 zero bytes and one packed message.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`]; `out` is unchanged then.
    pub fn encode_body(&mut self, flows: &[Flow], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.encode_records(flows.iter(), out)
    }

    /// As [`Self::encode_body`], for any records; nothing is allocated per record.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`]; `out` is unchanged then.
    pub fn encode_records<I>(&mut self, records: I, out: &mut Vec<u8>) -> Result<(), EncodeError>
    where
        I: ExactSizeIterator + Clone,
        I::Item: Record,
    {
        let sizes = records.clone().map(|record| record.unpacked_bytes());
        let needed_bytes = sizes.sum::<usize>() + MESSAGE_OVERHEAD_BYTES;
        self.encode_sized(records, needed_bytes, out)
    }

    /// As [`Self::encode_records`] for a caller who knows the size of the unpacked message: that of
    /// its records and [`MESSAGE_OVERHEAD_BYTES`]. With a size that is too small the message has
    /// several segments, which is legal; with one that is too large only memory is wasted.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`]; `out` is unchanged then.
    pub fn encode_sized<I>(
        &mut self,
        records: I,
        needed_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError>
    where
        I: ExactSizeIterator,
        I::Item: Record,
    {
        if needed_bytes > MAX_UNPACKED_BYTES {
            return Err(EncodeError::TooLarge { needed_bytes });
        }
        // The segment table is not part of the segment.
        let words = needed_bytes / WORD_BYTES - 1;
        if self.scratch.len() < words {
            self.scratch = Word::allocate_zeroed_vec(words);
        }
        let segment = Word::words_to_bytes_mut(&mut self.scratch[..words]);
        let mut message = Builder::new(ScratchSpaceHeapAllocator::new(segment));
        write_records(records, message.init_root::<packed_c_h_f::Builder<'_>>());

        let start = out.len();
        out.resize(start + PREFIX_BYTES, 0);
        capnp::serialize_packed::write_message(&mut *out, &message)
            .expect("writing to a Vec does not fail");
        Ok(())
    }
}

fn write_records<I>(records: I, root: packed_c_h_f::Builder<'_>)
where
    I: ExactSizeIterator,
    I::Item: Record,
{
    // At most MAX_UNPACKED_BYTES / 344 records got this far.
    let mut list = root.init_msgs(records.len() as u32);
    for (index, record) in (0..list.len()).zip(records) {
        let mut chf = list.reborrow().get(index);
        write_fixed(&record.fixed(), &mut chf);
        let count = record.customs().count() as u32;
        if count > 0 {
            let mut customs = chf.init_custom(count);
            for (index, (id, value)) in (0..count).zip(record.customs()) {
                write_custom(id, value, customs.reborrow().get(index));
            }
        }
    }
}

fn write_fixed(flow: &Flow, chf: &mut c_h_f::Builder<'_>) {
    chf.set_in_bytes(flow.in_bytes);
    chf.set_in_pkts(flow.in_packets);
    chf.set_out_bytes(flow.out_bytes);
    chf.set_out_pkts(flow.out_packets);
    chf.set_input_port(flow.input_port);
    chf.set_output_port(flow.output_port);
    chf.set_l4_src_port(flow.src_port);
    chf.set_l4_dst_port(flow.dst_port);
    chf.set_protocol(flow.protocol);
    chf.set_tcp_flags(flow.tcp_flags);
    chf.set_tos(flow.tos);
    chf.set_vlan_in(flow.vlan_in);
    chf.set_vlan_out(flow.vlan_out);
    chf.set_src_eth_mac(flow.src_mac);
    chf.set_dst_eth_mac(flow.dst_mac);
    chf.set_sample_rate(flow.sample_rate);
    chf.set_sample_adj(flow.sample_adj);
    chf.set_device_id(flow.device_id);
    chf.set_app_protocol(flow.app_protocol);
    chf.set_big(flow.big);
    match flow.dst {
        IpAddr::V4(addr) => chf.set_ipv4_dst_addr(addr.to_bits()),
        IpAddr::V6(addr) => chf.set_ipv6_dst_addr(&addr.octets()),
    }
    match flow.src {
        IpAddr::V4(addr) => chf.set_ipv4_src_addr(addr.to_bits()),
        IpAddr::V6(addr) => chf.set_ipv6_src_addr(&addr.octets()),
    }
}

fn write_custom(id: u32, value: ValueRef<'_>, mut custom: custom::Builder<'_>) {
    custom.set_id(id);
    let mut slot = custom.get_value();
    match value {
        ValueRef::U32(v) => slot.set_uint32_val(v),
        ValueRef::F32(v) => slot.set_float32_val(v),
        ValueRef::U64(v) => slot.set_uint64_val(v),
        ValueRef::U16(v) => slot.set_uint16_val(v),
        ValueRef::U8(v) => slot.set_uint8_val(v),
        ValueRef::Addr(v) => slot.set_addr_val(&addr_bytes(v)),
        ValueRef::Digits(v) => slot.set_str_val(Digits::new(v).as_str()),
        ValueRef::Text(v) => match wire_text(v) {
            "" => slot.set_str_val(NullText),
            text => slot.set_str_val(text),
        },
    }
}

/// Sets the union tag and leaves the pointer null, the wire's form of the empty text (5.3).
struct NullText;

impl capnp::traits::SetterInput<capnp::text::Owned> for NullText {
    fn set_pointer_builder(_: PointerBuilder<'_>, _: Self, _: bool) -> capnp::Result<()> {
        Ok(())
    }
}

fn addr_bytes(addr: IpAddr) -> [u8; ADDR_BYTES] {
    let mut bytes = [0; ADDR_BYTES];
    match addr {
        IpAddr::V4(addr) => {
            bytes[0] = 4;
            bytes[1..5].copy_from_slice(&addr.octets());
        }
        IpAddr::V6(addr) => {
            bytes[0] = 6;
            bytes[1..].copy_from_slice(&addr.octets());
        }
    }
    bytes
}

fn value_bytes(value: ValueRef<'_>) -> usize {
    match value {
        ValueRef::Text(text) => match wire_text(text).len() {
            0 => 0,
            bytes => (bytes + 1).next_multiple_of(WORD_BYTES),
        },
        ValueRef::Addr(_) => ADDR_PADDED_BYTES,
        ValueRef::Digits(v) => (Digits::new(v).as_str().len() + 1).next_multiple_of(WORD_BYTES),
        ValueRef::U32(_)
        | ValueRef::F32(_)
        | ValueRef::U64(_)
        | ValueRef::U16(_)
        | ValueRef::U8(_) => 0,
    }
}
