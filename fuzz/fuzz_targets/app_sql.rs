//! Any statement gives a bounded text without literals: no quoted string, no number at the beginning
//! of a word; and what was taken out is not put in again.
//!
//! Input: dialect and meaning of a backslash (1), then the statement.
#![no_main]

use decode::app::sql::{Backslash, Dialect, Stripped};
use libfuzzer_sys::fuzz_target;

const BACKSLASHES: [Backslash; 3] = [Backslash::Escapes, Backslash::Plain, Backslash::Unknown];

fuzz_target!(|input: &[u8]| {
    let Some((&choice, statement)) = input.split_first() else { return };
    let dialect = if choice & 1 == 0 { Dialect::Postgres } else { Dialect::Mysql };
    let backslash = BACKSLASHES[usize::from(choice >> 1) % 3];
    let stripped = Stripped::new(statement, dialect, backslash);
    let text = stripped.as_bytes();
    assert!(text.len() <= 1024);
    let quote = if dialect == Dialect::Postgres { b'"' } else { b'`' };
    let mut outside = true;
    let mut before = b' ';
    for &byte in text {
        outside ^= byte == quote;
        if outside {
            assert_ne!(byte, b'\'');
            let begins = !before.is_ascii_alphanumeric() && !matches!(before, b'_' | b'$' | 0x80..);
            assert!(!(begins && byte.is_ascii_digit()), "{}", String::from_utf8_lossy(text));
        }
        before = byte;
    }
});
