//! Bodies that lie: every one gives records or a typed error, in bounded memory.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use kflow::wire::{DecodeError, Encoder, PREFIX_BYTES, decode_body};
use kflow::{Custom, Flow, Value};
use proptest::prelude::*;

/// A body from unpacked words, each its own packed word.
fn body(words: &[u64]) -> Vec<u8> {
    let mut out = vec![0; PREFIX_BYTES];
    for word in words {
        let bytes = word.to_le_bytes();
        let tag = (0..8).fold(0, |tag, bit| tag | u8::from(bytes[bit] != 0) << bit);
        out.push(tag);
        out.extend(bytes.iter().filter(|&&byte| byte != 0));
        if tag == 0 || tag == 0xff {
            out.push(0);
        }
    }
    out
}

fn struct_pointer(offset: u64, data: u64, pointers: u64) -> u64 {
    offset << 2 | data << 32 | pointers << 48
}

fn composite(offset: u64, words: u64) -> u64 {
    1 | offset << 2 | 7 << 32 | words << 35
}

/// A message of one segment whose root has the one list `pointer`.
fn message(pointer: u64, rest: &[u64]) -> Vec<u8> {
    let segment_words = 2 + rest.len() as u64;
    let mut words = vec![segment_words << 32, struct_pointer(0, 0, 1), pointer];
    words.extend(rest);
    body(&words)
}

#[test]
fn a_body_shorter_than_the_prefix_is_refused() {
    assert!(matches!(decode_body(&[]), Err(DecodeError::Short { have_bytes: 0 })));
    assert!(matches!(decode_body(&[0; 79]), Err(DecodeError::Short { have_bytes: 79 })));
    assert!(matches!(decode_body(&[0; 80]), Err(DecodeError::Message(_))));
}

#[test]
fn a_prefix_that_is_not_zero_is_refused() {
    let mut bytes = body(&[]);
    bytes[7] = 1;
    assert!(matches!(decode_body(&bytes), Err(DecodeError::Prefix { offset: 7 })));
}

#[test]
fn words_behind_the_message_are_refused() {
    let mut bytes = message(0, &[]);
    assert!(decode_body(&bytes).unwrap().is_empty());
    bytes.extend([0x00, 0x01]);
    assert!(matches!(decode_body(&bytes), Err(DecodeError::Trailing { extra_bytes: 16 })));
}

#[test]
fn a_list_of_millions_of_records_without_size_is_refused() {
    // 10,000,000 elements of no words: a message of four words.
    let bytes = message(composite(0, 0), &[10_000_000 << 2]);
    assert!(matches!(decode_body(&bytes), Err(DecodeError::TooLarge { .. })));
}

#[test]
fn a_few_records_without_size_are_records_of_defaults() {
    let bytes = message(composite(0, 0), &[2 << 2]);
    let flows = decode_body(&bytes).unwrap();
    assert_eq!(flows.len(), 2);
    assert_eq!((flows[0].sample_rate, flows[0].sample_adj), (0, false));
    assert_eq!(flows[0].app_protocol, u32::MAX);
}

#[test]
fn a_larger_struct_is_read_by_its_known_part() {
    // 30 data words and 15 pointers, one more of each than we know.
    let mut record = vec![0_u64; 45];
    record[8] = 17 << 32;
    record[29] = u64::MAX;
    let mut rest = vec![1 << 2 | 30 << 32 | 15 << 48];
    rest.extend(record);
    let flows = decode_body(&message(composite(0, 45), &rest)).unwrap();
    assert_eq!((flows.len(), flows[0].protocol), (1, 17));
}

/// One record of no data whose `custom` list has one element with these four words and `extra`.
fn one_custom(element: [u64; 4], extra: &[u64]) -> Vec<u8> {
    let mut rest = vec![1 << 2 | 10 << 48];
    rest.extend([0; 9]);
    rest.push(composite(0, 4));
    rest.push(1 << 2 | 3 << 32 | 1 << 48);
    rest.extend(element);
    rest.extend(extra);
    message(composite(0, 10), &rest)
}

fn bytes_pointer(bytes: u64) -> u64 {
    1 | 2 << 32 | bytes << 35
}

#[test]
fn an_address_of_five_bytes_is_read() {
    let five = one_custom([9, 4, 0, bytes_pointer(5)], &[0x04_0302_0104]);
    let customs = decode_body(&five).unwrap().remove(0).customs;
    assert_eq!(customs, [Custom { id: 9, value: Value::Addr([1, 2, 3, 4].into()) }]);
}

