//! From records to compressed bodies nothing is allocated for a record once the buffers have grown:
//! counted by the allocator itself.
//!
//! Here and not beside the exporter, because an allocator is unsafe code and this crate may have
//! some.

mod counting;

use counting::allocations;
use decode::app::{App, Events, Field, Kind};
use export::{DeviceSettings, Pipeline};
use flowtable::tcp::{Role, TcpMetrics};
use flowtable::{Cut, Direction, Record};
use kflow::api::CustomColumn;

/// Twice the limit.
const RECORDS: u32 = 40_000;
const LIMIT: u64 = 20_000;
/// 20,000 records of 344 bytes and their columns take three messages of 4 MiB.
const MOST_BATCHES: u64 = 4;
/// The body itself, and what the message's builder keeps of its one segment.
const MOST_PER_BATCH: u64 = 12;

fn record(n: u32) -> Record {
    Record {
        time_ns: 1_800_000_000_000_000_000,
        first_frame: n.into(),
        src: (0x0a00_0000 + n).to_be_bytes().into(),
        dst: if n.is_multiple_of(10) { [0x20; 16].into() } else { [192, 0, 2, 1].into() },
        src_port: n as u16,
        dst_port: 443,
        protocol: 6,
        tos: 0,
        tcp_flags: 0x1b,
        direction: if n.is_multiple_of(2) { Direction::In } else { Direction::Out },
        vlan: 0,
        src_mac: [2, 0, 0, 0, 0, 1],
        dst_mac: [2, 0, 0, 0, 0, 2],
        packets: 7,
        bytes: 3000 + u64::from(n),
        fragments: 0,
        sample_rate: 1,
        app: Some(App::Dns),
        connection_id: n,
        first_payload_us: Some(900),
    }
}

fn settings() -> DeviceSettings {
    let names = [
        ("CONNECTION_ID", "uint32"),
        ("APPL_LATENCY_MS", "uint32"),
        ("RETRANSMITTED_OUT_PKTS", "uint32"),
        ("TCP_ROLE", "string"),
        ("KFLOW_DNS_QUERY", "string"),
        ("KFLOW_DNS_QUERY_TYPE", "uint32"),
    ];
    let columns = (1..).zip(names).map(|(field_id, (name, kind))| CustomColumn {
        field_id,
        col_name: name.into(),
        col_type: kind.into(),
    });
    DeviceSettings { max_flow_rate: LIMIT, columns: columns.collect() }
}

#[test]
fn no_record_allocates_on_its_way_to_a_compressed_body() {
    let records: Vec<Record> = (0..RECORDS).map(record).collect();
    let mut events = Events::default();
    events
        .begin(App::Dns, Kind::Response)
        .latency_us(44_900)
        .text(Field::DnsQuery, b"www.example.org")
        .number(Field::DnsQueryType, 28);
    let tcp = TcpMetrics { retransmitted: 3, role: Some(Role::Client), ..TcpMetrics::default() };
    for keep_heavy in [false, true] {
        let mut pipeline = Pipeline::new(7, &settings(), keep_heavy, 1);
        for round in 0..5 {
            let offered = allocations(|| {
                for record in &records {
                    pipeline.offer(&Cut { record, tcp: Some(&tcp), event: events.get(0) });
                }
            });
            let (mut batches, mut sent, mut bytes) = (0, 0, 0);
            let dispatched = allocations(|| {
                pipeline.dispatch(|body| {
                    let body = body.unwrap_or_else(|(_, error)| panic!("{error}"));
                    batches += 1;
                    sent += body.records;
                    bytes += body.bytes.len();
                });
            });
            assert_eq!(sent, LIMIT);
            assert!(batches <= MOST_BATCHES && bytes > 100_000, "{batches} batches, {bytes} bytes");
            if round > 1 {
                assert_eq!(offered, 0, "round {round}");
                assert!(
                    dispatched <= batches * MOST_PER_BATCH,
                    "round {round}: {dispatched} allocations for {batches} batches"
                );
            }
        }
    }
}
