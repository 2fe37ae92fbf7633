//! DNS mode: responses with addresses, and who asked for them (spec 14.3).

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use decode::Packet;
use decode::app::dns::Message;
use export::posts::Parcel;
use kflow::dns::{Answer, Question, Response, encode};

use super::Collect;
use super::mirror::Mirror;
use crate::status::ModeCounters;

const TCP: u8 = 6;
/// Standard query (RFC 1035, 4.1.1).
const QUERY: u8 = 0;

/// Keeps responses encoded, as they will travel.
pub struct Dns {
    mirror: Option<Mirror>,
    responses: Responses,
}

struct Responses {
    body: Vec<u8>,
    records: u64,
    /// Used again for each.
    response: Response,
    counters: ModeCounters,
}

impl Dns {
    /// `juniper_mirror`: packets come in the envelope of a mirror, and count by what is in it.
    pub fn new(juniper_mirror: bool) -> Self {
        let question = Question { name: String::new(), host: Ipv4Addr::UNSPECIFIED.into() };
        let response = Response { question, answers: Vec::new() };
        let counters = ModeCounters::default();
        let responses = Responses { body: Vec::new(), records: 0, response, counters };
        Self { mirror: juniper_mirror.then(Mirror::new), responses }
    }
}

impl Collect for Dns {
    fn packet(&mut self, packet: &Packet, payload: &[u8], time_ns: u64) {
        match &mut self.mirror {
            None => self.responses.packet(packet, payload),
            Some(mirror) => {
                let responses = &mut self.responses;
                let opened =
                    mirror.open(payload, packet.payload_len, time_ns, |packet, payload| {
                        responses.packet(packet, payload);
                    });
                responses.counters.envelopes_malformed += u64::from(!opened);
            }
        }
    }

    fn expire(&mut self, _elapsed_ns: u64) {
        if let Some(mirror) = &mut self.mirror {
            mirror.expire();
        }
    }

    fn waiting_bytes(&self) -> usize {
        self.responses.body.len()
    }

    fn take(&mut self) -> Parcel {
        let Responses { body, records, .. } = &mut self.responses;
        Parcel::Dns { body: std::mem::take(body), records: std::mem::take(records) }
    }

    fn counters(&self) -> ModeCounters {
        self.responses.counters
    }
}

impl Responses {
    fn packet(&mut self, packet: &Packet, payload: &[u8]) {
        let host = destination(packet);
        if packet.protocol != TCP {
            self.message(payload, host);
            return;
        }
        // Segments are not joined: those that hold whole messages and nothing else are used.
        for message in whole_messages(payload) {
            self.message(message, host);
        }
    }

    fn message(&mut self, bytes: &[u8], host: IpAddr) {
        self.counters.messages += 1;
        let Some(message) = Message::parse(bytes) else {
            self.counters.malformed += 1;
            return;
        };
        let question = message.last_question();
        let (true, QUERY, Some(question)) = (message.is_response(), message.opcode(), question)
        else {
            self.counters.other += 1;
            return;
        };
        let Response { question: asked, answers } = &mut self.response;
        answers.clear();
        answers.extend(message.addresses().map(|(ip, ttl)| {
            let (name, cname) = (String::new(), String::new());
            Answer { name, cname, ip, ttl }
        }));
        if answers.is_empty() {
            self.counters.without_address += 1;
            return;
        }
        asked.host = host;
        asked.name.clear();
        // Writing to a String does not fail.
        let _ = write!(asked.name, "{}", question.name);
        encode(&self.response, &mut self.body);
        self.records += 1;
        self.counters.taken += 1;
    }
}

/// The client: whom the response goes to.
fn destination(packet: &Packet) -> IpAddr {
    let [.., a, b, c, d] = packet.dst;
    if packet.ipv6 { Ipv6Addr::from(packet.dst).into() } else { Ipv4Addr::new(a, b, c, d).into() }
}

