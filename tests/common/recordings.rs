//! Recordings of our own: small captures made in code, one for each way of packing IP, and the
//! file formats they are written in.

use std::io::Write;
use std::path::{Path, PathBuf};

use benches::pcap_file::Writer;
use etherparse::{Ipv4Header, Ipv6Header, PacketBuilder};
use flate2::Compression;
use flate2::write::GzEncoder;

/// MAC of the host that the probe stands for.
pub const LOCAL: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER: [u8; 6] = [2, 0, 0, 0, 0, 2];
const CLIENT: [u8; 4] = [192, 0, 2, 1];
const SERVER: [u8; 4] = [198, 51, 100, 7];
const CLIENT_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const SERVER_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
/// 2026-01-02T03:04:05Z; frames follow each other by a millisecond.
const START_NS: u64 = 1_767_323_045_000_000_000;

pub const IPV4: u16 = 0x0800;
pub const IPV6: u16 = 0x86dd;
pub const ETHERNET: u32 = 1;

/// A capture that has not been written yet.
pub struct Recording {
    pub name: &'static str,
    pub linktype: u32,
    pub frames: Vec<Vec<u8>>,
}

/// One recording for each kind of frame.
pub fn all() -> Vec<Recording> {
    let ethernet = |name, frames| Recording { name, linktype: ETHERNET, frames };
    vec![
        ethernet("plain", plain()),
        ethernet("vlan", vec![tagged(udp(40, 1), &[(0x8100, 100)]), udp(40, 1)]),
        ethernet("qinq", qinq()),
        ethernet("mpls", vec![mpls(udp(99, 2), 1), mpls(udp(99, 2), 3)]),
        ethernet("pppoe", vec![pppoe(udp(30, 3))]),
        ethernet("extension_headers", extension_headers()),
        ethernet("fragments_v4", fragments_v4()),
        ethernet("fragments_v6", fragments_v6()),
        ethernet("tunnels", tunnels()),
        ethernet("padded", padded()),
        ethernet("not_ip", vec![arp(), udp(10, 4), spanning_tree()]),
        Recording { name: "raw", linktype: 101, frames: raw() },
        Recording { name: "null", linktype: 0, frames: loopback(u32::to_le_bytes) },
        Recording { name: "loop", linktype: 108, frames: loopback(u32::to_be_bytes) },
        Recording { name: "cooked", linktype: 113, frames: cooked() },
        Recording { name: "cooked2", linktype: 276, frames: cooked2() },
    ]
}

impl Recording {
    /// Writes a classic capture file.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join(format!("{}.pcap", self.name));
        let mut writer = Writer::create(&path, self.linktype).unwrap();
        for (time_ns, frame) in self.timed() {
            writer.write(time_ns, frame, frame.len() as u32).unwrap();
        }
        writer.finish().unwrap();
        path
    }

    /// The same frames as a pcapng file of either byte order.
    pub fn pcapng(&self, big_endian: bool) -> Vec<u8> {
        let file = Pcapng { big_endian };
        let mut bytes = file.block(0x0a0d_0d0a, &file.words(&[0x1a2b_3c4d, 0x0001_0000, !0, !0]));
        if !big_endian {
            // Major and minor version are 16 bits each.
            bytes[12..16].copy_from_slice(&[1, 0, 0, 0]);
        }
        // Interface: link type, snap length, resolution 10⁻⁹.
        let mut interface = match big_endian {
            true => (self.linktype << 16).to_be_bytes().to_vec(),
            false => self.linktype.to_le_bytes().to_vec(),
        };
        interface.extend(file.words(&[262_144]));
        interface.extend(if big_endian {
            [0, 9, 0, 1, 9, 0, 0, 0]
        } else {
            [9, 0, 1, 0, 9, 0, 0, 0]
        });
        bytes.extend(file.block(1, &interface));
        for (time_ns, frame) in self.timed() {
            let length = frame.len() as u32;
            let times = [(time_ns >> 32) as u32, time_ns as u32];
            let mut body = file.words(&[0, times[0], times[1], length, length]);
            body.extend(frame);
            body.resize(body.len().next_multiple_of(4), 0);
            bytes.extend(file.block(6, &body));
        }
        bytes
    }

    fn timed(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let times = (0..).map(|number: u64| START_NS + number * 1_000_000);
        times.zip(self.frames.iter().map(Vec::as_slice))
    }
}

struct Pcapng {
    big_endian: bool,
}

impl Pcapng {
    fn words(&self, words: &[u32]) -> Vec<u8> {
        let order = if self.big_endian { u32::to_be_bytes } else { u32::to_le_bytes };
        words.iter().flat_map(|word| order(*word)).collect()
    }

    fn block(&self, kind: u32, body: &[u8]) -> Vec<u8> {
        let length = body.len() as u32 + 12;
        [self.words(&[kind, length]), body.to_vec(), self.words(&[length])].concat()
    }
}

