//! Domain names where they stand in a message, compressed or not (RFC 1035 section 4.1.4).

use std::fmt;

use super::super::text::TextBuf;

/// Compression pointers followed in one name (spec 13.2).
const MAX_POINTERS: u32 = 32;
/// Longest name on the wire, length bytes and root included (RFC 1035 section 2.3.4).
const MAX_NAME_BYTES: usize = 255;

/// A name of a message, known to be well-formed: it ends, within 255 bytes and 32 pointers.
///
/// [`Display`](fmt::Display) writes its labels joined with `.`, without a dot at the end, so the
/// root is empty. Dots and backslashes within a label get a backslash before them, bytes that are
/// not printable ASCII become `\DDD`.
#[derive(Clone, Copy)]
pub struct Name<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Name<'a> {
    /// The name that starts at byte `at` of a message; `None` when it is malformed.
    #[must_use]
    pub fn at(message: &'a [u8], at: usize) -> Option<Self> {
        let mut labels = Labels { message, at, pointers: 0 };
        let mut bytes = 1;
        loop {
            match labels.step() {
                Step::Label(label) => bytes += 1 + label.len(),
                Step::Root => return Some(Self { message, at }),
                Step::Malformed => return None,
            }
            if bytes > MAX_NAME_BYTES {
                return None;
            }
        }
    }

    /// Its labels, leftmost first, as they are on the wire. None for the root.
    pub fn labels(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut labels = Labels { message: self.message, at: self.at, pointers: 0 };
        std::iter::from_fn(move || match labels.step() {
            Step::Label(label) => Some(label),
            Step::Root | Step::Malformed => None,
        })
    }

    /// Appends it as text, see [`TextBuf::push_label`].
    pub(crate) fn write(&self, utf8: bool, text: &mut TextBuf) {
        for (number, label) in self.labels().enumerate() {
            if number > 0 {
                text.push_byte(b'.');
            }
            text.push_label(label, utf8);
        }
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = TextBuf::new();
        self.write(false, &mut text);
        // Escaped, it is ASCII.
        f.write_str(std::str::from_utf8(text.as_bytes()).unwrap_or_default())
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Where the name that starts at `at` ends in the message, without following its pointer; `None`
/// when it does not end.
pub(super) fn end_of_name(message: &[u8], mut at: usize) -> Option<usize> {
    let start = at;
    while at - start < MAX_NAME_BYTES {
        let length = *message.get(at)?;
        match length {
            0 => return Some(at + 1),
            1..=63 => at += 1 + usize::from(length),
            0xc0.. => return message.get(at + 1).map(|_| at + 2),
            _ => return None,
        }
    }
    None
}

struct Labels<'a> {
    message: &'a [u8],
    at: usize,
    pointers: u32,
}

enum Step<'a> {
    Label(&'a [u8]),
    Root,
    Malformed,
}

impl<'a> Labels<'a> {
    fn step(&mut self) -> Step<'a> {
        loop {
            let Some(&length) = self.message.get(self.at) else { return Step::Malformed };
            match length {
                0 => return Step::Root,
                1..=63 => {
                    let start = self.at + 1;
                    let Some(label) = self.message.get(start..start + usize::from(length)) else {
                        return Step::Malformed;
                    };
                    self.at = start + label.len();
                    return Step::Label(label);
                }
                0xc0.. if self.pointers < MAX_POINTERS => {
                    let Some(&low) = self.message.get(self.at + 1) else { return Step::Malformed };
                    self.pointers += 1;
                    self.at = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                }
                _ => return Step::Malformed,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(message: &[u8], at: usize) -> Option<String> {
        Name::at(message, at).map(|name| name.to_string())
    }

    #[test]
    fn labels_are_joined_without_a_dot_at_the_end() {
        assert_eq!(name(b"\x03www\x07example\x00", 0).as_deref(), Some("www.example"));
        assert_eq!(name(b"\x00", 0).as_deref(), Some(""));
        assert_eq!(name(b"\x02a\xff\x03b.c\x00", 0).as_deref(), Some(r"a\255.b\.c"));
    }

    #[test]
    fn pointers_are_followed() {
        let message = b"\x07example\x00\x03www\xc0\x00\x01x\xc0\x09";
        assert_eq!(name(message, 9).as_deref(), Some("www.example"));
        assert_eq!(name(message, 15).as_deref(), Some("x.www.example"));
        assert_eq!(end_of_name(message, 9), Some(15));
        assert_eq!(end_of_name(message, 0), Some(9));
    }

    #[test]
    fn a_chain_of_32_pointers_is_followed_and_one_of_33_is_not() {
        let chain = |pointers: u8| {
            let mut message = b"\x01a\x00".to_vec();
            message.extend((0..pointers).flat_map(|i| [0xc0, if i == 0 { 0 } else { 1 + 2 * i }]));
            name(&message, message.len() - 2)
        };
        assert_eq!(chain(32).as_deref(), Some("a"));
        assert_eq!(chain(33), None);
    }

    #[test]
    fn loops_reserved_labels_and_cut_names_are_malformed() {
        for message in [
            &b"\xc0\x00"[..],
            b"\x01a\xc0\x00",
            b"\x40a\x00",
            b"\x80a\x00",
            b"\x03ab",
            b"\xc0",
            b"",
        ] {
            assert_eq!(name(message, 0), None, "{message:?}");
        }
        assert_eq!(name(b"\x00", 1), None);
        assert_eq!(name(b"\x00", usize::MAX), None);
    }

    #[test]
    fn a_name_has_255_bytes_at_most() {
        let labels = |last: u8| {
            let mut message = [&[63][..], &[b'x'; 63]].concat().repeat(3);
            message.push(last);
            message.extend(vec![b'y'; usize::from(last)]);
            message.push(0);
            message
        };
        let longest = labels(61);
        assert_eq!((longest.len(), name(&longest, 0).map(|name| name.len())), (255, Some(253)));
        assert_eq!(end_of_name(&longest, 0), Some(255));
        assert_eq!(name(&labels(62), 0), None);
    }
}
