//! Encoded batches that wait for the server: bounded in number and bytes, the oldest dropped first.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

/// Bounds of the queue of encoded batches; those in flight are not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Compressed bytes.
    pub max_bytes: usize,
    /// Batches.
    pub max_batches: usize,
}

impl Default for QueueLimits {
    /// 64 MiB, 8,192 batches.
    fn default() -> Self {
        Self { max_bytes: 64 << 20, max_batches: 8192 }
    }
}

/// Whether a batch is in the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// In memory alone.
    No,
    /// To be written, and perhaps written already.
    Asked,
    /// On disk.
    Yes,
}

/// One POST body.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Batch {
    /// Order of making; smaller is older.
    pub number: u64,
    pub records: u64,
    /// Compressed.
    pub body: Bytes,
    /// Attempts so far.
    pub attempts: u32,
    pub not_before: Instant,
    pub made: Instant,
    pub stored: Stored,
    /// Was read back from the spool.
    pub from_spool: bool,
}

impl Batch {
    pub(crate) fn new(number: u64, records: u64, body: Bytes, now: Instant) -> Self {
        let (not_before, made, stored) = (now, now, Stored::No);
        Self { number, records, body, attempts: 0, not_before, made, stored, from_spool: false }
    }
}

/// Batches in order of age.
pub(crate) struct Queue {
    batches: VecDeque<Batch>,
    bytes: usize,
    limits: QueueLimits,
}

impl Queue {
    pub(crate) fn new(limits: QueueLimits) -> Self {
        Self { batches: VecDeque::new(), bytes: 0, limits }
    }

    /// Puts a batch, new or back from an attempt, at its place by age.
    pub(crate) fn insert(&mut self, batch: Batch) {
        self.bytes += batch.body.len();
        let place = self.batches.partition_point(|other| other.number < batch.number);
        self.batches.insert(place, batch);
    }

    /// Takes the oldest batch out while a bound is exceeded.
    pub(crate) fn drop_oldest(&mut self) -> Option<Batch> {
        if self.bytes <= self.limits.max_bytes && self.batches.len() <= self.limits.max_batches {
            return None;
        }
        self.take_at(0)
    }

    /// Whether a bound is reached.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= self.limits.max_bytes || self.batches.len() >= self.limits.max_batches
    }

    /// The oldest batch whose time has come.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Batch> {
        let place = self.batches.iter().position(|batch| batch.not_before <= now)?;
        self.take_at(place)
    }

    /// The oldest batch, due or not.
    pub(crate) fn take_any(&mut self) -> Option<Batch> {
        self.take_at(0)
    }

    /// Takes out the batch of this number.
    pub(crate) fn take(&mut self, number: u64) -> Option<Batch> {
        let place = self.batches.binary_search_by_key(&number, |batch| batch.number).ok()?;
        self.take_at(place)
    }

    pub(crate) fn find(&mut self, number: u64) -> Option<&mut Batch> {
        let place = self.batches.binary_search_by_key(&number, |batch| batch.number).ok()?;
        self.batches.get_mut(place)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Batch> {
        self.batches.iter_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.batches.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn take_at(&mut self, place: usize) -> Option<Batch> {
        let batch = self.batches.remove(place)?;
        self.bytes -= batch.body.len();
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn batch(number: u64, bytes: usize, not_before: Instant) -> Batch {
        let body = vec![0; bytes].into();
        Batch { not_before, ..Batch::new(number, 1, body, not_before) }
    }

    fn queue(max_bytes: usize, max_batches: usize) -> Queue {
        Queue::new(QueueLimits { max_bytes, max_batches })
    }

    #[test]
    fn beyond_a_bound_the_oldest_batch_goes_first() {
        let now = Instant::now();
        for mut queue in [queue(20, 100), queue(1000, 2)] {
            for number in [1, 2, 3] {
                queue.insert(batch(number, 10, now));
            }
            assert_eq!(queue.drop_oldest().unwrap().number, 1);
            assert_eq!(queue.drop_oldest(), None);
            assert_eq!((queue.len(), queue.bytes()), (2, 20));
        }
    }

    #[test]
    fn a_batch_that_comes_back_takes_its_place_by_age() {
        let now = Instant::now();
        let mut queue = queue(1000, 10);
        queue.insert(batch(2, 1, now));
        queue.insert(batch(3, 1, now));
        queue.insert(batch(1, 1, now));
        let order: Vec<u64> =
            std::iter::from_fn(|| queue.take_any()).map(|batch| batch.number).collect();
        assert_eq!(order, [1, 2, 3]);
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn a_batch_that_must_wait_does_not_hold_up_the_others() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut queue = queue(1000, 10);
        queue.insert(batch(1, 1, later));
        queue.insert(batch(2, 1, now));
        assert_eq!(queue.take_due(now).unwrap().number, 2);
        assert_eq!(queue.take_due(now), None);
        assert_eq!(queue.take_due(later).unwrap().number, 1);
    }

    #[test]
    fn the_queue_is_full_at_its_bound() {
        let mut queue = queue(10, 10);
        queue.insert(batch(1, 9, Instant::now()));
        assert!(!queue.is_full());
        queue.insert(batch(2, 1, Instant::now()));
        assert!(queue.is_full());
        assert_eq!(queue.drop_oldest(), None);
    }
}
