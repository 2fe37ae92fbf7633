//! What became of every record: counters to watch while running, and the summary at the end.
//!
//! For each output, at any time: offered + recovered = accepted + sampled out + lost (by reason) +
//! waiting; after the end nothing waits but what the spool keeps for the next start.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::meter::Meter;

/// A number that one thread writes and any thread reads.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }
}

/// A part of one, such as a relative error, that one thread writes and any thread reads.
#[derive(Debug, Default)]
pub struct Ratio(AtomicU64);

impl Ratio {
    /// The value; 0.01 is one percent.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Relaxed))
    }

    pub(crate) fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Relaxed);
    }
}

/// How far sums of what is sent may be from the sums of what was offered: estimated relative
/// standard errors that resampling to the flow limit causes. 0 while nothing is left out. What
/// `--sample` adds is not in it.
#[derive(Debug, Default)]
pub struct SampleError {
    /// Bytes of the last dispatch.
    pub last_bytes: Ratio,
    /// Packets of the last dispatch.
    pub last_packets: Ratio,
    /// Bytes of the last 60 dispatches, a minute when live.
    pub minute_bytes: Ratio,
    /// Their packets.
    pub minute_packets: Ratio,
}

/// Why an output lost records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The queue of encoded batches was full; the oldest went first.
    QueueFull,
    /// The server refused the batch with a status that is never retried.
    Rejected,
    /// Not delivered when the time to finish was over.
    Deadline,
    /// The file could not be written and its buffer was full.
    WriteFailed,
    /// The reader of the pipe has gone.
    OutputClosed,
    /// The batch could not be encoded.
    Encode,
    /// The spool on disk was full; its oldest batches went first.
    SpoolFull,
    /// The spool gave back something else than was written, or could not be read.
    SpoolDamaged,
    /// As many attempts as the endpoint is given have failed.
    GaveUp,
}

impl Lost {
    /// Every reason, in the order of [`OutputSummary::lost`].
    pub const ALL: [Self; 9] = [
        Self::QueueFull,
        Self::Rejected,
        Self::Deadline,
        Self::WriteFailed,
        Self::OutputClosed,
        Self::Encode,
        Self::SpoolFull,
        Self::SpoolDamaged,
        Self::GaveUp,
    ];

    /// Name for status pages.
    pub fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Rejected => "rejected",
            Self::Deadline => "deadline",
            Self::WriteFailed => "write_failed",
            Self::OutputClosed => "output_closed",
            Self::Encode => "encode",
            Self::SpoolFull => "spool_full",
            Self::SpoolDamaged => "spool_damaged",
            Self::GaveUp => "gave_up",
        }
    }
}

/// Counters of the way from the readers to the exporter.
#[derive(Debug, Default)]
pub struct FeedStats {
    /// Records that entered the channel.
    pub sent: Count,
    /// Records dropped by readers because the channel was full (live only; replay waits).
    pub channel_full: Count,
    /// Records from a reader to whom the conversation does not belong, because another of the same
    /// interface reported it first.
    pub foreign_records: Count,
    /// Their packets.
    pub foreign_packets: Count,
    /// Records dropped by readers because the exporter had ended.
    pub exporter_gone: Count,
}

/// Counters of one output.
#[derive(Debug, Default)]
pub struct OutputStats {
    /// `kflow`, `json` or `ipfix`.
    pub name: &'static str,
    /// Records given to the output ("flows in"); rates for the status page.
    pub offered: Meter,
    /// Records that were encoded into a batch or line ("flows out").
    pub encoded: Meter,
    /// Records left out by resampling to the flow limit; the kept ones carry their weight.
    pub sampled_out: Meter,
    /// What leaving them out does to sums.
    pub sample_error: SampleError,
    /// Records that arrived: answered with 200, or written.
    pub accepted: Count,
    lost: [Count; Lost::ALL.len()],
    /// Batches encoded.
    pub batches: Count,
    /// Batches answered with 200.
    pub batches_sent: Count,
    /// Batches given up, whatever the reason.
    pub batches_lost: Count,
    /// Attempts that failed and will be repeated.
    pub attempts_failed: Count,
    /// Attempts that repeat an earlier one.
    pub retries: Count,
    /// Compressed bytes of accepted batches, or bytes written.
    pub bytes_sent: Meter,
    /// Batches waiting, without those in flight.
    pub queue_batches: Count,
    /// Their bytes.
    pub queue_bytes: Count,
    /// Requests in flight.
    pub in_flight: Count,
    /// Records that the spool held when the program started.
    pub recovered: Count,
    /// Records in the spool now, those of a request in flight included.
    pub spool_records: Count,
    /// Their batches.
    pub spool_batches: Count,
    /// Bytes of the spool on disk, with what waits for its file to be removed.
    pub spool_bytes: Count,
    /// Batches that were written to the spool since the start.
    pub spool_written: Count,
    /// 1 while the spool cannot be written and batches stay in memory.
    pub spool_failing: Count,
    /// When the output last accepted something, ms since the Unix epoch; 0 for never.
    pub last_success_ms: Count,
    pub(crate) closed: AtomicBool,
}

impl OutputStats {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    /// Records lost for one reason.
    pub fn lost(&self, reason: Lost) -> u64 {
        self.lost[reason as usize].get()
    }

    /// Records lost for any reason.
    pub fn lost_total(&self) -> u64 {
        self.lost.iter().map(Count::get).sum()
    }

