//! Custom column values of one record, packed: a few bytes each instead of a 40-byte enum.
//!
//! Per value: column id (varint), kind, then the number (varint), 4 bytes of float, or a length and
//! the bytes. A million records with fifteen columns take about 100 MB this way.

use std::net::IpAddr;

use kflow::wire::{MAX_TEXT_BYTES, ValueRef};

/// Most packed bytes of one record; a probe's longest record has about 1,700.
const MAX_BYTES: usize = 8192;

const U32: u8 = 0;
const F32: u8 = 1;
const TEXT: u8 = 2;
const U64: u8 = 3;
const ADDR: u8 = 4;
const U16: u8 = 5;
const U8: u8 = 6;

/// The packed values of one record.
#[derive(Default)]
pub(crate) struct Packed(Box<[u8]>);

impl Packed {
    /// Packs `values` until the room is used up; the second part is how many did not fit. Texts are
    /// cut at 384 bytes.
    pub(crate) fn new<'a>(values: impl Iterator<Item = (u32, ValueRef<'a>)>) -> (Self, u64) {
        let mut bytes = Vec::new();
        let mut left_out = 0;
        for (id, value) in values {
            let before = bytes.len();
            write_value(&mut bytes, id, value);
            if bytes.len() > MAX_BYTES {
                bytes.truncate(before);
                left_out += 1;
            }
        }
        (Self(bytes.into()), left_out)
    }

    /// The values in their order.
    pub(crate) fn iter(&self) -> Values<'_> {
        Values { rest: &self.0 }
    }

    /// Memory in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.0.len()
    }
}

/// Iterator of [`Packed::iter`].
#[derive(Clone)]
pub(crate) struct Values<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Values<'a> {
    type Item = (u32, ValueRef<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let id = self.varint()? as u32;
        let value = match self.take(1)?[0] {
            U32 => ValueRef::U32(self.varint()? as u32),
            F32 => ValueRef::F32(f32::from_le_bytes(self.array()?)),
            TEXT => {
                let length = self.varint()? as usize;
                ValueRef::Text(std::str::from_utf8(self.take(length)?).ok()?)
            }
            U64 => ValueRef::U64(self.varint()?),
            ADDR => match self.take(1)?[0] {
                4 => ValueRef::Addr(IpAddr::from(self.array::<4>()?)),
                _ => ValueRef::Addr(IpAddr::from(self.array::<16>()?)),
            },
            U16 => ValueRef::U16(self.varint()? as u16),
            _ => ValueRef::U8(self.varint()? as u8),
        };
        Some((id, value))
    }
}

impl<'a> Values<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

fn write_value_of_text(bytes: &mut Vec<u8>, text: &str) {
    let text = cut(text);
    write_number(bytes, TEXT, text.len() as u64);
    bytes.extend(text.as_bytes());
}

fn write_value(bytes: &mut Vec<u8>, id: u32, value: ValueRef<'_>) {
    write_varint(bytes, id.into());
    match value {
        ValueRef::U32(v) => write_number(bytes, U32, v.into()),
        ValueRef::Digits(v) => write_value_of_text(bytes, &v.to_string()),
        ValueRef::U64(v) => write_number(bytes, U64, v),
        ValueRef::U16(v) => write_number(bytes, U16, v.into()),
        ValueRef::U8(v) => write_number(bytes, U8, v.into()),
        ValueRef::F32(v) => {
            bytes.push(F32);
            bytes.extend(v.to_le_bytes());
        }
        ValueRef::Text(v) => write_value_of_text(bytes, v),
        ValueRef::Addr(IpAddr::V4(v)) => {
            bytes.extend([ADDR, 4]);
            bytes.extend(v.octets());
        }
        ValueRef::Addr(IpAddr::V6(v)) => {
            bytes.extend([ADDR, 6]);
            bytes.extend(v.octets());
        }
    }
}

fn write_number(bytes: &mut Vec<u8>, kind: u8, number: u64) {
    bytes.push(kind);
    write_varint(bytes, number);
}

fn write_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_is_read_back() {
        let values = [
            (3, ValueRef::U32(2)),
            (80_501, ValueRef::U64(u64::MAX)),
            (5, ValueRef::F32(0.25)),
            (19, ValueRef::Text("google.com")),
            (20, ValueRef::Text("")),
            (23, ValueRef::Addr(IpAddr::from([10, 211, 55, 16]))),
            (24, ValueRef::Addr(IpAddr::from([7_u16; 8]))),
            (u32::MAX, ValueRef::U16(443)),
            (0, ValueRef::U8(255)),
        ];
        let (packed, left_out) = Packed::new(values.into_iter());
        assert_eq!(packed.iter().collect::<Vec<_>>(), values);
        assert_eq!(left_out, 0);
    }

    #[test]
    fn a_small_integer_takes_three_bytes() {
        let (packed, _) = Packed::new([(3, ValueRef::U32(2))].into_iter());
        assert_eq!(packed.bytes(), 3);
    }

    #[test]
    fn values_beyond_the_room_of_a_record_are_left_out_and_counted() {
        let text = "x".repeat(1000);
        let (packed, left_out) = Packed::new((0..30).map(|id| (id, ValueRef::Text(&text))));
        // 384 + 4 bytes each.
        assert_eq!(packed.iter().count(), 21);
        assert_eq!(left_out, 9);
        assert_eq!(packed.iter().next(), Some((0, ValueRef::Text(&text[..384]))));
    }
}
