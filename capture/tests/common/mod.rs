//! A network namespace of the test's own, frames made by hand, and what a source gave of them.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod packets;

use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use afpacket::sync::RawPacketStream;
use capture::{Frame, Interface, Offload, PacketType, Ring, RingConfig, Source, VlanTag};

/// Runs `ip` with these words.
pub fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("iproute2");
    assert!(status.success(), "ip {arguments}");
}

/// Runs the test in a fresh network namespace that vanishes with its thread. Needs root; without
/// it the test says so and passes.
pub fn with_namespace(test: impl FnOnce() + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root for a network namespace");
        return;
    }
    let body = move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        test();
    };
    if let Err(panic) = std::thread::spawn(body).join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs the test in a fresh namespace with `va` and `vb` up and silent.
pub fn with_veth(test: impl FnOnce() + Send + 'static) {
    with_namespace(|| {
        ip("link add va type veth peer name vb");
        for end in ["va", "vb"] {
            ip(&format!("link set {end} addrgenmode none arp off up"));
        }
        test();
    });
}

pub fn interface(name: &str) -> Interface {
    Interface::find(name).unwrap()
}

/// What sends frames out of an interface.
pub fn sender(interface: &str) -> RawPacketStream {
    let mut stream = RawPacketStream::new().unwrap();
    stream.bind(interface).unwrap();
    stream
}

pub fn send(interface: &str, frames: &[Vec<u8>]) {
    let mut stream = sender(interface);
    for frame in frames {
        stream.write_all(frame).unwrap();
    }
}

/// A ring small enough for many tests at once, that lasts 640 ms when the reader is kept waiting.
pub fn small() -> RingConfig {
    RingConfig { block_bytes: 1 << 18, blocks: 16, retire_ms: 40, ..RingConfig::default() }
}

/// A frame, kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub time_ns: u64,
    pub data: Vec<u8>,
    pub wire_len: u32,
    pub linktype: u32,
    pub vlan: Option<VlanTag>,
    pub packet_type: PacketType,
    pub offload: Option<Offload>,
}

impl Seen {
    fn of(frame: &Frame<'_>) -> Self {
        Self {
            time_ns: frame.time_ns,
            data: frame.data.to_vec(),
            wire_len: frame.wire_len,
            linktype: frame.linktype,
            vlan: frame.vlan,
            packet_type: frame.packet_type,
            offload: frame.offload,
        }
    }
}

/// Collects frames until `count` came or two seconds passed.
pub fn collect(ring: &mut Ring, count: usize) -> Vec<Seen> {
    let mut seen = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(2);
    while seen.len() < count && Instant::now() < deadline {
        ring.wait(Duration::from_millis(50)).unwrap();
        while let Some(mut block) = ring.next_block() {
            seen.extend(block.frames().map(|frame| Seen::of(&frame)));
        }
    }
    seen
}

/// The same from a source of any kind.
pub fn collect_source(source: &mut Source, count: usize) -> Vec<Seen> {
    let mut seen = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(2);
    while seen.len() < count && Instant::now() < deadline {
        source.wait(Duration::from_millis(50)).unwrap();
        while let Some(mut block) = source.next_block() {
            seen.extend(block.frames().map(|frame| Seen::of(&frame)));
        }
    }
    seen
}

/// What comes to each of several rings, until `count` came in all or two seconds passed.
pub fn collect_all(rings: &mut [Ring], count: usize) -> Vec<Vec<Seen>> {
    let mut seen = vec![Vec::new(); rings.len()];
    let deadline = Instant::now() + Duration::from_secs(2);
    while seen.iter().map(Vec::len).sum::<usize>() < count && Instant::now() < deadline {
        for (ring, seen) in rings.iter_mut().zip(&mut seen) {
            ring.wait(Duration::from_millis(5)).unwrap();
            while let Some(mut block) = ring.next_block() {
                seen.extend(block.frames().map(|frame| Seen::of(&frame)));
            }
        }
    }
    seen
}

/// Frames that come within a tenth of a second, where none are expected.
pub fn stragglers(ring: &mut Ring) -> usize {
    let deadline = Instant::now() + Duration::from_millis(100);
    let mut count = 0;
    while Instant::now() < deadline {
        ring.wait(Duration::from_millis(20)).unwrap();
        while let Some(mut block) = ring.next_block() {
            count += block.frames().count();
        }
    }
    count
}
