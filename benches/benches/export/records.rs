//! Records as a busy link gives them: most TCP with metrics, some DNS with an event.

use decode::app::{App, Events, Field, Kind};
use export::{Batch, DeviceSettings, Pipeline};
use flowtable::tcp::{Role, TcpMetrics};
use flowtable::{Cut, Direction, Record};
use kflow::api::{CustomColumn, Device};
use std::io::Read;

/// So many different ones.
const RECORDS: usize = 10_000;
/// One in so many is a DNS answer.
const DNS: usize = 8;

/// The columns that the reference server announces and records can fill (wire contract 7.5).
const COLUMNS: [(u64, &str, &str); 14] = [
    (1, "RETRANSMITTED_IN_PKTS", "uint32"),
    (2, "RETRANSMITTED_OUT_PKTS", "uint32"),
    (3, "FRAGMENTS", "uint32"),
    (4, "CLIENT_NW_LATENCY_MS", "uint32"),
    (5, "SERVER_NW_LATENCY_MS", "uint32"),
    (6, "APPL_LATENCY_MS", "uint32"),
    (7, "FPEX_LATENCY_MS", "uint32"),
    (15, "KFLOW_DNS_QUERY", "string"),
    (16, "KFLOW_DNS_QUERY_TYPE", "uint32"),
    (17, "KFLOW_DNS_RET_CODE", "uint32"),
    (18, "KFLOW_DNS_RESPONSE", "string"),
    (20, "RECEIVE_WINDOW", "uint32"),
    (22, "CONNECTION_ID", "uint32"),
    (60, "TCP_RTT_MEAN_US", "uint32"),
];

pub struct Records {
    records: Vec<Record>,
    tcp: Vec<TcpMetrics>,
    events: Events,
}

impl Records {
    pub fn new() -> Self {
        let mut random = fastrand::Rng::with_seed(1);
        let mut events = Events::default();
        let records = (0..RECORDS).map(|n| record(&mut random, n)).collect();
        let tcp = (0..RECORDS).map(|_| metrics(&mut random)).collect();
        for n in 0..RECORDS / DNS {
            let name = format!("host-{n}.{}.example.org", random.u32(..1000));
            let address = format!("10.{}.{}.{}/A", random.u8(..), random.u8(..), random.u8(..));
            events
                .begin(App::Dns, Kind::Response)
                .latency_us(random.u64(300..80_000))
                .text(Field::DnsQuery, name.as_bytes())
                .number(Field::DnsQueryType, 1)
                .number(Field::DnsRcode, 0)
                .text(Field::DnsAnswer, address.as_bytes());
        }
        Self { records, tcp, events }
    }

    /// Appends `count` records from number `first` on.
    pub fn push(&self, batch: &mut Batch, first: u64, count: u64) {
        for number in first..first + count {
            batch.push(&self.cut(number as usize % RECORDS));
        }
    }

    /// All of them in one body, before compression.
    pub fn body(&self) -> Vec<u8> {
        let settings = DeviceSettings::from(&device(RECORDS as u64));
        let mut pipeline = Pipeline::new(1001, &settings, false, 1);
        (0..RECORDS).for_each(|number| pipeline.offer(&self.cut(number)));
        let mut body = Vec::new();
        pipeline.dispatch(|part| {
            let part = part.expect("a batch within the limit");
            let mut gzip = flate2::read::GzDecoder::new(&part.bytes[..]);
            gzip.read_to_end(&mut body).expect("a whole body");
        });
        body
    }

    fn cut(&self, number: usize) -> Cut<'_> {
        let is_dns = number.is_multiple_of(DNS);
        Cut {
            record: &self.records[number],
            tcp: (!is_dns).then(|| &self.tcp[number]),
            event: if is_dns { self.events.get(number / DNS) } else { None },
        }
    }
}

pub fn device(max_flow_rate: u64) -> Device {
    let columns = COLUMNS.iter().map(|(field_id, name, kind)| CustomColumn {
        field_id: *field_id,
        col_name: (*name).into(),
        col_type: (*kind).into(),
    });
    Device {
        id: 1001,
        company_id: 1,
        device_name: "bench".into(),
        max_flow_rate,
        custom_column_data: columns.collect(),
        ..Device::default()
    }
}

fn record(random: &mut fastrand::Rng, n: usize) -> Record {
    let is_dns = n.is_multiple_of(DNS);
    let packets = random.u64(1..200);
    Record {
        time_ns: 1_800_000_000_000_000_000,
        first_frame: n as u64,
        src: (0x0a00_0000 | random.u32(..1 << 24)).to_be_bytes().into(),
        dst: (0xac10_0000 | random.u32(..1 << 10)).to_be_bytes().into(),
        src_port: random.u16(32_768..61_000),
        dst_port: if is_dns { 53 } else { 443 },
        protocol: if is_dns { 17 } else { 6 },
        tos: 0,
        tcp_flags: if is_dns { 0 } else { 0x1b },
        direction: if n.is_multiple_of(2) { Direction::In } else { Direction::Out },
        vlan: 0,
        src_mac: [2, 0, 0, 0, 0, 1],
        dst_mac: [2, 0, 0, 0, 0, 2],
        packets,
        bytes: packets * random.u64(60..1500),
        fragments: 0,
        sample_rate: 1,
        app: is_dns.then_some(App::Dns),
        connection_id: random.u32(1..),
        first_payload_us: random.bool().then(|| random.u32(100..90_000)),
    }
}

fn metrics(random: &mut fastrand::Rng) -> TcpMetrics {
    let mut metrics = TcpMetrics {
        client_nw_latency_ms: random.bool().then_some(3),
        retransmitted: u32::from(random.u8(..) < 20),
        receive_window: Some(random.u32(1000..3_000_000)),
        role: Some(if random.bool() { Role::Client } else { Role::Server }),
        ..TcpMetrics::default()
    };
    metrics.rtt.count = 1;
    metrics
}
