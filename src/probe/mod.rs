//! The probe wired together: source, reader thread, exporter thread, and an orderly end.

mod backend;
mod counters;
mod live;
mod reader;
mod replay;
mod stop;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use capture::{CaptureFile, Filter, Interface, Ring, RingConfig};
use export::{ExporterHandle, Feed, Output, Pace, Summary, Target};
use flowtable::{FlowTable, Sampling};
use tracing::{debug, info};

use crate::config::{self, Config, OutputChoice, Source};
use reader::Reader;

/// What a stop may take after a signal (spec 16.6).
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// What the end of a replay waits for a backend that refuses or is away.
const DELIVER_WITHIN: Duration = Duration::from_secs(600);
/// Messages of up to 512 records between readers and exporter.
const CHANNEL_MESSAGES: usize = 256;
/// Replay must repeat; any number will do.
const REPLAY_HASH_KEY: u64 = 0x6b70_726f_6265;
const RING_BLOCK_BYTES: usize = 1 << 20;
const RING_RETIRE_MS: u32 = 10;

/// Runs the probe to its end.
///
/// # Errors
/// Setting up failed, or the capture failed while running (then after the flush).
pub fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let stop = stop::on_signals().context("Error: cannot handle signals")?;
    match &config.source {
        Source::Live(live) => run_live(config, live, &stop),
        Source::Replay(replay) => run_replay(config, replay, &stop),
    }
}

