//! Messages that hickory-proto builds are read the same.

use std::net::{Ipv4Addr, Ipv6Addr};

use decode::app::dns::{self, Message, guess};
use decode::app::{Guess, MAX_TEXT_BYTES};
use hickory_proto::op::{Message as Built, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, PTR, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use proptest::prelude::*;

use crate::player::Sender;

fn name() -> impl Strategy<Value = Name> {
    // Few labels, so that names share ends and are compressed.
    let label = prop_oneof![
        Just(b"example".to_vec()),
        Just(b"org".to_vec()),
        Just(b"www".to_vec()),
        "_?[a-z0-9]{1,62}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(label, 0..4).prop_map(|labels| Name::from_labels(labels).unwrap())
}

/// As our names are: without a dot at the end.
fn text(name: &Name) -> String {
    name.to_string().trim_end_matches('.').to_owned()
}

/// Data, and the item of the answer text that they should give.
fn data() -> impl Strategy<Value = (RData, String)> {
    prop_oneof![
        any::<u32>().prop_map(|bits| {
            let address = Ipv4Addr::from(bits);
            (RData::A(A(address)), format!("{address}/A"))
        }),
        any::<u128>().prop_map(|bits| {
            let address = Ipv6Addr::from(bits);
            (RData::AAAA(AAAA(address)), format!("{address}/AAAA"))
        }),
        name()
            .prop_map(|name| (RData::CNAME(CNAME(name.clone())), format!("{}/CNAME", text(&name)))),
        name().prop_map(|name| (RData::PTR(PTR(name.clone())), format!("{}/PTR", text(&name)))),
        name().prop_map(|name| (RData::NS(NS(name.clone())), format!("{}/NS", text(&name)))),
        (any::<u16>(), name()).prop_map(|(n, name)| (
            RData::MX(MX::new(n, name.clone())),
            format!("{}/MX", text(&name))
        )),
        prop::collection::vec("[ -~]{0,40}", 1..3).prop_map(|strings| (
            RData::TXT(TXT::new(strings.clone())),
            format!("{}/TXT", strings.concat())
        )),
        name().prop_map(|name| (RData::SRV(SRV::new(1, 2, 3, name)), String::new())),
    ]
}

proptest! {
    #[test]
    fn what_hickory_builds_is_read_the_same(
        id in any::<u16>(), code in 0_u16..11, asked in name(), is_response in any::<bool>(),
        answers in prop::collection::vec((name(), any::<u32>(), data()), 0..8),
    ) {
        let kind = if is_response { MessageType::Response } else { MessageType::Query };
        let mut built = Built::new(id, kind, OpCode::Query);
        built.metadata.response_code = ResponseCode::from(0, code as u8);
        built.add_query(Query::query(asked.clone(), RecordType::AAAA));
        for (owner, ttl_s, (data, _)) in &answers {
            built.add_answer(Record::from_rdata(owner.clone(), *ttl_s, data.clone()));
        }
        let bytes = built.to_vec().unwrap();

        let message = Message::parse(&bytes).unwrap();
        prop_assert_eq!((message.id(), u16::from(message.rcode())), (id, code));
        prop_assert_eq!(message.is_response(), is_response);
        let question = message.last_question().unwrap();
        prop_assert_eq!(question.name.to_string(), text(&asked));
        prop_assert_eq!(question.qtype, 28);
        let read: Vec<_> =
            message.answers().map(|record| (record.owner().unwrap().to_string(), record.ttl_s)).collect();
        let expected: Vec<_> =
            answers.iter().map(|(owner, ttl_s, _)| (text(owner), *ttl_s)).collect();
        prop_assert_eq!(read, expected);
        let addresses: Vec<_> = message.addresses().collect();
        let expected: Vec<_> = answers
            .iter()
            .filter_map(|(_, ttl_s, (data, _))| Some((data.ip_addr()?, *ttl_s)))
            .collect();
        prop_assert_eq!(addresses, expected);
        if is_response {
            prop_assert_eq!(guess(&bytes), Guess::Yes);
            let lines = Sender::new().send([53, 9], 0, &bytes, |datagram, pending, events| {
                dns::datagram(datagram, &[53], pending, events)
            });
            let mut items: String =
                answers.iter().map(|(_, _, (_, item))| item.as_str()).collect::<Vec<_>>().join(";");
            items.truncate(MAX_TEXT_BYTES);
            prop_assert_eq!(lines[0].split_once(" answer=").unwrap().1, items);
        }
    }
}
