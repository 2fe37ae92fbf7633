//! DHCP of both families on any bytes: one event at most, and an answer to the same bytes turned
//! into a reply has a latency.
//!
//! Input: 0 for IPv4 and 1 for IPv6 in the lowest bit, then the payload.
#![no_main]

use decode::app::{Datagram, Events, Guess, Kind, MAX_TEXT_BYTES, Pending, Value, Verdict};
use decode::app::{dhcp, dhcpv6};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&family, payload)) = input.split_first() else { return };
    let is_v6 = family & 1 == 1;
    let (mut pending, mut events) = (Pending::new(8), Events::default());
    let mut send = |payload: &[u8], now_us, events: &mut Events| {
        let datagram = Datagram { payload, src_port: 1, dst_port: 2, conversation: 1, now_us };
        let before = events.len();
        let verdict = if is_v6 {
            dhcpv6::datagram(&datagram, &mut pending, events)
        } else {
            dhcp::datagram(&datagram, &mut pending, events)
        };
        let added = events.len() - before;
        assert_eq!(added, usize::from(verdict == Verdict::More));
        added == 1
    };
    let guess = if is_v6 { dhcpv6::guess(payload) } else { dhcp::guess(payload) };
    let is_message = send(payload, 1_000, &mut events);
    assert!(guess != Guess::Yes || is_message);
    if !is_message {
        return;
    }
    let asked = events.get(0).expect("one event").kind == Kind::Request;
    if asked && !is_v6 {
        let mut reply = payload.to_vec();
        reply[0] = 2;
        assert!(send(&reply, 1_250, &mut events));
        assert_eq!(events.get(1).expect("another").latency_us, Some(250));
    }
    for event in events.iter() {
        for (_, value) in event.attributes() {
            let Value::Text(text) = value else { continue };
            assert!(text.len() <= MAX_TEXT_BYTES && !text.contains('\0'));
        }
    }
});
