//! Replay: a capture file through the same code, in packet time.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use capture::{CaptureFile, FileError, FilterError, Frame};
use flowtable::{Moment, Ticks};
use thiserror::Error;
use tracing::warn;

use super::progress::Progress;
use super::reader::{Feeder, Reader};
use super::selection::Selection;
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

/// The way of one block's frames to whoever takes them.
#[expect(clippy::large_enum_variant, reason = "one a block, on the stack, never moved")]
enum Taker<'p, 'f> {
    Feeder(Feeder<'p, 'f>),
    Dealer(&'p mut Dealer),
}

impl<'f> Taker<'_, 'f> {
    #[inline]
    fn frame(&mut self, frame: &Frame<'f>, number: u64, now: Moment) -> bool {
        match self {
            Self::Feeder(feeder) => {
                feeder.frame(frame, number, now);
                true
            }
            Self::Dealer(dealer) => dealer.frame(frame, number, now),
        }
    }

    fn tick(&mut self, now: Moment) {
        match self {
            Self::Feeder(feeder) => feeder.tick(now),
            // A reader that has ended is noticed with the next frame.
            Self::Dealer(dealer) => drop(dealer.tick(now)),
        }
    }
}

impl Player {
    fn taker<'f>(&mut self) -> Taker<'_, 'f> {
        match self {
            Self::Alone(reader) => Taker::Feeder(reader.feeder()),
            Self::Dealt(dealer) => Taker::Dealer(dealer),
        }
    }

    /// Called at each end of a block of the file; false when nobody listens any more.
    fn pause(&mut self) -> bool {
        match self {
            Self::Alone(reader) => reader.is_heard(),
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

/// Why a replay ended before the file did.
#[derive(Debug, Error)]
pub(super) enum ReplayError {
    /// Reading failed or the file is damaged.
    #[error(transparent)]
    File(#[from] FileError),
    /// The filter means nothing for frames of this file.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

/// The file, and what of it is wanted.
pub(super) struct Tape {
    pub(super) file: CaptureFile,
    pub(super) path: PathBuf,
    pub(super) selection: Option<Selection>,
    /// Bytes looked at of a frame.
    pub(super) snap_bytes: usize,
}

/// Reads the file to its end, or until `stop` is set. Gives back a reader that played alone.
///
/// # Errors
/// What came before the failure has been exported all the same.
pub(super) fn run(
    tape: &mut Tape,
    mut player: Player,
    stop: &AtomicBool,
) -> (Option<Reader>, Result<(), ReplayError>) {
    let mut ticks = Ticks::default();
    let result = frames(tape, &mut player, &mut ticks, stop);
    let reader = player.end(ticks.now());
    if tape.file.is_truncated() {
        warn!("{}: the file ends inside a record", tape.path.display());
    }
    (reader, result)
}

fn frames(
    tape: &mut Tape,
    player: &mut Player,
    ticks: &mut Ticks,
    stop: &AtomicBool,
) -> Result<(), ReplayError> {
    let Tape { file, path, selection, snap_bytes } = tape;
    let mut progress = Progress::new(path);
    let mut number = 0;
    while let Some(mut block) = file.next_block()? {
        let mut taker = player.taker();
        for mut frame in block.frames() {
            let now = ticks.advance(frame.time_ns);
            if ticks.is_due() {
                // Packets before the tick count in the records cut at it.
                let mut quiet = 0;
                while let Some(tick) = ticks.take(quiet >= QUIET_TICKS) {
                    taker.tick(tick);
                    quiet += 1;
                }
            }
            number += 1;
            if let Some(selection) = selection
                && !selection.wants(&frame)?
            {
                continue;
            }
            frame.data = &frame.data[..frame.data.len().min(*snap_bytes)];
            if !taker.frame(&frame, number, now) {
                return Ok(());
            }
        }
        drop(taker);
        if stop.load(Ordering::Relaxed) || !player.pause() {
            return Ok(());
        }
        progress.show(file.progress(), number);
    }
    Ok(())
}
