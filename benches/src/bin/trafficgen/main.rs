//! The `trafficgen` command: one line of JSON on standard output says what was done.
#![forbid(unsafe_code)]

mod args;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use benches::corrupt::{Corruptor, Damage};
use benches::pcap_file::Writer;
use benches::send::{Sender, ip_bytes};
use benches::traffic::{Generator, Plan};
use benches::transactions::Transactions;
use capture::CaptureFile;
use signal_hook::consts::{SIGINT, SIGTERM};

use args::{Job, Source};

/// Timestamp of the first generated frame: 2026-01-01T00:00:00Z.
const START_NS: u64 = 1_767_225_600_000_000_000;

fn main() -> ExitCode {
    let done = match args::parse() {
        Job::Pcap { out, packets, rate_pps, plan } => write_capture(&out, packets, rate_pps, plan),
        Job::Transactions { out, packets, rate_pps, seed } => {
            write_transactions(&out, packets, rate_pps, seed)
        }
        Job::Corrupt { input, out, seed } => corrupt(&input, &out, seed),
        Job::Send { interface, source, rate_pps } => send(&interface, source, rate_pps),
    };
    match done.and_then(|line| writeln!(std::io::stdout(), "{line}").context("standard output")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trafficgen: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes; a cause that the text already names is not repeated.
fn one_line(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |line, cause| match line {
        line if line.is_empty() => cause,
        line if line.contains(&cause) => line,
        line => format!("{line}: {cause}"),
    })
}

fn write_capture(
    out: &Path,
    packets: u64,
    rate_pps: u64,
    plan: Plan,
) -> Result<String, anyhow::Error> {
    let mut generator = Generator::new(plan)?;
    let place = || out.display().to_string();
    let mut writer = Writer::create(out, capture::LINKTYPE_ETHERNET).with_context(place)?;
    let mut frame = Vec::new();
    for number in 0..packets {
        generator.next_frame(&mut frame);
        writer.write(time_ns(number, rate_pps), &frame, frame.len() as u32).with_context(place)?;
    }
    writer.finish().with_context(place)?;
    let truth = generator.truth();
    Ok(format!(
        r#"{{"packets":{},"ip_bytes":{},"frame_bytes":{},"conversations":{},"directions":{}}}"#,
        truth.packets, truth.ip_bytes, truth.frame_bytes, truth.conversations, truth.directions
    ))
}

fn write_transactions(
    out: &Path,
    packets: u64,
    rate_pps: u64,
    seed: u64,
) -> Result<String, anyhow::Error> {
    let mut source = Transactions::new(seed);
    let place = || out.display().to_string();
    let mut writer = Writer::create(out, capture::LINKTYPE_ETHERNET).with_context(place)?;
    for number in 0..packets {
        let frame = source.next_frame();
        writer.write(time_ns(number, rate_pps), &frame, frame.len() as u32).with_context(place)?;
    }
    writer.finish().with_context(place)?;
    let counts = source.counts();
    let (packets, transactions) = (counts.packets, counts.transactions);
    Ok(format!(r#"{{"packets":{packets},"transactions":{transactions}}}"#))
}

/// Timestamp of a generated frame.
fn time_ns(number: u64, rate_pps: u64) -> u64 {
    START_NS + (u128::from(number) * 1_000_000_000 / u128::from(rate_pps)) as u64
}

fn corrupt(input: &Path, out: &Path, seed: u64) -> Result<String, anyhow::Error> {
    let mut file = CaptureFile::open(input)?;
    let mut corruptor = Corruptor::new(seed);
    let place = || out.display().to_string();
    // The format has one link type a file: that of the first frame.
    let mut output: Option<(Writer, u32)> = None;
    let (mut packets, mut other_links, mut damaged) = (0u64, 0u64, 0u64);
    let mut bytes = Vec::new();
    while let Some(mut block) = file.next_block()? {
        for frame in block.frames() {
            let (writer, linktype) = match &mut output {
                Some(output) => output,
                None => output.insert((
                    Writer::create(out, frame.linktype).with_context(place)?,
                    frame.linktype,
                )),
            };
            if *linktype != frame.linktype {
                other_links += 1;
                continue;
            }
            bytes.clear();
            bytes.extend_from_slice(frame.data);
            damaged += u64::from(corruptor.damage(&mut bytes) != Damage::None);
            writer.write(frame.time_ns, &bytes, frame.wire_len).with_context(place)?;
            packets += 1;
        }
    }
    let Some((writer, _)) = output else { anyhow::bail!("{}: no frames", input.display()) };
    writer.finish().with_context(place)?;
    Ok(format!(r#"{{"packets":{packets},"damaged":{damaged},"other_links":{other_links}}}"#))
}

fn send(interface: &str, source: Source, rate_pps: u64) -> Result<String, anyhow::Error> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("signal handler")?;
    }
    let mut sender = Sender::open(interface, rate_pps)?;
    let mut skipped = 0;
    match source {
        Source::File(path, repeat) => {
            for _ in 0..repeat {
                skipped += send_file(&mut sender, &path, &stop)?;
            }
        }
        Source::Plan(packets, plan) => send_plan(&mut sender, packets, plan, &stop)?,
    }
    let sent = sender.finish()?;
    Ok(format!(
        r#"{{"packets":{},"ip_bytes":{},"seconds":{:.6},"pps":{:.0},"retries":{},"skipped":{}}}"#,
        sent.packets,
        sent.ip_bytes,
        sent.seconds,
        sent.rate_pps(),
        sent.retries,
        skipped
    ))
}

fn send_plan(
    sender: &mut Sender,
    packets: u64,
    plan: Plan,
    stop: &AtomicBool,
) -> Result<(), anyhow::Error> {
    let mut generator = Generator::new(plan)?;
    let mut frame = Vec::new();
    for _ in 0..packets {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let ip_bytes = generator.next_frame(&mut frame);
        sender.push(&frame, ip_bytes)?;
    }
    Ok(())
}

/// Sends the Ethernet frames of a file; answers how many others there were.
fn send_file(sender: &mut Sender, path: &Path, stop: &AtomicBool) -> Result<u64, anyhow::Error> {
    let mut file = CaptureFile::open(path)?;
    let mut skipped = 0;
    while let Some(mut block) = file.next_block()? {
        for frame in block.frames() {
            if stop.load(Ordering::Relaxed) {
                return Ok(skipped);
            }
            if frame.linktype == capture::LINKTYPE_ETHERNET {
                sender.push(frame.data, ip_bytes(frame.data))?;
            } else {
                skipped += 1;
            }
        }
    }
    Ok(skipped)
}
