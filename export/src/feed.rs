//! The channel between readers and exporter: bounded, never blocking a live reader.

use std::fmt;
use std::sync::Arc;

use crate::batch::Batch;
use crate::stats::FeedStats;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use flowtable::Cut;

/// A batch that holds more is not used again: else each would become as large as the largest one.
pub const MAX_KEPT_BYTES: usize = 128 << 10;

/// Whose time drives the exporter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The monotonic clock: a dispatch each second; a full channel loses records, counted.
    Live,
    /// Packet time: a dispatch per second of the records' `time_ns`; a full channel blocks the
    /// reader, and the same capture gives the same output whatever the number of readers.
    Replay,
}

/// What travels through the channel.
#[derive(Debug)]
pub(crate) enum Message {
    Records {
        reader: usize,
        records: Batch,
    },
    /// Replay: the reader will send no record older than this.
    Tick {
        reader: usize,
        time_ns: u64,
    },
    /// The reader has ended.
    End {
        reader: usize,
    },
}

/// Makes the channel: one [`Feed`] per reader, and the end that [`crate::start`] takes.
///
/// `capacity` is in messages, at least 1; in live mode it must hold what all readers send in 50 ms
/// with some reserve. Memory is bounded by `capacity` times the largest [`Batch`] sent.
pub fn channel(readers: usize, capacity: usize, pace: Pace) -> (Vec<Feed>, Intake) {
    let capacity = capacity.max(1);
    let (messages, received) = bounded(capacity);
    let (recycle, empties) = bounded(capacity);
    let stats = Arc::new(FeedStats::default());
    let feeds = (0..readers)
        .map(|reader| Feed {
            reader,
            pace,
            messages: messages.clone(),
            empties: empties.clone(),
            stats: Arc::clone(&stats),
        })
        .collect();
    let (links, observer) = (Vec::new(), None);
    (feeds, Intake { readers, links, pace, received, recycle, stats, observer })
}

/// A reader's end of the channel. Dropping it tells the exporter that the reader has ended.
#[derive(Debug)]
pub struct Feed {
    reader: usize,
    pace: Pace,
    messages: Sender<Message>,
    empties: Receiver<Batch>,
    stats: Arc<FeedStats>,
}

impl Feed {
    /// Hands `records` over and leaves an empty batch in its place, a used one if there is any.
    ///
    /// Live: never blocks; when the channel is full the records are dropped and counted. Replay:
    /// waits for room; records must not be older than those sent before. Returns false when the
    /// exporter has ended.
    pub fn send(&mut self, records: &mut Batch) -> bool {
        if records.is_empty() {
            return true;
        }
        let count = records.len() as u64;
        let empty = self.empties.try_recv().unwrap_or_default();
        let full = std::mem::replace(records, empty);
        let message = Message::Records { reader: self.reader, records: full };
        let refused = match self.pace {
            Pace::Live => self.messages.try_send(message).err(),
            Pace::Replay => {
                self.messages.send(message).err().map(|e| TrySendError::Disconnected(e.0))
            }
        };
        let Some(refused) = refused else {
            self.stats.sent.add(count);
            return true;
        };
        let alive = refused.is_full();
        let lost = if alive { &self.stats.channel_full } else { &self.stats.exporter_gone };
        lost.add(count);
        if let Message::Records { records: full, .. } = refused.into_inner() {
            *records = full;
            records.clear();
        }
        alive
    }

    /// Replay: promises that no record older than `time_ns` follows, so that the seconds before
    /// can leave. Each reader must tick as packet time passes, at least once a second of it, also
    /// when no packet is its own. Live: does nothing. Returns false when the exporter has ended.
    pub fn tick(&mut self, time_ns: u64) -> bool {
        self.pace == Pace::Live
            || self.messages.send(Message::Tick { reader: self.reader, time_ns }).is_ok()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if self.pace == Pace::Replay {
            // An exporter that has ended needs no word.
            let _ = self.messages.send(Message::End { reader: self.reader });
        }
    }
}

