//! HTTP/1.0 and HTTP/1.1 (spec 13.3, RFC 9110 and 9112): one event for each request and response.
//!
//! Heads are read in place when they come in one piece and kept otherwise, up to 80 KiB; bodies are
//! passed over. Requests wait for their response in order, 64 of them and 32 KiB of their texts at
//! most; beyond that they are reported all the same, their responses are not. After an error or a
//! loss each side goes on at the next line that starts a message. Decoding ends with 101 and with
//! the success of a CONNECT.
//!
//! Lost bytes: a body whose length is known goes on behind them. Else the message they hit is
//! reported as far as it is known, a response then without latency; requests whose responses may
//! have been lost wait no more, except for the last when the client waits for each response before
//! it asks again (a client that has sent two requests at the same time does not).

mod body;
mod direction;
mod head;
mod line;
#[cfg(test)]
mod tests;
mod waiting;

use body::Body;
use direction::{Direction, State, Step};
use head::Framing;
use waiting::{Waiter, Waiting};

use super::{Events, Field, Guess, Kind, Side, StreamDecoder, Verdict};

/// Bytes that belong to no message after which a conversation without any is given up.
const MAX_FOREIGN_BYTES: u32 = 4096;

/// Decoder of one connection. Holds at most 80 KiB of each side's head and 64 KiB of requests by
/// itself; a conversation has a lower limit for all together.
#[derive(Debug, Default)]
pub struct Http {
    client: Direction,
    server: Direction,
    waiting: Waiting,
    /// The request that came last has a body that goes on, and was not reported.
    request_is_open: bool,
    /// Status of the response whose body goes on.
    open_status: Option<u16>,
    /// The response whose body goes on answers no request that is known, perhaps a HEAD.
    is_blind: bool,
    /// Responses may have been lost since the last one.
    has_lost_responses: bool,
    /// The client does not wait for a response before it asks again.
    is_pipelined: bool,
    has_messages: bool,
    foreign_bytes: u32,
}

/// Whether the first bytes of a side look like HTTP/1.
#[must_use]
pub fn guess(bytes: &[u8], from: Side) -> Guess {
    let is_start = |line: &[u8]| match from {
        Side::Client => head::request_line(line).is_some(),
        Side::Server => head::status_line(line).is_some(),
    };
    if let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
        return if is_start(&bytes[..end]) { Guess::Yes } else { Guess::No };
    }
    match from {
        Side::Server if bytes.len() > 7 && head::can_start_response(bytes) => Guess::Yes,
        Side::Server if head::can_start_response(bytes) => Guess::Maybe,
        Side::Client if head::can_start_request(bytes) => guess_request(bytes),
        _ => Guess::No,
    }
}

/// A request line that goes on: its target tells HTTP from RTSP, SIP and others with its form.
fn guess_request(line: &[u8]) -> Guess {
    const METHODS: [&[u8]; 9] =
        [b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"PROPFIND"];
    let Some(space) = line.iter().position(|&byte| byte == b' ') else { return Guess::Maybe };
    let (method, target) = line.split_at(space);
    let target = target.get(1..).unwrap_or_default();
    match target.first() {
        Some(b'/') if METHODS.contains(&method) => Guess::Yes,
        _ if target.starts_with(b"http://") => Guess::Yes,
        _ => Guess::Maybe,
    }
}

