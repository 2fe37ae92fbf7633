//! Between readers and the sending thread: parcels that wait, bounded, the oldest lost first.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::{Limits, Parcel};
use crate::feed::Pace;
use crate::stats::{Lost, OutputStats, Stats};

/// How often a replay that waits looks whether the sender is still there.
const LOOK: Duration = Duration::from_millis(100);

/// A reader's end. Clones share the bounds.
#[derive(Clone, Debug)]
pub struct PostFeed(Arc<Shared>);

impl PostFeed {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Hands a parcel over. Live it never waits: beyond the bounds the oldest parcels are lost,
    /// counted. In replay it waits for room. False when the sender has ended, and the parcel is
    /// lost.
    pub fn send(&self, parcel: Parcel) -> bool {
        self.0.push(parcel)
    }
}

/// What both ends see.
#[derive(Debug)]
pub(super) struct Shared {
    waiting: Mutex<Waiting>,
    room: Condvar,
    wake: Notify,
    pace: Pace,
    max_bytes: usize,
    max_parcels: usize,
    stats: Arc<Stats>,
}

#[derive(Debug, Default)]
struct Waiting {
    parcels: VecDeque<(Instant, Parcel)>,
    bytes: usize,
    closed: bool,
}

impl Waiting {
    fn pop(&mut self) -> Option<Parcel> {
        let (_, parcel) = self.parcels.pop_front()?;
        self.bytes -= parcel.bytes();
        Some(parcel)
    }
}

