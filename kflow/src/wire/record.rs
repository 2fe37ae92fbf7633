//! What the encoder needs of a record, so that senders can encode their own types in place.

use std::net::IpAddr;

use super::MAX_TEXT_BYTES;
use crate::{Flow, Value};

/// Anything that can be written as one `CHF`.
///
/// Each method is called twice per message (sizing, then writing) and must answer the same both
/// times; a value that appears only the second time is left out, one that disappears is sent as
/// column 0 with value 0.
pub trait Record {
    /// The record without its custom columns; `customs` of the answer is not looked at, and an
    /// empty `Vec` there costs no allocation.
    fn fixed(&self) -> Flow;

    /// The custom column values in wire order, at most one per column id.
    fn customs(&self) -> impl Iterator<Item = (u32, ValueRef<'_>)>;

    /// Bytes in an unpacked message, for a record that knows; it must be what
    /// [`size_of_record`](super::size_of_record) says.
    fn unpacked_bytes(&self) -> usize {
        let fixed = self.fixed();
        super::size_of_record(fixed.src, fixed.dst, self.customs().map(|(_, value)| value))
    }
}

/// A borrowed [`Value`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// `uint32Val`.
    U32(u32),
    /// `float32Val`.
    F32(f32),
    /// `strVal`: cut to 384 bytes at a UTF-8 boundary and before any zero byte.
    Text(&'a str),
    /// `strVal`: the number in decimal digits.
    Digits(u64),
    /// `uint64Val`.
    U64(u64),
    /// `addrVal`.
    Addr(IpAddr),
    /// `uint16Val`.
    U16(u16),
    /// `uint8Val`.
    U8(u8),
}

impl<'a> From<&'a Value> for ValueRef<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::U32(v) => Self::U32(*v),
            Value::F32(v) => Self::F32(*v),
            Value::Text(v) => Self::Text(v),
            Value::U64(v) => Self::U64(*v),
            Value::Addr(v) => Self::Addr(*v),
            Value::U16(v) => Self::U16(*v),
            Value::U8(v) => Self::U8(*v),
        }
    }
}

impl Record for Flow {
    fn fixed(&self) -> Flow {
        Flow { customs: Vec::new(), ..*self }
    }

    fn customs(&self) -> impl Iterator<Item = (u32, ValueRef<'_>)> {
        self.customs.iter().map(|custom| (custom.id, ValueRef::from(&custom.value)))
    }
}

impl<R: Record + ?Sized> Record for &R {
    fn fixed(&self) -> Flow {
        (**self).fixed()
    }

    fn customs(&self) -> impl Iterator<Item = (u32, ValueRef<'_>)> {
        (**self).customs()
    }

    fn unpacked_bytes(&self) -> usize {
        (**self).unpacked_bytes()
    }
}

/// The part of a text that travels (kprobe 12.4): before the first zero byte, at most
/// [`MAX_TEXT_BYTES`], cut at a character boundary.
pub(super) fn wire_text(text: &str) -> &str {
    let text = text.split_once('\0').map_or(text, |(before, _)| before);
    let mut end = text.len().min(MAX_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A number in decimal digits, without an allocation.
pub(super) struct Digits {
    bytes: [u8; MAX_DIGITS],
    start: usize,
}

const MAX_DIGITS: usize = 20;

impl Digits {
    pub(super) fn new(mut number: u64) -> Self {
        let (mut bytes, mut start) = ([b'0'; MAX_DIGITS], MAX_DIGITS);
        loop {
            start -= 1;
            bytes[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return Self { bytes, start };
            }
        }
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[self.start..]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_at_a_character_boundary() {
        let text = format!("{}é", "a".repeat(383));
        assert_eq!(wire_text(&text), "a".repeat(383));
        let fits = format!("{}é", "a".repeat(382));
        assert_eq!(wire_text(&fits), fits);
    }

    #[test]
    fn numbers_are_written_in_digits() {
        for number in [0, 7, 10, 4_294_967_296, u64::MAX] {
            assert_eq!(Digits::new(number).as_str(), number.to_string());
        }
    }

    #[test]
    fn a_text_ends_before_its_first_zero_byte() {
        assert_eq!(wire_text("ab\0cd"), "ab");
        assert_eq!(wire_text("\0cd"), "");
    }
}
