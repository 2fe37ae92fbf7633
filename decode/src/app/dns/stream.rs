//! DNS over TCP: messages behind their lengths (RFC 1035 section 4.2.2, RFC 7766).

use super::guess::{START_BYTES, can_start};
use super::message::{HEADER_BYTES, Message};
use super::report::report;
use crate::app::{Events, MAX_PENDING_AGE_US, Side, StreamDecoder, Verdict};

/// Queries of one connection that can wait for their answers; the oldest gives way.
const MAX_OPEN: usize = 64;
/// Bytes searched behind a gap for the start of a message, before a side is given up.
const MAX_SEARCH_BYTES: usize = 16 << 10;
/// A buffer above this is given back once its message is complete.
const KEPT_BYTES: usize = 2048;

/// Decoder of one connection. A message within the bytes of one call is read in place; of others
/// the part that has come is kept, at most 65,537 bytes a side and never more than twice what has
/// come. Up to 64 queries wait for their answers, 16 bytes each; the oldest gives way, counted in
/// [`Stream::forgotten`].
///
/// Behind a gap within a message decoding goes on at the next one. Behind any other gap the start
/// of a message is searched in 16 KiB; then that side is given up.
#[derive(Debug, Default)]
pub struct Stream {
    sides: [Half; 2],
    /// Ids of queries and when they were complete, oldest first.
    open: Vec<(u16, u64)>,
    forgotten: u32,
    has_messages: bool,
}

#[derive(Debug, Default)]
struct Half {
    /// The part of a message that has come, with its length before it.
    buffer: Vec<u8>,
    /// Bytes to pass over: the rest of a message that a gap has damaged.
    skip: usize,
    /// Bytes left in which to search; 0 when not searching.
    search: usize,
    is_given_up: bool,
}

impl Stream {
    /// For a new connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Queries that made room before they were answered.
    #[must_use]
    pub fn forgotten(&self) -> u32 {
        self.forgotten
    }

    /// Takes one message; false when it is none.
    fn message(&mut self, from: Side, bytes: &[u8], now_us: u64, events: &mut Events) -> bool {
        let Some(message) = Message::parse(bytes) else { return false };
        self.has_messages = true;
        if message.question_count() > 0 {
            let latency_us = match (from, message.is_response()) {
                (Side::Client, false) => {
                    self.ask(message.id(), now_us);
                    None
                }
                (Side::Server, true) => self.answer(message.id(), now_us),
                _ => None,
            };
            report(&message, latency_us, events);
        }
        true
    }

    fn ask(&mut self, id: u16, now_us: u64) {
        self.open.retain(|&(other, _)| other != id);
        if self.open.len() >= MAX_OPEN {
            self.open.remove(0);
            self.forgotten = self.forgotten.saturating_add(1);
        }
        self.open.push((id, now_us));
    }

    fn answer(&mut self, id: u16, now_us: u64) -> Option<u64> {
        let place = self.open.iter().position(|&(other, _)| other == id)?;
        let (_, asked_us) = self.open.remove(place);
        let latency_us = now_us.saturating_sub(asked_us);
        (latency_us <= MAX_PENDING_AGE_US).then_some(latency_us)
    }

    fn verdict(&self) -> Verdict {
        match (self.sides.iter().all(|half| half.is_given_up), self.has_messages) {
            (false, _) => Verdict::More,
            (true, true) => Verdict::Done,
            (true, false) => Verdict::Wrong,
        }
    }
}

impl StreamDecoder for Stream {
    fn data(&mut self, from: Side, bytes: &[u8], now_us: u64, events: &mut Events) -> Verdict {
        let mut rest = bytes;
        loop {
            let half = &mut self.sides[from.index()];
            rest = half.pass_over(rest);
            rest = half.search(from, rest);
            if half.is_given_up || rest.is_empty() {
                return self.verdict();
            }
            let joined = half.join(&mut rest);
            let message = match &joined {
                Joined::Message(buffer) => buffer.get(2..).unwrap_or_default(),
                Joined::InPlace(message) => message,
                Joined::Incomplete => return self.verdict(),
            };
            if !self.message(from, message, now_us, events) {
                if !self.has_messages {
                    return Verdict::Wrong;
                }
                // A damaged message ends where its length says, but this is no length.
                if message.len() < HEADER_BYTES {
                    self.sides[from.index()] = Half::given_up();
                }
            }
            if let Joined::Message(buffer) = joined {
                self.sides[from.index()].take_back(buffer);
            }
        }
    }

