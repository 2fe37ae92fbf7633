//! Replay: records of several readers back into the order of the capture.
//!
//! Readers send records that never get older, but run at their own speed. A second of packet time
//! leaves when every reader has passed it, sorted by time and by the conversation's first frame,
//! so that the output does not depend on how conversations were spread over readers.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use flowtable::Record;

const NS_PER_S: u64 = 1_000_000_000;

/// One second of packet time, complete and in order.
#[derive(Debug, PartialEq)]
pub(crate) struct Second {
    /// Seconds since the Unix epoch.
    pub second: u64,
    pub records: Vec<Record>,
    /// Left before all readers had passed it.
    pub early: bool,
}

/// Records that wait for the slowest reader; at most `max_records`, then the oldest second leaves
/// early.
pub(crate) struct Order {
    /// Where each reader is; `None` once it has ended.
    passed_ns: Vec<Option<u64>>,
    waiting: BTreeMap<u64, Vec<Record>>,
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

    /// Takes the records of one message; `records` is empty afterwards.
    pub(crate) fn push(&mut self, reader: usize, records: &mut Vec<Record>) {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return };
        let (first_second, last_ns) = (first.time_ns / NS_PER_S, last.time_ns);
        self.waiting_records += records.len();
        if first_second == last_ns / NS_PER_S {
            self.waiting.entry(first_second).or_default().append(records);
        } else {
            for record in records.drain(..) {
                self.waiting.entry(record.time_ns / NS_PER_S).or_default().push(record);
            }
        }
        self.pass(reader, last_ns);
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
        let (second, mut records) = self.waiting.pop_first()?;
        self.waiting_records -= records.len();
        // Stable: both directions of a conversation share the key and come from one reader.
        records.sort_by(in_order);
        Some(Second { second, records, early: open })
    }
}

/// By time and first frame; conversations that began with lost fragments share the latter, so
/// their endpoints decide.
fn in_order(a: &Record, b: &Record) -> Ordering {
    let endpoints = |record: &Record| {
        let (src, dst) = ((record.src, record.src_port), (record.dst, record.dst_port));
        (src.min(dst), src.max(dst), record.protocol, record.vlan)
    };
    let frames = (a.time_ns, a.first_frame).cmp(&(b.time_ns, b.first_frame));
    frames.then_with(|| endpoints(a).cmp(&endpoints(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::record;

    fn at(time_ns: u64, first_frame: u64) -> Record {
        Record { time_ns, first_frame, ..record(1) }
    }

    fn frames(order: &mut Order) -> Vec<Vec<u64>> {
        std::iter::from_fn(|| order.next())
            .map(|second| second.records.iter().map(|record| record.first_frame).collect())
            .collect()
    }

    #[test]
    fn a_second_leaves_when_the_slowest_reader_has_passed_it() {
        let mut order = Order::new(2, 100);
        order.push(0, &mut vec![at(NS_PER_S, 1), at(2 * NS_PER_S, 4)]);
        assert_eq!(order.next(), None);
        order.push(1, &mut vec![at(NS_PER_S + 5, 2)]);
        assert_eq!(order.next(), None);
        order.pass(1, 2 * NS_PER_S);
        assert_eq!(frames(&mut order), [vec![1, 2]]);
        order.end(0);
        assert_eq!(order.next(), None);
        order.end(1);
        assert_eq!(frames(&mut order), [vec![4]]);
    }

    #[test]
    fn records_of_one_time_are_ordered_by_first_frame_whatever_reader_they_come_from() {
        let orders = [[[1, 4], [2, 3]], [[2, 3], [1, 4]], [[1, 3], [2, 4]]];
        for [left, right] in orders {
            let mut order = Order::new(2, 100);
            order.push(1, &mut right.map(|frame| at(7, frame)).to_vec());
            order.push(0, &mut left.map(|frame| at(7, frame)).to_vec());
            order.end_all();
            assert_eq!(frames(&mut order), [vec![1, 2, 3, 4]]);
        }
    }

    #[test]
    fn too_many_waiting_records_let_the_oldest_second_leave_early() {
        let mut order = Order::new(2, 2);
        order.push(0, &mut vec![at(NS_PER_S, 1), at(NS_PER_S, 2)]);
        assert_eq!(order.next(), None);
        order.push(0, &mut vec![at(2 * NS_PER_S, 3)]);
        let left = order.next().unwrap();
        assert_eq!((left.second, left.records.len(), left.early), (1, 2, true));
        assert_eq!(order.next(), None);
    }

    #[test]
    fn an_unknown_reader_changes_nothing() {
        let mut order = Order::new(1, 10);
        order.push(7, &mut vec![at(1, 1)]);
        order.pass(9, 5 * NS_PER_S);
        order.end(9);
        assert_eq!(order.next(), None);
    }
}
