//! Records on their way from a reader to the exporter, with what belongs to them.

use decode::app::Events;
use flowtable::tcp::TcpMetrics;
use flowtable::{Cut, Record};

/// Stands for "has none".
const NONE: u32 = u32::MAX;

/// Records, their TCP metrics and their application events, in buffers that are used again and
/// again: adding a record allocates nothing once they have grown.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    rows: Vec<Row>,
    tcp: Vec<TcpMetrics>,
    events: Events,
    by_frame: bool,
}

#[derive(Clone, Debug)]
struct Row {
    record: Record,
    tcp: u32,
    event: u32,
}

impl Batch {
    /// Room for so many records.
    #[must_use]
    pub fn with_capacity(records: usize) -> Self {
        Self { rows: Vec::with_capacity(records), ..Self::default() }
    }

    /// Makes room for so many records more.
    pub fn reserve(&mut self, records: usize) {
        self.rows.reserve(records);
    }

    /// Copies a record to the end.
    pub fn push(&mut self, cut: &Cut<'_>) {
        let tcp = cut.tcp.map_or(NONE, |tcp| {
            self.tcp.push(*tcp);
            self.tcp.len() as u32 - 1
        });
        let event = cut.event.map_or(NONE, |event| self.events.push(&event) as u32);
        self.rows.push(Row { record: cut.record.clone(), tcp, event });
    }

    /// Promises that the records are of one time and in the order of their conversations' first
    /// frames, as are those of the batches with this promise that follow. In replay they need not
    /// wait for each other then.
    pub fn promise_order(&mut self) {
        self.by_frame = true;
    }

    pub(crate) fn is_by_frame(&self) -> bool {
        self.by_frame
    }

    /// The record under this number.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Cut<'_>> {
        self.rows.get(index).map(|row| self.cut(row))
    }

    /// All records, in the order they were added.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Cut<'_>> + Clone {
        self.rows.iter().map(|row| self.cut(row))
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Bytes that the records take, with what belongs to them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&self.rows[..]) + size_of_val(&self.tcp[..]) + self.events.bytes()
    }

    /// Bytes that it holds, used or not.
    pub(crate) fn held_bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Row>()
            + self.tcp.capacity() * size_of::<TcpMetrics>()
            + self.events.held_bytes()
    }

    /// Records that fit without allocating.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.rows.capacity()
    }

    /// True without records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether a message of these may belong to one that another reader has seen.
    #[must_use]
    pub fn has_pairs(&self) -> bool {
        self.events.has_pairs()
    }

    /// Sets the latency of the message of the record under this number.
    pub fn set_latency_us(&mut self, index: usize, latency_us: u64) {
        if let Some(row) = self.rows.get(index) {
            self.events.set_latency_us(row.event as usize, latency_us);
        }
    }

    /// Moves the record under this number into a batch of its own.
    #[must_use]
    pub fn take(&mut self, index: usize) -> Option<Self> {
        let mut taken = Self::default();
        taken.push(&self.get(index)?);
        self.rows.remove(index);
        Some(taken)
    }

    /// Forgets all records and keeps the memory.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.tcp.clear();
        self.events.clear();
        self.by_frame = false;
    }

    fn cut<'a>(&'a self, row: &'a Row) -> Cut<'a> {
        Cut {
            record: &row.record,
            tcp: self.tcp.get(row.tcp as usize),
            event: self.events.get(row.event as usize),
        }
    }
}

/// Records alone, as tests and tools make them.
impl FromIterator<Record> for Batch {
    fn from_iter<I: IntoIterator<Item = Record>>(records: I) -> Self {
        let mut batch = Self::default();
        for record in records {
            batch.push(&Cut { record: &record, tcp: None, event: None });
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use decode::app::{App, Field, Kind, Value};

    use super::*;
    use crate::testing::record;

    #[test]
    fn each_record_keeps_what_belongs_to_it() {
        let mut events = Events::default();
        events.begin(App::Dns, Kind::Request).text(Field::DnsQuery, b"example.org");
        let tcp = TcpMetrics { retransmitted: 3, ..TcpMetrics::default() };
        let mut batch = Batch::with_capacity(3);
        batch.push(&Cut { record: &record(1), tcp: None, event: events.get(0) });
        batch.push(&Cut { record: &record(2), tcp: None, event: None });
        batch.push(&Cut { record: &record(3), tcp: Some(&tcp), event: None });
        let cuts: Vec<_> = batch.iter().collect();
        assert_eq!(cuts.iter().map(|cut| cut.record.src_port).collect::<Vec<_>>(), [1, 2, 3]);
        let query = cuts[0].event.unwrap().get(Field::DnsQuery);
        assert_eq!(query, Some(Value::Text("example.org")));
        assert!(cuts[1].tcp.is_none() && cuts[1].event.is_none());
        assert_eq!(cuts[2].tcp, Some(&tcp));
        let taken = batch.take(0).unwrap();
        assert_eq!((taken.len(), taken.get(0).unwrap().record.src_port), (1, 1));
        let query = taken.get(0).unwrap().event.unwrap().get(Field::DnsQuery);
        assert_eq!(query, Some(Value::Text("example.org")));
        assert_eq!(batch.get(1).unwrap().tcp, Some(&tcp));
        assert!(batch.take(2).is_none());
        batch.clear();
        assert!(batch.is_empty() && batch.get(0).is_none());
    }
}
