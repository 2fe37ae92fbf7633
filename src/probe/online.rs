//! Live capture from start to end: interfaces, rings, reader threads, exporter.

use std::fs::File;
use std::io::Read;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, anyhow, bail};
use capture::{CaptureError, Filter, Interface, Ring, RingConfig};
use core_affinity::CoreId;
use export::{Feed, Pace};
use flowtable::FlowTable;
use tracing::{debug, info};

use super::reader::Reader;
use super::{STOP_WITHIN, live, memory, place, report, setup};
use crate::config::{Config, Live};
use crate::status::{ReaderStatus, Status};

/// An interface with its open rings.
struct Open {
    interface: Interface,
    rings: Vec<Ring>,
    cpus: Vec<CoreId>,
}

/// Captures until a signal or a failure.
///
/// # Errors
/// Setting up failed, or a reader failed while running (then after the flush).
pub(super) fn run(
    config: &Config,
    live: &Live,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<ExitCode> {
    // A wrong interface or filter is reported before any network access.
    let interfaces = live
        .interfaces
        .iter()
        .map(|name| Interface::find(name).map_err(|error| anyhow!("Error: {error}")))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let configs = interfaces
        .iter()
        .map(|interface| ring_config(live, interface))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let (outputs, sample) = setup::outputs(config, interfaces.first())?;
    let open = interfaces
        .into_iter()
        .zip(&configs)
        .map(|(interface, ring)| open(live, interface, ring))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let readers = open.iter().map(|open| open.rings.len()).sum();
    let (max_flows, max_memory_mib) = (config.max_flows, config.max_memory_mib);
    let capacity = memory::capacity(max_flows, max_memory_mib, readers, live.buffer_bytes)
        .map_err(|text| anyhow!("Error: {text}"))?;
    info!("{readers} readers, {capacity} conversations each, 1:{sample} flows");
    let hash_key = random_key()?;
    let (feeds, exporter) = setup::exporter(outputs, readers, Pace::Live)?;
    let mut feeds = feeds.into_iter();
    let mut status = Status::new(exporter.stats());
    let mut threads = Vec::new();
    for Open { interface, rings, cpus } in open {
        for (index, ring) in rings.into_iter().enumerate() {
            let feed = feeds.next().ok_or_else(|| anyhow!("Error: too few channels"))?;
            let table = setup::table(capacity, hash_key, interface.mac, sample)?;
            let place = ReaderStatus::new(&interface.name, index);
            status.readers.push(Arc::clone(&place));
            threads.push(spawn(ring, table, feed, place, cpus.clone(), stop)?);
        }
    }
    let status = setup::status(config, status);
    let result = join(threads, stop);
    let summary = exporter.finish(STOP_WITHIN);
    report(&summary);
    let total = status.total();
    debug!("{}; {:?}", total.frames, total.table);
    info!(
        "{} packets passed the filter, {} dropped by the kernel",
        total.ring.packets, total.ring.drops
    );
    result.map(|()| ExitCode::SUCCESS)
}

/// Opens all rings of one interface.
fn open(live: &Live, interface: Interface, config: &RingConfig) -> anyhow::Result<Open> {
    let readers = place::readers(live.readers, &interface.name);
    if readers > 1 && config.fanout.is_none() {
        bail!("Error: several readers share an interface through a group: add --fanout-group");
    }
    let rings = (0..readers)
        .map(|_| Ring::open(&interface, config).map_err(|error| anyhow!("Error: {error}")))
        .collect::<anyhow::Result<Vec<_>>>()?;
    if let Some(joined) = rings.first().and_then(Ring::fanout) {
        info!("joined fanout group {}, mode {}", joined.group, joined.mode);
    }
    let mib = live.buffer_bytes >> 20;
    info!("capturing on {} (ring {mib} MiB × {readers})", interface.name);
    let cpus = place::cpus(&live.cpus, &interface.name);
    Ok(Open { interface, rings, cpus })
}

fn ring_config(live: &Live, interface: &Interface) -> anyhow::Result<RingConfig> {
    let linktype = interface.linktype.ok_or_else(|| {
        anyhow!("Error: {}: unsupported hardware type {}", interface.name, interface.hardware_type)
    })?;
    let filter = live.filter.as_deref().map(|text| Filter::compile(text, linktype)).transpose();
    Ok(RingConfig {
        block_bytes: live.block_bytes,
        blocks: live.buffer_bytes / live.block_bytes,
        retire_ms: live.retire_ms,
        promiscuous: live.promiscuous,
        snap_bytes: live.snap_bytes,
        filter: filter.map_err(|error| anyhow!("Error: {error}"))?,
        fanout: live.fanout,
    })
}

type ReaderThread = JoinHandle<Result<(), CaptureError>>;

fn spawn(
    mut ring: Ring,
    table: FlowTable,
    feed: Feed,
    place: Arc<ReaderStatus>,
    cpus: Vec<CoreId>,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<ReaderThread> {
    let stop = Arc::clone(stop);
    let name = format!("{}/{}", place.source, place.index);
    let body = move || {
        place::pin(&cpus, place.index);
        let mut reader = Reader::new(table, feed);
        live::run(&mut ring, &mut reader, &place, &stop)
    };
    std::thread::Builder::new().name(name).spawn(body).context("Error: cannot start a reader")
}

/// Waits for all readers. When one ends on its own, the others are asked to end, too.
fn join(threads: Vec<ReaderThread>, stop: &AtomicBool) -> anyhow::Result<()> {
    while !threads.iter().any(JoinHandle::is_finished) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    stop.store(true, Ordering::Relaxed);
    let mut result = Ok(());
    for thread in threads {
        let ended = match thread.join() {
            Ok(ended) => ended.map_err(|error| anyhow!("Error: {error}")),
            Err(_) => Err(anyhow!("Error: a reader failed")),
        };
        result = result.and(ended);
    }
    result
}

/// Nobody on the network may know which conversations share a chain of the table.
fn random_key() -> anyhow::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("Error: /dev/urandom")?;
    match u64::from_ne_bytes(bytes) {
        0 => bail!("Error: /dev/urandom gave nothing"),
        key => Ok(key),
    }
}
