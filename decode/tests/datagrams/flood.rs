//! Questions that nobody answers: memory stays, a counter tells.

use decode::app::datagram::{UdpPorts, UdpState, datagram};
use decode::app::{Budget, Datagram, Events, Pending};

use crate::dns::{header, question};

/// Plays one query of each id of a conversation.
fn ask(pending: &mut Pending, events: &mut Events, conversation: u64, id: u16) {
    let mut payload = [header(0x0100, [1, 0, 0, 0]), question(1)].concat();
    payload[..2].copy_from_slice(&id.to_be_bytes());
    let query =
        Datagram { payload: &payload, src_port: 40_000, dst_port: 53, conversation, now_us: 1 };
    events.clear();
    datagram(
        &mut UdpState::default(),
        &query,
        &UdpPorts::default(),
        pending,
        &mut Budget::new(1 << 20),
        events,
    );
    assert_eq!(events.len(), 1);
}

#[test]
fn a_hundred_thousand_dns_ids_without_answer_take_no_memory() {
    let (mut pending, mut events) = (Pending::new(1 << 14), Events::default());
    let bytes = pending.bytes();
    for number in 0..100_000_u32 {
        // More than there are ids: from two clients.
        ask(&mut pending, &mut events, u64::from(number >> 16), number as u16);
    }
    assert_eq!(pending.bytes(), bytes);
    let open = 100_000 - pending.forgotten();
    assert!(open <= 1 << 14, "{open} remembered");
    assert!(open >= 1 << 13, "{open} remembered");
}
