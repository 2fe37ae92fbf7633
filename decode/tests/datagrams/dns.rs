//! The rules of spec 13.2, one by one.

use decode::app::dns::{self, Message, guess};
use decode::app::{Guess, Verdict};

use crate::player::Sender;

/// Header with id 0x1234, given flags and counts.
pub fn header(flags: u16, counts: [u16; 4]) -> Vec<u8> {
    let words = [0x1234, flags].into_iter().chain(counts);
    words.flat_map(u16::to_be_bytes).collect()
}

/// example.org, of a type, in the Internet.
pub fn question(qtype: u16) -> Vec<u8> {
    [b"\x07example\x03org\x00", &qtype.to_be_bytes()[..], &[0, 1]].concat()
}

/// A record of the name at byte 12, 300 s to live.
pub fn record(rtype: u16, rdata: &[u8]) -> Vec<u8> {
    let mut record = vec![0xc0, 12];
    record.extend(rtype.to_be_bytes());
    record.extend([0, 1, 0, 0, 1, 44]);
    record.extend((rdata.len() as u16).to_be_bytes());
    record.extend(rdata);
    record
}

fn query() -> Vec<u8> {
    [header(0x0100, [1, 0, 0, 0]), question(1)].concat()
}

fn reply() -> Vec<u8> {
    [header(0x8180, [1, 1, 0, 0]), question(1), record(1, &[192, 0, 2, 1])].concat()
}

const UP: [u16; 2] = [40_000, 53];
const DOWN: [u16; 2] = [53, 40_000];
const REQUEST: &str = "dns Request query=example.org query_type=1 type=A";

fn send(sender: &mut Sender, ports: [u16; 2], now_us: u64, payload: &[u8]) -> Vec<String> {
    sender.send(ports, now_us, payload, |datagram, pending, events| {
        dns::datagram(datagram, &[53], pending, events)
    })
}

/// The answer text of a reply to the query for example.org, type A.
fn answer(payload: &[u8]) -> Option<String> {
    let lines = send(&mut Sender::new(), DOWN, 0, payload);
    let (_, text) = lines.first()?.split_once(" answer=")?;
    Some(text.to_owned())
}

#[test]
fn a_reply_has_the_time_since_its_query() {
    let mut sender = Sender::new();
    assert_eq!(send(&mut sender, UP, 1_000, &query()), [REQUEST]);
    let expected =
        "query=example.org query_type=1 type=A rcode=0 rcode_name=NOERROR answer=192.0.2.1/A";
    let lines = send(&mut sender, DOWN, 8_000, &reply());
    assert_eq!(lines, [format!("dns Response 7000us {expected}")]);
    // Once: the same reply again has no query any more.
    let lines = send(&mut sender, DOWN, 9_000, &reply());
    assert_eq!(lines, [format!("dns Response {expected}")]);
}

#[test]
fn a_clock_that_steps_back_gives_no_latency_of_hours() {
    let mut sender = Sender::new();
    send(&mut sender, UP, 1_000_000, &query());
    assert!(send(&mut sender, DOWN, 1_000, &reply())[0].starts_with("dns Response 0us "));
}

#[test]
fn a_reply_without_query_has_no_latency() {
    let lines = send(&mut Sender::new(), DOWN, 1_000, &reply());
    assert!(lines[0].starts_with("dns Response query="));
}

#[test]
fn the_configured_port_tells_the_client() {
    let mut sender = Sender::new();
    let decode = |sender: &mut Sender, ports, now_us, payload: &[u8]| {
        sender.send(ports, now_us, payload, |datagram, pending, events| {
            dns::datagram(datagram, &[5353], pending, events)
        })
    };
    assert_eq!(decode(&mut sender, [40_000, 5353], 0, &query()), [REQUEST]);
    // A reply towards the server closes no question, a query from it opens none.
    let stray = decode(&mut sender, [40_000, 5353], 10, &reply());
    assert!(stray[0].starts_with("dns Response query="));
    let reply_us = decode(&mut sender, [5353, 40_000], 20, &reply());
    assert!(reply_us[0].starts_with("dns Response 20us query="));
    assert_eq!(decode(&mut sender, [5353, 40_000], 30, &query()), [REQUEST]);
    assert!(decode(&mut sender, [5353, 40_000], 40, &reply())[0].starts_with("dns Response query"));
}

