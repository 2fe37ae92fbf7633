//! One side's messages: finds heads, passes over bodies, and resynchronises.

use memchr::memchr;

use super::body::{Body, Progress};
use super::head;
use super::line::Line;
use crate::app::Side;

/// Longest head, start line included (spec 13.3).
pub(super) const MAX_HEAD_BYTES: usize = 80 * 1024;
/// An empty head buffer larger than this is given back.
const KEPT_BYTES: usize = 512;

/// Most that a head buffer grows by beyond what it needs.
const GROWTH_BYTES: usize = 16 * 1024;

/// Place within the messages of one side.
#[derive(Debug, Default)]
pub(super) struct Direction {
    pub(super) state: State,
    /// A head as far as it came, if it did not come whole.
    partial: Vec<u8>,
    line: Line,
    start_line_is_whole: bool,
    /// When the first byte of the current message came.
    pub(super) began_us: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// At the start of a message or within its head.
    #[default]
    Head,
    /// Within a body.
    Body(Body),
    /// Looking for a line that starts a message; within a line until its end, if told so.
    Resync { in_line: bool },
}

/// What some bytes brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A head is complete after so many of the bytes; [`Direction::head`] has it.
    Head(usize),
    /// A body is complete after so many of the bytes.
    BodyEnd(usize),
    /// After so many of the bytes it turned out that the message is none, or broken off.
    Lost(usize),
    /// So many bytes were passed over that belong to no message.
    Passed(usize),
    /// All bytes were taken, more are needed.
    More,
}

impl Direction {
    /// Looks at the next bytes of `side`, not empty. Call again with what is left.
    pub(super) fn step(&mut self, side: Side, bytes: &[u8], now_us: u64) -> Step {
        match &mut self.state {
            State::Body(body) => match body.consume(bytes) {
                Progress::More => Step::More,
                Progress::Complete(end) => {
                    self.state = State::Head;
                    Step::BodyEnd(end)
                }
                Progress::Malformed(end) => {
                    self.resync(false);
                    Step::Lost(end)
                }
            },
            State::Resync { in_line } => {
                if !std::mem::replace(in_line, false) && can_start(side, bytes) {
                    self.state = State::Head;
                    return Step::Passed(0);
                }
                let line_end = memchr(b'\n', bytes).map(|end| end + 1);
                *in_line = line_end.is_none();
                Step::Passed(line_end.unwrap_or(bytes.len()))
            }
            State::Head => self.head_step(side, bytes, now_us),
        }
    }

    /// The head that a step has completed, given the bytes of that step.
    pub(super) fn head<'a>(&'a self, bytes: &'a [u8], end: usize) -> &'a [u8] {
        if self.partial.is_empty() { bytes.get(..end).unwrap_or_default() } else { &self.partial }
    }

    /// Goes on behind a head: forgets it.
    pub(super) fn begin(&mut self, state: State) {
        self.state = state;
        self.partial.clear();
        if self.partial.capacity() > KEPT_BYTES {
            self.partial = Vec::new();
        }
        self.line = Line::default();
        self.start_line_is_whole = false;
    }

    /// Looks for the next message from here on; `in_line` when here is within a line that is
    /// none's start.
    pub(super) fn resync(&mut self, in_line: bool) {
        self.begin(State::Resync { in_line });
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.partial.capacity()
    }

    fn head_step(&mut self, side: Side, bytes: &[u8], now_us: u64) -> Step {
        if self.partial.is_empty() {
            // Empty lines between messages are passed over (RFC 9112 section 2.2).
            if matches!(bytes.first(), Some(b'\r' | b'\n')) {
                return Step::Passed(1);
            }
            self.began_us = now_us;
        }
        let mut at = 0;
        if !self.start_line_is_whole {
            let Some(end) = memchr(b'\n', bytes) else { return self.keep(side, bytes) };
            let line = bytes.get(..end).unwrap_or_default();
            if self.partial.len() + line.len() >= MAX_HEAD_BYTES {
                self.resync(false);
                return Step::Lost(end + 1);
            }
            let is_start = if self.partial.is_empty() {
                is_start(side, line)
            } else {
                self.extend(line);
                let is_start = is_start(side, &self.partial);
                self.partial.truncate(self.partial.len() - line.len());
                is_start
            };
            if !is_start {
                self.resync(false);
                return Step::Lost(end + 1);
            }
            self.start_line_is_whole = true;
            at = end + 1;
        }
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(end) = self.line.find_empty(rest) else { return self.keep(side, bytes) };
        let end = at + end;
        if self.partial.len() + end > MAX_HEAD_BYTES {
            self.resync(false);
            return Step::Lost(end);
        }
        if !self.partial.is_empty() {
            self.extend(bytes.get(..end).unwrap_or_default());
        }
        Step::Head(end)
    }

    /// Grows the buffer by no more than a step, so that long heads take about what they need.
    fn extend(&mut self, bytes: &[u8]) {
        let len = self.partial.len() + bytes.len();
        let capacity = self.partial.capacity();
        if len > capacity {
            let grown = (capacity + capacity.min(GROWTH_BYTES)).clamp(len, len.max(MAX_HEAD_BYTES));
            self.partial.reserve_exact(grown - self.partial.len());
        }
        self.partial.extend_from_slice(bytes);
    }

    /// Keeps a part of a head.
    fn keep(&mut self, side: Side, bytes: &[u8]) -> Step {
        if self.partial.len() + bytes.len() > MAX_HEAD_BYTES {
            self.resync(true);
            return Step::Lost(bytes.len());
        }
        self.extend(bytes);
        if !self.start_line_is_whole && !can_start(side, &self.partial) {
            self.resync(true);
            return Step::Lost(bytes.len());
        }
        Step::More
    }
}

fn can_start(side: Side, line: &[u8]) -> bool {
    match side {
        Side::Client => head::can_start_request(line),
        Side::Server => head::can_start_response(line),
    }
}

fn is_start(side: Side, line: &[u8]) -> bool {
    match side {
        Side::Client => head::request_line(line).is_some(),
        Side::Server => head::status_line(line).is_some(),
    }
}
