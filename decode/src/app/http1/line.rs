//! Finds the empty line that ends a head or a trailer section, over any number of pieces.

use memchr::memchr_iter;

/// What the current line has so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Line {
    #[default]
    Empty,
    /// A single CR.
    Return,
    Text,
}

impl Line {
    /// Where the first empty line ends within the next bytes, behind its LF.
    pub(super) fn find_empty(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut start = 0;
        for end in memchr_iter(b'\n', bytes) {
            let line = self.with(bytes.get(start..end).unwrap_or_default());
            *self = Self::Empty;
            start = end + 1;
            if line != Self::Text {
                return Some(start);
            }
        }
        *self = self.with(bytes.get(start..).unwrap_or_default());
        None
    }

    fn with(self, more: &[u8]) -> Self {
        match (self, more) {
            (_, []) => self,
            (Self::Empty, b"\r") => Self::Return,
            _ => Self::Text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_line_is_found_wherever_the_pieces_are_cut() {
        let cases: [(&[u8], Option<usize>); 6] = [
            (b"a: b\r\nc\r\n\r\nrest", Some(11)),
            (b"a\n\nrest", Some(3)),
            (b"\r\nrest", Some(2)),
            (b"a\r\n\rb\r\n", None),
            (b"a\r\n\r\r\n", None),
            (b"a\r\n\r", None),
        ];
        for (text, expected) in cases {
            for cut in 0..=text.len() {
                let mut line = Line::default();
                let (first, second) = text.split_at(cut);
                let found =
                    line.find_empty(first).or_else(|| line.find_empty(second).map(|end| end + cut));
                assert_eq!(found, expected, "{text:?} cut at {cut}");
            }
        }
    }
}
