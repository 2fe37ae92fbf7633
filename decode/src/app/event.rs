//! What decoders report, in one common shape, without an allocation per event.

use std::net::IpAddr;

use super::field::{App, Field};

/// Longest text kept of one attribute, bytes; the wire's own limit of 384 applies later.
pub const MAX_TEXT_BYTES: usize = 1024;
/// Attributes of one event at most; more are left out.
const MAX_ATTRIBUTES: usize = 32;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message that asks: complete, its answer may follow.
    Request,
    /// A message that answers, with the latency since its request where that is known.
    Response,
    /// What holds for the conversation as a whole; belongs to every record of both directions and
    /// causes none.
    Facts,
}

/// The value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Valid UTF-8 of at most [`MAX_TEXT_BYTES`], without zero bytes.
    Text(&'a str),
    /// A number.
    Number(u64),
    /// An address.
    Address(IpAddr),
}

/// Which other message a message belongs to, where they share no conversation, so that different
/// readers may see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// What both share; well mixed.
    pub key: u64,
    /// When this one was seen, µs since the Unix epoch.
    pub at_us: u64,
}

/// One attribute of an event, its text elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute {
    field: Field,
    value: Stored,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    Text { at: u32, len: u32 },
    Number(u64),
    Address(IpAddr),
}

/// Where the parts of one event are.
#[derive(Clone, Copy, Debug)]
struct Head {
    app: App,
    kind: Kind,
    latency_us: Option<u64>,
    attributes_at: usize,
    attributes_len: usize,
}

/// A list of events in three buffers that are used again and again.
#[derive(Clone, Debug, Default)]
pub struct Events {
    heads: Vec<Head>,
    attributes: Vec<Attribute>,
    text: String,
    /// Of the few events that have one, by their number, ascending.
    pairs: Vec<(usize, Pair)>,
}

impl Events {
    /// Begins an event at the end of the list. What is added by the draft belongs to it.
    pub fn begin(&mut self, app: App, kind: Kind) -> Draft<'_> {
        let attributes_at = self.attributes.len();
        self.heads.push(Head { app, kind, latency_us: None, attributes_at, attributes_len: 0 });
        Draft { events: self }
    }

    /// Copies an event to the end of the list; gives its number.
    pub fn push(&mut self, event: &EventView<'_>) -> usize {
        // The texts of an event stand one behind another: they are copied as one piece.
        let span = |attribute: &Attribute| match attribute.value {
            Stored::Text { at, len } => Some((at, at as usize + len as usize)),
            Stored::Number(_) | Stored::Address(_) => None,
        };
        let first = event.attributes.iter().find_map(span).map_or(0, |(at, _)| at);
        let end = event.attributes.iter().rev().find_map(span).map_or(0, |(_, end)| end);
        let text = event.text.get(first as usize..end).unwrap_or_default();
        let (attributes_at, text_at) = (self.attributes.len(), self.text.len());
        if u32::try_from(text_at + text.len()).is_ok() {
            self.text.push_str(text);
            self.attributes.extend_from_slice(event.attributes);
        }
        let copied = self.attributes.get_mut(attributes_at..).unwrap_or_default();
        for attribute in &mut *copied {
            if let Stored::Text { at, .. } = &mut attribute.value {
                *at = text_at as u32 + (*at - first);
            }
        }
        self.heads.push(Head {
            app: event.app,
            kind: event.kind,
            latency_us: event.latency_us,
            attributes_at,
            attributes_len: copied.len(),
        });
        if let Some(pair) = event.pair {
            self.pairs.push((self.heads.len() - 1, *pair));
        }
        self.heads.len() - 1
    }

    /// The event under this number.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<EventView<'_>> {
        let head = self.heads.get(index)?;
        let attributes =
            self.attributes.get(head.attributes_at..head.attributes_at + head.attributes_len)?;
        Some(EventView {
            app: head.app,
            kind: head.kind,
            latency_us: head.latency_us,
            pair: if self.pairs.is_empty() { None } else { self.pair(index) },
            attributes,
            text: &self.text,
        })
    }

    /// All events, in the order they were begun.
    pub fn iter(&self) -> impl Iterator<Item = EventView<'_>> {
        (0..self.heads.len()).filter_map(|index| self.get(index))
    }

    /// Sets the latency of the event under this number.
    pub fn set_latency_us(&mut self, index: usize, latency_us: u64) {
        if let Some(head) = self.heads.get_mut(index) {
            head.latency_us = Some(latency_us);
        }
    }

    /// Whether there is an event with a [`Pair`].
    #[must_use]
    pub fn has_pairs(&self) -> bool {
        !self.pairs.is_empty()
    }

    #[cold]
    fn pair(&self, index: usize) -> Option<&Pair> {
        let place = self.pairs.binary_search_by_key(&index, |(number, _)| *number).ok()?;
        self.pairs.get(place).map(|(_, pair)| pair)
    }

    /// Events in the list.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Bytes that they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&self.heads[..]) + size_of_val(&self.attributes[..]) + self.text.len()
    }

    /// Bytes that the list holds, used or not.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.heads.capacity() * size_of::<Head>()
            + self.attributes.capacity() * size_of::<Attribute>()
            + self.pairs.capacity() * size_of::<(usize, Pair)>()
            + self.text.capacity()
    }

    /// True without events.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Forgets all events and keeps the memory.
    pub fn clear(&mut self) {
        self.heads.clear();
        self.attributes.clear();
        self.text.clear();
        self.pairs.clear();
    }
}

