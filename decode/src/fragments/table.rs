//! The incomplete datagrams, found by key and in the order of their last fragments.

use std::collections::{BTreeMap, HashMap};

use ahash::RandomState;

use super::datagram::Datagram;
use crate::{Fragment, Packet};

/// What fragments of one datagram share (FRG-2, FRG-12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    src: [u8; 16],
    dst: [u8; 16],
    id: u32,
    /// 0 for IPv6, where fragments of one datagram may name different ones (RFC 8200 4.5).
    protocol: u8,
    ipv6: bool,
}

impl Key {
    pub(super) fn of(packet: &Packet, fragment: &Fragment) -> Self {
        Self {
            src: packet.src,
            dst: packet.dst,
            id: fragment.id,
            protocol: if packet.ipv6 { 0 } else { packet.protocol },
            ipv6: packet.ipv6,
        }
    }
}

#[derive(Debug)]
struct Entry {
    datagram: Datagram,
    last_ns: u64,
    /// Its place in `Table::order`.
    turn: u64,
}

/// Memory that one entry takes beside the heap of its datagram: a slot of a hash table that may be
/// half empty, and of a tree with nodes that may be.
const ENTRY_BYTES: usize = 2 * (size_of::<(Key, Entry)>() + 1) + 2 * size_of::<(u64, Key)>();

/// Memory that [`Table::insert`] adds.
pub(super) const NEW_ENTRY_BYTES: usize = ENTRY_BYTES + Datagram::NEW_HEAP_BYTES;

#[derive(Debug)]
pub(super) struct Table {
    entries: HashMap<Key, Entry, RandomState>,
    order: BTreeMap<u64, Key>,
    next_turn: u64,
    bytes: usize,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            entries: HashMap::with_hasher(RandomState::new()),
            order: BTreeMap::new(),
            next_turn: 0,
            bytes: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Memory taken by all entries.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn find(&self, key: &Key) -> Option<&Datagram> {
        self.entries.get(key).map(|entry| &entry.datagram)
    }

    /// Adds an empty datagram as the newest; `key` must not be in the table.
    pub(super) fn insert(&mut self, key: Key, now_ns: u64) {
        let datagram = Datagram::new();
        self.bytes += NEW_ENTRY_BYTES;
        self.order.insert(self.next_turn, key);
        self.entries.insert(key, Entry { datagram, last_ns: now_ns, turn: self.next_turn });
        self.next_turn += 1;
    }

    /// Makes the datagram of `key` the newest.
    pub(super) fn touch(&mut self, key: &Key, now_ns: u64) {
        if let Some(entry) = self.entries.get_mut(key) {
            self.order.remove(&entry.turn);
            self.order.insert(self.next_turn, *key);
            entry.turn = self.next_turn;
            entry.last_ns = now_ns;
            self.next_turn += 1;
        }
    }

    /// Changes the datagram of `key` and keeps the account of memory.
    pub(super) fn update<T>(
        &mut self,
        key: &Key,
        change: impl FnOnce(&mut Datagram) -> T,
    ) -> Option<T> {
        let datagram = &mut self.entries.get_mut(key)?.datagram;
        let before = datagram.heap_bytes();
        let result = change(datagram);
        self.bytes = self.bytes + datagram.heap_bytes() - before;
        Some(result)
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<Datagram> {
        let entry = self.entries.remove(key)?;
        self.order.remove(&entry.turn);
        self.bytes -= ENTRY_BYTES + entry.datagram.heap_bytes();
        Some(entry.datagram)
    }

    /// The datagram whose last fragment is oldest, and the time of that fragment.
    pub(super) fn oldest(&self) -> Option<(Key, u64)> {
        let (_, key) = self.order.first_key_value()?;
        Some((*key, self.entries.get(key)?.last_ns))
    }
}
