//! Multicast DNS: what is asked and what is announced.

use decode::app::{Verdict, mdns};

use crate::dns::{header, question, record};
use crate::player::Sender;

fn send(payload: &[u8]) -> (Option<Verdict>, Vec<String>) {
    let mut sender = Sender::new();
    let lines = sender
        .send([5353, 5353], 0, payload, |datagram, _, events| mdns::datagram(datagram, events));
    (sender.verdict, lines)
}

#[test]
fn the_first_question_is_reported() {
    let other = b"\x03www\xc0\x0c\x00\x1c\x80\x01".to_vec();
    let (verdict, lines) = send(&[header(0, [2, 0, 0, 0]), question(255), other].concat());
    assert_eq!(verdict, Some(Verdict::More));
    assert_eq!(lines, ["mdns Request type=ANY query=example.org"]);
}

#[test]
fn names_keep_utf8_and_services_have_their_target() {
    let mut message = header(0x8400, [0, 2, 0, 0]);
    message.extend("\u{e}Drucker Küche\0".bytes());
    message.extend(b"\x00\x21\x80\x01\x00\x00\x00\x78\x00\x0c\x00\x00\x00\x00\x02\x77\x04host\x00");
    message.extend(record(1, &[192, 0, 2, 7]));
    let (_, lines) = send(&message);
    let expected = "mdns Response type=SRV query=Drucker Küche answer=host/SRV;192.0.2.7/A";
    assert_eq!(lines, [expected]);
}

#[test]
fn an_announcement_of_nothing_gives_nothing_and_a_damaged_one_is_wrong() {
    assert_eq!(send(&header(0x8400, [0, 0, 0, 0])), (Some(Verdict::More), vec![]));
    assert_eq!(send(&header(0, [0, 0, 0, 0])), (Some(Verdict::More), vec![]));
    let looping = [&header(0x8400, [0, 1, 0, 0])[..], b"\xc0\x0c\0\x10\0\x01\0\0\0\0\0\0"].concat();
    assert_eq!(send(&looping), (Some(Verdict::Wrong), vec![]));
    assert_eq!(send(b"no DNS"), (Some(Verdict::Wrong), vec![]));
}
