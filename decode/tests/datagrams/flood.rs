//! Questions that nobody answers: memory stays, a counter tells.

use decode::app::datagram::{UdpPorts, UdpState, datagram};
use decode::app::{Budget, Datagram, Events, Pending};

use crate::dns::{header, question};

/// Plays so many requests, each with a number of its own, and nobody answers. Gives what is still
/// remembered of a table that takes 256 KiB.
fn flood(requests: u32, port: u16, mut request: impl FnMut(u32) -> (u64, Vec<u8>)) -> u64 {
    let (mut pending, mut events) = (Pending::new(1 << 14), Events::default());
    let ports = UdpPorts::default();
    assert_eq!(pending.bytes(), 256 << 10);
    for number in 0..requests {
        let (conversation, payload) = request(number);
        let input = Datagram {
            payload: &payload,
            src_port: 40_000,
            dst_port: port,
            conversation,
            now_us: number.into(),
        };
        events.clear();
        datagram(
            &mut UdpState::default(),
            &input,
            &ports,
            &mut pending,
            &mut Budget::new(1 << 20),
            &mut events,
        );
        assert_eq!(events.len(), 1);
    }
    assert_eq!(pending.bytes(), 256 << 10);
    u64::from(requests) - pending.forgotten()
}

/// The table is full, and nothing is remembered beyond it.
fn assert_full(remembered: u64) {
    assert!((15_000..=16_384).contains(&remembered), "{remembered}");
}

#[test]
fn a_hundred_thousand_dns_ids_without_answer_take_no_memory() {
    assert_full(flood(100_000, 53, |number| {
        let mut payload = [header(0x0100, [1, 0, 0, 0]), question(1)].concat();
        payload[..2].copy_from_slice(&(number as u16).to_be_bytes());
        // More than there are ids: from two clients.
        (u64::from(number >> 16), payload)
    }));
}

#[test]
fn a_hundred_thousand_dhcp_transactions_without_answer_take_no_memory() {
    assert_full(flood(100_000, 67, |number| {
        let mut payload = vec![0; 240];
        payload[..3].copy_from_slice(&[1, 1, 6]);
        payload[4..8].copy_from_slice(&number.to_be_bytes());
        payload[236..].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
        (0, payload)
    }));
}

#[test]
fn a_hundred_thousand_radius_requests_without_answer_take_no_memory() {
    assert_full(flood(100_000, 1812, |number| {
        let mut payload = vec![1, number as u8, 0, 20];
        payload.extend([0; 16]);
        (u64::from(number >> 8), payload)
    }));
}
