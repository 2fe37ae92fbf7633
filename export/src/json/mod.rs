//! Records as JSON lines on standard output or in a file.

mod extras;
mod fields;
mod line;
mod rotate;
mod text;

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use flowtable::Cut;
use tracing::{error, info};

use crate::stats::{Lost, OutputStats};
use fields::LineWriter;
use rotate::RotatedFile;
pub use rotate::Rotation;

/// Lines are written out when this much has gathered, and at each dispatch.
const WRITE_BYTES: usize = 64 << 10;
/// What may wait while writing fails; records beyond it are lost.
const MAX_WAITING_BYTES: usize = 4 << 20;

/// Where the lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file, made anew: what it held is lost.
    File(PathBuf),
    /// A file that is put aside when it is large, and anew at the start when there was one.
    Rotated(PathBuf, Rotation),
}

/// The JSON output.
///
/// Writing blocks the exporter: a pipe whose reader stops makes the channel fill, which loses
/// records in live mode (counted) and pauses a replay. When writing fails, up to
/// [`MAX_WAITING_BYTES`] wait for better times; a pipe without reader closes the output quietly.
pub(crate) struct JsonOutput {
    writer: Box<dyn Write + Send>,
    name: String,
    lines: LineWriter,
    waiting: Vec<u8>,
    /// Newlines in `waiting`.
    waiting_lines: u64,
    failing: bool,
    stats: Arc<OutputStats>,
}

impl JsonOutput {
    pub(crate) fn open(target: &Target, stats: Arc<OutputStats>) -> io::Result<Self> {
        let (writer, name): (Box<dyn Write + Send>, _) = match target {
            Target::Stdout => (Box::new(io::stdout()), "standard output".to_owned()),
            Target::File(path) => (Box::new(File::create(path)?), path.display().to_string()),
            Target::Rotated(path, rotation) => {
                (Box::new(RotatedFile::open(path, *rotation)?), path.display().to_string())
            }
        };
        Ok(Self::new(writer, name, stats))
    }

    fn new(writer: Box<dyn Write + Send>, name: String, stats: Arc<OutputStats>) -> Self {
        let waiting = Vec::with_capacity(2 * WRITE_BYTES);
        let lines = LineWriter::default();
        Self { writer, name, lines, waiting, waiting_lines: 0, failing: false, stats }
    }

