//! The worked examples of the wire contract (section 12), and the reference tool as judge.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::process::{Command, Stdio};

use kflow::wire::{Encoder, MAX_UNPACKED_BYTES, PREFIX_BYTES, decode_body, unpacked_size};
use kflow::{Custom, Flow, Value};

const MINIMAL: &str = "
    10 33 40 01 31 01 5f 01 51 04 1d 0e 00 05 9f 04
    04 08 08 34 0a 31 35 b7 cc 10 11 00 04 01 38 01
    01 10 64 01 01 00 02 10 02 00 05 0f ff ff ff ff
    00 08 11 11 27 00 03 51 04 03 01 11 03 02 00 02";

const IPV6: &str = "
    1044400131015f0151041d0e000203b00101010337bb000013b7cc3510110002
    0129000220640397250002100200033f0605040302011f37bb60421c0ffeffff
    ff0006111982111d8211216700030f20010db880340f20010db88053510c0301
    01130102000011215a110dff000201170104000011098aff676f6f676c652e63
    00036f6d1f040ad337100001";

fn body(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    let packed = pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap());
    std::iter::repeat_n(0, PREFIX_BYTES).chain(packed).collect()
}

fn minimal() -> Flow {
    Flow {
        src: [10, 0, 0, 52].into(),
        dst: [8, 8, 4, 4].into(),
        src_port: 52407,
        dst_port: 53,
        protocol: 17,
        out_bytes: 56,
        out_packets: 1,
        sample_rate: 100,
        sample_adj: true,
        device_id: 1,
        app_protocol: 0,
        customs: vec![Custom { id: 3, value: Value::U32(2) }],
        ..Flow::default()
    }
}

fn ipv6() -> Flow {
    Flow {
        src: "2001:db8::53".parse().unwrap(),
        dst: "2001:db8::34".parse().unwrap(),
        src_port: 53,
        dst_port: 52407,
        protocol: 17,
        in_bytes: 432,
        in_packets: 1,
        input_port: 47927,
        vlan_in: 41,
        src_mac: 0x0102_0304_0506,
        dst_mac: 0x001c_4260_bb37,
        sample_rate: 25600,
        sample_adj: true,
        device_id: 9623,
        app_protocol: 1,
        customs: vec![
            Custom { id: 19, value: Value::Text("google.com".into()) },
            Custom { id: 13, value: Value::U32(255) },
            Custom { id: 23, value: Value::Addr([10, 211, 55, 16].into()) },
        ],
        ..Flow::default()
    }
}

fn encode(flows: &[Flow]) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new().encode_body(flows, &mut out).unwrap();
    out
}

#[test]
fn the_minimal_message_is_read() {
    assert_eq!(decode_body(&body(MINIMAL)).unwrap(), [minimal()]);
}

#[test]
fn the_ipv6_message_with_text_and_address_is_read() {
    assert_eq!(decode_body(&body(IPV6)).unwrap(), [ipv6()]);
}

#[test]
fn the_minimal_message_is_encoded_to_the_same_bytes() {
    assert_eq!(encode(&[minimal()]), body(MINIMAL));
}

#[test]
fn the_ipv6_message_survives_a_round_trip() {
    assert_eq!(decode_body(&encode(&[ipv6()])).unwrap(), [ipv6()]);
}

#[test]
fn sizes_are_those_of_the_contract() {
    let fixed = Flow { customs: Vec::new(), ..minimal() };
    assert_eq!(unpacked_size(&fixed), 344);
    assert_eq!(unpacked_size(&minimal()), 344 + 8 + 32);
    // Two addresses, a list of three, text of 10 + 1 in 16, address of 17 in 24.
    assert_eq!(unpacked_size(&ipv6()), 344 + 2 * 16 + 8 + 3 * 32 + 16 + 24);
}

#[test]
fn an_empty_text_is_a_null_pointer_with_its_tag() {
    let mut flow = minimal();
    flow.customs[0].value = Value::Text("\0hidden".into());
    let encoded = encode(std::slice::from_ref(&flow));
    // Last four words: id 3; tag 2; nothing; null pointer.
    assert_eq!(encoded[encoded.len() - 6..], [0x01, 0x03, 0x01, 0x02, 0x00, 0x01]);
    flow.customs[0].value = Value::Text(String::new());
    assert_eq!(decode_body(&encoded).unwrap(), [flow]);
}

#[test]
fn an_unset_application_reads_as_all_ones() {
    let flow = Flow { app_protocol: u32::MAX, ..minimal() };
    assert_eq!(decode_body(&encode(std::slice::from_ref(&flow))).unwrap(), [flow]);
}

#[test]
fn bodies_are_appended_and_an_encoder_can_be_used_again() {
    let mut encoder = Encoder::new();
    let mut out = Vec::new();
    encoder.encode_body(&[ipv6(), minimal()], &mut out).unwrap();
    let first = out.len();
    encoder.encode_body(&[minimal()], &mut out).unwrap();
    assert_eq!(decode_body(&out[..first]).unwrap(), [ipv6(), minimal()]);
    assert_eq!(out[first..], body(MINIMAL));
}

#[test]
fn an_empty_batch_is_a_message_without_records() {
    assert_eq!(decode_body(&encode(&[])).unwrap(), []);
}

#[test]
fn a_batch_above_32_mib_is_refused_and_nothing_is_written() {
    let most = (MAX_UNPACKED_BYTES - 32) / 344;
    let flow = Flow { customs: Vec::new(), ..minimal() };
    let mut flows = vec![flow; most];
    let mut out = Vec::new();
    Encoder::new().encode_body(&flows, &mut out).unwrap();
    assert_eq!(decode_body(&out).unwrap().len(), 97_541);
    flows.push(minimal());
    out.clear();
    assert!(Encoder::new().encode_body(&flows, &mut out).is_err());
    assert!(out.is_empty());
}

#[test]
fn the_reference_tool_reads_what_we_encode() {
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/kflow.capnp");
    let spawned = Command::new("capnp")
        .args(["decode", "--packed", "--short", schema, "PackedCHF"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("PWD")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut tool = match spawned {
        Ok(tool) => tool,
        Err(error) => {
            println!("skipped: the capnp tool cannot be run ({error})");
            return;
        }
    };
    let encoded = encode(&[ipv6()]);
    tool.stdin.take().unwrap().write_all(&encoded[PREFIX_BYTES..]).unwrap();
    let output = tool.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "inBytes = 432, inPkts = 1, inputPort = 47927,",
        "l4DstPort = 52407, l4SrcPort = 53,",
        "vlanIn = 41,",
        "sampleRate = 25600, deviceId = 9623,",
        "sampleAdj = true,",
        r#"ipv6DstAddr = " \001\r\270\000\000\000\000\000\000\000\000\000\000\0004","#,
        "srcEthMac = 1108152157446, dstEthMac = 121372719927,",
        r#"(id = 19, value = (strVal = "google.com"), isDimension = false)"#,
        "(id = 13, value = (uint32Val = 255), isDimension = false)",
        r#"addrVal = "\004\n\3237\020\000\000\000\000\000\000\000\000\000\000\000\000""#,
        "appProtocol = 1)",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}
