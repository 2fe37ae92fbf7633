//! SMTP and LMTP (RFC 5321, 2033, 2920, 3030): commands, envelope addresses, reply codes, latency.
//!
//! A request is reported when its line is complete, a response at the last line of the reply; the
//! response repeats the verb, and the domain or address that the command had. Latency runs from the
//! first byte of the command's line to the last byte of the reply. The message itself is a request
//! `MESSAGE` at its lone dot, which its last reply answers: the time to send it is not counted.
//! The greeting is a response without a request, and so is anything else the server says unasked.
//!
//! Only the domain of HELO, EHLO and LHLO and the addresses of MAIL and RCPT are read; other
//! arguments, all lines after AUTH up to its last reply, and messages pass by unread. Encryption
//! (STARTTLS accepted) ends decoding. LMTP answers a message once for each recipient that it took.
//!
//! Bounds: 1 KiB of a line is looked at; 128 commands wait for their replies and keep 16 KiB of
//! addresses; less than 32 KiB a conversation in all. After a gap either side is picked up at its
//! next line that can be a command or a reply.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use super::decoder::{Guess, Side, StreamDecoder, Verdict};
use super::event::{Draft, Events, Kind};
use super::field::{App, Field};
use super::kept::{Line, Word};

/// Bytes of a client's line that are looked at: a path has up to 256, its parameters follow.
const MAX_LINE_BYTES: usize = 1024;
/// Bytes of a reply's line that are looked at: its code, and whether more lines follow.
const MAX_REPLY_BYTES: usize = 4;
/// Longest address or domain that is kept, bytes (RFC 5321 4.5.3.1).
const MAX_ADDRESS_BYTES: usize = 320;
/// Commands waiting for their replies at most.
const MAX_WAITING: usize = 128;
/// Addresses that they hold at most, bytes; commands beyond keep the verb only.
const MAX_WAITING_BYTES: usize = 16 << 10;
/// Lines that are no commands or replies, one after the other; more end decoding.
const MAX_STRANGE_LINES: u32 = 32;

/// Verbs that are reported; another one is `OTHER`.
const VERBS: [&[u8]; 17] = [
    b"HELO",
    b"EHLO",
    b"LHLO",
    b"MAIL",
    b"RCPT",
    b"DATA",
    b"BDAT",
    b"RSET",
    b"VRFY",
    b"EXPN",
    b"HELP",
    b"NOOP",
    b"QUIT",
    b"STARTTLS",
    b"AUTH",
    b"ETRN",
    b"XCLIENT",
];

type Verb = Word<8>;

/// What the client's bytes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Commands,
    /// Lines of a login up to its last reply, or what follows STARTTLS.
    Unread,
    /// A message; so many bytes of CR LF . CR LF were seen.
    Message(u8),
    /// So many bytes of a chunk are left.
    Chunk(u64),
}

#[derive(Debug)]
struct Waiting {
    verb: Verb,
    start_us: u64,
    detail: Option<(Field, Box<[u8]>)>,
}

/// Decoder of one connection.
#[derive(Debug, Default)]
pub struct Smtp {
    client_line: Line,
    server_line: Line,
    mode: Mode,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Commands that found no room to wait.
    beyond: u64,
    /// Recipients of the message at hand that were accepted; counted for LMTP.
    recipients: usize,
    lmtp: bool,
    reported: bool,
    /// The client has said something known.
    understood: bool,
    lost: [bool; 2],
    /// The server has replied since the client was lost.
    replied: bool,
    strange_lines: u32,
}

/// Whether the first bytes of one side are SMTP's. A greeting alone can be FTP's, unless it says
/// what it is.
#[must_use]
pub fn guess(bytes: &[u8], from: Side) -> Guess {
    let line = bytes.get(..512).unwrap_or(bytes);
    let end = line.iter().position(|&byte| byte == b'\n');
    let text = line.get(..end.unwrap_or(line.len())).unwrap_or_default();
    let begins = |word: &[u8]| {
        let len = text.len().min(word.len());
        let same = text.iter().zip(word).all(|(a, b)| a.eq_ignore_ascii_case(b));
        (same, len == word.len())
    };
    let words: &[&[u8]] = match from {
        Side::Client => &[b"EHLO ", b"HELO ", b"LHLO "],
        Side::Server => &[b"220 ", b"220-", b"554 ", b"421 "],
    };
    let fits = words.iter().map(|word| begins(word)).filter(|(same, _)| *same).max();
    let says_so = || text.windows(4).any(|word| matches!(word, b"SMTP" | b"LMTP"));
    match (fits, from) {
        (None, _) => Guess::No,
        (Some((_, true)), Side::Client) => Guess::Yes,
        (Some((_, true)), Side::Server) if says_so() => Guess::Yes,
        _ if bytes.len() < 512 => Guess::Maybe,
        _ => Guess::No,
    }
}

