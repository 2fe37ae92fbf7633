//! One message per datagram.

use super::message::Message;
use super::report::report;
use crate::app::{Datagram, Events, Pending, Verdict};

/// Keeps ids of DNS apart from numbers of other protocols in [`Pending`].
const SALT: u64 = 0x646e_7300;

/// Decodes one datagram. `ports` is where servers listen: of a packet towards such a port only a
/// query opens a question, of a packet from one only a response closes one. When both ends use such
/// a port, or neither does, the message's own QR bit decides.
pub fn datagram(
    datagram: &Datagram<'_>,
    ports: &[u16],
    pending: &mut Pending,
    events: &mut Events,
) -> Verdict {
    let Some(message) = Message::parse(datagram.payload) else { return Verdict::Wrong };
    let to_server = ports.contains(&datagram.dst_port);
    let is_decided = to_server != ports.contains(&datagram.src_port);
    let is_in_order = !is_decided || to_server != message.is_response();
    // Without a question there is no event that could have a latency.
    let mut latency_us = None;
    if is_in_order && message.question_count() > 0 {
        let key = Pending::key(datagram.conversation, SALT, message.id().into());
        if message.is_response() {
            latency_us = pending.answer(key, datagram.now_us);
        } else {
            pending.ask(key, datagram.now_us);
        }
    }
    report(&message, latency_us, events);
    Verdict::More
}
