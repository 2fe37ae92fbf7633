use proptest::prelude::*;

use super::*;
use crate::app::transcript::{Step, client, cut, expect, hostile, lines, play, server};
use crate::app::{Side, StreamDecoder};

/// Documented bound of a conversation's heap memory.
const BOUND: usize = 48 << 10;

fn invite(length: &str) -> String {
    format!(
        "INVITE sip:bob@b.example SIP/2.0\r\nVia: SIP/2.0/UDP 10.9.0.1;branch=z9hG4bK1\r\n\
         From: \"Ann <x>\" <sip:ann:secret@a.example;user=phone>;tag=1\r\n\
         To: sip:bob@b.example;tag=\r\nCall-ID: c1@a\r\nCSeq: 1 INVITE\r\n\
         User-Agent: phone/1\r\nAuthorization: Digest secret\r\n{length}\r\n"
    )
}

fn answer(status: &str, cseq: &str) -> String {
    format!(
        "SIP/2.0 {status}\r\nf: \"Ann <x>\" <sip:ann:secret@a.example;user=phone>;tag=1\r\n\
         t: <sip:bob@b.example>\r\n ;tag=2\r\ni: c1@a\r\nCSeq: {cseq}\r\nServer: pbx/2\r\nl: 0\r\n\r\n"
    )
}

const CALL: &str = "from=sip:ann@a.example to=sip:bob@b.example";

fn datagrams(payloads: &[(&str, u64)]) -> Vec<String> {
    let (mut pending, mut events) = (Pending::new(64), Events::default());
    for (payload, now_us) in payloads {
        let datagram = Datagram {
            payload: payload.as_bytes(),
            src_port: 5060,
            dst_port: 5060,
            conversation: 7,
            now_us: *now_us,
        };
        assert_eq!(super::datagram(&datagram, &mut pending, &mut events), Verdict::More);
    }
    lines(&events)
}

#[test]
fn a_call_rings_without_latency_and_is_taken_with_the_latency_of_its_first_sending() {
    let asked = format!("> method=INVITE {CALL} user_agent=phone/1 call_id=c1@a");
    let told = |latency, status| {
        format!(
            "< {latency} method=INVITE status_code={status} {CALL} user_agent=pbx/2 call_id=c1@a"
        )
    };
    let events = datagrams(&[
        (&invite(""), 100),
        (&answer("100 Trying", "1 INVITE"), 150),
        (&invite(""), 600),
        (&answer("180 Ringing", "1 INVITE"), 700),
        ("\r\n\r\n", 800),
        (&answer("200 OK", "1 INVITE"), 5_100),
        (&answer("200 OK", "1 INVITE"), 5_200),
    ]);
    let expected = [asked.clone(), asked, told("-", 180), told("5000", 200), told("-", 200)];
    assert_eq!(events, expected);
}

#[test]
fn requests_of_other_methods_and_numbers_are_told_apart() {
    let request = |method: &str, cseq: &str| {
        format!(
            "{method} sip:x SIP/2.0\r\nFrom: <sip:a@b>;tag=1\r\nCall-ID: c\r\nCSeq: {cseq}\r\n\r\n"
        )
    };
    let response = |cseq: &str| {
        format!("SIP/2.0 404 No\r\nFrom: <sip:a@b>;tag=1\r\nCall-ID: c\r\nCSeq: {cseq}\r\n\r\n")
    };
    let events = datagrams(&[
        (&request("REGISTER", "1 REGISTER"), 0),
        (&request("REGISTER", "2 REGISTER"), 10),
        (&request("OPTIONS", "2 OPTIONS"), 20),
        (&request("ACK", "9 ACK"), 20),
        (&response("2  REGISTER"), 30),
        (&response("1 REGISTER"), 40),
        (&response("2 OPTIONS"), 50),
        (&response("9 ACK"), 60),
    ]);
    let answers: Vec<&str> = events[4..].iter().map(|line| &line[..20]).collect();
    assert_eq!(
        answers,
        [
            "< 20 method=REGISTER",
            "< 40 method=REGISTER",
            "< 30 method=OPTIONS ",
            "< - method=ACK statu"
        ]
    );
}

#[test]
fn uris_are_without_passwords_parameters_and_tags() {
    for (value, expected) in [
        ("<sip:ann@a.example:5070;transport=tcp?x=y>;tag=5", "sip:ann@a.example:5070"),
        ("sip:a.example;tag=5", "sip:a.example"),
        ("\"a \\\" <b\" <sips:c:pw@d>", "sips:c@d"),
        ("Ann <tel:+49123;phone-context=x>", "tel:+49123"),
        ("<sip:+1;day=2@[2001:db8::1]:5060>", "sip:+1@[2001:db8::1]:5060"),
        ("<sip:cut@off", "sip:cut@off"),
    ] {
        let message = format!("BYE sip:x SIP/2.0\r\nFrom: {value}\r\n\r\n");
        assert_eq!(datagrams(&[(&message, 0)]), [format!("> method=BYE from={expected}")]);
    }
}

