//! Query attributes of MySQL 8 (CLIENT_QUERY_ATTRIBUTES): named values before the text of a query.
//! None of them is kept, but the text behind them is to be found.

use super::wire::number;

/// Attributes of one query at most.
const MAX_ATTRIBUTES: u64 = 1 << 10;

/// The text behind the attributes; `None` where they are malformed, or longer than what is there.
pub(super) fn text(rest: &[u8]) -> Option<&[u8]> {
    let (count, rest) = number(rest)?;
    let (_sets, rest) = number(rest)?;
    if count == 0 {
        return Some(rest);
    }
    if count > MAX_ATTRIBUTES {
        return None;
    }
    let count = count as usize;
    let (nulls, rest) = rest.split_at_checked(count.div_ceil(8))?;
    // Types are told with a query's attributes always.
    let (&1, definitions) = rest.split_first()? else { return None };
    let mut values = definitions;
    for _ in 0..count {
        (_, values) = definition(values)?;
    }
    let mut rest = definitions;
    for place in 0..count {
        let (kind, after) = definition(rest)?;
        rest = after;
        let is_null = nulls.get(place / 8)? >> (place % 8) & 1 == 1;
        if !is_null {
            values = value(kind, values)?;
        }
    }
    Some(values)
}

/// The type of an attribute, and what follows its name.
fn definition(bytes: &[u8]) -> Option<(u8, &[u8])> {
    // The second byte says whether it has a sign.
    let (&[kind, _], rest) = bytes.split_first_chunk()?;
    Some((kind, string(rest)?))
}

/// What follows a value of this type in the binary protocol.
fn value(kind: u8, bytes: &[u8]) -> Option<&[u8]> {
    let len = match kind {
        // TINY; SHORT, YEAR; LONG, FLOAT, INT24; DOUBLE, LONGLONG; NULL.
        1 => 1,
        2 | 13 => 2,
        3 | 4 | 9 => 4,
        5 | 8 => 8,
        6 => 0,
        // TIMESTAMP, DATE, TIME, DATETIME: behind their length.
        7 | 10..=12 => 1 + usize::from(*bytes.first()?),
        _ => return string(bytes),
    };
    bytes.get(len..)
}

/// What follows a text behind its length.
fn string(bytes: &[u8]) -> Option<&[u8]> {
    let (len, rest) = number(bytes)?;
    rest.get(usize::try_from(len).ok()?..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_found_behind_attributes_of_every_type() {
        let attributes = [
            &[4, 1, 0b0100, 1][..],
            b"\xfd\0\x01a",
            b"\x08\0\x01b",
            b"\x03\x80\0",
            b"\x0c\0\x01d",
            b"\x06secret",
            &[1, 2, 3, 4, 5, 6, 7, 8],
            &[4, 0xe9, 7, 1, 1],
        ]
        .concat();
        assert_eq!(text(&[&attributes[..], b"select 1"].concat()), Some(&b"select 1"[..]));
        for end in 0..attributes.len() {
            let found = text(&attributes[..end]);
            assert!(found.is_none(), "{end}: {found:?}");
        }
        assert_eq!(text(b"\0\x01select 1"), Some(&b"select 1"[..]));
        let widths = [(1, 1), (2, 2), (13, 2), (3, 4), (4, 4), (9, 4), (5, 8), (8, 8), (6, 0)];
        for (kind, width) in widths {
            let one = [&[1, 1, 0, 1, kind, 0, 0][..], &vec![7; width], b"x"].concat();
            assert_eq!(text(&one), Some(&b"x"[..]), "{kind}");
        }
    }

    #[test]
    fn what_is_malformed_has_no_text() {
        let many = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\0\x01x";
        for bytes in [&b""[..], b"\x01", b"\x01\x01\0\0x", b"\x01\x01\0\x01\xfd\0\xfe", many] {
            assert_eq!(text(bytes), None, "{bytes:x?}");
        }
    }
}