/// The messages of a segment that consists of messages behind their lengths (RFC 1035, 4.2.2);
/// none when anything is left over.
fn whole_messages(segment: &[u8]) -> impl Iterator<Item = &[u8]> {
    let split = |rest: &[u8]| -> Option<usize> {
        let length = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
        (length > 0 && rest.len() >= 2 + length).then_some(2 + length)
    };
    let mut check = segment;
    while let Some(next) = split(check).and_then(|end| check.get(end..)) {
        check = next;
    }
    let mut rest = if check.is_empty() { segment } else { &[] };
    std::iter::from_fn(move || {
        let (message, after) = rest.split_at_checked(split(rest)?)?;
        rest = after;
        message.get(2..)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `\x05local` A, 192.0.2.7 for 60 s, as a response with id 1.
    const RESPONSE: &[u8] = b"\0\x01\x81\x80\0\x01\0\x01\0\0\0\0\x05local\0\0\x01\0\x01\
        \xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x07";

    fn packet(protocol: u8) -> Packet {
        let mut packet = Packet { protocol, l4_header_len: 8, ..Packet::default() };
        packet.dst[12..].copy_from_slice(&[10, 0, 0, 52]);
        packet
    }

    fn collected(packet: &Packet, payload: &[u8]) -> (Vec<Response>, ModeCounters) {
        let mut dns = Dns::new(false);
        dns.packet(packet, payload, 0);
        let counters = dns.counters();
        let Parcel::Dns { body, records } = dns.take() else { panic!("no DNS") };
        let responses: Vec<_> = kflow::dns::decode(&body).map(|r| r.expect("ours")).collect();
        assert_eq!(responses.len() as u64, records);
        assert_eq!(dns.waiting_bytes(), 0);
        (responses, counters)
    }

    #[test]
    fn a_response_has_its_question_the_client_and_its_addresses() {
        let (responses, counters) = collected(&packet(17), RESPONSE);
        let [response] = &responses[..] else { panic!("{responses:?}") };
        assert_eq!(response.question.name, "local");
        assert_eq!(response.question.host, IpAddr::from([10, 0, 0, 52]));
        let expected = Answer {
            name: String::new(),
            cname: String::new(),
            ip: IpAddr::from([192, 0, 2, 7]),
            ttl: 60,
        };
        assert_eq!(response.answers, [expected]);
        assert_eq!((counters.messages, counters.taken), (1, 1));
    }

    #[test]
    fn queries_other_operations_and_responses_without_address_are_not_taken() {
        let with = |at: usize, byte: u8| {
            let mut bytes = RESPONSE.to_vec();
            bytes[at] = byte;
            collected(&packet(17), &bytes)
        };
        // QR cleared; opcode 5 (update).
        for flags in [0x01, 0xa8] {
            let (responses, counters) = with(2, flags);
            assert_eq!((responses.len(), counters.other), (0, 1));
        }
        // The answer is a TXT record.
        let (responses, counters) = with(26, 16);
        assert_eq!((responses.len(), counters.without_address), (0, 1));
        // An A record of another length; no more than a header.
        let (responses, counters) = with(34, 3);
        assert_eq!((responses.len(), counters.malformed), (0, 1));
        assert_eq!(collected(&packet(17), &RESPONSE[..11]).1.malformed, 1);
        // No question.
        let mut bytes = RESPONSE.to_vec();
        bytes[5] = 0;
        bytes.drain(12..23);
        assert_eq!(collected(&packet(17), &bytes).0, []);
    }

    #[test]
    fn whole_messages_of_a_tcp_segment_are_taken_and_parts_are_not() {
        let message = [&[0, RESPONSE.len() as u8][..], RESPONSE].concat();
        assert_eq!(collected(&packet(6), &message.repeat(2)).0.len(), 2);
        assert_eq!(collected(&packet(6), RESPONSE).0, []);
        assert_eq!(collected(&packet(6), &message[..message.len() - 1]).0, []);
        assert_eq!(collected(&packet(6), &[&message[..], &[0]].concat()).0, []);
        assert_eq!(collected(&packet(6), &[]).0, []);
    }

    proptest::proptest! {
        #[test]
        fn any_payload_gives_responses_that_can_be_read(
            payload in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
            at in 0_usize..38, byte: u8, tcp: bool, mirror: bool,
        ) {
            let mut changed = RESPONSE.to_vec();
            changed[at] = byte;
            let mut dns = Dns::new(mirror);
            for payload in [payload, changed] {
                dns.packet(&packet(if tcp { 6 } else { 17 }), &payload, 0);
            }
            let Parcel::Dns { body, records } = dns.take() else { panic!("no DNS") };
            let read = kflow::dns::decode(&body).filter(Result::is_ok).count();
            proptest::prop_assert_eq!(read as u64, records);
        }
    }
}
