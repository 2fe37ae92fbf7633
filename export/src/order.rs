//! Replay: records of several readers back into the order of the capture.
//!
//! Readers send records that never get older, but run at their own speed. A second of packet time
//! leaves when every reader has passed it, sorted by time and by the conversation's first frame,
//! so that the output does not depend on how conversations were spread over readers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use flowtable::Cut;

use crate::batch::Batch;

const NS_PER_S: u64 = 1_000_000_000;

/// One second of packet time, complete and in order.
#[derive(Debug)]
pub(crate) struct Second {
    /// Seconds since the Unix epoch.
    pub second: u64,
    /// Left before all readers had passed it.
    pub early: bool,
    batches: Vec<Batch>,
    places: Vec<Place>,
}

/// Where a record is, and what its order depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    time_ns: u64,
    first_frame: u64,
    batch: u32,
    index: u32,
}

impl Second {
    fn new(second: u64, batches: Vec<Batch>, early: bool) -> Self {
        let mut places: Vec<Place> = Vec::with_capacity(batches.iter().map(Batch::len).sum());
        for (batch, records) in batches.iter().enumerate() {
            places.extend(records.iter().enumerate().map(|(index, cut)| Place {
                time_ns: cut.record.time_ns,
                first_frame: cut.record.first_frame,
                batch: batch as u32,
                index: index as u32,
            }));
        }
        let mut sorted = Self { second, early, batches, places };
        // Both directions of a conversation share the frame and come from one reader, in order.
        sorted.places.sort_unstable();
        sorted.settle_ties();
        sorted
    }

    /// The records in order.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = Cut<'_>> + Clone {
        self.places.iter().map(|place| self.cut(place))
    }

    /// The buffers, to be used again.
    pub(crate) fn into_batches(self) -> Vec<Batch> {
        self.batches
    }

    fn cut(&self, place: &Place) -> Cut<'_> {
        let batch = self.batches.get(place.batch as usize);
        batch
            .and_then(|batch| batch.get(place.index as usize))
            .expect("places are those of records")
    }

    /// Conversations that began with lost fragments share the frame number; their endpoints
    /// decide.
    fn settle_ties(&mut self) {
        let mut places = std::mem::take(&mut self.places);
        let is_lost = |place: &Place| place.first_frame == u64::MAX;
        for tied in places.chunk_by_mut(|a, b| is_lost(a) && is_lost(b) && a.time_ns == b.time_ns) {
            if tied.len() > 1 {
                tied.sort_by_key(|place| endpoints(self.cut(place)));
            }
        }
        self.places = places;
    }
}

type Endpoint = (IpAddr, u16);

fn endpoints(cut: Cut<'_>) -> (Endpoint, Endpoint, u8, u16) {
    let record = cut.record;
    let (src, dst) = ((record.src, record.src_port), (record.dst, record.dst_port));
    (src.min(dst), src.max(dst), record.protocol, record.vlan)
}

/// Records that wait for the slowest reader; at most `max_records`, then the oldest second leaves
/// early.
pub(crate) struct Order {
    /// Where each reader is; `None` once it has ended.
    passed_ns: Vec<Option<u64>>,
    waiting: BTreeMap<u64, Vec<Batch>>,
    waiting_records: usize,
    max_records: usize,
}

impl Order {
    pub(crate) fn new(readers: usize, max_records: usize) -> Self {
        Self {
            passed_ns: vec![Some(0); readers],
            waiting: BTreeMap::new(),
            waiting_records: 0,
            max_records,
        }
    }

    /// Takes the records of one message, which do not get older.
    pub(crate) fn push(&mut self, reader: usize, records: Batch) {
        let ends = [records.get(0), records.get(records.len().wrapping_sub(1))];
        let [Some(first), Some(last)] = ends else { return };
        let (first_second, last_ns) = (first.record.time_ns / NS_PER_S, last.record.time_ns);
        self.waiting_records += records.len();
        if first_second == last_ns / NS_PER_S {
            self.waiting.entry(first_second).or_default().push(records);
        } else {
            self.split(&records);
        }
        self.pass(reader, last_ns);
    }

