//! One side's records, and the handshake messages in them, over any number of pieces.

/// Most that is kept of one side (spec 13.5), bytes.
pub(super) const MAX_KEPT_BYTES: usize = 16 * 1024;

pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;

const HEADER_BYTES: usize = 5;
/// Longest record, with room for what encryption adds (RFC 5246 section 6.2.3).
const MAX_RECORD_BYTES: u16 = (1 << 14) + 2048;

/// Place within the records of one side.
#[derive(Debug, Default)]
pub(super) struct Records {
    header: [u8; HEADER_BYTES],
    header_len: u8,
    /// Bytes of the current record that are still to come.
    left: u16,
    /// Handshake messages and alerts that came in part.
    partial: Vec<u8>,
}

/// What the next bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// The header of a record is complete: its type, version and length.
    Begin { kind: u8, version: u16, len: u16 },
    /// Content of a record of this type.
    Content { kind: u8, bytes: &'a [u8] },
    /// No header of a record.
    Foreign,
    /// More bytes are needed.
    More,
}

impl Records {
    /// Takes from the front of `bytes`.
    pub(super) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Next<'a> {
        if self.left > 0 {
            let len = usize::from(self.left).min(bytes.len());
            let (content, rest) = bytes.split_at(len);
            *bytes = rest;
            self.left -= len as u16;
            return match content {
                [] => Next::More,
                _ => Next::Content { kind: self.header[0], bytes: content },
            };
        }
        while let Some((&byte, rest)) = bytes.split_first() {
            *bytes = rest;
            if let Some(place) = self.header.get_mut(usize::from(self.header_len)) {
                *place = byte;
            }
            self.header_len += 1;
            if usize::from(self.header_len) == HEADER_BYTES {
                return self.begin();
            }
            if !self.can_be_header() {
                return Next::Foreign;
            }
        }
        Next::More
    }

    /// Passes over lost bytes; false when the next record is lost with them.
    pub(super) fn skip(&mut self, lost: u64) -> bool {
        match u16::try_from(lost) {
            Ok(lost) if lost <= self.left => {
                self.left -= lost;
                true
            }
            _ => false,
        }
    }

    /// Whether content can be joined with what was kept.
    pub(super) fn has_room(&self, bytes: &[u8]) -> bool {
        self.partial.is_empty() || self.partial.len() + bytes.len() <= MAX_KEPT_BYTES
    }

    /// Joins content with what was kept of it, as far as there is room; gives all that is there.
    pub(super) fn join<'a>(&'a mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.partial.is_empty() {
            return bytes;
        }
        let room = MAX_KEPT_BYTES.saturating_sub(self.partial.len());
        self.extend(bytes.get(..room).unwrap_or(bytes));
        &self.partial
    }

    /// Keeps the last `len` bytes of what was joined; false when that is too much.
    pub(super) fn keep(&mut self, bytes: &[u8], len: usize) -> bool {
        if len >= MAX_KEPT_BYTES {
            return false;
        }
        if len == 0 {
            self.forget();
        } else if self.partial.is_empty() {
            let from = bytes.len().saturating_sub(len);
            self.extend(bytes.get(from..).unwrap_or_default());
        } else {
            self.partial.drain(..self.partial.len().saturating_sub(len));
        }
        true
    }

    /// Forgets what was kept.
    pub(super) fn forget(&mut self) {
        self.partial = Vec::new();
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.partial.capacity()
    }

    /// Doubles as vectors do, except for the first time, and not beyond the limit.
    fn extend(&mut self, bytes: &[u8]) {
        let len = self.partial.len() + bytes.len();
        if len > self.partial.capacity() {
            let doubled = (self.partial.capacity() * 2).clamp(len, len.max(MAX_KEPT_BYTES));
            self.partial.reserve_exact(doubled - self.partial.len());
        }
        self.partial.extend_from_slice(bytes);
    }

    fn can_be_header(&self) -> bool {
        let header = self.header.get(..self.header_len.into()).unwrap_or_default();
        can_be_header(header)
    }

    fn begin<'a>(&mut self) -> Next<'a> {
        let [kind, major, minor, high, low] = self.header;
        self.header_len = 0;
        self.left = u16::from_be_bytes([high, low]);
        if !can_be_header(&self.header) || self.left > MAX_RECORD_BYTES {
            return Next::Foreign;
        }
        Next::Begin { kind, version: u16::from_be_bytes([major, minor]), len: self.left }
    }
}

/// Whether these bytes can begin a record: its type, and a version up to 3.4.
pub(super) fn can_be_header(bytes: &[u8]) -> bool {
    let kind_fits =
        bytes.first().is_none_or(|kind| (CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(kind));
    let major_fits = bytes.get(1).is_none_or(|&major| major <= 3);
    let minor_fits = bytes.get(2).is_none_or(|&minor| minor <= 4);
    kind_fits && major_fits && minor_fits
}