impl Smtp {
    /// At the beginning of a connection, or in the middle of one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn client_bytes(&mut self, mut bytes: &[u8], now_us: u64, events: &mut Events) -> Verdict {
        while !bytes.is_empty() {
            match self.mode {
                Mode::Unread => return Verdict::More,
                Mode::Message(seen) => self.message(&mut bytes, seen, now_us, events),
                Mode::Chunk(left) => {
                    let here = left.min(bytes.len() as u64);
                    bytes = bytes.get(here as usize..).unwrap_or_default();
                    self.mode = match left - here {
                        0 => Mode::Commands,
                        left => Mode::Chunk(left),
                    };
                }
                Mode::Commands => {
                    let mut line = std::mem::take(&mut self.client_line);
                    let verdict = match line.take(&mut bytes, MAX_LINE_BYTES, now_us) {
                        Some((text, begun_us)) => self.command(text, begun_us, events),
                        None => Verdict::More,
                    };
                    self.client_line = line;
                    if verdict != Verdict::More {
                        return verdict;
                    }
                }
            }
        }
        Verdict::More
    }

    /// Passes over a message, to its lone dot.
    fn message(&mut self, bytes: &mut &[u8], seen: u8, now_us: u64, events: &mut Events) {
        const END: [u8; 5] = *b"\r\n.\r\n";
        let mut seen = usize::from(seen);
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            if END.get(seen) == Some(&byte) {
                seen += 1;
            } else {
                seen = usize::from(byte == b'\r');
            }
            if seen == END.len() {
                *bytes = bytes.get(at..).unwrap_or_default();
                self.mode = Mode::Commands;
                let replies = if self.lmtp { self.recipients.max(1) } else { 1 };
                self.recipients = 0;
                self.ask(b"MESSAGE", None, now_us, replies, events);
                return;
            }
            if seen == 0 {
                let rest = bytes.get(at..).unwrap_or_default();
                at += memchr::memchr(b'\r', rest).unwrap_or(rest.len());
            }
        }
        *bytes = &[];
        self.mode = Mode::Message(seen as u8);
    }

    fn command(&mut self, line: &[u8], begun_us: u64, events: &mut Events) -> Verdict {
        let line = line.trim_ascii();
        let end = line.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(line.len());
        let (word, rest) = line.split_at_checked(end).unwrap_or_default();
        let verb = VERBS.iter().copied().find(|verb| word.eq_ignore_ascii_case(verb));
        let Some(verb) = verb.filter(|_| rest.first().is_none_or(|&byte| byte == b' ')) else {
            return self.strange(line, begun_us, events);
        };
        let argument = rest.trim_ascii();
        (self.understood, self.strange_lines) = (true, 0);
        let detail = match verb {
            b"HELO" | b"EHLO" | b"LHLO" => {
                self.lmtp = verb == b"LHLO";
                (!argument.is_empty()).then_some((Field::SmtpDomain, argument))
            }
            b"MAIL" => path(argument, b"FROM:").map(|path| (Field::SmtpSender, path)),
            b"RCPT" => path(argument, b"TO:").map(|path| (Field::SmtpRecipient, path)),
            _ => None,
        };
        match verb {
            b"MAIL" | b"RSET" => self.recipients = 0,
            b"DATA" => self.mode = Mode::Message(2),
            b"AUTH" | b"STARTTLS" => self.mode = Mode::Unread,
            b"BDAT" => {
                let size = argument.split(|&byte| byte == b' ').next().unwrap_or_default();
                let size = std::str::from_utf8(size).ok().and_then(|size| size.parse().ok());
                let Some(size) = size else { return self.strange(line, begun_us, events) };
                if size > 0 {
                    self.mode = Mode::Chunk(size);
                }
            }
            _ => {}
        }
        let last_chunk = verb == b"BDAT" && argument.to_ascii_uppercase().ends_with(b" LAST");
        let replies = if last_chunk && self.lmtp { self.recipients.max(1) } else { 1 };
        self.ask(verb, detail, begun_us, replies, events);
        Verdict::More
    }

    /// A line that is no known command: its text is not reported.
    fn strange(&mut self, line: &[u8], begun_us: u64, events: &mut Events) -> Verdict {
        if !self.understood {
            return if self.reported { Verdict::Done } else { Verdict::Wrong };
        }
        self.strange_lines += 1;
        if self.strange_lines > MAX_STRANGE_LINES {
            return Verdict::Done;
        }
        if !line.is_empty() {
            self.ask(b"OTHER", None, begun_us, 1, events);
        }
        Verdict::More
    }

    fn ask(
        &mut self,
        verb: &[u8],
        detail: Option<(Field, &[u8])>,
        start_us: u64,
        replies: usize,
        events: &mut Events,
    ) {
        let detail =
            detail.map(|(field, text)| (field, text.get(..MAX_ADDRESS_BYTES).unwrap_or(text)));
        let mut draft = events.begin(App::Smtp, Kind::Request);
        draft.text(Field::SmtpOperation, verb);
        if let Some((field, text)) = detail {
            draft.text(field, text);
        }
        self.reported = true;
        for _ in 0..replies {
            if self.beyond > 0 || self.waiting.len() >= MAX_WAITING {
                self.beyond += 1;
                continue;
            }
            let fits = |text: &[u8]| self.waiting_bytes + text.len() <= MAX_WAITING_BYTES;
            let detail = detail.filter(|(_, text)| fits(text));
            let detail = detail.map(|(field, text)| (field, Box::from(text)));
            let waiting = Waiting { verb: Verb::upper(verb), start_us, detail };
            self.waiting_bytes += waiting.bytes();
            self.waiting.push_back(waiting);
        }
    }

    fn server_bytes(&mut self, mut bytes: &[u8], now_us: u64, events: &mut Events) -> Verdict {
        while !bytes.is_empty() {
            let mut line = std::mem::take(&mut self.server_line);
            let taken = line.take(&mut bytes, MAX_REPLY_BYTES, now_us);
            let verdict = match taken.map(|(text, _)| reply_code(text)) {
                None => Verdict::More,
                Some(Some((code, true))) => self.reply(code, now_us, events),
                Some(Some((_, false))) => Verdict::More,
                Some(None) if !self.reported => Verdict::Wrong,
                Some(None) => {
                    self.strange_lines += 1;
                    let few = self.strange_lines <= MAX_STRANGE_LINES;
                    if few { Verdict::More } else { Verdict::Done }
                }
            };
            self.server_line = line;
            if verdict != Verdict::More {
                return verdict;
            }
        }
        Verdict::More
    }

    /// The last line of a reply.
    fn reply(&mut self, code: u16, now_us: u64, events: &mut Events) -> Verdict {
        self.replied = true;
        let is_auth = |waiting: &Waiting| waiting.verb.as_bytes() == b"AUTH";
        if code == 334 && self.waiting.front().is_some_and(is_auth) {
            // A question of the login.
            return Verdict::More;
        }
        let waiting = self.waiting.pop_front();
        let mut draft = events.begin(App::Smtp, Kind::Response);
        if let Some(waiting) = &waiting {
            draft.latency_us(now_us.saturating_sub(waiting.start_us));
            waiting.describe(&mut draft);
            self.waiting_bytes -= waiting.bytes();
        } else {
            self.beyond = self.beyond.saturating_sub(1);
        }
        draft.number(Field::SmtpStatus, code.into());
        self.reported = true;
        match waiting.as_ref().map(|waiting| waiting.verb.as_bytes()) {
            Some(b"STARTTLS") if code == 220 => return Verdict::Done,
            Some(b"STARTTLS" | b"AUTH") if self.mode == Mode::Unread => self.mode = Mode::Commands,
            Some(b"RCPT") if code < 300 => self.recipients += 1,
            // The message is refused, and does not come.
            Some(b"DATA") if code != 354 => self.mode = Mode::Commands,
            Some(_) => {}
            // What the client said was lost; a message is not taken for commands.
            None if code == 354 => (self.mode, self.lost[0]) = (Mode::Message(0), false),
            // The end of the message was lost, or has bare line feeds.
            None if matches!(self.mode, Mode::Message(_)) => self.mode = Mode::Commands,
            None => {}
        }
        Verdict::More
    }

    /// Whether the bytes can be decoded again.
    fn is_found(&mut self, from: Side, bytes: &[u8]) -> bool {
        let found = match from {
            Side::Client => {
                let begins = |verb: &&[u8]| {
                    let start = bytes.get(..verb.len());
                    let next = bytes.get(verb.len());
                    start.is_some_and(|start| start.eq_ignore_ascii_case(verb))
                        && matches!(next, Some(b' ' | b'\r' | b'\n'))
                };
                self.replied && VERBS.iter().any(begins)
            }
            Side::Server => bytes.get(..4).and_then(reply_code).is_some(),
        };
        self.lost[from.index()] &= !found;
        found
    }
}

