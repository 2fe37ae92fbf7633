//! SIP (RFC 3261) over UDP ([`datagram`]) and over streams ([`Sip`]): method, status, URIs,
//! latency.
//!
//! Every request is reported, and every response but those below 101 (100 Trying is hop by hop). A
//! final response has the latency since the first sending of its request; a provisional one has
//! none, so that a call that rings is told from a slow server. Both carry the method (of CSeq, in a
//! response), the URIs of From and To without password, parameters and tags, the agent (User-Agent
//! of requests, Server of responses, else the other one) and the Call-ID. Compact names of header
//! fields and folded lines are understood. ACK has no answer. Bodies and credentials are not read.
//!
//! Request and response belong together by conversation, Call-ID, tag of From, and CSeq. Over
//! streams, 256 requests of a connection wait for their responses; the oldest give way.

mod head;
mod stream;
#[cfg(test)]
mod tests;

use head::{Head, Start};
pub use stream::{Sip, guess_stream};

use super::decoder::{Datagram, Guess, Verdict};
use super::event::Events;
use super::pending::Pending;

/// Sets the keys of this protocol apart: "SIP".
const SALT: u64 = 0x53_4950;

/// Whether a datagram looks like SIP.
#[must_use]
pub fn guess(payload: &[u8]) -> Guess {
    match head::begins_like_sip(payload) {
        Guess::Yes if Head::parse(payload).is_some() => Guess::Yes,
        _ => Guess::No,
    }
}

/// One datagram. Those that keep a way open (empty lines, up to four bytes) say nothing.
pub fn datagram(datagram: &Datagram<'_>, pending: &mut Pending, events: &mut Events) -> Verdict {
    let payload = datagram.payload;
    if payload.len() <= 4 {
        return Verdict::More;
    }
    let Some(head) = Head::parse(payload) else { return Verdict::Wrong };
    message(&head, datagram.conversation, datagram.now_us, pending, events);
    Verdict::More
}

/// Reports a message and matches it.
fn message(
    head: &Head<'_>,
    conversation: u64,
    now_us: u64,
    pending: &mut Pending,
    events: &mut Events,
) {
    let key = head.transaction().map(|id| Pending::key(conversation, SALT, id));
    let latency_us = match (head.start, key) {
        (Start::Request(b"ACK"), _) | (_, None) => None,
        (Start::Request(_), Some(key)) => {
            // Sent again, it keeps its first time.
            let age_us = pending.answer(key, now_us).unwrap_or(0);
            pending.ask(key, now_us.saturating_sub(age_us));
            None
        }
        (Start::Response(200..), Some(key)) => pending.answer(key, now_us),
        (Start::Response(_), Some(_)) => None,
    };
    if !matches!(head.start, Start::Response(..=100)) {
        head.report(latency_us, events);
    }
}
