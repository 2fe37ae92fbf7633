//! What holds for every input, with etherparse as the second opinion.

use decode::fragments::Reassembler;
use decode::{Frame, Link, Outcome, Packet, parse};
use etherparse::{IpHeaders, Ipv4Header, Ipv6Header, VlanId};
use etherparse::{NetSlice, PacketBuilder, PacketBuilderStep, SlicedPacket, TransportSlice};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::frames::frame;

const LINKS: [Link; 5] =
    [Link::Ethernet, Link::CookedV1, Link::CookedV2, Link::RawIp, Link::BsdLoopback];

#[derive(Clone, Debug)]
enum Transport {
    Udp(u16, u16),
    Tcp { ports: (u16, u16), seq: u32, ack: u32, window: u16, options: usize, fin: bool, psh: bool },
    Icmp(u8, u8),
}

fn transport() -> impl Strategy<Value = Transport> {
    prop_oneof![
        any::<(u16, u16)>().prop_map(|(src, dst)| Transport::Udp(src, dst)),
        (any::<(u16, u16)>(), any::<(u32, u32, u16)>(), 0_usize..=10, any::<(bool, bool)>())
            .prop_map(|(ports, (seq, ack, window), options, (fin, psh))| Transport::Tcp {
                ports,
                seq,
                ack,
                window,
                options: options * 4,
                fin,
                psh
            }),
        // Not ICMP timestamps (13, 14), of which etherparse wants exactly 20 bytes.
        (15_u8.., any::<u8>()).prop_map(|(kind, code)| Transport::Icmp(kind, code)),
    ]
}

fn finish(
    step: PacketBuilderStep<IpHeaders>,
    transport: &Transport,
    v6: bool,
    payload: &[u8],
) -> Vec<u8> {
    let mut data = Vec::new();
    match *transport {
        Transport::Udp(src, dst) => step.udp(src, dst).write(&mut data, payload),
        Transport::Tcp { ports, seq, ack, window, options, fin, psh } => {
            let step = step.tcp(ports.0, ports.1, seq, window).ack(ack);
            let mut step = step.options_raw(&vec![1; options]).unwrap();
            step = if fin { step.fin() } else { step };
            step = if psh { step.psh() } else { step };
            step.write(&mut data, payload)
        }
        Transport::Icmp(kind, code) if v6 => {
            step.icmpv6_raw(kind, code, [0; 4]).write(&mut data, payload)
        }
        Transport::Icmp(kind, code) => {
            step.icmpv4_raw(kind, code, [0; 4]).write(&mut data, payload)
        }
    }
    .unwrap();
    data
}

prop_compose! {
    /// A frame without damage, padded to 60 bytes, and whether it is IPv6.
    fn frames()(
        tags in vec(1_u16..4096, 0..=2),
        v6 in any::<bool>(),
        addresses in any::<([u8; 16], [u8; 16])>(),
        transport in transport(),
        payload in vec(any::<u8>(), 0..100),
    ) -> Vec<u8> {
        let id = |i: usize| VlanId::try_new(tags[i]).unwrap();
        let ip = if v6 {
            let header =
                Ipv6Header { source: addresses.0, destination: addresses.1, ..Default::default() };
            IpHeaders::Ipv6(header, Default::default())
        } else {
            let (src, dst) = (addresses.0.first_chunk().unwrap(), addresses.1.first_chunk().unwrap());
            let header = Ipv4Header { source: *src, destination: *dst, ..Default::default() };
            IpHeaders::Ipv4(header, Default::default())
        };
        let step = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let step = match tags.len() {
            0 => step.ip(ip),
            1 => step.single_vlan(id(0)).ip(ip),
            _ => step.double_vlan(id(0), id(1)).ip(ip),
        };
        let mut data = finish(step, &transport, v6, &payload);
        data.resize(data.len().max(60), 0);
        data
    }
}

