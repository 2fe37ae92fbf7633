//! RADIUS mode: who got and lost which address, from accounting requests (spec 15).

use std::net::Ipv4Addr;

use decode::Packet;
use decode::app::radius::Packet as RadiusPacket;
use export::posts::{Parcel, UserEvent};

use super::Collect;
use crate::status::ModeCounters;

const UDP: u8 = 17;
/// Accounting-Request (RFC 2866, section 3).
const ACCOUNTING_REQUEST: u8 = 4;
/// Values of Acct-Status-Type (RFC 2866, section 5.1).
const START: u32 = 1;
const STOP: u32 = 2;
const INTERIM: u32 = 3;

/// Keeps the events of users.
pub struct Radius {
    ports: Vec<u16>,
    events: Vec<UserEvent>,
    bytes: usize,
    counters: ModeCounters,
}

impl Radius {
    /// `ports` is where servers listen. The filter checks it, except for fragments.
    pub fn new(ports: Vec<u16>) -> Self {
        Self { ports, events: Vec::new(), bytes: 0, counters: ModeCounters::default() }
    }

    fn take_event(&mut self, user: &[u8], address: Option<Ipv4Addr>, time_ns: u64) {
        let user = String::from_utf8_lossy(user).into_owned();
        let event = UserEvent { time_ns, user, address };
        self.bytes += event.body_bytes();
        self.events.push(event);
        self.counters.taken += 1;
    }
}

impl Collect for Radius {
    fn packet(&mut self, packet: &Packet, payload: &[u8], time_ns: u64) {
        if packet.protocol != UDP || !self.ports.contains(&packet.dst_port) {
            return;
        }
        self.counters.messages += 1;
        let Some(request) = RadiusPacket::parse(payload) else {
            self.counters.malformed += 1;
            return;
        };
        if request.code() != ACCOUNTING_REQUEST {
            self.counters.other += 1;
            return;
        }
        let attributes = request.attributes();
        let user = attributes.user_name.filter(|name| !name.is_empty());
        match (attributes.acct_status, user, attributes.framed_address) {
            (Some(START | INTERIM), Some(user), Some(address)) => {
                self.take_event(user, Some(address), time_ns);
            }
            (Some(STOP), Some(user), _) => self.take_event(user, None, time_ns),
            (Some(START | INTERIM | STOP), _, _) => self.counters.without_address += 1,
            _ => self.counters.other += 1,
        }
    }

    fn waiting_bytes(&self) -> usize {
        self.bytes
    }

    fn take(&mut self) -> Parcel {
        self.bytes = 0;
        Parcel::Users(std::mem::take(&mut self.events))
    }

    fn counters(&self) -> ModeCounters {
        self.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet with this code and these attributes, and a lie or none about its length.
    fn radius(code: u8, attributes: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![code, 7, 0, 0];
        bytes.extend([0; 16]);
        for (kind, value) in attributes {
            bytes.extend([*kind, value.len() as u8 + 2]);
            bytes.extend_from_slice(value);
        }
        bytes[3] = bytes.len() as u8;
        bytes
    }

    fn events(payload: &[u8], dst_port: u16) -> (Vec<(String, Option<Ipv4Addr>)>, ModeCounters) {
        let mut collector = Radius::new(vec![1812, 1813]);
        let packet = Packet { protocol: 17, dst_port, ..Packet::default() };
        collector.packet(&packet, payload, 5);
        let counters = collector.counters();
        let Parcel::Users(events) = collector.take() else { panic!("no users") };
        assert_eq!(collector.waiting_bytes(), 0);
        (events.into_iter().map(|event| (event.user, event.address)).collect(), counters)
    }

    const BOB: (u8, &[u8]) = (1, b"bob");
    const ADDRESS: (u8, &[u8]) = (8, &[10, 1, 2, 3]);

    fn status(number: &[u8; 4]) -> (u8, &[u8]) {
        (40, number)
    }

    #[test]
    fn start_and_interim_set_an_address_and_stop_removes_the_user() {
        let here = vec![("bob".to_owned(), Some(Ipv4Addr::new(10, 1, 2, 3)))];
        for number in [[0, 0, 0, 1], [0, 0, 0, 3]] {
            let request = radius(4, &[status(&number), BOB, ADDRESS]);
            assert_eq!(events(&request, 1813).0, here);
            assert_eq!(events(&request, 1812).0, here);
            assert_eq!(events(&request, 53).0, []);
        }
        let stop = radius(4, &[BOB, status(&[0, 0, 0, 2])]);
        assert_eq!(events(&stop, 1813).0, [("bob".to_owned(), None)]);
    }

    #[test]
    fn anything_else_is_ignored_and_counted() {
        let start = [0, 0, 0, 1];
        for (request, expected) in [
            (radius(1, &[status(&start), BOB, ADDRESS]), "other"),
            (radius(5, &[]), "other"),
            (radius(4, &[status(&[0, 0, 0, 7]), BOB, ADDRESS]), "other"),
            (radius(4, &[BOB, ADDRESS]), "other"),
            (radius(4, &[status(&start), BOB]), "without"),
            (radius(4, &[status(&start), ADDRESS]), "without"),
            (radius(4, &[status(&[0, 0, 0, 2])]), "without"),
            (radius(4, &[])[..19].to_vec(), "malformed"),
        ] {
            let (events, counters) = events(&request, 1813);
            assert_eq!(events, []);
            let counted = match expected {
                "other" => counters.other,
                "without" => counters.without_address,
                _ => counters.malformed,
            };
            assert_eq!((counters.messages, counted, counters.taken), (1, 1, 0), "{request:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_payload_is_taken_or_counted(
            payload in proptest::collection::vec(proptest::num::u8::ANY, 0..120),
        ) {
            let (events, counters) = events(&payload, 1813);
            let counted = counters.malformed + counters.other + counters.without_address;
            proptest::prop_assert_eq!(events.len() as u64 + counted, 1);
        }
    }
}
