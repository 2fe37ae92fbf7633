//! The dense index: 8-byte slots that point from a hash to an entry number.
//!
//! Linear probing at a load of at most one half, backward-shift delete. A slot holds a 32-bit tag
//! and the entry number plus one; the home position is taken from the tag, so that deleting needs
//! no look at the entries.

use std::io;

use mem::Slab;

/// Points from tags to entry numbers.
pub(crate) struct Index {
    slots: Slab<u64>,
    mask: usize,
}

impl Index {
    /// Room for `capacity` entries, at most 2³¹.
    pub(crate) fn new(capacity: usize) -> io::Result<Self> {
        let slots = Self::slots(capacity);
        if slots > 1 << 32 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Self { slots: Slab::zeroed(slots)?, mask: slots - 1 })
    }

    pub(crate) fn bytes(capacity: usize) -> usize {
        Self::slots(capacity).saturating_mul(size_of::<u64>())
    }

    /// At most half of them are ever used.
    fn slots(capacity: usize) -> usize {
        capacity.saturating_mul(2).max(64).checked_next_power_of_two().unwrap_or(usize::MAX)
    }

    /// Part of a hash that the index keeps.
    #[inline(always)]
    pub(crate) fn tag(hash: u64) -> u32 {
        (hash >> 32) as u32
    }

    /// Hints that `tag` is looked up soon.
    #[inline(always)]
    pub(crate) fn prefetch(&self, tag: u32) {
        self.slots.prefetch(tag as usize & self.mask);
    }

    /// First entry with this tag for which `matches` holds.
    #[inline(always)]
    pub(crate) fn find(&self, tag: u32, mut matches: impl FnMut(usize) -> bool) -> Option<usize> {
        let slots = self.slots.as_slice();
        let mut at = tag as usize & self.mask;
        loop {
            let slot = slots[at];
            if slot == 0 {
                return None;
            }
            if (slot >> 32) as u32 == tag {
                let entry = (slot as u32 - 1) as usize;
                if matches(entry) {
                    return Some(entry);
                }
            }
            at = (at + 1) & self.mask;
        }
    }

    /// Adds an entry that is not in the index yet. The caller keeps to the capacity.
    #[inline]
    pub(crate) fn insert(&mut self, tag: u32, entry: usize) {
        let mask = self.mask;
        let slots = self.slots.as_mut_slice();
        let mut at = tag as usize & mask;
        while slots[at] != 0 {
            at = (at + 1) & mask;
        }
        slots[at] = u64::from(tag) << 32 | (entry as u64 + 1);
    }

    /// Takes all entries out.
    pub(crate) fn clear(&mut self) {
        self.slots.as_mut_slice().fill(0);
    }

    /// Takes an entry out and closes the gap behind it.
    pub(crate) fn remove(&mut self, tag: u32, entry: usize) {
        let mask = self.mask;
        let slots = self.slots.as_mut_slice();
        let wanted = u64::from(tag) << 32 | (entry as u64 + 1);
        let mut hole = tag as usize & mask;
        while slots[hole] != wanted {
            if slots[hole] == 0 {
                debug_assert!(false, "entry {entry} is in the index");
                return;
            }
            hole = (hole + 1) & mask;
        }
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let slot = slots[at];
            if slot == 0 {
                break;
            }
            let home = (slot >> 32) as usize & mask;
            // The slot may move back if its home does not lie between the hole and itself.
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
                slots[hole] = slot;
                hole = at;
            }
        }
        slots[hole] = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn entries_with_the_same_tag_are_told_apart_by_the_caller() {
        let mut index = Index::new(8).unwrap();
        index.insert(7, 0);
        index.insert(7, 1);
        assert_eq!(index.find(7, |entry| entry == 1), Some(1));
        index.remove(7, 0);
        assert_eq!(index.find(7, |_| true), Some(1));
        assert_eq!(index.find(8, |_| true), None);
    }

    proptest! {
        #[test]
        fn behaves_like_a_map_under_any_order_of_inserts_and_removes(
            steps in prop::collection::vec((0u32..96, any::<bool>()), 1..400)
        ) {
            // 64 entries in 128 slots: small enough for chains that wrap round the end.
            let mut index = Index::new(64).unwrap();
            let mut model = HashMap::new();
            for (tag, add) in steps {
                let tag = tag.wrapping_mul(0x0101_0101) | 0x7f;
                if add && model.len() < 64 && !model.contains_key(&tag) {
                    model.insert(tag, model.len() + 1000);
                    index.insert(tag, model[&tag]);
                } else if let Some(entry) = model.remove(&tag) {
                    index.remove(tag, entry);
                }
                for (&tag, &entry) in &model {
                    prop_assert_eq!(index.find(tag, |_| true), Some(entry));
                }
            }
            prop_assert_eq!(index.slots.as_slice().iter().filter(|&&s| s != 0).count(), model.len());
        }
    }
}
