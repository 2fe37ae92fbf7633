//! The dense index: 8-byte slots that point from a hash to an entry number.
//!
//! Linear probing at a load of at most one half, backward-shift delete. A slot holds a 32-bit tag
//! and the entry number plus one; the home position is taken from the tag, so that deleting and
//! growing need no look at the entries.
//!
//! An index for millions of entries that holds a few would touch memory for millions, so it grows
//! through levels of doubling size. All are reserved at start, and entries move to the next one a
//! few with each insert: no insert waits for a whole table to be moved.

use std::io;

use mem::Slab;

/// Slots of the smallest level.
const FIRST_SLOTS: usize = 1 << 12;
/// Old slots moved with each insert. At least 4, so that a move ends before the next one begins.
const MOVED_PER_INSERT: usize = 8;

/// Points from tags to entry numbers.
pub(crate) struct Index {
    /// Levels of doubling size, the next one last; those that were left are empty.
    reserve: Vec<Slab<u64>>,
    now: Level,
    /// The level before, while its entries move.
    old: Option<Leaving>,
    len: usize,
}

struct Level {
    slots: Slab<u64>,
    mask: usize,
}

struct Leaving {
    level: Level,
    /// Slots before this one have moved.
    moved: usize,
}

impl Index {
    /// Room for `capacity` entries, at most 2³¹.
    pub(crate) fn new(capacity: usize) -> io::Result<Self> {
        let last = Self::slots(capacity);
        if last > 1 << 32 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut reserve = Vec::new();
        let mut size = last;
        while size > FIRST_SLOTS {
            reserve.push(Slab::zeroed(size)?);
            size /= 2;
        }
        let now = Level::new(Slab::zeroed(size)?);
        Ok(Self { reserve, now, old: None, len: 0 })
    }

    /// Bytes of the last level, and of the one before while entries move from it.
    pub(crate) fn bytes(capacity: usize) -> usize {
        Self::slots(capacity).saturating_mul(size_of::<u64>() * 3 / 2)
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
        self.now.slots.prefetch(tag as usize & self.now.mask);
    }

    /// First entry with this tag for which `matches` holds.
    #[inline(always)]
    pub(crate) fn find(&self, tag: u32, mut matches: impl FnMut(usize) -> bool) -> Option<usize> {
        match (self.now.find(tag, &mut matches), &self.old) {
            (None, Some(old)) => {
                old.level.find(tag, |entry| entry != MOVED_ENTRY && matches(entry))
            }
            (found, _) => found,
        }
    }

    /// Adds an entry that is not in the index yet. The caller keeps to the capacity.
    #[inline]
    pub(crate) fn insert(&mut self, tag: u32, entry: usize) {
        if self.len * 2 >= self.now.slots.len() || self.old.is_some() {
            self.grow();
        }
        self.len += 1;
        self.now.put(slot(tag, entry));
    }

    /// Takes an entry out and closes the gap behind it.
    pub(crate) fn remove(&mut self, tag: u32, entry: usize) {
        let wanted = slot(tag, entry);
        let in_old = self.old.as_mut().is_some_and(|old| old.level.mark_moved(wanted));
        if in_old || self.now.remove(wanted) {
            self.len -= 1;
        } else {
            debug_assert!(false, "entry {entry} is in the index");
        }
    }

    /// Takes all entries out, and stays at its level.
    pub(crate) fn clear(&mut self) {
        self.now.slots.as_mut_slice().fill(0);
        self.old = None;
        self.len = 0;
    }

    /// Begins the move to the next level when the load asks for it, and moves some slots.
    #[cold]
    fn grow(&mut self) {
        if self.old.is_none() {
            let Some(next) = self.reserve.pop() else { return };
            let level = std::mem::replace(&mut self.now, Level::new(next));
            self.old = Some(Leaving { level, moved: 0 });
        }
        let Some(old) = &mut self.old else { return };
        for _ in 0..MOVED_PER_INSERT {
            let Some(&slot) = old.level.slots.as_slice().get(old.moved) else {
                // Its memory goes back to the system.
                self.old = None;
                return;
            };
            if slot != 0 && slot as u32 != MOVED {
                self.now.put(slot);
                old.level.slots[old.moved] = slot | u64::from(MOVED);
            }
            old.moved += 1;
        }
    }
}

/// Entry half of a slot that has moved on. Its tag stays, so that what was pushed past it is still
/// found.
const MOVED: u32 = u32::MAX;
/// What [`Level::find`] takes a slot that has moved on for; no entry has this number.
const MOVED_ENTRY: usize = MOVED as usize - 1;

fn slot(tag: u32, entry: usize) -> u64 {
    u64::from(tag) << 32 | (entry as u64 + 1)
}

impl Level {
    fn new(slots: Slab<u64>) -> Self {
        let mask = slots.len() - 1;
        Self { slots, mask }
    }

    #[inline(always)]
    fn find(&self, tag: u32, mut matches: impl FnMut(usize) -> bool) -> Option<usize> {
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

    #[inline]
    fn put(&mut self, slot: u64) {
        let mask = self.mask;
        let slots = self.slots.as_mut_slice();
        let mut at = (slot >> 32) as usize & mask;
        while slots[at] != 0 {
            at = (at + 1) & mask;
        }
        slots[at] = slot;
    }

    fn position(&self, wanted: u64) -> Option<usize> {
        let slots = self.slots.as_slice();
        let mut at = (wanted >> 32) as usize & self.mask;
        while slots[at] != wanted {
            if slots[at] == 0 {
                return None;
            }
            at = (at + 1) & self.mask;
        }
        Some(at)
    }

    /// In a level that is being left nothing may shift back past where the move stands.
    fn mark_moved(&mut self, wanted: u64) -> bool {
        let found = self.position(wanted);
        if let Some(at) = found {
            self.slots[at] = wanted | u64::from(MOVED);
        }
        found.is_some()
    }

    fn remove(&mut self, wanted: u64) -> bool {
        let Some(mut hole) = self.position(wanted) else { return false };
        let mask = self.mask;
        let slots = self.slots.as_mut_slice();
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
        true
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

    #[test]
    fn growing_through_all_levels_loses_nothing() {
        let mut index = Index::new(100_000).unwrap();
        let tag = |n: usize| (n as u32).wrapping_mul(0x9e37_79b9);
        for n in 0..100_000 {
            index.insert(tag(n), n);
            // Some leave again, also while entries move.
            if n % 3 == 0 {
                index.remove(tag(n / 2), n / 2);
                index.insert(tag(n / 2), n / 2);
            }
            if n % 997 == 0 {
                assert!((0..=n).all(|m| index.find(tag(m), |entry| entry == m) == Some(m)));
            }
        }
        assert_eq!((index.len, index.now.slots.len()), (100_000, 1 << 18));
        for n in 0..100_000 {
            index.remove(tag(n), n);
        }
        assert!((0..100_000).all(|n| index.find(tag(n), |_| true).is_none()));
        assert!(index.now.slots.as_slice().iter().all(|&slot| slot == 0));
    }

    #[test]
    fn a_tag_of_zero_is_a_tag_like_others() {
        let mut index = Index::new(100_000).unwrap();
        for n in 0..5000 {
            index.insert(0, n);
        }
        assert_eq!(index.find(0, |entry| entry == 4999), Some(4999));
        assert_eq!(index.find(0, |entry| entry == 5000), None);
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
            prop_assert_eq!(index.len, model.len());
        }
    }
}
