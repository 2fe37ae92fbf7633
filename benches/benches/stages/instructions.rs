//! Instructions per packet by stage: the difference of two runs under callgrind.
//!
//! The same set-up with one pass and with two passes over the frames; what the second run has
//! more belongs to the stage. Unlike time, the count does not depend on neighbours.

use std::error::Error;
use std::hint::black_box;
use std::io::Write as _;
use std::process::Command;

use benches::mix::{Profile, Size};
use decode::{Link, Packet};

use crate::path::{Frames, PacketPath, generator};
use crate::tcp;

const PACKETS: u64 = 20_000;
/// Rounds of the last two stages, for about as many packets.
const ROUNDS: u32 = 7;
const STAGES: [&str; 6] =
    ["parse", "table-1k", "table-100k", "table-sweep-100k", "udp-in-order", "tcp-in-order"];

/// Without words: counts every stage. With a stage and a number of passes: runs just that.
pub fn main(words: &[String]) -> Result<(), Box<dyn Error>> {
    if let [stage, passes] = words {
        return run(stage, passes.parse()?);
    }
    let mut out = std::io::stdout();
    writeln!(out, "{:<24}{:>24}", "stage, 60 B", "instructions a packet")?;
    for stage in STAGES {
        let (once, thrice) = (count(stage, 1)?, count(stage, 3)?);
        let packets = if stage.ends_with("in-order") { tcp::packets(ROUNDS) } else { PACKETS };
        let each = thrice.saturating_sub(once) as f64 / (2 * packets) as f64;
        writeln!(out, "{stage:<24}{each:>24.1}")?;
    }
    Ok(())
}

/// Instructions of a whole run.
fn count(stage: &str, passes: u32) -> Result<u64, Box<dyn Error>> {
    let program = std::env::current_exe()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["instructions", stage, &passes.to_string()])
        .output()
        .map_err(|error| format!("valgrind is needed: {error}"))?;
    let log = String::from_utf8_lossy(&output.stderr);
    let total = log.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, n)| n.trim());
    match total {
        Some(total) if output.status.success() => Ok(total.parse()?),
        _ => Err(format!("callgrind failed: {log}").into()),
    }
}

fn run(stage: &str, passes: u32) -> Result<(), Box<dyn Error>> {
    if let Some(protocol) = tcp::Protocol::of(stage) {
        let mut segments = tcp::Segments::new(protocol, ROUNDS)?;
        for _ in 0..passes {
            segments.pass();
        }
        return Ok(());
    }
    let conversations = if stage == "table-1k" { 1000 } else { 100_000 };
    let mut source = generator(conversations, Size::Fixed(60), Profile::Uniform);
    let frames = Frames::generate(&mut source, PACKETS);
    let mut path = PacketPath::new(conversations)?;
    let mut packet = Packet::default();
    for _ in 0..passes {
        if stage == "parse" {
            for frame in frames.iter() {
                let outcome = decode::parse(Link::Ethernet, &frame, &mut packet);
                black_box((&outcome, &packet));
            }
            continue;
        }
        for block in frames.blocks() {
            path.update(block);
            if stage == "table-sweep-100k" {
                path.sweep();
            }
        }
    }
    Ok(())
}