    fn gap(&mut self, from: Side, lost_bytes: u64, _: u64, _: &mut Events) -> Verdict {
        let half = &mut self.sides[from.index()];
        if !half.is_given_up {
            half.gap(lost_bytes);
        }
        self.verdict()
    }

    fn end(&mut self, from: Side, _: u64, _: &mut Events) {
        self.sides[from.index()] = Half::given_up();
    }

    /// Nothing holds for the connection as a whole.
    fn facts(&self, _: &mut Events) {}

    fn heap_bytes(&self) -> usize {
        self.sides.iter().map(|half| half.buffer.capacity()).sum::<usize>()
            + self.open.capacity() * size_of::<(u16, u64)>()
    }
}

enum Joined<'a> {
    /// A message that was within one call.
    InPlace(&'a [u8]),
    /// A message put together, behind its length.
    Message(Vec<u8>),
    /// All bytes are taken, and there is no whole message yet.
    Incomplete,
}

impl Half {
    fn given_up() -> Self {
        Self { is_given_up: true, ..Self::default() }
    }

    /// Bytes from the start of the buffer to the end of the message in it, as far as it is known.
    fn wanted(&self) -> usize {
        match self.buffer.first_chunk() {
            Some(&length) => 2 + usize::from(u16::from_be_bytes(length)),
            None => 2,
        }
    }

    fn pass_over<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let count = self.skip.min(bytes.len());
        self.skip -= count;
        bytes.get(count..).unwrap_or_default()
    }

    /// While searching: takes bytes until a message can have started with those in the buffer.
    fn search<'a>(&mut self, from: Side, mut bytes: &'a [u8]) -> &'a [u8] {
        while self.search > 0
            && let Some((&byte, rest)) = bytes.split_first()
        {
            bytes = rest;
            self.buffer.push(byte);
            self.search -= 1;
            if self.buffer.len() == START_BYTES {
                if can_start(&self.buffer, from) {
                    self.search = 0;
                    break;
                }
                self.buffer.remove(0);
            }
            if self.search == 0 {
                *self = Self::given_up();
            }
        }
        bytes
    }

    /// The next message; takes its bytes from `rest`.
    fn join<'a>(&mut self, rest: &mut &'a [u8]) -> Joined<'a> {
        if self.buffer.is_empty()
            && let Some((length, after)) = rest.split_first_chunk()
            && let Some((message, after)) =
                after.split_at_checked(u16::from_be_bytes(*length).into())
        {
            *rest = after;
            return Joined::InPlace(message);
        }
        // First the length, then what it says.
        for _ in 0..2 {
            let missing = self.wanted() - self.buffer.len();
            let (taken, after) = rest.split_at(missing.min(rest.len()));
            if self.buffer.capacity() - self.buffer.len() < taken.len() {
                let doubled = self.wanted().min(2 * self.buffer.capacity());
                let needed = (self.buffer.len() + taken.len()).max(doubled);
                self.buffer.reserve_exact(needed - self.buffer.len());
            }
            self.buffer.extend_from_slice(taken);
            *rest = after;
        }
        if self.buffer.len() >= 2 && self.buffer.len() == self.wanted() {
            return Joined::Message(std::mem::take(&mut self.buffer));
        }
        Joined::Incomplete
    }

    /// Keeps the memory of a small message for the next one.
    fn take_back(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= KEPT_BYTES {
            buffer.clear();
            self.buffer = buffer;
        }
    }

    fn gap(&mut self, lost_bytes: u64) {
        let lost = usize::try_from(lost_bytes).unwrap_or(usize::MAX);
        if self.search == 0 {
            let rest = match (self.skip, self.buffer.len()) {
                (0, 2..) => self.wanted() - self.buffer.len(),
                (skip, _) => skip,
            };
            if lost <= rest {
                self.buffer.clear();
                self.skip = rest - lost;
                return;
            }
        }
        self.buffer.clear();
        self.skip = 0;
        self.search = MAX_SEARCH_BYTES;
    }
}