impl Http {
    /// A decoder at the start of a connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn direction(&mut self, side: Side) -> &mut Direction {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    fn head(&mut self, from: Side, bytes: &[u8], now_us: u64, events: &mut Events) -> Verdict {
        self.has_messages = true;
        match from {
            Side::Client => {
                self.request(bytes, events);
                Verdict::More
            }
            Side::Server => self.response(bytes, now_us, events),
        }
    }

    /// `bytes` ends with the head.
    fn request(&mut self, bytes: &[u8], events: &mut Events) {
        self.report_open_request(events);
        let head = self.client.head(bytes, bytes.len());
        let Some(request) = head::request(head) else {
            self.client.resync(false);
            return;
        };
        let waiter = Waiter::of(&request, self.client.began_us);
        let newest = self.waiting.newest();
        self.is_pipelined |= newest.is_some_and(|newest| newest.asked_us == waiter.asked_us);
        let body = match request.framing {
            _ if request.method == b"CONNECT" => None,
            Framing::Unsaid | Framing::Length(0) => None,
            Framing::Length(length) => Some(Body::Length(length)),
            Framing::Chunked => Some(Body::CHUNKED),
        };
        // One of which nothing can be kept is reported before its body.
        self.request_is_open = self.waiting.push(&waiter) && body.is_some();
        if !self.request_is_open {
            waiter.begin(Kind::Request, events);
        }
        self.client.begin(body.map_or(State::Head, State::Body));
    }

    /// `bytes` ends with the head.
    fn response(&mut self, bytes: &[u8], now_us: u64, events: &mut Events) -> Verdict {
        let head = self.server.head(bytes, bytes.len());
        let Some(response) = head::response(head) else {
            self.server.resync(false);
            return Verdict::More;
        };
        self.server.begin(State::Head);
        if std::mem::take(&mut self.has_lost_responses) && self.waiting.len() > 1 {
            if self.is_pipelined {
                self.waiting.forget();
            } else {
                self.waiting.keep_newest();
            }
        }
        let status = response.status;
        if (100..200).contains(&status) && status != 101 {
            return Verdict::More;
        }
        let method = self.waiting.oldest().map(|request| request.method());
        self.is_blind = method.is_none();
        let is_tunnel = status == 101 || method == Some(b"CONNECT") && (200..300).contains(&status);
        let has_body = !(method == Some(b"HEAD") || matches!(status, 204 | 304) || is_tunnel);
        self.open_status = Some(status);
        match response.framing {
            _ if !has_body => self.answer(Some(now_us), events),
            Framing::Length(0) => self.answer(Some(now_us), events),
            Framing::Length(length) => self.server.state = State::Body(Body::Length(length)),
            Framing::Chunked => self.server.state = State::Body(Body::CHUNKED),
            Framing::Unsaid => self.server.state = State::Body(Body::UntilEnd),
        }
        if is_tunnel { Verdict::Done } else { Verdict::More }
    }

    /// Reports the response that is open, and takes its request out. Without a time its end is not
    /// known.
    fn answer(&mut self, completed_us: Option<u64>, events: &mut Events) {
        let Some(status) = self.open_status.take() else { return };
        // An answer before the end of the request's body: the request comes first.
        if self.waiting.len() == 1 {
            self.report_open_request(events);
        }
        if let Some(request) = self.waiting.oldest() {
            let mut draft = request.begin(Kind::Response, events);
            draft.number(Field::HttpStatus, status.into());
            if let Some(completed_us) = completed_us {
                draft.latency_us(completed_us.saturating_sub(request.asked_us));
            }
        }
        self.waiting.pop();
    }

    fn report_open_request(&mut self, events: &mut Events) {
        if std::mem::take(&mut self.request_is_open)
            && let Some(request) = self.waiting.newest()
        {
            request.begin(Kind::Request, events);
        }
    }

    /// The message of a side is broken off.
    fn broken_off(&mut self, side: Side, events: &mut Events) {
        match side {
            Side::Client => self.report_open_request(events),
            Side::Server => {
                self.answer(None, events);
                self.has_lost_responses = true;
            }
        }
    }

    fn body_end(&mut self, side: Side, now_us: u64, events: &mut Events) {
        match side {
            Side::Client => self.report_open_request(events),
            Side::Server => self.answer(Some(now_us), events),
        }
    }

    /// Counts what belongs to no message.
    fn foreign(&mut self, bytes: usize) -> Verdict {
        self.foreign_bytes = self.foreign_bytes.saturating_add(bytes as u32);
        let is_foreign = !self.has_messages && self.foreign_bytes > MAX_FOREIGN_BYTES;
        if is_foreign { Verdict::Wrong } else { Verdict::More }
    }
}

impl StreamDecoder for Http {
    fn data(&mut self, from: Side, bytes: &[u8], now_us: u64, events: &mut Events) -> Verdict {
        let mut left = bytes;
        // A response to an unseen HEAD has a length and no body: the next one begins at once.
        if from == Side::Server
            && self.is_blind
            && matches!(self.server.state, State::Body(_))
            && bytes.starts_with(b"HTTP/1.")
        {
            self.open_status = None;
            self.server.begin(State::Head);
        }
        while !left.is_empty() {
            let (verdict, taken) = match self.direction(from).step(from, left, now_us) {
                Step::More => return Verdict::More,
                Step::Head(end) => {
                    let head = left.get(..end).unwrap_or_default();
                    (self.head(from, head, now_us, events), end)
                }
                Step::BodyEnd(end) => {
                    self.body_end(from, now_us, events);
                    (Verdict::More, end)
                }
                Step::Lost(end) => {
                    self.broken_off(from, events);
                    (self.foreign(end), end)
                }
                Step::Passed(end) => (self.foreign(end), end),
            };
            if verdict != Verdict::More {
                return verdict;
            }
            left = left.get(taken..).unwrap_or_default();
        }
        Verdict::More
    }

    fn gap(&mut self, from: Side, lost_bytes: u64, now_us: u64, events: &mut Events) -> Verdict {
        let direction = self.direction(from);
        let progress = match &mut direction.state {
            State::Body(body) => body.skip(lost_bytes),
            _ => None,
        };
        match progress {
            Some(body::Progress::More) => {}
            Some(_) => {
                direction.begin(State::Head);
                self.body_end(from, now_us, events);
            }
            None => {
                direction.resync(false);
                self.broken_off(from, events);
            }
        }
        Verdict::More
    }

    fn end(&mut self, from: Side, now_us: u64, events: &mut Events) {
        let is_whole = self.direction(from).state == State::Body(Body::UntilEnd);
        self.direction(from).begin(State::Head);
        match from {
            Side::Client => self.report_open_request(events),
            Side::Server => self.answer(is_whole.then_some(now_us), events),
        }
    }

    fn facts(&self, _events: &mut Events) {}

    fn heap_bytes(&self) -> usize {
        self.client.heap_bytes() + self.server.heap_bytes() + self.waiting.heap_bytes()
    }
}
