//! What a segment of the spool looks like on disk, and how much of one is whole.
//!
//! A segment is [`MAGIC`] and entries; all numbers are little-endian. An entry is a header of 40
//! bytes and the body:
//!
//! | Bytes | What |
//! |---|---|
//! | 0 | 0 while the batch waits, 255 when it is done; the one byte that is ever written again |
//! | 1–3 | 0 |
//! | 4–7 | length of the body |
//! | 8–15 | number of the batch |
//! | 16–23 | records in it |
//! | 24–31 | when it was made, ms since the Unix epoch |
//! | 32–35 | CRC-32C of the body |
//! | 36–39 | CRC-32C of bytes 1–35 |
//!
//! A header that does not match its sum ends the segment: what was cut by a crash, or what the
//! disk made of the last moments before power was lost.

use std::io::{self, Read, Seek, SeekFrom};

/// First bytes of a segment.
pub const MAGIC: [u8; 8] = *b"kspool\x001";
/// Bytes of an entry before its body.
pub const ENTRY_BYTES: usize = 40;
/// The longest body that is believed, bytes.
pub const MAX_BODY_BYTES: u32 = 64 << 20;

const WAITING: u8 = 0;
/// Overwrites the first byte of an entry.
pub(super) const DONE: u8 = 0xff;

/// The header of a batch, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Number of the batch; larger is younger.
    pub number: u64,
    /// Records in it.
    pub records: u64,
    /// When it was made, ms since the Unix epoch.
    pub made_ms: u64,
    /// Length of the body.
    pub body_bytes: u32,
    /// CRC-32C of the body.
    pub body_crc: u32,
    /// Whether it needs no sending any more.
    pub done: bool,
    /// Where the header starts in its file.
    pub offset: u64,
}

/// What a segment holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Whole entries, in the order they were written.
    pub entries: Vec<Entry>,
    /// Up to here the file is whole; 0 when it is no segment.
    pub whole_bytes: u64,
}

impl Entry {
    /// Describes `body`, to be written at `offset`.
    pub(super) fn new(number: u64, records: u64, made_ms: u64, body: &[u8], offset: u64) -> Self {
        let (body_bytes, body_crc) = (body.len() as u32, crc32c::crc32c(body));
        Self { number, records, made_ms, body_bytes, body_crc, done: false, offset }
    }

    /// The header as it is written.
    #[must_use]
    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[0] = if self.done { DONE } else { WAITING };
        bytes[4..8].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.records.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.made_ms.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.body_crc.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[1..36]);
        bytes[36..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads a header that stands at `offset`; `None` when it is damaged.
    #[must_use]
    pub fn decode(bytes: &[u8; ENTRY_BYTES], offset: u64) -> Option<Self> {
        let (checked, sum) = bytes.split_last_chunk::<4>()?;
        let (mark, checked) = checked.split_first()?;
        if crc32c::crc32c(checked) != u32::from_le_bytes(*sum) {
            return None;
        }
        // Behind the mark and three bytes without meaning.
        let (body_bytes, rest) = checked.get(3..)?.split_first_chunk::<4>()?;
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let (records, rest) = rest.split_first_chunk::<8>()?;
        let (made_ms, rest) = rest.split_first_chunk::<8>()?;
        let body_crc = rest.first_chunk::<4>()?;
        let body_bytes = u32::from_le_bytes(*body_bytes);
        (body_bytes <= MAX_BODY_BYTES).then_some(Self {
            number: u64::from_le_bytes(*number),
            records: u64::from_le_bytes(*records),
            made_ms: u64::from_le_bytes(*made_ms),
            body_bytes,
            body_crc: u32::from_le_bytes(*body_crc),
            done: *mark != WAITING,
            offset,
        })
    }

    /// Where the next entry starts.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + ENTRY_BYTES as u64 + u64::from(self.body_bytes)
    }

    /// Whether this is the body that was written.
    #[must_use]
    pub fn matches(&self, body: &[u8]) -> bool {
        body.len() == self.body_bytes as usize && crc32c::crc32c(body) == self.body_crc
    }
}

