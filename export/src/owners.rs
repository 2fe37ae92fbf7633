//! Conversations that more than one reader of an interface sees: a sign that the kernel steers the
//! two directions, or the packets of one, apart.
//!
//! A conversation belongs to the reader that reported it first. A fixed table remembers the latest
//! of them by hash; what is overwritten is forgotten, so splits are under-counted, not over-counted
//! (but for hashes of 48 bits that collide).

use std::hash::{BuildHasher, RandomState};

use flowtable::Record;

/// Remembered conversations, 512 KiB in all.
const SLOTS: usize = 1 << 16;
/// Readers are numbered in the low bits of a slot, from 1.
const READER_BITS: u32 = 16;

/// Who reported a conversation first.
pub(crate) struct Owners {
    slots: Vec<u64>,
    hasher: RandomState,
    /// Number of the interface of each reader.
    links: Vec<usize>,
}

impl Owners {
    /// `links`: the interface that each reader reads. `None` when no two read the same.
    pub(crate) fn new(links: Vec<usize>) -> Option<Self> {
        let mut seen = links.clone();
        seen.sort_unstable();
        seen.dedup();
        let shared = seen.len() < links.len();
        shared.then(|| Self { slots: vec![0; SLOTS], hasher: RandomState::new(), links })
    }

    /// Whether another reader of the same interface has reported the record's conversation first.
    pub(crate) fn is_foreign(&mut self, reader: usize, record: &Record) -> bool {
        let link = self.links.get(reader).copied().unwrap_or(reader);
        let (src, dst) = ((record.src, record.src_port), (record.dst, record.dst_port));
        let key = (link, src.min(dst), src.max(dst), record.protocol, record.vlan);
        let hash = self.hasher.hash_one(key);
        let slot = &mut self.slots[hash as usize % SLOTS];
        let (tag, owner) = (hash >> READER_BITS, reader as u64 + 1);
        if *slot >> READER_BITS == tag {
            return *slot & ((1 << READER_BITS) - 1) != owner;
        }
        *slot = tag << READER_BITS | owner;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::record;

    fn reverse(record: &Record) -> Record {
        Record {
            src: record.dst,
            dst: record.src,
            src_port: record.dst_port,
            dst_port: record.src_port,
            ..record.clone()
        }
    }

    #[test]
    fn the_directions_of_a_conversation_belong_to_the_reader_that_saw_one_first() {
        let mut owners = Owners::new(vec![0, 0]).unwrap();
        let up = record(1);
        assert!(!owners.is_foreign(0, &up));
        assert!(!owners.is_foreign(0, &reverse(&up)));
        assert!(owners.is_foreign(1, &reverse(&up)));
        assert!(!owners.is_foreign(0, &up));
    }

    #[test]
    fn readers_of_different_interfaces_may_see_the_same_conversation() {
        let mut owners = Owners::new(vec![0, 0, 1]).unwrap();
        assert!(!owners.is_foreign(0, &record(1)));
        assert!(!owners.is_foreign(2, &record(1)));
    }

    #[test]
    fn readers_that_share_nothing_need_no_table() {
        assert!(Owners::new(vec![0, 1]).is_none());
        assert!(Owners::new(vec![0]).is_none());
    }
}
