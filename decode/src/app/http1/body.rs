//! Where the body of a message ends (RFC 9112 sections 6 and 7.1), without keeping any of it.

use memchr::memchr;

use super::line::Line;

/// Longest line of chunk size and extensions, and longest trailer section, bytes.
const MAX_LINE_BYTES: u32 = 16 * 1024;

/// What is left of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes, at least one.
    Length(u64),
    /// Until the direction ends.
    UntilEnd,
    Chunks(Chunks),
}

/// Place within a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunks {
    /// In the digits of a chunk size.
    Size { value: u64, line_bytes: u32 },
    /// Behind the digits, before the end of the line.
    Extension { value: u64, line_bytes: u32 },
    /// So many bytes of a chunk are left.
    Data(u64),
    /// At the line's end behind a chunk.
    DataEnd,
    /// In the trailer section.
    Trailer { bytes: u32, line: Line },
}

/// What some bytes mean for a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All bytes belong to it and it goes on.
    More,
    /// It ends after so many of the bytes.
    Complete(usize),
    /// The chunks are malformed after so many of the bytes.
    Malformed(usize),
}

impl Body {
    pub(super) const CHUNKED: Self = Self::Chunks(Chunks::Size { value: 0, line_bytes: 0 });

    pub(super) fn consume(&mut self, bytes: &[u8]) -> Progress {
        match self {
            Self::UntilEnd => Progress::More,
            Self::Length(left) => match usize::try_from(*left) {
                Ok(len) if len <= bytes.len() => Progress::Complete(len),
                _ => {
                    *left -= bytes.len() as u64;
                    Progress::More
                }
            },
            Self::Chunks(chunks) => chunks.consume(bytes),
        }
    }

    /// Passes over bytes that are lost; `None` when the end may have been among them.
    pub(super) fn skip(&mut self, lost: u64) -> Option<Progress> {
        match self {
            Self::UntilEnd => Some(Progress::More),
            Self::Length(left) if *left == lost => Some(Progress::Complete(0)),
            Self::Length(left) | Self::Chunks(Chunks::Data(left)) if *left > lost => {
                *left -= lost;
                Some(Progress::More)
            }
            _ => None,
        }
    }
}

impl Chunks {
    fn consume(&mut self, bytes: &[u8]) -> Progress {
        let mut at = 0;
        while let Some(left) = bytes.get(at..)
            && let Some(&byte) = left.first()
        {
            let step = match *self {
                Self::Data(len) => {
                    let here = len.min(left.len() as u64);
                    *self = if here == len { Self::DataEnd } else { Self::Data(len - here) };
                    Some(here as usize)
                }
                Self::DataEnd => {
                    if byte == b'\n' {
                        *self = Self::Size { value: 0, line_bytes: 0 };
                    }
                    matches!(byte, b'\r' | b'\n').then_some(1)
                }
                Self::Size { value, line_bytes } => self.size(byte, value, line_bytes),
                Self::Extension { value, line_bytes } => self.extension(left, value, line_bytes),
                Self::Trailer { bytes, mut line } => match line.find_empty(left) {
                    Some(end) => return Progress::Complete(at + end),
                    None => {
                        let bytes = bytes.saturating_add(left.len() as u32);
                        *self = Self::Trailer { bytes, line };
                        (bytes <= MAX_LINE_BYTES).then_some(left.len())
                    }
                },
            };
            match step {
                Some(step) => at += step,
                None => return Progress::Malformed(at),
            }
        }
        Progress::More
    }

    fn size(&mut self, byte: u8, value: u64, line_bytes: u32) -> Option<usize> {
        let line_bytes = line_bytes + 1;
        if let Some(digit) = char::from(byte).to_digit(16) {
            let value = value.checked_mul(16)? | u64::from(digit);
            *self = Self::Size { value, line_bytes };
            return (line_bytes <= MAX_LINE_BYTES).then_some(1);
        }
        if line_bytes == 1 || !matches!(byte, b'\r' | b'\n' | b';' | b' ' | b'\t') {
            return None;
        }
        // The end of the line is looked for from this byte on.
        *self = Self::Extension { value, line_bytes };
        Some(0)
    }

    fn extension(&mut self, left: &[u8], value: u64, line_bytes: u32) -> Option<usize> {
        if let Some(end) = memchr(b'\n', left) {
            *self = match value {
                0 => Self::Trailer { bytes: 0, line: Line::default() },
                _ => Self::Data(value),
            };
            return Some(end + 1);
        }
        let line_bytes = line_bytes.saturating_add(left.len() as u32);
        *self = Self::Extension { value, line_bytes };
        (line_bytes <= MAX_LINE_BYTES).then_some(left.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a chunked body ends when it comes in two pieces.
    fn end_of(text: &[u8], cut: usize) -> Progress {
        let mut body = Body::CHUNKED;
        let (first, second) = text.split_at(cut);
        match body.consume(first) {
            Progress::More => match body.consume(second) {
                Progress::Complete(end) => Progress::Complete(end + cut),
                Progress::Malformed(end) => Progress::Malformed(end + cut),
                Progress::More => Progress::More,
            },
            end => end,
        }
    }

    #[test]
    fn chunks_end_with_the_trailer_wherever_they_are_cut() {
        let text = b"4\r\nWiki\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\nSome: trailer\r\n\r\nHTTP";
        for cut in 0..=text.len() {
            assert_eq!(end_of(text, cut), Progress::Complete(text.len() - 4), "cut at {cut}");
        }
        assert_eq!(end_of(b"0\r\n\r\n", 2), Progress::Complete(5));
        assert_eq!(end_of(b"1\na\n0\n\nx", 3), Progress::Complete(7));
    }

    #[test]
    fn malformed_chunks_are_noticed() {
        for text in ["\r\n", "x\r\n", "11112222333344445\r\n", "1\r\nab\r\n", "-1\r\n"] {
            assert!(matches!(end_of(text.as_bytes(), 0), Progress::Malformed(_)), "{text}");
        }
        let endless = [b"5;".as_slice(), &[b'x'; 20_000]].concat();
        assert!(matches!(end_of(&endless, 7_000), Progress::Malformed(_)));
        assert!(matches!(end_of(&[b'0'; 20_000], 7_000), Progress::Malformed(_)));
    }

    #[test]
    fn lost_bytes_are_passed_over_where_the_length_is_known() {
        let mut body = Body::Length(10);
        assert_eq!(body.skip(4), Some(Progress::More));
        assert_eq!(body, Body::Length(6));
        assert_eq!(body.skip(7), None);
        assert_eq!(body.skip(6), Some(Progress::Complete(0)));
        assert_eq!(Body::UntilEnd.skip(u64::MAX), Some(Progress::More));
        let mut body = Body::CHUNKED;
        assert_eq!(body.skip(1), None);
        assert_eq!(body.consume(b"8\r\nab"), Progress::More);
        assert_eq!(body.skip(6), None);
        assert_eq!(body.skip(5), Some(Progress::More));
        assert_eq!(body.consume(b"h\r\n0\r\n\r\n"), Progress::Complete(8));
    }
}
