//! Live capture: one pinned thread that empties a source.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use capture::{Filter, RingStats, Source, Wait};
use flowtable::Moment;
use thiserror::Error;
use tracing::{info, warn};

use super::consume::Consume;
use super::settings::Values;
use crate::status::ReaderStatus;

/// How long to wait for a block; also how late the clock hand may come on an idle link.
const WAIT: Duration = Duration::from_millis(50);
/// Records reach the exporter at most so late.
const HAND_OVER: Duration = Duration::from_millis(100);
/// `PACKET_STATISTICS` is read so often, by the reader alone (it resets when read).
const STATISTICS: Duration = Duration::from_secs(1);
/// Under load it is read once for so large a part of the ring, too: losses happen only while the
/// whole ring is full, so they are known before the frames behind the gap are looked at.
const LOSS_LOOKS_PER_RING: usize = 8;
/// With a larger `--retire-ms` the last packets may stay in the kernel: an end is due in 10 s.
const LAST_BLOCK: Duration = Duration::from_secs(1);
/// At most one warning about drops in this time.
const WARNING: Duration = Duration::from_secs(10);

/// Why a reader ended.
#[derive(Debug, Error)]
pub(super) enum LiveError {
    /// The kernel refused something that it granted before.
    #[error(transparent)]
    Capture(#[from] capture::CaptureError),
    /// There is nothing to capture on any more.
    #[error("interface {0} was deleted or moved to another namespace")]
    Gone(String),
}

/// Time as the flow table wants it: steps of the system clock move records' stamps, not timers.
struct Clock {
    start: Instant,
}

impl Clock {
    fn now(&self) -> Moment {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment {
            elapsed_ns: self.start.elapsed().as_nanos() as u64,
            wall_ns: wall.as_nanos() as u64,
        }
    }
}

/// Empties the ring until `stop` is set, then exports all that is pending.
///
/// # Errors
/// The capture failed; what was counted until then has been exported all the same.
pub(super) fn run(
    source: &mut Source,
    reader: &mut impl Consume,
    place: &ReaderStatus,
    stop: &AtomicBool,
) -> Result<(), LiveError> {
    let clock = Clock { start: Instant::now() };
    let mut watch = Watch::new(place, clock.now());
    let result = capture(source, reader, stop, &clock, &mut watch);
    let result = result.and(empty(source, reader, &clock, &mut watch.losses));
    reader.flush(clock.now());
    let stats = source.stats().unwrap_or(watch.last);
    place.leave(reader.counters(stats));
    result
}

fn capture(
    source: &mut Source,
    reader: &mut impl Consume,
    stop: &AtomicBool,
    clock: &Clock,
    watch: &mut Watch<'_>,
) -> Result<(), LiveError> {
    let mut handed_over = Instant::now();
    let mut filter = LiveFilter { expression: reader.filter() };
    while !stop.load(Ordering::Relaxed) && reader.is_heard() {
        match source.wait(WAIT)? {
            Wait::Down(error) => watch.down(&error),
            Wait::Gone => return Err(LiveError::Gone(watch.place.source.clone())),
            Wait::Ready | Wait::Timeout => {}
        }
        let received = drain(source, reader, clock, &mut watch.losses)?;
        watch.frames(received);
        let now = clock.now();
        if let Some(values) = reader.heed(now) {
            filter.follow(&values, source);
        }
        reader.sweep(now);
        if handed_over.elapsed() >= HAND_OVER {
            reader.hand_over();
            handed_over = Instant::now();
        }
        watch.statistics(source, reader, clock)?;
    }
    Ok(())
}

/// What the kernel had taken before the stop is ours to count, the block it was filling included.
fn empty(
    source: &mut Source,
    reader: &mut impl Consume,
    clock: &Clock,
    losses: &mut Losses,
) -> Result<(), LiveError> {
    let end = Instant::now() + source.silence()?.min(LAST_BLOCK);
    loop {
        let received = drain(source, reader, clock, losses)?;
        let left = end.saturating_duration_since(Instant::now());
        if received == 0 && (left.is_zero() || matches!(source.wait(left)?, Wait::Gone)) {
            return Ok(());
        }
    }
}

/// Takes the blocks that are ready, at most one round of the ring; gives the number of frames.
///
/// # Errors
/// The statistics could not be read.
fn drain(
    source: &mut Source,
    reader: &mut impl Consume,
    clock: &Clock,
    losses: &mut Losses,
) -> Result<u64, LiveError> {
    let before = reader.frames();
    let look_every = (source.blocks() / LOSS_LOOKS_PER_RING).max(1);
    for taken in 0..source.blocks() {
        if taken % look_every == look_every - 1 {
            losses.look(source, reader, clock)?;
        }
        let Some(mut block) = source.next_block() else { break };
        let now = clock.now();
        let mut frames = block.frames();
        reader.block(&mut frames, now);
        reader.lost_in_block(frames.lost());
        drop(block);
        reader.sweep(now);
    }
    Ok(reader.frames() - before)
}

/// The filter in force, which a reload may change.
struct LiveFilter {
    expression: Option<String>,
}

impl LiveFilter {
    /// Attaches another expression to the source. One that means nothing for its link type leaves
    /// everything as it is.
    fn follow(&mut self, values: &Values, source: &mut Source) {
        if values.filter == self.expression {
            return;
        }
        let compiled =
            values.filter.as_deref().map(|text| Filter::compile(text, source.linktype()));
        let attached = match compiled.transpose() {
            Ok(filter) => source.set_filter(filter.as_ref()).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match attached {
            Ok(()) => self.expression.clone_from(&values.filter),
            Err(error) => warn!("the filter stays as it was: {error}"),
        }
    }
}

/// When the ring lost packets, so that what they leave behind is not held against the network.
struct Losses {
    drops: u64,
    looked_ns: u64,
}

impl Losses {
    /// Reads the kernel's counters; drops since the last look happened between then and now. This
    /// thread may lose its CPU around the reading, so a period begins before one and ends after one.
    fn look(
        &mut self,
        source: &mut Source,
        reader: &mut impl Consume,
        clock: &Clock,
    ) -> Result<RingStats, LiveError> {
        let before_ns = clock.now().wall_ns;
        let stats = source.stats()?;
        if stats.drops > self.drops {
            reader.note_capture_loss(self.looked_ns, clock.now().wall_ns);
        }
        (self.drops, self.looked_ns) = (stats.drops, before_ns);
        Ok(stats)
    }
}

/// Tells status and log what an operator wants to know.
struct Watch<'a> {
    place: &'a ReaderStatus,
    down: bool,
    read: Instant,
    warned: Option<Instant>,
    last: RingStats,
    warned_drops: u64,
    losses: Losses,
    /// Somebody was reading when counters were offered.
    owes_counters: bool,
}

impl<'a> Watch<'a> {
    fn new(place: &'a ReaderStatus, now: Moment) -> Self {
        let (read, last) = (Instant::now(), RingStats::default());
        let losses = Losses { drops: 0, looked_ns: now.wall_ns };
        let (warned, owes_counters) = (None, false);
        Self { place, down: false, read, warned, last, warned_drops: 0, losses, owes_counters }
    }

