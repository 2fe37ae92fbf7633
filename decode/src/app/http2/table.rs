//! The static and the dynamic table of HPACK (RFC 7541 section 2.3 and Appendix A).

use std::collections::VecDeque;

use super::name::Name;

/// What an entry counts beside its name and value (section 4.1), bytes.
const ENTRY_OVERHEAD: usize = 32;

/// The dynamic table of one direction: sizes of all entries, values of those that matter. Its heap
/// memory stays within its size limit (and 64 bytes): an entry counts 32 bytes beside its text, and
/// takes at most 24.
#[derive(Debug, Default)]
pub struct Dynamic {
    /// Oldest first.
    entries: VecDeque<Entry>,
    /// Texts of the entries, in their order; those of entries gone at the front.
    text: Vec<u8>,
    /// Text bytes that were taken off the front of `text`, wrapping.
    base: u32,
    /// Text bytes of entries gone that are still there.
    gone: usize,
    /// Sum of the entries' sizes.
    size: usize,
    max_size: usize,
}

/// What is kept of a header, and where; a table of 64 KiB has lengths of 16 bits.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// From the very first text on, wrapping.
    start: u32,
    name_len: u16,
    value_len: u16,
    kept: u16,
    name: Name,
}

impl Entry {
    fn size(self) -> usize {
        usize::from(self.name_len) + usize::from(self.value_len) + ENTRY_OVERHEAD
    }
}

/// A header without its name's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    pub name: Name,
    /// Length of the name as sent.
    pub name_len: usize,
    /// The value as far as it is kept.
    pub value: &'a [u8],
}

impl Dynamic {
    /// `max_size` is at most 64 KiB, here and in [`Dynamic::resize`].
    pub fn new(max_size: usize) -> Self {
        Self { max_size, ..Self::default() }
    }

    /// Sum of the entries' sizes, as section 4.1 counts.
    #[cfg(test)]
    pub fn size(&self) -> usize {
        self.size
    }

    pub fn max_size(&self) -> usize {
        self.max_size
    }

    /// Sets the limit and evicts down to it.
    pub fn resize(&mut self, max_size: usize) {
        self.max_size = max_size;
        self.evict(max_size);
        self.compact();
        self.text.shrink_to(max_size);
        self.entries.shrink_to(max_size / ENTRY_OVERHEAD);
    }

    /// Adds an entry; one that is larger than the table empties it (section 4.4).
    pub fn insert(&mut self, name: Name, name_len: usize, value: &[u8]) {
        let size = name_len.saturating_add(value.len()).saturating_add(ENTRY_OVERHEAD);
        self.evict(self.max_size.saturating_sub(size));
        let (Ok(name_len), Ok(value_len)) = (name_len.try_into(), value.len().try_into()) else {
            return;
        };
        if size > self.max_size {
            return;
        }
        let kept = name.kept(value);
        self.make_room(kept.len());
        let start = self.base.wrapping_add(self.text.len() as u32);
        self.text.extend_from_slice(kept);
        let kept = kept.len() as u16;
        self.entries.push_back(Entry { start, name_len, value_len, kept, name });
        self.size += size;
    }

    /// The entry that was inserted so many before the last.
    pub fn get(&self, back: usize) -> Option<Header<'_>> {
        let place = self.entries.len().checked_sub(back)?.checked_sub(1)?;
        let entry = *self.entries.get(place)?;
        let at = entry.start.wrapping_sub(self.base) as usize;
        let value = self.text.get(at..at + usize::from(entry.kept))?;
        Some(Header { name: entry.name, name_len: usize::from(entry.name_len), value })
    }

    pub fn heap_bytes(&self) -> usize {
        self.text.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Room for one more entry. What grows takes back what the other no longer needs, so that both
    /// together stay within the limit: texts need at most `max_size` less 32 an entry, and the
    /// entries take at most 24 each, growing by doubling.
    fn make_room(&mut self, text: usize) {
        let entries = self.entries.len() + 1;
        let room = self.max_size.saturating_sub(2 * entries * size_of::<Entry>());
        if self.entries.len() == self.entries.capacity() {
            self.compact();
            self.text.shrink_to(room);
        }
        if self.text.len() + text > self.text.capacity() {
            self.compact();
            self.entries.shrink_to(2 * entries);
            let needed = self.text.len() + text;
            if needed > self.text.capacity() {
                let wanted = (2 * self.text.capacity()).min(room).max(needed);
                self.text.reserve_exact(wanted - self.text.len());
            }
        }
    }

    fn evict(&mut self, max_size: usize) {
        while self.size > max_size
            && let Some(entry) = self.entries.pop_front()
        {
            self.gone += usize::from(entry.kept);
            self.size -= entry.size();
        }
        if self.entries.is_empty() {
            self.gone = self.text.len();
            self.compact();
        }
    }

    fn compact(&mut self) {
        self.text.drain(..self.gone);
        self.base = self.base.wrapping_add(self.gone as u32);
        self.gone = 0;
    }
}

/// An entry of the static table, counted from 0.
pub fn fixed(place: usize) -> Option<Header<'static>> {
    let &(name, value) = STATIC.get(place)?;
    let (name_len, name) = (name.len(), Name::of(name.as_bytes()));
    Some(Header { name, name_len, value: name.kept(value.as_bytes()) })
}

/// Appendix A, from index 1.
pub const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];
