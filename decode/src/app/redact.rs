//! What must not leave as it is: attributes dropped or replaced by a keyed hash, URLs without
//! their query.

use std::sync::Arc;

use ring::hmac;

use super::event::{EventView, Events, Value};
use super::field::{Field, Redaction};

/// What becomes of an attribute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Treatment {
    /// It stays.
    #[default]
    Keep,
    /// It is left out.
    Drop,
    /// A text is replaced by 16 hexadecimal digits that are the same for the same text under the
    /// same key; numbers and addresses are left out.
    Hash,
}

/// Copies events and hides in the copies what the user wants hidden.
#[derive(Clone)]
pub struct Redactor {
    url: Treatment,
    name: Treatment,
    user: Treatment,
    user_agent: Treatment,
    query: Treatment,
    cut_query: bool,
    key: Arc<hmac::Key>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").field("cut_query", &self.cut_query).finish_non_exhaustive()
    }
}

impl Redactor {
    /// Hides nothing yet; hashes are keyed by `key`, which should be secret.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self {
            url: Treatment::Keep,
            name: Treatment::Keep,
            user: Treatment::Keep,
            user_agent: Treatment::Keep,
            query: Treatment::Keep,
            cut_query: false,
            key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key)),
        }
    }

    /// Treats all fields of a class so.
    #[must_use]
    pub fn with(mut self, class: Redaction, treatment: Treatment) -> Self {
        match class {
            Redaction::None => {}
            Redaction::Url => self.url = treatment,
            Redaction::Name => self.name = treatment,
            Redaction::User => self.user = treatment,
            Redaction::UserAgent => self.user_agent = treatment,
            Redaction::Query => self.query = treatment,
        }
        self
    }

    /// Cuts URLs before their question mark.
    #[must_use]
    pub fn with_cut_query(mut self) -> Self {
        self.cut_query = true;
        self
    }

    /// Appends what may be known of an event.
    pub fn copy(&self, event: &EventView<'_>, to: &mut Events) {
        let mut draft = to.begin(event.app, event.kind);
        if let Some(latency_us) = event.latency_us {
            draft.latency_us(latency_us);
        }
        if let Some(pair) = event.pair {
            draft.pair(*pair);
        }
        for (field, value) in event.attributes() {
            match (self.treatment(field), value) {
                (Treatment::Keep, Value::Text(text)) => {
                    draft.text(field, self.cut(field, text).as_bytes());
                }
                (Treatment::Hash, Value::Text("")) => {
                    draft.text(field, b"");
                }
                (Treatment::Hash, Value::Text(text)) => {
                    draft.text(field, &self.hash(self.cut(field, text)));
                }
                (Treatment::Keep, Value::Number(number)) => {
                    draft.number(field, number);
                }
                (Treatment::Keep, Value::Address(address)) => {
                    draft.address(field, address);
                }
                (Treatment::Drop | Treatment::Hash, _) => {}
            }
        }
    }

    fn treatment(&self, field: Field) -> Treatment {
        match field.info().redaction {
            Redaction::None => Treatment::Keep,
            Redaction::Url => self.url,
            Redaction::Name => self.name,
            Redaction::User => self.user,
            Redaction::UserAgent => self.user_agent,
            Redaction::Query => self.query,
        }
    }

    fn cut<'a>(&self, field: Field, text: &'a str) -> &'a str {
        if self.cut_query && field.info().redaction == Redaction::Url {
            text.split_once('?').map_or(text, |(before, _)| before)
        } else {
            text
        }
    }

    fn hash(&self, text: &str) -> [u8; 16] {
        let tag = hmac::sign(&self.key, text.as_bytes());
        let mut digits = [0; 16];
        for (pair, byte) in digits.chunks_mut(2).zip(tag.as_ref()) {
            for (digit, nibble) in pair.iter_mut().zip([byte >> 4, byte & 15]) {
                *digit = b"0123456789abcdef"[usize::from(nibble)];
            }
        }
        digits
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::Kind;
    use super::super::field::App;
    use super::*;

    fn request() -> Events {
        let mut events = Events::default();
        let mut draft = events.begin(App::Http, Kind::Response);
        draft.latency_us(9).text(Field::HttpMethod, b"GET").text(Field::HttpUrl, b"/a?token=1");
        draft.text(Field::HttpHost, b"example.org").text(Field::HttpReferer, b"");
        draft.text(Field::HttpUserAgent, b"curl").number(Field::HttpStatus, 200);
        events
    }

    fn redacted(redactor: &Redactor) -> Events {
        let mut events = Events::default();
        redactor.copy(&request().get(0).unwrap(), &mut events);
        events
    }

    #[test]
    fn what_is_dropped_is_gone_and_the_rest_stays() {
        let redactor = Redactor::new(b"key").with(Redaction::Url, Treatment::Drop);
        let events = redacted(&redactor);
        let event = events.get(0).unwrap();
        assert_eq!((event.get(Field::HttpUrl), event.get(Field::HttpReferer)), (None, None));
        assert_eq!(event.get(Field::HttpHost), Some(Value::Text("example.org")));
        assert_eq!(event.get(Field::HttpStatus), Some(Value::Number(200)));
        assert_eq!(event.latency_us, Some(9));
    }

    #[test]
    fn a_hash_is_the_same_for_the_same_text_and_key() {
        let host = |key: &[u8]| {
            let redactor = Redactor::new(key).with(Redaction::Name, Treatment::Hash);
            let events = redacted(&redactor);
            let Some(Value::Text(text)) = events.get(0).unwrap().get(Field::HttpHost) else {
                panic!("no host");
            };
            text.to_owned()
        };
        assert_eq!(host(b"one"), host(b"one"));
        assert_ne!(host(b"one"), host(b"two"));
        assert_eq!(host(b"one").len(), 16);
        assert!(host(b"one").bytes().all(|b| b.is_ascii_hexdigit()));
    }

    #[test]
    fn absent_texts_stay_empty_and_queries_are_cut() {
        let redactor =
            Redactor::new(b"key").with_cut_query().with(Redaction::UserAgent, Treatment::Hash);
        let events = redacted(&redactor);
        let event = events.get(0).unwrap();
        assert_eq!(event.get(Field::HttpUrl), Some(Value::Text("/a")));
        assert_eq!(event.get(Field::HttpReferer), Some(Value::Text("")));
        assert_ne!(event.get(Field::HttpUserAgent), Some(Value::Text("curl")));
    }
}