    fn down(&mut self, error: &std::io::Error) {
        if !self.down {
            warn!("{} is down ({error}); waiting for it to come back", self.place.source);
        }
        self.down = true;
    }

    fn frames(&mut self, received: u64) {
        if self.down && received > 0 {
            info!("{} is back", self.place.source);
            self.down = false;
        }
    }

    fn statistics(
        &mut self,
        source: &mut Source,
        reader: &mut impl Consume,
        clock: &Clock,
    ) -> Result<(), LiveError> {
        if self.read.elapsed() < STATISTICS {
            if self.owes_counters {
                self.owes_counters = !self.place.offer(|| reader.counters(self.last));
            }
            return Ok(());
        }
        self.read = Instant::now();
        self.last = self.losses.look(source, reader, clock)?;
        let last = self.last;
        self.owes_counters = !self.place.offer(|| reader.counters(last));
        reader.set_local_mac(self.place.local_mac());
        let quiet = self.warned.is_none_or(|warned| warned.elapsed() >= WARNING);
        if last.drops > self.warned_drops && quiet {
            warn!(
                "{}: the kernel dropped {} packets more ({} of {}); consider a larger \
                 --buffer-size, more --readers or --sample",
                self.place.source,
                last.drops - self.warned_drops,
                last.drops,
                last.packets
            );
            (self.warned, self.warned_drops) = (Some(self.read), last.drops);
        }
        Ok(())
    }
}
