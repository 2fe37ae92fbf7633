//! Replay: a capture file through the same code, in packet time.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use capture::{CaptureFile, FileError, Frame};
use flowtable::{Moment, Ticks};
use tracing::warn;

use super::progress::Progress;
use super::reader::Reader;
use super::share::Dealer;

/// After so many ticks without a frame nothing is left to expire: fragments wait 60 s, the
/// conversation they are credited to 15 s more and then 60 s.
const QUIET_TICKS: u32 = 80;

/// Who takes the frames.
pub(super) enum Player {
    /// The only reader, on this thread.
    Alone(Box<Reader>),
    /// Several, each on a thread of its own.
    Dealt(Dealer),
}

impl Player {
    #[inline]
    fn frame(&mut self, frame: &Frame<'_>, number: u64, now: Moment) -> bool {
        match self {
            Self::Alone(reader) => {
                reader.frame(frame, number, now);
                true
            }
            Self::Dealt(dealer) => dealer.frame(frame, number, now),
        }
    }

    fn tick(&mut self, now: Moment) {
        match self {
            Self::Alone(reader) => reader.tick(now),
            // A reader that has ended is noticed with the next frame.
            Self::Dealt(dealer) => drop(dealer.tick(now)),
        }
    }

    /// Called at each end of a block of the file; false when nobody listens any more.
    fn pause(&mut self) -> bool {
        match self {
            Self::Alone(reader) => {
                reader.count_group();
                reader.is_heard()
            }
            Self::Dealt(_) => true,
        }
    }

    fn end(self, now: Moment) -> Option<Reader> {
        match self {
            Self::Alone(mut reader) => {
                reader.flush(now);
                Some(*reader)
            }
            Self::Dealt(dealer) => {
                dealer.end(now);
                None
            }
        }
    }
}

/// Reads the file to its end, or until `stop` is set. Gives back a reader that played alone.
///
/// # Errors
/// Reading failed or the file is damaged; what came before has been exported all the same.
pub(super) fn run(
    file: &mut CaptureFile,
    path: &Path,
    snap_bytes: u32,
    mut player: Player,
    stop: &AtomicBool,
) -> (Option<Reader>, Result<(), FileError>) {
    let mut ticks = Ticks::default();
    let result = frames(file, path, snap_bytes as usize, &mut player, &mut ticks, stop);
    let reader = player.end(ticks.now());
    if file.is_truncated() {
        warn!("{}: the file ends inside a record", path.display());
    }
    (reader, result)
}

fn frames(
    file: &mut CaptureFile,
    path: &Path,
    snap_bytes: usize,
    player: &mut Player,
    ticks: &mut Ticks,
    stop: &AtomicBool,
) -> Result<(), FileError> {
    let mut progress = Progress::new(path);
    let mut number = 0;
    while let Some(mut block) = file.next_block()? {
        for mut frame in block.frames() {
            let now = ticks.advance(frame.time_ns);
            if ticks.is_due() {
                // Packets before the tick count in the records cut at it.
                let mut quiet = 0;
                while let Some(tick) = ticks.take(quiet >= QUIET_TICKS) {
                    player.tick(tick);
                    quiet += 1;
                }
            }
            frame.data = &frame.data[..frame.data.len().min(snap_bytes)];
            if !player.frame(&frame, number, now) {
                return Ok(());
            }
            number += 1;
        }
        if stop.load(Ordering::Relaxed) || !player.pause() {
            return Ok(());
        }
        progress.show(file.progress(), number);
    }
    Ok(())
}
