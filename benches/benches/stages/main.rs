//! ns per packet of each stage of the packet path, on one thread, over generated traffic.
//!
//! `cargo bench -p benches --bench stages -- [quick] [WORD …]`: `quick` takes a tenth of the
//! packets; a word keeps the stages whose name holds it; `instructions` alone counts instructions
//! with valgrind's callgrind instead. Every table is warm: the stage runs once
//! before it is timed, so what is measured is the update of conversations that exist.
#![forbid(unsafe_code)]

mod encode;
mod instructions;
mod path;
mod tcp;
mod two_readers;

use std::hint::black_box;
use std::io::{self, Write as _};
use std::path::Path;

use benches::measure::{Figures, ns_per_packet, pin_to_last_cpu, thread_cpu};
use benches::mix::{Profile, Size};
use benches::pcap_file::Writer;
use benches::traffic::Generator;
use capture::CaptureFile;
use decode::{Link, Packet};

use path::{Frames, NS_BETWEEN_PACKETS, PacketPath, generator};

const REPEATS: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if let [first, rest @ ..] = &words[..]
        && first == "instructions"
    {
        return instructions::main(rest);
    }
    let quick = words.iter().any(|word| word == "quick");
    let words = words.into_iter().filter(|word| word != "quick").collect();
    let mut report = Report { words };
    let pinned = if pin_to_last_cpu() { "pinned" } else { "not pinned" };
    report.line(&format!("CPU ns per packet, {pinned}, {REPEATS} repeats"))?;
    report.line(&format!("{:<44}{:>9}{:>9}{:>9}", "stage", "median", "least", "most"))?;
    let packets = if quick { 400_000 } else { 4_000_000 };
    file_stages(&mut report, packets)?;
    parse_stages(&mut report, packets)?;
    table_stages(&mut report, packets)?;
    tcp_stages(&mut report, packets)?;
    expiry_stages(&mut report, packets)?;
    encode_stages(&mut report)?;
    if report.wants(two_readers::NAME) {
        let line = two_readers::compare(packets, REPEATS)?;
        report.line(&line)?;
    }
    Ok(())
}

/// Prints one line for each stage that was asked for.
struct Report {
    words: Vec<String>,
}

impl Report {
    fn wants(&self, name: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| name.contains(word))
    }

    fn stage(&mut self, name: &str, stage: impl FnMut() -> u64) -> io::Result<()> {
        if !self.wants(name) {
            return Ok(());
        }
        let Figures { median_ns, least_ns, most_ns } = ns_per_packet(REPEATS, stage);
        self.line(&format!("{name:<44}{median_ns:>9.1}{least_ns:>9.1}{most_ns:>9.1}"))
    }

    fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(io::stdout(), "{text}")
    }
}

/// From a file in the page cache to frames.
fn file_stages(report: &mut Report, packets: u64) -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    for (name, size, packets) in [
        ("file walk, 60 B", Size::Fixed(60), packets),
        ("file walk, IMIX", Size::Imix, packets / 4),
    ] {
        if !report.wants(name) {
            continue;
        }
        let path = directory.path().join("frames.pcap");
        write_file(&path, &mut generator(100_000, size, Profile::Uniform), packets)?;
        report.stage(name, || walk(&path).expect("a file that was just written"))?;
    }
    Ok(())
}

fn write_file(path: &Path, generator: &mut Generator, packets: u64) -> io::Result<()> {
    let mut writer = Writer::create(path, capture::LINKTYPE_ETHERNET)?;
    let mut frame = Vec::new();
    for number in 0..packets {
        generator.next_frame(&mut frame);
        writer.write(number * NS_BETWEEN_PACKETS, &frame, frame.len() as u32)?;
    }
    writer.finish()
}

fn walk(path: &Path) -> Result<u64, capture::FileError> {
    let mut file = CaptureFile::open(path)?;
    let mut packets = 0;
    while let Some(mut block) = file.next_block()? {
        for frame in block.frames() {
            black_box(frame.data);
            packets += 1;
        }
    }
    Ok(packets)
}

