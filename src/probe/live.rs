//! Live capture: one pinned thread that empties a ring.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use capture::{CaptureError, Ring, RingStats, Wait};
use flowtable::Moment;
use tracing::{info, warn};

use super::reader::Reader;
use crate::status::ReaderStatus;

/// How long to wait for a block; also how late the clock hand may come on an idle link.
const WAIT: Duration = Duration::from_millis(50);
/// Records reach the exporter at most so late.
const HAND_OVER: Duration = Duration::from_millis(100);
/// `PACKET_STATISTICS` is read so often, by the reader alone (it resets when read).
const STATISTICS: Duration = Duration::from_secs(1);
/// At most one warning about drops in this time.
const WARNING: Duration = Duration::from_secs(10);

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
    ring: &mut Ring,
    reader: &mut Reader,
    place: &ReaderStatus,
    stop: &AtomicBool,
) -> Result<(), CaptureError> {
    let clock = Clock { start: Instant::now() };
    let mut watch = Watch::new(place);
    let result = capture(ring, reader, stop, &clock, &mut watch);
    // What the kernel had handed over before the stop is ours to count.
    drain(ring, reader, &clock);
    reader.flush(clock.now());
    let stats = result.and_then(|()| ring.stats());
    place.leave(reader.counters(*stats.as_ref().unwrap_or(&watch.last)));
    stats.map(|_| ())
}

fn capture(
    ring: &mut Ring,
    reader: &mut Reader,
    stop: &AtomicBool,
    clock: &Clock,
    watch: &mut Watch<'_>,
) -> Result<(), CaptureError> {
    let mut handed_over = Instant::now();
    while !stop.load(Ordering::Relaxed) && reader.is_heard() {
        match ring.wait(WAIT)? {
            Wait::Down(error) => watch.down(&error),
            Wait::Gone => watch.down(&std::io::Error::from_raw_os_error(nix::libc::ENODEV)),
            Wait::Ready | Wait::Timeout => {}
        }
        let received = drain(ring, reader, clock);
        watch.frames(received);
        let now = clock.now();
        reader.sweep(now);
        if handed_over.elapsed() >= HAND_OVER {
            reader.hand_over();
            handed_over = Instant::now();
        }
        watch.statistics(ring, reader)?;
    }
    Ok(())
}

/// Takes the blocks that are ready, at most one round of the ring; gives the number of frames.
fn drain(ring: &mut Ring, reader: &mut Reader, clock: &Clock) -> u64 {
    let before = reader.frames();
    for _ in 0..ring.blocks() {
        let Some(mut block) = ring.next_block() else { break };
        let now = clock.now();
        let mut frames = block.frames();
        for frame in &mut frames {
            reader.frame(&frame, reader.frames(), now);
        }
        reader.lost_in_block(frames.lost());
        reader.count_group();
        drop(block);
        reader.sweep(now);
    }
    reader.frames() - before
}

/// Tells status and log what an operator wants to know.
struct Watch<'a> {
    place: &'a ReaderStatus,
    down: bool,
    read: Instant,
    warned: Option<Instant>,
    last: RingStats,
    warned_drops: u64,
}

impl<'a> Watch<'a> {
    fn new(place: &'a ReaderStatus) -> Self {
        let (read, last) = (Instant::now(), RingStats::default());
        Self { place, down: false, read, warned: None, last, warned_drops: 0 }
    }

    fn down(&mut self, error: &std::io::Error) {
        if !self.down {
            warn!("{} is down ({error}); waiting for it to come back", self.place.source);
        }
        self.down = true;
        // The state stands until frames come again; poll returns at once meanwhile.
        std::thread::sleep(WAIT);
    }

    fn frames(&mut self, received: u64) {
        if self.down && received > 0 {
            info!("{} is back", self.place.source);
            self.down = false;
        }
    }

    fn statistics(&mut self, ring: &mut Ring, reader: &Reader) -> Result<(), CaptureError> {
        if self.read.elapsed() < STATISTICS {
            return Ok(());
        }
        self.read = Instant::now();
        self.last = ring.stats()?;
        let last = self.last;
        self.place.offer(|| reader.counters(last));
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
