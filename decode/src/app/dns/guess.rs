//! Whether bytes are a DNS message, on whatever port.

use super::message::{HEADER_BYTES, Message};
use super::words::{A, AAAA};
use crate::app::{Guess, Side};

/// Smallest message with a question: header, root, type, class.
const MIN_MESSAGE_BYTES: usize = HEADER_BYTES + 5;
/// Smallest resource record: root, and the fixed part without data.
const MIN_RECORD_BYTES: usize = 11;
/// Of a length and a header: what decides whether a message can start here.
pub(super) const START_BYTES: usize = 2 + HEADER_BYTES;

/// Whether a datagram on any port is DNS: one question of the Internet class in printable
/// characters, a sound header, and records that end where the datagram ends.
#[must_use]
pub fn guess(payload: &[u8]) -> Guess {
    if is_whole_message(payload) { Guess::Yes } else { Guess::No }
}

/// Whether the first bytes of one side of a TCP connection are DNS: the length, then a message as
/// for [`guess`], of which the question at least has to be there for a yes.
#[must_use]
pub fn guess_stream(bytes: &[u8], from: Side) -> Guess {
    if !can_start(bytes, from) {
        return Guess::No;
    }
    let Some((length, message)) = bytes.split_first_chunk::<2>() else { return Guess::Maybe };
    let length = usize::from(u16::from_be_bytes(*length));
    if let Some(message) = message.get(..length) {
        return guess(message);
    }
    if message.len() < HEADER_BYTES {
        return Guess::Maybe;
    }
    match Message::parse(message) {
        Some(message) if is_plain_question(&message) => Guess::Yes,
        Some(_) => Guess::No,
        // The question may be cut; no question is longer than a name and two numbers.
        None if message.len() < HEADER_BYTES + 259 => Guess::Maybe,
        None => Guess::No,
    }
}

/// Whether the bytes, as far as they go, can be a length and the header of a message of this side.
/// [`START_BYTES`] decide it.
pub(super) fn can_start(bytes: &[u8], from: Side) -> bool {
    let byte = |at: usize| bytes.get(at).copied();
    let is = |at: usize, expected: u8| byte(at).is_none_or(|byte| byte == expected);
    let length = match (byte(0), byte(1)) {
        (Some(high), Some(low)) => usize::from(u16::from_be_bytes([high, low])),
        _ => usize::from(u16::MAX),
    };
    let is_response = from == Side::Server;
    let flags_fit = byte(4).is_none_or(|high| high & 0xf8 == if is_response { 0x80 } else { 0 })
        && byte(5).is_none_or(|low| low & 0x40 == 0 && low & 15 <= 11);
    // A query has neither answers nor authority, and EDNS and a signature at most besides.
    let counts_fit = is_response
        || ((8..=12).all(|at| is(at, 0)) && byte(13).is_none_or(|additional| additional <= 2));
    let records_fit = bytes.first_chunk::<START_BYTES>().is_none_or(|start| {
        let count = |at| usize::from(u16::from_be_bytes([start[at], start[at + 1]]));
        let records = count(8) + count(10) + count(12);
        MIN_MESSAGE_BYTES + records * MIN_RECORD_BYTES <= length
    });
    length >= MIN_MESSAGE_BYTES && flags_fit && is(6, 0) && is(7, 1) && counts_fit && records_fit
}

fn is_whole_message(bytes: &[u8]) -> bool {
    let Ok(length) = u16::try_from(bytes.len()) else { return false };
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return false };
    let mut start = [0; START_BYTES];
    start[..2].copy_from_slice(&length.to_be_bytes());
    start[2..].copy_from_slice(header);
    let from = if header[2] & 0x80 == 0 { Side::Client } else { Side::Server };
    can_start(&start, from)
        && Message::parse(bytes).is_some_and(|message| {
            is_plain_question(&message) && message.end() == Some(bytes.len())
        })
}

/// One question of a known class, for a name as hosts and services have them.
fn is_plain_question(message: &Message<'_>) -> bool {
    let Some(question) = message.last_question() else { return false };
    let class_is_known = matches!(question.qclass & 0x7fff, 1 | 3 | 4 | 254 | 255);
    let is_printable = |label: &[u8]| label.iter().all(|byte| (b'!'..=b'~').contains(byte));
    // NetBIOS names (RFC 1002 section 4.1) have the form, but another meaning.
    let is_netbios =
        |label: &[u8]| label.len() == 32 && label.iter().all(|byte| (b'A'..=b'P').contains(byte));
    let mut labels = question.name.labels();
    message.question_count() == 1
        && question.qtype != 0
        && class_is_known
        && labels.all(is_printable)
        && (matches!(question.qtype, A | AAAA)
            || !question.name.labels().next().is_some_and(is_netbios))
}
