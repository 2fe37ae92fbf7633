//! Redis, RESP2 and RESP3: commands, their first key, errors and latency.
//!
//! A request is reported when its command is complete, a response at the end of its reply. Both
//! carry the command in upper case (two words where it has them, as in `CONFIG GET`), the request
//! its first key, where the command is known to have one at a fixed place (not so
//! XREAD); other arguments never. Latency runs from
//! the first byte of the command to the last byte of the reply.
//!
//! Bounds: 1,024 commands wait for their replies, with their times and names alone; what comes
//! beyond is answered without latency until the server has caught up. Texts pass by unread; less
//! than 64 KiB a conversation in all. After SUBSCRIBE, MONITOR or PSYNC, and with CLIENT REPLY (which
//! can switch replies off), decoding ends.
//!
//! After a gap the client is picked up with bytes that begin a command, the server with those
//! after that. If the client keeps several commands under way, responses after a gap can be
//! matched with a later command than theirs.

mod commands;
mod replies;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use replies::{Replies, Reply};
use requests::{Command, Requests};

use super::decoder::{Guess, Side, StreamDecoder, Verdict};
use super::event::{Events, Kind};
use super::field::{App, Field};

/// Commands waiting for their replies at most.
const MAX_WAITING: usize = 1024;
/// Room for waiting commands that an idle connection keeps.
const MAX_IDLE_CAPACITY: usize = 16;
/// Bytes skipped in search of a command after gaps; more end decoding.
const MAX_SEARCH_BYTES: u64 = 16 << 20;
/// Likewise before anything was recognised.
const MAX_UNKNOWN_BYTES: u64 = 64 << 10;

#[derive(Debug)]
struct Waiting {
    start_us: u64,
    command: Command,
}

/// Decoder of one connection.
#[derive(Debug, Default)]
pub struct Redis {
    requests: Requests,
    replies: Replies,
    waiting: VecDeque<Waiting>,
    /// Commands that found no room to wait.
    beyond: u64,
    /// No more commands are read; decoding ends with the reply to the last one.
    ending: bool,
    reported: bool,
    lost: [bool; 2],
    searched_bytes: u64,
}

/// Whether the first bytes of one side are Redis'. Inline commands and replies alone never tell.
#[must_use]
pub fn guess(bytes: &[u8], from: Side) -> Guess {
    let Some((&first, rest)) = bytes.split_first() else { return Guess::Maybe };
    if from == Side::Server {
        let known = [&b"-NOAUTH "[..], b"-WRONGPASS ", b"-MOVED ", b"-DENIED Redis", b"+PONG\r\n"];
        let fits = |word: &&[u8]| bytes.starts_with(word);
        return if known.iter().any(fits) { Guess::Yes } else { Guess::No };
    }
    if first != b'*' {
        return Guess::No;
    }
    // *<digits>\r\n$<digits>\r\n
    let mut rest = rest;
    for next in [Some(b'$'), None] {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let after = rest.get(digits..).unwrap_or_default();
        let expected = [b'\r', b'\n'].into_iter().chain(next);
        if digits > 9 || !after.iter().zip(expected).all(|(&byte, wanted)| byte == wanted) {
            return Guess::No;
        }
        if after.len() < 2 + usize::from(next.is_some()) {
            return Guess::Maybe;
        }
        if digits == 0 {
            return Guess::No;
        }
        rest = after.get(3..).unwrap_or_default();
    }
    Guess::Yes
}

