//! The messages themselves: lengths, names, tags.

use crate::app::decoder::{Guess, Side};
use crate::app::kept::Word;

/// Bytes of a statement that are looked at.
pub(super) const MAX_STATEMENT_BYTES: usize = 8 << 10;
/// Longest message the server takes.
pub(super) const MAX_MESSAGE_BYTES: u64 = 0x3fff_ffff;
/// Longest startup message the server takes.
pub(super) const MAX_STARTUP_BYTES: u64 = 10_000;
/// Longest name that is kept, bytes.
pub(super) const MAX_NAME_BYTES: usize = 127;

pub(super) const CANCEL: u32 = 80_877_102;
pub(super) const SSL: u32 = 80_877_103;
pub(super) const GSS: u32 = 80_877_104;

/// Whether the first bytes of one side are PostgreSQL's.
#[must_use]
pub fn guess(bytes: &[u8], from: Side) -> Guess {
    let Some(&first) = bytes.first() else { return Guess::Maybe };
    match from {
        Side::Client if first == 0 => {
            let Some((head, _)) = bytes.split_first_chunk::<8>() else {
                // No message is longer than 0x3fff_ffff.
                let length_fits = bytes.get(1).is_none_or(|&byte| byte == 0);
                return if length_fits { Guess::Maybe } else { Guess::No };
            };
            match startup(head) {
                Some((8, SSL | GSS)) => Guess::Yes,
                Some((length, CANCEL)) if length >= 16 => Guess::Yes,
                Some((length, code)) if code >> 16 == 3 && code & 0xffff < 16 && length >= 14 => {
                    Guess::Yes
                }
                _ => Guess::No,
            }
        }
        Side::Client if !matches!(first, b'Q' | b'P') => Guess::No,
        Side::Client => {
            // In the middle of a session: a whole message that ends in zero.
            let Some((_, length)) = type_and_length(bytes) else {
                // No message is longer than 0x3fff_ffff.
                let length_fits = bytes.get(1).is_none_or(|&byte| byte < 0x40);
                return if length_fits { Guess::Maybe } else { Guess::No };
            };
            match bytes.get(..length as usize + 1) {
                Some(message) if message.last() == Some(&0) && is_client_start(bytes) => Guess::Yes,
                None if is_client_start(bytes) || may_be_parse(bytes) => Guess::Maybe,
                _ => Guess::No,
            }
        }
        Side::Server if first == b'R' => match bytes.get(..9) {
            Some(&[_, 0, 0, _, 8..=255, 0, 0, 0, 0..=12]) => Guess::Yes,
            Some(_) => Guess::No,
            None if bytes.iter().skip(1).take(2).all(|&byte| byte == 0) => Guess::Maybe,
            None => Guess::No,
        },
        // The answer to a request for encryption.
        Side::Server if matches!(bytes, b"S" | b"N") => Guess::Maybe,
        _ => Guess::No,
    }
}

/// Length and code of a startup message.
pub(super) fn startup(head: &[u8; 8]) -> Option<(u64, u32)> {
    let [a, b, c, d, e, f, g, h] = *head;
    let length = u64::from(u32::from_be_bytes([a, b, c, d]));
    (length <= MAX_STARTUP_BYTES).then_some((length, u32::from_be_bytes([e, f, g, h])))
}

pub(super) fn type_and_length(bytes: &[u8]) -> Option<(u8, u64)> {
    let (&[kind, a, b, c, d], _) = bytes.split_first_chunk()?;
    Some((kind, u32::from_be_bytes([a, b, c, d]).into()))
}

/// Whether these bytes begin with a message with which a client begins its turn.
pub(super) fn is_client_start(bytes: &[u8]) -> bool {
    let Some((kind, length)) = type_and_length(bytes) else { return false };
    let Some(body) = length.checked_sub(4).filter(|_| length <= MAX_MESSAGE_BYTES) else {
        return false;
    };
    let content = bytes.get(5..).unwrap_or_default();
    let content = content.get(..body.min(64) as usize).unwrap_or(content);
    match kind {
        // A statement: text from its first byte to the zero.
        b'Q' => body > 0 && content.iter().all(|&byte| byte == 0 || byte >= b' ' || is_blank(byte)),
        b'P' => body >= 4 && content.iter().any(|&byte| byte >= b' '),
        b'B' => body >= 8,
        b'C' | b'D' => body >= 2 && matches!(content.first(), Some(b'S' | b'P')),
        b'E' => body >= 5,
        b'S' => body == 0,
        _ => false,
    }
}

/// Whether these bytes may be the beginning of a Parse message of which no text has come yet.
fn may_be_parse(bytes: &[u8]) -> bool {
    let fits = |length| (8..=MAX_MESSAGE_BYTES).contains(&length);
    matches!(type_and_length(bytes), Some((b'P', length)) if fits(length)) && bytes.len() < 5 + 64
}

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\r')
}

/// How much of a client's message is kept; nothing if there is no such message.
pub(super) fn client_keep(kind: u8, body: u64) -> Option<usize> {
    match kind {
        b'Q' => (body >= 1).then_some(MAX_STATEMENT_BYTES),
        b'P' => (body >= 4).then_some(MAX_STATEMENT_BYTES),
        b'B' => (body >= 8).then_some(2 * MAX_NAME_BYTES + 2),
        b'E' => (body >= 5).then_some(MAX_NAME_BYTES + 1),
        b'C' | b'D' => (body >= 2).then_some(MAX_NAME_BYTES + 2),
        b'S' | b'H' | b'X' | b'c' => (body == 0).then_some(0),
        b'f' | b'd' | b'p' | b'F' => Some(0),
        _ => None,
    }
}

/// Likewise of a server's.
pub(super) fn server_keep(kind: u8, body: u64) -> Option<usize> {
    match kind {
        b'E' => Some(512),
        b'S' | b'C' => (body >= 1).then_some(64),
        b'Z' => (body == 1).then_some(1),
        b'I' | b'1' | b'2' | b'3' | b'n' | b's' | b'c' => (body == 0).then_some(0),
        b'R' | b'K' => (body >= 4).then_some(0),
        b'D' | b'T' | b't' => (body >= 2).then_some(0),
        b'G' | b'H' | b'W' => (body >= 3).then_some(0),
        b'N' | b'd' | b'A' | b'V' | b'v' => Some(0),
        _ => None,
    }
}

/// Up to the zero byte, and what follows it.
pub(super) fn until_zero(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(0, bytes);
    let (text, rest) = bytes.split_at_checked(end.unwrap_or(bytes.len())).unwrap_or_default();
    (text, rest.get(1..).unwrap_or_default())
}

/// FNV-1a, of names of at most 127 bytes.
pub(super) fn hash(name: &[u8]) -> u64 {
    let name = name.get(..MAX_NAME_BYTES).unwrap_or(name);
    name.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The last word of a command tag, where it is a number.
pub(super) fn rows_of_tag(tag: &[u8]) -> Option<u64> {
    let word = tag.rsplit(|&byte| byte == b' ').next()?;
    std::str::from_utf8(word).ok()?.parse().ok()
}

pub(super) fn first_word(tag: Option<&[u8]>) -> Word<23> {
    Word::upper(tag.and_then(|tag| tag.split(|&byte| byte == b' ').next()).unwrap_or_default())
}

/// Field `C` of an error; `?????` where it was cut off.
pub(super) fn sqlstate(body: &[u8]) -> &[u8] {
    let fields = body.split(|&byte| byte == 0);
    let code = fields.filter_map(|field| field.strip_prefix(b"C"));
    code.into_iter().find(|code| code.len() == 5).unwrap_or(b"?????")
}
