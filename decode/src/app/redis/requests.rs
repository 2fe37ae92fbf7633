//! The client's side: arrays of texts, and inline commands.

use super::commands::{Shape, shape};
use crate::app::kept::{Line, Word};

/// Bytes of an inline command that are looked at.
const MAX_LINE_BYTES: usize = 512;
/// Bytes of a key that are kept.
const MAX_KEY_BYTES: usize = 256;
/// Limits of the server.
const MAX_BULK_BYTES: u64 = 512 << 20;
const MAX_ARGUMENTS: u64 = 1 << 20;

/// A command, of one word or two.
pub(super) type Command = Word<31>;

/// Arguments of the command at hand, of which only its words and its first key are kept.
#[derive(Debug, Default)]
pub(super) struct Requests {
    line: Line,
    /// Arguments missing; 0 between commands.
    left: u64,
    /// Place of the next argument.
    place: u32,
    /// Bytes of the argument at hand that are left, its line end included.
    bulk_left: u64,
    shape: Shape,
    name: Option<Command>,
    key: Vec<u8>,
    has_key: bool,
    /// The number of keys is not 0.
    counts_keys: bool,
    begun_us: u64,
}

/// What bytes gave.
pub(super) enum Taken {
    /// More bytes are needed.
    More,
    /// A command is complete; its key is in [`Requests::key`].
    Command(Command),
    /// This is no RESP.
    Wrong,
}

impl Requests {
    /// Time of the first byte of the command.
    pub(super) fn begun_us(&self) -> u64 {
        self.begun_us
    }

    /// First key of the command that was completed last.
    pub(super) fn key(&self) -> Option<&[u8]> {
        self.has_key.then_some(&self.key)
    }

    /// Takes bytes up to the end of one command.
    pub(super) fn take(&mut self, bytes: &mut &[u8], now_us: u64) -> Taken {
        loop {
            if bytes.is_empty() {
                return Taken::More;
            }
            if self.bulk_left > 0 {
                self.argument(bytes);
            } else {
                let between = self.left == 0;
                let mut line = std::mem::take(&mut self.line);
                let taken = line.take(bytes, MAX_LINE_BYTES, now_us);
                if let Some((_, begun_us)) = taken
                    && between
                {
                    self.begun_us = begun_us;
                }
                let found = taken.map(|(line, _)| self.header(line));
                self.line = line;
                match found {
                    None => return Taken::More,
                    Some(Header::Wrong) => return Taken::Wrong,
                    Some(Header::Nothing) => continue,
                    Some(Header::Inline(command)) => return Taken::Command(command),
                    Some(Header::Begun) => {}
                }
            }
            if self.left == 0 {
                let command = self.name.take().unwrap_or(Command::EMPTY);
                return Taken::Command(command);
            }
        }
    }

    fn header(&mut self, line: &[u8]) -> Header {
        let number = |text| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
        match line.split_first() {
            // The server takes empty lines and empty arrays for nothing.
            None if self.left == 0 => Header::Nothing,
            Some((b'*', b"0" | b"-1")) if self.left == 0 => Header::Nothing,
            Some((b'*', count)) if self.left == 0 => match number(count) {
                Some(count @ 1..=MAX_ARGUMENTS) => {
                    self.begin();
                    self.left = count;
                    Header::Begun
                }
                _ => Header::Wrong,
            },
            Some((b'$', length)) if self.left > 0 => match number(length) {
                Some(length @ 0..=MAX_BULK_BYTES) => {
                    self.bulk_left = length + 2;
                    Header::Begun
                }
                _ => Header::Wrong,
            },
            Some((first, _)) if self.left == 0 && first.is_ascii_alphabetic() => self.inline(line),
            _ => Header::Wrong,
        }
    }

    fn begin(&mut self) {
        (self.place, self.name, self.shape) = (0, None, Shape::default());
        (self.has_key, self.counts_keys) = (false, false);
        self.key.clear();
    }

    fn inline(&mut self, line: &[u8]) -> Header {
        if !line.iter().all(|&byte| byte >= b' ' || byte == b'\t') {
            return Header::Wrong;
        }
        self.begin();
        let words = line.split(|byte| matches!(byte, b' ' | b'\t'));
        for word in words.filter(|word| !word.is_empty()).take(4) {
            self.bytes(word);
            self.end_argument();
        }
        match self.name.take() {
            Some(command) => Header::Inline(command),
            None => Header::Wrong,
        }
    }

    /// Takes bytes of one argument.
    fn argument(&mut self, bytes: &mut &[u8]) {
        let here = self.bulk_left.min(bytes.len() as u64) as usize;
        let (now, rest) = bytes.split_at_checked(here).unwrap_or((*bytes, &[]));
        *bytes = rest;
        // The line end is no part of the argument.
        let content = self.bulk_left.saturating_sub(2).min(now.len() as u64) as usize;
        self.bulk_left -= here as u64;
        self.bytes(now.get(..content).unwrap_or_default());
        if self.bulk_left == 0 {
            self.end_argument();
            self.left -= 1;
        }
    }

    /// Keeps what is of interest of the argument at this place.
    fn bytes(&mut self, bytes: &[u8]) {
        match self.place {
            0 => self.name.get_or_insert(Command::EMPTY).push_upper(bytes),
            1 if self.shape.two_words => {
                let name = self.name.get_or_insert(Command::EMPTY);
                if !bytes.is_empty() && !self.has_key {
                    // A second word that is cut in two has one space.
                    self.has_key = true;
                    name.push_upper(b" ");
                }
                name.push_upper(bytes);
            }
            place if self.shape.counted && Some(place + 1) == self.shape.key_at => {
                // Anything but a number from 1 on leaves no key.
                self.counts_keys |= bytes.iter().any(|byte| matches!(byte, b'1'..=b'9'));
            }
            place if Some(place) == self.shape.key_at => {
                let room = MAX_KEY_BYTES.saturating_sub(self.key.len()).min(bytes.len());
                self.key.extend_from_slice(bytes.get(..room).unwrap_or_default());
                self.has_key = true;
            }
            _ => {}
        }
    }

    fn end_argument(&mut self) {
        match self.place {
            0 => self.shape = shape(self.name.unwrap_or(Command::EMPTY).as_bytes()),
            1 if self.shape.two_words => self.has_key = false,
            place
                if self.shape.counted
                    && Some(place + 1) == self.shape.key_at
                    && !std::mem::take(&mut self.counts_keys) =>
            {
                self.shape.key_at = None;
            }
            _ => {}
        }
        self.place = self.place.saturating_add(1);
    }

    /// True if the bytes that were lost all belong to one argument.
    pub(super) fn lose(&mut self, lost_bytes: u64) -> bool {
        let inside = lost_bytes < self.bulk_left.saturating_sub(2);
        if inside {
            self.bulk_left -= lost_bytes;
        }
        inside
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.line.heap_bytes() + self.key.capacity()
    }
}

enum Header {
    Begun,
    Nothing,
    Inline(Command),
    Wrong,
}
