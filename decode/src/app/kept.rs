//! Parts of messages and lines that arrive in pieces: what is of interest is kept up to a limit,
//! the rest only passes by. A message or line that is whole in the bytes at hand is lent from
//! there, without a copy.

/// A short word in upper case, within the value itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word<const N: usize> {
    bytes: [u8; N],
    len: u8,
}

impl<const N: usize> Word<N> {
    pub(super) const EMPTY: Self = Self { bytes: [0; N], len: 0 };

    /// The leading printable ASCII of the text, letters in upper case, at most `N` bytes.
    pub(super) fn upper(text: &[u8]) -> Self {
        let mut word = Self::EMPTY;
        word.push_upper(text);
        word
    }

    /// Adds likewise.
    pub(super) fn push_upper(&mut self, text: &[u8]) {
        for (byte, &from) in self.bytes.iter_mut().skip(self.len.into()).zip(text) {
            if !from.is_ascii_graphic() && from != b' ' {
                break;
            }
            *byte = from.to_ascii_uppercase();
            self.len += 1;
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len.into()).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// One side's messages: a head of `H` bytes, then a body whose length the head tells.
#[derive(Debug)]
pub(super) struct Inbox<const H: usize> {
    head: [u8; H],
    head_len: u8,
    /// The head is complete and understood.
    open: bool,
    /// Another packet of the same message follows this one.
    more: bool,
    /// Packets of this message came before this one.
    continued: bool,
    /// The kept bytes belong to a message that was handed out.
    spent: bool,
    left: u64,
    keep_left: usize,
    kept: Vec<u8>,
    begun_us: u64,
}

impl<const H: usize> Default for Inbox<H> {
    fn default() -> Self {
        Self {
            head: [0; H],
            head_len: 0,
            open: false,
            more: false,
            continued: false,
            spent: false,
            left: 0,
            keep_left: 0,
            kept: Vec::new(),
            begun_us: 0,
        }
    }
}

impl<const H: usize> Inbox<H> {
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    pub(super) fn is_continued(&self) -> bool {
        self.continued
    }

    /// Time of the first byte of the message.
    pub(super) fn begun_us(&self) -> u64 {
        self.begun_us
    }

    /// The head of the message that is open or was just completed.
    pub(super) fn head(&self) -> [u8; H] {
        self.head
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.kept.capacity()
    }

    /// Takes bytes of a head; gives it when it is complete. [`Inbox::open`] must follow.
    pub(super) fn take_head(&mut self, bytes: &mut &[u8], now_us: u64) -> Option<[u8; H]> {
        if self.spent {
            self.spent = false;
            self.kept = Vec::new();
        }
        if self.head_len == 0 && !self.continued && !bytes.is_empty() {
            self.begun_us = now_us;
        }
        let missing = H - usize::from(self.head_len);
        let (now, rest) = bytes.split_at_checked(missing).unwrap_or((*bytes, &[]));
        for (to, &from) in self.head.iter_mut().skip(self.head_len.into()).zip(now) {
            *to = from;
        }
        self.head_len += now.len() as u8;
        *bytes = rest;
        (usize::from(self.head_len) == H).then_some(self.head)
    }

    /// The body has this length, and so much of its beginning is of interest. With `more`, another
    /// head and body continue the message.
    pub(super) fn open(&mut self, length: u64, keep: usize, more: bool) {
        if !self.continued {
            self.keep_left = keep;
        }
        (self.open, self.left, self.more) = (true, length, more);
    }

    /// Takes bytes of the body; when it is complete gives what was to be kept of it.
    pub(super) fn take_body<'a, 'b: 'a>(&'a mut self, bytes: &mut &'b [u8]) -> Option<&'a [u8]> {
        let here = self.left.min(bytes.len() as u64) as usize;
        let (now, rest) = bytes.split_at_checked(here).unwrap_or((*bytes, &[]));
        *bytes = rest;
        self.left -= here as u64;
        let keep = self.keep_left.min(now.len());
        let wanted = now.get(..keep).unwrap_or_default();
        let whole = self.left == 0;
        let last = whole && !self.more;
        if last && self.kept.is_empty() {
            self.close();
            return Some(wanted);
        }
        let limit = self.kept.len() + self.keep_left;
        self.keep_left -= keep;
        extend_bounded(&mut self.kept, wanted, limit);
        if whole {
            let last = !self.more;
            self.close();
            self.continued = !last;
            self.spent = last;
            return last.then_some(&self.kept);
        }
        None
    }

    /// True if the bytes that were lost all belong to the body that is open: nothing more of it is
    /// kept then, and it is not out of step.
    pub(super) fn lose(&mut self, lost_bytes: u64) -> bool {
        let inside = self.open && lost_bytes <= self.left;
        if inside {
            // One byte at least must come to complete it; else it ends with the next call.
            self.left -= lost_bytes;
            self.keep_left = 0;
        }
        inside
    }

    fn close(&mut self) {
        (self.open, self.head_len, self.continued) = (false, 0, false);
    }
}

/// One side's lines.
#[derive(Debug, Default)]
pub(super) struct Line {
    kept: Vec<u8>,
    /// Bytes of the line so far, its end included.
    total: u64,
    spent: bool,
    begun_us: u64,
}

impl Line {
    /// Takes bytes up to the end of the line; when it is there gives the line's first `keep`
    /// bytes, without the end (LF or CR LF), and the time of its first byte.
    pub(super) fn take<'a, 'b: 'a>(
        &'a mut self,
        bytes: &mut &'b [u8],
        keep: usize,
        now_us: u64,
    ) -> Option<(&'a [u8], u64)> {
        if std::mem::take(&mut self.spent) {
            self.kept = Vec::new();
            self.total = 0;
        }
        if self.total == 0 {
            self.begun_us = now_us;
        }
        let end = memchr::memchr(b'\n', bytes);
        let (now, rest) =
            bytes.split_at_checked(end.map_or(bytes.len(), |end| end + 1)).unwrap_or_default();
        *bytes = rest;
        let in_place = self.total == 0 && end.is_some();
        self.total += now.len() as u64;
        // Two more than asked for: the end of a line that just fits.
        let limit = keep + 2;
        if in_place {
            self.spent = true;
            let start = now.get(..limit).unwrap_or(now);
            return Some((trimmed(start, now.len() as u64, keep), now_us));
        }
        let room = limit.saturating_sub(self.kept.len()).min(now.len());
        extend_bounded(&mut self.kept, now.get(..room).unwrap_or_default(), limit);
        end?;
        self.spent = true;
        Some((trimmed(&self.kept, self.total, keep), self.begun_us))
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.kept.capacity()
    }
}

/// Adds bytes of which there are at most `limit` in the end; never reserves more than that.
pub(super) fn extend_bounded(kept: &mut Vec<u8>, bytes: &[u8], limit: usize) {
    let needed = kept.len() + bytes.len();
    if needed > kept.capacity() {
        let wanted = (2 * kept.capacity()).min(limit).max(needed);
        kept.reserve_exact(wanted - kept.len());
    }
    kept.extend_from_slice(bytes);
}

/// The line of `total` bytes without its end, at most `keep` bytes; `start` are its first.
fn trimmed(start: &[u8], total: u64, keep: usize) -> &[u8] {
    let whole = start.len() as u64 == total;
    let start = if whole { start.strip_suffix(b"\n").unwrap_or(start) } else { start };
    let start = if whole { start.strip_suffix(b"\r").unwrap_or(start) } else { start };
    start.get(..keep).unwrap_or(start)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bodies of messages with a head of their length, 1 byte; kept up to 3 bytes.
    fn bodies(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut inbox, mut found) = (Inbox::<1>::default(), Vec::new());
        for mut bytes in chunks.iter().copied() {
            loop {
                if !inbox.is_open() {
                    let Some([length]) = inbox.take_head(&mut bytes, 0) else { break };
                    inbox.open(length.into(), 3, false);
                }
                let Some(body) = inbox.take_body(&mut bytes) else { break };
                found.push(body.to_vec());
            }
            assert!(inbox.heap_bytes() <= 8);
        }
        found
    }

