//! How far a long replay has come, on a terminal.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Nothing is shown before this time, and nothing more often than this.
const FIRST: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(200);

/// A line that is written over, and wiped when dropped.
pub(super) struct Progress<'a> {
    path: &'a Path,
    start: Instant,
    next: Instant,
    shown: bool,
    terminal: bool,
}

impl<'a> Progress<'a> {
    pub(super) fn new(path: &'a Path) -> Self {
        let (start, terminal) = (Instant::now(), std::io::stderr().is_terminal());
        Self { path, start, next: start + FIRST, shown: false, terminal }
    }

    /// `read` of `size` bytes are done; the size is 0 when nobody knows it.
    pub(super) fn show(&mut self, (read, size): (u64, u64), frames: u64) {
        if !self.terminal || Instant::now() < self.next {
            return;
        }
        (self.next, self.shown) = (Instant::now() + INTERVAL, true);
        let rate = frames as f64 / self.start.elapsed().as_secs_f64() / 1e6;
        let percent = (read * 100).checked_div(size).map(|percent| format!("{percent} %, "));
        let line = format!(
            "\r{}: {}{frames} frames, {rate:.1} million a second\x1b[K",
            self.path.display(),
            percent.unwrap_or_default()
        );
        // Progress is a courtesy: a terminal that is gone changes nothing.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if self.shown {
            let _ = std::io::stderr().write_all(b"\r\x1b[K");
        }
    }
}
