//! Records as JSON lines, written by a thread of its own.
//!
//! Intake hands over blocks of lines and never waits: when more than 16 MiB are waiting, further
//! lines are left out; when the reader of the output is gone, printing ends. Both are counted by
//! the caller, who is told how many lines were taken.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde::Serialize;

use crate::hub::locked;

const MAX_WAITING_BYTES: usize = 16 << 20;
const BLOCK_BYTES: usize = 64 << 10;

/// The door to the printing thread.
pub(crate) struct Printer {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    blocks: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    /// No more blocks will come.
    finished: bool,
    /// The thread has ended: all is written, or the output is gone.
    ended: bool,
}

impl Printer {
    /// Starts the thread.
    pub(crate) fn start(output: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = shared.clone();
        std::thread::Builder::new().name("printer".into()).spawn(move || {
            if let Err(error) = thread.write_all(output)
                && error.kind() != ErrorKind::BrokenPipe
            {
                tracing::warn!(%error, "printing records ends");
            }
            let mut queue = locked(&thread.queue);
            *queue = Queue { ended: true, ..Queue::default() };
            thread.changed.notify_all();
        })?;
        Ok(Self { shared })
    }

    /// Queues each record as a line and gives the number of those that were taken.
    pub(crate) fn print(&self, records: impl Iterator<Item = impl Serialize>) -> u64 {
        let mut taken = 0;
        let mut block = Vec::new();
        let mut lines = 0;
        let mut records = records.peekable();
        while let Some(record) = records.next() {
            if serde_json::to_writer(&mut block, &record).is_ok() {
                block.push(b'\n');
                lines += 1;
            }
            if block.len() >= BLOCK_BYTES || records.peek().is_none() {
                if !self.shared.offer(std::mem::take(&mut block)) {
                    return taken;
                }
                taken += std::mem::take(&mut lines);
            }
        }
        taken
    }

    /// Lets the thread write what is queued, for at most `patience`.
    pub(crate) fn finish(&self, patience: Duration) {
        let mut queue = locked(&self.shared.queue);
        queue.finished = true;
        self.shared.changed.notify_all();
        let _ = self.shared.changed.wait_timeout_while(queue, patience, |queue| !queue.ended);
    }
}

impl Shared {
    fn offer(&self, block: Vec<u8>) -> bool {
        let mut queue = locked(&self.queue);
        let fits = queue.waiting_bytes + block.len() <= MAX_WAITING_BYTES;
        if queue.ended || queue.finished || !fits {
            return false;
        }
        queue.waiting_bytes += block.len();
        queue.blocks.push_back(block);
        self.changed.notify_all();
        true
    }

    fn write_all(&self, mut output: impl Write) -> io::Result<()> {
        while let Some(block) = self.next() {
            output.write_all(&block)?;
            output.flush()?;
            locked(&self.queue).waiting_bytes -= block.len();
        }
        Ok(())
    }

    fn next(&self) -> Option<Vec<u8>> {
        let mut queue = locked(&self.queue);
        loop {
            if let Some(block) = queue.blocks.pop_front() {
                return Some(block);
            }
            if queue.finished {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Writes only after the test said so.
    struct Slow {
        go: Receiver<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.go.recv().map_err(io::Error::other)?;
            self.written.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn records_are_written_as_lines() {
        let (allow, go) = channel();
        let (written, lines) = channel();
        let printer = Printer::start(Slow { go, written }).unwrap();
        assert_eq!(printer.print([1, 2].iter()), 2);
        allow.send(()).unwrap();
        assert_eq!(lines.recv().unwrap(), b"1\n2\n");
        printer.finish(Duration::from_secs(10));
        assert_eq!(printer.print([3].iter()), 0);
    }

    #[test]
    fn a_blocked_output_loses_lines_and_blocks_nobody() {
        let (allow, go) = channel();
        let (written, _lines) = channel();
        let printer = Printer::start(Slow { go, written }).unwrap();
        let long = "x".repeat(1 << 20);
        let taken = printer.print(std::iter::repeat_n(&long, 40));
        // 16 MiB, each line 3 bytes longer than 1 MiB; the one being written still counts.
        assert_eq!(taken, 15);
        printer.finish(Duration::from_millis(10));
        drop(allow);
    }

    #[test]
    fn printing_ends_when_the_reader_is_gone() {
        let printer = Printer::start(Gone).unwrap();
        printer.print([1].iter());
        printer.finish(Duration::from_secs(10));
        assert!(locked(&printer.shared.queue).ended);
        assert_eq!(printer.print([2].iter()), 0);
    }
}