/// A file compressed as `gzip` does.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An Ethernet frame from the local host to its peer.
pub fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&PEER[..], &LOCAL, &ether_type.to_be_bytes(), payload].concat()
}

/// A UDP datagram over IPv4 with so much payload, from port 40000 + `n` to 5000.
pub fn udp(payload_bytes: usize, n: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(LOCAL, PEER)
        .ipv4(CLIENT, SERVER, 64)
        .udp(40_000 + n, 5000)
        .write(&mut frame, &vec![0xa5; payload_bytes])
        .unwrap();
    frame
}

/// The frame with these tags, outermost first: tag protocol and VLAN id.
pub fn tagged(mut frame: Vec<u8>, tags: &[(u16, u16)]) -> Vec<u8> {
    for (protocol, id) in tags.iter().rev() {
        // Priority 5, so that the id has to be cut out.
        let control = 0xa000 | id;
        let tag = [protocol.to_be_bytes(), control.to_be_bytes()].concat();
        frame.splice(12..12, tag);
    }
    frame
}

/// TCP both ways, UDP over IPv6, ICMP of both versions, IGMP, SCTP.
fn plain() -> Vec<Vec<u8>> {
    let mut frames = vec![udp(0, 9), udp(1400, 9)];
    let mut build = |step: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = Vec::new();
        step(&mut frame);
        frames.push(frame);
    };
    let v4 = || PacketBuilder::ethernet2(LOCAL, PEER).ipv4(CLIENT, SERVER, 64);
    let v6 = || PacketBuilder::ethernet2(LOCAL, PEER).ipv6(CLIENT_V6, SERVER_V6, 64);
    build(&|out| v4().tcp(40_001, 25, 7, 1000).syn().write(out, &[]).unwrap());
    build(&|out| {
        let back = PacketBuilder::ethernet2(PEER, LOCAL).ipv4(SERVER, CLIENT, 64);
        back.tcp(25, 40_001, 70, 1000).syn().ack(8).write(out, &[]).unwrap();
    });
    build(&|out| v4().tcp(40_001, 25, 8, 1000).ack(71).psh().write(out, b"EHLO").unwrap());
    build(&|out| v6().udp(40_002, 53).write(out, &[1; 50]).unwrap());
    build(&|out| v4().icmpv4_echo_request(1, 1).write(out, &[2; 56]).unwrap());
    build(&|out| v6().icmpv6_echo_reply(1, 1).write(out, &[2; 56]).unwrap());
    frames.push(ethernet(IPV4, &ipv4(2, 0, false, &[0x16, 0, 0, 0, 224, 0, 0, 5])));
    frames.push(ethernet(IPV4, &ipv4(132, 0, false, &[0x20; 32])));
    frames
}

fn qinq() -> Vec<Vec<u8>> {
    vec![
        tagged(udp(40, 1), &[(0x88a8, 200), (0x8100, 300)]),
        tagged(udp(40, 1), &[(0x8100, 201), (0x8100, 300)]),
        tagged(udp(40, 2), &[(0x9100, 202), (0x8100, 301)]),
    ]
}

fn mpls(mut frame: Vec<u8>, labels: u32) -> Vec<u8> {
    frame[12..14].copy_from_slice(&[0x88, 0x47]);
    for depth in 0..labels {
        // Label, then bottom of stack only in the first that is put in, then a time to live of 64.
        let word = (1000 + depth) << 12 | u32::from(depth == 0) << 8 | 64;
        frame.splice(14..14, word.to_be_bytes());
    }
    frame
}

fn pppoe(mut frame: Vec<u8>) -> Vec<u8> {
    frame[12..14].copy_from_slice(&[0x88, 0x64]);
    let length = (frame.len() - 14 + 2) as u16;
    let [high, low] = length.to_be_bytes();
    frame.splice(14..14, [0x11, 0, 0, 1, high, low, 0x00, 0x21]);
    frame
}

/// An IPv4 packet; `offset_bytes` and `more` make it a fragment of datagram 77.
fn ipv4(protocol: u8, offset_bytes: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut header =
        Ipv4Header::new(payload.len() as u16, 64, protocol.into(), CLIENT, SERVER).unwrap();
    header.identification = 77;
    header.dont_fragment = false;
    header.more_fragments = more;
    header.fragment_offset = (offset_bytes / 8).try_into().unwrap();
    header.header_checksum = header.calc_header_checksum();
    [&header.to_bytes()[..], payload].concat()
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let header = Ipv6Header {
        payload_length: payload.len() as u16,
        next_header: next.into(),
        hop_limit: 64,
        source: CLIENT_V6,
        destination: SERVER_V6,
        ..Ipv6Header::default()
    };
    [&header.to_bytes()[..], payload].concat()
}

/// UDP from 40100 to `dst_port`; the checksum is left out.
fn datagram(dst_port: u16, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() + 8) as u16;
    let header = [40_100, dst_port, length, 0].map(u16::to_be_bytes).concat();
    [header, payload.to_vec()].concat()
}

