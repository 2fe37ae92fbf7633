//! What a message says, as an event.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::message::{Message, Record};
use super::words::{A, AAAA, CNAME, MX, NS, PTR, SRV, TXT, push_rcode, push_type};
use crate::app::text::TextBuf;
use crate::app::{App, Events, Field, Kind};

/// Adds the event of a message with a question, nothing for one without (spec 13.2).
pub(super) fn report(message: &Message<'_>, latency_us: Option<u64>, events: &mut Events) {
    let Some(question) = message.last_question() else { return };
    let kind = if message.is_response() { Kind::Response } else { Kind::Request };
    let mut draft = events.begin(App::Dns, kind);
    let mut text = TextBuf::new();
    question.name.write(false, &mut text);
    draft.text(Field::DnsQuery, text.as_bytes());
    draft.number(Field::DnsQueryType, question.qtype.into());
    text.clear();
    push_type(question.qtype, &mut text);
    draft.text(Field::DnsOperation, text.as_bytes());
    if !message.is_response() {
        return;
    }
    if let Some(latency_us) = latency_us {
        draft.latency_us(latency_us);
    }
    draft.number(Field::DnsRcode, message.rcode().into());
    text.clear();
    push_rcode(message.rcode(), &mut text);
    draft.text(Field::DnsStatus, text.as_bytes());
    text.clear();
    push_answers(message, Dialect::Unicast, &mut text);
    draft.text(Field::DnsAnswer, text.as_bytes());
}

/// What differs in multicast DNS.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// As spec 13.2 says.
    Unicast,
    /// Names are UTF-8, and the targets of SRV records are of interest.
    Multicast,
}

/// Appends one item for each answer, joined with `;`. Ends before an answer whose name is
/// malformed, and where the text is full.
pub(crate) fn push_answers(message: &Message<'_>, dialect: Dialect, text: &mut TextBuf) {
    for (number, record) in message.answers().enumerate() {
        if text.is_full() {
            return;
        }
        if number > 0 {
            text.push_byte(b';');
        }
        if push_answer(&record, dialect, text).is_none() {
            return;
        }
    }
}

/// An item of the answer text, empty for a type without text. `None` when the record's data are
/// malformed.
fn push_answer(record: &Record<'_>, dialect: Dialect, text: &mut TextBuf) -> Option<()> {
    let utf8 = dialect == Dialect::Multicast;
    match record.rtype {
        CNAME | PTR | NS => record.name_in_rdata(0)?.write(utf8, text),
        MX => record.name_in_rdata(2)?.write(utf8, text),
        SRV if dialect == Dialect::Multicast => record.name_in_rdata(6)?.write(utf8, text),
        TXT => push_strings(record.rdata, text)?,
        A | AAAA => push_address(record.address()?, text),
        _ => return Some(()),
    }
    text.push_byte(b'/');
    push_type(record.rtype, text);
    Some(())
}

fn push_address(address: IpAddr, text: &mut TextBuf) {
    match address {
        IpAddr::V4(address) => {
            for (number, octet) in address.octets().into_iter().enumerate() {
                if number > 0 {
                    text.push_byte(b'.');
                }
                text.push_decimal(octet.into());
            }
        }
        // Writing to the text cannot fail.
        IpAddr::V6(address) => drop(write!(text, "{address}")),
    }
}

/// The strings of a TXT record, one after the other.
fn push_strings(mut rdata: &[u8], text: &mut TextBuf) -> Option<()> {
    while let Some((&length, rest)) = rdata.split_first() {
        let (string, rest) = rest.split_at_checked(length.into())?;
        text.push(string);
        rdata = rest;
    }
    Some(())
}