impl Shared {
    pub(super) fn new(
        pace: Pace,
        max_bytes: usize,
        max_parcels: usize,
        stats: Arc<Stats>,
    ) -> Arc<Self> {
        let (waiting, room, wake) = Default::default();
        Arc::new(Self { waiting, room, wake, pace, max_bytes, max_parcels, stats })
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn output(&self) -> Option<&OutputStats> {
        self.stats.outputs.first().map(|output| &**output)
    }

    fn push(&self, parcel: Parcel) -> bool {
        let (records, bytes) = (parcel.records(), parcel.bytes());
        let mut waiting = self.lock();
        let is_full = |waiting: &Waiting| {
            let parcels = waiting.parcels.len();
            parcels > 0 && (waiting.bytes + bytes > self.max_bytes || parcels >= self.max_parcels)
        };
        while self.pace == Pace::Replay && is_full(&waiting) && !waiting.closed {
            let waited = self.room.wait_timeout(waiting, LOOK);
            (waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        if waiting.closed {
            self.stats.feed.exporter_gone.add(records);
            return false;
        }
        self.stats.feed.sent.add(records);
        if let Some(output) = self.output() {
            output.offered.add(records);
        }
        while is_full(&waiting)
            && let Some(oldest) = waiting.pop()
            && let Some(output) = self.output()
        {
            output.lose(Lost::QueueFull, oldest.records());
        }
        waiting.bytes += bytes;
        waiting.parcels.push_back((Instant::now(), parcel));
        self.show(&waiting);
        drop(waiting);
        if self.pace == Pace::Replay {
            self.wake.notify_one();
        }
        true
    }

    /// Parcels for one POST, oldest first, when it is time: in replay each makes one; live what has
    /// come within the time to gather, counted from the oldest. `all` does not wait for more.
    pub(super) fn take(&self, limits: &Limits, now: Instant, all: bool) -> Vec<Parcel> {
        let mut waiting = self.lock();
        let due = |(since, _): &(Instant, Parcel)| now.duration_since(*since) >= limits.gather;
        let is_due = waiting.parcels.front().is_some_and(due)
            || waiting.bytes >= limits.full_bytes
            || self.pace == Pace::Replay
            || all;
        let mut taken = Vec::new();
        let mut bytes = 0;
        while is_due && let Some((_, next)) = waiting.parcels.front() {
            let after = bytes + next.bytes();
            let too_long = bytes >= limits.full_bytes
                || !limits.may_exceed && after > limits.full_bytes
                || self.pace == Pace::Replay;
            if too_long && !taken.is_empty() {
                break;
            }
            bytes = after;
            taken.extend(waiting.pop());
        }
        if !taken.is_empty() {
            self.show(&waiting);
            self.room.notify_all();
        }
        taken
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().parcels.is_empty()
    }

    /// Takes no more, and gives what has not been taken.
    pub(super) fn close(&self) -> Vec<Parcel> {
        let mut waiting = self.lock();
        waiting.closed = true;
        let left = std::iter::from_fn(|| waiting.pop()).collect();
        self.show(&waiting);
        self.room.notify_all();
        left
    }

    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Until somebody wakes the sender, or `longest` is over.
    pub(super) async fn rest(&self, longest: Duration) {
        tokio::select! {
            () = self.wake.notified() => {}
            () = tokio::time::sleep(longest) => {}
        }
    }

    fn show(&self, waiting: &Waiting) {
        self.stats.channel_messages.set(waiting.parcels.len() as u64);
        if let Some(output) = self.output() {
            output.queue_batches.set(waiting.parcels.len() as u64);
            output.queue_bytes.set(waiting.bytes as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Count, FeedStats};

    fn shared(pace: Pace, max_bytes: usize, max_parcels: usize) -> Arc<Shared> {
        let stats = Stats {
            feed: Arc::new(FeedStats::default()),
            channel_messages: Count::default(),
            early_releases: Count::default(),
            outputs: vec![Arc::new(OutputStats::new("dns"))],
        };
        Shared::new(pace, max_bytes, max_parcels, Arc::new(stats))
    }

    fn parcel(name: u8, bytes: usize) -> Parcel {
        Parcel::Dns { body: vec![name; bytes], records: 1 }
    }

    fn names(parcels: &[Parcel]) -> Vec<u8> {
        let name = |parcel: &Parcel| match parcel {
            Parcel::Dns { body, .. } => body.first().copied(),
            Parcel::Users(_) => None,
        };
        parcels.iter().filter_map(name).collect()
    }

    const LIMITS: Limits = Limits {
        gather: Duration::from_secs(1),
        full_bytes: 25,
        may_exceed: true,
        max_in_flight: 1,
        max_attempts: 1,
    };

    #[test]
    fn beyond_a_bound_the_oldest_parcel_is_lost_and_counted() {
        for shared in [shared(Pace::Live, 30, 100), shared(Pace::Live, 1000, 3)] {
            for name in 1..=5 {
                assert!(shared.push(parcel(name, 10)));
            }
            let output = shared.output().expect("one");
            assert_eq!((output.offered.total(), output.lost(Lost::QueueFull)), (5, 2));
            assert_eq!((output.queue_batches.get(), output.queue_bytes.get()), (3, 30));
            assert_eq!(names(&shared.close()), [3, 4, 5]);
            assert_eq!(output.queue_bytes.get(), 0);
            assert!(!shared.push(parcel(6, 1)));
        }
    }

    #[test]
    fn live_a_post_has_what_came_within_a_second_of_the_oldest_or_is_full() {
        let shared = shared(Pace::Live, 1000, 100);
        shared.push(parcel(1, 10));
        shared.push(parcel(2, 10));
        let now = Instant::now();
        assert!(shared.take(&LIMITS, now, false).is_empty());
        assert_eq!(names(&shared.take(&LIMITS, now + LIMITS.gather, false)), [1, 2]);
        for name in 3..=7 {
            shared.push(parcel(name, 10));
        }
        assert_eq!(names(&shared.take(&LIMITS, now, false)), [3, 4, 5]);
        assert!(shared.take(&LIMITS, now, false).is_empty());
        shared.push(parcel(8, 10));
        let strict = Limits { may_exceed: false, ..LIMITS };
        assert_eq!(names(&shared.take(&strict, now, false)), [6, 7]);
        assert_eq!(names(&shared.take(&strict, now, true)), [8]);
        assert!(shared.is_empty());
    }

    #[test]
    fn in_replay_each_parcel_is_a_post_and_a_full_queue_waits() {
        let shared = shared(Pace::Replay, 20, 100);
        std::thread::scope(|scope| {
            let feed = scope.spawn(|| (1..=50).all(|name| shared.push(parcel(name, 10))));
            let mut seen = Vec::new();
            while seen.len() < 50 {
                seen.extend(names(&shared.take(&LIMITS, Instant::now(), false)));
                assert!(shared.lock().bytes <= 20);
            }
            assert_eq!(seen, (1..=50).collect::<Vec<u8>>());
            assert!(feed.join().expect("no panic"));
        });
        assert_eq!(shared.output().expect("one").lost(Lost::QueueFull), 0);
    }

    #[test]
    fn a_replay_that_waits_is_set_free_when_the_sender_ends() {
        let shared = shared(Pace::Replay, 5, 100);
        shared.push(parcel(1, 10));
        std::thread::scope(|scope| {
            let feed = scope.spawn(|| shared.push(parcel(2, 10)));
            shared.close();
            assert!(!feed.join().expect("no panic"));
        });
    }
}
