//! Start line and header fields of a SIP message (RFC 3261 section 7).

use crate::app::decoder::Guess;
use crate::app::event::{Events, Kind};
use crate::app::field::{App, Field};

/// Longest method that is taken for one, bytes.
const MAX_METHOD_BYTES: usize = 20;
const VERSION: &[u8] = b"SIP/2.0";

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start<'a> {
    /// With this method.
    Request(&'a [u8]),
    /// With this status.
    Response(u16),
}

/// What is of interest of a head; texts are as sent and empty where a field is missing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    pub start: Start<'a>,
    from: &'a [u8],
    to: &'a [u8],
    call_id: &'a [u8],
    cseq: &'a [u8],
    user_agent: &'a [u8],
    server: &'a [u8],
    pub content_length: u64,
}

impl<'a> Head<'a> {
    /// Reads a head, which may be cut off anywhere behind its first line.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (line, mut rest) = split_line(bytes)?;
        let mut head = Self {
            start: start(line)?,
            from: &[],
            to: &[],
            call_id: &[],
            cseq: &[],
            user_agent: &[],
            server: &[],
            content_length: 0,
        };
        while let Some((line, after)) = split_line(rest) {
            if line.is_empty() {
                break;
            }
            // A line that begins with white space continues the one before.
            let mut after = after;
            while matches!(after.first(), Some(b' ' | b'\t'))
                && let Some((_, next)) = split_line(after)
            {
                after = next;
            }
            let field = rest.get(..rest.len() - after.len()).unwrap_or_default();
            head.field(field);
            rest = after;
        }
        Some(head)
    }

    fn field(&mut self, field: &'a [u8]) {
        let Some(colon) = memchr::memchr(b':', field) else { return };
        let (name, value) = field.split_at_checked(colon).unwrap_or_default();
        let (name, value) = (name.trim_ascii(), value.get(1..).unwrap_or_default().trim_ascii());
        let is = |long: &[u8], short: u8| {
            name.eq_ignore_ascii_case(long)
                || matches!(name, [only] if only.to_ascii_lowercase() == short)
        };
        // The first of several counts.
        let place = match name.len() {
            1 | 4 if is(b"from", b'f') => &mut self.from,
            1 | 2 if is(b"to", b't') => &mut self.to,
            1 | 7 if is(b"call-id", b'i') => &mut self.call_id,
            4 if is(b"cseq", 0) => &mut self.cseq,
            10 if is(b"user-agent", 0) => &mut self.user_agent,
            6 if is(b"server", 0) => &mut self.server,
            1 | 14 if is(b"content-length", b'l') => {
                let length = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
                self.content_length = length.map_or(0, |length: u32| length.into());
                return;
            }
            _ => return,
        };
        if place.is_empty() {
            *place = value;
        }
    }

    /// Method of the request, or of the request that a response answers.
    pub(super) fn method(&self) -> &'a [u8] {
        match self.start {
            Start::Request(method) => method,
            Start::Response(_) => {
                self.cseq.rsplit(u8::is_ascii_whitespace).next().unwrap_or_default()
            }
        }
    }

    /// The same for a request and its responses: dialogue, who asks, number and method. Nothing
    /// without a Call-ID and a CSeq.
    pub(super) fn transaction(&self) -> Option<u64> {
        if self.call_id.is_empty() || self.cseq.is_empty() {
            return None;
        }
        let number = self.cseq.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        let parts = [self.call_id, tag(self.from), number, self.method()];
        Some(parts.into_iter().fold(0, mix))
    }

    /// Begins an event with what this head says.
    pub(super) fn report(&self, latency_us: Option<u64>, events: &mut Events) {
        let kind = match self.start {
            Start::Request(_) => Kind::Request,
            Start::Response(_) => Kind::Response,
        };
        let mut draft = events.begin(App::Sip, kind);
        if let Some(latency_us) = latency_us {
            draft.latency_us(latency_us);
        }
        if !self.method().is_empty() {
            draft.text(Field::SipOperation, self.method());
        }
        if let Start::Response(status) = self.start {
            draft.number(Field::SipStatus, status.into());
        }
        for (field, value) in [(Field::SipFrom, self.from), (Field::SipTo, self.to)] {
            let (user, host) = uri(value);
            if !user.is_empty() || !host.is_empty() {
                draft.texts(field, &[user, host]);
            }
        }
        let agents = match self.start {
            Start::Request(_) => [self.user_agent, self.server],
            Start::Response(_) => [self.server, self.user_agent],
        };
        if let Some(agent) = agents.into_iter().find(|agent| !agent.is_empty()) {
            draft.text(Field::SipUserAgent, agent);
        }
        if !self.call_id.is_empty() {
            draft.text(Field::SipCallId, self.call_id);
        }
    }
}