    /// A batch of several seconds: one of its own for each.
    fn split(&mut self, records: &Batch) {
        let mut part = (u64::MAX, Batch::default());
        for cut in records.iter() {
            let second = cut.record.time_ns / NS_PER_S;
            if second != part.0 {
                let (before, full) = std::mem::replace(&mut part, (second, Batch::default()));
                if !full.is_empty() {
                    self.waiting.entry(before).or_default().push(full);
                }
            }
            part.1.push(&cut);
        }
        self.waiting.entry(part.0).or_default().push(part.1);
    }

    /// `reader` sends nothing older than `time_ns` any more.
    pub(crate) fn pass(&mut self, reader: usize, time_ns: u64) {
        if let Some(Some(passed_ns)) = self.passed_ns.get_mut(reader) {
            *passed_ns = time_ns.max(*passed_ns);
        }
    }

    /// `reader` sends nothing any more.
    pub(crate) fn end(&mut self, reader: usize) {
        if let Some(passed_ns) = self.passed_ns.get_mut(reader) {
            *passed_ns = None;
        }
    }

    /// No reader sends anything any more.
    pub(crate) fn end_all(&mut self) {
        self.passed_ns.fill(None);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The oldest second that can leave.
    pub(crate) fn next(&mut self) -> Option<Second> {
        let (&second, _) = self.waiting.first_key_value()?;
        let slowest_ns = self.passed_ns.iter().flatten().min();
        let open = slowest_ns.is_some_and(|&ns| second >= ns / NS_PER_S);
        if open && self.waiting_records <= self.max_records {
            return None;
        }
        let (second, batches) = self.waiting.pop_first()?;
        self.waiting_records -= batches.iter().map(Batch::len).sum::<usize>();
        Some(Second::new(second, batches, open))
    }
}

#[cfg(test)]
mod tests {
    use flowtable::Record;

    use super::*;
    use crate::testing::record;

    fn batch(records: impl IntoIterator<Item = Record>) -> Batch {
        records.into_iter().collect()
    }

    fn at(time_ns: u64, first_frame: u64) -> Record {
        Record { time_ns, first_frame, ..record(1) }
    }

    fn frames(order: &mut Order) -> Vec<Vec<u64>> {
        std::iter::from_fn(|| order.next())
            .map(|second| second.iter().map(|cut| cut.record.first_frame).collect())
            .collect()
    }

    #[test]
    fn a_second_leaves_when_the_slowest_reader_has_passed_it() {
        let mut order = Order::new(2, 100);
        order.push(0, batch([at(NS_PER_S, 1), at(2 * NS_PER_S, 4)]));
        assert!(order.next().is_none());
        order.push(1, batch([at(NS_PER_S + 5, 2)]));
        assert!(order.next().is_none());
        order.pass(1, 2 * NS_PER_S);
        assert_eq!(frames(&mut order), [vec![1, 2]]);
        order.end(0);
        assert!(order.next().is_none());
        order.end(1);
        assert_eq!(frames(&mut order), [vec![4]]);
    }

    #[test]
    fn records_of_one_time_are_ordered_by_first_frame_whatever_reader_they_come_from() {
        let orders = [[[1, 4], [2, 3]], [[2, 3], [1, 4]], [[1, 3], [2, 4]]];
        for [left, right] in orders {
            let mut order = Order::new(2, 100);
            order.push(1, batch(right.map(|frame| at(7, frame))));
            order.push(0, batch(left.map(|frame| at(7, frame))));
            order.end_all();
            assert_eq!(frames(&mut order), [vec![1, 2, 3, 4]]);
        }
    }

    #[test]
    fn too_many_waiting_records_let_the_oldest_second_leave_early() {
        let mut order = Order::new(2, 2);
        order.push(0, batch([at(NS_PER_S, 1), at(NS_PER_S, 2)]));
        assert!(order.next().is_none());
        order.push(0, batch([at(2 * NS_PER_S, 3)]));
        let left = order.next().unwrap();
        assert_eq!((left.second, left.iter().len(), left.early), (1, 2, true));
        assert!(order.next().is_none());
    }

    #[test]
    fn an_unknown_reader_changes_nothing() {
        let mut order = Order::new(1, 10);
        order.push(7, batch([at(1, 1)]));
        order.pass(9, 5 * NS_PER_S);
        order.end(9);
        assert!(order.next().is_none());
    }
}