/// From a frame in memory to a packet.
fn parse_stages(report: &mut Report, packets: u64) -> io::Result<()> {
    for (name, size, packets) in
        [("parse, 60 B", Size::Fixed(60), packets), ("parse, IMIX", Size::Imix, packets / 4)]
    {
        if !report.wants(name) {
            continue;
        }
        let frames = Frames::generate(&mut generator(100_000, size, Profile::Uniform), packets);
        let mut packet = Packet::default();
        report.stage(name, || {
            for frame in frames.iter() {
                let outcome = decode::parse(Link::Ethernet, &frame, &mut packet);
                black_box((&outcome, &packet));
            }
            packets
        })?;
    }
    Ok(())
}

/// From a frame in memory to counters of a conversation.
fn table_stages(report: &mut Report, packets: u64) -> io::Result<()> {
    for (conversations, profile, word) in [
        (1_000, Profile::Uniform, "uniform"),
        (100_000, Profile::Uniform, "uniform"),
        (1_000_000, Profile::Uniform, "uniform"),
        (4_000_000, Profile::Uniform, "uniform"),
        (100_000, Profile::Zipf, "Zipf"),
        (1_000_000, Profile::Zipf, "Zipf"),
    ] {
        let name = format!("parse + table, {conversations} {word}");
        if !report.wants(&name) {
            continue;
        }
        let mut generator = generator(conversations, Size::Fixed(60), profile);
        let frames = Frames::generate(&mut generator, packets);
        let mut path = PacketPath::new(conversations)?;
        report.stage(&name, || {
            for block in frames.blocks() {
                path.update(block);
            }
            packets
        })?;
    }
    Ok(())
}

/// What TCP metrics add to plain counting.
fn tcp_stages(report: &mut Report, packets: u64) -> io::Result<()> {
    for (name, protocol) in [
        ("parse + table, UDP like the next", tcp::Protocol::Udp),
        ("parse + table, TCP in order", tcp::Protocol::Tcp),
    ] {
        if report.wants(name) {
            let rounds = (packets / tcp::packets(1)).min(100) as u32;
            let mut segments = tcp::Segments::new(protocol, rounds)?;
            report.stage(name, || segments.pass())?;
        }
    }
    Ok(())
}

/// The same with the clock hand, and what one visit of every conversation costs.
fn expiry_stages(report: &mut Report, packets: u64) -> io::Result<()> {
    for conversations in [100_000, 1_000_000] {
        let name = format!("parse + table + sweep, {conversations} uniform");
        if !report.wants(&name) {
            continue;
        }
        let mut generator = generator(conversations, Size::Fixed(60), Profile::Uniform);
        let frames = Frames::generate(&mut generator, packets);
        let mut path = PacketPath::new(conversations)?;
        let mut longest_ns = 0;
        report.stage(&name, || {
            for block in frames.blocks() {
                path.update(block);
                longest_ns = longest_ns.max(path.sweep());
            }
            packets
        })?;
        let records = path.records;
        report.line(&format!(
            "    longest sweep {:.2} ms, {records} records",
            longest_ns as f64 / 1e6
        ))?;
        let begun = thread_cpu();
        let now = path.now();
        path.table.tick(now, &mut |record| {
            black_box(record);
        });
        let spent = thread_cpu().saturating_sub(begun);
        report.line(&format!("    one replay tick {:.2} ms", spent.as_secs_f64() * 1e3))?;
    }
    Ok(())
}

/// From flows to the body that is posted, a record and not a packet at a time.
fn encode_stages(report: &mut Report) -> Result<(), Box<dyn std::error::Error>> {
    let flows = encode::flows();
    let (mut encoder, mut body) = (kflow::wire::Encoder::new(), Vec::new());
    report.stage("kflow encode, a record", || {
        body.clear();
        encoder.encode_body(&flows, &mut body).expect("a batch within the limit");
        flows.len() as u64
    })?;
    body.clear();
    encoder.encode_body(&flows, &mut body)?;
    report
        .stage("gzip level 1, a record", || {
            black_box(encode::gzip(&body));
            flows.len() as u64
        })
        .map_err(Into::into)
}
