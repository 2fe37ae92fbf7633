//! The server's side: replies of RESP2 and RESP3, skipped by their structure.

use crate::app::kept::{Line, Word};

/// Bytes of a line that are looked at: a type, a length, the first word of an error.
const MAX_LINE_BYTES: usize = 40;
/// Longest text the server sends, bytes.
const MAX_BULK_BYTES: i64 = 512 << 20;
/// Values in one reply at most: an aggregate of more is no Redis.
const MAX_VALUES: u64 = 1 << 32;

/// First word of an error, as in `WRONGTYPE`.
pub(super) type ErrorWord = Word<23>;

/// A complete message of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Answers a command; the word is empty unless it is an error.
    Answer(ErrorWord),
    /// Sent without being asked (RESP3).
    Push,
}

/// Nested values are counted, not remembered: any depth takes no memory.
#[derive(Debug, Default)]
pub(super) struct Replies {
    line: Line,
    /// Values missing to the end of the message; 0 between messages.
    values_left: u64,
    /// Bytes of a text that are left, its line end included.
    bulk_left: u64,
    /// The text is an error, and its first word is not complete.
    bulk_error: bool,
    push: bool,
    error: Option<ErrorWord>,
}

/// What bytes gave.
pub(super) enum Taken {
    /// More bytes are needed.
    More,
    Reply(Reply),
    /// This is no RESP.
    Wrong,
}

impl Replies {
    /// True between messages.
    pub(super) fn is_idle(&self) -> bool {
        self.values_left == 0 && self.bulk_left == 0
    }

    /// Takes bytes up to the end of one message.
    pub(super) fn take(&mut self, bytes: &mut &[u8]) -> Taken {
        loop {
            if self.bulk_left > 0 {
                if self.bulk_error {
                    let word = first_word(bytes);
                    self.bulk_error = word.len() == bytes.len();
                    self.error.get_or_insert(ErrorWord::EMPTY).push_upper(word);
                }
                let here = self.bulk_left.min(bytes.len() as u64) as usize;
                *bytes = bytes.get(here..).unwrap_or_default();
                self.bulk_left -= here as u64;
                if self.bulk_left > 0 {
                    return Taken::More;
                }
            } else {
                let mut line = std::mem::take(&mut self.line);
                let taken = line.take(bytes, MAX_LINE_BYTES, 0);
                let understood = taken.map(|(line, _)| self.header(line));
                self.line = line;
                match understood {
                    None => return Taken::More,
                    Some(false) => return Taken::Wrong,
                    Some(true) => {}
                }
            }
            if self.is_idle() {
                let error = self.error.take().unwrap_or(ErrorWord::EMPTY);
                let push = std::mem::take(&mut self.push);
                return Taken::Reply(if push { Reply::Push } else { Reply::Answer(error) });
            }
            if bytes.is_empty() {
                return Taken::More;
            }
        }
    }

    /// One line: a value, or the head of one.
    fn header(&mut self, line: &[u8]) -> bool {
        let Some((&kind, rest)) = line.split_first() else { return false };
        let first = self.values_left == 0;
        let left = self.values_left.max(1) - 1;
        let length = || std::str::from_utf8(rest).ok()?.parse::<i64>().ok();
        let more = match kind {
            b'+' | b':' | b'_' | b'#' | b',' | b'(' => 0,
            b'-' => {
                if first {
                    self.error = Some(Word::upper(first_word(rest)));
                }
                0
            }
            b'$' | b'=' | b'!' => match length() {
                Some(-1) => 0,
                Some(bytes @ 0..=MAX_BULK_BYTES) => {
                    self.bulk_left = bytes as u64 + 2;
                    self.bulk_error = first && kind == b'!';
                    0
                }
                _ => return false,
            },
            b'*' | b'~' | b'>' => match length() {
                Some(values) if values >= -1 => values.max(0) as u64,
                _ => return false,
            },
            b'%' => match length() {
                Some(pairs) if pairs >= 0 => 2 * pairs as u64,
                _ => return false,
            },
            // Attributes of the value that follows them.
            b'|' => match length() {
                Some(pairs) if pairs >= 0 => 2 * pairs as u64 + 1,
                _ => return false,
            },
            _ => return false,
        };
        self.push |= first && kind == b'>';
        self.values_left = left.saturating_add(more);
        self.values_left < MAX_VALUES
    }

    /// True if the bytes that were lost all belong to one text.
    pub(super) fn lose(&mut self, lost_bytes: u64) -> bool {
        let inside = lost_bytes < self.bulk_left;
        if inside {
            self.bulk_left -= lost_bytes;
        }
        inside
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.line.heap_bytes()
    }
}

fn first_word(text: &[u8]) -> &[u8] {
    text.split(|byte| matches!(byte, b' ' | b'\r')).next().unwrap_or_default()
}
