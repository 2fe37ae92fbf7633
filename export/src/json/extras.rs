//! The members of a JSON line that only some records have.

use decode::app::{EventView, Face, Kind, Value};
use flowtable::tcp::TcpMetrics;

use super::text::{write_addr, write_number, write_string};
use crate::tcp_fields::{EachMetric, TcpValue, for_each_metric};

/// Appends `,"tcp":{…}` with the metrics that say something.
pub(super) fn tcp(out: &mut Vec<u8>, metrics: &TcpMetrics) {
    out.extend_from_slice(b",\"tcp\":");
    let start = out.len();
    for_each_metric(metrics, &mut Members(out));
    match out.get_mut(start) {
        Some(first) => *first = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
}

struct Members<'a>(&'a mut Vec<u8>);

impl EachMetric for Members<'_> {
    #[inline(always)]
    fn metric(&mut self, key: &'static str, value: TcpValue) {
        let Self(out) = self;
        out.extend_from_slice(key.as_bytes());
        match value {
            TcpValue::Number(number) => write_number(out, number),
            TcpValue::Word(word) => {
                out.push(b'"');
                out.extend_from_slice(word.as_bytes());
                out.push(b'"');
            }
        }
    }
}

/// Appends `,"application":{…}`: the common shape, then all attributes under their names.
pub(super) fn application(out: &mut Vec<u8>, event: &EventView<'_>) {
    out.extend_from_slice(b",\"application\":");
    let mut object = Object::open(out);
    write_string(object.member("app"), event.app.name());
    let kind = match event.kind {
        Kind::Request => "request",
        Kind::Response => "response",
        Kind::Facts => "facts",
    };
    write_string(object.member("kind"), kind);
    for (name, face) in [("operation", Face::Operation), ("status", Face::Status)] {
        let mut attributes = event.attributes();
        if let Some((_, value)) = attributes.find(|(field, _)| field.info().face == face) {
            write_value(object.member(name), value);
        }
    }
    if let Some(latency_us) = event.latency_us {
        write_number(object.member("latency_us"), latency_us);
    }
    let mut attributes = Object::open(object.member("attributes"));
    for (field, value) in event.attributes() {
        let info = field.info();
        if info.face == Face::Detail && value != Value::Text("") {
            write_value(attributes.member(info.name), value);
        }
    }
    attributes.close();
    object.close();
}

fn write_value(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Text(text) => write_string(out, text),
        Value::Number(number) => write_number(out, number),
        Value::Address(address) => {
            out.push(b'"');
            write_addr(out, address);
            out.push(b'"');
        }
    }
}

/// An object whose members are written one by one.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    before: u8,
}

impl<'a> Object<'a> {
    fn open(out: &'a mut Vec<u8>) -> Self {
        Self { out, before: b'{' }
    }

    /// Begins a member; `name` needs no escapes. Its value is to be written next.
    fn member(&mut self, name: &str) -> &mut Vec<u8> {
        self.out.push(std::mem::replace(&mut self.before, b','));
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    fn close(self) {
        if self.before == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use decode::app::{App, Events, Field};
    use flowtable::tcp::Role;

    use super::*;

    #[test]
    fn tcp_metrics_are_an_object_of_what_there_is_to_say() {
        let mut out = Vec::new();
        tcp(&mut out, &TcpMetrics::default());
        assert_eq!(out, br#","tcp":{}"#);
        out.clear();
        let metrics =
            TcpMetrics { retransmitted: 8, role: Some(Role::Client), ..TcpMetrics::default() };
        tcp(&mut out, &metrics);
        assert_eq!(out, br#","tcp":{"retransmitted":8,"role":"client"}"#);
    }

    #[test]
    fn an_event_has_the_common_shape_and_its_attributes() {
        let mut events = Events::default();
        let mut draft = events.begin(App::Http, Kind::Response);
        draft.latency_us(7_867).text(Field::HttpMethod, b"GET");
        draft.number(Field::HttpStatus, 302).text(Field::HttpUrl, b"/\"\n\\");
        draft.text(Field::HttpReferer, b"");
        let mut out = Vec::new();
        application(&mut out, &events.get(0).unwrap());
        let expected = concat!(
            r#","application":{"app":"http","kind":"response","operation":"GET","status":302,"#,
            r#""latency_us":7867,"attributes":{"url":"/\"\n\\"}}"#
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn an_event_without_attributes_is_an_object_all_the_same() {
        let mut events = Events::default();
        events.begin(App::Ssh, Kind::Facts);
        let mut out = Vec::new();
        application(&mut out, &events.get(0).unwrap());
        let expected = r#","application":{"app":"ssh","kind":"facts","attributes":{}}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