/// Walks the headers of a segment; bodies are skipped and not checked.
///
/// # Errors
/// Only those of `file`; whatever its bytes are, the answer is what of them is whole.
pub fn scan(file: &mut (impl Read + Seek)) -> io::Result<Scan> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    let mut magic = [0; MAGIC.len()];
    if length < magic.len() as u64 {
        return Ok(Scan::default());
    }
    file.read_exact(&mut magic)?;
    if magic != MAGIC {
        return Ok(Scan::default());
    }
    let mut scan = Scan { entries: Vec::new(), whole_bytes: MAGIC.len() as u64 };
    while length - scan.whole_bytes >= ENTRY_BYTES as u64 {
        let mut header = [0; ENTRY_BYTES];
        file.read_exact(&mut header)?;
        let Some(entry) = Entry::decode(&header, scan.whole_bytes) else { break };
        if entry.end() > length {
            break;
        }
        scan.whole_bytes = file.seek(SeekFrom::Start(entry.end()))?;
        scan.entries.push(entry);
    }
    Ok(scan)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn segment(bodies: &[&[u8]]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for (number, body) in (1..).zip(bodies) {
            let entry = Entry::new(number, 7, 1_700_000_000_000, body, bytes.len() as u64);
            bytes.extend(entry.encode());
            bytes.extend_from_slice(body);
        }
        bytes
    }

    fn scanned(bytes: &[u8]) -> Scan {
        scan(&mut Cursor::new(bytes)).unwrap()
    }

    #[test]
    fn an_entry_has_these_bytes() {
        let bytes = Entry::new(1, 2, 3, b"123456789", 8).encode();
        // e3069283 is the check value of CRC-32C (RFC 3720, B.4 and the catalogue of CRCs).
        let expected = [
            &[0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0][..],
            &[3, 0, 0, 0, 0, 0, 0, 0, 0x83, 0x92, 0x06, 0xe3],
        ];
        assert_eq!(&bytes[..36], expected.concat());
        assert_eq!(Entry::decode(&bytes, 8).unwrap().end(), 8 + 40 + 9);
    }

    #[test]
    fn a_segment_is_whole_up_to_where_it_was_cut() {
        let bytes = segment(&[b"first", b"", b"third"]);
        assert_eq!(scanned(&bytes).entries.len(), 3);
        let whole = [8, 53, 93, 138];
        for cut in 0..=bytes.len() {
            let scan = scanned(&bytes[..cut]);
            let expected = whole.iter().rev().find(|&&end| end <= cut).copied().unwrap_or(0);
            assert_eq!(scan.whole_bytes, expected as u64, "cut at {cut}");
        }
    }

    #[test]
    fn a_tail_of_zeros_or_noise_is_no_entry() {
        let whole = segment(&[b"first"]);
        for tail in [vec![0; 4096], vec![0x5a; 4096]] {
            let scan = scanned(&[&whole[..], &tail].concat());
            assert_eq!((scan.entries.len(), scan.whole_bytes), (1, whole.len() as u64));
        }
        assert_eq!(scanned(&[0; 4096]), Scan::default());
    }

    #[test]
    fn the_mark_is_the_only_byte_that_may_change() {
        let bytes = segment(&[b"first"]);
        for place in 8..48 {
            let mut changed = bytes.clone();
            changed[place] ^= 0xff;
            let scan = scanned(&changed);
            if place == 8 {
                assert!(scan.entries[0].done);
            } else {
                assert!(scan.entries.is_empty(), "byte {place}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_whole_reads_the_same_again(
            mut bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
            framed: bool,
        ) {
            if framed {
                bytes = [segment(&[b"one", &bytes]), bytes].concat();
            }
            let scan = scanned(&bytes);
            proptest::prop_assert!(scan.whole_bytes <= bytes.len() as u64);
            let again = scanned(&bytes[..scan.whole_bytes as usize]);
            proptest::prop_assert_eq!(scan, again);
        }
    }
}
