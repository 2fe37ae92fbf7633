use proptest::prelude::*;

use super::*;
use crate::app::stream::FIN;
use crate::app::{Field, Kind, PortLists, Value};

const MS: u64 = 1_000;
const CLIENT_START: u32 = 0xffff_fff0;
const SERVER_START: u32 = 1_000;

/// A connection whose ends send what the test says, as a capture shows it.
struct Wire {
    table: Ports,
    classify: Classify,
    ports: [u16; 2],
    conversation: Option<TcpConversation>,
    interest: Option<Interest>,
    budget: Budget,
    events: Events,
    now_us: u64,
    /// Next sequence number of A and B.
    next: [u32; 2],
}

impl Wire {
    fn new(server_port: u16) -> Self {
        Self {
            table: Ports::default(),
            classify: Classify::Content,
            ports: [50_000, server_port],
            conversation: None,
            interest: None,
            budget: Budget::new(1 << 20),
            events: Events::default(),
            now_us: 1_764_000_000_000_000,
            next: [CLIENT_START, SERVER_START],
        }
    }

    /// After a handshake by A.
    fn open(server_port: u16) -> Self {
        let mut wire = Self::new(server_port);
        wire.syn().syn_ack();
        wire
    }

    fn syn(&mut self) -> &mut Self {
        let seq = self.next[0].wrapping_sub(1);
        self.packet(Peer::A, seq, 0, SYN, b"")
    }

    fn syn_ack(&mut self) -> &mut Self {
        let (seq, ack) = (self.next[1].wrapping_sub(1), self.next[0]);
        self.packet(Peer::B, seq, ack, SYN | ACK, b"")
    }

    fn packet(&mut self, from: Peer, seq: u32, ack: u32, flags: u8, payload: &[u8]) -> &mut Self {
        self.now_us += MS;
        let payload_len = payload.len() as u32;
        let segment = Segment { seq, ack, flags, payload, payload_len };
        if self.interest == Some(Interest::Nothing) && flags & SYN != 0 {
            (self.conversation, self.interest) = (None, None);
        }
        if self.interest == Some(Interest::Nothing) {
            return self;
        }
        if self.conversation.is_none() {
            self.conversation =
                TcpConversation::begin(&self.table, self.classify, self.ports, from, &segment);
        }
        let Some(conversation) = &mut self.conversation else { return self };
        let interest =
            conversation.segment(from, &segment, self.now_us, &mut self.budget, &mut self.events);
        self.interest = Some(interest);
        assert_eq!(self.budget.used(), conversation.heap_bytes());
        assert!(conversation.heap_bytes() <= MAX_CONVERSATION_BYTES);
        if interest == Interest::Nothing {
            assert_eq!(conversation.heap_bytes(), 0);
        }
        self
    }

    fn send_with(&mut self, from: Peer, flags: u8, payload: &[u8]) -> &mut Self {
        let (own, other) = if from == Peer::A { (0, 1) } else { (1, 0) };
        let (seq, ack) = (self.next[own], self.next[other]);
        let end = u32::from(flags & FIN != 0);
        self.next[own] = seq.wrapping_add(payload.len() as u32 + end);
        self.packet(from, seq, ack, flags | ACK, payload)
    }

    fn a(&mut self, payload: &str) -> &mut Self {
        self.send_with(Peer::A, 0, payload.as_bytes())
    }

    fn b(&mut self, payload: &str) -> &mut Self {
        self.send_with(Peer::B, 0, payload.as_bytes())
    }

    fn app(&self) -> Option<App> {
        self.conversation.as_ref().and_then(TcpConversation::app)
    }

    /// URL of requests; URL, status, ms of responses.
    fn lines(&self) -> Vec<String> {
        let lines = self.events.iter().map(|event| {
            let Some(Value::Text(url)) = event.get(Field::HttpUrl) else { panic!("no URL") };
            let status = match event.get(Field::HttpStatus) {
                Some(Value::Number(status)) => status,
                _ => 0,
            };
            match (event.kind, event.latency_us) {
                (Kind::Request, None) => url.to_owned(),
                (_, latency) => format!("{url} {status} {}", latency.map_or(0, |us| us / MS)),
            }
        });
        lines.collect()
    }
}

const GET: &str = "GET /x HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_conversation_is_small() {
    assert!(size_of::<TcpConversation>() <= 80, "{}", size_of::<TcpConversation>());
}

#[test]
fn http_is_found_on_any_port_by_its_first_bytes() {
    for port in [80, 8000, 443, 22] {
        let mut wire = Wire::open(port);
        wire.a(GET).b(OK);
        assert_eq!(wire.lines(), ["/x", "/x 200 1"], "{port}");
        assert_eq!(wire.app(), Some(App::Http));
        assert_eq!(wire.conversation.as_ref().unwrap().client(), Peer::A);
    }
}