/// Hop-by-hop and routing headers, destination options, an atomic fragment (RFC 6946), before UDP.
/// The longest chain ends at byte 94.
fn extension_headers() -> Vec<Vec<u8>> {
    // PadN of four octets fills the eight of a hop-by-hop or destination header.
    let options = |next: u8| vec![next, 0, 1, 4, 0, 0, 0, 0];
    let routing = |next: u8| {
        vec![next, 2, 4, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]
    };
    let atomic = |next: u8| vec![next, 0, 0, 0, 0, 0, 0, 9];
    let udp = datagram(5000, &[7; 33]);
    let chains = [
        (0, [options(17), udp.clone()].concat()),
        (60, [options(17), udp.clone()].concat()),
        (0, [options(43), routing(17), udp.clone()].concat()),
        (44, [atomic(17), udp].concat()),
    ];
    chains.iter().map(|(next, payload)| ethernet(IPV6, &ipv6(*next, payload))).collect()
}

/// 3,008 bytes of UDP in three fragments, the last one first.
fn fragments_v4() -> Vec<Vec<u8>> {
    let whole = datagram(5001, &[3; 3000]);
    let part = |from: usize, to: usize| {
        ethernet(IPV4, &ipv4(17, from as u16, to < whole.len(), &whole[from..to]))
    };
    vec![part(2400, whole.len()), part(1200, 2400), part(0, 1200)]
}

fn fragments_v6() -> Vec<Vec<u8>> {
    let whole = datagram(5002, &[4; 3000]);
    let part = |from: usize, to: usize| {
        let place = from as u16 | u16::from(to < whole.len());
        let [high, low] = place.to_be_bytes();
        let header = [17, 0, high, low, 0, 1, 0, 1];
        ethernet(IPV6, &ipv6(44, &[&header[..], &whole[from..to]].concat()))
    };
    vec![part(0, 1200), part(2400, whole.len()), part(1200, 2400)]
}

/// GRE and IP in IP: the outer packet counts, without ports.
fn tunnels() -> Vec<Vec<u8>> {
    let inner = ipv4(17, 0, false, &datagram(5003, &[5; 20]));
    let gre = [&[0, 0, 8, 0][..], &inner].concat();
    vec![
        ethernet(IPV4, &ipv4(47, 0, false, &gre)),
        ethernet(IPV4, &ipv4(4, 0, false, &inner)),
        ethernet(IPV6, &ipv6(4, &inner)),
    ]
}

/// Short packets in frames that the sender filled up to 60 bytes.
fn padded() -> Vec<Vec<u8>> {
    let short = |frame: Vec<u8>| {
        assert!(frame.len() < 60, "nothing to fill");
        [frame, vec![0xee; 60]].concat()[..60].to_vec()
    };
    vec![
        short(udp(1, 5)),
        short(ethernet(
            IPV4,
            &ipv4(
                6,
                0,
                false,
                &[0x9c, 0x44, 0, 25, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x11, 1, 0, 0, 0, 0, 0],
            ),
        )),
        short(ethernet(IPV4, &ipv4(17, 0, false, &datagram(5004, b"")))),
    ]
}

fn arp() -> Vec<u8> {
    let body =
        [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 9];
    ethernet(0x0806, &body)
}

/// IEEE 802.3: a length where Ethernet II has the type.
fn spanning_tree() -> Vec<u8> {
    ethernet(38, &[&[0x42, 0x42, 3][..], &[0; 43]].concat())
}

fn raw() -> Vec<Vec<u8>> {
    let udp = datagram(5005, &[6; 9]);
    vec![ipv4(17, 0, false, &udp), ipv6(17, &udp)]
}

fn loopback(order: fn(u32) -> [u8; 4]) -> Vec<Vec<u8>> {
    let [v4, v6] = [2, 30].map(|family| order(family).to_vec());
    raw().into_iter().zip([v4, v6]).map(|(packet, family)| [family, packet].concat()).collect()
}

fn cooked() -> Vec<Vec<u8>> {
    let header = |protocol: u16| {
        [&[0, 4, 0, 1, 0, 6][..], &LOCAL, &[0, 0], &protocol.to_be_bytes()].concat()
    };
    let packets = raw().into_iter().zip([IPV4, IPV6]);
    packets.map(|(packet, protocol)| [header(protocol), packet].concat()).collect()
}

fn cooked2() -> Vec<Vec<u8>> {
    let header = |protocol: u16| {
        let front = [&protocol.to_be_bytes()[..], &[0, 0, 0, 0, 0, 2, 0, 1, 4, 6]].concat();
        [&front[..], &LOCAL, &[0, 0]].concat()
    };
    let packets = raw().into_iter().zip([IPV4, IPV6]);
    packets.map(|(packet, protocol)| [header(protocol), packet].concat()).collect()
}
