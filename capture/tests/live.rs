//! Live rings on a veth pair in a network namespace of the test's own.
//!
//! Each test unshares its thread's network namespace, which vanishes with the thread. Needs root;
//! without it the tests say so and pass.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use capture::{
    Fanout, FanoutMode, Filter, GroupId, Interface, LINKTYPE_ETHERNET, PacketType, Ring,
    RingConfig, VlanTag, Wait,
};
use common::{collect, ip, sender, small, with_veth};

const TAG: [u8; 4] = [0x81, 0x00, 0x60, 0x64];

/// A broadcast UDP frame of `payload` bytes, optionally tagged (VLAN 100, priority 3).
fn frame(payload: usize, tag: bool) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [0xff; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(4000, 5000);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, &vec![0x5a; payload]).unwrap();
    if tag {
        bytes.splice(12..12, TAG);
    }
    bytes
}

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

#[test]
fn a_tagged_frame_arrives_byte_for_byte_with_its_tag_length_and_time() {
    with_veth(|| {
        let mut ring = Ring::open(&Interface::find("vb").unwrap(), &small()).unwrap();
        let before = now_ns();
        sender("va").write_all(&frame(100, true)).unwrap();
        let seen = collect(&mut ring, 1);
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].data, frame(100, false));
        assert_eq!(seen[0].wire_len, 142);
        let tag = VlanTag { tpid: 0x8100, tci: 0x6064 };
        assert_eq!(seen[0].vlan, Some(tag));
        assert_eq!(tag.id(), 100);
        assert_eq!(seen[0].packet_type, PacketType::Broadcast);
        assert!((before..=now_ns()).contains(&seen[0].time_ns));
        assert_eq!(ring.stats().unwrap().packets, 1);
        assert_eq!(ring.stats().unwrap().drops, 0);
    });
}

#[test]
fn an_outgoing_frame_is_seen_as_outgoing_with_its_tag_inline() {
    with_veth(|| {
        let mut ring = Ring::open(&Interface::find("va").unwrap(), &small()).unwrap();
        sender("va").write_all(&frame(10, true)).unwrap();
        let seen = collect(&mut ring, 1);
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].packet_type, PacketType::Outgoing);
        assert_eq!(seen[0].data, frame(10, true));
        assert_eq!(seen[0].vlan, None);
    });
}

#[test]
fn a_filter_and_a_snap_length_work_in_the_kernel() {
    with_veth(|| {
        let filter = Filter::compile("udp and greater 100", LINKTYPE_ETHERNET).unwrap();
        let config = RingConfig { filter: Some(filter), snap_bytes: 64, ..small() };
        let mut ring = Ring::open(&Interface::find("vb").unwrap(), &config).unwrap();
        let mut sender = sender("va");
        for payload in [10, 500, 20, 900] {
            sender.write_all(&frame(payload, false)).unwrap();
        }
        let seen = collect(&mut ring, 2);
        let lengths: Vec<_> = seen.iter().map(|s| (s.data.len(), s.wire_len)).collect();
        assert_eq!(lengths, [(64, 542), (64, 942)]);
        assert_eq!(ring.stats().unwrap().packets, 2);
    });
}

#[test]
fn members_of_a_group_share_the_frames_without_doubles() {
    with_veth(|| {
        let interface = Interface::find("vb").unwrap();
        let fanout = Some(Fanout {
            group: GroupId::Number(7),
            mode: FanoutMode::LoadBalance,
            ignore_outgoing: false,
        });
        let config = RingConfig { fanout, ..small() };
        let mut rings = [0; 2].map(|_| Ring::open(&interface, &config).unwrap());
        let mut sender = sender("va");
        for _ in 0..100 {
            sender.write_all(&frame(20, false)).unwrap();
        }
        let counts = rings.each_mut().map(|ring| collect(ring, 50).len());
        assert_eq!(counts, [50, 50]);
        let other = Some(Fanout {
            group: GroupId::Number(7),
            mode: FanoutMode::Hash,
            ignore_outgoing: false,
        });
        let refused = Ring::open(&interface, &RingConfig { fanout: other, ..small() });
        let text = refused.err().unwrap().to_string();
        assert!(
            text.starts_with(
                "fanout group 7 refused this probe: its members use mode lb, not hash"
            ),
            "{text}"
        );
    });
}

#[test]
fn loopback_delivers_each_frame_once() {
    with_veth(|| {
        ip("link set lo up");
        for fanout in [
            None,
            Some(Fanout {
                group: GroupId::Number(9),
                mode: FanoutMode::Hash,
                ignore_outgoing: false,
            }),
        ] {
            let config = RingConfig { fanout, ..small() };
            let mut ring = Ring::open(&Interface::find("lo").unwrap(), &config).unwrap();
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            for _ in 0..20 {
                socket.send_to(b"once", socket.local_addr().unwrap()).unwrap();
            }
            assert_eq!(collect(&mut ring, 21).len(), 20);
        }
    });
}

#[test]
fn an_overrun_ring_counts_what_it_dropped() {
    with_veth(|| {
        let config = RingConfig { block_bytes: 1 << 16, blocks: 2, ..small() };
        let mut ring = Ring::open(&Interface::find("vb").unwrap(), &config).unwrap();
        let mut sender = sender("va");
        for _ in 0..1000 {
            sender.write_all(&frame(1000, false)).unwrap();
        }
        let delivered = collect(&mut ring, 1000).len() as u64;
        let stats = ring.stats().unwrap();
        assert!(stats.drops > 0 && stats.freezes > 0, "{stats:?}");
        assert_eq!(stats.packets, 1000);
        assert_eq!(delivered + stats.drops, 1000);
    });
}

#[test]
fn an_interface_that_goes_down_is_reported() {
    with_veth(|| {
        let mut ring = Ring::open(&Interface::find("vb").unwrap(), &small()).unwrap();
        ip("link set vb down");
        let waited = ring.wait(Duration::from_secs(2)).unwrap();
        assert!(matches!(waited, Wait::Down(_)), "{waited:?}");
        ip("link set vb up");
        sender("va").write_all(&frame(10, false)).unwrap();
        assert_eq!(collect(&mut ring, 1).len(), 1);
    });
}

#[test]
fn a_silenced_ring_hands_over_what_it_took_in_time_and_takes_nothing_more() {
    with_veth(|| {
        let config = RingConfig { retire_ms: 100, ..small() };
        let mut ring = Ring::open(&Interface::find("vb").unwrap(), &config).unwrap();
        let mut sender = sender("va");
        for _ in 0..10 {
            sender.write_all(&frame(10, false)).unwrap();
        }
        let end = Instant::now() + ring.silence().unwrap();
        for _ in 0..10 {
            sender.write_all(&frame(10, false)).unwrap();
        }
        let mut frames = 0;
        while Instant::now() < end {
            ring.wait(end.saturating_duration_since(Instant::now())).unwrap();
            while let Some(mut block) = ring.next_block() {
                frames += block.frames().count();
            }
        }
        assert_eq!(frames, 10);
        assert_eq!(ring.stats().unwrap().packets, 10);
    });
}