/// What etherparse says about a frame, in our terms.
fn oracle(data: &[u8]) -> Packet {
    let sliced = SlicedPacket::from_ethernet(data).unwrap();
    let mut packet = Packet { packets: 1, src_mac: [2; 6], dst_mac: [4; 6], ..Packet::default() };
    packet.vlan = sliced.vlan_ids().last().map_or(0, |id| id.value());
    let ip_payload = match sliced.net.as_ref().unwrap() {
        NetSlice::Ipv4(ip) => {
            packet.src[12..].copy_from_slice(&ip.header().source());
            packet.dst[12..].copy_from_slice(&ip.header().destination());
            packet.bytes = u64::from(ip.header().total_len());
            packet.protocol = ip.header().protocol().0;
            ip.payload().payload
        }
        NetSlice::Ipv6(ip) => {
            packet.src = ip.header().source();
            packet.dst = ip.header().destination();
            packet.ipv6 = true;
            packet.bytes = 40 + u64::from(ip.header().payload_length());
            packet.protocol = ip.header().next_header().0;
            ip.payload().payload
        }
        NetSlice::Arp(_) => unreachable!(),
    };
    let at = |slice: &[u8]| (slice.as_ptr() as usize - data.as_ptr() as usize) as u32;
    packet.l4_at = at(ip_payload);
    let payload = match sliced.transport {
        Some(TransportSlice::Udp(udp)) => {
            (packet.src_port, packet.dst_port) = (udp.source_port(), udp.destination_port());
            packet.l4_header_len = 8;
            udp.payload()
        }
        Some(TransportSlice::Tcp(tcp)) => {
            (packet.src_port, packet.dst_port) = (tcp.source_port(), tcp.destination_port());
            packet.tcp_seq = tcp.sequence_number();
            packet.tcp_ack = tcp.acknowledgment_number();
            packet.tcp_window = tcp.window_size();
            let flags = [
                tcp.fin(),
                tcp.syn(),
                tcp.rst(),
                tcp.psh(),
                tcp.ack(),
                tcp.urg(),
                tcp.ece(),
                tcp.cwr(),
            ];
            packet.tcp_flags = (0..8).map(|bit| u8::from(flags[bit]) << bit).sum();
            packet.l4_header_len = tcp.data_offset() * 4;
            tcp.payload()
        }
        _ => {
            packet.dst_port = u16::from(ip_payload[0]) << 8 | u16::from(ip_payload[1]);
            packet.l4_header_len = 4;
            &ip_payload[4..]
        }
    };
    packet.payload_at = at(payload);
    packet.payload_len = payload.len() as u32;
    packet.payload_captured = payload.len() as u32;
    packet
}

/// Offsets and lengths agree with each other and with the data.
fn assert_consistent(frame: &Frame<'_>, packet: &Packet) {
    assert!(packet.packets >= 1);
    assert!(packet.bytes >= 20);
    assert!(packet.payload_captured <= packet.payload_len);
    assert_eq!(packet.payload_at, packet.l4_at + u32::from(packet.l4_header_len));
    assert_eq!(packet.payload(frame.data).len(), packet.payload_captured as usize);
}