#[test]
fn between_two_servers_and_on_other_ports_the_message_itself_tells() {
    for ports in [[53, 53], [40_000, 9_953]] {
        let mut sender = Sender::new();
        send(&mut sender, ports, 0, &query());
        let lines = send(&mut sender, [ports[1], ports[0]], 5, &reply());
        assert!(lines[0].starts_with("dns Response 5us "), "{ports:?}");
    }
}

#[test]
fn bytes_behind_a_message_do_not_spoil_the_next() {
    let mut sender = Sender::new();
    let padded = [reply(), vec![0xab; 20]].concat();
    assert_eq!(send(&mut sender, DOWN, 0, &padded).len(), 1);
    assert_eq!(send(&mut sender, DOWN, 0, &reply()).len(), 1);
}

#[test]
fn damaged_later_sections_leave_question_and_answers() {
    let mut message = [header(0x8180, [1, 2, 1, 9]), question(1)].concat();
    message.extend(record(1, &[192, 0, 2, 1]));
    message.extend(record(28, &[0; 16]));
    message.extend(b"\xff\xff nonsense");
    assert_eq!(answer(&message).as_deref(), Some("192.0.2.1/A;::/AAAA"));
    // A wrong address beyond the answers is not looked at.
    let mut message = [header(0x8180, [1, 1, 0, 1]), question(1)].concat();
    message.extend([record(1, &[192, 0, 2, 1]), record(1, &[1, 2, 3])].concat());
    assert_eq!(answer(&message).as_deref(), Some("192.0.2.1/A"));
}

#[test]
fn answers_before_a_damaged_one_are_used() {
    let whole = [header(0x8180, [1, 2, 0, 0]), question(1), record(1, &[192, 0, 2, 1])].concat();
    let second = record(1, &[192, 0, 2, 2]);
    for cut in 0..second.len() {
        let message = [&whole[..], &second[..cut]].concat();
        assert_eq!(answer(&message).as_deref(), Some("192.0.2.1/A"), "{cut}");
    }
    // A CNAME that points at itself.
    let message = [whole, record(5, &[0xc0, 57])].concat();
    assert_eq!(answer(&message).as_deref(), Some("192.0.2.1/A;"));
}

#[test]
fn addresses_of_a_wrong_length_reject_the_message() {
    for (rtype, length) in [(1, 3), (1, 5), (1, 0), (28, 15), (28, 4)] {
        let mut message = [header(0x8180, [1, 1, 0, 0]), question(1)].concat();
        message.extend(record(rtype, &vec![1; length]));
        let mut sender = Sender::new();
        assert!(send(&mut sender, DOWN, 0, &message).is_empty());
        assert_eq!(sender.verdict, Some(Verdict::Wrong));
    }
}

#[test]
fn without_a_question_nothing_is_reported_and_no_query_answered() {
    let mut sender = Sender::new();
    send(&mut sender, UP, 0, &query());
    let message = [
        header(0x8180, [0, 1, 0, 0]),
        b"\x00\x00\x01\x00\x01\0\0\0\0\0\x04\x01\x02\x03\x04".to_vec(),
    ];
    assert!(send(&mut sender, DOWN, 1, &message.concat()).is_empty());
    assert_eq!(sender.verdict, Some(Verdict::More));
    assert!(send(&mut sender, DOWN, 2, &reply())[0].starts_with("dns Response 2us "));
}

#[test]
fn the_last_question_is_reported() {
    let other = b"\x03www\xc0\x0c\x00\x41\x00\x01".to_vec();
    let message = [header(0x0100, [2, 0, 0, 0]), question(1), other].concat();
    let lines = send(&mut Sender::new(), UP, 0, &message);
    assert_eq!(lines, ["dns Request query=www.example.org query_type=65 type=HTTPS"]);
    let message = Message::parse(&message).unwrap();
    assert_eq!(message.first_question().unwrap().name.to_string(), "example.org");
}