/// The last event of a list, while it is written.
#[derive(Debug)]
pub struct Draft<'a> {
    events: &'a mut Events,
}

impl Draft<'_> {
    /// From the request to this response, µs.
    pub fn latency_us(&mut self, latency_us: u64) -> &mut Self {
        if let Some(head) = self.events.heads.last_mut() {
            head.latency_us = Some(latency_us);
        }
        self
    }

    /// Which message it belongs to, when that may have been seen elsewhere.
    pub fn pair(&mut self, pair: Pair) -> &mut Self {
        if let Some(last) = self.events.heads.len().checked_sub(1) {
            self.events.pairs.push((last, pair));
        }
        self
    }

    /// Adds a text. It is cut before a zero byte and at [`MAX_TEXT_BYTES`], at a character's
    /// border; what is no UTF-8 becomes replacement characters.
    pub fn text(&mut self, field: Field, bytes: &[u8]) -> &mut Self {
        self.texts(field, &[bytes])
    }

    /// Adds a text made of parts.
    pub fn texts(&mut self, field: Field, parts: &[&[u8]]) -> &mut Self {
        let text = &mut self.events.text;
        let at = text.len();
        for part in parts {
            // Most have none, and looking whether they do is faster than looking where.
            let end = match has_zero(part) {
                true => part.iter().position(|&byte| byte == 0),
                false => None,
            };
            let room = (at + MAX_TEXT_BYTES).saturating_sub(text.len());
            // A character has at most 4 bytes; cutting there bounds the work on hostile lengths.
            let part = part.get(..end.unwrap_or(part.len()).min(room + 4)).unwrap_or_default();
            match std::str::from_utf8(part) {
                Ok(part) => text.push_str(part),
                Err(_) => push_repaired(part, text),
            }
            if end.is_some() {
                break;
            }
        }
        if text.len() > at + MAX_TEXT_BYTES {
            let mut end = at + MAX_TEXT_BYTES;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
        }
        let len = (text.len() - at) as u32;
        match u32::try_from(at) {
            Ok(at) => self.add(field, Stored::Text { at, len }),
            Err(_) => self,
        }
    }

    /// Adds a number.
    pub fn number(&mut self, field: Field, number: u64) -> &mut Self {
        self.add(field, Stored::Number(number))
    }

    /// Adds an address.
    pub fn address(&mut self, field: Field, address: IpAddr) -> &mut Self {
        self.add(field, Stored::Address(address))
    }

    fn add(&mut self, field: Field, value: Stored) -> &mut Self {
        if let Some(head) = self.events.heads.last_mut()
            && head.attributes_len < MAX_ATTRIBUTES
        {
            head.attributes_len += 1;
            self.events.attributes.push(Attribute { field, value });
        }
        self
    }
}

/// Whether one of the bytes is 0; looks at eight at a time.
#[inline(always)]
fn has_zero(bytes: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = u64::from_ne_bytes([0x80; 8]);
    let zeros = |chunk: &[u8; 8]| {
        let word = u64::from_ne_bytes(*chunk);
        word.wrapping_sub(ONES) & !word & TOPS
    };
    match bytes.last_chunk::<8>() {
        // What is left behind the last whole chunk, and some bytes again.
        Some(last) => {
            bytes.as_chunks::<8>().0.iter().fold(zeros(last), |found, chunk| found | zeros(chunk))
                != 0
        }
        None => bytes.iter().fold(false, |found, &byte| found | (byte == 0)),
    }
}

fn push_repaired(bytes: &[u8], text: &mut String) {
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

/// One event, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct EventView<'a> {
    /// The protocol.
    pub app: App,
    /// Request, response or facts.
    pub kind: Kind,
    /// From the request to this response, µs, where both were seen.
    pub latency_us: Option<u64>,
    /// Of a request, and of a response whose request was not seen, where another reader may have
    /// seen the other.
    pub pair: Option<&'a Pair>,
    attributes: &'a [Attribute],
    text: &'a str,
}

