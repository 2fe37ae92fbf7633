//! The members of a JSON line that only some records have.

use decode::app::{EventView, FIELDS, Face, FieldInfo, Kind, Value};
use flowtable::tcp::TcpMetrics;

use super::line::Line;
use crate::tcp_fields::{EachMetric, TcpValue, for_each_metric};

/// Longest `"name":` of an attribute.
const KEY_BYTES: usize = 32;

/// The `"name":` of every attribute, by the number of its field.
pub(super) struct Keys(Vec<([u8; KEY_BYTES], usize)>);

impl Keys {
    pub(super) fn new() -> Self {
        let key = |info: &FieldInfo| {
            let (mut key, text) = ([0; KEY_BYTES], format!("\"{}\":", info.name));
            // A test holds names to what fits.
            let len = text.len().min(KEY_BYTES);
            key[..len].copy_from_slice(&text.as_bytes()[..len]);
            (key, len)
        };
        Self(FIELDS.iter().map(key).collect())
    }
}

/// Appends `,"tcp":{…}` with the metrics that say something.
#[inline(always)]
pub(super) fn tcp(line: &mut Line<'_>, metrics: &TcpMetrics) {
    line.begin_part();
    line.plain(b",\"tcp\":");
    let mut object = Object::open(line);
    for_each_metric(metrics, &mut object);
    object.close();
}

impl EachMetric for Object<'_, '_> {
    #[inline(always)]
    fn metric(&mut self, key: &'static str, value: TcpValue) {
        // The comma of the key stands there before the first one, too.
        let line = self.next();
        line.plain(&key.as_bytes()[1..]);
        match value {
            TcpValue::Number(number) => line.number(number),
            TcpValue::Word(word) => line.word(word),
        }
    }
}

/// Appends `,"application":{…}`: the common shape, then all attributes under their names.
#[inline(never)]
pub(super) fn application<'a>(mut line: Line<'a>, keys: &Keys, event: &EventView<'_>) -> Line<'a> {
    line.begin_part();
    line.plain(b",\"application\":{\"app\":");
    line.word(event.app.name());
    line.plain(match event.kind {
        Kind::Request => b",\"kind\":\"request\"",
        Kind::Response => b",\"kind\":\"response\"",
        Kind::Facts => b",\"kind\":\"facts\"",
    });
    for (key, face) in [(&b",\"operation\":"[..], Face::Operation), (b",\"status\":", Face::Status)]
    {
        if let Some((_, value)) = event.find(|field| field.info().face == face) {
            line.plain(key);
            write_value(&mut line, value);
        }
    }
    if let Some(latency_us) = event.latency_us {
        line.plain(b",\"latency_us\":");
        line.number(latency_us);
    }
    line.plain(b",\"attributes\":");
    let mut attributes = Object::open(&mut line);
    for (field, value) in event.attributes() {
        if field.info().face == Face::Detail && value != Value::Text("") {
            let (key, len) = &keys.0[field.index()];
            let line = attributes.next();
            line.front(*key, *len);
            write_value(line, value);
        }
    }
    attributes.close();
    line.plain(b"}");
    line
}

/// At most 32 numbers and addresses stand between two texts.
#[inline(always)]
fn write_value(line: &mut Line<'_>, value: Value<'_>) {
    match value {
        Value::Text(text) => line.string(text),
        Value::Number(number) => line.number(number),
        Value::Address(address) => line.address(address),
    }
}

/// An object whose members are written one by one.
struct Object<'a, 'b> {
    line: &'a mut Line<'b>,
    /// What stands before the next member.
    before: u8,
}

impl<'a, 'b> Object<'a, 'b> {
    #[inline(always)]
    fn open(line: &'a mut Line<'b>) -> Self {
        Self { line, before: b'{' }
    }

    /// Begins a member, whose key and value are to be written next.
    #[inline(always)]
    fn next(&mut self) -> &mut Line<'b> {
        self.line.plain(&[std::mem::replace(&mut self.before, b',')]);
        self.line
    }

    #[inline(always)]
    fn close(self) {
        if self.before == b'{' {
            self.line.plain(b"{");
        }
        self.line.plain(b"}");
    }
}

#[cfg(test)]
mod tests {
    use decode::app::{App, Events, Field};
    use flowtable::tcp::Role;
    use proptest::prelude::any;

