//! Live capture: one pinned thread that empties a ring.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use capture::{CaptureError, Ring, RingStats, Wait};
use flowtable::Moment;
use tracing::{info, warn};

use super::reader::Reader;

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
    stop: &AtomicBool,
) -> Result<RingStats, CaptureError> {
    let clock = Clock { start: Instant::now() };
    let mut watch = Watch::new();
    let result = capture(ring, reader, stop, &clock, &mut watch);
    // What the kernel had handed over before the stop is ours to count.
    drain(ring, reader, &clock);
    reader.flush(clock.now());
    result?;
    ring.stats()
}

fn capture(
    ring: &mut Ring,
    reader: &mut Reader,
    stop: &AtomicBool,
    clock: &Clock,
    watch: &mut Watch,
) -> Result<(), CaptureError> {
    let mut handed_over = Instant::now();
    while !stop.load(Ordering::Relaxed) && reader.is_heard() {
        match ring.wait(WAIT)? {
            Wait::Down(error) => watch.down(&error),
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
        watch.statistics(ring)?;
    }
    Ok(())
}

/// Takes the blocks that are ready, at most one round of the ring; gives the number of frames.
fn drain(ring: &mut Ring, reader: &mut Reader, clock: &Clock) -> u64 {
    let before = reader.frames();
    for _ in 0..ring.blocks() {
        let Some(mut block) = ring.next_block() else { break };
        let now = clock.now();
        for frame in block.frames() {
            reader.frame(&frame, reader.frames(), now);
        }
        drop(block);
        reader.sweep(now);
    }
    reader.frames() - before
}

/// Says in the log what an operator wants to know, once per change.
struct Watch {
    down: bool,
    read: Instant,
    warned: Option<Instant>,
    last: RingStats,
}

impl Watch {
    fn new() -> Self {
        Self { down: false, read: Instant::now(), warned: None, last: RingStats::default() }
    }

    fn down(&mut self, error: &std::io::Error) {
        if !self.down {
            warn!("the interface is down ({error}); waiting for it to come back");
        }
        self.down = true;
        // The state stands until frames come again; poll returns at once meanwhile.
        std::thread::sleep(WAIT);
    }

    fn frames(&mut self, received: u64) {
        if self.down && received > 0 {
            info!("the interface is back");
            self.down = false;
        }
    }

    fn statistics(&mut self, ring: &mut Ring) -> Result<(), CaptureError> {
        if self.read.elapsed() < STATISTICS {
            return Ok(());
        }
        self.read = Instant::now();
        let now = ring.stats()?;
        let quiet = self.warned.is_none_or(|warned| warned.elapsed() >= WARNING);
        if now.drops > self.last.drops && quiet {
            warn!(
                "the kernel dropped {} packets ({} of {} so far); consider a larger --buffer-size \
                 or --sample",
                now.drops - self.last.drops,
                now.drops,
                now.packets
            );
            self.warned = Some(self.read);
            self.last = now;
        }
        Ok(())
    }
}
