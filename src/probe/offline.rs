//! Replay from start to end: file, reader or readers, exporter, and the verdict.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use capture::{CaptureFile, RingStats};
use export::{ExporterHandle, Feed, Lost, Pace, Summary};
use tracing::{debug, warn};

use super::control::{self, Control};
use super::reader::Reader;
use super::replay::{self, Player, ReplayError, Tape};
use super::routes::{Routes, Sender};
use super::selection::Selection;
use super::setup::{Outputs, TableSettings};
use super::{DELIVER_WITHIN, STOP_WITHIN, describe, losses, place, report, setup, share};
use crate::config::{Config, Replay};
use crate::privileges::Privileges;
use crate::status::{ReaderStatus, SamplingStatus, Status};

/// What readers get after a signal to end by themselves.
const END_WITHIN: Duration = Duration::from_secs(1);
/// Replay must repeat; any number will do.
const HASH_KEY: u64 = 0x6b70_726f_6265;

/// Replays the file.
///
/// # Errors
/// Setting up failed, the file is damaged, or a record was not accepted.
pub(super) fn run(
    config: &Config,
    replay: &Replay,
    stop: &Arc<AtomicBool>,
    mut control: Control,
    privileges: Privileges,
) -> anyhow::Result<ExitCode> {
    let file = CaptureFile::open(&replay.path).map_err(|error| anyhow!("Error: {error}"))?;
    let selection = replay.filter.as_deref().map(Selection::new).transpose();
    let selection = selection.map_err(|error| anyhow!("Error: {error}"))?;
    if let Some(note) = selection.as_ref().and_then(Selection::note) {
        warn!("{note}");
    }
    let opened = setup::outputs(config, None)?;
    describe::start(config, &[], opened.connected.as_ref(), opened.sample);
    // A file has no receive queues to go by: auto means one.
    let count = place::readers(replay.readers, "");
    let tables = TableSettings::new(config, &opened, count, 0, HASH_KEY)?;
    let Outputs { outputs, sample, connected } = opened;
    let privileges = privileges.sockets_are_open()?;
    let status_socket = setup::status_socket(config);
    let top = setup::top(config, Pace::Replay);
    let (feeds, exporter) = setup::exporter(outputs, vec![0; count], Pace::Replay, top.as_ref())?;
    let screen = setup::screen(config)?;
    privileges.confine()?;
    let settings = control::live_settings(config, sample, connected.as_ref());
    let readers = feeds
        .into_iter()
        .map(|feed: Feed| {
            let table = tables.table(replay.local_mac)?;
            Ok(Reader::new(table, feed))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut status = Status::new(exporter.stats(), top);
    let source = replay.path.display().to_string();
    status.readers = (0..count).map(|index| ReaderStatus::new(&source, index)).collect();
    status.sampling = Some(Arc::new(SamplingStatus::new(sample, settings.values().reason)));
    let status = setup::status(status_socket, status);
    let screen = setup::show(screen, &status, stop)?;
    let (path, snap_bytes) = (replay.path.clone(), replay.snap_bytes as usize);
    let tape = Tape { file, path, selection, snap_bytes };
    let job = Job { tape, places: status.readers.clone(), stop: Arc::clone(stop) };
    let thread = std::thread::Builder::new().name("replay".to_owned());
    let thread = thread.spawn(move || job.run(readers)).context("Error: cannot start a reader")?;
    let sender = Sender::Exporter(exporter.control());
    let mut routes = Routes::new(connected.as_ref(), sender, None);
    let closed = || status.exporter.all_closed();
    let finished = || {
        control.poll(&settings, &mut routes);
        thread.is_finished()
    };
    let summary = wait_and_finish(exporter, finished, closed, stop);
    if let Some(screen) = screen {
        screen.wait();
    }
    report(&summary);
    let result = thread.join().map_err(|_| anyhow!("Error: a reader failed"))?;
    let total = status.total();
    debug!("{}; {:?}", total.frames, total.table);
    result?.map_err(|error| anyhow!("Error: {error}"))?;
    let frames = &total.frames;
    if frames.frames > 0 && frames.unsupported_link == frames.frames {
        bail!("Error: {source}: unsupported link type {}", frames.unsupported_linktype);
    }
    // A pipe whose reader has seen enough is no failure.
    match losses(&summary, |reason| reason != Lost::OutputClosed) {
        Some(losses) if !stop.load(Ordering::Relaxed) => {
            bail!("Error: not every record was accepted: {losses}")
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Waits for the readers and lets the exporter deliver. After a signal, a dead backend may hold
/// the readers up: then the exporter goes first, which sets them free.
fn wait_and_finish(
    exporter: ExporterHandle,
    mut finished: impl FnMut() -> bool,
    closed: impl Fn() -> bool,
    stop: &AtomicBool,
) -> Summary {
    let mut stopped: Option<Instant> = None;
    while !finished() {
        if closed() {
            // A pipe whose reader has seen enough ends the replay, like any filter's.
            stop.store(true, Ordering::Relaxed);
        }
        if stop.load(Ordering::Relaxed) {
            let since = stopped.get_or_insert_with(Instant::now);
            if since.elapsed() > END_WITHIN {
                break;
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    exporter.finish_unless(DELIVER_WITHIN, || stop.load(Ordering::Relaxed), STOP_WITHIN)
}

/// What the replay thread does.
struct Job {
    tape: Tape,
    places: Vec<Arc<ReaderStatus>>,
    stop: Arc<AtomicBool>,
}

impl Job {
    fn run(mut self, mut readers: Vec<Reader>) -> anyhow::Result<Result<(), ReplayError>> {
        if let (1, Some(reader)) = (readers.len(), readers.pop()) {
            let (reader, result) = self.play(Player::Alone(Box::new(reader)));
            if let (Some(reader), Some(place)) = (reader, self.places.first()) {
                place.leave(reader.counters(RingStats::default()));
            }
            return Ok(result);
        }
        let (dealer, hands) = share::lanes(readers.len());
        let places = self.places.clone();
        std::thread::scope(|scope| {
            for ((hand, mut reader), place) in hands.into_iter().zip(readers).zip(places) {
                let name = format!("replay/{}", place.index);
                let body = move || {
                    hand.play(&mut reader);
                    place.leave(reader.counters(RingStats::default()));
                };
                let builder = std::thread::Builder::new().name(name);
                builder.spawn_scoped(scope, body).context("Error: cannot start a reader")?;
            }
            Ok(self.play(Player::Dealt(dealer)).1)
        })
    }

    fn play(&mut self, player: Player) -> (Option<Reader>, Result<(), ReplayError>) {
        replay::run(&mut self.tape, player, &self.stop)
    }
}
