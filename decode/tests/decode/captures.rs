//! Facts of spec sections 7 and 17 about the shared captures. `KPROBE_PCAPS` names their folder;
//! each test passes with a message where they are missing.

use std::path::PathBuf;

use decode::fragments::Reassembler;
use decode::{Frame, Link, Outcome, Packet};

use crate::frames::{frame, parse_frame};

struct Capture {
    link: Link,
    /// Captured bytes and wire length.
    frames: Vec<(Vec<u8>, u32)>,
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn capture(name: &str) -> Option<Capture> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/pcaps");
    let folder = std::env::var_os("KPROBE_PCAPS").map_or_else(|| default.into(), PathBuf::from);
    let path = folder.join(name);
    let Ok(bytes) = std::fs::read(&path) else {
        eprintln!("skipped: no {}", path.display());
        return None;
    };
    Some(if word(&bytes, 0) == 0x0a0d_0d0a { pcapng(&bytes) } else { classic(&bytes) })
}

/// Little-endian classic pcap.
fn classic(bytes: &[u8]) -> Capture {
    assert_eq!(word(bytes, 0), 0xa1b2_c3d4);
    let mut frames = Vec::new();
    let mut at = 24;
    while at < bytes.len() {
        let captured = word(bytes, at + 8) as usize;
        frames.push((bytes[at + 16..at + 16 + captured].to_vec(), word(bytes, at + 12)));
        at += 16 + captured;
    }
    Capture { link: Link::from_linktype(word(bytes, 20)).unwrap(), frames }
}

/// Little-endian pcapng of one interface.
fn pcapng(bytes: &[u8]) -> Capture {
    let (mut link, mut frames) = (None, Vec::new());
    let mut at = 0;
    while at < bytes.len() {
        match word(bytes, at) {
            1 => link = Link::from_linktype(word(bytes, at + 8) & 0xffff),
            6 => {
                let captured = word(bytes, at + 20) as usize;
                frames.push((bytes[at + 28..at + 28 + captured].to_vec(), word(bytes, at + 24)));
            }
            _ => {}
        }
        at += word(bytes, at + 4) as usize;
    }
    Capture { link: link.unwrap(), frames }
}

impl Capture {
    /// Every packet that is not a fragment, with at most `snap` bytes captured.
    fn packets(&self, snap: usize) -> Vec<Packet> {
        let each = self.frames.iter().map(|(data, wire_len)| {
            let data = &data[..data.len().min(snap)];
            parse_frame(self.link, &Frame { wire_len: *wire_len, ..frame(data) })
        });
        each.filter(|(outcome, _)| *outcome == Outcome::Packet).map(|(_, packet)| packet).collect()
    }
}

/// Packets, bytes and flags of those that `chosen` picks.
fn sums(packets: &[Packet], chosen: impl Fn(&Packet) -> bool) -> (u32, u64, u8) {
    packets.iter().filter(|packet| chosen(packet)).fold(
        (0, 0, 0),
        |(packets, bytes, flags), packet| {
            (packets + packet.packets, bytes + packet.bytes, flags | packet.tcp_flags)
        },
    )
}

#[test]
fn a_padded_ack_has_forty_bytes_and_no_payload() {
    let Some(capture) = capture("ip/ipv4_eth_padding.pcap") else { return };
    let packets = capture.packets(65_535);
    assert_eq!(packets.len(), 1);
    assert_eq!((packets[0].protocol, packets[0].bytes, packets[0].payload_len), (6, 40, 0));
    assert_eq!(packets[0].payload_captured, 0);
}

