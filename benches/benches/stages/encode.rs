//! Flows as a batch of the exporter holds them.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use flate2::Compression;
use flate2::write::GzEncoder;
use kflow::Flow;

/// Records of a batch: within the limit of a message.
const RECORDS: u32 = 5000;

/// A batch of flows that differ as those of a real link do.
pub fn flows() -> Vec<Flow> {
    let mut rng = fastrand::Rng::with_seed(1);
    (0..RECORDS).map(|_| flow(&mut rng)).collect()
}

/// The body as it is posted.
pub fn gzip(body: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::new(1));
    gzip.write_all(body).and_then(|()| gzip.finish()).expect("a Vec takes everything")
}

fn flow(rng: &mut fastrand::Rng) -> Flow {
    let packets = rng.u64(1..200);
    Flow {
        src: IpAddr::V4(Ipv4Addr::from(0x0a00_0000 | rng.u32(0..1 << 24))),
        dst: IpAddr::V4(Ipv4Addr::from(0xac10_0000 | rng.u32(0..1 << 10))),
        src_port: rng.u32(32_768..61_000),
        dst_port: 443,
        protocol: 6,
        tos: 0,
        tcp_flags: 0x1b,
        in_bytes: 0,
        in_packets: 0,
        out_bytes: packets * rng.u64(60..1500),
        out_packets: packets,
        input_port: 0,
        output_port: 12,
        vlan_in: 0,
        vlan_out: 0,
        src_mac: 0x0200_0000_000c,
        dst_mac: 0x0200_0000_0005,
        sample_rate: 100,
        sample_adj: true,
        device_id: 1001,
        app_protocol: 0,
        big: false,
        customs: Vec::new(),
    }
}
