//! HPACK (RFC 7541), reading only: header blocks of one direction, in order.
//!
//! Own code: the readers that can be had make two vectors of each header and keep every value. Here
//! a header costs no allocation, and of those that do not matter only the size is kept, so that
//! cookies and credentials of a connection stay nowhere in memory.

use super::huffman;
use super::name::Name;
use super::table::{Dynamic, Header, STATIC, fixed};

/// Size of a dynamic table before anything was said about it (RFC 9113 section 6.5.2), bytes.
const DEFAULT_TABLE_BYTES: usize = 4096;
/// The largest dynamic table that is followed, bytes.
pub const MAX_TABLE_BYTES: usize = 64 * 1024;

/// The state of one direction is lost for good: a block was damaged, or asked for too much.
#[derive(Debug)]
pub struct Broken;

/// The reader of one direction's header blocks.
#[derive(Debug)]
pub struct Hpack {
    dynamic: Dynamic,
    /// What the receiver has allowed, at most.
    allowed_bytes: usize,
}

/// Room for one name and one value, used again and again.
#[derive(Debug, Default)]
pub struct Scratch {
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Scratch {
    /// Room that is kept between blocks, bytes each.
    const KEPT_BYTES: usize = 512;

    /// Gives back what a long header took.
    pub fn shrink(&mut self) {
        for text in [&mut self.name, &mut self.value] {
            text.clear();
            text.shrink_to(Self::KEPT_BYTES);
        }
    }

    pub fn heap_bytes(&self) -> usize {
        self.name.capacity() + self.value.capacity()
    }
}

impl Hpack {
    pub fn new() -> Self {
        Self { dynamic: Dynamic::new(DEFAULT_TABLE_BYTES), allowed_bytes: DEFAULT_TABLE_BYTES }
    }

    /// The receiver's `SETTINGS_HEADER_TABLE_SIZE`. A smaller value later does not lower what is
    /// accepted: the sender says itself when it follows.
    pub fn allow(&mut self, table_bytes: u32) {
        let table_bytes = usize::try_from(table_bytes).unwrap_or(MAX_TABLE_BYTES);
        self.allowed_bytes = self.allowed_bytes.max(table_bytes.min(MAX_TABLE_BYTES));
    }

    /// Bytes that the dynamic table may take now.
    pub fn table_bytes(&self) -> usize {
        self.dynamic.max_size()
    }

    pub fn heap_bytes(&self) -> usize {
        self.dynamic.heap_bytes()
    }

    /// Reads a whole header block and hands out each header. `room_bytes` bounds the table, beside
    /// what the receiver allowed.
    pub fn decode(
        &mut self,
        mut block: &[u8],
        room_bytes: usize,
        scratch: &mut Scratch,
        mut header: impl FnMut(Name, &[u8]),
    ) -> Result<(), Broken> {
        let mut at_start = true;
        while let Some(&first) = block.first() {
            match first {
                0x80.. => {
                    let entry = self.entry(integer(&mut block, 7)?)?;
                    header(entry.name, entry.value);
                }
                0x20..0x40 => {
                    let size = integer(&mut block, 5)?;
                    if !at_start || size > self.allowed_bytes.min(room_bytes) {
                        return Err(Broken);
                    }
                    self.dynamic.resize(size);
                    continue;
                }
                _ => {
                    let is_indexed = first >= 0x40;
                    let prefix_bits = if is_indexed { 6 } else { 4 };
                    let (name, name_len) = self.literal(&mut block, prefix_bits, scratch)?;
                    header(name, name.kept(&scratch.value));
                    if is_indexed {
                        self.dynamic.insert(name, name_len, &scratch.value);
                    }
                }
            }
            at_start = false;
        }
        Ok(())
    }

    /// A literal header, its name literal or that of an entry (section 6.2): the name and its
    /// length; the value into the scratch.
    fn literal(
        &self,
        block: &mut &[u8],
        prefix_bits: u32,
        scratch: &mut Scratch,
    ) -> Result<(Name, usize), Broken> {
        let name = match integer(block, prefix_bits)? {
            0 => {
                scratch.name.clear();
                string(block, &mut scratch.name)?;
                (Name::of(&scratch.name), scratch.name.len())
            }
            index => {
                let entry = self.entry(index)?;
                (entry.name, entry.name_len)
            }
        };
        scratch.value.clear();
        string(block, &mut scratch.value)?;
        Ok(name)
    }

    /// An entry of both tables, counted from 1 (section 2.3.3).
    fn entry(&self, index: usize) -> Result<Header<'_>, Broken> {
        let place = index.checked_sub(1).ok_or(Broken)?;
        match place.checked_sub(STATIC.len()) {
            None => fixed(place).ok_or(Broken),
            Some(back) => self.dynamic.get(back).ok_or(Broken),
        }
    }
}