    pub(crate) fn offer<'a>(&mut self, cuts: impl ExactSizeIterator<Item = Cut<'a>>) {
        let count = cuts.len();
        self.stats.offered.add(count as u64);
        for (index, cut) in cuts.enumerate() {
            if self.stats.is_closed() {
                return self.stats.lose(Lost::OutputClosed, (count - index) as u64);
            }
            if self.waiting.len() >= WRITE_BYTES && !self.failing {
                self.write_out();
            }
            if self.waiting.len() >= MAX_WAITING_BYTES {
                self.stats.lose(Lost::WriteFailed, 1);
                continue;
            }
            self.lines.write(&mut self.waiting, &cut);
            self.waiting_lines += 1;
        }
    }

    /// Writes what waits, also after failures.
    pub(crate) fn flush(&mut self) {
        self.write_out();
        if !self.stats.is_closed()
            && let Err(error) = self.writer.flush()
        {
            self.failed(&error);
        }
    }

    /// Writes for the last time; what cannot be written is lost.
    pub(crate) fn finish(&mut self) {
        self.flush();
        let lines = self.forget_waiting();
        self.stats.lose(Lost::WriteFailed, lines);
    }

    fn write_out(&mut self) {
        let mut written = 0;
        while written < self.waiting.len() && !self.stats.is_closed() {
            match self.writer.write(&self.waiting[written..]) {
                Ok(0) => {
                    self.failed(&ErrorKind::WriteZero.into());
                    break;
                }
                Ok(bytes) => {
                    written += bytes;
                    self.succeeded();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed(&error);
                    break;
                }
            }
        }
        self.written(written);
        if self.stats.is_closed() {
            let lines = self.forget_waiting();
            self.stats.lose(Lost::OutputClosed, lines);
        }
    }

    /// A line that was cut goes on where it stopped.
    fn written(&mut self, bytes: usize) {
        let lines = if bytes == self.waiting.len() {
            self.waiting_lines
        } else {
            self.waiting[..bytes].iter().filter(|&&byte| byte == b'\n').count() as u64
        };
        self.waiting.drain(..bytes);
        self.waiting_lines -= lines;
        self.stats.encoded.add(lines);
        self.stats.accepted.add(lines);
        self.stats.bytes_sent.add(bytes as u64);
    }

    fn forget_waiting(&mut self) -> u64 {
        self.waiting.clear();
        std::mem::take(&mut self.waiting_lines)
    }

    fn succeeded(&mut self) {
        self.stats.succeeded_now();
        if std::mem::take(&mut self.failing) {
            info!("writing to {} works again", self.name);
        }
    }

    fn failed(&mut self, error: &io::Error) {
        if error.kind() == ErrorKind::BrokenPipe {
            self.stats.closed.store(true, Relaxed);
        } else if !std::mem::replace(&mut self.failing, true) {
            error!("cannot write to {}: {error}", self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use flowtable::Record;

    use super::*;
    use crate::batch::Batch;
    use crate::testing::record;

    fn batch(records: impl IntoIterator<Item = Record>) -> Batch {
        records.into_iter().collect()
    }

    /// Takes `room` bytes, then fails.
    #[derive(Clone)]
    struct Narrow(Arc<Mutex<NarrowState>>);

    struct NarrowState {
        taken: Vec<u8>,
        room: usize,
        error: ErrorKind,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut state = self.0.lock().unwrap();
            let bytes = &bytes[..bytes.len().min(state.room)];
            if bytes.is_empty() {
                return Err(state.error.into());
            }
            state.room -= bytes.len();
            state.taken.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn narrow(room: usize, error: ErrorKind) -> (Narrow, JsonOutput, Arc<OutputStats>) {
        let narrow = Narrow(Arc::new(Mutex::new(NarrowState { taken: vec![], room, error })));
        let stats = Arc::new(OutputStats::new("json"));
        let output = JsonOutput::new(Box::new(narrow.clone()), "x".into(), Arc::clone(&stats));
        (narrow, output, stats)
    }

    #[test]
    fn a_full_disk_delays_lines_and_cuts_none() {
        let (disk, mut output, stats) = narrow(100, ErrorKind::StorageFull);
        output.offer(batch([record(1), record(2), record(3)]).iter());
        output.flush();
        assert_eq!(stats.accepted.get(), 0);
        disk.0.lock().unwrap().room = usize::MAX;
        output.finish();
        assert_eq!(stats.accepted.get(), 3);
        let text = String::from_utf8(disk.0.lock().unwrap().taken.clone()).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[2]["src_port"], 3);
    }

    #[test]
    fn a_disk_that_stays_full_loses_records_and_counts_them() {
        let (_, mut output, stats) = narrow(0, ErrorKind::StorageFull);
        output.offer(batch((0..20_000).map(record)).iter());
        assert!(stats.lost(Lost::WriteFailed) > 0);
        assert!(output.waiting.len() < MAX_WAITING_BYTES + 1000);
        output.finish();
        assert_eq!(stats.lost(Lost::WriteFailed), 20_000);
        assert_eq!(stats.offered.total(), 20_000);
    }

    #[test]
    fn a_pipe_without_reader_closes_the_output() {
        let (_, mut output, stats) = narrow(0, ErrorKind::BrokenPipe);
        output.offer(batch([record(1)]).iter());
        output.flush();
        assert!(stats.is_closed());
        output.offer(batch([record(2), record(3)]).iter());
        output.finish();
        assert_eq!(stats.lost(Lost::OutputClosed), 3);
    }

    #[test]
    fn a_file_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("flows.json");
        std::fs::write(&path, "old").unwrap();
        let stats = Arc::new(OutputStats::new("json"));
        let mut output = JsonOutput::open(&Target::File(path.clone()), Arc::clone(&stats)).unwrap();
        output.offer(batch([record(1)]).iter());
        output.finish();
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.starts_with("{\"time\":") && text.ends_with("}\n"), "{text}");
        assert_eq!(stats.bytes_sent.total(), text.len() as u64);
    }
}