impl<'a> EventView<'a> {
    /// All attributes, in the order they were added.
    pub fn attributes(&self) -> impl Iterator<Item = (Field, Value<'a>)> + use<'a> {
        let text = self.text;
        self.attributes.iter().map(move |attribute| (attribute.field, resolve(attribute, text)))
    }

    /// The first attribute with this field.
    #[must_use]
    pub fn get(&self, field: Field) -> Option<Value<'a>> {
        self.find(|other| other == field).map(|(_, value)| value)
    }

    /// The first attribute with a field for which `matches` holds.
    #[must_use]
    pub fn find(&self, matches: impl Fn(Field) -> bool) -> Option<(Field, Value<'a>)> {
        let attribute = self.attributes.iter().find(|attribute| matches(attribute.field))?;
        Some((attribute.field, resolve(attribute, self.text)))
    }
}

fn resolve<'a>(attribute: &Attribute, text: &'a str) -> Value<'a> {
    match attribute.value {
        Stored::Text { at, len } => {
            Value::Text(text.get(at as usize..at as usize + len as usize).unwrap_or_default())
        }
        Stored::Number(number) => Value::Number(number),
        Stored::Address(address) => Value::Address(address),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn events_are_read_back_as_they_were_written() {
        let mut events = Events::default();
        events.begin(App::Dns, Kind::Request).text(Field::DnsQuery, b"example.org");
        events
            .begin(App::Http, Kind::Response)
            .latency_us(7_000)
            .number(Field::HttpStatus, 302)
            .text(Field::HttpUrl, b"/");
        let (first, second) = (events.get(0).unwrap(), events.get(1).unwrap());
        assert_eq!(first.get(Field::DnsQuery), Some(Value::Text("example.org")));
        assert_eq!(first.get(Field::HttpUrl), None);
        assert_eq!(second.latency_us, Some(7_000));
        assert_eq!(second.get(Field::HttpStatus), Some(Value::Number(302)));
        let mut other = Events::default();
        assert_eq!((other.push(&second), other.push(&first)), (0, 1));
        let pair = Pair { key: 7, at_us: 9 };
        other.begin(App::Dhcp, Kind::Request).pair(pair);
        assert_eq!(other.get(2).unwrap().pair, Some(&pair));
        assert_eq!(events.push(&other.get(2).unwrap()), 2);
        assert_eq!(events.get(2).unwrap().pair, Some(&pair));
        let (first, second) = (events.get(0).unwrap(), events.get(1).unwrap());
        for (number, event) in [(0, second), (1, first)] {
            let copy = other.get(number).unwrap();
            assert_eq!(copy.pair, None);
            assert!(copy.attributes().eq(event.attributes()));
            assert_eq!((copy.app, copy.kind), (event.app, event.kind));
            assert_eq!(copy.latency_us, event.latency_us);
        }
    }

    #[test]
    fn texts_end_before_a_zero_byte_and_at_their_limit() {
        let mut events = Events::default();
        let long = "ä".repeat(600);
        let mut draft = events.begin(App::Http, Kind::Request);
        draft.text(Field::HttpUrl, b"ab\0cd").text(Field::HttpHost, long.as_bytes());
        draft.texts(Field::HttpReferer, &[b"x", b"", b"y\0", b"z"]);
        draft.text(Field::HttpUserAgent, b"\xffa");
        let event = events.get(0).unwrap();
        assert_eq!(event.get(Field::HttpUrl), Some(Value::Text("ab")));
        assert_eq!(event.get(Field::HttpHost), Some(Value::Text(&long[..MAX_TEXT_BYTES])));
        assert_eq!(event.get(Field::HttpReferer), Some(Value::Text("xy")));
        assert_eq!(event.get(Field::HttpUserAgent), Some(Value::Text("\u{fffd}a")));
    }

    #[test]
    fn an_event_keeps_a_bounded_number_of_attributes() {
        let mut events = Events::default();
        let mut draft = events.begin(App::Dns, Kind::Request);
        for number in 0..100 {
            draft.number(Field::DnsRcode, number);
        }
        assert_eq!(events.get(0).unwrap().attributes().count(), MAX_ATTRIBUTES);
    }

    proptest! {
        #[test]
        fn a_zero_is_found_wherever_it_stands(mut bytes in prop::collection::vec(1_u8.., 1..40),
            at in any::<prop::sample::Index>()) {
            prop_assert!(!has_zero(&bytes));
            let at = at.index(bytes.len());
            bytes[at] = 0;
            prop_assert!(has_zero(&bytes));
        }

        #[test]
        fn any_bytes_make_a_bounded_text(parts in prop::collection::vec(
            prop::collection::vec(any::<u8>(), 0..900), 0..4)) {
            let mut events = Events::default();
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            events.begin(App::Http, Kind::Request).texts(Field::HttpUrl, &parts);
            let Some(Value::Text(text)) = events.get(0).unwrap().get(Field::HttpUrl) else {
                return Err(TestCaseError::fail("no text"));
            };
            prop_assert!(text.len() <= MAX_TEXT_BYTES && !text.contains('\0'));
        }
    }
}