impl Redis {
    /// At the beginning of a connection, or in the middle of one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn commands(&mut self, mut bytes: &[u8], now_us: u64, events: &mut Events) -> Verdict {
        while !self.ending {
            match self.requests.take(&mut bytes, now_us) {
                requests::Taken::More => break,
                requests::Taken::Wrong => return self.out_of_step(Side::Client),
                requests::Taken::Command(command) => {
                    self.ask(command, events);
                    // Which commands are answered cannot be told from here on.
                    if command.as_bytes() == b"CLIENT REPLY" {
                        return Verdict::Done;
                    }
                }
            }
        }
        Verdict::More
    }

    fn ask(&mut self, command: Command, events: &mut Events) {
        self.reported = true;
        let mut draft = events.begin(App::Redis, Kind::Request);
        // A name that is no text is not shown.
        if !command.is_empty() {
            draft.text(Field::RedisOperation, command.as_bytes());
        }
        if let Some(key) = self.requests.key() {
            draft.text(Field::RedisKey, key);
        }
        self.ending = commands::ends_answers(command.as_bytes());
        if self.beyond > 0 || self.waiting.len() >= MAX_WAITING {
            self.beyond += 1;
            return;
        }
        self.waiting.push_back(Waiting { start_us: self.requests.begun_us(), command });
    }

    fn answers(&mut self, mut bytes: &[u8], now_us: u64, events: &mut Events) -> Verdict {
        while !bytes.is_empty() {
            match self.replies.take(&mut bytes) {
                replies::Taken::More => break,
                replies::Taken::Wrong => return self.out_of_step(Side::Server),
                // A subscription is confirmed by a push in RESP3.
                replies::Taken::Reply(Reply::Push) if !self.ending => {}
                replies::Taken::Reply(Reply::Push) => self.answer(b"OK", now_us, events),
                replies::Taken::Reply(Reply::Answer(error)) => {
                    let status = if error.is_empty() { b"OK" } else { error.as_bytes() };
                    self.answer(status, now_us, events);
                }
            }
            if self.ending && self.waiting.is_empty() && self.beyond == 0 {
                return Verdict::Done;
            }
        }
        Verdict::More
    }

    fn answer(&mut self, status: &[u8], now_us: u64, events: &mut Events) {
        let waiting = self.waiting.pop_front();
        if waiting.is_none() {
            self.beyond = self.beyond.saturating_sub(1);
            // Nothing is known of a connection whose first bytes are a reply.
            if !self.reported {
                return;
            }
        }
        let mut draft = events.begin(App::Redis, Kind::Response);
        if let Some(waiting) = waiting {
            draft.latency_us(now_us.saturating_sub(waiting.start_us));
            if !waiting.command.is_empty() {
                draft.text(Field::RedisOperation, waiting.command.as_bytes());
            }
        }
        draft.text(Field::RedisStatus, status);
        // What a burst took is given back.
        if self.waiting.is_empty() && self.waiting.capacity() > MAX_IDLE_CAPACITY {
            self.waiting = VecDeque::new();
        }
    }

    fn out_of_step(&mut self, from: Side) -> Verdict {
        if self.searched_bytes > 0 || from == Side::Server && !self.reported {
            self.searched_bytes += 1;
            self.lose();
            return Verdict::More;
        }
        if self.reported { Verdict::Done } else { Verdict::Wrong }
    }

    fn lose(&mut self) {
        self.waiting.clear();
        self.beyond = 0;
        self.requests = Requests::default();
        self.replies = Replies::default();
        self.lost = [true, true];
    }

    /// Whether the bytes can be decoded again.
    fn is_found(&mut self, from: Side, bytes: &[u8]) -> bool {
        self.searched_bytes += bytes.len() as u64;
        let found = match from {
            Side::Client => guess(bytes, Side::Client) == Guess::Yes,
            Side::Server => {
                let kinds = b"+-:$*_#,(!=%~>|";
                !self.lost[0] && bytes.first().is_some_and(|first| kinds.contains(first))
            }
        };
        self.lost[from.index()] &= !found;
        found
    }
}

impl StreamDecoder for Redis {
    fn data(&mut self, from: Side, bytes: &[u8], now_us: u64, events: &mut Events) -> Verdict {
        if self.lost[from.index()] && !self.is_found(from, bytes) {
            return match self.searched_bytes {
                MAX_SEARCH_BYTES.. => Verdict::Done,
                MAX_UNKNOWN_BYTES.. if !self.reported => Verdict::Wrong,
                _ => Verdict::More,
            };
        }
        match from {
            Side::Client => self.commands(bytes, now_us, events),
            Side::Server => self.answers(bytes, now_us, events),
        }
    }

    fn gap(&mut self, from: Side, lost_bytes: u64, _now_us: u64, _: &mut Events) -> Verdict {
        let inside = match from {
            Side::Client => self.requests.lose(lost_bytes),
            Side::Server => self.replies.lose(lost_bytes),
        };
        if !inside && !self.lost[from.index()] {
            self.searched_bytes += lost_bytes.clamp(1, 1_500);
            self.lose();
        }
        Verdict::More
    }

    fn end(&mut self, _: Side, _: u64, _: &mut Events) {}

    /// There are none.
    fn facts(&self, _: &mut Events) {}

    fn heap_bytes(&self) -> usize {
        let waiting = self.waiting.capacity() * size_of::<Waiting>();
        waiting + self.requests.heap_bytes() + self.replies.heap_bytes()
    }
}
