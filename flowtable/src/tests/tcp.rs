//! TCP metrics, application latencies and connection ids in the records of a table.

use super::*;
use crate::tcp::{Close, Role, TcpMetrics};

const MS: u64 = 1_000_000;

/// What was cut: the record and its TCP metrics.
type Cuts = Vec<(Record, Option<TcpMetrics>)>;

/// A table with a clock of its own.
struct World {
    table: FlowTable,
    now_ns: u64,
    cuts: Cuts,
}

impl World {
    fn new(capacity: usize) -> Self {
        Self { table: table(capacity), now_ns: 0, cuts: Vec::new() }
    }

    fn now(&self) -> Moment {
        Moment { elapsed_ns: self.now_ns, wall_ns: 1000 * S + self.now_ns }
    }

    fn wait(&mut self, ns: u64) -> &mut Self {
        self.now_ns += ns;
        self
    }

    fn feed(&mut self, packet: Packet) -> &mut Self {
        let now = self.now();
        let mut group = Group::default();
        *group.slot() = packet;
        group.commit(&[], Origin { now, time_ns: now.wall_ns, ..Origin::default() });
        self.table
            .update(&group, &mut |cut| self.cuts.push((cut.record.clone(), cut.tcp.copied())));
        self
    }

    fn tick(&mut self) -> Cuts {
        let now = self.now();
        self.table.tick(now, &mut |cut| self.cuts.push((cut.record.clone(), cut.tcp.copied())));
        std::mem::take(&mut self.cuts)
    }

    fn flush(&mut self) -> Cuts {
        let now = self.now();
        self.table.flush(now, &mut |cut| self.cuts.push((cut.record.clone(), cut.tcp.copied())));
        std::mem::take(&mut self.cuts)
    }

    /// Client 10.0.0.1 opens to host `to`: the server answers after 20 ms, the client after 4 ms.
    fn open(&mut self, to: u32) -> &mut Self {
        self.feed(sent(to, SYN, 999, 0)).wait(20 * MS);
        self.feed(answered(to, SYN_ACK, 6_999, 1_000, 0)).wait(4 * MS);
        self.feed(sent(to, ACK, 1_000, 0)).wait(MS)
    }
}

/// A segment of the client, which acknowledges 7,000.
fn sent(to: u32, flags: u8, seq: u32, payload_len: u32) -> Packet {
    segment(out(to, 6, flags), seq, 7_000, payload_len)
}

/// A segment of the server.
fn answered(to: u32, flags: u8, seq: u32, ack: u32, payload_len: u32) -> Packet {
    segment(back(out(to, 6, 0), flags), seq, ack, payload_len)
}

fn segment(packet: Packet, seq: u32, ack: u32, payload_len: u32) -> Packet {
    Packet {
        tcp_seq: seq,
        tcp_ack: ack,
        tcp_window: 500,
        l4_header_len: 20,
        payload_len,
        bytes: 40 + u64::from(payload_len),
        ..packet
    }
}

fn tcp(cuts: &Cuts, way: usize) -> TcpMetrics {
    cuts[way].1.unwrap()
}

#[test]
fn the_last_record_of_a_short_connection_has_its_metrics() {
    let mut world = World::new(10);
    world.open(2).feed(sent(2, ACK, 1_000, 100)).wait(7 * MS);
    world.feed(answered(2, ACK, 7_000, 1_100, 50)).feed(sent(2, FIN_ACK, 1_100, 0));
    world.wait(5 * MS).feed(answered(2, FIN_ACK, 7_050, 1_101, 0)).wait(MS);
    world.feed(segment(out(2, 6, ACK), 1_101, 7_051, 0)).wait(2 * S);
    let cuts = world.tick();
    assert!(world.table.is_empty());
    let (client, server) = (tcp(&cuts, 0), tcp(&cuts, 1));
    assert_eq!((client.client_nw_latency_ms, server.server_nw_latency_ms), (Some(2), Some(10)));
    assert_eq!((client.handshake_rtt_us, server.handshake_rtt_us), (Some(4_000), Some(20_000)));
    assert_eq!((client.role, server.role), (Some(Role::Client), Some(Role::Server)));
    assert_eq!((client.close, server.close), (Some(Close::Fin), Some(Close::Fin)));
    assert_eq!((cuts[0].0.first_payload_us, cuts[1].0.first_payload_us), (None, Some(7_000)));
    assert_eq!((server.rtt.max_us, server.rtt.min_us), (20_000, 5_000));
    let latencies = world.table.latencies();
    assert_eq!((latencies.client.len(), latencies.server.len()), (1, 1));
    assert_eq!(latencies.application.len(), 1);
}

