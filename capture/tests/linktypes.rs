//! Devices that are not Ethernet, and all of them at once.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::UdpSocket;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use capture::{
    Fanout, FanoutMode, Filter, GroupId, LINKTYPE_ETHERNET, LINKTYPE_PER_FRAME, LINKTYPE_RAW,
    LINKTYPE_UNKNOWN, PacketType, Plain, Ring, RingConfig, Source,
};
use common::packets::{Ends, conversation, ethernet, ipv4, ipv6, tagged};
use common::{
    Seen, collect, collect_source, interface, ip, send, small, with_namespace, with_veth,
};

/// Opens a tun device of a hardware type, then writes to it each packet that comes on standard
/// input after its length in two bytes.
const TUN: &str = "
import fcntl, struct, sys
tun = open('/dev/net/tun', 'r+b', buffering=0)
fcntl.ioctl(tun, 0x400454ca, struct.pack('16sH22x', sys.argv[1].encode(), 0x1001))
if int(sys.argv[2]):
    fcntl.ioctl(tun, 0x400454cd, int(sys.argv[2]))
print('open', flush=True)
while True:
    head = sys.stdin.buffer.read(2)
    if len(head) < 2: break
    tun.write(sys.stdin.buffer.read(int.from_bytes(head, 'big')))
";

/// A tun device whose other side is in our hands.
struct Tun {
    child: Child,
    input: ChildStdin,
    _output: ChildStdout,
}