proptest! {
    #[test]
    fn a_sound_frame_is_read_as_etherparse_reads_it(data in frames()) {
        let mut packet = Packet::default();
        prop_assert_eq!(parse(Link::Ethernet, &frame(&data), &mut packet), Outcome::Packet);
        prop_assert_eq!(packet, oracle(&data));
    }

    #[test]
    fn cutting_a_frame_behind_the_fixed_ip_header_changes_no_count(data in frames()) {
        let mut whole = Packet::default();
        let _ = parse(Link::Ethernet, &frame(&data), &mut whole);
        let intact = whole.l4_at as usize;
        for captured in 0..data.len() {
            let cut = Frame { wire_len: data.len() as u32, ..frame(&data[..captured]) };
            let mut packet = Packet::default();
            let outcome = parse(Link::Ethernet, &cut, &mut packet);
            if captured < intact {
                prop_assert!(matches!(outcome, Outcome::Ignored(_) | Outcome::Malformed(_)));
                continue;
            }
            prop_assert_eq!(outcome, Outcome::Packet);
            prop_assert_eq!((packet.packets, packet.bytes), (whole.packets, whole.bytes));
            prop_assert_eq!(packet.protocol, whole.protocol);
            if captured >= intact + 4 {
                prop_assert_eq!((packet.src_port, packet.dst_port), (whole.src_port, whole.dst_port));
            }
            if captured >= intact + 16 {
                prop_assert_eq!(packet.payload_len, whole.payload_len);
            }
            assert_consistent(&cut, &packet);
        }
    }

    #[test]
    fn a_damaged_frame_gives_a_consistent_result(
        mut data in frames(),
        damage in vec(any::<(prop::sample::Index, u8)>(), 1..8),
        captured in any::<prop::sample::Index>(),
        (wire_len, gso_size, gso_hdr_len) in any::<(u32, u16, u16)>(),
    ) {
        for (at, byte) in damage {
            let at = at.index(data.len());
            data[at] = byte;
        }
        data.truncate(captured.index(data.len() + 1));
        let damaged = Frame { data: &data, wire_len, vlan: None, gso_size, gso_hdr_len };
        for link in LINKS {
            let mut packet = Packet::default();
            if let Outcome::Packet | Outcome::Fragment(_) = parse(link, &damaged, &mut packet) {
                assert_consistent(&damaged, &packet);
            }
        }
    }

    #[test]
    fn random_bytes_give_a_consistent_result(
        data in vec(any::<u8>(), 0..200),
        version in prop::sample::select(vec![0x45_u8, 0x46, 0x4f, 0x60]),
        gso_size in any::<u16>(),
    ) {
        let mut ip = data.clone();
        if let Some(first) = ip.first_mut() {
            *first = version;
        }
        for bytes in [&data, &ip] {
            let random = Frame { gso_size, ..frame(bytes) };
            for link in LINKS {
                let mut packet = Packet::default();
                if let Outcome::Packet | Outcome::Fragment(_) = parse(link, &random, &mut packet) {
                    assert_consistent(&random, &packet);
                }
            }
        }
    }

    #[test]
    fn any_cut_of_a_datagram_in_any_order_joins_to_the_same(
        payload in vec(any::<u8>(), 9..3000),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
        order in any::<prop::sample::Index>(),
        v6 in any::<bool>(),
    ) {
        let mut bounds: Vec<usize> = cuts.iter().map(|cut| cut.index(payload.len()) & !7).collect();
        bounds.extend([0, payload.len()]);
        bounds.sort_unstable();
        bounds.dedup();
        let mut spans: Vec<(usize, usize)> = bounds.windows(2).map(|pair| (pair[0], pair[1])).collect();
        let count = spans.len();
        spans.rotate_left(order.index(count));

        let mut reassembler = Reassembler::new();
        let mut joined = None;
        for (from, to) in spans {
            let packet = Packet {
                ipv6: v6,
                protocol: 253,
                packets: 1,
                fragments: 1,
                bytes: (to - from) as u64 + 20,
                payload_len: (to - from) as u32,
                ..Packet::default()
            };
            let fragment =
                decode::Fragment { id: 1, offset_bytes: from as u16, more: to < payload.len() };
            let datagram =
                reassembler.push(1, &packet, &fragment, &payload[from..to], &mut |_| unreachable!());
            prop_assert!(joined.is_none());
            joined = datagram.map(|datagram| (datagram.packet, datagram.bytes.to_vec()));
        }
        let (packet, bytes) = joined.unwrap();
        prop_assert_eq!(&bytes, &payload);
        prop_assert_eq!(packet.packets as usize, count);
        prop_assert_eq!(packet.bytes as usize, payload.len() + 20 * count);
        prop_assert_eq!(packet.payload_len as usize, payload.len());
    }
}