    #[test]
    fn bodies_are_kept_up_to_their_limit_however_they_are_cut() {
        let bytes = b"\x02ab\x00\x05abcde\x01z";
        let expected: [&[u8]; 4] = [b"ab", b"", b"abc", b"z"];
        for cut in 0..bytes.len() {
            let (before, after) = bytes.split_at(cut);
            assert_eq!(bodies(&[before, after]), expected);
        }
    }

    #[test]
    fn loss_within_a_body_keeps_the_step() {
        let mut inbox = Inbox::<1>::default();
        let mut bytes: &[u8] = b"\x05a";
        inbox.take_head(&mut bytes, 0);
        inbox.open(5, 5, false);
        assert_eq!(inbox.take_body(&mut bytes), None);
        assert!(!inbox.lose(5));
        assert!(inbox.lose(2));
        bytes = b"de";
        assert_eq!(inbox.take_body(&mut bytes), Some(&b"a"[..]));
        assert!(!inbox.lose(0));
    }

    #[test]
    fn words_are_upper_case_and_bounded() {
        assert_eq!(Word::<4>::upper(b"select").as_bytes(), b"SELE");
        assert_eq!(Word::<9>::upper(b"ab\xffc").as_bytes(), b"AB");
    }

    #[test]
    fn no_more_is_reserved_than_may_be_kept() {
        let mut kept = Vec::new();
        for _ in 0..100 {
            extend_bounded(&mut kept, b"0123456789", 1_000);
            assert!(kept.capacity() <= 1_000);
        }
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_are_cut(
            text in "[ab\r\n]{0,40}", cuts in prop::collection::vec(0..8_usize, 0..40)) {
            let lines = |cuts: &[usize]| {
                let (mut line, mut found, mut rest) = (Line::default(), Vec::new(), text.as_bytes());
                let mut cuts = cuts.iter().copied().chain(std::iter::repeat(usize::MAX));
                while !rest.is_empty() {
                    let (mut now, after) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                    rest = after;
                    while !now.is_empty() {
                        if let Some((line, _)) = line.take(&mut now, 3, 0) {
                            found.push(line.to_vec());
                        }
                    }
                }
                found
            };
            prop_assert_eq!(lines(&cuts), lines(&[]));
        }
    }
}
