//! Generated traffic with the sums that a probe must find in it, read back from the frames by
//! etherparse.

use std::net::IpAddr;
use std::path::Path;

use benches::pcap_file::Writer;
use benches::send::Sender;
use benches::traffic::{Generator, Plan};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};

use super::{Counts, Flow, Sums, recordings};

/// 2026-01-01T00:00:00Z.
const START_NS: u64 = 1_767_225_600_000_000_000;

/// The first packets of a plan, and their sums.
pub fn frames(plan: &Plan, packets: usize) -> (Vec<Vec<u8>>, Sums) {
    let mut generator = Generator::new(plan.clone()).unwrap();
    let mut frames = vec![Vec::new(); packets];
    let mut sums = Sums::new();
    for frame in &mut frames {
        generator.next_frame(frame);
        let (flow, counts) = parse(frame);
        sums.entry(flow).or_default().add(counts);
    }
    (frames, sums)
}

/// Writes the first packets of a plan to a capture file, one each `gap_ns`; gives their sums.
pub fn write(path: &Path, plan: &Plan, packets: u64, gap_ns: u64) -> Sums {
    let mut generator = Generator::new(plan.clone()).unwrap();
    let mut writer = Writer::create(path, recordings::ETHERNET).unwrap();
    let mut sums = Sums::new();
    let mut frame = Vec::new();
    for number in 0..packets {
        generator.next_frame(&mut frame);
        writer.write(START_NS + number * gap_ns, &frame, frame.len() as u32).unwrap();
        let (flow, counts) = parse(&frame);
        sums.entry(flow).or_default().add(counts);
    }
    writer.finish().unwrap();
    sums
}

/// Sends frames onto an interface of this thread's namespace; 0 is as fast as it goes.
pub fn send(interface: &str, frames: &[Vec<u8>], rate_pps: u64) {
    let mut sender = Sender::open(interface, rate_pps).unwrap();
    for frame in frames {
        sender.push(frame, 0).unwrap();
    }
    assert_eq!(sender.finish().unwrap().packets, frames.len() as u64);
}

/// An untagged frame with whole TCP or UDP over IP.
pub fn parse(frame: &[u8]) -> (Flow, Counts) {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let (src, dst, bytes): (IpAddr, IpAddr, u64) = match packet.net.unwrap() {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            (
                header.source_addr().into(),
                header.destination_addr().into(),
                header.total_len().into(),
            )
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            let bytes = u64::from(header.payload_length()) + 40;
            (header.source_addr().into(), header.destination_addr().into(), bytes)
        }
        NetSlice::Arp(_) => panic!("no IP"),
    };
    let (src_port, dst_port, protocol, tcp_flags) = match packet.transport.unwrap() {
        TransportSlice::Udp(udp) => (udp.source_port(), udp.destination_port(), 17, 0),
        TransportSlice::Tcp(tcp) => {
            // Flags are the 14th byte of the header (RFC 9293, 3.1).
            (tcp.source_port(), tcp.destination_port(), 6, u64::from(tcp.slice()[13]))
        }
        other => panic!("neither TCP nor UDP: {other:?}"),
    };
    let flow = Flow { src, src_port, dst, dst_port, protocol, vlan: 0 };
    (flow, Counts { packets: 1, bytes, tcp_flags, fragments: 0 })
}
