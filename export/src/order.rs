//! Replay: records of several readers back into the order of the capture.
//!
//! Readers send records that never get older, but run at their own speed. What every reader has
//! passed leaves, sorted by time and by the conversation's first frame, so that the output does not
//! depend on how conversations were spread over readers. Records of two seconds of packet time
//! never leave together.

use std::collections::VecDeque;
use std::net::IpAddr;

use flowtable::{Cut, Record};

use crate::batch::Batch;

const NS_PER_S: u64 = 1_000_000_000;

/// What one reader has sent, and how far it is.
#[derive(Debug)]
struct Lane {
    batches: VecDeque<Sent>,
    /// Batches of which all records leave, and records of the next that do.
    left: (usize, usize),
    /// It sends nothing before this any more; `None` once it has ended.
    passed: Option<Point>,
    /// Time of its last tick, and how many it had at that time.
    ticked: (u64, u32),
}

#[derive(Debug)]
struct Sent {
    records: Batch,
    /// As of the lane, when it was sent.
    ticked: (u64, u32),
}

/// A place in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    time_ns: u64,
    /// A tick's own records come behind those that packets of its time caused before it, and in
    /// front of those behind it. Every reader has the same ticks.
    phase: u32,
    /// First frame of the conversation.
    frame: u64,
}

impl Point {
    fn new(record: &Record, ticked: (u64, u32), by_frame: bool) -> Self {
        Self {
            phase: phase(record.time_ns, ticked, by_frame),
            ..Self::at(record.time_ns, record.first_frame)
        }
    }

    fn at(time_ns: u64, frame: u64) -> Self {
        Self { time_ns, phase: 0, frame }
    }

    /// Behind all records of a second; of the last one that there can be, too.
    fn behind(second: u64) -> Self {
        match (second + 1).checked_mul(NS_PER_S) {
            Some(time_ns) => Self::at(time_ns, 0),
            None => Self { time_ns: u64::MAX, phase: u32::MAX, frame: u64::MAX },
        }
    }
}

fn phase(time_ns: u64, ticked: (u64, u32), by_frame: bool) -> u32 {
    let ticks = if ticked.0 == time_ns { ticked.1 } else { 0 };
    2 * ticks + u32::from(by_frame)
}

impl Lane {
    fn new() -> Self {
        let (batches, passed) = (VecDeque::new(), Some(Point::at(0, 0)));
        Self { batches, left: (0, 0), passed, ticked: (0, 0) }
    }

    /// Time of the oldest record that waits.
    fn oldest_ns(&self) -> Option<u64> {
        let (batch, index) = self.left;
        Some(self.batches.get(batch)?.records.get(index)?.record.time_ns)
    }

    /// Takes records that do not get older.
    fn push(&mut self, records: Batch) {
        let Some(last) = records.get(records.len().wrapping_sub(1)) else { return };
        let by_frame = records.is_by_frame();
        let last = Point::new(last.record, self.ticked, by_frame);
        self.pass(Point { frame: if by_frame { last.frame } else { 0 }, ..last });
        self.batches.push_back(Sent { records, ticked: self.ticked });
    }

    fn tick(&mut self, time_ns: u64) {
        let ticks = if self.ticked.0 == time_ns { self.ticked.1 } else { 0 };
        self.ticked = (time_ns, ticks + 1);
        self.pass(Point { phase: phase(time_ns, self.ticked, false), ..Point::at(time_ns, 0) });
    }

    fn pass(&mut self, point: Point) {
        if let Some(passed) = &mut self.passed {
            *passed = point.max(*passed);
        }
    }

    /// Gives up what comes before `until`.
    fn leave(&mut self, until: Point, mut each: impl FnMut(Point, u32, u32)) {
        while let Some(Sent { records, ticked }) = self.batches.get(self.left.0) {
            let (number, index) = self.left;
            for (cut, index) in records.iter().zip(0..).skip(index) {
                let point = Point::new(cut.record, *ticked, records.is_by_frame());
                if point >= until {
                    return;
                }
                each(point, number as u32, index);
                self.left.1 += 1;
            }
            self.left = (number + 1, 0);
        }
    }
}

/// Where a record is, and what its order depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    point: Point,
    lane: u32,
    batch: u32,
    index: u32,
}

/// Records of one second of packet time that leave in order: all of it, or a part.
#[derive(Debug)]
pub(crate) struct Leaving<'a> {
    /// Seconds since the Unix epoch.
    pub second: u64,
    /// They leave before all readers have passed them.
    pub early: bool,
    lanes: &'a [Lane],
    places: &'a [Place],
}