fn run_live(
    config: &Config,
    live: &config::Live,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<ExitCode> {
    // A wrong interface is reported before any network access.
    let interface = Interface::find(&live.interface).map_err(|error| anyhow!("Error: {error}"))?;
    let ring_config = ring_config(live, &interface)?;
    let (outputs, device_rate) = outputs(config, Some(&interface))?;
    let sample = config.sample.or(device_rate).unwrap_or(1);
    let table = table(config, random_key()?, interface.mac, sample)?;
    let mut ring = Ring::open(&interface, &ring_config).map_err(|e| anyhow!("Error: {e}"))?;
    if let Some(fanout) = live.fanout {
        info!("joined fanout group {}, mode {}", fanout.group, fanout.mode);
    }
    info!("capturing on {} (ring {} MiB, 1:{sample} flows)", interface.name, live.buffer_mib);
    let (feed, exporter) = exporter(outputs, Pace::Live)?;
    let thread = {
        let (stop, cpu) = (Arc::clone(stop), live.cpu);
        std::thread::Builder::new().name("reader0".to_owned()).spawn(move || {
            pin(cpu);
            let mut reader = Reader::new(table, feed);
            let result = live::run(&mut ring, &mut reader, &stop);
            (result, reader.stats())
        })
    };
    let joined = thread.context("Error: cannot start the reader")?.join();
    let summary = exporter.finish(STOP_WITHIN - Duration::from_secs(2));
    report(&summary);
    let Ok((result, (frames, table))) = joined else { bail!("Error: the reader failed") };
    debug!("{frames}; {table:?}");
    let ring = result.map_err(|error| anyhow!("Error: {error}"))?;
    info!("{} packets passed the filter, {} dropped by the kernel", ring.packets, ring.drops);
    Ok(ExitCode::SUCCESS)
}

fn run_replay(
    config: &Config,
    replay: &config::Replay,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<ExitCode> {
    let mut file = CaptureFile::open(&replay.path).map_err(|error| anyhow!("Error: {error}"))?;
    let (outputs, device_rate) = outputs(config, None)?;
    let sample = config.sample.or(device_rate).unwrap_or(1);
    let table = table(config, REPLAY_HASH_KEY, replay.local_mac, sample)?;
    let (feed, exporter) = exporter(outputs, Pace::Replay)?;
    let mut reader = Reader::new(table, feed);
    let result = replay::run(&mut file, replay.snap_bytes, &replay.path, &mut reader, stop);
    let (frames, table) = reader.stats();
    drop(reader);
    let stopped = stop.load(std::sync::atomic::Ordering::Relaxed);
    let summary = exporter.finish(if stopped { STOP_WITHIN } else { DELIVER_WITHIN });
    report(&summary);
    debug!("{frames}; {table:?}");
    result.map_err(|error| anyhow!("Error: {error}"))?;
    if frames.frames > 0 && frames.unsupported_link == frames.frames {
        bail!("Error: {}: unsupported link type {}", replay.path.display(), frames.linktype);
    }
    let lost: u64 = summary.outputs.iter().map(export::OutputSummary::lost_total).sum();
    if lost > 0 && !stopped {
        bail!("Error: {lost} records were not accepted ({})", losses(&summary));
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens the outputs, and looks the device up when one needs it; gives the device's sample rate.
fn outputs(
    config: &Config,
    interface: Option<&Interface>,
) -> anyhow::Result<(Vec<Output>, Option<u32>)> {
    let mut outputs = Vec::new();
    let mut rate = None;
    for choice in &config.outputs {
        outputs.push(match (choice, &config.backend) {
            (OutputChoice::Json(None), _) => Output::Json(Target::Stdout),
            (OutputChoice::Json(Some(path)), _) => Output::Json(Target::File(path.clone())),
            (OutputChoice::Kflow, Some(backend)) => {
                let (output, device_rate) = backend::connect(backend, interface)?;
                rate = device_rate;
                output
            }
            (OutputChoice::Kflow, None) => bail!("Error: kflow output without a backend"),
        });
    }
    Ok((outputs, rate))
}

fn exporter(outputs: Vec<Output>, pace: Pace) -> anyhow::Result<(Feed, ExporterHandle)> {
    let (mut feeds, intake) = export::channel(1, CHANNEL_MESSAGES, pace);
    let exporter = export::start(outputs, intake).map_err(|error| anyhow!("Error: {error}"))?;
    let feed = feeds.pop().ok_or_else(|| anyhow!("Error: no channel to the exporter"))?;
    Ok((feed, exporter))
}

fn table(
    config: &Config,
    hash_key: u64,
    local_mac: Option<[u8; 6]>,
    sample: u32,
) -> anyhow::Result<FlowTable> {
    let sampling = Sampling::new(sample);
    let capacity = config.max_flows;
    FlowTable::new(flowtable::Config { capacity, hash_key, local_mac, sampling })
        .with_context(|| format!("Error: no memory for --max-flows {capacity}"))
}

fn ring_config(live: &config::Live, interface: &Interface) -> anyhow::Result<RingConfig> {
    let linktype = interface.linktype.ok_or_else(|| {
        anyhow!("Error: {}: unsupported hardware type {}", interface.name, interface.hardware_type)
    })?;
    let filter = live.filter.as_deref().map(|text| Filter::compile(text, linktype)).transpose();
    Ok(RingConfig {
        block_bytes: RING_BLOCK_BYTES,
        blocks: (live.buffer_mib << 20) / RING_BLOCK_BYTES,
        retire_ms: RING_RETIRE_MS,
        promiscuous: live.promiscuous,
        snap_bytes: live.snap_bytes,
        filter: filter.map_err(|error| anyhow!("Error: {error}"))?,
        fanout: live.fanout,
    })
}

/// Nobody on the network may know which conversations share a chain of the table.
fn random_key() -> anyhow::Result<u64> {
    use std::io::Read;
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("Error: /dev/urandom")?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Pins this thread to `cpu`, or to one of the allowed CPUs, chosen by the process id so that
/// several probes on a host spread.
fn pin(cpu: Option<usize>) {
    let allowed = core_affinity::get_core_ids().unwrap_or_default();
    let wanted = match cpu {
        Some(cpu) => allowed.iter().find(|core| core.id == cpu),
        None if allowed.is_empty() => None,
        None => allowed.get(std::process::id() as usize % allowed.len()),
    };
    match wanted {
        Some(core) if core_affinity::set_for_current(*core) => {
            debug!("reader pinned to CPU {}", core.id);
        }
        _ => tracing::warn!("the reader could not be pinned to a CPU and runs where it may"),
    }
}

fn report(summary: &Summary) {
    for output in &summary.outputs {
        info!(
            "{}: {} records, {} accepted, {} left out by the flow limit, {} lost",
            output.name,
            output.offered,
            output.accepted,
            output.sampled_out,
            output.lost_total()
        );
    }
    if summary.channel_full > 0 {
        tracing::warn!("{} records lost because the exporter was late", summary.channel_full);
    }
}

fn losses(summary: &Summary) -> String {
    let reasons = summary.outputs.iter().flat_map(|output| output.lost.iter());
    let shown: Vec<String> = reasons
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| format!("{}: {count}", reason.name()))
        .collect();
    shown.join(", ")
}