#[test]
fn messages_on_a_stream_are_set_apart_by_their_lengths() {
    // The first body has 13 bytes and looks like a message; then comes a line that keeps alive.
    let first = invite("Content-Length: 13\r\n");
    let bytes = [&first, "BYE sip:x SIP", "\r\n\r\n", &invite("l: 0\r\n")];
    let asked = format!("> method=INVITE {CALL} user_agent=phone/1 call_id=c1@a");
    let told = format!("< 9 method=INVITE status_code=486 {CALL} user_agent=pbx/2 call_id=c1@a");
    expect(
        Sip::new,
        &[client(bytes.concat(), 1), server(answer("486 Busy", "1 INVITE"), 10)],
        &[&asked, &asked, &told],
    );
}

#[test]
fn a_gap_in_a_body_keeps_the_step_and_another_is_survived() {
    let mut decoder = Sip::new();
    let mut events = Events::default();
    let _ = decoder.data(Side::Client, invite("l: 100\r\n").as_bytes(), 0, &mut events);
    let _ = decoder.gap(Side::Client, 100, 1, &mut events);
    let _ = decoder.data(Side::Client, invite("l: 0\r\n").as_bytes(), 2, &mut events);
    assert_eq!(events.len(), 2);
    let _ = decoder.gap(Side::Client, 100, 1, &mut events);
    let rest = ["tag=1\r\nTo: <sip:a@b>\r\n\r\nv=0\r\n", &invite("l: 0\r\n")].concat();
    let _ = decoder.data(Side::Client, rest.as_bytes(), 2, &mut events);
    assert_eq!(events.len(), 3);
}

#[test]
fn heads_are_bounded() {
    let mut decoder = Sip::new();
    let mut events = Events::default();
    let _ = decoder.data(Side::Client, b"INVITE sip:x SIP/2.0\r\n", 0, &mut events);
    let line = [b'a'; 1_000];
    let verdicts: Vec<Verdict> = (0..20)
        .map(|_| {
            assert!(decoder.heap_bytes() <= BOUND);
            decoder.data(Side::Client, &line, 0, &mut events)
        })
        .collect();
    assert_eq!(verdicts[15], Verdict::More);
    assert_eq!(verdicts[16], Verdict::Wrong);
}

#[test]
fn other_protocols_are_not_taken_for_it() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\x02\0",
        b"SSH-2.0-x\r\n",
        b"*1\r\n$4\r\n",
        b"OPTIONS rtsp://x RTSP/1.0\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\n\r\n",
        b"SIP/2.0 abc\r\n",
        b"\x01\0\x01\0\x12\xa4",
        b"220 mx ESMTP\r\n",
    ] {
        assert_eq!(guess(bytes), Guess::No, "{bytes:?}");
        assert_eq!(guess_stream(bytes, Side::Client), Guess::No, "{bytes:?}");
        let mut events = Events::default();
        let verdict = Sip::new().data(Side::Client, bytes, 0, &mut events);
        assert_eq!((verdict, events.len()), (Verdict::Wrong, 0), "{bytes:?}");
    }
    assert_eq!(guess(invite("").as_bytes()), Guess::Yes);
    assert_eq!(guess(answer("200 OK", "1 INVITE").as_bytes()), Guess::Yes);
    assert_eq!(guess_stream(b"\r\n\r\nINVITE sip:x", Side::Client), Guess::Yes);
    assert_eq!(guess_stream(b"INVITE s", Side::Client), Guess::Maybe);
    assert_eq!(guess_stream(b"SIP/2.0 20", Side::Server), Guess::Maybe);
}

/// Parts of sessions, in any order.
fn parts() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(client(invite("l: 3\r\n") + "abc", 0)),
        Just(client(invite("l: 0\r\n"), 0)),
        Just(client("\r\n\r\n", 0)),
        Just(server(answer("180 Ringing", "1 INVITE"), 4)),
        Just(server(answer("200 OK", "1 INVITE"), 5)),
        Just(server(invite("l: 0\r\n"), 6)),
        Just(client(answer("503 No", "1 INVITE"), 8)),
    ]
}

proptest! {
    #[test]
    fn cuts_change_nothing(steps in prop::collection::vec(parts(), 0..40),
        lengths in prop::collection::vec(1..90_usize, 1..8)) {
        let whole = play(&mut Sip::new(), &steps);
        prop_assert_eq!(play(&mut Sip::new(), &cut(&steps, &lengths)), whole);
    }

    #[test]
    fn any_network_leaves_it_within_its_bounds(
        steps in prop::collection::vec((0..12_u8, prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            parts().prop_map(|(_, bytes, _)| bytes)], any::<u64>()), 0..60)) {
        hostile(&mut Sip::new(), &steps, BOUND);
    }

    #[test]
    fn any_datagram_is_taken_or_refused(payload in prop::collection::vec(any::<u8>(), 0..400),
        start in prop::sample::select(vec!["", "INVITE sip:x SIP/2.0\r\n", "SIP/2.0 200 OK\r\nFrom:"])) {
        let payload = [start.as_bytes(), &payload].concat();
        let datagram = Datagram { payload: &payload, src_port: 1, dst_port: 2, conversation: 3, now_us: 4 };
        let mut events = Events::default();
        let verdict = super::datagram(&datagram, &mut Pending::new(8), &mut events);
        prop_assert!(verdict == Verdict::More || events.is_empty());
        let _ = guess(&payload);
    }
}
