//! Multicast DNS (RFC 6762): who asks for what, and who announces what.
//!
//! A query gives a request with its first question; a message with QR set gives a response with
//! the owner and type of its first answer and the answer text of [`dns`], which here
//! keeps UTF-8 and has `<target>/SRV` besides. There is no latency: answers go to everybody, carry
//! no id, and most are not asked for.

use super::dns::{self, Dialect, Message, Name, push_answers, push_type};
use super::text::TextBuf;
use super::{App, Datagram, Events, Field, Guess, Kind, Verdict};

/// The port of both ends; a simple resolver may ask from another (RFC 6762 section 6.7).
pub const PORT: u16 = 5353;

/// Decodes one datagram.
pub fn datagram(datagram: &Datagram<'_>, events: &mut Events) -> Verdict {
    let Some(message) = Message::parse(datagram.payload) else { return Verdict::Wrong };
    if message.is_response() {
        let Some(first) = message.answers().next() else { return Verdict::More };
        let Some(owner) = first.owner() else { return Verdict::Wrong };
        report(Kind::Response, &owner, first.rtype, &message, events);
    } else if let Some(question) = message.first_question() {
        report(Kind::Request, &question.name, question.qtype, &message, events);
    }
    Verdict::More
}

/// As for [`dns::guess`]; multicast DNS is told from it by its port alone.
#[must_use]
pub fn guess(payload: &[u8]) -> Guess {
    dns::guess(payload)
}

fn report(kind: Kind, name: &Name<'_>, rtype: u16, message: &Message<'_>, events: &mut Events) {
    let mut draft = events.begin(App::Mdns, kind);
    let mut text = TextBuf::new();
    push_type(rtype, &mut text);
    draft.text(Field::MdnsOperation, text.as_bytes());
    text.clear();
    name.write(true, &mut text);
    draft.text(Field::MdnsName, text.as_bytes());
    if kind == Kind::Response {
        text.clear();
        push_answers(message, Dialect::Multicast, &mut text);
        draft.text(Field::MdnsAnswer, text.as_bytes());
    }
}
