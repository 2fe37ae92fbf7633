//! RADIUS authentication and accounting (RFC 2865 and 2866, spec 13.6).
//!
//! [`Packet`] reads a packet where it stands, for whoever needs its parts; [`datagram`] makes an
//! event of each. An answer has the time since the request with the same id in its conversation:
//! codes 2, 3 and 11 answer code 1, code 5 answers code 4. A request that is sent again, with the
//! same authenticator and before its answer, keeps its first time. Passwords and other secrets are
//! never looked at.

mod packet;

pub use packet::Packet;

use super::{App, Datagram, Events, Field, Guess, Kind, Pending, Verdict};
use packet::Code;

/// Ports of authentication and accounting unless configured (spec 13.1).
pub const PORTS: [u16; 2] = [1812, 1813];

/// Keeps ids of RADIUS apart from numbers of other protocols in [`Pending`].
const SALT: u64 = 0x7261_6469_7573;

/// Decodes one datagram.
pub fn datagram(datagram: &Datagram<'_>, pending: &mut Pending, events: &mut Events) -> Verdict {
    let Some(packet) = Packet::parse(datagram.payload) else { return Verdict::Wrong };
    let code = Code::of(packet.code());
    let id = packet.id().into();
    let mut latency_us = None;
    if matches!(packet.code(), 1 | 4) {
        let key = Pending::key(datagram.conversation, SALT ^ u64::from(packet.code()), id);
        pending.ask_signed(key, packet.sign(), datagram.now_us);
    } else if let Some(request) = code.answers {
        let key = Pending::key(datagram.conversation, SALT ^ u64::from(request), id);
        latency_us = pending.answer_signed(key, datagram.now_us);
    }
    report(&packet, &code, latency_us, events);
    Verdict::More
}

/// Whether a datagram on any port is RADIUS: a known code, a length that is the datagram's, and
/// well-formed attributes up to its end, among them one that such a packet has.
#[must_use]
pub fn guess(payload: &[u8]) -> Guess {
    packet::guess(payload)
}

fn report(packet: &Packet<'_>, code: &Code, latency_us: Option<u64>, events: &mut Events) {
    let attributes = packet.attributes();
    let kind = if code.asks { Kind::Request } else { Kind::Response };
    let mut draft = events.begin(App::Radius, kind);
    if let Some(latency_us) = latency_us {
        draft.latency_us(latency_us);
    }
    let word = if code.asks { Field::RadiusOperation } else { Field::RadiusStatus };
    if !code.word.is_empty() {
        draft.text(word, code.word.as_bytes());
    }
    draft.number(Field::RadiusCode, packet.code().into());
    if let Some(user_name) = attributes.user_name {
        draft.text(Field::RadiusUserName, user_name);
    }
    for (field, number) in [
        (Field::RadiusServiceType, attributes.service_type),
        (Field::RadiusFramedProtocol, attributes.framed_protocol),
        (Field::RadiusAcctStatus, attributes.acct_status),
    ] {
        if let Some(number) = number {
            draft.number(field, number.into());
        }
    }
    for (field, address) in [
        (Field::RadiusFramedAddress, attributes.framed_address),
        (Field::RadiusFramedMask, attributes.framed_mask),
    ] {
        if let Some(address) = address {
            draft.address(field, address.into());
        }
    }
    if let Some(session) = attributes.acct_session {
        draft.text(Field::RadiusAcctSession, session);
    }
}
