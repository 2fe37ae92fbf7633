//! SSH (RFC 4253): who the two programs are and what they agree on, from what they say before the
//! connection is encrypted.
//!
//! Reads the identification string and the first `SSH_MSG_KEXINIT` of both sides. A message of
//! more than 16 KiB, 64 lines before the identification string, or 64 KiB before the `KEXINIT` end
//! the reading of a side; so does a gap. Host keys, users and anything later are not looked at.

mod kexinit;

use super::decoder::{Guess, Side, StreamDecoder, Verdict};
use super::event::{Events, Kind};
use super::field::{App, Field};
use kexinit::{Agreed, KexInit};

/// Longest packet, and so the most that waits of one side, bytes.
const MAX_BUFFER_BYTES: usize = 16 * 1024;
/// Longest line, bytes; the identification string itself has at most 255 (RFC 4253 section 4.2).
const MAX_LINE_BYTES: usize = 1024;
/// Lines that a server may send before its identification string.
const MAX_LINES_BEFORE: u8 = 64;
/// What may come before the `KEXINIT` (ignored and debug messages), bytes.
const MAX_BEFORE_KEXINIT_BYTES: usize = 64 * 1024;

/// Whether the first bytes of one side look like SSH. Decides within 4 bytes.
#[must_use]
pub fn guess(bytes: &[u8], _from: Side) -> Guess {
    let start = b"SSH-";
    if bytes.starts_with(start) {
        Guess::Yes
    } else if start.starts_with(bytes) {
        Guess::Maybe
    } else {
        Guess::No
    }
}

/// The decoder of one connection; at most 34 KiB on the heap.
#[derive(Debug, Default)]
pub struct Ssh {
    halves: [Half; 2],
    agreed: Option<Agreed>,
    hassh: Option<[u8; 16]>,
}

/// One side's way to its `KEXINIT`.
#[derive(Debug, Default)]
struct Half {
    phase: Phase,
    /// A line or packet that is not complete.
    buffer: Vec<u8>,
    /// Identification string without line end; empty until it was seen.
    banner: Vec<u8>,
    /// Payload of the `KEXINIT`, until that of the other side is there.
    kexinit: Vec<u8>,
    lines_before: u8,
    bytes_before: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Lines,
    Packets,
    Finished,
    Wrong,
}

impl Ssh {
    /// Before the first byte of either side.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What the sides have come to.
    fn verdict(&mut self) -> Verdict {
        let [client, server] = &mut self.halves;
        if client.phase == Phase::Wrong || server.phase == Phase::Wrong {
            return Verdict::Wrong;
        }
        if self.hassh.is_none() {
            self.hassh = KexInit::parse(&client.kexinit).map(|kexinit| kexinit.hassh());
        }
        if let Some(ours) = KexInit::parse(&client.kexinit)
            && let Some(theirs) = KexInit::parse(&server.kexinit)
        {
            self.agreed = Some(Agreed::between(&ours, &theirs));
            client.kexinit = Vec::new();
            server.kexinit = Vec::new();
        }
        let finished = client.phase == Phase::Finished && server.phase == Phase::Finished;
        if finished { Verdict::Done } else { Verdict::More }
    }
}

impl StreamDecoder for Ssh {
    fn data(&mut self, from: Side, bytes: &[u8], _now_us: u64, _events: &mut Events) -> Verdict {
        self.halves[from.index()].push(from, bytes);
        self.verdict()
    }

    fn gap(&mut self, from: Side, _lost: u64, _now_us: u64, _events: &mut Events) -> Verdict {
        self.halves[from.index()].finish();
        self.verdict()
    }

    fn end(&mut self, from: Side, _now_us: u64, _events: &mut Events) {
        self.halves[from.index()].finish();
    }

    fn facts(&self, events: &mut Events) {
        let [client, server] = &self.halves;
        if client.banner.is_empty() && server.banner.is_empty() {
            return;
        }
        let mut draft = events.begin(App::Ssh, Kind::Facts);
        for (field, text) in [(Field::SshClient, client), (Field::SshServer, server)] {
            if !text.banner.is_empty() {
                draft.text(field, &text.banner);
            }
        }
        if let Some(agreed) = &self.agreed {
            for (field, name) in [
                (Field::SshKeyExchange, &agreed.key_exchange),
                (Field::SshHostKey, &agreed.host_key),
                (Field::SshCipher, &agreed.cipher),
                (Field::SshMac, &agreed.mac),
            ] {
                if let Some(name) = name {
                    draft.text(field, name);
                }
            }
        }
        if let Some(hassh) = self.hassh {
            let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0') as u8;
            let pair = |byte: u8| [digit(byte >> 4), digit(byte & 15)];
            draft.text(Field::SshHassh, hassh.map(pair).as_flattened());
        }
    }