#[test]
fn first_bytes_in_pieces_are_put_together() {
    let mut wire = Wire::open(8000);
    wire.a("G").a("E").a("T /x HTTP/1.1\r\n\r\n").b("H").b(&OK[1..]);
    // From the first byte of the request, three packets before the end of the answer.
    assert_eq!(wire.lines(), ["/x", "/x 200 4"]);
}

#[test]
fn ssh_on_port_80_gives_no_http_fields() {
    let mut wire = Wire::open(80);
    wire.b("SSH-2.0-OpenSSH_9.2p1\r\n").a("SSH-2.0-OpenSSH_9.2p1\r\n");
    let packets = "\u{1}\u{2}binary\n".repeat(100);
    for _ in 0..10 {
        wire.a(&packets).b(&packets);
    }
    assert!(wire.events.is_empty());
    assert_ne!(wire.app(), Some(App::Http));
}

#[test]
fn what_nobody_knows_is_left_after_a_few_bytes() {
    let mut wire = Wire::open(9999);
    wire.a("\u{1}\u{2}\u{3}\u{4} unknown");
    assert_eq!(wire.interest, Some(Interest::Wanted));
    wire.b("\u{1}\u{2}\u{3}\u{4} unknown");
    assert_eq!((wire.interest, wire.app()), (Some(Interest::Nothing), None));

    let mut wire = Wire::open(9999);
    for _ in 0..50 {
        wire.a(&"\u{1}unknown".repeat(16));
    }
    assert_eq!(wire.interest, Some(Interest::Nothing));
}

#[test]
fn garbage_before_a_message_is_passed_over_on_the_port_of_http() {
    let mut wire = Wire::open(80);
    wire.a("FOO\r\n\r\n").a(GET).b(OK);
    assert_eq!(wire.lines(), ["/x", "/x 200 1"]);
}

#[test]
fn by_ports_alone_other_ports_are_not_looked_at() {
    let begun = |port| {
        let mut wire = Wire { classify: Classify::Ports, ..Wire::new(port) };
        wire.syn();
        wire.conversation.is_some()
    };
    assert!(begun(80));
    assert!(!begun(8000));
    assert!(!begun(22));
}

#[test]
fn a_configured_port_is_not_questioned() {
    let lists = PortLists { http: vec![8000], ..PortLists::default() };
    let mut wire = Wire { table: Ports::new(&lists), ..Wire::new(8000) };
    wire.syn().syn_ack();
    assert_eq!(wire.app(), Some(App::Http));
    wire.a("SSH-2.0-x\r\n");
    assert_eq!(wire.app(), Some(App::Http));
    wire.a(GET).b(OK);
    assert_eq!(wire.lines(), ["/x", "/x 200 1"]);
}

#[test]
fn connections_whose_start_was_not_seen_are_not_decoded() {
    let mut wire = Wire::new(80);
    wire.a(GET).b(OK);
    assert!(wire.conversation.is_none());
}

#[test]
fn a_syn_ack_names_the_server() {
    let mut wire = Wire::new(80);
    wire.syn_ack().a(GET).b(OK);
    assert_eq!(wire.conversation.as_ref().unwrap().client(), Peer::A);
    assert_eq!(wire.lines(), ["/x", "/x 200 1"]);
}

#[test]
fn retransmitted_and_reordered_segments_change_nothing() {
    let mut wire = Wire::open(80);
    let (start, ack) = (wire.next[0], wire.next[1]);
    // The first byte is the second to come: the answer is two packets later.
    wire.packet(Peer::A, start.wrapping_add(10), ack, ACK, &GET.as_bytes()[10..]);
    wire.packet(Peer::A, start, ack, ACK, &GET.as_bytes()[..10]);
    wire.packet(Peer::A, start, ack, ACK, GET.as_bytes());
    wire.next[0] = start.wrapping_add(GET.len() as u32);
    wire.b(OK);
    assert_eq!(wire.lines(), ["/x", "/x 200 2"]);
}

#[test]
fn a_request_that_waits_behind_a_loss_is_there_before_its_answer() {
    let mut wire = Wire::open(80);
    wire.a(GET).b(OK);
    wire.next[0] = wire.next[0].wrapping_add(100);
    wire.a(GET).b(OK);
    assert_eq!(wire.lines(), ["/x", "/x 200 1", "/x", "/x 200 0"]);
}

#[test]
fn both_fins_finish_a_conversation() {
    let mut wire = Wire::open(80);
    wire.a(GET).send_with(Peer::B, FIN, b"HTTP/1.0 200 OK\r\n\r\nbody");
    assert_eq!(wire.lines(), ["/x", "/x 200 1"]);
    assert_eq!(wire.interest, Some(Interest::Wanted));
    wire.send_with(Peer::A, FIN, b"");
    assert_eq!((wire.interest, wire.app()), (Some(Interest::Nothing), Some(App::Http)));
}

