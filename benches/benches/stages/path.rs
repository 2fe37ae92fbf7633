//! Frames in memory, and what a reader does with them.

use std::hint::black_box;
use std::io;

use benches::measure::thread_cpu;
use benches::mix::{Profile, Size};
use benches::traffic::{Generator, Plan};
use decode::{Frame, Link, Outcome};
use flowtable::{Config, Cut, FlowTable, Group, Moment, Origin, Sampling};

/// Virtual rate, 1 Mpps: what moves the clock that the table sees.
pub const NS_BETWEEN_PACKETS: u64 = 1000;
/// Packets between two calls of the sweep: about one block of the ring.
const PACKETS_PER_BLOCK: usize = 4096;

/// The generator of a stage.
pub fn generator(conversations: u32, size: Size, profile: Profile) -> Generator {
    generator_of(conversations, size, profile, 1)
}

/// The same with a seed, for stages that need several.
pub fn generator_of(conversations: u32, size: Size, profile: Profile, seed: u64) -> Generator {
    let plan = Plan { conversations, unique: false, size, profile, ipv6_percent: 0, seed };
    Generator::new(plan).expect("the plan of a benchmark is in range")
}

/// Frames back to back in memory.
pub struct Frames {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Frames {
    pub fn generate(generator: &mut Generator, packets: u64) -> Frames {
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(packets as usize));
        let mut frame = Vec::new();
        for _ in 0..packets {
            generator.next_frame(&mut frame);
            bytes.extend_from_slice(&frame);
            ends.push(bytes.len());
        }
        Frames { bytes, ends }
    }

    pub fn iter(&self) -> impl Iterator<Item = Frame<'_>> {
        self.range(0, self.ends.len())
    }

    /// Runs of frames, each like a block of the ring.
    pub fn blocks(&self) -> impl Iterator<Item = impl Iterator<Item = Frame<'_>>> {
        (0..self.ends.len())
            .step_by(PACKETS_PER_BLOCK)
            .map(|from| self.range(from, (from + PACKETS_PER_BLOCK).min(self.ends.len())))
    }

    pub fn range(&self, from: usize, to: usize) -> impl Iterator<Item = Frame<'_>> {
        let mut start = if from == 0 { 0 } else { self.ends[from - 1] };
        self.ends[from..to].iter().map(move |&end| {
            let data = &self.bytes[start..end];
            start = end;
            Frame { data, wire_len: data.len() as u32, vlan: None, gso_size: 0, gso_hdr_len: 0 }
        })
    }
}

/// What a reader does with a block, without the ring and the exporter.
pub struct PacketPath {
    pub table: FlowTable,
    frames: u64,
    pub records: u64,
}

impl PacketPath {
    pub fn new(conversations: u32) -> io::Result<PacketPath> {
        let table = FlowTable::new(Config {
            capacity: conversations as usize,
            hash_key: 0x5eed,
            local_mac: None,
            sampling: Sampling::new(1),
            ids_key: 1,
            ..Config::default()
        })?;
        Ok(PacketPath { table, frames: 0, records: 0 })
    }

    pub fn now(&self) -> Moment {
        let ns = self.frames * NS_BETWEEN_PACKETS;
        Moment { elapsed_ns: ns, wall_ns: ns }
    }

    pub fn update<'a>(&mut self, block: impl Iterator<Item = Frame<'a>>) {
        let PacketPath { table, records, .. } = self;
        let mut group = Group::default();
        let mut sink = |cut: Cut<'_>| {
            *records += 1;
            black_box(cut);
        };
        for frame in block {
            self.frames += 1;
            let ns = self.frames * NS_BETWEEN_PACKETS;
            if decode::parse(Link::Ethernet, &frame, group.slot()) == Outcome::Packet {
                let now = Moment { elapsed_ns: ns, wall_ns: ns };
                let origin = Origin { now, time_ns: ns, frame: self.frames, gso_size: 0 };
                group.commit(frame.data, origin);
            }
            if group.is_full() {
                table.update(&group, &mut sink);
                group.clear();
            }
        }
        table.update(&group, &mut sink);
    }

    /// Lets the clock hand go on; answers the CPU time of the call in ns.
    pub fn sweep(&mut self) -> u128 {
        let begun = thread_cpu();
        let now = self.now();
        let records = &mut self.records;
        self.table.sweep(now, &mut |cut| {
            *records += 1;
            black_box(cut);
        });
        thread_cpu().saturating_sub(begun).as_nanos()
    }
}