#[test]
fn each_type_has_its_item() {
    let mut message = [header(0x8180, [1, 9, 0, 0]), question(255)].concat();
    message.extend(record(5, b"\x01a\xc0\x0c"));
    message.extend(record(12, b"\x01b\x00"));
    message.extend(record(15, b"\x00\x0a\x01c\xc0\x0c"));
    message.extend(record(2, b"\x00"));
    message.extend(record(16, b"\x02ab\x00\x01c"));
    message.extend(record(6, b"\x00\x00"));
    message.extend(record(46, b"signature"));
    message.extend(record(28, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]));
    message.extend(record(1, &[10, 0, 0, 255]));
    assert_eq!(
        answer(&message).as_deref(),
        Some(
            "a.example.org/CNAME;b/PTR;c.example.org/MX;/NS;abc/TXT;;;2001:db8::9/AAAA;10.0.0.255/A"
        )
    );
}

#[test]
fn a_zero_byte_ends_the_answer_text_and_long_texts_are_cut() {
    let mut message = [header(0x8180, [1, 1, 0, 0]), question(16)].concat();
    message.extend(record(16, b"\x04ab\0c"));
    assert_eq!(answer(&message).as_deref(), Some("ab"));
    let mut message = [header(0x8180, [1, 200, 0, 0]), question(1)].concat();
    message.extend(record(1, &[192, 0, 2, 100]).repeat(200));
    let text = answer(&message).unwrap();
    assert!(text.len() == 1024 && text.starts_with("192.0.2.100/A;192.0.2.100/A;"));
}

#[test]
fn bytes_that_are_not_printable_are_escaped_in_names() {
    let message =
        [&header(0x0100, [1, 0, 0, 0])[..], b"\x04a\x00\xffz\x00\x00\x01\x00\x01"].concat();
    let lines = send(&mut Sender::new(), UP, 0, &message);
    assert_eq!(lines, [r"dns Request query=a\000\255z query_type=1 type=A"]);
}

#[test]
fn the_reader_gives_addresses_with_their_times_to_live() {
    let mut message = [header(0x8580, [1, 3, 0, 0]), question(1)].concat();
    message.extend(record(5, b"\x01a\xc0\x0c"));
    message.extend(record(1, &[192, 0, 2, 1]));
    message.extend(record(28, &[0; 16]));
    let message = Message::parse(&message).unwrap();
    assert_eq!((message.id(), message.opcode(), message.rcode()), (0x1234, 0, 0));
    assert!(message.is_response() && !message.is_truncated());
    assert_eq!((message.question_count(), message.answer_count()), (1, 3));
    let addresses: Vec<_> = message.addresses().collect();
    assert_eq!(addresses, [("192.0.2.1".parse().unwrap(), 300), ("::".parse().unwrap(), 300)]);
    let owner = message.answers().next().unwrap().owner().unwrap();
    assert_eq!(owner.to_string(), "example.org");
}

#[test]
fn a_guess_is_strict() {
    assert_eq!(guess(&query()), Guess::Yes);
    assert_eq!(guess(&reply()), Guess::Yes);
    let edns = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00".to_vec();
    assert_eq!(guess(&[header(0x0120, [1, 0, 0, 1]), question(1), edns].concat()), Guess::Yes);
    for (what, bytes) in [
        ("nothing", vec![]),
        ("a cut query", query()[..20].to_vec()),
        ("a padded query", [query(), vec![0]].concat()),
        ("a cut reply", reply()[..40].to_vec()),
        ("zeros", vec![0; 64]),
        ("ones", vec![255; 64]),
        ("an update", [header(0x2800, [1, 0, 0, 0]), question(6)].concat()),
        ("two questions", [header(0x0100, [2, 0, 0, 0]), question(1), question(28)].concat()),
        (
            "a strange class",
            [header(0x0100, [1, 0, 0, 0]), b"\x01a\0\0\x01\0\x09".to_vec()].concat(),
        ),
        (
            "a strange name",
            [header(0x0100, [1, 0, 0, 0]), b"\x01\x07\0\0\x01\0\x01".to_vec()].concat(),
        ),
        (
            "NetBIOS",
            [
                &header(0x0110, [1, 0, 0, 0])[..],
                b"\x20CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\x00\x00\x20\x00\x01",
            ]
            .concat(),
        ),
    ] {
        assert_eq!(guess(&bytes), Guess::No, "{what}");
    }
}
