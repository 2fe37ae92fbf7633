//! DNS and RADIUS mode from start to end: sources, reader threads, the sender, an orderly end.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use capture::{CaptureFile, Interface, RingStats};
use export::Pace;
use export::posts::{self, Endpoint, MAX_WAITING_BYTES, PostFeed, PostsConfig, PostsHandle};
use flowtable::Moment;
use tracing::{debug, info, warn};

use super::backend::{self, Connected};
use super::control::{self, Control};
use super::online::{self, Open};
use super::progress::Progress;
use super::replay::{ReplayError, Tape};
use super::routes::{Routes, Sender};
use super::selection::Selection;
use super::{DELIVER_WITHIN, STOP_WITHIN, describe, losses, report, setup};
use crate::config::{Backend, Config, Live, Replay, Source};
use crate::mode::{Collect, ModeReader, Timing};
use crate::privileges::Privileges;
use crate::status::{ReaderStatus, Status};

/// What a reader gets after a signal to end by itself.
const END_WITHIN: Duration = Duration::from_secs(1);
const SECOND_NS: u64 = 1_000_000_000;

/// One mode.
pub(super) struct Job<N> {
    /// `dns` or `radius`.
    pub(super) name: &'static str,
    /// pcap-filter(7) expression.
    pub(super) filter: String,
    /// Makes what each reader collects with.
    pub(super) collector: N,
    /// Where it goes.
    pub(super) endpoint: fn(&export::Urls) -> Endpoint,
}

/// Runs a mode to its end.
///
/// # Errors
/// Setting up failed; a reader failed while running, or in replay something was not accepted (then
/// after the flush).
pub(super) fn run<C: Collect + Send + 'static>(
    config: &Config,
    job: &Job<impl Fn() -> C>,
    stop: &Arc<AtomicBool>,
    control: Control,
    privileges: Privileges,
) -> anyhow::Result<ExitCode> {
    let backend = config.backend.as_ref();
    let backend = backend.ok_or_else(|| anyhow!("Error: {} mode without a backend", job.name))?;
    match &config.source {
        Source::Live(live) => online(config, live, backend, job, stop, control, privileges),
        Source::Replay(replay) => offline(config, replay, backend, job, stop, control, privileges),
    }
}

