//! The reassembler against a model that knows each byte of each datagram: same fragments used,
//! same datagrams, same bytes, every used fragment either joined or credited, bounds kept.
//!
//! Input: 8 bytes per step, little-endian: time step (seconds / 4; bit 7: back), datagram
//! (bits 0–2, bit 3: IPv6), offset with the more flag as in IPv6 (2), payload length (2),
//! captured part of it in 1/255 (1), 1 for a payload above 2,047 (1).
#![no_main]

use std::collections::BTreeMap;

use decode::fragments::Reassembler;
use decode::{Fragment, Packet};
use libfuzzer_sys::fuzz_target;

const MAX_STEPS: usize = 64;
const MAX_DATAGRAMS: usize = 5;
const MAX_BYTES: usize = 1 << 20;
/// A protocol without ports, so that all of a datagram is payload.
const PROTOCOL: u8 = 253;

/// One byte of a datagram in the model.
#[derive(Clone, Copy, PartialEq)]
enum Cell {
    Hole,
    NotCaptured,
    Byte(u8),
}

struct Model {
    cells: Vec<Cell>,
    filled: usize,
    /// First byte beyond all that was received.
    top: usize,
    end: Option<usize>,
    packets: u32,
    bytes: u64,
}

impl Model {
    fn new() -> Self {
        Self { cells: vec![Cell::Hole; 65_536], filled: 0, top: 0, end: None, packets: 0, bytes: 0 }
    }

    /// True when the fragment brings something new.
    fn take(&mut self, from: usize, packet: &Packet, more: bool, captured: &[u8]) -> bool {
        let to = from + packet.payload_len as usize;
        let bounded = to.min(self.end.unwrap_or(to));
        let filled_before = self.filled;
        let cells = self.cells.get_mut(from..bounded).unwrap_or_default();
        for (i, cell) in cells.iter_mut().enumerate() {
            if *cell == Cell::Hole {
                *cell = captured.get(i).map_or(Cell::NotCaptured, |&byte| Cell::Byte(byte));
                self.filled += 1;
            }
        }
        if self.filled == filled_before {
            return false;
        }
        if !more && self.end.is_none() && to > self.top {
            self.end = Some(to);
        }
        self.top = self.top.max(bounded);
        self.packets += packet.packets;
        self.bytes += packet.bytes;
        true
    }

    fn is_complete(&self) -> bool {
        self.end == Some(self.filled)
    }

    fn prefix(&self) -> Vec<u8> {
        let bytes = self.cells.iter().map_while(|cell| match cell {
            Cell::Byte(byte) => Some(*byte),
            _ => None,
        });
        bytes.take(self.end.unwrap_or(0)).collect()
    }
}

fuzz_target!(|input: &[u8]| {
    let mut reassembler = Reassembler::with_limits(MAX_DATAGRAMS, MAX_BYTES);
    let mut models: BTreeMap<u8, Model> = BTreeMap::new();
    let mut now_ns = 1_000_000_000_000_u64;
    for (number, step) in input.chunks_exact(8).take(MAX_STEPS).enumerate() {
        let moved_ns = u64::from(step[0] & 0x7f) * 250_000_000;
        now_ns = if step[0] & 0x80 == 0 { now_ns + moved_ns } else { now_ns - moved_ns };
        let place = u16::from_le_bytes([step[2], step[3]]);
        // Long payloads are rare, since the model takes its time over them.
        let longest = if step[7] == 1 { u16::MAX } else { 2047 };
        let payload_len = u32::from(u16::from_le_bytes([step[4], step[5]]) & longest);
        let (name, more) = (step[1] & 0x0f, place & 1 == 1);
        let fragment = Fragment { id: 7, offset_bytes: place & 0xfff8, more };
        let packet = packet(name, payload_len);
        let payload = vec![number as u8; payload_len as usize * usize::from(step[6]) / 255];

        let mut credited = Vec::new();
        let mut credit = |packet: &Packet| credited.push(*packet);
        reassembler.expire(now_ns, &mut credit);
        let used_before = reassembler.stats().used;
        let joined = reassembler.push(now_ns, &packet, &fragment, &payload, &mut credit);
        let joined = joined.map(|datagram| (datagram.packet, datagram.bytes.to_vec()));
        let used = reassembler.stats().used > used_before;

        settle(&mut models, &credited);
        let last = u32::from(fragment.offset_bytes) + payload_len;
        if payload_len == 0 || last == 1 || last > 65_535 {
            assert!(!used && joined.is_none());
            continue;
        }
        let model = models.entry(name).or_insert_with(Model::new);
        assert_eq!(used, model.take(usize::from(fragment.offset_bytes), &packet, more, &payload));
        assert_eq!(joined.is_some(), model.is_complete());
        if let Some((packet, bytes)) = joined {
            assert_eq!((packet.packets, packet.fragments), (model.packets, model.packets));
            assert_eq!((packet.bytes, packet.src[15]), (model.bytes, name));
            assert_eq!(Some(packet.payload_len as usize), model.end);
            assert_eq!(packet.payload_captured as usize, bytes.len());
            assert_eq!(bytes, model.prefix());
            models.remove(&name);
        }
        assert_eq!(reassembler.len(), models.len());
        assert!(reassembler.len() <= MAX_DATAGRAMS && reassembler.memory_bytes() <= MAX_BYTES);
    }
    let mut credited = Vec::new();
    reassembler.flush(&mut |packet| credited.push(*packet));
    settle(&mut models, &credited);
    assert!(models.is_empty() && reassembler.is_empty());
    assert_eq!(reassembler.memory_bytes(), 0);
});

fn packet(name: u8, payload_len: u32) -> Packet {
    let mut packet = Packet {
        ipv6: name & 8 != 0,
        protocol: PROTOCOL,
        packets: 1,
        fragments: 1,
        bytes: 20 + u64::from(payload_len),
        payload_len,
        ..Packet::default()
    };
    packet.src[15] = name;
    packet
}

/// What is credited is all that the datagram had.
fn settle(models: &mut BTreeMap<u8, Model>, credited: &[Packet]) {
    for packet in credited {
        let model = models.remove(&packet.src[15]).expect("credited once");
        assert_eq!((packet.packets, packet.bytes), (model.packets, model.bytes));
        assert_eq!((packet.fragments, packet.payload_len), (model.packets, 0));
        assert_eq!((packet.src_port, packet.dst_port), (0, 0));
    }
}
