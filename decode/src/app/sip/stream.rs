//! SIP over TCP: heads that end in an empty line, bodies as long as Content-Length says.

use super::head::{Head, begins_like_sip};
use super::message;
use crate::app::decoder::{Guess, Side, StreamDecoder, Verdict};
use crate::app::event::Events;
use crate::app::kept::extend_bounded;
use crate::app::pending::Pending;

/// Longest head, bytes.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// Requests of a connection that wait for their responses at most.
const MAX_WAITING: usize = 256;
/// Bytes skipped in search of a message after gaps; more end decoding.
const MAX_SEARCH_BYTES: u64 = 1 << 20;

/// One side of a connection.
#[derive(Debug, Default)]
struct Half {
    /// A head that is not complete.
    head: Vec<u8>,
    begun_us: u64,
    body_left: u64,
    lost: bool,
}

/// Decoder of one connection; either end asks and answers. Less than 48 KiB in all.
#[derive(Debug, Default)]
pub struct Sip {
    halves: [Half; 2],
    pending: Option<Pending>,
    reported: bool,
    searched_bytes: u64,
}

/// Whether the first bytes of one side are those of a SIP message.
#[must_use]
pub fn guess_stream(bytes: &[u8], _from: Side) -> Guess {
    match without_blank_lines(bytes) {
        [] => Guess::Maybe,
        bytes => begins_like_sip(bytes),
    }
}

impl Sip {
    /// At the beginning of a connection, or in the middle of one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn messages(
        &mut self,
        half: &mut Half,
        mut bytes: &[u8],
        now_us: u64,
        events: &mut Events,
    ) -> Verdict {
        loop {
            let skipped = half.body_left.min(bytes.len() as u64);
            half.body_left -= skipped;
            bytes = bytes.get(skipped as usize..).unwrap_or_default();
            if half.head.is_empty() {
                // Empty lines keep a connection open.
                bytes = without_blank_lines(bytes);
                half.begun_us = now_us;
            }
            if bytes.is_empty() {
                return Verdict::More;
            }
            let Some(length) = head_length(&half.head, bytes) else {
                let room = MAX_HEAD_BYTES.saturating_sub(half.head.len());
                if bytes.len() > room {
                    return self.out_of_step(half);
                }
                extend_bounded(&mut half.head, bytes, MAX_HEAD_BYTES);
                if begins_like_sip(&half.head) == Guess::No {
                    return self.out_of_step(half);
                }
                return Verdict::More;
            };
            let (now, rest) = bytes.split_at_checked(length).unwrap_or((bytes, &[]));
            bytes = rest;
            let kept = std::mem::take(&mut half.head);
            let parsed = if kept.is_empty() {
                self.head(now, half, now_us, events)
            } else {
                let whole = [&kept[..], now].concat();
                self.head(&whole, half, now_us, events)
            };
            if !parsed {
                return self.out_of_step(half);
            }
        }
    }

    /// A complete head; false if it is none.
    fn head(&mut self, bytes: &[u8], half: &mut Half, now_us: u64, events: &mut Events) -> bool {
        let head = (bytes.len() <= MAX_HEAD_BYTES).then(|| Head::parse(bytes)).flatten();
        let Some(head) = head else { return false };
        half.body_left = head.content_length;
        let pending = self.pending.get_or_insert_with(|| Pending::new(MAX_WAITING));
        // A request is as old as its first byte, a response as new as the last one of its head.
        let is_request = matches!(head.start, super::Start::Request(_));
        let time_us = if is_request { half.begun_us } else { now_us };
        message(&head, 0, time_us, pending, events);
        self.reported = true;
        true
    }

    fn out_of_step(&mut self, half: &mut Half) -> Verdict {
        *half = Half::default();
        if self.searched_bytes == 0 {
            return if self.reported { Verdict::Done } else { Verdict::Wrong };
        }
        half.lost = true;
        Verdict::More
    }
}

impl StreamDecoder for Sip {
    fn data(&mut self, from: Side, bytes: &[u8], now_us: u64, events: &mut Events) -> Verdict {
        let mut half = std::mem::take(&mut self.halves[from.index()]);
        let mut bytes = bytes;
        if half.lost {
            self.searched_bytes += bytes.len() as u64;
            match find_start(bytes) {
                Some(found) => (bytes, half.lost) = (found, false),
                None => bytes = &[],
            }
        }
        let verdict = match bytes {
            [] if self.searched_bytes > MAX_SEARCH_BYTES => Verdict::Done,
            [] => Verdict::More,
            bytes => self.messages(&mut half, bytes, now_us, events),
        };
        self.halves[from.index()] = half;
        verdict
    }

    fn gap(&mut self, from: Side, lost_bytes: u64, _now_us: u64, _: &mut Events) -> Verdict {
        let half = &mut self.halves[from.index()];
        if lost_bytes <= half.body_left {
            half.body_left -= lost_bytes;
        } else {
            *half = Half { lost: true, ..Half::default() };
            self.searched_bytes += 1;
        }
        Verdict::More
    }

    fn end(&mut self, _: Side, _: u64, _: &mut Events) {}

    /// There are none.
    fn facts(&self, _: &mut Events) {}

    fn heap_bytes(&self) -> usize {
        let heads: usize = self.halves.iter().map(|half| half.head.capacity()).sum();
        heads + self.pending.as_ref().map_or(0, Pending::bytes)
    }
}

fn without_blank_lines(bytes: &[u8]) -> &[u8] {
    let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    bytes.get(blank..).unwrap_or_default()
}

/// Bytes up to the end of the empty line that ends a head of which `kept` came before.
fn head_length(kept: &[u8], bytes: &[u8]) -> Option<usize> {
    const END: [u8; 4] = *b"\r\n\r\n";
    // Up to three bytes of it may have come before.
    let before = kept.get(kept.len().saturating_sub(3)..).unwrap_or_default();
    for split in 1..=before.len() {
        let (old, new) = END.split_at(split);
        if before.ends_with(old) && bytes.starts_with(new) {
            return Some(new.len());
        }
    }
    memchr::memmem::find(bytes, &END).map(|at| at + END.len())
}

/// The first line on that begins a message.
fn find_start(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes;
    loop {
        if begins_like_sip(rest) == Guess::Yes {
            return Some(rest);
        }
        let end = memchr::memchr(b'\n', rest)?;
        rest = rest.get(end + 1..)?;
    }
}