#[test]
fn a_reset_ends_both_sides() {
    let mut wire = Wire::open(80);
    wire.a(GET).b("HTTP/1.0 200 OK\r\n\r\nbody").send_with(Peer::A, RST, b"");
    assert_eq!(wire.lines(), ["/x", "/x 200 2"]);
    assert_eq!(wire.interest, Some(Interest::Nothing));
}

#[test]
fn a_scanned_port_is_left_with_the_reset() {
    let mut wire = Wire::new(80);
    wire.syn().send_with(Peer::B, RST, b"");
    assert_eq!((wire.interest, wire.app()), (Some(Interest::Nothing), Some(App::Http)));
}

#[test]
fn ports_that_are_used_again_begin_anew() {
    let mut wire = Wire::open(80);
    wire.a(GET).b(OK).send_with(Peer::B, FIN, b"").send_with(Peer::A, FIN, b"");
    // The same capture again: even the numbers are the same.
    wire.next = [CLIENT_START, SERVER_START];
    wire.syn().syn_ack().a(GET).b(OK);
    assert_eq!(wire.lines(), ["/x", "/x 200 1", "/x", "/x 200 1"]);
    // Another start while the old one goes on.
    wire.next = [7, 9];
    wire.syn().syn_ack().a(GET).b(OK);
    assert_eq!(wire.lines().len(), 6);
}

#[test]
fn a_repeated_syn_changes_nothing() {
    let mut wire = Wire::open(80);
    wire.a("GET /x HT");
    wire.packet(Peer::A, CLIENT_START.wrapping_sub(1), 0, SYN, b"");
    wire.a("TP/1.1\r\n\r\n").b(OK);
    assert_eq!(wire.lines(), ["/x", "/x 200 3"]);
}

