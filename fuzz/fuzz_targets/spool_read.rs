//! Any bytes as a segment of the spool: what is whole is found, stays the same when the rest is
//! cut off, and each entry's header is written as it was read.
#![no_main]

use std::io::Cursor;

use export::spool::{ENTRY_BYTES, Entry, MAGIC, scan};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = scan(&mut Cursor::new(bytes));
    let segment = [&MAGIC, bytes].concat();
    let found = scan(&mut Cursor::new(&segment)).expect("memory can be read");
    let whole = &segment[..found.whole_bytes as usize];
    let again = scan(&mut Cursor::new(whole)).expect("memory can be read");
    assert_eq!(found, again);
    let mut end = MAGIC.len() as u64;
    for entry in &found.entries {
        assert_eq!(entry.offset, end);
        end = entry.end();
        let start = entry.offset as usize;
        let header: &[u8; ENTRY_BYTES] = whole[start..].first_chunk().expect("a whole header");
        assert_eq!(Entry::decode(header, entry.offset), Some(*entry));
        let _ = entry.matches(&whole[start + ENTRY_BYTES..end as usize]);
        // The mark and the sum aside, headers have one form.
        let written = Entry { done: false, ..*entry }.encode();
        assert_eq!(Entry::decode(&written, entry.offset), Some(Entry { done: false, ..*entry }));
    }
    assert_eq!(end, found.whole_bytes);
});
