//! DHCP for IPv6 (RFC 8415).
//!
//! Each message gives one event, a relayed one that of the message within. An answer has the time
//! since the latest message of the same client (DUID) with the same transaction id, wherever either
//! was sent; several servers may answer one message, and each answer has it. An answer without a
//! status code has status 0, as the RFC says. Options end before the first that breaks out.

mod options;

use super::text::TextBuf;
use super::{App, Datagram, Events, Field, Guess, Kind, Pair, Pending, Verdict};
use options::Options;

/// Ports of client and server.
pub const PORTS: [u16; 2] = [546, 547];
/// Relay messages unwrapped around one message; of what is wrapped deeper only the outermost type
/// is told.
pub const MAX_RELAYS: usize = 4;

/// Keeps transaction ids of DHCPv6 apart from numbers of other protocols in [`Pending`].
const SALT: u64 = 0x6468_6370_7636;
/// Type and transaction id.
const HEADER_BYTES: usize = 4;
const RECONFIGURE: u8 = 10;
const RELAY_FORWARD: u8 = 12;
const RELAY_REPLY: u8 = 13;
/// Type, hops, link address, peer address.
const RELAY_HEADER_BYTES: usize = 34;

/// Decodes one datagram.
pub fn datagram(datagram: &Datagram<'_>, pending: &mut Pending, events: &mut Events) -> Verdict {
    match Message::parse(datagram.payload) {
        Some(message) => {
            let found = share(&message, datagram.now_us, pending);
            report(&message, found, events);
            Verdict::More
        }
        None => Verdict::Wrong,
    }
}

/// Whether a datagram on any port is DHCPv6: a known type, and well-formed options up to the end
/// with one that such a message must have; within a relay message another message.
#[must_use]
pub fn guess(payload: &[u8]) -> Guess {
    let (header_bytes, wanted) = match payload.first() {
        Some(&(RELAY_FORWARD | RELAY_REPLY)) => (RELAY_HEADER_BYTES, options::RELAY_MESSAGE),
        Some(1..=11) => (HEADER_BYTES, options::CLIENT_ID),
        _ => return Guess::No,
    };
    let Some(bytes) = payload.get(header_bytes..) else { return Guess::No };
    let is_whole = options::are_whole_with(bytes, wanted) && Message::parse(payload).is_some();
    if is_whole { Guess::Yes } else { Guess::No }
}

/// A message out of its relay messages.
struct Message<'a> {
    message_type: u8,
    /// 24 bits.
    transaction: u32,
    options: Options<'a>,
}

impl<'a> Message<'a> {
    fn parse(payload: &'a [u8]) -> Option<Self> {
        let mut bytes = payload;
        for _ in 0..=MAX_RELAYS {
            let &message_type = bytes.first()?;
            if matches!(message_type, RELAY_FORWARD | RELAY_REPLY) {
                bytes = options::relayed(bytes.get(RELAY_HEADER_BYTES..)?)?;
                continue;
            }
            word(message_type)?;
            let (&[_, a, b, c], options) = bytes.split_first_chunk::<HEADER_BYTES>()?;
            let transaction = u32::from_be_bytes([0, a, b, c]);
            return Some(Self { message_type, transaction, options: Options::parse(options) });
        }
        let &message_type = payload.first()?;
        Some(Self { message_type, transaction: 0, options: Options::default() })
    }
}

/// What is known of the other message of an exchange.
#[derive(Clone, Copy, Debug)]
enum Found {
    Latency(u64),
    /// What may lead to it.
    Pair(Pair),
    Nothing,
}

/// Notes a question or looks for that of an answer.
fn share(message: &Message<'_>, now_us: u64, pending: &mut Pending) -> Found {
    let Message { message_type, transaction, options } = message;
    // Neither has a relay message nor a server's reconfigure a transaction.
    if matches!(*message_type, RELAY_FORWARD | RELAY_REPLY | RECONFIGURE) {
        return Found::Nothing;
    }
    let mut client = SALT;
    for part in options.client_id.unwrap_or_default().chunks(8) {
        let mut word = [0; 8];
        word.iter_mut().zip(part).for_each(|(to, from)| *to = *from);
        client = Pending::key(client, SALT, u64::from_be_bytes(word));
    }
    let key = Pending::key(client, SALT, (*transaction).into());
    let pair = Pair { key, at_us: now_us };
    if asks(*message_type) {
        pending.ask(key, now_us);
        return Found::Pair(pair);
    }
    pending.one_answer(key, now_us).map_or(Found::Pair(pair), Found::Latency)
}

fn report(message: &Message<'_>, found: Found, events: &mut Events) {
    let &Message { message_type, ref options, .. } = message;
    let is_request = asks(message_type);
    let kind = if is_request { Kind::Request } else { Kind::Response };
    let mut draft = events.begin(App::Dhcpv6, kind);
    match found {
        Found::Latency(latency_us) => drop(draft.latency_us(latency_us)),
        Found::Pair(pair) => drop(draft.pair(pair)),
        Found::Nothing => {}
    }
    if let Some(word) = word(message_type) {
        draft.text(Field::Dhcpv6Operation, word.as_bytes());
    }
    draft.number(Field::Dhcpv6MessageType, message_type.into());
    let mut text = TextBuf::new();
    if let Some(client_id) = options.client_id {
        client_id.iter().for_each(|&byte| text.push_hex(byte));
        draft.text(Field::Dhcpv6ClientId, text.as_bytes());
    }
    if let Some(name) = options.client_name {
        text.clear();
        options::push_name(name, &mut text);
        draft.text(Field::Dhcpv6Name, text.as_bytes());
    }
    if let Some(address) = options.address {
        draft.address(Field::Dhcpv6Address, address.into());
    }
    if let Some((prefix, length)) = options.prefix {
        draft.address(Field::Dhcpv6Prefix, prefix.into());
        draft.number(Field::Dhcpv6PrefixLength, length.into());
    }
    if let Some(lifetime_s) = options.lifetime_s {
        draft.number(Field::Dhcpv6Lifetime, lifetime_s.into());
    }
    let assumed = if is_request || message_type == RELAY_REPLY { None } else { Some(0) };
    if let Some(status) = options.status.or(assumed) {
        draft.number(Field::Dhcpv6Status, status.into());
    }
}

/// Whether a message of this type asks rather than answers.
fn asks(message_type: u8) -> bool {
    !matches!(message_type, 2 | 7 | RELAY_REPLY | 15 | 16 | 17)
}

/// Message types of RFC 8415, 5007 and 5460.
fn word(message_type: u8) -> Option<&'static str> {
    Some(match message_type {
        1 => "SOLICIT",
        2 => "ADVERTISE",
        3 => "REQUEST",
        4 => "CONFIRM",
        5 => "RENEW",
        6 => "REBIND",
        7 => "REPLY",
        8 => "RELEASE",
        9 => "DECLINE",
        RECONFIGURE => "RECONFIGURE",
        11 => "INFORMATION-REQUEST",
        RELAY_FORWARD => "RELAY-FORW",
        RELAY_REPLY => "RELAY-REPL",
        14 => "LEASEQUERY",
        15 => "LEASEQUERY-REPLY",
        16 => "LEASEQUERY-DONE",
        17 => "LEASEQUERY-DATA",
        _ => return None,
    })
}
