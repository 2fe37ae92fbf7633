//! DNS over UDP and TCP (RFC 1035, spec 13.2).
//!
//! [`Message`] reads a message where it stands, for whoever needs its parts. [`datagram`] and
//! [`Stream`] make events of messages: the last question, and for a response its code, its answers
//! as text, and the time since the query with the same id. Datagrams are independent of each other;
//! bytes behind a message are ignored, and of a message cut short the question and the answers
//! before the cut are used.
//!
//! The answer text has one item per answer, joined with `;`: `<address>/A`, `<address>/AAAA`,
//! `<name>/CNAME`, `/PTR`, `/NS` and `/MX` (without preference), the strings of a TXT record and
//! `/TXT`, and nothing for other types. EDNS is not looked at, so codes above 15 are not seen.

mod datagram;
mod guess;
mod message;
mod name;
mod report;
mod stream;
mod words;

pub use datagram::datagram;
pub use guess::{guess, guess_stream};
pub use message::{Message, Question, Record};
pub use name::Name;
pub(crate) use report::{Dialect, push_answers};
pub use stream::Stream;
pub(crate) use words::push_type;