fn online<C: Collect + Send + 'static>(
    config: &Config,
    live: &Live,
    backend: &Backend,
    job: &Job<impl Fn() -> C>,
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
        .map(|interface| online::ring_config(live, interface, Some(&job.filter)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let connected = backend::connect(backend, interfaces.first())?;
    start_lines(config, job, &interfaces, &connected);
    // Who reads that the capture has begun may ask for its state.
    let status_socket = setup::status_socket(config);
    let open = interfaces
        .into_iter()
        .zip(&configs)
        .map(|(interface, ring)| online::open(live, interface, ring))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let privileges = privileges.sockets_are_open()?;
    let (feed, posts) = start(job, backend, &connected, Pace::Live)?;
    privileges.confine()?;
    let settings = control::live_settings(config, 1, Some(&connected));
    let mut status = Status::new(posts.stats(), None);
    status.mode = Some(job.name);
    let mut threads = Vec::new();
    let mut interfaces = Vec::with_capacity(open.len());
    for Open { interface, sources, cpus } in open {
        for (index, source) in sources.into_iter().enumerate() {
            let place = ReaderStatus::new(&interface.name, index);
            place.set_local_mac(interface.mac);
            status.readers.push(Arc::clone(&place));
            let reader = ModeReader::new((job.collector)(), feed.clone(), Timing::Live);
            threads.push(online::spawn(source, reader, place, cpus.clone(), stop)?);
        }
        interfaces.push(interface);
    }
    let status = setup::status(status_socket, status);
    let device = control::watch_device(config, Some(&connected), &settings, None);
    let sender = Sender::Posts(posts.control(), job.endpoint);
    let mut routes = Routes::new(Some(&connected), sender, device);
    let follow = || control.poll(&settings, &mut routes);
    let result = online::watch(threads, &mut interfaces, &status, stop, follow);
    drop(routes);
    report(&posts.finish_unless(STOP_WITHIN, || false, STOP_WITHIN));
    let total = status.total();
    debug!("{}; {:?}", total.frames, total.mode);
    info!(
        "{} packets passed the filter, {} dropped by the kernel",
        total.ring.packets, total.ring.drops
    );
    result.map(|()| ExitCode::SUCCESS)
}

/// One reader reads the file, whatever their number: there is no table to share.
fn offline<C: Collect + Send + 'static>(
    config: &Config,
    replay: &Replay,
    backend: &Backend,
    job: &Job<impl Fn() -> C>,
    stop: &Arc<AtomicBool>,
    mut control: Control,
    privileges: Privileges,
) -> anyhow::Result<ExitCode> {
    let file = CaptureFile::open(&replay.path).map_err(|error| anyhow!("Error: {error}"))?;
    let selection = Selection::new(&job.filter).map_err(|error| anyhow!("Error: {error}"))?;
    if let Some(note) = selection.note() {
        warn!("{note}");
    }
    let connected = backend::connect(backend, None)?;
    start_lines(config, job, &[], &connected);
    let privileges = privileges.sockets_are_open()?;
    let status_socket = setup::status_socket(config);
    let (feed, posts) = start(job, backend, &connected, Pace::Replay)?;
    privileges.confine()?;
    let settings = control::live_settings(config, 1, Some(&connected));
    let mut status = Status::new(posts.stats(), None);
    status.mode = Some(job.name);
    let source = replay.path.display().to_string();
    let place = ReaderStatus::new(&source, 0);
    status.readers.push(Arc::clone(&place));
    let status = setup::status(status_socket, status);
    let (path, snap_bytes) = (replay.path.clone(), replay.snap_bytes as usize);
    let mut tape = Tape { file, path, selection: Some(selection), snap_bytes };
    let mut reader = ModeReader::new((job.collector)(), feed, Timing::Replay);
    let stopped = Arc::clone(stop);
    let body = move || {
        let result = play(&mut tape, &mut reader, &place, &stopped);
        place.leave(reader.counters(RingStats::default()));
        result
    };
    let thread = std::thread::Builder::new().name("replay".to_owned()).spawn(body);
    let thread = thread.context("Error: cannot start a reader")?;
    let sender = Sender::Posts(posts.control(), job.endpoint);
    let mut routes = Routes::new(Some(&connected), sender, None);
    let mut since: Option<Instant> = None;
    while !thread.is_finished() {
        control.poll(&settings, &mut routes);
        // A dead backend holds the reader up: then the sender goes first, which sets it free.
        if stop.load(Ordering::Relaxed)
            && since.get_or_insert_with(Instant::now).elapsed() > END_WITHIN
        {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let is_stopped = || stop.load(Ordering::Relaxed);
    let summary = posts.finish_unless(DELIVER_WITHIN, is_stopped, STOP_WITHIN);
    report(&summary);
    let result = thread.join().map_err(|_| anyhow!("Error: a reader failed"))?;
    let total = status.total();
    debug!("{}; {:?}", total.frames, total.mode);
    result.map_err(|error| anyhow!("Error: {error}"))?;
    let frames = &total.frames;
    if frames.frames > 0 && frames.unsupported_link == frames.frames {
        bail!("Error: {source}: unsupported link type {}", frames.unsupported_linktype);
    }
    match losses(&summary, |_| true) {
        Some(losses) if !is_stopped() => bail!("Error: not every record was accepted: {losses}"),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn start_lines<N>(config: &Config, job: &Job<N>, interfaces: &[Interface], connected: &Connected) {
    describe::start(config, interfaces, Some(connected), 1);
    info!("{} mode, no flow records; filter: {}", job.name, job.filter);
}

fn start<N>(
    job: &Job<N>,
    backend: &Backend,
    connected: &Connected,
    pace: Pace,
) -> anyhow::Result<(PostFeed, PostsHandle)> {
    let config = PostsConfig {
        endpoint: (job.endpoint)(&backend.urls),
        metrics_url: Some(backend.urls.metrics.clone()),
        http: connected.http.clone(),
        device: connected.device.clone(),
        host_name: connected.host_name.clone(),
        pace,
        timing: export::Timing::default(),
        max_waiting_bytes: MAX_WAITING_BYTES,
    };
    posts::start(config).map_err(|error| anyhow!("Error: {error}"))
}

/// Reads the file to its end, or until `stop` is set, and hands everything over.
fn play<C: Collect>(
    tape: &mut Tape,
    reader: &mut ModeReader<C>,
    place: &ReaderStatus,
    stop: &AtomicBool,
) -> Result<(), ReplayError> {
    let mut now = Moment::default();
    let result = frames(tape, reader, &mut now, place, stop);
    reader.flush(now);
    if tape.file.is_truncated() {
        warn!("{}: the file ends inside a record", tape.path.display());
    }
    result
}

fn frames<C: Collect>(
    tape: &mut Tape,
    reader: &mut ModeReader<C>,
    now: &mut Moment,
    place: &ReaderStatus,
    stop: &AtomicBool,
) -> Result<(), ReplayError> {
    let Tape { file, path, selection, snap_bytes } = tape;
    let mut progress = Progress::new(path);
    let mut number = 0;
    let mut swept_ns = 0;
    while let Some(mut block) = file.next_block()? {
        for mut frame in block.frames() {
            let time_ns = frame.time_ns.max(now.elapsed_ns);
            *now = Moment { elapsed_ns: time_ns, wall_ns: time_ns };
            if time_ns.saturating_sub(swept_ns) >= SECOND_NS {
                swept_ns = time_ns;
                reader.sweep(*now);
            }
            number += 1;
            if let Some(selection) = selection
                && !selection.wants(&frame)?
            {
                continue;
            }
            frame.data = frame.data.get(..*snap_bytes).unwrap_or(frame.data);
            reader.frame(&frame, *now);
        }
        place.offer(|| reader.counters(RingStats::default()));
        if stop.load(Ordering::Relaxed) || !reader.is_heard() {
            return Ok(());
        }
        progress.show(file.progress(), number);
    }
    Ok(())
}
