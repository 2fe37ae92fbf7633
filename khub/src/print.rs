//! Records as JSON lines, written by a thread of its own.
//!
//! Intake hands over blocks of lines and never waits: when more than 16 MiB are waiting, further
//! lines are left out; when the reader of the output is gone, printing ends. Lines are counted as
//! printed once they are written, and as dropped otherwise.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde::Serialize;

use crate::counters::Counters;
use crate::hub::locked;

const MAX_WAITING_BYTES: usize = 16 << 20;
const BLOCK_BYTES: usize = 64 << 10;

/// The door to the printing thread.
pub(crate) struct Printer {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Queue {
    blocks: VecDeque<Block>,
    /// Including the block being written.
    waiting_bytes: usize,
    /// No more blocks will come.
    finished: bool,
    /// The thread has ended: all is written, or the output is gone.
    ended: bool,
}

#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
    lines: u64,
}

impl Printer {
    /// Starts the thread.
    pub(crate) fn start(
        output: impl Write + Send + 'static,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        let shared =
            Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new(), counters });
        let thread = shared.clone();
        std::thread::Builder::new().name("printer".into()).spawn(move || {
            if let Err(error) = thread.write_all(output)
                && error.kind() != ErrorKind::BrokenPipe
            {
                tracing::warn!(%error, "printing records ends");
            }
            thread.end();
        })?;
        Ok(Self { shared })
    }

    /// Queues each record as a line.
    pub(crate) fn print(&self, records: impl ExactSizeIterator<Item = impl Serialize>) {
        let mut unqueued = records.len() as u64;
        let mut block = Block::default();
        let mut records = records.peekable();
        while let Some(record) = records.next() {
            if serde_json::to_writer(&mut block.bytes, &record).is_ok() {
                block.bytes.push(b'\n');
                block.lines += 1;
            }
            if block.bytes.len() >= BLOCK_BYTES || records.peek().is_none() {
                let lines = block.lines;
                if !self.shared.offer(std::mem::take(&mut block)) {
                    break;
                }
                unqueued -= lines;
            }
        }
        self.shared.counters.print_dropped.add(unqueued);
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
    fn offer(&self, block: Block) -> bool {
        let mut queue = locked(&self.queue);
        let fits = queue.waiting_bytes + block.bytes.len() <= MAX_WAITING_BYTES;
        if queue.ended || queue.finished || !fits {
            return false;
        }
        queue.waiting_bytes += block.bytes.len();
        queue.blocks.push_back(block);
        self.changed.notify_all();
        true
    }

    fn write_all(&self, mut output: impl Write) -> io::Result<()> {
        while let Some(block) = self.next() {
            if let Err(error) = output.write_all(&block.bytes).and_then(|()| output.flush()) {
                self.counters.print_dropped.add(block.lines);
                return Err(error);
            }
            self.counters.printed.add(block.lines);
            locked(&self.queue).waiting_bytes -= block.bytes.len();
        }
        Ok(())
    }

    fn end(&self) {
        let mut queue = locked(&self.queue);
        let left: u64 = queue.blocks.iter().map(|block| block.lines).sum();
        self.counters.print_dropped.add(left);
        *queue = Queue { ended: true, ..Queue::default() };
        self.changed.notify_all();
    }

    fn next(&self) -> Option<Block> {
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

    fn start(output: impl Write + Send + 'static) -> (Printer, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        (Printer::start(output, counters.clone()).unwrap(), counters)
    }

    #[test]
    fn records_are_written_as_lines() {
        let (allow, go) = channel();
        let (written, lines) = channel();
        let (printer, counters) = start(Slow { go, written });
        printer.print([1, 2].iter());
        allow.send(()).unwrap();
        assert_eq!(lines.recv().unwrap(), b"1\n2\n");
        printer.finish(Duration::from_secs(10));
        printer.print([3].iter());
        assert_eq!((counters.printed.value(), counters.print_dropped.value()), (2, 1));
    }

    #[test]
    fn a_blocked_output_loses_lines_and_blocks_nobody() {
        let (allow, go) = channel();
        let (written, _lines) = channel();
        let (printer, counters) = start(Slow { go, written });
        let long = "x".repeat(1 << 20);
        printer.print(vec![&long; 40].iter());
        // 15 lines of 3 bytes more than 1 MiB fit into 16 MiB; the one being written counts.
        assert_eq!((counters.printed.value(), counters.print_dropped.value()), (0, 25));
        printer.finish(Duration::from_millis(10));
        drop(allow);
    }

    #[test]
    fn printing_ends_when_the_reader_is_gone() {
        let (printer, counters) = start(Gone);
        printer.print([1].iter());
        printer.finish(Duration::from_secs(10));
        assert!(locked(&printer.shared.queue).ended);
        printer.print([2, 3].iter());
        assert_eq!((counters.printed.value(), counters.print_dropped.value()), (0, 3));
    }
}
