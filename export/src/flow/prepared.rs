//! One batch before it is encoded: each record's column values found once, in memory that is used
//! again.

use kflow::wire::{MESSAGE_OVERHEAD_BYTES, ValueRef, size_of_record};

use super::columns::Columns;
use super::sample::Weighted;
use super::wire::WireRecord;

/// Column values of one record after the other.
#[derive(Default)]
pub(super) struct Values {
    /// Always empty between two batches: the texts belong to the records.
    spare: Vec<(u32, ValueRef<'static>)>,
    rows: Vec<Row>,
}

/// Where a record's values end.
#[derive(Clone, Copy, Debug)]
struct Row {
    end: u32,
    /// Unpacked.
    bytes: u32,
}

/// The first records of a dispatch, as many as fit a message.
pub(super) struct Prepared<'a> {
    records: &'a [Weighted],
    values: Vec<(u32, ValueRef<'a>)>,
    rows: Vec<Row>,
    device_id: u32,
    /// Unpacked size of the message.
    pub bytes: usize,
}

impl Values {
    /// As many of `records`, at least one, as stay within `max_bytes` unpacked.
    pub(super) fn prepare<'a>(
        &mut self,
        records: &'a [Weighted],
        columns: &'a Columns,
        device_id: u32,
        max_bytes: usize,
    ) -> Prepared<'a> {
        let mut values = with_lifetime(std::mem::take(&mut self.spare));
        let mut rows = std::mem::take(&mut self.rows);
        rows.clear();
        let mut bytes = MESSAGE_OVERHEAD_BYTES;
        for weighted in records {
            let start = values.len();
            values.extend(columns.values(weighted.cut()));
            let record = &weighted.record;
            let own = values.get(start..).unwrap_or_default();
            let size = size_of_record(record.src, record.dst, own.iter().map(|(_, value)| *value));
            if bytes + size > max_bytes && !rows.is_empty() {
                values.truncate(start);
                break;
            }
            bytes += size;
            rows.push(Row { end: values.len() as u32, bytes: size as u32 });
        }
        let records = records.get(..rows.len()).unwrap_or_default();
        Prepared { records, values, rows, device_id, bytes }
    }

    /// Takes the memory of a batch back.
    pub(super) fn recycle(&mut self, batch: Prepared<'_>) {
        self.spare = with_lifetime(batch.values);
        self.rows = batch.rows;
    }
}

impl Prepared<'_> {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn records(&self) -> impl ExactSizeIterator<Item = WireRecord<'_>> + Clone {
        let starts = std::iter::once(0).chain(self.rows.iter().map(|row| row.end as usize));
        let places = Places { starts, rows: self.rows.iter(), records: self.records.iter() };
        places.map(|(weighted, range, bytes)| WireRecord {
            weighted,
            values: self.values.get(range).unwrap_or_default(),
            device_id: self.device_id,
            unpacked_bytes: bytes,
        })
    }
}

/// Records with the places of their values.
#[derive(Clone)]
struct Places<'a, S> {
    starts: S,
    rows: std::slice::Iter<'a, Row>,
    records: std::slice::Iter<'a, Weighted>,
}

impl<'a, S: Iterator<Item = usize>> Iterator for Places<'a, S> {
    type Item = (&'a Weighted, std::ops::Range<usize>, usize);

    fn next(&mut self) -> Option<Self::Item> {
        let (weighted, row) = (self.records.next()?, self.rows.next()?);
        Some((weighted, self.starts.next()?..row.end as usize, row.bytes as usize))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.records.size_hint()
    }
}

impl<S: Iterator<Item = usize>> ExactSizeIterator for Places<'_, S> {}

/// An empty vector in the same memory whose elements borrow from something else: the standard
/// library collects in place where both types have one layout.
fn with_lifetime<'b>(mut values: Vec<(u32, ValueRef<'_>)>) -> Vec<(u32, ValueRef<'b>)> {
    values.clear();
    values.into_iter().map(|(id, _)| (id, ValueRef::U32(0))).collect()
}

#[cfg(test)]
mod tests {
    use flowtable::Cut;

    use super::*;
    use crate::testing::record;

    #[test]
    fn batches_are_split_below_the_limit_of_a_message() {
        let columns = Columns::default();
        let weighted: Vec<Weighted> = (0..20_000)
            .map(|port| Weighted::new(&Cut { record: &record(port), tcp: None, event: None }))
            .collect();
        let mut values = Values::default();
        // (4,194,304 − 32) / 344 = 12,192.6.
        let first = values.prepare(&weighted, &columns, 1, 4 << 20);
        assert_eq!((first.len(), first.bytes), (12_192, 12_192 * 344 + 32));
        assert_eq!(first.records().len(), 12_192);
        values.recycle(first);
        assert_eq!(values.prepare(&weighted[12_192..], &columns, 1, 4 << 20).len(), 7_808);
        // One that does not fit goes alone.
        assert_eq!(values.prepare(&weighted, &columns, 1, 1).len(), 1);
    }

    #[test]
    fn the_memory_of_a_batch_is_used_again() {
        let values: Vec<(u32, ValueRef<'_>)> = Vec::with_capacity(1000);
        assert_eq!(with_lifetime(values).capacity(), 1000);
    }
}
