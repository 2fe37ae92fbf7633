//! Where entries live: hot and cold slab side by side, the index, and the free list.

use std::io;

use mem::Slab;

use crate::entry::{Cold, Hot, state};
use crate::index::Index;
use crate::key::{Hasher, Key};

const NO_ENTRY: u64 = u64::MAX;

/// All conversations of one table. Entry numbers are valid in both slabs.
pub(crate) struct Store {
    pub(crate) index: Index,
    pub(crate) hot: Slab<Hot>,
    pub(crate) cold: Slab<Cold>,
    /// The entry removed last, which holds the number of the one before; `NO_ENTRY` for none.
    free: u64,
    free_len: usize,
    pub(crate) hasher: Hasher,
}

impl Store {
    pub(crate) fn new(capacity: usize, hash_key: u64) -> io::Result<Self> {
        Ok(Self {
            index: Index::new(capacity)?,
            hot: Slab::with_capacity(capacity)?,
            cold: Slab::with_capacity(capacity)?,
            free: NO_ENTRY,
            free_len: 0,
            hasher: Hasher::new(hash_key),
        })
    }

    pub(crate) fn bytes(capacity: usize) -> usize {
        let entry = size_of::<Hot>() + size_of::<Cold>();
        capacity.saturating_mul(entry).saturating_add(Index::bytes(capacity))
    }

    /// Conversations held.
    pub(crate) fn len(&self) -> usize {
        self.hot.len() - self.free_len
    }

    pub(crate) fn is_full(&self) -> bool {
        self.free_len == 0 && self.hot.len() == self.hot.capacity()
    }

    /// Adds a conversation; `None` when the store is full.
    pub(crate) fn insert(&mut self, tag: u32, hot: Hot, cold: Cold) -> Option<usize> {
        let entry = if self.free != NO_ENTRY {
            let entry = self.free as usize;
            self.free = self.hot[entry].link();
            self.free_len -= 1;
            self.hot[entry] = hot;
            self.cold[entry] = cold;
            entry
        } else {
            let entry = self.hot.push(hot)?;
            self.cold.push(cold)?;
            entry
        };
        self.index.insert(tag, entry);
        Some(entry)
    }

    /// Removes a conversation; its number may be given out again at once.
    pub(crate) fn remove(&mut self, entry: usize) {
        let tag = Index::tag(self.hasher.hash(&self.hot[entry].key()));
        self.index.remove(tag, entry);
        self.hot[entry] = Hot::free(self.free);
        self.free = entry as u64;
        self.free_len += 1;
    }

    #[inline(always)]
    pub(crate) fn find(&self, tag: u32, key: &Key) -> Option<usize> {
        let hot = self.hot.as_slice();
        self.index.find(tag, |entry| hot[entry].is(key))
    }

    pub(crate) fn is_used(&self, entry: usize) -> bool {
        self.hot[entry].has(state::IN_USE)
    }

    /// Everything out; keeps the memory.
    pub(crate) fn remove_all(&mut self) {
        self.index.clear();
        self.reset();
    }

    /// Gives entries out from the first on again. Nothing may be in the index.
    pub(crate) fn reset(&mut self) {
        self.hot.clear();
        self.cold.clear();
        self.free = NO_ENTRY;
        self.free_len = 0;
    }
}