/// The exporter's end of the channel.
#[derive(Debug)]
pub struct Intake {
    pub(crate) readers: usize,
    /// Number of the interface of each reader; empty when nobody said.
    pub(crate) links: Vec<usize>,
    pub(crate) pace: Pace,
    pub(crate) received: Receiver<Message>,
    recycle: Sender<Batch>,
    pub(crate) stats: Arc<FeedStats>,
    pub(crate) observer: Option<Observer>,
}

/// Sees every record on the exporter's thread, before the outputs and whatever becomes of it there.
pub struct Observer(Box<Observe>);

type Observe = dyn FnMut(&mut dyn Iterator<Item = Cut<'_>>) + Send;

impl Observer {
    /// Calls this with the records of each batch. It must not wait: records pile up meanwhile.
    pub fn new(observe: impl FnMut(&mut dyn Iterator<Item = Cut<'_>>) + Send + 'static) -> Self {
        Self(Box::new(observe))
    }

    pub(crate) fn see<'a>(&mut self, mut cuts: impl Iterator<Item = Cut<'a>>) {
        (self.0)(&mut cuts);
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

impl Intake {
    /// Shows all records to somebody besides the outputs.
    #[must_use]
    pub fn with_observer(self, observer: Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Tells which interface each reader reads, so that conversations which two readers of one
    /// interface report are noticed (live only).
    #[must_use]
    pub fn with_links(self, links: Vec<usize>) -> Self {
        Self { links, ..self }
    }

    /// Hands a used batch back to the readers, or frees it when they have enough, or when it has
    /// grown by what few batches need.
    pub(crate) fn recycle(&self, mut records: Batch) {
        if records.held_bytes() > MAX_KEPT_BYTES {
            return;
        }
        records.clear();
        // A full channel means that the readers have enough.
        let _ = self.recycle.try_send(records);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::record;

    #[test]
    fn a_full_channel_loses_the_records_of_a_live_reader_and_counts_them() {
        let (mut feeds, intake) = channel(1, 1, Pace::Live);
        let mut records: Batch = [record(1), record(2)].into_iter().collect();
        assert!(feeds[0].send(&mut records));
        assert!(records.is_empty());
        records = [record(3), record(4), record(5)].into_iter().collect();
        assert!(feeds[0].send(&mut records));
        assert!(records.is_empty());
        assert_eq!((intake.stats.sent.get(), intake.stats.channel_full.get()), (2, 3));
    }

    #[test]
    fn used_batches_come_back_to_the_reader() {
        let (mut feeds, intake) = channel(1, 2, Pace::Live);
        let used: Batch = (0..1000).map(record).collect();
        let capacity = used.capacity();
        intake.recycle(used);
        let mut records: Batch = [record(2)].into_iter().collect();
        feeds[0].send(&mut records);
        assert_eq!((records.len(), records.capacity()), (0, capacity));
    }

    #[test]
    fn records_after_the_exporters_end_are_counted() {
        for pace in [Pace::Live, Pace::Replay] {
            let (mut feeds, intake) = channel(1, 2, pace);
            let stats = Arc::clone(&intake.stats);
            drop(intake);
            assert!(!feeds[0].send(&mut [record(1)].into_iter().collect()));
            assert_eq!(stats.exporter_gone.get(), 1);
        }
    }

    #[test]
    fn an_observer_sees_every_record_whatever_the_pace_and_without_outputs() {
        for pace in [Pace::Live, Pace::Replay] {
            let (mut feeds, intake) = channel(1, 8, pace);
            let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
            let place = Arc::clone(&seen);
            let observer = Observer::new(move |cuts| {
                place.lock().unwrap().extend(cuts.map(|cut| cut.record.src_port));
            });
            let exporter = crate::start(Vec::new(), intake.with_observer(observer)).unwrap();
            feeds[0].send(&mut [record(1), record(2)].into_iter().collect());
            feeds[0].send(&mut [record(3)].into_iter().collect());
            feeds.clear();
            exporter.finish(std::time::Duration::from_secs(5));
            assert_eq!(*seen.lock().unwrap(), [1, 2, 3], "{pace:?}");
        }
    }
}