#[test]
fn a_dns_reply_in_three_fragments_is_one_datagram() {
    let Some(capture) = capture("dns/sns-pb.isc.org-dnssec.pcap") else { return };
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1], [1, 3, 2]] {
        let mut reassembler = Reassembler::new();
        let mut whole = Vec::new();
        for i in order {
            let (data, wire_len) = &capture.frames[i];
            let (outcome, packet) =
                parse_frame(capture.link, &Frame { wire_len: *wire_len, ..frame(data) });
            let Outcome::Fragment(fragment) = outcome else { panic!("{outcome:?}") };
            let payload = packet.payload(data);
            if let Some(datagram) =
                reassembler.push(1, &packet, &fragment, payload, &mut |_| unreachable!())
            {
                whole.push((datagram.packet, datagram.bytes.to_vec()));
            }
        }
        let [(packet, bytes)] = &whole[..] else { panic!("{}", whole.len()) };
        assert_eq!((packet.packets, packet.fragments, packet.bytes), (3, 3, 1687));
        assert_eq!((packet.src_port, packet.dst_port), (53, 64_912));
        assert_eq!((packet.payload_len, packet.payload_captured), (1619, 1619));
        assert_eq!(bytes.len(), 1627);
        // The answer's DNS id is that of the query.
        let (query, _) = &capture.frames[0];
        assert_eq!(packet.payload(bytes)[..2], query[14 + 28..14 + 30]);
    }
}

#[test]
fn a_wrong_total_length_bounds_the_udp_payload() {
    let Some(capture) = capture("dns/sns-pb.isc.org.pcap") else { return };
    let packets = capture.packets(65_535);
    assert_eq!(packets.iter().map(|packet| packet.bytes).collect::<Vec<_>>(), [60, 300]);
    assert_eq!(packets[0].payload_captured, 32);
    for (total_length, payload) in [(80_u16, 32), (40, 12)] {
        let (mut data, wire_len) = capture.frames[0].clone();
        data[16..18].copy_from_slice(&total_length.to_be_bytes());
        let (_, packet) = parse_frame(capture.link, &Frame { wire_len, ..frame(&data) });
        assert_eq!((packet.payload_len, packet.payload_captured), (payload, payload));
    }
}

#[test]
fn dns_packets_have_the_bytes_of_the_table() {
    let Some(capture) = capture("dns/google.com-any.pcap") else { return };
    let bytes: Vec<u64> = capture.packets(65_535).iter().map(|packet| packet.bytes).collect();
    assert_eq!(bytes, [56, 432, 64, 64, 80, 92]);
}

#[test]
fn tcp_connections_have_the_sums_of_the_table_at_any_snap_length() {
    for snap in [65_535, 96, 54] {
        let Some(tls) = capture("tls/google.com-tls-1.2.pcap") else { return };
        let packets = tls.packets(snap);
        assert_eq!(sums(&packets, |packet| packet.dst_port == 443), (15, 1246, 0xdb));
        assert_eq!(sums(&packets, |packet| packet.src_port == 443), (10, 5594, 0x1b));

        let Some(http) = capture("http/google.com.pcap") else { return };
        let packets = http.packets(snap);
        assert_eq!(sums(&packets, |packet| packet.dst_port == 80), (6, 334, 0x1b));
        assert_eq!(sums(&packets, |packet| packet.src_port == 80), (5, 715, 0x1b));
    }
}

#[test]
fn payload_lengths_are_the_same_at_any_snap_length() {
    for name in ["tcp/retransmits.pcap", "tcp/zero_windows.pcap", "http/http-1.0-fin-data.pcap"] {
        let Some(capture) = capture(name) else { return };
        let lengths = |snap| -> Vec<u32> {
            capture.packets(snap).iter().map(|packet| packet.payload_len).collect()
        };
        assert_eq!(lengths(96), lengths(65_535));
        assert_eq!(capture.packets(96).len(), capture.frames.len());
    }
}

#[test]
fn radius_over_a_bsd_loopback_is_read() {
    let Some(capture) = capture("radius/radius_different_auths.pcap") else { return };
    assert_eq!(capture.link, Link::BsdLoopback);
    let packets = capture.packets(65_535);
    assert_eq!(packets.len(), 19);
    assert!(packets.iter().all(|packet| packet.src_port == 1812 || packet.dst_port == 1812));
    // RADIUS code 11, access challenge.
    assert_eq!(packets[1].payload(&capture.frames[1].0)[0], 11);
    assert_eq!((packets[1].bytes, packets[1].payload_len), (159, 131));
}