impl StreamDecoder for Smtp {
    fn data(&mut self, from: Side, bytes: &[u8], now_us: u64, events: &mut Events) -> Verdict {
        if self.lost[from.index()] && !self.is_found(from, bytes) {
            return Verdict::More;
        }
        match from {
            Side::Client => self.client_bytes(bytes, now_us, events),
            Side::Server => self.server_bytes(bytes, now_us, events),
        }
    }

    fn gap(&mut self, from: Side, lost_bytes: u64, _now_us: u64, _: &mut Events) -> Verdict {
        if from == Side::Client {
            match self.mode {
                Mode::Message(_) => {
                    self.mode = Mode::Message(0);
                    return Verdict::More;
                }
                Mode::Chunk(left) if lost_bytes < left => {
                    self.mode = Mode::Chunk(left - lost_bytes);
                    return Verdict::More;
                }
                // The reply ends it.
                Mode::Unread => return Verdict::More,
                Mode::Chunk(_) | Mode::Commands => {}
            }
            (self.mode, self.replied) = (Mode::Commands, false);
            self.client_line = Line::default();
        } else {
            self.server_line = Line::default();
            if self.mode == Mode::Unread {
                // Whether it was accepted will not be known.
                return Verdict::Done;
            }
        }
        self.waiting.clear();
        (self.waiting_bytes, self.beyond) = (0, 0);
        self.lost[from.index()] = true;
        Verdict::More
    }