#[test]
fn decoding_ends_with_a_tunnel_and_packets_are_no_longer_wanted() {
    let mut wire = Wire::open(3128);
    wire.a("CONNECT h:443 HTTP/1.1\r\n\r\n").b("HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(wire.interest, Some(Interest::Nothing));
}

/// Enough of a handshake to have facts, and the alert that ends it.
#[test]
fn a_decoder_with_facts_is_kept_for_them() {
    let hello = b"\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x03";
    let rest = b"\x00\x00\x02\x00\x2f\x01\x00";
    let hello = [&hello[..], &[7; 32], rest].concat();
    let mut wire = Wire::open(8443);
    wire.send_with(Peer::A, 0, &hello).send_with(Peer::B, 0, b"\x15\x03\x03\x00\x02\x02\x28");
    assert_eq!((wire.interest, wire.app()), (Some(Interest::Finished), Some(App::Tls)));
    for _ in 0..2 {
        wire.conversation.as_ref().unwrap().facts(&mut wire.events);
    }
    assert_eq!(wire.events.len(), 2);
    let alert = wire.events.get(1).unwrap().get(Field::TlsAlert);
    assert_eq!(alert, Some(Value::Text("handshake_failure")));
    // Another connection between the same ports.
    wire.events.clear();
    wire.next = [77, 99];
    wire.syn().syn_ack().a(GET).b(OK);
    assert_eq!(wire.lines(), ["/x", "/x 200 1"]);
}

#[test]
fn without_budget_nothing_is_decoded_and_it_is_counted() {
    let mut wire = Wire { budget: Budget::new(100), ..Wire::new(80) };
    wire.syn().syn_ack().a("GET /x HTTP/1.1\r\n");
    assert_eq!(wire.interest, Some(Interest::Nothing));
    assert_eq!((wire.budget.refused(), wire.budget.used()), (1, 0));
    assert_eq!(wire.app(), Some(App::Http));
}

#[test]
fn http2_headers_beyond_their_bound_are_counted_and_the_protocol_stays_known() {
    let mut wire = Wire::open(80);
    wire.send_with(Peer::A, 0, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    wire.send_with(Peer::B, 0, b"\0\0\0\x04\0\0\0\0\0");
    // HEADERS of 70,000 bytes.
    wire.send_with(Peer::A, 0, b"\x01\x11\x70\x01\x05\0\0\0\x01");
    for _ in 0..7 {
        assert_eq!((wire.interest, wire.budget.refused()), (Some(Interest::Wanted), 0));
        wire.send_with(Peer::A, 0, &[0; 10_000]);
    }
    assert_eq!((wire.interest, wire.budget.refused()), (Some(Interest::Nothing), 1));
    assert_eq!((wire.app(), wire.budget.used()), (Some(App::Http2), 0));
}

#[test]
fn beyond_128_kib_a_conversation_is_decoded_no_further() {
    let mut wire = Wire::open(80);
    let filler = format!("X: {}\r\n", "x".repeat(10_000));
    wire.a("GET /x HTTP/1.1\r\n").b("HTTP/1.1 200 OK\r\n");
    for _ in 0..5 {
        wire.a(&filler).b(&filler);
    }
    assert_eq!(wire.interest, Some(Interest::Wanted));
    // What waits behind a loss has the room that the heads leave, and no more.
    wire.next[0] = wire.next[0].wrapping_add(1);
    for _ in 0..3 {
        wire.a(&filler);
    }
    wire.b(&filler);
    assert_eq!(wire.budget.refused(), 0);

    let mut wire = Wire::open(80);
    wire.a("GET /x HTTP/1.1\r\n").b("HTTP/1.1 200 OK\r\n");
    for _ in 0..7 {
        wire.a(&filler).b(&filler);
    }
    assert_eq!((wire.interest, wire.budget.refused()), (Some(Interest::Nothing), 1));
    assert_eq!(wire.budget.used(), 0);
}

#[test]
fn released_bytes_are_given_back() {
    let mut wire = Wire::open(80);
    wire.a("GET /x HTTP/1.1\r\n");
    assert!(wire.budget.used() > 0);
    wire.conversation.as_mut().unwrap().release(&mut wire.budget);
    assert_eq!(wire.budget.used(), 0);
}

/// Slow senders (spec, MEM-04): each connection begins a request and never ends it.
#[test]
fn a_million_requests_that_never_end_stay_under_the_ceiling() {
    let connections = if cfg!(debug_assertions) { 100_000_u32 } else { 1_000_000 };
    let table = Ports::default();
    let mut budget = Budget::new(8 << 20);
    let mut events = Events::default();
    let begun = b"GET /a/rather/long/path HTTP/1.1\r\nHost: example.org\r\nX-Slow: ";
    let mut kept = Vec::new();
    for i in 0..connections {
        let ports = [1024 + (i % 60_000) as u16, 80];
        let syn = Segment { seq: i, ack: 0, flags: SYN, payload: b"", payload_len: 0 };
        let data = Segment {
            seq: i + 1,
            flags: ACK,
            payload: begun,
            payload_len: begun.len() as u32,
            ..syn
        };
        let begin = TcpConversation::begin(&table, Classify::Content, ports, Peer::A, &syn);
        let mut conversation = begin.unwrap();
        let _ = conversation.segment(Peer::A, &syn, i.into(), &mut budget, &mut events);
        let interest = conversation.segment(Peer::A, &data, i.into(), &mut budget, &mut events);
        assert!(budget.used() <= budget.limit());
        if interest == Interest::Wanted {
            kept.push(conversation);
        }
    }
    assert_eq!(budget.refused(), u64::from(connections) - kept.len() as u64);
    assert!(kept.len() > 20_000 && budget.refused() > 1_000, "{}", kept.len());
    let held: usize = kept.iter().map(TcpConversation::heap_bytes).sum();
    assert_eq!(held, budget.used());
    kept.iter_mut().for_each(|conversation| conversation.release(&mut budget));
    assert_eq!(budget.used(), 0);
}

proptest! {
    #[test]
    fn any_segments_give_a_clean_result_within_the_bounds(
        port in prop::sample::select(vec![80_u16, 443, 8000]),
        limit in 0..20_000_usize,
        steps in prop::collection::vec(
            (any::<bool>(), 0..300_u32, 0..32_u8, 0..9_usize, 0..2_000_000_u64, 0..50_u32), 1..60),
    ) {
        let payloads: [&[u8]; 9] = [
            b"", GET.as_bytes(), OK.as_bytes(), b"GET ", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01",
            b"HTTP/1.1 200 OK\r\n\r\n", b"SSH-2.0-x\r\n", &[0; 600], b"HEAD / HTTP/1.0\r\n\r\n",
        ];
        let mut wire = Wire { budget: Budget::new(limit), ..Wire::new(port) };
        wire.syn();
        for (is_a, seq, flags, payload, time, cut) in steps {
            wire.now_us += time;
            let payload = payloads[payload];
            let seq = CLIENT_START.wrapping_add(seq);
            let from = if is_a { Peer::A } else { Peer::B };
            let segment = Segment {
                seq,
                ack: seq.wrapping_add(cut),
                flags,
                payload,
                payload_len: payload.len() as u32 + cut,
            };
            let Some(conversation) = &mut wire.conversation else { break };
            let interest = conversation.segment(
                from, &segment, wire.now_us, &mut wire.budget, &mut wire.events,
            );
            prop_assert!(wire.budget.used() <= limit);
            prop_assert_eq!(wire.budget.used(), conversation.heap_bytes());
            if interest == Interest::Nothing {
                prop_assert_eq!(wire.budget.used(), 0);
            }
            conversation.facts(&mut wire.events);
        }
    }
}
