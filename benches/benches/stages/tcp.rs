//! What TCP metrics cost: segments in order through the table, against the same packets as UDP,
//! which the table only counts.
//!
//! Each conversation sends two full segments and has them acknowledged, with timestamps, as most
//! TCP is. Sequence numbers go on from pass to pass; the UDP frames are of the same size and
//! written to in the same places, so that the difference is the metrics alone.

use std::hint::black_box;
use std::io;

use decode::Frame;
use flowtable::{Config, Cut, FlowTable, Group, Moment, Origin, Sampling};

use crate::path::NS_BETWEEN_PACKETS;

pub const CONVERSATIONS: u32 = 1000;
/// Ethernet, IPv4, TCP with timestamps; the payload is cut off, as a snap length does.
const CAPTURED_BYTES: usize = 14 + 20 + 32;
const PAYLOAD_BYTES: u32 = 1448;
/// Where frames differ from pass to pass: past the ports, so that UDP's are not touched.
const SEQ_AT: usize = 38;
const UDP_SPARE_AT: usize = 46;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    /// Of a stage by its name.
    pub fn of(stage: &str) -> Option<Self> {
        match stage {
            "tcp-in-order" => Some(Self::Tcp),
            "udp-in-order" => Some(Self::Udp),
            _ => None,
        }
    }
}

/// Packets of so many rounds.
pub fn packets(rounds: u32) -> u64 {
    u64::from(3 * rounds * CONVERSATIONS)
}

/// Frames of all conversations in turn, and a table that knows them.
pub struct Segments {
    protocol: Protocol,
    frames: Vec<[u8; CAPTURED_BYTES]>,
    table: FlowTable,
    packets: u64,
}

impl Segments {
    /// `rounds` times two segments and an acknowledgment of each conversation. Opened by a
    /// handshake, in the table.
    pub fn new(protocol: Protocol, rounds: u32) -> io::Result<Self> {
        let table = FlowTable::new(Config {
            capacity: CONVERSATIONS as usize,
            hash_key: 0x5eed,
            local_mac: None,
            sampling: Sampling::new(1),
            ids_key: 1,
            ..Config::default()
        })?;
        let mut segments = Self { protocol, frames: Vec::new(), table, packets: 0 };
        for step in 0..3 {
            let opening = (0..CONVERSATIONS).map(|number| opening(protocol, number, step));
            segments.frames.extend(opening);
        }
        segments.update();
        segments.frames.clear();
        for round in 0..rounds {
            for part in 0..3 {
                let part = |number| segment(protocol, number, round * 2, part);
                segments.frames.extend((0..CONVERSATIONS).map(part));
            }
        }
        Ok(segments)
    }

    /// All frames once, then their numbers go on.
    pub fn pass(&mut self) -> u64 {
        self.update();
        let rounds = self.frames.len() as u32 / (3 * CONVERSATIONS);
        let bytes = rounds * 2 * PAYLOAD_BYTES;
        for frame in &mut self.frames {
            let is_ack = frame[26 + 3] == 2;
            let at = match self.protocol {
                Protocol::Tcp if is_ack => SEQ_AT + 4,
                Protocol::Tcp => SEQ_AT,
                Protocol::Udp => UDP_SPARE_AT,
            };
            if let Some(number) = frame.get_mut(at..at + 4).and_then(<[u8]>::first_chunk_mut) {
                *number = u32::from_be_bytes(*number).wrapping_add(bytes).to_be_bytes();
            }
        }
        self.frames.len() as u64
    }

    fn update(&mut self) {
        let Self { frames, table, packets, .. } = self;
        let mut sink = |cut: Cut<'_>| {
            black_box(cut);
        };
        let mut group = Group::default();
        for data in frames {
            *packets += 1;
            let ns = *packets * NS_BETWEEN_PACKETS;
            let wire_len = data.len() as u32 + PAYLOAD_BYTES;
            let frame = Frame { data: &data[..], wire_len, ..Frame::default() };
            let outcome = decode::parse(decode::Link::Ethernet, &frame, group.slot());
            assert_eq!(outcome, decode::Outcome::Packet);
            let now = Moment { elapsed_ns: ns, wall_ns: ns };
            group.commit(&data[..], Origin { now, time_ns: ns, frame: *packets, gso_size: 0 });
            if group.is_full() {
                table.update(&group, &mut sink);
                group.clear();
            }
        }
        table.update(&group, &mut sink);
    }
}

/// The handshake, step by step.
fn opening(protocol: Protocol, number: u32, step: u32) -> [u8; CAPTURED_BYTES] {
    let (seq, ack, flags) =
        [(999, 0, 0x02), (6_999, 1_000, 0x12), (1_000, 7_000, 0x10)][step as usize];
    frame(protocol, number, step == 1, 0, [seq, ack], flags)
}

/// Two segments, then their acknowledgment.
fn segment(protocol: Protocol, number: u32, before: u32, part: u32) -> [u8; CAPTURED_BYTES] {
    let sent = |segments: u32| 1_000 + segments * PAYLOAD_BYTES;
    if part == 2 {
        frame(protocol, number, true, 0, [7_000, sent(before + 2)], 0x10)
    } else {
        frame(protocol, number, false, PAYLOAD_BYTES, [sent(before + part), 7_000], 0x18)
    }
}

fn frame(
    protocol: Protocol,
    number: u32,
    back: bool,
    payload_bytes: u32,
    [seq, ack]: [u32; 2],
    flags: u8,
) -> [u8; CAPTURED_BYTES] {
    let mut frame = [0; CAPTURED_BYTES];
    let mut put = |at: usize, bytes: &[u8]| frame[at..at + bytes.len()].copy_from_slice(bytes);
    put(12, &[8, 0, 0x45, 0]);
    let ip_bytes = (20 + 32 + payload_bytes) as u16;
    put(16, &ip_bytes.to_be_bytes());
    put(20, &[0x40, 0, 64, if protocol == Protocol::Tcp { 6 } else { 17 }]);
    let [_, _, high, low] = number.to_be_bytes();
    let ends = [[10, high, low, 1], [10, high, low, 2]];
    let ports = [40_000_u16.to_be_bytes(), 5201_u16.to_be_bytes()];
    let (from, to) = if back { (1, 0) } else { (0, 1) };
    put(26, &ends[from]);
    put(30, &ends[to]);
    put(34, &ports[from]);
    put(36, &ports[to]);
    if protocol == Protocol::Udp {
        put(38, &(ip_bytes - 20).to_be_bytes());
        return frame;
    }
    put(SEQ_AT, &seq.to_be_bytes());
    put(SEQ_AT + 4, &ack.to_be_bytes());
    put(46, &[0x80, flags, 0x01, 0xf5]);
    put(54, &[1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9]);
    frame
}
