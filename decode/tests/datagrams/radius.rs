//! The rules of spec 13.6 and of RADIUS mode (15), one by one.

use std::net::Ipv4Addr;

use decode::app::radius::{self, Packet, guess};
use decode::app::{Guess, MAX_PENDING_AGE_US, Verdict};

use crate::player::Sender;

/// A packet with id 9, its length that of its attributes.
fn packet(code: u8, attributes: &[u8]) -> Vec<u8> {
    let length = (20 + attributes.len() as u16).to_be_bytes();
    [&[code, 9], &length[..], &[0xaa; 16], attributes].concat()
}

fn send(sender: &mut Sender, now_us: u64, payload: &[u8]) -> Vec<String> {
    sender.send([40_000, 1812], now_us, payload, radius::datagram)
}

fn one(payload: &[u8]) -> String {
    send(&mut Sender::new(), 0, payload).concat()
}

#[test]
fn answers_have_the_time_since_the_request_that_they_answer() {
    for (request, answer) in [(1, 2), (1, 3), (1, 11), (4, 5)] {
        let mut sender = Sender::new();
        send(&mut sender, 100, &packet(request, &[]));
        let lines = send(&mut sender, 366, &packet(answer, &[]));
        assert!(lines[0].starts_with("radius Response 266us "), "{lines:?}");
        let again = send(&mut sender, 400, &packet(answer, &[]));
        assert!(again[0].starts_with("radius Response result="), "{again:?}");
    }
    for (request, answer) in [(1, 5), (4, 2), (12, 2), (40, 41)] {
        let mut sender = Sender::new();
        send(&mut sender, 100, &packet(request, &[]));
        let lines = send(&mut sender, 366, &packet(answer, &[]));
        assert!(lines[0].starts_with("radius Response result="), "{lines:?}");
    }
}

#[test]
fn a_request_sent_again_keeps_its_first_time_and_another_with_its_id_does_not() {
    let answered = |sender: &mut Sender, now_us| send(sender, now_us, &packet(2, &[])).concat();
    let mut sender = Sender::new();
    for now_us in [100, 3_000_100] {
        send(&mut sender, now_us, &packet(1, &[]));
    }
    let line = answered(&mut sender, 3_000_300);
    assert!(line.starts_with("radius Response 3000200us "), "{line}");
    // The same once more behind its answer, as when a capture is played twice.
    send(&mut sender, 5_000_000, &packet(1, &[]));
    let line = answered(&mut sender, 5_000_007);
    assert!(line.starts_with("radius Response 7us "), "{line}");
    let mut other = packet(1, &[]);
    other[4] = 0xbb;
    send(&mut sender, 6_000_000, &packet(1, &[]));
    send(&mut sender, 7_000_000, &other);
    let line = answered(&mut sender, 7_000_009);
    assert!(line.starts_with("radius Response 9us "), "{line}");
}

#[test]
fn requests_expire_after_a_minute() {
    let mut sender = Sender::new();
    send(&mut sender, 0, &packet(1, &[]));
    let lines = send(&mut sender, MAX_PENDING_AGE_US + 1, &packet(2, &[]));
    assert_eq!(lines, ["radius Response result=Access-Accept code=2"]);
}

#[test]
fn the_framed_protocol_is_attribute_7_and_not_10() {
    let line = one(&packet(2, b"\x0a\x06\x00\x00\x00\x03\x07\x06\x00\x00\x00\x01"));
    assert_eq!(line, "radius Response result=Access-Accept code=2 framed_protocol=1");
}

#[test]
fn the_accounting_status_is_reported_once_and_as_it_is() {
    for status in [1, 2, 3, 7, 8, 200] {
        let attribute = [40, 6, 0, 0, 0, status];
        let line = one(&packet(4, &[attribute, attribute].concat()));
        let expected = "radius Request packet=Accounting-Request code=4 accounting_status=";
        assert_eq!(line, format!("{expected}{status}"));
    }
}

#[test]
fn codes_and_service_types_that_are_not_known_stay() {
    assert_eq!(
        one(&packet(99, b"\x06\x06\x00\x00\x01\x00")),
        "radius Request code=99 service_type=256"
    );
}

#[test]
fn a_malformed_attribute_ends_parsing_and_those_before_are_used() {
    for tail in
        [&b"\x06\x00\0\0\0\x01"[..], b"\x06\x01", b"\x06", b"\x06\x05\0\0\x01", b"\x2c\x20ab"]
    {
        let attributes = [b"\x01\x05bob", tail, b"\x2c\x03x"].concat();
        let line = one(&packet(1, &attributes));
        assert_eq!(line, "radius Request packet=Access-Request code=1 user_name=bob", "{tail:?}");
    }
}

#[test]
fn attributes_end_at_the_length_of_the_header() {
    let mut payload = packet(1, b"\x01\x05bob\x2c\x03x");
    payload[3] -= 3;
    assert_eq!(one(&payload), "radius Request packet=Access-Request code=1 user_name=bob");
    // A packet of which only a part was captured.
    let payload = &packet(1, b"\x01\x05bob\x2c\x03x")[..27];
    assert_eq!(one(payload), "radius Request packet=Access-Request code=1 user_name=bob");
}

#[test]
fn a_header_that_is_cut_or_states_less_than_itself_is_wrong() {
    let mut short = packet(1, &[]);
    short[3] = 19;
    for payload in [&[][..], &packet(1, &[])[..19], &short] {
        let mut sender = Sender::new();
        assert!(send(&mut sender, 0, payload).is_empty());
        assert_eq!(sender.verdict, Some(Verdict::Wrong));
    }
}

#[test]
fn passwords_are_not_read() {
    let line = one(&packet(1, b"\x01\x05bob\x02\x12secretsecretsecr\x03\x05abc"));
    assert_eq!(line, "radius Request packet=Access-Request code=1 user_name=bob");
}

#[test]
fn the_reader_gives_what_the_mapping_of_users_needs() {
    let attributes = b"\x28\x06\x00\x00\x00\x01\x01\x05bob\x08\x06\x0a\x01\x02\x03";
    let payload = packet(4, attributes);
    let packet = Packet::parse(&payload).unwrap();
    assert_eq!((packet.code(), packet.id()), (4, 9));
    let attributes = packet.attributes();
    assert_eq!(attributes.user_name, Some(&b"bob"[..]));
    assert_eq!(attributes.acct_status, Some(1));
    assert_eq!(attributes.framed_address, Some(Ipv4Addr::new(10, 1, 2, 3)));
}

#[test]
fn a_guess_is_strict() {
    assert_eq!(guess(&packet(1, b"\x01\x05bob")), Guess::Yes);
    assert_eq!(guess(&packet(4, b"\x28\x06\x00\x00\x00\x01")), Guess::Yes);
    for other in [
        packet(4, b"\x01\x05bob"),
        packet(2, &[]),
        packet(77, b"\x01\x05bob"),
        packet(1, b"\x01\x06bob"),
        packet(1, b"\x00\x05bob"),
        [packet(1, b"\x01\x05bob"), vec![0]].concat(),
        vec![1; 40],
        vec![],
    ] {
        assert_eq!(guess(&other), Guess::No, "{other:?}");
    }
}
