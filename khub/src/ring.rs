//! The most recent records, in order of arrival.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use crate::row::Row;

/// Packed column bytes that the ring may hold for each record it may keep, on average.
const COLUMN_BYTES_PER_RECORD: usize = 512;

/// Keeps the newest records: at most a fixed number, fewer when their columns are unusually long.
pub(crate) struct Ring {
    rows: VecDeque<Row>,
    capacity: usize,
    column_bytes: usize,
    /// Records ever pushed; the newest has the number `pushed - 1`.
    pushed: u64,
}

impl Ring {
    /// A ring for `capacity` records; memory grows with use.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { rows: VecDeque::new(), capacity: capacity.max(1), column_bytes: 0, pushed: 0 }
    }

    /// Adds a row and gives the number of older ones that had to leave. Times never go back: a row
    /// older than the newest gets its time.
    pub(crate) fn push(&mut self, mut row: Row) -> u64 {
        if let Some(newest) = self.rows.back() {
            row.time_ms = row.time_ms.max(newest.time_ms);
        }
        self.column_bytes += row.columns.bytes();
        let mut evicted = 0;
        while !self.rows.is_empty() && (self.rows.len() == self.capacity || self.is_heavy()) {
            evicted += 1;
            let oldest = self.rows.pop_front();
            self.column_bytes -= oldest.map_or(0, |oldest| oldest.columns.bytes());
        }
        self.rows.push_back(row);
        self.pushed += 1;
        evicted
    }

    fn is_heavy(&self) -> bool {
        self.column_bytes > self.capacity.saturating_mul(COLUMN_BYTES_PER_RECORD)
    }

    /// Records kept now.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Packed column bytes kept now.
    pub(crate) fn column_bytes(&self) -> usize {
        self.column_bytes
    }

    /// The number behind the newest record: where a walk from new to old begins.
    pub(crate) fn end(&self) -> u64 {
        self.pushed
    }

    /// Shows up to `most` records older than number `before`, newest first, and gives the number
    /// to go on from. `None` means that the visitor broke off or nothing older is left.
    pub(crate) fn walk_back(
        &self,
        before: u64,
        most: usize,
        mut visit: impl FnMut(&Row) -> ControlFlow<()>,
    ) -> Option<u64> {
        let first = self.pushed - self.rows.len() as u64;
        let mut number = before;
        for _ in 0..most {
            if number <= first {
                return None;
            }
            number -= 1;
            let row = self.rows.get((number - first) as usize)?;
            if visit(row).is_break() {
                return None;
            }
        }
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use kflow::wire::ValueRef;
    use kflow::{Custom, Flow, Value};

    use super::*;

    fn row(time_ms: u64, src_port: u32) -> Row {
        let flow = Flow { src_port, ..Flow::default() };
        Row::new(&flow, 1, time_ms, std::iter::empty()).0
    }

    fn ports(ring: &Ring, before: u64, most: usize) -> (Vec<u16>, Option<u64>) {
        let mut ports = Vec::new();
        let next = ring.walk_back(before, most, |row| {
            ports.push(row.src_port);
            ControlFlow::Continue(())
        });
        (ports, next)
    }

    #[test]
    fn the_oldest_record_leaves_a_full_ring() {
        let mut ring = Ring::new(3);
        let evicted: u64 = (1..=5).map(|port| ring.push(row(0, port))).sum();
        assert_eq!((ring.len(), evicted), (3, 2));
        assert_eq!(ports(&ring, ring.end(), 10), (vec![5, 4, 3], None));
    }

    #[test]
    fn a_walk_goes_on_where_it_stopped_even_when_records_left_meanwhile() {
        let mut ring = Ring::new(4);
        for port in 1..=4 {
            ring.push(row(0, port));
        }
        let (first, next) = ports(&ring, ring.end(), 2);
        assert_eq!((first, next), (vec![4, 3], Some(2)));
        ring.push(row(0, 5));
        assert_eq!(ports(&ring, 2, 2), (vec![2], None));
        for port in 6..=9 {
            ring.push(row(0, port));
        }
        assert_eq!(ports(&ring, 2, 2), (vec![], None));
    }

    #[test]
    fn times_never_go_back() {
        let mut ring = Ring::new(4);
        ring.push(row(1000, 1));
        ring.push(row(900, 2));
        let mut times = Vec::new();
        ring.walk_back(ring.end(), 2, |row| {
            times.push(row.time_ms);
            ControlFlow::Continue(())
        });
        assert_eq!(times, [1000, 1000]);
    }

    #[test]
    fn records_with_long_columns_leave_earlier() {
        let mut ring = Ring::new(10);
        let text = Value::Text("x".repeat(380));
        let customs = (0..10).map(|id| Custom { id, value: text.clone() }).collect();
        let flow = Flow { customs, ..Flow::default() };
        let tags = || std::iter::empty::<(u32, ValueRef<'_>)>();
        let evicted: u64 = (0..10).map(|_| ring.push(Row::new(&flow, 1, 0, tags()).0)).sum();
        // 10 × 384 bytes each; 5,120 are allowed for ten records.
        assert_eq!((ring.len(), evicted), (1, 9));
    }
}