#[test]
fn an_address_of_another_length_or_family_is_refused() {
    let six = one_custom([9, 4, 0, bytes_pointer(6)], &[4]);
    assert!(matches!(decode_body(&six), Err(DecodeError::Address { have_bytes: 6, .. })));
    let family = one_custom([9, 4, 0, bytes_pointer(5)], &[5]);
    assert!(matches!(decode_body(&family), Err(DecodeError::Address { have_bytes: 5, .. })));
}

#[test]
fn a_value_of_an_unknown_kind_is_left_out() {
    let unknown = one_custom([9, 7, 0, 0], &[]);
    assert!(decode_body(&unknown).unwrap()[0].customs.is_empty());
}

#[test]
fn a_text_that_is_not_utf8_is_repaired() {
    let text = one_custom([9, 2, 0, bytes_pointer(3)], &[0xff61]);
    let customs = decode_body(&text).unwrap().remove(0).customs;
    assert_eq!(customs[0].value, Value::Text("a\u{fffd}".into()));
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u32>().prop_map(Value::U32),
        any::<f32>().prop_filter("NaN equals nothing", |v| !v.is_nan()).prop_map(Value::F32),
        "[^\0]{0,90}".prop_map(Value::Text),
        any::<u64>().prop_map(Value::U64),
        address().prop_map(Value::Addr),
        any::<u16>().prop_map(Value::U16),
        any::<u8>().prop_map(Value::U8),
    ]
}

fn flow() -> impl Strategy<Value = Flow> {
    let customs = proptest::collection::vec(
        (any::<u32>(), value()).prop_map(|(id, value)| Custom { id, value }),
        0..5,
    );
    let counts = any::<[u64; 4]>();
    (
        address(),
        address(),
        any::<[u32; 12]>(),
        counts,
        any::<[u64; 2]>(),
        any::<[bool; 2]>(),
        customs,
    )
        .prop_map(|(src, dst, n, counts, macs, [sample_adj, big], customs)| Flow {
            src,
            dst,
            src_port: n[0],
            dst_port: n[1],
            protocol: n[2],
            tos: n[3],
            tcp_flags: n[4],
            in_bytes: counts[0],
            in_packets: counts[1],
            out_bytes: counts[2],
            out_packets: counts[3],
            input_port: n[5],
            output_port: n[6],
            vlan_in: n[7],
            vlan_out: n[8],
            src_mac: macs[0],
            dst_mac: macs[1],
            sample_rate: n[9],
            sample_adj,
            device_id: n[10],
            app_protocol: n[11],
            big,
            customs,
        })
}

fn encode(flows: &[Flow]) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new().encode_body(flows, &mut out).unwrap();
    out
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(flows in proptest::collection::vec(flow(), 0..8)) {
        prop_assert_eq!(decode_body(&encode(&flows)).unwrap(), flows);
    }

    #[test]
    fn a_message_is_one_segment_of_exactly_the_announced_size(
        flows in proptest::collection::vec(flow(), 1..8),
    ) {
        let sizes: usize = flows.iter().map(kflow::wire::unpacked_size).sum();
        // The segment table is one word: no further segments, then the length in words.
        let words = u32::try_from((sizes + 24) / 8).unwrap().to_le_bytes();
        let mut table = vec![(0..4).fold(0, |tag, bit| tag | u8::from(words[bit] != 0) << (4 + bit))];
        table.extend(words.iter().filter(|&&byte| byte != 0));
        let encoded = encode(&flows);
        prop_assert_eq!(&encoded[PREFIX_BYTES..PREFIX_BYTES + table.len()], &table[..]);
    }

    #[test]
    fn any_bytes_behind_the_prefix_give_a_result(
        packed in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut bytes = vec![0; PREFIX_BYTES];
        bytes.extend(packed);
        let _ = decode_body(&bytes);
    }

    #[test]
    fn any_words_give_a_result(words in proptest::collection::vec(
        prop_oneof![any::<u64>(), 0_u64..64, (0_u64..64).prop_map(|n| n << 32)], 0..60,
    )) {
        let _ = decode_body(&message(composite(0, words.len() as u64), &words));
        let _ = decode_body(&body(&words));
    }

    #[test]
    fn a_changed_message_gives_a_result(
        flows in proptest::collection::vec(flow(), 1..4),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = encode(&flows);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = decode_body(&bytes);
    }

    #[test]
    fn a_cut_message_gives_an_error(
        flows in proptest::collection::vec(flow(), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = encode(&flows);
        prop_assert!(decode_body(&bytes[..cut.index(bytes.len())]).is_err());
    }
}
