//! Which conversations get a decoder, and what is kept of the others.

use decode::app::{App, Field, Kind, Value};

use super::*;

/// Ports of which nothing is known.
const PLAIN: [u16; 2] = [40_000, 50_001];
const NOTHING_KNOWN: &[u8] = &[0xfe; 40];
const SSH_SERVER: &[u8] = b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n";
const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\x01\0\x01";

/// A table with decoders, and a conversation between two ports.
struct World {
    table: FlowTable,
    ports: [u16; 2],
    events: Vec<(App, Kind)>,
    queries: Vec<String>,
}

impl World {
    fn new(ports: [u16; 2]) -> Self {
        let config = Config {
            capacity: 100,
            hash_key: 7,
            local_mac: Some(LOCAL),
            apps: Some(AppConfig::default()),
            ..Config::default()
        };
        let table = FlowTable::new(config).unwrap();
        Self { table, ports, events: Vec::new(), queries: Vec::new() }
    }

    fn feed(&mut self, packet: Packet, payload: &[u8]) {
        let [src_port, dst_port] = self.ports;
        let packet = Packet { src_port, dst_port, ..packet };
        self.packet(packet, payload);
    }

    fn answer(&mut self, packet: Packet, payload: &[u8]) {
        let [dst_port, src_port] = self.ports;
        let packet = Packet { src_port, dst_port, ..back(packet, packet.tcp_flags) };
        self.packet(packet, payload);
    }

    fn packet(&mut self, packet: Packet, payload: &[u8]) {
        let now = at(1);
        let mut group = Group::default();
        *group.slot() = Packet {
            l4_header_len: 20,
            payload_len: payload.len() as u32,
            payload_captured: payload.len() as u32,
            ..packet
        };
        group.commit(payload, Origin { now, time_ns: now.wall_ns, ..Origin::default() });
        let Self { table, events, queries, .. } = self;
        table.update(&group, &mut |cut| note(&cut, events, queries));
    }

    /// Protocols of the records that are left, and what was reported before.
    fn end(mut self) -> (Vec<Option<App>>, Vec<(App, Kind)>) {
        let mut apps = Vec::new();
        let Self { table, events, queries, .. } = &mut self;
        table.flush(at(2), &mut |cut| {
            apps.push(cut.record.app);
            note(&cut, events, queries);
        });
        (apps, self.events)
    }

    fn kept(&self) -> u64 {
        self.table.stats().apps.conversations
    }
}

fn note(cut: &Cut<'_>, events: &mut Vec<(App, Kind)>, queries: &mut Vec<String>) {
    let Some(event) = &cut.event else { return };
    events.push((event.app, event.kind));
    if let Some(Value::Text(query)) = event.get(Field::DnsQuery) {
        queries.push(query.to_owned());
    }
}

fn segment(flags: u8, seq: u32, ack: u32) -> Packet {
    Packet { tcp_seq: seq, tcp_ack: ack, tcp_window: 500, ..out(2, 6, flags) }
}

/// SYN, SYN+ACK, ACK: the client's bytes begin at 1000, the server's at 7000.
fn opened(ports: [u16; 2]) -> World {
    let mut world = World::new(ports);
    world.feed(segment(SYN, 999, 0), b"");
    world.answer(segment(SYN_ACK, 6_999, 1_000), b"");
    world.feed(segment(ACK, 1_000, 7_000), b"");
    world
}

#[test]
fn a_connection_that_carries_nothing_known_keeps_nothing() {
    let mut world = opened(PLAIN);
    world.feed(segment(ACK, 1_000, 7_000), NOTHING_KNOWN);
    assert_eq!(world.kept(), 0);
    world.answer(segment(ACK, 7_000, 1_040), NOTHING_KNOWN);
    // It was given up: nobody looks at what follows.
    world.answer(segment(ACK, 7_040, 1_040), SSH_SERVER);
    assert_eq!(world.kept(), 0);
    assert_eq!(world.end(), (vec![None, None], vec![]));
}

#[test]
fn a_side_that_goes_on_in_no_known_way_while_the_other_is_silent_is_given_up() {
    for (payloads, is_heard) in [(3, true), (100, false)] {
        let mut world = opened(PLAIN);
        for number in 0..payloads {
            world.feed(segment(ACK, 1_000 + 40 * number, 7_000), NOTHING_KNOWN);
        }
        world.answer(segment(ACK, 7_000, 1_000), SSH_SERVER);
        let app = is_heard.then_some(App::Ssh);
        assert_eq!(world.end().0, [app, app], "{payloads}");
    }
}

