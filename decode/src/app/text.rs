//! Text that is put together on the stack before it becomes an attribute.

use std::fmt;

use super::event::MAX_TEXT_BYTES;

/// A little more than an attribute keeps, so that the cut is made at a character's border by
/// [`Draft::text`](super::Draft::text) and not here.
const CAPACITY_BYTES: usize = MAX_TEXT_BYTES + 4;

/// Up to [`CAPACITY_BYTES`]; what does not fit is left out.
pub(crate) struct TextBuf {
    bytes: [u8; CAPACITY_BYTES],
    len: usize,
}

impl TextBuf {
    /// Without text.
    pub(crate) fn new() -> Self {
        Self { bytes: [0; CAPACITY_BYTES], len: 0 }
    }

    /// What was written so far.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Makes it empty again.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// Whether more text would be left out.
    pub(crate) fn is_full(&self) -> bool {
        self.len == CAPACITY_BYTES
    }

    /// Appends bytes as they are.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        let count = bytes.len().min(room.len());
        if let (Some(room), Some(bytes)) = (room.get_mut(..count), bytes.get(..count)) {
            room.copy_from_slice(bytes);
            self.len += count;
        }
    }

    /// Appends one byte as it is.
    pub(crate) fn push_byte(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    /// Appends a number without leading zeros.
    pub(crate) fn push_decimal(&mut self, number: u16) {
        if number >= 10 {
            self.push_decimal(number / 10);
        }
        self.push_byte(b'0' + (number % 10) as u8);
    }

    /// Appends two hexadecimal digits in lower case.
    pub(crate) fn push_hex(&mut self, byte: u8) {
        for nibble in [byte >> 4, byte & 15] {
            self.push_byte(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
        }
    }

    /// Appends a label of a domain name: dots and backslashes get a backslash (RFC 1035 section
    /// 5.1), bytes that are not printable become `\DDD`. With `utf8`, what is valid UTF-8 counts as
    /// printable, as it is in multicast DNS (RFC 6762 section 16).
    pub(crate) fn push_label(&mut self, label: &[u8], utf8: bool) {
        // Without early return, so that it is done for many bytes at a time.
        if label.iter().fold(true, |plain, &byte| plain & is_plain(byte)) {
            self.push(label);
        } else if utf8 {
            self.push_utf8_label(label);
        } else {
            label.iter().for_each(|&byte| self.push_label_byte(byte));
        }
    }

    fn push_utf8_label(&mut self, label: &[u8]) {
        for chunk in label.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character.is_control() || character.is_ascii() {
                    let mut encoded = [0; 4];
                    let encoded = character.encode_utf8(&mut encoded);
                    encoded.bytes().for_each(|byte| self.push_label_byte(byte));
                } else {
                    self.push(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
            chunk.invalid().iter().for_each(|&byte| self.push_label_byte(byte));
        }
    }

    fn push_label_byte(&mut self, byte: u8) {
        match byte {
            b'.' | b'\\' => self.push(&[b'\\', byte]),
            _ if is_plain(byte) => self.push_byte(byte),
            _ => self.push(&[b'\\', b'0' + byte / 100, b'0' + byte / 10 % 10, b'0' + byte % 10]),
        }
    }
}

/// Printable, and without a meaning of its own in a name.
fn is_plain(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte) & (byte != b'.') & (byte != b'\\')
}

impl fmt::Write for TextBuf {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut TextBuf)) -> String {
        let mut text = TextBuf::new();
        write(&mut text);
        String::from_utf8_lossy(text.as_bytes()).into_owned()
    }

    #[test]
    fn numbers_have_no_leading_zeros() {
        for (number, expected) in [(0, "0"), (9, "9"), (10, "10"), (255, "255"), (65_535, "65535")]
        {
            assert_eq!(text(|text| text.push_decimal(number)), expected);
        }
        assert_eq!(text(|text| [0, 0x1c, 0xff].iter().for_each(|&b| text.push_hex(b))), "001cff");
    }

    #[test]
    fn bytes_of_a_label_that_are_not_printable_are_escaped() {
        assert_eq!(text(|text| text.push_label(b"a b", false)), "a b");
        assert_eq!(
            text(|text| text.push_label(b"a.b\\\x00\x7f\xff", false)),
            r"a\.b\\\000\127\255"
        );
        assert_eq!(text(|text| text.push_label("ä".as_bytes(), false)), r"\195\164");
        assert_eq!(
            text(|text| text.push_label("Küche.\u{7}\u{85}".as_bytes(), true)),
            r"Küche\.\007\194\133"
        );
        assert_eq!(text(|text| text.push_label(b"\xc3x", true)), r"\195x");
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut text = TextBuf::new();
        for _ in 0..200 {
            text.push(b"0123456789");
        }
        assert!(text.is_full());
        assert_eq!(text.as_bytes().len(), CAPACITY_BYTES);
        text.push_byte(b'x');
        text.push_label(b"x\0", true);
        assert_eq!(text.as_bytes().len(), CAPACITY_BYTES);
    }
}
