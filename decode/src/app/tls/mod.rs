//! TLS 1.0 to 1.3 as far as it is in clear (spec 13.5, RFC 5246, RFC 8446): server name, version,
//! cipher, ALPN, the client's JA4 fingerprint, the server's certificate, and fatal alerts.
//!
//! Everything is a fact of the connection; nothing is exported at once. Each side keeps at most
//! 16 KiB of messages that came in part. Decoding ends after the ServerHello of TLS 1.3, else with
//! the first encrypted record, a fatal alert, or a record of a version before TLS 1.0.

mod certificate;
pub mod client_hello;
mod der;
mod facts;
mod ja4;
mod reader;
mod records;
mod server_hello;
#[cfg(test)]
mod tests;

pub use client_hello::ClientHello;
pub use ja4::{Ja4, Transport};

use super::{Events, Guess, Side, StreamDecoder, Verdict};
use certificate::{CERTIFICATE, Certificate, Leaf};
use client_hello::CLIENT_HELLO;
use facts::Facts;
use records::{ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, Next, Records};
use server_hello::{SERVER_HELLO, ServerHello};

const TLS_1_0: u16 = 0x0301;
const TLS_1_3: u16 = 0x0304;
const FATAL: u8 = 2;
/// Early data (TLS 1.3) that a client may send before the server's hello is seen, bytes.
const MAX_EARLY_BYTES: u32 = 64 * 1024;

/// Decoder of one connection.
#[derive(Debug, Default)]
pub struct Tls {
    client: Half,
    server: Half,
    facts: Facts,
    early_bytes: u32,
}

#[derive(Debug, Default)]
struct Half {
    records: Records,
    /// Nothing more is looked at.
    is_over: bool,
    /// Handshake messages are passed over: what is of interest was seen, or part of it is lost.
    is_told: bool,
}

/// Whether the first bytes of a side look like TLS.
#[must_use]
pub fn guess(bytes: &[u8], from: Side) -> Guess {
    if !records::can_be_header(bytes) || bytes.get(1).is_some_and(|&major| major != 3) {
        return Guess::No;
    }
    let Some((&[kind, _, _, high, low], content)) = bytes.split_first_chunk() else {
        return if matches!(bytes.first(), None | Some(&(ALERT | HANDSHAKE))) {
            Guess::Maybe
        } else {
            Guess::No
        };
    };
    let len = u16::from_be_bytes([high, low]);
    let hello = if from == Side::Client { CLIENT_HELLO } else { SERVER_HELLO };
    match (kind, content.first()) {
        (HANDSHAKE, None) if (4..=1 << 14).contains(&len) => Guess::Maybe,
        (HANDSHAKE, Some(&first)) if (4..=1 << 14).contains(&len) && first == hello => Guess::Yes,
        (ALERT, None) if len == 2 => Guess::Maybe,
        (ALERT, Some(1 | 2)) if len == 2 => Guess::Yes,
        _ => Guess::No,
    }
}

impl Tls {
    /// A decoder at the start of a connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// A record begins.
    fn record(&mut self, from: Side, kind: u8, version: u16, len: u16) -> Verdict {
        if version < TLS_1_0 {
            self.facts.version = Some(version);
            return Verdict::Done;
        }
        if kind == ALERT {
            // Never within a handshake message (RFC 8446 section 5.1).
            self.half(from).records.forget();
        }
        let is_encrypted = match kind {
            CHANGE_CIPHER_SPEC | APPLICATION_DATA => true,
            ALERT => len != 2,
            _ => false,
        };
        if !is_encrypted {
            return Verdict::More;
        }
        if from == Side::Server || self.facts.has_server_hello() {
            return Verdict::Done;
        }
        // Early data: the server's hello is still to come.
        self.client.stop();
        Verdict::More
    }

    /// Looks at the handshake messages that are complete, and keeps the rest.
    fn handshake(&mut self, from: Side, bytes: &[u8]) -> Verdict {
        let Self { client, server, facts, .. } = self;
        let half = if from == Side::Client { client } else { server };
        if half.is_told {
            return Verdict::More;
        }
        let has_room = half.records.has_room(bytes);
        let joined = half.records.join(bytes);
        let mut left = joined;
        let mut outcome = Outcome::More;
        while outcome == Outcome::More
            && let Some((&[kind, high, middle, low], rest)) = left.split_first_chunk()
        {
            let len = u32::from_be_bytes([0, high, middle, low]) as usize;
            let Some(body) = rest.get(..len) else {
                outcome = partial(from, kind, rest, facts);
                break;
            };
            let message = left.get(..4 + len).unwrap_or_default();
            outcome = whole(from, kind, message, body, facts);
            left = left.get(4 + len..).unwrap_or_default();
        }
        let left = left.len();
        match outcome {
            Outcome::More if has_room && half.records.keep(bytes, left) => Verdict::More,
            Outcome::More | Outcome::Seen => {
                half.is_told = true;
                half.records.forget();
                Verdict::More
            }
            Outcome::End => Verdict::Done,
            Outcome::Foreign if facts.has_client_hello() || facts.has_server_hello() => {
                half.stop();
                Verdict::More
            }
            Outcome::Foreign => Verdict::Wrong,
        }
    }