#[test]
fn the_other_side_may_still_say_something_known() {
    let mut world = opened(PLAIN);
    world.answer(segment(ACK, 7_000, 1_000), NOTHING_KNOWN);
    world.feed(segment(ACK, 1_000, 7_040), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(world.kept(), 1);
    let (apps, events) = world.end();
    assert_eq!(events, [(App::Http, Kind::Request)]);
    assert_eq!(apps, [Some(App::Http)]);
}

#[test]
fn a_side_that_ends_without_a_word_leaves_the_other_to_speak() {
    let mut world = opened(PLAIN);
    world.feed(segment(FIN_ACK, 1_000, 7_000), b"");
    world.answer(segment(ACK, 7_000, 1_001), SSH_SERVER);
    assert_eq!(world.kept(), 1);
    world.answer(segment(FIN_ACK, 7_000 + SSH_SERVER.len() as u32, 1_001), b"");
    let (apps, events) = world.end();
    assert_eq!(apps, [Some(App::Ssh), Some(App::Ssh)]);
    assert_eq!(events, [(App::Ssh, Kind::Facts); 2]);

    let mut world = opened([40_000, 443]);
    world.answer(segment(RST, 7_000, 1_000), b"");
    assert_eq!((world.kept(), world.end().0), (0, vec![Some(App::Tls), Some(App::Tls)]));
}

#[test]
fn bytes_that_do_not_come_first_decide_nothing() {
    let mut world = opened(PLAIN);
    // The request comes second and belongs in front of it.
    world.feed(segment(ACK, 1_027, 7_000), NOTHING_KNOWN);
    world.feed(segment(ACK, 1_000, 7_000), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(world.end().1, [(App::Http, Kind::Request)]);
}

#[test]
fn a_port_tells_the_protocol_before_anything_is_said() {
    let world = opened([40_000, 443]);
    assert_eq!(world.kept(), 0);
    assert_eq!(world.end().0, [Some(App::Tls), Some(App::Tls)]);
    let mut world = World::new([40_000, 443]);
    world.feed(segment(ACK, 1_000, 7_000), b"joined in the middle");
    assert_eq!(world.kept(), 0);
    assert_eq!(world.end().0, [Some(App::Tls)]);
}

#[test]
fn an_answer_whose_question_opened_unseen_is_read_from_its_start() {
    let mut world = World::new(PLAIN);
    world.answer(segment(SYN_ACK, 6_999, 1_000), b"");
    world.feed(segment(ACK, 1_027, 7_000), NOTHING_KNOWN);
    world.feed(segment(ACK, 1_000, 7_000), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(world.end().1, [(App::Http, Kind::Request)]);
}

#[test]
fn datagrams_need_no_place_but_for_what_is_remembered() {
    let mut world = World::new(PLAIN);
    world.feed(out(2, 17, 0), NOTHING_KNOWN);
    world.answer(out(2, 17, 0), NOTHING_KNOWN);
    world.feed(out(2, 17, 0), QUERY);
    assert_eq!((world.kept(), world.end()), (0, (vec![None, None], vec![])));

    let mut world = World::new(PLAIN);
    world.feed(out(2, 17, 0), NOTHING_KNOWN);
    world.feed(out(2, 17, 0), QUERY);
    assert_eq!((world.kept(), &world.queries[..]), (0, &["example.org".to_owned()][..]));
    assert_eq!(world.end().1, [(App::Dns, Kind::Request)]);
}

/// What may be said: beginnings that protocols know, and noise.
const SAID: [&[u8]; 8] = [
    NOTHING_KNOWN,
    SSH_SERVER,
    QUERY,
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    b"\x16\x03\x01\0\x40\x01",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    b"",
];

proptest! {
    #[test]
    fn whatever_is_said_nothing_is_kept_of_what_is_gone(
        steps in prop::collection::vec(
            (0_u32..3, any::<bool>(), any::<bool>(), 0_usize..8, 0_u8..32, 0_u32..200), 1..120,
        ),
        ports in prop::sample::select(vec![PLAIN, [40_000, 443], [40_000, 53], [40_000, 80]]),
        capacity in 1_usize..4,
    ) {
        let mut world = World::new(ports);
        world.table = FlowTable::new(Config {
            capacity,
            hash_key: 7,
            apps: Some(AppConfig { budget_bytes: 4096, ..AppConfig::default() }),
            ..Config::default()
        })
        .unwrap();
        for (host, is_tcp, is_back, said, flags, seq) in &steps {
            let protocol = if *is_tcp { 6 } else { 17 };
            let packet = Packet {
                tcp_seq: 1_000 + seq,
                tcp_ack: 7_000 + seq,
                ..out(2 + host, protocol, if *is_tcp { *flags } else { 0 })
            };
            let payload = SAID[*said];
            if *is_back {
                world.answer(packet, payload);
            } else {
                world.feed(packet, payload);
            }
            let apps = world.table.stats().apps;
            prop_assert!(apps.heap_bytes <= 4096, "{apps:?}");
        }
        world.table.flush(at(9), &mut |_| {});
        let apps = world.table.stats().apps;
        prop_assert_eq!((apps.conversations, apps.heap_bytes), (0, 0));
    }
}