/// Whether bytes begin like a SIP message. Decides within 27 bytes.
pub(super) fn begins_like_sip(bytes: &[u8]) -> Guess {
    let short = bytes.len() < 12;
    if bytes.iter().zip(b"SIP/2.0 ").all(|(byte, wanted)| byte == wanted) {
        let code = bytes.get(8..).unwrap_or_default();
        return match code.iter().take(3).all(u8::is_ascii_digit) {
            true if short => Guess::Maybe,
            true => Guess::Yes,
            false => Guess::No,
        };
    }
    let method = bytes.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    let rest = match bytes.get(method..) {
        _ if method > MAX_METHOD_BYTES => return Guess::No,
        Some([]) | None => return Guess::Maybe,
        Some([b' ', rest @ ..]) if method >= 3 => rest,
        Some(_) => return Guess::No,
    };
    let schemes = [&b"sip:"[..], b"sips:", b"tel:", b"urn:"];
    let fits = |scheme: &&[u8]| rest.iter().zip(*scheme).all(|(a, b)| a.eq_ignore_ascii_case(b));
    match schemes.into_iter().filter(fits).map(<[u8]>::len).min() {
        Some(len) if rest.len() >= len => Guess::Yes,
        Some(_) => Guess::Maybe,
        None => Guess::No,
    }
}

fn start(line: &[u8]) -> Option<Start<'_>> {
    if let Some(rest) = line.strip_prefix(VERSION) {
        let &[b' ', a @ b'1'..=b'6', b @ b'0'..=b'9', c @ b'0'..=b'9', ..] = rest else {
            return None;
        };
        let status =
            [a, b, c].into_iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
        return matches!(rest.get(4), None | Some(b' ')).then_some(Start::Response(status));
    }
    let rest = line.strip_suffix(VERSION)?.strip_suffix(b" ")?;
    let space = rest.iter().position(|&byte| byte == b' ')?;
    let (method, uri) = rest.split_at_checked(space)?;
    let is_method = (2..=MAX_METHOD_BYTES).contains(&method.len())
        && method.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'-');
    (is_method && uri.contains(&b':')).then_some(Start::Request(method))
}

/// The line, and what follows it; nothing if it does not end.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', bytes)?;
    let (line, rest) = bytes.split_at_checked(end)?;
    Some((line.strip_suffix(b"\r").unwrap_or(line), rest.get(1..)?))
}

/// Within the angle brackets of an address, or up to its parameters; and what follows.
fn address(value: &[u8]) -> (&[u8], &[u8]) {
    let (mut quoted, mut escaped) = (false, false);
    let open = value.iter().position(|&byte| {
        let opens = byte == b'<' && !quoted;
        quoted ^= byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        opens
    });
    let Some(open) = open else {
        let end = value.iter().position(|&byte| byte == b';').unwrap_or(value.len());
        return value.split_at_checked(end).unwrap_or_default();
    };
    let inside = value.get(open + 1..).unwrap_or_default();
    let end = inside.iter().position(|&byte| byte == b'>').unwrap_or(inside.len());
    inside.split_at_checked(end).unwrap_or_default()
}

/// Scheme and user, and `@` with host and port, of an address: without password, parameters and
/// header fields.
fn uri(value: &[u8]) -> (&[u8], &[u8]) {
    let uri = address(value).0.trim_ascii();
    let host_at = uri.iter().rposition(|&byte| byte == b'@').unwrap_or(0);
    let (user, host) = uri.split_at_checked(host_at).unwrap_or_default();
    let scheme = user.iter().position(|&byte| byte == b':').map_or(0, |colon| colon + 1);
    let name = user.get(scheme..).unwrap_or_default();
    let end = name.iter().position(|byte| matches!(byte, b':' | b';'));
    let user = user.get(..end.map_or(user.len(), |end| scheme + end)).unwrap_or_default();
    let end = host.iter().position(|byte| matches!(byte, b';' | b'?'));
    (user, host.get(..end.unwrap_or(host.len())).unwrap_or_default())
}

/// The tag of a From or To.
fn tag(value: &[u8]) -> &[u8] {
    let parameters = address(value).1.split(|byte| matches!(byte, b';' | b'>'));
    let mut parameters = parameters.map(<[u8]>::trim_ascii);
    let tag =
        parameters.find(|text| text.get(..4).is_some_and(|t| t.eq_ignore_ascii_case(b"tag=")));
    tag.and_then(|tag| tag.get(4..)).unwrap_or_default()
}

fn mix(hash: u64, text: &[u8]) -> u64 {
    let text = text.get(..256).unwrap_or(text);
    let step =
        |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    text.chunks(8).fold(step(hash, text.len() as u64), |hash, chunk| {
        let word = chunk.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
        step(hash, word)
    })
}