    fn heap_bytes(&self) -> usize {
        let agreed = self.agreed.as_ref().map_or(0, Agreed::heap_bytes);
        agreed + self.halves.iter().map(Half::heap_bytes).sum::<usize>()
    }
}

impl Half {
    fn push(&mut self, from: Side, mut bytes: &[u8]) {
        while !bytes.is_empty() && matches!(self.phase, Phase::Lines | Phase::Packets) {
            let room = MAX_BUFFER_BYTES - self.buffer.len();
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.keep(now);
            bytes = later;
            let buffer = std::mem::take(&mut self.buffer);
            let mut rest = &buffer[..];
            while let Some(after) = self.step(from, rest) {
                rest = after;
            }
            if rest.len() == MAX_BUFFER_BYTES {
                self.finish();
            }
            if matches!(self.phase, Phase::Lines | Phase::Packets) {
                self.buffer = if rest.len() == buffer.len() { buffer } else { rest.to_vec() };
            }
        }
    }

    /// Appends to the buffer, whose capacity doubles as usual but stays within the bound.
    fn keep(&mut self, bytes: &[u8]) {
        let len = self.buffer.len();
        let needed = len + bytes.len();
        if needed > self.buffer.capacity() {
            let capacity = needed.max(2 * self.buffer.capacity()).min(MAX_BUFFER_BYTES);
            self.buffer.reserve_exact(capacity.max(needed) - len);
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Reads one line or packet; gives what follows it, or nothing when more bytes are needed or
    /// none are wanted.
    fn step<'a>(&mut self, from: Side, bytes: &'a [u8]) -> Option<&'a [u8]> {
        match self.phase {
            Phase::Lines => self.line(from, bytes),
            Phase::Packets => self.packet(bytes),
            Phase::Finished | Phase::Wrong => None,
        }
    }

    fn line<'a>(&mut self, from: Side, bytes: &'a [u8]) -> Option<&'a [u8]> {
        // Only a server may say something before (RFC 4253 section 4.2).
        if guess(bytes, from) == Guess::No && from == Side::Client {
            self.phase = Phase::Wrong;
            return None;
        }
        let window = &bytes[..bytes.len().min(MAX_LINE_BYTES)];
        let Some(end) = window.iter().position(|&byte| byte == b'\n' || byte == 0) else {
            if window.len() == MAX_LINE_BYTES {
                self.phase = Phase::Wrong;
            }
            return None;
        };
        let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
        if bytes[end] == 0 {
            self.phase = Phase::Wrong;
            return None;
        }
        if line.starts_with(b"SSH-") {
            self.banner = line.trim_ascii_end().to_vec();
            // 1.99 is a server that speaks 1 and 2 (section 5.1).
            let is_version_2 = line.starts_with(b"SSH-2.0-") || line.starts_with(b"SSH-1.99-");
            self.phase = if is_version_2 { Phase::Packets } else { Phase::Finished };
            return Some(rest);
        }
        self.lines_before += 1;
        if self.lines_before == MAX_LINES_BEFORE {
            self.phase = Phase::Wrong;
        }
        Some(rest)
    }

    /// A packet in clear: length, length of the padding, payload, padding; no MAC (section 6).
    fn packet<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (length, rest) = bytes.split_first_chunk()?;
        let length = u32::from_be_bytes(*length) as usize;
        if !(5..=MAX_BUFFER_BYTES - 4).contains(&length) {
            self.finish();
            return None;
        }
        let (packet, rest) = rest.split_at_checked(length)?;
        self.bytes_before += length;
        let padding = usize::from(packet[0]);
        let payload = packet.get(1..length.saturating_sub(padding)).unwrap_or_default();
        match payload {
            // Ignore, unimplemented and debug messages may come at any time (section 11).
            [2..=4, ..] if self.bytes_before < MAX_BEFORE_KEXINIT_BYTES => return Some(rest),
            [20, kexinit @ ..] if KexInit::parse(kexinit).is_some() => {
                self.kexinit = kexinit.to_vec();
            }
            _ => {}
        }
        self.finish();
        None
    }

    fn finish(&mut self) {
        if self.phase != Phase::Wrong {
            self.phase = Phase::Finished;
        }
        self.buffer = Vec::new();
    }

    fn heap_bytes(&self) -> usize {
        self.buffer.capacity() + self.banner.capacity() + self.kexinit.capacity()
    }
}

#[cfg(test)]
mod tests;