#[test]
fn counters_begin_anew_after_a_record_and_what_lasts_is_in_each() {
    let mut world = World::new(10);
    world.open(2).feed(sent(2, ACK, 1_000, 100)).wait(300 * MS).feed(sent(2, ACK, 1_000, 100));
    let mut first = world.wait(16 * S).tick();
    assert_eq!(first.len(), 2);
    let client = tcp(&first, 0);
    assert_eq!((client.retransmitted, client.initial_window), (1, Some(500)));
    first.clear();
    world.feed(sent(2, ACK, 1_100, 100)).wait(16 * S);
    let second = world.tick();
    assert_eq!(second.len(), 1, "the server said nothing");
    let client = tcp(&second, 0);
    assert_eq!((client.retransmitted, client.retransmitted_timeout), (0, 0));
    assert_eq!((client.client_nw_latency_ms, client.role), (Some(2), Some(Role::Client)));
    assert_eq!((client.receive_window, client.handshake_rtt_us), (Some(500), Some(4_000)));
    assert_eq!((client.rtt.count, second[0].0.packets), (0, 1));
}

#[test]
fn a_syn_on_an_open_connection_cuts_the_old_records_before_it_counts() {
    let mut world = World::new(10);
    world.open(2).feed(sent(2, ACK, 1_000, 100)).wait(300 * MS).feed(sent(2, ACK, 1_000, 100));
    assert_eq!(world.cuts.len(), 0);
    world.feed(sent(2, SYN, 500_000, 0));
    let old = std::mem::take(&mut world.cuts);
    assert_eq!(old.iter().map(|(record, _)| record.packets).collect::<Vec<_>>(), [4, 1]);
    assert_eq!((tcp(&old, 0).retransmitted, tcp(&old, 0).client_nw_latency_ms), (1, Some(2)));
    world.wait(6 * MS).feed(answered(2, SYN_ACK, 90_000, 500_001, 0));
    let new = world.flush();
    assert_eq!(new.iter().map(|(record, _)| record.packets).collect::<Vec<_>>(), [1, 1]);
    assert_eq!((tcp(&new, 0).retransmitted, tcp(&new, 0).client_nw_latency_ms), (0, None));
    assert_eq!(tcp(&new, 1).server_nw_latency_ms, Some(3));
    assert_eq!(world.table.stats().created, 2);
}

#[test]
fn a_syn_sent_again_is_a_retransmission_and_no_new_connection() {
    let mut world = World::new(10);
    world.feed(sent(2, SYN, 999, 0)).wait(S).feed(sent(2, SYN, 999, 0));
    let cuts = world.flush();
    assert_eq!((cuts.len(), tcp(&cuts, 0).retransmitted), (1, 1));
    assert_eq!(world.table.stats().created, 1);
}

#[test]
fn udp_has_the_application_latency_on_the_side_that_answered() {
    let mut world = World::new(10);
    let asked = Packet { payload_len: 30, l4_header_len: 8, ..out(2, 17, 0) };
    world.feed(asked).wait(7 * MS).feed(back(asked, 0)).wait(9 * MS).feed(asked);
    world.feed(back(asked, 0));
    let cuts = world.flush();
    assert_eq!((cuts[0].0.first_payload_us, cuts[1].0.first_payload_us), (None, Some(7_000)));
    assert!(cuts[0].1.is_none() && cuts[1].1.is_none());
    assert_eq!(world.table.latencies().application.len(), 1);
}

#[test]
fn an_answer_without_payload_and_icmp_have_no_application_latency() {
    let mut world = World::new(10);
    let asked = Packet { payload_len: 30, l4_header_len: 8, ..out(2, 17, 0) };
    world.feed(asked).feed(Packet { payload_len: 0, ..back(asked, 0) });
    let echo = Packet { protocol: 1, src_port: 0, dst_port: 0, ..asked };
    world.feed(echo).feed(back(echo, 0));
    assert!(world.flush().iter().all(|(record, _)| record.first_payload_us.is_none()));
}

#[test]
fn both_directions_of_tcp_and_udp_share_an_id_that_others_do_not_have() {
    let mut world = World::new(10);
    let udp = out(3, 17, 0);
    world.open(2).open(4).feed(udp).feed(back(udp, 0)).feed(out(5, 1, 0));
    let ids: Vec<_> = world.flush().iter().map(|(record, _)| record.connection_id).collect();
    let [a, b, c, d, e, f, icmp] = ids[..] else { panic!("{ids:?}") };
    assert!(a == b && c == d && e == f, "{ids:?}");
    assert!(a != 0 && c != 0 && e != 0 && a != c && a != e && c != e, "{ids:?}");
    assert_eq!(icmp, 0);
}

