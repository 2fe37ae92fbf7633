//! Addresses, messages, and a second opinion on their bytes.

use netflow_parser::variable_versions::ipfix::FlowSetBody;
use netflow_parser::{NetflowPacket, NetflowParser};

use super::*;
use crate::testing::record;

#[test]
fn a_collector_is_named_by_a_url() {
    let parse = |text| IpfixConfig::parse(text).unwrap();
    let expected =
        IpfixConfig { transport: Transport::Udp, host: "a.b".into(), port: 4739, domain: 0 };
    assert_eq!(parse("ipfix://a.b"), expected);
    assert_eq!(parse("ipfix+udp://a.b:4739"), expected);
    let tcp = parse("ipfix+tcp://[2001:db8::1]:80?domain=7");
    assert_eq!((tcp.transport, tcp.host.as_str()), (Transport::Tcp, "2001:db8::1"));
    assert_eq!((tcp.port, tcp.domain), (80, 7));
    assert_eq!(tcp.to_string(), "ipfix+tcp://[2001:db8::1]:80");
    for text in ["", "a.b:1", "ipfix://", "udp://a", "ipfix://u@a", "ipfix://a/x", "ipfix://a?x=1"]
    {
        assert!(IpfixConfig::parse(text).is_err(), "{text}");
    }
}

/// Everything that a writer makes of biflows, in messages with numbers as a link gives them.
fn messages(biflows: &[Biflow<'_>]) -> Vec<Message> {
    let mut writer = Writer::new(7);
    let mut messages = vec![message::preamble(7, 1_700_000_000, &[1, 256])];
    for biflow in biflows {
        messages.extend(writer.push(biflow, 1_700_000_000));
    }
    messages.extend(writer.finish(1_700_000_000));
    let mut sequence = 0;
    for message in &mut messages {
        message.number(sequence);
        sequence += message.data_records;
    }
    messages
}

/// Data records of each message as another implementation reads them: field number and value.
fn decoded(messages: &[Message]) -> Vec<Vec<(u16, Option<u32>, String)>> {
    let mut parser = NetflowParser::default();
    let mut records = Vec::new();
    for message in messages {
        let result = parser.parse_bytes(&message.bytes);
        assert!(result.error.is_none(), "{:?}", result.error);
        assert_eq!(result.packets.len(), 1);
        for packet in result.packets {
            let NetflowPacket::IPFix(packet) = packet else { panic!("{packet:?}") };
            for set in packet.flowsets {
                let FlowSetBody::Data(data) = set.body else { continue };
                records.extend(data.fields.into_iter().map(|fields| {
                    let field = |(kind, value)| (0, None, format!("{kind:?}={value:?}"));
                    fields.into_iter().map(field).collect()
                }));
            }
        }
    }
    records
}

#[test]
fn another_implementation_reads_every_record() {
    let mut reverse = record(53);
    (reverse.src, reverse.dst) = ([8, 8, 4, 4].into(), [10, 0, 0, 52].into());
    (reverse.dst_port, reverse.bytes, reverse.packets) = (1000, 4242, 77);
    let forward = record(1000);
    let mut v6 = record(2000);
    v6.src = "2001:db8::1".parse().unwrap();
    v6.dst = "2001:db8::2".parse().unwrap();
    let biflows = [
        Biflow { forward: &forward, reverse: Some(&reverse), from_initiator: true },
        Biflow { forward: &v6, reverse: None, from_initiator: false },
    ];
    let messages = messages(&biflows);
    assert_eq!(messages.iter().map(|message| message.data_records).sum::<u32>(), 4);
    assert_eq!(messages.iter().map(|message| message.records).sum::<u64>(), 3);
    let records = decoded(&messages);
    assert_eq!(records.len(), 2);
    let text = |record: &[(u16, Option<u32>, String)]| {
        record.iter().map(|(_, _, text)| text.as_str()).collect::<Vec<_>>().join(" ")
    };
    for part in ["10.0.0.52", "8.8.4.4", "4242", "77", "1000"] {
        assert!(text(&records[0]).contains(part), "{part} in {}", text(&records[0]));
    }
    assert!(text(&records[1]).contains("2001:db8::1"), "{}", text(&records[1]));
}

proptest::proptest! {
    #[test]
    fn any_records_fit_datagrams_and_are_read_back_in_number(
        kinds in proptest::collection::vec((0_u8..4, proptest::prelude::any::<u64>()), 1..200),
    ) {
        let mut v6 = record(1);
        v6.src = "2001:db8::1".parse().unwrap();
        v6.dst = "2001:db8::2".parse().unwrap();
        let records: Vec<_> = kinds
            .iter()
            .map(|(kind, bytes)| {
                let base = if kind % 2 == 0 { record(9) } else { v6.clone() };
                flowtable::Record { bytes: *bytes, ..base }
            })
            .collect();
        let biflows: Vec<_> = kinds
            .iter()
            .zip(&records)
            .map(|((kind, _), record)| Biflow {
                forward: record,
                reverse: (*kind > 1).then_some(record),
                from_initiator: false,
            })
            .collect();
        let messages = messages(&biflows);
        for message in &messages {
            proptest::prop_assert!(message.bytes.len() <= message::MAX_MESSAGE_BYTES);
            let length = u16::from_be_bytes([message.bytes[2], message.bytes[3]]);
            proptest::prop_assert_eq!(usize::from(length), message.bytes.len());
        }
        proptest::prop_assert_eq!(decoded(&messages).len(), records.len());
    }
}
