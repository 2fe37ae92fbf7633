//! The steering program in the kernel: both directions of every kind of traffic in one member, and
//! the conversations spread over the members.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use std::collections::HashMap;

use capture::{Fanout, FanoutMode, GroupId, Ring, RingConfig};
use common::packets::{
    Ends, conversation, ethernet, fragment_v4, gre, ipv4, ipv6, mpls, pppoe, tagged, tcp, vxlan,
};
use common::{Seen, collect_all, interface, ip, send, small, with_namespace, with_veth};

const CONVERSATIONS: u8 = 64;
/// The ends of every tunnel.
const GATEWAYS: ([u8; 4], [u8; 4]) = ([192, 0, 2, 1], [192, 0, 2, 2]);

type Kind = (&'static str, fn(Ends) -> Vec<Vec<u8>>);

fn gateways(ends: Ends) -> Ends {
    Ends { a: GATEWAYS.0, b: GATEWAYS.1, turned: ends.turned }
}

fn inner_v4(ends: Ends) -> Vec<u8> {
    ipv4(ends, 17, &conversation(ends))
}

fn inner_v6(ends: Ends) -> Vec<u8> {
    ipv6(ends, 17, &conversation(ends))
}

fn plain(ends: Ends) -> Vec<u8> {
    ethernet(0x0800, &inner_v4(ends))
}

/// What an address pair's number is, for ports that differ by conversation.
fn number(ends: Ends) -> u16 {
    u16::from(ends.a[3])
}

const PLAIN: [Kind; 9] = [
    ("IPv4 TCP", |e| {
        vec![ethernet(0x0800, &ipv4(e, 6, &tcp(e.pick(1, 2), e.pick(2, 1), &[0; 9])))]
    }),
    ("IPv4 UDP", |e| vec![plain(e)]),
    ("IPv4 ICMP", |e| vec![ethernet(0x0800, &ipv4(e, 1, &[e.pick(8, 0), 0, 0, 0, 0, 1, 0, 1]))]),
    ("IPv4 SCTP", |e| vec![ethernet(0x0800, &ipv4(e, 132, &[0; 32]))]),
    ("IPv4 ESP", |e| vec![ethernet(0x0800, &ipv4(e, 50, &[e.pick(1, 2); 32]))]),
    ("IPv6 TCP", |e| {
        vec![ethernet(0x86dd, &ipv6(e, 6, &tcp(e.pick(1, 2), e.pick(2, 1), &[0; 9])))]
    }),
    ("IPv6 UDP", |e| vec![ethernet(0x86dd, &inner_v6(e))]),
    ("IPv6 hop-by-hop", |e| {
        let mut payload = vec![17, 0, 1, 4, 0, 0, 0, 0];
        payload.extend(conversation(e));
        vec![ethernet(0x86dd, &ipv6(e, 0, &payload))]
    }),
    ("IPv4 with options", |e| {
        let mut packet = ipv4(e, 17, &conversation(e));
        packet[0] = 0x46;
        packet.splice(20..20, [1, 1, 1, 0]);
        vec![ethernet(0x0800, &packet)]
    }),
];

const LABELLED: [Kind; 11] = [
    ("802.1Q", |e| vec![tagged(0x8100, 100, plain(e))]),
    ("802.1Q, another id back", |e| vec![tagged(0x8100, e.pick(100, 200), plain(e))]),
    ("QinQ IPv4", |e| vec![tagged(0x88a8, 7, tagged(0x8100, 100, plain(e)))]),
    ("QinQ IPv6", |e| vec![tagged(0x88a8, 7, tagged(0x8100, 9, ethernet(0x86dd, &inner_v6(e))))]),
    ("three tags", |e| vec![tagged(0x9100, 1, tagged(0x88a8, 2, tagged(0x8100, 3, plain(e))))]),
    ("MPLS, one label", |e| vec![ethernet(0x8847, &mpls(1, &inner_v4(e)))]),
    ("MPLS, eight labels", |e| vec![ethernet(0x8847, &mpls(8, &inner_v6(e)))]),
    ("MPLS behind a tag", |e| vec![tagged(0x8100, 5, ethernet(0x8848, &mpls(2, &inner_v4(e))))]),
    ("PPPoE IPv4", |e| vec![ethernet(0x8864, &pppoe(0x0021, &inner_v4(e)))]),
    ("PPPoE IPv6", |e| vec![ethernet(0x8864, &pppoe(0x0057, &inner_v6(e)))]),
    ("PPPoE behind two tags", |e| {
        vec![tagged(0x88a8, 1, tagged(0x8100, 2, ethernet(0x8864, &pppoe(0x0021, &inner_v4(e)))))]
    }),
];

const TUNNELS: [Kind; 13] = [
    ("GRE IPv4", |e| vec![tunnel(e, 47, &gre(0, 0x0800, &inner_v4(e)))]),
    ("GRE IPv6", |e| vec![tunnel(e, 47, &gre(0, 0x86dd, &inner_v6(e)))]),
    ("GRE with key", |e| vec![tunnel(e, 47, &gre(0x2000, 0x0800, &inner_v4(e)))]),
    ("GRE with all fields", |e| vec![tunnel(e, 47, &gre(0xb000, 0x0800, &inner_v4(e)))]),
    ("GRE Ethernet", |e| vec![tunnel(e, 47, &gre(0x2000, 0x6558, &plain(e)))]),
    ("IPv4 in IPv4", |e| vec![tunnel(e, 4, &inner_v4(e))]),
    ("IPv6 in IPv4", |e| vec![tunnel(e, 41, &inner_v6(e))]),
    ("IPv4 in IPv6", |e| vec![ethernet(0x86dd, &ipv6(gateways(e), 4, &inner_v4(e)))]),
    ("VXLAN, port by conversation", |e| {
        let source = e.pick(40_000, 50_000) + 3 * number(e);
        vec![tunnel(e, 17, &vxlan(source, &plain(e)))]
    }),
    ("VXLAN, one port", |e| vec![tunnel(e, 17, &vxlan(4789, &plain(e)))]),
    ("VXLAN IPv6", |e| vec![tunnel(e, 17, &vxlan(4789, &ethernet(0x86dd, &inner_v6(e))))]),
    ("VXLAN with a tag inside", |e| {
        vec![tunnel(e, 17, &vxlan(4789, &tagged(0x8100, 3, plain(e))))]
    }),
    ("VXLAN over IPv6", |e| {
        vec![ethernet(0x86dd, &ipv6(gateways(e), 17, &vxlan(4789, &plain(e))))]
    }),
];

/// A whole packet, and a datagram in two parts, each way.
const FRAGMENTS: [Kind; 2] = [
    ("IPv4 fragments", |e| {
        vec![
            plain(e),
            ethernet(0x0800, &fragment_v4(e, 17, 0x2000, &conversation(e))),
            ethernet(0x0800, &fragment_v4(e, 17, 0x0004, &[0x5a; 24])),
        ]
    }),
    ("IPv6 fragments", |e| {
        let first = [&[17, 0, 0, 1, 0, 0, 0, 1], &conversation(e)[..]].concat();
        let second = [&[17, 0, 0, 0x20, 0, 0, 0, 1], &[0x5a; 24][..]].concat();
        let part = |payload: &[u8]| ethernet(0x86dd, &ipv6(e, 44, payload));
        vec![ethernet(0x86dd, &inner_v6(e)), part(&first), part(&second)]
    }),
];

fn tunnel(ends: Ends, protocol: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(0x0800, &ipv4(gateways(ends), protocol, payload))
}

fn group(mode: FanoutMode, members: usize, interface_name: &str) -> Vec<Ring> {
    let mut fanout = Fanout { group: GroupId::Unique, mode, ignore_outgoing: false };
    (0..members)
        .map(|_| {
            let config = RingConfig { fanout: Some(fanout), ..small() };
            let ring = Ring::open(&interface(interface_name), &config).unwrap();
            let joined = ring.fanout().unwrap();
            assert_eq!((joined.mode, &joined.note), (mode, &None));
            fanout.group = GroupId::Number(joined.group);
            ring
        })
        .collect()
}

/// The conversation's number stands in the last byte of each frame.
fn marked(conversation: u8, mut frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    for frame in &mut frames {
        frame.extend([0x5a, conversation]);
    }
    frames
}

fn conversation_of(seen: &Seen) -> u8 {
    *seen.data.last().unwrap()
}

/// Sends every conversation of a kind both ways, received by `vb`, or each way from another end;
/// checks that each stays in one ring and that each ring has a quarter at least.
fn is_whole_and_spread(rings: &mut [Ring], (name, frames): Kind, both_ends: bool) {
    let mut by_end = [Vec::new(), Vec::new()];
    for n in 0..CONVERSATIONS {
        for turned in [false, true] {
            let ends = Ends { a: [10, 0, 0, n], b: [10, 1, 0, 1], turned };
            by_end[usize::from(turned && both_ends)].extend(marked(n, frames(ends)));
        }
    }
    let count = by_end.iter().map(Vec::len).sum();
    // One call each: a block is used up by one frame, and a socket takes its time to close.
    send("va", &by_end[0]);
    send("vb", &by_end[1]);
    let seen = collect_all(rings, count);
    assert_eq!(seen.iter().map(Vec::len).sum::<usize>(), count, "{name}");
    let mut place: HashMap<u8, usize> = HashMap::new();
    for (ring, seen) in seen.iter().enumerate() {
        for frame in seen {
            let first = *place.entry(conversation_of(frame)).or_insert(ring);
            assert_eq!(first, ring, "{name}: conversation {} is split", conversation_of(frame));
        }
        assert!(seen.len() * 4 >= count / rings.len(), "{name}: {} of {count}", seen.len());
    }
}

fn steer(kinds: &'static [Kind]) {
    with_veth(move || {
        let mut rings = group(FanoutMode::Ebpf, 2, "vb");
        for kind in kinds {
            is_whole_and_spread(&mut rings, *kind, false);
            is_whole_and_spread(&mut rings, *kind, true);
        }
    });
}

#[test]
fn plain_conversations_stay_whole_and_spread() {
    steer(&PLAIN);
}

#[test]
fn tags_labels_and_sessions_are_looked_through() {
    steer(&LABELLED);
}

#[test]
fn tunnels_are_steered_by_what_they_carry() {
    steer(&TUNNELS);
}

#[test]
fn fragments_stay_with_their_conversation() {
    steer(&FRAGMENTS);
}

#[test]
fn few_hosts_spread_over_three_members() {
    with_veth(|| {
        let mut rings = group(FanoutMode::Ebpf, 3, "vb");
        let frames: Vec<_> = (0..24)
            .map(|n| plain(Ends { a: [192, 168, 1, n], b: [192, 168, 1, 200], turned: n % 2 == 0 }))
            .collect();
        send("va", &frames);
        let counts: Vec<_> = collect_all(&mut rings, 24).iter().map(Vec::len).collect();
        assert_eq!(counts.iter().sum::<usize>(), 24);
        assert!(counts.iter().all(|&count| (3..=14).contains(&count)), "{counts:?}");
    });
}

#[test]
fn headers_cut_anywhere_go_to_some_member() {
    with_veth(|| {
        let mut rings = group(FanoutMode::Ebpf, 2, "vb");
        let ends = Ends { a: [10, 0, 0, 1], b: [10, 1, 0, 1], turned: false };
        let mut sent = Vec::new();
        for (_, frames) in TUNNELS.iter().chain(&LABELLED) {
            let Some(whole) = frames(ends).pop() else { continue };
            // The kernel drops a frame cut inside the tag that it would take out.
            let is_tagged = matches!(whole[12..14], [0x81, 0x00] | [0x88, 0xa8]);
            let shortest = if is_tagged { 20 } else { 14 };
            sent.extend((shortest..whole.len()).map(|length| whole[..length].to_vec()));
        }
        let mut count = 0;
        // In parts that a ring holds.
        for part in sent.chunks(500) {
            send("va", part);
            count += collect_all(&mut rings, part.len()).iter().map(Vec::len).sum::<usize>();
        }
        assert_eq!(count, sent.len());
    });
}

#[test]
fn raw_ip_devices_are_steered_by_the_same_numbers() {
    with_namespace(|| {
        // Loopback is Ethernet; a tun device has no link header, and no reader is needed to send.
        ip("tuntap add dev t0 mode tun");
        ip("link set t0 up");
        let rings = group(FanoutMode::Ebpf, 2, "t0");
        assert_eq!(rings.len(), 2);
    });
}
