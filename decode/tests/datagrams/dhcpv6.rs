//! DHCPv6: relays, associations, latencies.

use decode::app::dhcpv6::{self, guess};
use decode::app::{Guess, Verdict};

use crate::player::Sender;

fn option(code: u16, value: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), &(value.len() as u16).to_be_bytes(), value].concat()
}

/// A message of transaction 7 with the DUID 00:03:00:01:aa and further options.
fn message(message_type: u8, options: &[u8]) -> Vec<u8> {
    [&[message_type, 0, 0, 7][..], &option(1, &[0, 3, 0, 1, 0xaa]), options].concat()
}

fn relayed(message_type: u8, inner: &[u8]) -> Vec<u8> {
    let header = [&[message_type, 0][..], &[0x20; 32]].concat();
    [header, option(18, b"port 1"), option(9, inner)].concat()
}

fn send(sender: &mut Sender, now_us: u64, payload: &[u8]) -> Vec<String> {
    sender.send([546, 547], now_us, payload, dhcpv6::datagram)
}

fn one(payload: &[u8]) -> String {
    send(&mut Sender::new(), 0, payload).concat()
}

const SOLICIT: &str = "dhcpv6 Request message=SOLICIT message_type=1 client_id=00030001aa";

/// An address with a valid lifetime of 7,200 s, then options.
fn address(options: &[u8]) -> Vec<u8> {
    let mut value = vec![0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    value.extend([0, 0, 0x0e, 0x10, 0, 0, 0x1c, 0x20]);
    option(5, &[&value, options].concat())
}

#[test]
fn an_answer_has_the_time_since_the_message_of_that_client_and_so_has_a_second() {
    let mut sender = Sender::new();
    assert_eq!(send(&mut sender, 1_000, &message(1, &[])), [SOLICIT]);
    let expected = "message=ADVERTISE message_type=2 client_id=00030001aa status_code=0";
    for (now_us, latency_us) in [(1_500, 500), (3_000, 2_000)] {
        let lines = send(&mut sender, now_us, &message(2, &[]));
        assert_eq!(lines, [format!("dhcpv6 Response {latency_us}us {expected}")]);
    }
    let mut other = message(2, &[]);
    other[3] = 8;
    assert_eq!(send(&mut sender, 9_000, &other), [format!("dhcpv6 Response {expected}")]);
}

#[test]
fn relay_messages_are_unwrapped_up_to_four_times() {
    let mut payload = message(1, &[]);
    for _ in 0..4 {
        payload = relayed(12, &payload);
        assert_eq!(one(&payload), SOLICIT);
    }
    let deeper = relayed(12, &payload);
    assert_eq!(one(&deeper), "dhcpv6 Request message=RELAY-FORW message_type=12");
    let deeper = relayed(13, &payload);
    assert_eq!(one(&deeper), "dhcpv6 Response message=RELAY-REPL message_type=13");
}

#[test]
fn an_answer_through_relays_has_the_latency_of_its_client() {
    let mut sender = Sender::new();
    send(&mut sender, 0, &relayed(12, &message(3, &[])));
    let lines = send(&mut sender, 40, &relayed(13, &message(7, &[])));
    assert!(lines[0].starts_with("dhcpv6 Response 40us message=REPLY "));
}

#[test]
fn address_prefix_name_and_status_are_reported() {
    let prefix: Vec<u8> =
        [&[0, 0, 0, 1, 0, 0, 0, 2, 56, 0x20, 1, 0xd, 0xb8][..], &[0; 12]].concat();
    let associations = [
        option(3, &[&[0; 12][..], &address(&[])].concat()),
        option(25, &[&[0; 12][..], &option(26, &prefix)].concat()),
        option(39, b"\x01\x04host\x07example\x03org\x00"),
    ];
    let line = one(&message(7, &associations.concat()));
    assert_eq!(
        line,
        "dhcpv6 Response message=REPLY message_type=7 client_id=00030001aa \
         client_name=host.example.org address=2001:db8::9 prefix=2001:db8:: prefix_length=56 \
         valid_lifetime_s=7200 status_code=0"
    );
}

#[test]
fn the_status_of_the_message_comes_before_that_of_an_association() {
    let status = |code: u8| option(13, &[0, code, b'n', b'o']);
    let within = option(3, &[&[0; 12][..], &status(2)].concat());
    let at_address = option(4, &[&[0; 4][..], &address(&status(3))].concat());
    for (options, expected) in [
        (within.clone(), 2),
        (at_address.clone(), 3),
        ([within.clone(), status(5)].concat(), 5),
        ([status(6), at_address].concat(), 6),
    ] {
        let line = one(&message(7, &options));
        assert!(line.ends_with(&format!("status_code={expected}")), "{line}");
    }
}

#[test]
fn a_name_without_root_and_a_cut_one_are_read_as_far_as_they_go() {
    for (name, expected) in [
        (&b"\x00\x04host"[..], "host"),
        (b"\x00\x04host\x07exam", "host"),
        (b"\x00\x02a.\x01\xff\x00", r"a\..\255"),
        (b"\x00", ""),
    ] {
        let line = one(&message(1, &option(39, name)));
        assert_eq!(line, format!("{SOLICIT} client_name={expected}"));
    }
}

#[test]
fn options_before_one_that_breaks_out_are_used() {
    for tail in [&b"\x00"[..], b"\x00\x27\x00", b"\x00\x27\xff\xff\x00"] {
        assert_eq!(one(&message(1, tail)), SOLICIT);
    }
}

#[test]
fn what_is_no_message_is_wrong() {
    let no_message = [&[12, 0][..], &[0; 32], &option(18, b"x")].concat();
    for payload in [&b""[..], b"\x01\x00\x00", b"\x00\x00\x00\x07", b"\x63\0\0\0", &no_message] {
        let mut sender = Sender::new();
        assert!(send(&mut sender, 0, payload).is_empty());
        assert_eq!(sender.verdict, Some(Verdict::Wrong), "{payload:?}");
    }
}

#[test]
fn a_guess_is_strict() {
    assert_eq!(guess(&message(1, &[])), Guess::Yes);
    assert_eq!(guess(&relayed(12, &message(1, &[]))), Guess::Yes);
    for other in [message(1, b"\x00"), message(99, &[]), vec![1, 2, 3, 4], vec![0; 60], vec![]] {
        assert_eq!(guess(&other), Guess::No);
    }
}
