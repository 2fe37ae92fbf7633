//! The rules of spec 13.4, one by one.

use decode::app::dhcp::{self, guess};
use decode::app::{Guess, MAX_PENDING_AGE_US, Verdict};

use crate::player::Sender;

/// A message of the client 02:00:00:00:00:07, transaction 1, its addresses 0.0.0.0.
fn message(op: u8, options: &[u8]) -> Vec<u8> {
    let mut message = vec![0; 236];
    message[..8].copy_from_slice(&[op, 1, 6, 0, 0, 0, 0, 1]);
    message[28..34].copy_from_slice(&[2, 0, 0, 0, 0, 7]);
    message.extend([0x63, 0x82, 0x53, 0x63]);
    message.extend(options);
    message
}

fn send(sender: &mut Sender, now_us: u64, payload: &[u8]) -> Vec<String> {
    sender.send([68, 67], now_us, payload, dhcp::datagram)
}

/// What stands between the message type and the addresses.
fn middle(payload: &[u8]) -> String {
    let lines = send(&mut Sender::new(), 0, payload);
    let (_, rest) = lines[0].split_once(" message_type=").unwrap();
    rest.strip_suffix(" client_address=0.0.0.0 your_address=0.0.0.0 server_address=0.0.0.0")
        .unwrap()
        .to_owned()
}

const DISCOVER: &[u8] = &[53, 1, 1, 255];
const OFFER: &[u8] = &[53, 1, 2, 255];

#[test]
fn an_answer_after_250_ms_has_250_ms_and_so_has_that_of_another_server() {
    let mut sender = Sender::new();
    assert!(send(&mut sender, 1_000_000, &message(1, DISCOVER))[0].starts_with("dhcp Request "));
    for now_us in [1_250_000, 1_400_000] {
        let lines = send(&mut sender, now_us, &message(2, OFFER));
        let expected = format!("dhcp Response {}us message=OFFER op=2", now_us - 1_000_000);
        assert!(lines[0].starts_with(&expected), "{lines:?}");
    }
    // The latest request counts.
    send(&mut sender, 2_000_000, &message(1, DISCOVER));
    let lines = send(&mut sender, 2_000_100, &message(2, OFFER));
    assert!(lines[0].starts_with("dhcp Response 100us "));
}

#[test]
fn another_client_or_transaction_answers_nothing() {
    for (at, byte) in [(33, 8), (7, 2)] {
        let mut sender = Sender::new();
        send(&mut sender, 0, &message(1, DISCOVER));
        let mut other = message(2, OFFER);
        other[at] = byte;
        assert!(send(&mut sender, 9, &other)[0].starts_with("dhcp Response message="));
        // What stands behind the hardware address is not part of it.
        let mut same = message(2, OFFER);
        same[40] = 0xff;
        assert!(send(&mut sender, 9, &same)[0].starts_with("dhcp Response 9us message="));
    }
}

#[test]
fn requests_expire_after_a_minute() {
    let mut sender = Sender::new();
    send(&mut sender, 0, &message(1, DISCOVER));
    let lines = send(&mut sender, MAX_PENDING_AGE_US + 1, &message(2, OFFER));
    assert!(lines[0].starts_with("dhcp Response message="));
}

#[test]
fn a_hardware_length_that_is_no_mac_gives_no_mac() {
    for hardware_len in [0, 5, 7, 16, 17, 255] {
        let mut payload = message(1, DISCOVER);
        payload[2] = hardware_len;
        assert_eq!(middle(&payload), "1 client_mac=", "{hardware_len}");
    }
}

#[test]
fn server_name_and_boot_file_are_passed_over() {
    let mut payload = message(1, DISCOVER);
    payload[44..54].copy_from_slice(b"pxe.server");
    payload[108..118].copy_from_slice(b"pxelinux.0");
    assert_eq!(middle(&payload), "1 client_mac=02:00:00:00:00:07");
}

#[test]
fn options_stop_at_the_end_option() {
    let payload = message(1, b"\x35\x01\x03\x00\x00\x0c\x04desk\xff\x0f\x03org");
    assert_eq!(middle(&payload), "3 client_mac=02:00:00:00:00:07 host_name=desk");
}

#[test]
fn options_before_one_that_breaks_out_are_used() {
    for tail in [&b"\x0f"[..], b"\x0f\x09org", b"\x0f\xff"] {
        let payload = message(1, &[b"\x0c\x04desk", tail].concat());
        assert_eq!(middle(&payload), "0 client_mac=02:00:00:00:00:07 host_name=desk");
    }
}

#[test]
fn options_of_a_wrong_length_are_passed_over() {
    let payload = message(1, b"\x35\x02\x01\x01\x33\x03\x00\x00\x01\x33\x04\x00\x00\x0e\x10\xff");
    assert_eq!(middle(&payload), "0 client_mac=02:00:00:00:00:07 lease_s=3600");
}

#[test]
fn names_that_are_no_utf8_have_replacement_characters() {
    let payload = message(1, b"\x0c\x05K\xfcche\x0f\x03a\xffb\xff");
    let expected = "0 client_mac=02:00:00:00:00:07 host_name=K\u{fffd}che domain=a\u{fffd}b";
    assert_eq!(middle(&payload), expected);
}

#[test]
fn without_the_magic_number_it_is_no_dhcp() {
    let mut payload = message(1, DISCOVER);
    payload[239] = 0;
    let mut sender = Sender::new();
    assert!(send(&mut sender, 0, &payload).is_empty());
    assert_eq!(sender.verdict, Some(Verdict::Wrong));
    for cut in [0, 1, 235, 236, 239] {
        assert!(send(&mut sender, 0, &message(1, DISCOVER)[..cut]).is_empty());
    }
    assert_eq!(send(&mut sender, 0, &message(1, DISCOVER)[..240]).len(), 1);
}

#[test]
fn a_guess_is_strict() {
    assert_eq!(guess(&message(1, DISCOVER)), Guess::Yes);
    assert_eq!(guess(&message(2, OFFER)), Guess::Yes);
    for other in [message(3, OFFER), message(1, &[53, 1, 77]), vec![0; 300], vec![]] {
        assert_eq!(guess(&other), Guess::No);
    }
}