    fn end(&mut self, _: Side, _: u64, _: &mut Events) {}

    /// There are none.
    fn facts(&self, _: &mut Events) {}

    fn heap_bytes(&self) -> usize {
        let waiting = self.waiting.capacity() * size_of::<Waiting>() + self.waiting_bytes;
        waiting + self.client_line.heap_bytes() + self.server_line.heap_bytes()
    }
}

impl Waiting {
    fn describe(&self, draft: &mut Draft<'_>) {
        draft.text(Field::SmtpOperation, self.verb.as_bytes());
        if let Some((field, text)) = &self.detail {
            draft.text(*field, text);
        }
    }

    fn bytes(&self) -> usize {
        self.detail.as_ref().map_or(0, |(_, text)| text.len())
    }
}

/// Code of a reply's line, and whether it is the last.
fn reply_code(line: &[u8]) -> Option<(u16, bool)> {
    let (&[a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9'], rest) = line.split_first_chunk()?
    else {
        return None;
    };
    let code = [a, b, c].into_iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    match rest.first() {
        None | Some(b' ' | b'\r' | b'\n') => Some((code, true)),
        Some(b'-') => Some((code, false)),
        Some(_) => None,
    }
}

/// The address within the angle brackets of a path, `<>` when it is empty; without a source route
/// (`@relay,@relay:`) and parameters.
fn path<'a>(argument: &'a [u8], keyword: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = argument.split_at_checked(keyword.len())?;
    if !start.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let rest = rest.trim_ascii_start();
    let Some(inside) = rest.strip_prefix(b"<") else {
        return rest.split(|&byte| byte == b' ').next().filter(|address| !address.is_empty());
    };
    let (mut quoted, mut escaped) = (false, false);
    let end = inside.iter().position(|&byte| {
        let ends = byte == b'>' && !quoted;
        quoted ^= byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    let address = inside.get(..end)?;
    if address.is_empty() {
        return rest.get(..2);
    }
    if !address.starts_with(b"@") {
        return Some(address);
    }
    let route = address.iter().position(|&byte| byte == b':')?;
    address.get(route + 1..)
}