impl<'a> Leaving<'a> {
    /// The records in order.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = Cut<'a>> + Clone + use<'a> {
        let lanes = self.lanes;
        self.places.iter().map(move |place| cut(lanes, place))
    }
}

fn cut<'a>(lanes: &'a [Lane], place: &Place) -> Cut<'a> {
    let lane = lanes.get(place.lane as usize);
    lane.and_then(|lane| lane.batches.get(place.batch as usize)?.records.get(place.index as usize))
        .expect("places are those of records")
}

/// Conversations that began with lost fragments share the frame number; their endpoints decide.
fn settle_ties(places: &mut [Place], lanes: &[Lane]) {
    for tied in places.chunk_by_mut(|a, b| a.point.frame == u64::MAX && a.point == b.point) {
        if tied.len() > 1 {
            tied.sort_by_key(|place| endpoints(cut(lanes, place)));
        }
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
    lanes: Vec<Lane>,
    waiting_records: usize,
    max_records: usize,
    /// What leaves, used again and again.
    places: Vec<Place>,
}

impl Order {
    pub(crate) fn new(readers: usize, max_records: usize) -> Self {
        let lanes = (0..readers).map(|_| Lane::new()).collect();
        Self { lanes, waiting_records: 0, max_records, places: Vec::new() }
    }

    /// Takes the records of one message, which do not get older.
    pub(crate) fn push(&mut self, reader: usize, records: Batch) {
        let Some(lane) = self.lanes.get_mut(reader) else { return };
        self.waiting_records += records.len();
        lane.push(records);
    }

    /// `reader` sends nothing older than `time_ns` any more, and has sent its tick of that time.
    pub(crate) fn tick(&mut self, reader: usize, time_ns: u64) {
        if let Some(lane) = self.lanes.get_mut(reader) {
            lane.tick(time_ns);
        }
    }

    /// `reader` sends nothing any more.
    pub(crate) fn end(&mut self, reader: usize) {
        if let Some(lane) = self.lanes.get_mut(reader) {
            lane.passed = None;
        }
    }

    /// No reader sends anything any more.
    pub(crate) fn end_all(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.passed = None);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting_records == 0
    }

    /// The oldest records, as far as they can leave. They are no longer waiting, and gone with the
    /// next call of [`Order::settle`].
    pub(crate) fn next(&mut self) -> Option<Leaving<'_>> {
        let second = self.lanes.iter().filter_map(Lane::oldest_ns).min()? / NS_PER_S;
        let slowest = self.lanes.iter().filter_map(|lane| lane.passed).min();
        let end = Point::behind(second);
        let passed = slowest.unwrap_or(end);
        let early = passed < end && self.waiting_records > self.max_records;
        let until = if early { end } else { passed.min(end) };
        self.places.clear();
        for (lane, number) in self.lanes.iter_mut().zip(0..) {
            lane.leave(until, |point, batch, index| {
                self.places.push(Place { point, lane: number, batch, index });
            });
        }
        if self.places.is_empty() {
            return None;
        }
        self.waiting_records -= self.places.len();
        // Both directions of a conversation share the frame and come from one reader, in order.
        self.places.sort_unstable();
        settle_ties(&mut self.places, &self.lanes);
        Some(Leaving { second, early, lanes: &self.lanes, places: &self.places })
    }

    /// Whether no record of this second comes any more.
    pub(crate) fn has_passed(&self, second: u64) -> bool {
        let end = Point::behind(second);
        self.lanes.iter().filter_map(|lane| lane.passed).all(|passed| passed >= end)
    }

    /// Gives back the buffers of records that have left.
    pub(crate) fn settle(&mut self, mut recycle: impl FnMut(Batch)) {
        for lane in &mut self.lanes {
            lane.batches.drain(..lane.left.0).for_each(|sent| recycle(sent.records));
            lane.left.0 = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::record;

    fn batch(records: impl IntoIterator<Item = Record>) -> Batch {
        records.into_iter().collect()
    }

    fn at(time_ns: u64, first_frame: u64) -> Record {
        Record { time_ns, first_frame, ..record(1) }
    }

    fn frames(order: &mut Order) -> Vec<Vec<u64>> {
        let mut all = Vec::new();
        while let Some(leaving) = order.next() {
            all.push(leaving.iter().map(|cut| cut.record.first_frame).collect());
            order.settle(drop);
        }
        all
    }

    #[test]
    fn records_leave_when_the_slowest_reader_has_passed_them_and_seconds_apart() {
        let mut order = Order::new(2, 100);
        order.push(0, batch([at(NS_PER_S, 1), at(2 * NS_PER_S, 4)]));
        assert!(order.next().is_none());
        order.push(1, batch([at(NS_PER_S + 5, 2)]));
        assert_eq!(frames(&mut order), [vec![1]]);
        order.tick(1, NS_PER_S + 4);
        assert!(order.next().is_none());
        assert!(!order.has_passed(1));
        order.tick(1, 3 * NS_PER_S);
        assert_eq!(frames(&mut order), [vec![2]]);
        assert!(order.has_passed(1) && !order.has_passed(2));
        order.end(0);
        assert_eq!(frames(&mut order), [vec![4]]);
        order.push(1, batch([at(3 * NS_PER_S, 5)]));
        assert!(order.next().is_none() && !order.is_empty());
        order.end(1);
        assert_eq!(frames(&mut order), [vec![5]]);
        assert!(order.is_empty() && order.has_passed(3));
    }

    #[test]
    fn a_part_of_a_batch_may_stay_and_buffers_come_back_once() {
        let mut order = Order::new(2, 100);
        order.push(0, batch([at(1, 1), at(2, 2), at(3, 3)]));
        order.push(0, batch([at(3, 4), at(5, 5)]));
        order.push(1, batch([at(2, 6)]));
        let mut settled = Vec::new();
        let mut left = Vec::new();
        for tick_ns in [2, 4, 6] {
            order.tick(1, tick_ns);
            while let Some(leaving) = order.next() {
                left.push(leaving.iter().map(|cut| cut.record.first_frame).collect::<Vec<_>>());
                order.settle(|batch| settled.push(batch.len()));
            }
        }
        order.end_all();
        assert_eq!((&left[..], &settled[..]), (&[vec![1, 2, 6], vec![3, 4]][..], &[1, 3][..]));
        assert_eq!(frames(&mut order), [vec![5]]);
        assert!(order.lanes.iter().all(|lane| lane.batches.is_empty()));
    }

    #[test]
    fn records_in_order_leave_when_every_reader_has_passed_their_frame() {
        let sorted = |frames: &[u64]| {
            let mut batch = batch(frames.iter().map(|&frame| at(7, frame)));
            batch.promise_order();
            batch
        };
        let mut order = Order::new(2, 100);
        order.push(0, sorted(&[1, 4]));
        order.push(1, sorted(&[2, 3]));
        assert_eq!(frames(&mut order), [vec![1, 2]]);
        order.push(1, sorted(&[6]));
        assert_eq!(frames(&mut order), [vec![3]]);
        order.push(0, sorted(&[5, 8]));
        assert_eq!(frames(&mut order), [vec![4, 5]]);
        // Behind the tick: in the order of frames again, whatever left before.
        order.tick(0, 7);
        assert_eq!(frames(&mut order), Vec::<Vec<u64>>::new());
        order.push(0, batch([at(7, 3), at(7, 1)]));
        order.tick(1, 7);
        assert_eq!(frames(&mut order), [vec![6, 8]]);
        order.push(0, sorted(&[2]));
        order.push(1, batch([at(7, 2)]));
        order.push(1, sorted(&[1]));
        assert_eq!(frames(&mut order), [vec![1, 2, 3]]);
        order.end_all();
        assert_eq!(frames(&mut order), [vec![1, 2]]);
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
        order.settle(drop);
        assert!(order.next().is_none());
    }

    #[test]
    fn the_last_time_that_there_can_be_is_no_end_of_the_order() {
        let mut order = Order::new(1, 10);
        order.push(0, batch([at(u64::MAX - 1, 1), at(u64::MAX, 2), at(u64::MAX, u64::MAX)]));
        order.tick(0, u64::MAX);
        order.end(0);
        assert_eq!(frames(&mut order), [vec![1, 2, u64::MAX]]);
        assert!(order.is_empty() && order.has_passed(u64::MAX / NS_PER_S));
    }

    #[test]
    fn an_unknown_reader_changes_nothing() {
        let mut order = Order::new(1, 10);
        order.push(7, batch([at(1, 1)]));
        order.tick(9, 5 * NS_PER_S);
        order.end(9);
        assert!(order.next().is_none());
    }
}