/// An integer whose first byte has so many bits of it (section 5.1); at most 28 bits.
fn integer(block: &mut &[u8], prefix_bits: u32) -> Result<usize, Broken> {
    let mut next = || {
        let (byte, rest) = block.split_first().ok_or(Broken)?;
        *block = rest;
        Ok(usize::from(*byte))
    };
    let mask = (1 << prefix_bits) - 1;
    let mut value = next()? & mask;
    if value < mask {
        return Ok(value);
    }
    for shift in [0, 7, 14, 21] {
        let byte = next()?;
        value += (byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Broken)
}

/// A string (section 5.2), appended to `text`.
fn string(block: &mut &[u8], text: &mut Vec<u8>) -> Result<(), Broken> {
    let is_huffman = block.first().is_some_and(|byte| byte & 0x80 != 0);
    let length = integer(block, 7)?;
    let (bytes, rest) = block.split_at_checked(length).ok_or(Broken)?;
    *block = rest;
    if is_huffman {
        huffman::decode(bytes, text).ok_or(Broken)
    } else {
        text.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> =
            hex.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    /// `Name value` of each; of others only `Other`.
    fn headers(hpack: &mut Hpack, block: &[u8]) -> Result<Vec<String>, Broken> {
        let mut headers = Vec::new();
        hpack.decode(block, MAX_TABLE_BYTES, &mut Scratch::default(), |name, value| {
            let text = String::from_utf8_lossy(value);
            headers.push(format!("{name:?} {text}").trim_end().to_owned());
        })?;
        Ok(headers)
    }

    #[test]
    fn the_requests_of_the_rfc_are_read_with_and_without_huffman() {
        let plain = [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ];
        let huffman = [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ];
        for blocks in [plain, huffman] {
            let mut hpack = Hpack::new();
            let read = blocks.map(|block| headers(&mut hpack, &bytes(block)).unwrap());
            let host = "Authority www.example.com";
            assert_eq!(read[0], ["Method GET", "Other", "Path /", host]);
            assert_eq!(read[1], ["Method GET", "Other", "Path /", host, "Other"]);
            assert_eq!(read[2], ["Method GET", "Other", "Path /index.html", host, "Other"]);
            assert_eq!(hpack.dynamic.size(), 164);
        }
    }

    #[test]
    fn the_responses_of_the_rfc_are_read_with_evictions() {
        let blocks = [
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6
             2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
            "4883 640e ffc1 c0bf",
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab
             77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f
             9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        ];
        let mut hpack = Hpack::new();
        // The examples use a table of 256 bytes.
        headers(&mut hpack, &[0x3f, 0xe1, 0x01]).unwrap();
        assert_eq!(hpack.table_bytes(), 256);
        let read = blocks.map(|block| headers(&mut hpack, &bytes(block)).unwrap());
        assert_eq!(read[0], ["Status 302", "Other", "Other", "Other"]);
        assert_eq!(read[1], ["Status 307", "Other", "Other", "Other"]);
        assert_eq!(read[2], ["Status 200", "Other", "Other", "Other", "Other", "Other"]);
        // As the RFC has it after the third.
        assert_eq!(hpack.dynamic.size(), 215);
    }

    #[test]
    fn a_table_grows_only_as_far_as_allowed() {
        // Size 65,536 and 65,537 of a 5-bit prefix: 31 + 65,505.
        let (largest, larger) = ([0x3f, 0xe1, 0xff, 0x03], [0x3f, 0xe2, 0xff, 0x03]);
        let mut hpack = Hpack::new();
        assert!(headers(&mut hpack, &largest).is_err());
        hpack.allow(u32::MAX);
        headers(&mut hpack, &largest).unwrap();
        assert_eq!(hpack.table_bytes(), MAX_TABLE_BYTES);
        assert!(headers(&mut hpack, &larger).is_err());
    }

    #[test]
    fn damage_is_an_error() {
        for block in [
            &[0x80][..],                        // index 0
            &[0xbe],                            // beyond both tables
            &[0xff, 0x80, 0x80, 0x80, 0x80, 0], // an integer without end
            &[0x40, 0x02, b'a'],                // a string longer than the block
            &[0x82, 0x20],                      // a change of size after a header
            &[0x40, 0x81, 0xfe, 0x00],          // bad padding
            &[0x44],                            // no value
        ] {
            assert!(headers(&mut Hpack::new(), block).is_err(), "{block:x?}");
        }
    }

    #[test]
    fn an_entry_larger_than_the_table_empties_it() {
        let mut hpack = Hpack::new();
        headers(&mut hpack, b"\x44\x01b").unwrap();
        assert_eq!(headers(&mut hpack, &[0xbe]).unwrap(), ["Path b"]);
        let long = [&b"\x40\x01c\x7f\xe1\x1f"[..], &[b'x'; 4192]].concat();
        assert_eq!(headers(&mut hpack, &long).unwrap(), ["Other"]);
        assert!(headers(&mut hpack, &[0xbe]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_table_keeps_its_newest_entries_and_its_memory(
            lengths in prop::collection::vec((0..40_usize, 0..2500_usize, 1..4_usize), 1..30),
            few_large: bool)
        {
            let max_bytes = if few_large { DEFAULT_TABLE_BYTES } else { MAX_TABLE_BYTES };
            let mut table = Dynamic::new(max_bytes);
            // Newest first.
            let mut model: Vec<(Name, usize, Vec<u8>)> = Vec::new();
            for (number, (name, value, how)) in lengths.into_iter().enumerate() {
                let (value, times) = if few_large || how == 1 { (value, 1) } else { (0, 1000) };
                let kind = if number % 3 == 0 { Name::Other } else { Name::Path };
                let entry = (kind, name / how, vec![number as u8 & 0x7f; value]);
                for _ in 0..times {
                    table.insert(entry.0, entry.1, &entry.2);
                    model.insert(0, entry.clone());
                    prop_assert!(table.heap_bytes() <= max_bytes + 64);
                }
                let mut size = 0;
                let count = model
                    .iter()
                    .take_while(|(_, name_len, value)| {
                        size += name_len + value.len() + 32;
                        size <= max_bytes
                    })
                    .count();
                model.truncate(count);
                let step = 1 + count / 50;
                for (back, (name, name_len, value)) in model.iter().enumerate().step_by(step) {
                    let value = if *name == Name::Other { &[] } else { &value[..value.len().min(1024)] };
                    let header = Header { name: *name, name_len: *name_len, value };
                    prop_assert_eq!(table.get(back), Some(header));
                }
                prop_assert_eq!(table.get(count), None);
            }
        }
    }
}