    fn alert(&mut self, from: Side, bytes: &[u8]) -> Verdict {
        let half = self.half(from);
        match *half.records.join(bytes) {
            [FATAL, description, ..] => {
                self.facts.alert(description);
                Verdict::Done
            }
            [_] => {
                half.records.keep(bytes, 1);
                Verdict::More
            }
            _ => {
                half.records.forget();
                Verdict::More
            }
        }
    }

    /// Done when neither side has anything more to tell.
    fn verdict(&self) -> Verdict {
        let is_client_over = self.client.is_over || self.client.is_told;
        if self.server.is_over && is_client_over { Verdict::Done } else { Verdict::More }
    }
}

impl Half {
    fn stop(&mut self) {
        self.is_over = true;
        self.records.forget();
    }
}

/// What a handshake message means for its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    More,
    /// This side's handshake has told all.
    Seen,
    /// The handshake as a whole has told all.
    End,
    /// No handshake.
    Foreign,
}

fn whole(from: Side, kind: u8, message: &[u8], body: &[u8], facts: &mut Facts) -> Outcome {
    match (from, kind) {
        (Side::Client, CLIENT_HELLO) => match ClientHello::parse(message) {
            Some(hello) => {
                facts.client(&hello);
                Outcome::Seen
            }
            None => Outcome::Foreign,
        },
        (Side::Server, SERVER_HELLO) => match ServerHello::parse(body) {
            Some(hello) => {
                facts.server(&hello);
                if hello.version >= TLS_1_3 { Outcome::End } else { Outcome::More }
            }
            None => Outcome::Foreign,
        },
        _ => partial(from, kind, body, facts),
    }
}

/// What can be said of a message whose end may be missing.
fn partial(from: Side, kind: u8, body: &[u8], facts: &mut Facts) -> Outcome {
    match (from, kind) {
        (Side::Server, CERTIFICATE) => match certificate::first(body) {
            Leaf::Whole(der) => {
                facts.certificate(Certificate::parse(der));
                Outcome::Seen
            }
            Leaf::Cut => Outcome::More,
            Leaf::None => Outcome::Seen,
        },
        (Side::Client, CLIENT_HELLO) | (Side::Server, SERVER_HELLO) => Outcome::More,
        // A HelloRequest may come before the ServerHello, and much behind it.
        (Side::Server, 0) => Outcome::More,
        (Side::Server, 3..=24) if facts.has_server_hello() => Outcome::More,
        _ => Outcome::Foreign,
    }
}

impl StreamDecoder for Tls {
    fn data(&mut self, from: Side, bytes: &[u8], _now_us: u64, _events: &mut Events) -> Verdict {
        let mut left = bytes;
        loop {
            if self.half(from).is_over {
                self.early_bytes = self.early_bytes.saturating_add(left.len() as u32);
                let is_long = self.early_bytes > MAX_EARLY_BYTES;
                return if is_long { Verdict::Done } else { self.verdict() };
            }
            let verdict = match self.half(from).records.next(&mut left) {
                Next::More => return Verdict::More,
                Next::Begin { kind, version, len } => self.record(from, kind, version, len),
                Next::Content { kind: HANDSHAKE, bytes } => self.handshake(from, bytes),
                Next::Content { kind: ALERT, bytes } => self.alert(from, bytes),
                Next::Content { .. } => Verdict::More,
                Next::Foreign if self.facts.has_client_hello() || self.facts.has_server_hello() => {
                    self.half(from).stop();
                    Verdict::More
                }
                Next::Foreign => Verdict::Wrong,
            };
            if verdict != Verdict::More {
                return verdict;
            }
        }
    }

    fn gap(&mut self, from: Side, lost: u64, _now_us: u64, _events: &mut Events) -> Verdict {
        let half = self.half(from);
        half.is_told = true;
        half.records.forget();
        if !half.records.skip(lost) {
            half.stop();
        }
        self.verdict()
    }

    fn end(&mut self, _from: Side, _now_us: u64, _events: &mut Events) {}

    fn facts(&self, events: &mut Events) {
        self.facts.report(events);
    }

    fn has_facts(&self) -> bool {
        !self.facts.is_empty()
    }

    fn heap_bytes(&self) -> usize {
        let records = self.client.records.heap_bytes() + self.server.records.heap_bytes();
        records + self.facts.heap_bytes()
    }
}