    /// Whether the output can take nothing any more, such as a pipe without reader.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    pub(crate) fn lose(&self, reason: Lost, records: u64) {
        self.lost[reason as usize].add(records);
    }

    pub(crate) fn succeeded_now(&self) {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        self.last_success_ms.set(since.map_or(0, |since| since.as_millis() as u64));
    }

    pub(crate) fn tick(&self) {
        for meter in [&self.offered, &self.encoded, &self.sampled_out, &self.bytes_sent] {
            meter.tick();
        }
    }

    fn summary(&self) -> OutputSummary {
        OutputSummary {
            name: self.name,
            offered: self.offered.total(),
            sampled_out: self.sampled_out.total(),
            accepted: self.accepted.get(),
            lost: Lost::ALL.map(|reason| (reason, self.lost(reason))),
            batches: self.batches.get(),
            batches_sent: self.batches_sent.get(),
            batches_lost: self.batches_lost.get(),
            retries: self.retries.get(),
            bytes_sent: self.bytes_sent.total(),
            recovered: self.recovered.get(),
            spooled: self.spool_records.get(),
        }
    }
}

/// Counters of the exporter, shared with whoever shows them.
#[derive(Debug)]
pub struct Stats {
    /// Between readers and exporter.
    pub feed: Arc<FeedStats>,
    /// Messages waiting in the channel.
    pub channel_messages: Count,
    /// Replay only: seconds that were let through before every reader had passed them, because too
    /// many records waited; their order may then depend on the number of readers.
    pub early_releases: Count,
    /// One entry per configured output, in that order.
    pub outputs: Vec<Arc<OutputStats>>,
}

impl Stats {
    /// Whether there is an output and none can take records any more.
    pub fn all_closed(&self) -> bool {
        !self.outputs.is_empty() && self.outputs.iter().all(|output| output.is_closed())
    }

    /// The totals now.
    pub fn summary(&self) -> Summary {
        Summary {
            received: self.feed.sent.get(),
            channel_full: self.feed.channel_full.get(),
            outputs: self.outputs.iter().map(|output| output.summary()).collect(),
        }
    }
}

/// Totals of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Records that entered the channel.
    pub received: u64,
    /// Records that readers dropped because the channel was full.
    pub channel_full: u64,
    /// One entry per output.
    pub outputs: Vec<OutputSummary>,
}

impl Summary {
    /// Counts what an exporter that hangs or failed has left unaccounted as lost.
    pub(crate) fn settle(&mut self) {
        for output in &mut self.outputs {
            // What still stands in the channel was meant for every output.
            output.offered = output.offered.max(self.received);
            let given = output.offered + output.recovered;
            let lost = given.saturating_sub(output.accounted());
            output.lost[Lost::Deadline as usize].1 += lost;
        }
    }
}

/// Totals of one output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSummary {
    /// `kflow`, `json` or `ipfix`.
    pub name: &'static str,
    /// Records given to the output.
    pub offered: u64,
    /// Records left out by resampling.
    pub sampled_out: u64,
    /// Records that arrived.
    pub accepted: u64,
    /// Records lost, by reason.
    pub lost: [(Lost, u64); Lost::ALL.len()],
    /// Batches encoded.
    pub batches: u64,
    /// Batches that arrived.
    pub batches_sent: u64,
    /// Batches given up.
    pub batches_lost: u64,
    /// Attempts that repeated an earlier one.
    pub retries: u64,
    /// Compressed bytes of accepted batches, or bytes written.
    pub bytes_sent: u64,
    /// Records that the spool held at the start.
    pub recovered: u64,
    /// Records that the spool keeps for the next start.
    pub spooled: u64,
}

impl OutputSummary {
    /// Records lost for any reason.
    pub fn lost_total(&self) -> u64 {
        self.lost.iter().map(|(_, records)| records).sum()
    }

    /// Whether every record is accounted for; true once the exporter has finished.
    pub fn is_balanced(&self) -> bool {
        self.offered + self.recovered == self.accounted()
    }

    fn accounted(&self) -> u64 {
        self.accepted + self.sampled_out + self.lost_total() + self.spooled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_balanced_when_every_record_has_an_end() {
        let stats = OutputStats::new("kflow");
        stats.offered.add(10);
        stats.accepted.add(6);
        stats.sampled_out.add(1);
        stats.lose(Lost::Rejected, 2);
        assert!(!stats.summary().is_balanced());
        stats.lose(Lost::Encode, 1);
        assert!(stats.summary().is_balanced());
        assert_eq!(stats.summary().lost_total(), 3);
        assert_eq!((stats.lost(Lost::Encode), stats.lost(Lost::QueueFull)), (1, 0));
    }

    #[test]
    fn what_a_hanging_exporter_left_in_the_channel_is_lost_to_every_output() {
        let output = Arc::new(OutputStats::new("json"));
        output.offered.add(512);
        output.accepted.add(100);
        let feed = Arc::new(FeedStats::default());
        feed.sent.add(5000);
        let (channel_messages, early_releases) = Default::default();
        let stats = Stats { feed, channel_messages, early_releases, outputs: vec![output] };
        let mut summary = stats.summary();
        summary.settle();
        assert!(summary.outputs[0].is_balanced());
        assert_eq!((summary.outputs[0].offered, summary.outputs[0].lost_total()), (5000, 4900));
    }
}
