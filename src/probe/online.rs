//! Live capture from start to end: interfaces, rings, reader threads, exporter.

use std::fs::File;
use std::io::Read;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use capture::{Fanout, FanoutMode, Filter, GroupId, Interface, RingConfig, Source};
use core_affinity::CoreId;
use export::Pace;
use tracing::{debug, info, warn};

use super::consume::Consume;
use super::control::{self, Control};
use super::governor::Governor;
use super::live::LiveError;
use super::reader::Reader;
use super::routes::{Routes, Sender};
use super::setup::{Outputs, TableSettings};
use super::{STOP_WITHIN, describe, live, place, report, setup};
use crate::config::{Config, Live};
use crate::privileges::Privileges;
use crate::status::{ReaderStatus, SamplingStatus, Status};

/// How often MACs are read again (spec CAP-5).
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// An interface with its open rings.
pub(super) struct Open {
    pub(super) interface: Interface,
    pub(super) sources: Vec<Source>,
    pub(super) cpus: Vec<CoreId>,
}

/// Captures until a signal or a failure.
///
/// # Errors
/// Setting up failed, or a reader failed while running (then after the flush).
pub(super) fn run(
    config: &Config,
    live: &Live,
    stop: &Arc<AtomicBool>,
    mut control: Control,
    privileges: Privileges,
) -> anyhow::Result<ExitCode> {
    // A wrong interface or filter is reported before any network access.
    let interfaces = live
        .interfaces
        .iter()
        .map(|name| Interface::find(name).map_err(|error| anyhow!("Error: {error}")))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let configs = interfaces
        .iter()
        .map(|interface| ring_config(live, interface, live.filter.as_deref()))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let opened = setup::outputs(config, interfaces.first())?;
    describe::start(config, &interfaces, opened.connected.as_ref(), opened.sample);
    // Who reads that the capture has begun may ask for its state.
    let status_socket = setup::status_socket(config);
    let open = interfaces
        .into_iter()
        .zip(&configs)
        .map(|(interface, ring)| open(live, interface, ring))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let readers = open.iter().map(|open| open.sources.len()).sum();
    let key = random_key()?;
    let tables = TableSettings::new(config, &opened, readers, live.buffer_bytes, key)?;
    let Outputs { outputs, sample, connected } = opened;
    info!("{readers} readers, {} conversations each, 1:{sample} flows", tables.capacity);
    let links = open.iter().enumerate().flat_map(|(link, open)| vec![link; open.sources.len()]);
    let privileges = privileges.sockets_are_open()?;
    let top = setup::top(config, Pace::Live);
    let (feeds, exporter) = setup::exporter(outputs, links.collect(), Pace::Live, top.as_ref())?;
    let screen = setup::screen(config)?;
    privileges.confine()?;
    let settings = control::live_settings(config, sample, connected.as_ref());
    let mut feeds = feeds.into_iter();
    let mut status = Status::new(exporter.stats(), top);
    let mut threads = Vec::new();
    let mut interfaces = Vec::with_capacity(open.len());
    for Open { interface, sources, cpus } in open {
        for (index, source) in sources.into_iter().enumerate() {
            let feed = feeds.next().ok_or_else(|| anyhow!("Error: too few channels"))?;
            let table = tables.table(interface.mac)?;
            let place = ReaderStatus::new(&interface.name, index);
            place.set_local_mac(interface.mac);
            status.readers.push(Arc::clone(&place));
            let reader = Reader::new(table, feed).following(settings.follow());
            threads.push(spawn(source, reader, place, cpus.clone(), stop)?);
        }
        interfaces.push(interface);
    }
    let shown = Arc::new(SamplingStatus::new(sample, settings.values().reason));
    status.sampling = Some(Arc::clone(&shown));
    let status = setup::status(status_socket, status);
    let screen = setup::show(screen, &status, stop)?;
    let device =
        control::watch_device(config, connected.as_ref(), &settings, Some(exporter.control()));
    let sender = Sender::Exporter(exporter.control());
    let mut routes = Routes::new(connected.as_ref(), sender, device);
    let mut governor = Governor::new(Arc::clone(&status));
    let mut follower = settings.follow();
    let follow = || {
        control.poll(&settings, &mut routes);
        governor.poll(&settings);
        if let Some(values) = follower.poll() {
            shown.show(values.rate, values.reason);
        }
    };
    let result = watch(threads, &mut interfaces, &status, stop, follow);
    drop((routes, screen));
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

/// Opens all rings of one interface. Several share it through a group.
pub(super) fn open(live: &Live, interface: Interface, config: &RingConfig) -> anyhow::Result<Open> {
    let readers = place::readers(live.readers, &interface.name);
    let mut fanout = fanout(live, readers);
    let mut sources: Vec<Source> = Vec::with_capacity(readers);
    for _ in 0..readers {
        let config = RingConfig { fanout, ..config.clone() };
        let (source, notes) =
            Source::open(&interface, &config).map_err(|error| anyhow!("Error: {error}"))?;
        if sources.is_empty() {
            for note in notes {
                warn!("{}: {note}", interface.name);
            }
            // The others follow the first to the group it found, in the mode it got.
            if let (Some(fanout), Some(joined)) = (&mut fanout, source.fanout()) {
                info!("joined fanout group {}, mode {}", joined.group, joined.mode);
                (fanout.group, fanout.mode) = (GroupId::Number(joined.group), joined.mode);
            }
        }
        sources.push(source);
    }
    let mib = live.buffer_bytes >> 20;
    info!("capturing on {} (ring {mib} MiB × {readers})", interface.name);
    let cpus = place::cpus(&live.cpus, &interface.name);
    Ok(Open { interface, sources, cpus })
}

/// The group that was named, or one of our own for several readers.
fn fanout(live: &Live, readers: usize) -> Option<Fanout> {
    let (group, mode) = match live.group {
        Some(group) => (GroupId::Number(group), FanoutMode::Hash),
        None if readers > 1 => (GroupId::Unique, FanoutMode::Ebpf),
        None => return None,
    };
    Some(Fanout { group, mode: live.mode.unwrap_or(mode), ignore_outgoing: false })
}

/// How the rings of an interface are to be.
pub(super) fn ring_config(
    live: &Live,
    interface: &Interface,
    filter: Option<&str>,
) -> anyhow::Result<RingConfig> {
    let linktype = interface.linktype.ok_or_else(|| {
        let Interface { name, hardware_type, .. } = interface;
        let kind = interface.hardware_name();
        anyhow!("Error: {name}: unsupported hardware type {hardware_type} ({kind})")
    })?;
    let filter = filter.map(|text| Filter::compile(text, linktype)).transpose();
    if let Ok(Some(filter)) = &filter
        && let Some(note) = filter.note()
    {
        warn!("{note}");
    }
    Ok(RingConfig {
        block_bytes: live.block_bytes,
        blocks: live.buffer_bytes / live.block_bytes,
        retire_ms: live.retire_ms,
        promiscuous: live.promiscuous,
        snap_bytes: live.snap_bytes,
        filter: filter.map_err(|error| anyhow!("Error: {error}"))?,
        fanout: None,
    })
}

/// A reader at work.
pub(super) type ReaderThread = JoinHandle<Result<(), LiveError>>;

/// Starts a reader on its source.
pub(super) fn spawn(
    mut source: Source,
    mut reader: impl Consume + Send + 'static,
    place: Arc<ReaderStatus>,
    cpus: Vec<CoreId>,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<ReaderThread> {
    let stop = Arc::clone(stop);
    let name = format!("{}/{}", place.source, place.index);
    let body = move || {
        place::pin(&cpus, place.index);
        place.is_this_thread();
        live::run(&mut source, &mut reader, &place, &stop)
    };
    std::thread::Builder::new().name(name).spawn(body).context("Error: cannot start a reader")
}

/// Waits for all readers, and tells them when the MAC of their interface changes. When one ends on
/// its own, the others are asked to end, too.
pub(super) fn watch(
    threads: Vec<ReaderThread>,
    interfaces: &mut [Interface],
    status: &Status,
    stop: &AtomicBool,
    mut follow: impl FnMut(),
) -> anyhow::Result<()> {
    let mut looked = Instant::now();
    while !threads.iter().any(JoinHandle::is_finished) {
        std::thread::sleep(Duration::from_millis(20));
        follow();
        if status.exporter.all_closed() {
            info!("nobody reads the output any more");
            break;
        }
        if looked.elapsed() >= LOOK_AGAIN {
            looked = Instant::now();
            refresh(interfaces, status);
        }
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

/// An interface that cannot be read keeps what is known of it: its reader reports the trouble.
fn refresh(interfaces: &mut [Interface], status: &Status) {
    for interface in interfaces {
        let Ok(now) = interface.refresh() else { continue };
        if now.mac != interface.mac {
            info!("{}: the MAC address has changed", interface.name);
            let readers = status.readers.iter().filter(|place| place.source == interface.name);
            readers.for_each(|place| place.set_local_mac(now.mac));
        }
        // Readers know it by the name it had at the start.
        *interface = Interface { name: interface.name.clone(), ..now };
    }
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