impl Tun {
    /// `None`, and a word about it, where there is no python3 or no tun.
    fn open(name: &str, hardware_type: u16) -> Option<Self> {
        let mut child = Command::new("python3")
            .args(["-c", TUN, name, &hardware_type.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let (input, mut output) = (child.stdin.take()?, child.stdout.take()?);
        if output.read_exact(&mut [0; 4]).is_err() {
            eprintln!("skipped: needs /dev/net/tun");
            child.wait().unwrap();
            return None;
        }
        ip(&format!("link set {name} up"));
        Some(Self { child, input, _output: output })
    }

    /// A packet comes in from the other side.
    fn comes_in(&mut self, packet: &[u8]) {
        self.input.write_all(&(packet.len() as u16).to_be_bytes()).unwrap();
        self.input.write_all(packet).unwrap();
        self.input.flush().unwrap();
    }
}

impl Drop for Tun {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn packet_v4() -> Vec<u8> {
    let ends = Ends { a: [10, 9, 0, 2], b: [10, 9, 0, 1], turned: false };
    ipv4(ends, 17, &conversation(ends))
}

fn packet_v6() -> Vec<u8> {
    let ends = Ends { a: [10, 9, 0, 2], b: [10, 9, 0, 1], turned: false };
    ipv6(ends, 17, &conversation(ends))
}

/// Without the router solicitations that the kernel sends on a new device.
fn ours(seen: Vec<Seen>) -> Vec<Seen> {
    seen.into_iter().filter(|frame| frame.data.get(6) != Some(&58)).collect()
}

/// Both directions on a device of this hardware type, by ring and by plain reads.
fn carries_raw_ip(hardware_type: u16, tells_offload: bool) {
    with_namespace(move || {
        let Some(mut tun) = Tun::open("t0", hardware_type) else { return };
        ip("address add 10.9.0.1/24 dev t0");
        let facts = interface("t0");
        assert_eq!((facts.linktype, facts.mac), (Some(LINKTYPE_RAW), None));
        let filter = Some(Filter::compile("udp", LINKTYPE_RAW).unwrap());
        let config = RingConfig { filter, ..small() };
        let mut sources = [
            Source::Ring(Ring::open(&facts, &config).unwrap()),
            Source::Plain(Plain::open(&facts, &config).unwrap()),
        ];
        assert_eq!(sources[0].has_vnet_header(), tells_offload);
        tun.comes_in(&packet_v4());
        tun.comes_in(&packet_v6());
        let socket = UdpSocket::bind("10.9.0.1:7000").unwrap();
        socket.send_to(b"out", "10.9.0.2:7001").unwrap();
        for source in &mut sources {
            let seen = collect_source(source, 3);
            assert_eq!(seen.len(), 3);
            assert!(seen.iter().all(|frame| frame.linktype == LINKTYPE_RAW));
            let find = |bytes: &[u8]| seen.iter().find(|frame| frame.data == bytes).unwrap();
            assert_eq!(find(&packet_v4()).packet_type, PacketType::Host);
            assert_eq!(find(&packet_v6()).wire_len, packet_v6().len() as u32);
            let sent = seen.iter().find(|f| f.packet_type == PacketType::Outgoing).unwrap();
            assert_eq!(sent.data[0], 0x45);
            assert!(sent.data.ends_with(b"out"));
        }
    });
}

#[test]
fn a_tun_device_carries_raw_ip() {
    carries_raw_ip(0, true);
}

#[test]
fn a_ppp_device_is_read_without_its_header() {
    carries_raw_ip(libc::ARPHRD_PPP, false);
}

#[test]
fn a_raw_ip_device_is_steered_by_the_addresses() {
    with_namespace(|| {
        let Some(mut tun) = Tun::open("t0", 0) else { return };
        let mut group = GroupId::Unique;
        let mut rings = [0; 2].map(|_| {
            let fanout = Fanout { group, mode: FanoutMode::Ebpf, ignore_outgoing: true };
            let config = RingConfig { fanout: Some(fanout), ..small() };
            let ring = Ring::open(&interface("t0"), &config).unwrap();
            group = GroupId::Number(ring.fanout().unwrap().group);
            ring
        });
        for n in 0..64 {
            for turned in [false, true] {
                let ends = Ends { a: [10, 9, 1, n], b: [10, 9, 2, 1], turned };
                tun.comes_in(&ipv4(ends, 17, &conversation(ends)));
            }
        }
        let counts = rings.each_mut().map(|ring| collect(ring, 64).len());
        assert_eq!(counts.iter().sum::<usize>(), 128);
        assert!(counts.iter().all(|&count| count >= 32 && count % 2 == 0), "{counts:?}");
    });
}

#[test]
fn a_device_that_cannot_be_read_is_refused_with_its_type_named() {
    with_namespace(|| {
        let Some(_tun) = Tun::open("w0", libc::ARPHRD_IEEE80211_RADIOTAP) else { return };
        let facts = interface("w0");
        assert_eq!(facts.linktype, None);
        let refused = Ring::open(&facts, &small()).err().unwrap();
        assert_eq!(
            refused.to_string(),
            "w0: unsupported hardware type 803 (IEEE 802.11 monitor with radiotap header)"
        );
    });
}

#[test]
fn any_gives_the_frames_of_every_device_with_their_link_type() {
    with_veth(|| {
        ip("link set lo up");
        let Some(mut tun) = Tun::open("t0", 0) else { return };
        let Some(mut strange) = Tun::open("w0", libc::ARPHRD_IEEE80211_RADIOTAP) else { return };
        let any = interface("any");
        assert_eq!((any.index, any.linktype), (0, Some(LINKTYPE_PER_FRAME)));
        let sources = [
            Source::Ring(Ring::open(&any, &small()).unwrap()),
            Source::Plain(Plain::open(&any, &small()).unwrap()),
        ];
        let frame = ethernet(0x88b5, &[0x77; 50]);
        send("va", std::slice::from_ref(&frame));
        tun.comes_in(&packet_v4());
        strange.comes_in(&packet_v4());
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(b"once", socket.local_addr().unwrap()).unwrap();
        for mut source in sources {
            let seen = ours(collect_source(&mut source, 100));
            let count = |linktype: u32, end: &[u8]| {
                seen.iter().filter(|f| f.linktype == linktype && f.data.ends_with(end)).count()
            };
            // Sent by va, received by vb.
            assert_eq!(count(LINKTYPE_ETHERNET, &frame), 2);
            assert_eq!(count(LINKTYPE_ETHERNET, b"once"), 1);
            assert_eq!(count(LINKTYPE_RAW, &packet_v4()), 1);
            assert_eq!(count(LINKTYPE_UNKNOWN, &packet_v4()), 1);
        }
    });
}

#[test]
fn a_filter_on_any_knows_each_device() {
    with_veth(|| {
        let Some(mut tun) = Tun::open("t0", 0) else { return };
        let filter = Some(Filter::compile("udp port 53", LINKTYPE_PER_FRAME).unwrap());
        let config = RingConfig { filter, promiscuous: true, ..small() };
        let mut ring = Ring::open(&interface("any"), &config).unwrap();
        assert!(
            ring.notes().iter().any(|note| note.starts_with("promiscuous mode has no meaning"))
        );
        send("va", &[ethernet(0x88b5, &[0; 46]), ethernet(0x0800, &packet_v4())]);
        send("va", &[tagged(0x8100, 5, ethernet(0x0800, &packet_v4()))]);
        tun.comes_in(&packet_v4());
        let seen = collect(&mut ring, 6);
        let count = |linktype: u32| seen.iter().filter(|f| f.linktype == linktype).count();
        assert_eq!((count(LINKTYPE_ETHERNET), count(LINKTYPE_RAW)), (4, 1));
    });
}

#[test]
fn readers_share_any_as_they_share_an_interface() {
    with_veth(|| {
        let mut group = GroupId::Unique;
        let mut rings = [0; 2].map(|_| {
            let fanout = Fanout { group, mode: FanoutMode::Ebpf, ignore_outgoing: true };
            let config = RingConfig { fanout: Some(fanout), ..small() };
            let ring = Ring::open(&interface("any"), &config).unwrap();
            group = GroupId::Number(ring.fanout().unwrap().group);
            ring
        });
        let frames: Vec<_> = (0..64)
            .map(|n| {
                let ends = Ends { a: [10, 9, 1, n], b: [10, 9, 2, 1], turned: n % 2 == 0 };
                ethernet(0x0800, &ipv4(ends, 17, &conversation(ends)))
            })
            .collect();
        send("va", &frames);
        let counts = rings.each_mut().map(|ring| collect(ring, 64).len());
        assert_eq!(counts.iter().sum::<usize>(), 64);
        assert!(counts.iter().all(|&count| count >= 16), "{counts:?}");
    });
}
