//! Replay: a capture file through the same code, in packet time.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use capture::{CaptureFile, FileError};
use flowtable::Ticks;
use tracing::warn;

use super::reader::Reader;

/// Reads the file to its end, or until `stop` is set.
///
/// # Errors
/// Reading failed or the file is damaged; what came before has been exported all the same.
pub(super) fn run(
    file: &mut CaptureFile,
    snap_bytes: u32,
    path: &Path,
    reader: &mut Reader,
    stop: &AtomicBool,
) -> Result<(), FileError> {
    let mut ticks = Ticks::default();
    let mut progress = Progress::new(path);
    let result = frames(file, snap_bytes, reader, stop, &mut ticks, &mut progress);
    reader.flush(ticks.now());
    progress.end();
    if file.is_truncated() {
        warn!("{}: the file ends inside a record", path.display());
    }
    result
}

fn frames(
    file: &mut CaptureFile,
    snap_bytes: u32,
    reader: &mut Reader,
    stop: &AtomicBool,
    ticks: &mut Ticks,
    progress: &mut Progress<'_>,
) -> Result<(), FileError> {
    let snap_bytes = snap_bytes as usize;
    while let Some(mut block) = file.next_block()? {
        for mut frame in block.frames() {
            let now = ticks.advance(frame.time_ns);
            if ticks.is_due() {
                // Packets before the tick count in the records cut at it.
                reader.count_group();
                while let Some(tick) = ticks.take(reader.holds_nothing()) {
                    reader.tick(tick);
                }
            }
            frame.data = &frame.data[..frame.data.len().min(snap_bytes)];
            reader.frame(&frame, reader.frames(), now);
        }
        // Packets borrow nothing, but a decoder may: the block's bytes go with it.
        reader.count_group();
        if stop.load(Ordering::Relaxed) || !reader.is_heard() {
            return Ok(());
        }
        progress.show(file.progress(), reader.frames());
    }
    Ok(())
}

/// A line on the terminal that is written over, for replays longer than a second.
struct Progress<'a> {
    path: &'a Path,
    start: Instant,
    shown: Option<Instant>,
    terminal: bool,
}

impl<'a> Progress<'a> {
    fn new(path: &'a Path) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { path, start: Instant::now(), shown: None, terminal }
    }

    fn show(&mut self, (read, size): (u64, u64), frames: u64) {
        let since = self.shown.unwrap_or(self.start + Duration::from_millis(800)).elapsed();
        if !self.terminal || since < Duration::from_millis(200) {
            return;
        }
        self.shown = Some(Instant::now());
        let rate = frames as f64 / self.start.elapsed().as_secs_f64() / 1e6;
        let mut line = format!("\r{}: ", self.path.display());
        if let Some(percent) = (read * 100).checked_div(size) {
            line.push_str(&format!("{percent} %, "));
        }
        line.push_str(&format!("{frames} frames, {rate:.1} million a second\x1b[K"));
        // Progress is a courtesy: a terminal that is gone changes nothing.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    fn end(&self) {
        if self.shown.is_some() {
            let _ = std::io::stderr().write_all(b"\r\x1b[K");
        }
    }
}