    use super::*;
    use crate::json::line::buffer;

    fn written(write: impl FnOnce(Line<'_>) -> Line<'_>) -> String {
        let (mut out, mut buffer) = (Vec::new(), buffer());
        write(Line::new(&mut out, &mut buffer)).finish();
        String::from_utf8(out).unwrap()
    }

    fn with_tcp<'a>(mut line: Line<'a>, metrics: &TcpMetrics) -> Line<'a> {
        tcp(&mut line, metrics);
        line
    }

    #[test]
    fn every_key_is_complete() {
        for (info, (key, len)) in FIELDS.iter().zip(Keys::new().0) {
            assert_eq!(key[..len], *format!("\"{}\":", info.name).as_bytes());
        }
    }

    #[test]
    fn tcp_metrics_are_an_object_of_what_there_is_to_say() {
        assert_eq!(written(|line| with_tcp(line, &TcpMetrics::default())), r#","tcp":{}"#);
        let metrics =
            TcpMetrics { retransmitted: 8, role: Some(Role::Client), ..TcpMetrics::default() };
        let expected = r#","tcp":{"retransmitted":8,"role":"client"}"#;
        assert_eq!(written(|line| with_tcp(line, &metrics)), expected);
    }

    #[test]
    fn an_event_has_the_common_shape_and_its_attributes() {
        let mut events = Events::default();
        let mut draft = events.begin(App::Http, Kind::Response);
        draft.latency_us(7_867).text(Field::HttpMethod, b"GET");
        draft.number(Field::HttpStatus, 302).text(Field::HttpUrl, b"/\"\n\\");
        draft.text(Field::HttpReferer, b"");
        let event = events.get(0).unwrap();
        let expected = concat!(
            r#","application":{"app":"http","kind":"response","operation":"GET","status":302,"#,
            r#""latency_us":7867,"attributes":{"url":"/\"\n\\"}}"#
        );
        assert_eq!(written(|line| application(line, &Keys::new(), &event)), expected);
    }

    #[test]
    fn an_event_without_attributes_is_an_object_all_the_same() {
        let mut events = Events::default();
        events.begin(App::Ssh, Kind::Facts);
        let event = events.get(0).unwrap();
        let expected = r#","application":{"app":"ssh","kind":"facts","attributes":{}}"#;
        assert_eq!(written(|line| application(line, &Keys::new(), &event)), expected);
    }

    proptest::proptest! {
        /// No line is too long for the buffer, whatever the attributes are.
        #[test]
        fn an_event_of_any_attributes_is_json(
            attributes in proptest::collection::vec(
                (0..FIELDS.len(), 0..4_u8, any::<u64>(), any::<[u16; 8]>(), 0..1_100_usize), 0..40),
            latency_us: Option<u64>,
        ) {
            let mut events = Events::default();
            let mut draft = events.begin(App::Http, Kind::Response);
            if let Some(latency_us) = latency_us {
                draft.latency_us(latency_us);
            }
            for (field, kind, number, groups, len) in attributes {
                let field = FIELDS[field].field;
                match kind {
                    0 => draft.number(field, number),
                    1 => draft.address(field, groups.into()),
                    2 => draft.text(field, "x".repeat(len).as_bytes()),
                    _ => draft.text(field, "\u{1}ä\"".repeat(len).as_bytes()),
                };
            }
            let event = events.get(0).unwrap();
            let text = written(|line| application(line, &Keys::new(), &event));
            let object = format!("{{{}}}", &text[1..]);
            let line: serde_json::Value = serde_json::from_str(&object).unwrap();
            let said = &line["application"];
            proptest::prop_assert_eq!(said["latency_us"].as_u64(), latency_us);
            for (field, value) in event.attributes() {
                let is_only = event.attributes().filter(|(other, _)| *other == field).count() == 1;
                let info = field.info();
                if is_only && info.face == Face::Detail && value != Value::Text("") {
                    let expected: serde_json::Value = match value {
                        Value::Text(text) => text.into(),
                        Value::Number(number) => number.into(),
                        Value::Address(address) => address.to_string().into(),
                    };
                    let same_name = FIELDS.iter().filter(|other| other.name == info.name).count();
                    if same_name == 1 {
                        proptest::prop_assert_eq!(&said["attributes"][info.name], &expected);
                    }
                }
            }
        }
    }
}
