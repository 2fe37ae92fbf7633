//! RADIUS on any bytes, alone and through the dispatcher of UDP conversations.
//!
//! Input: one of five destination ports, then datagrams, each behind its length (1 byte, 255 for
//! all that is left).
#![no_main]

use decode::app::datagram::{UdpPorts, UdpState, datagram};
use decode::app::radius::{self, Packet};
use decode::app::{App, Budget, Datagram, Events, Guess, Pending, Verdict};
use libfuzzer_sys::fuzz_target;

const PORTS: [u16; 5] = [1812, 53, 67, 546, 40_001];

fuzz_target!(|input: &[u8]| {
    let Some((&port, mut rest)) = input.split_first() else { return };
    let dst_port = PORTS[usize::from(port) % PORTS.len()];
    let mut state = UdpState::default();
    let ports = UdpPorts::default();
    let (mut pending, mut events) = (Pending::new(8), Events::default());
    let mut budget = Budget::new(1 << 16);
    let mut settled: Option<App> = None;
    while let Some((&length, after)) = rest.split_first() {
        let length = if length == 255 { after.len() } else { usize::from(length) };
        let (payload, after) = after.split_at(length.min(after.len()));
        rest = after;
        let input =
            Datagram { payload, src_port: 40_000, dst_port, conversation: 1, now_us: 1_000 };

        let mut alone = Events::default();
        let verdict = radius::datagram(&input, &mut Pending::new(8), &mut alone);
        assert_eq!(alone.len(), usize::from(verdict == Verdict::More));
        assert_eq!(Packet::parse(payload).is_some(), verdict == Verdict::More);
        assert!(radius::guess(payload) != Guess::Yes || verdict == Verdict::More);

        let before = events.len();
        datagram(&mut state, &input, &ports, &mut pending, &mut budget, &mut events);
        assert!(events.len() <= before + 1);
        if let Some(event) = events.get(before) {
            // What has reported stays.
            assert_eq!(state.app(), Some(event.app));
            assert_eq!(*settled.get_or_insert(event.app), event.app);
            assert!(state.is_interesting());
        }
    }
});