#[test]
fn a_direction_that_sampling_leaves_out_still_times_the_other() {
    let sampling = Sampling::new(3);
    let config = Config {
        capacity: 500,
        hash_key: 1,
        local_mac: None,
        sampling,
        ids_key: 2,
        ..Config::default()
    };
    let table = FlowTable::new(config).unwrap();
    let mut world = World { table, ..World::new(1) };
    for to in 2..302 {
        world.open(to);
        // The client needs the server's SYN+ACK, the server the client's SYN and data.
        world.feed(sent(to, ACK, 1_000, 100)).wait(9 * MS).feed(answered(to, ACK, 7_000, 1_100, 9));
    }
    let cuts = world.flush();
    let mut alone = [0, 0];
    for (record, metrics) in &cuts {
        let pair = cuts.iter().filter(|(other, _)| other.connection_id == record.connection_id);
        if pair.count() == 1 {
            let (metrics, server) = (metrics.unwrap(), record.src_port == 80);
            alone[usize::from(server)] += 1;
            let expected = if server { (None, Some(10)) } else { (Some(2), None) };
            assert_eq!((metrics.client_nw_latency_ms, metrics.server_nw_latency_ms), expected);
            assert_eq!(record.first_payload_us, server.then_some(9_000));
        }
    }
    assert!(alone[0] > 20 && alone[1] > 20, "{alone:?}");
}

#[test]
fn what_is_evicted_takes_its_metrics_along() {
    let mut world = World::new(1);
    world.open(2).feed(sent(2, ACK, 1_000, 100)).wait(300 * MS).feed(sent(2, ACK, 1_000, 100));
    world.feed(out(3, 17, 0));
    let evicted = std::mem::take(&mut world.cuts);
    assert_eq!((evicted.len(), world.table.stats().evicted), (2, 1));
    assert_eq!((tcp(&evicted, 0).retransmitted, tcp(&evicted, 0).close), (1, None));
    assert_eq!(tcp(&evicted, 1).server_nw_latency_ms, Some(10));
    // Whoever takes the place next finds nothing of it.
    world.open(4);
    assert_eq!(tcp(&world.flush(), 1).retransmitted, 0);
    assert_eq!(world.table.stats().tcp_details, 0);
}

#[test]
fn reordering_is_counted_beyond_sixteen_bits() {
    let mut world = World::new(1);
    world.open(2);
    for i in 0..70_000 {
        let seq = 1_000 + i * 20;
        world.feed(sent(2, ACK, seq + 10, 10)).feed(sent(2, ACK, seq, 10));
    }
    let client = tcp(&world.flush(), 0);
    assert_eq!((client.out_of_order, client.gaps, client.retransmitted), (70_000, 70_000, 0));
}

#[test]
fn records_of_connections_without_room_for_details_say_so() {
    // The smallest pool has room for 64.
    let mut world = World::new(200);
    for to in 2..68 {
        world.open(to).feed(sent(to, ACK, 1_100, 100));
    }
    let stats = world.table.stats();
    assert_eq!((stats.tcp_details, stats.tcp_details_refused), (64, 2));
    let cuts = world.flush();
    let lacking = |to: u32| {
        cuts.iter().filter(move |(record, metrics)| {
            let address = std::net::Ipv4Addr::from(0x0a00_0000 + to);
            record.dst == address && metrics.unwrap().lacking
        })
    };
    assert_eq!((lacking(65).count(), lacking(66).count(), lacking(67).count()), (0, 1, 1));
    assert_eq!(world.table.stats().tcp_details, 0);
}

#[test]
fn an_idle_connection_ends_by_timeout_once_it_has_something_to_say() {
    let mut world = World::new(10);
    world.open(2).wait(59 * S).feed(sent(2, ACK, 1_000, 10)).wait(61 * S);
    let cuts = world.tick();
    assert_eq!(cuts.last().unwrap().1.unwrap().close, Some(Close::Timeout));
    assert!(world.table.is_empty());
}

#[test]
fn gaps_while_the_capture_loses_packets_are_marked() {
    let mut world = World::new(10);
    world.open(2);
    let from_ns = world.now().wall_ns;
    world.table.note_capture_loss(from_ns, from_ns + S);
    world.wait(MS).feed(sent(2, ACK, 1_100, 100)).wait(300 * MS).feed(sent(2, ACK, 1_000, 100));
    let client = tcp(&world.flush(), 0);
    assert_eq!((client.suspect_gaps, client.suspect_fills, client.gaps), (1, 1, 0));
    assert_eq!((client.retransmitted, client.out_of_order), (0, 0));
}
