//! Records as lines of JSON.

use flowtable::Cut;

use super::extras::{self, Keys};
use super::line::{self, Buffer, Line};
use super::text::TimeText;
use crate::schema::{EachField, FieldValue, for_each_field};

/// Writes records as lines; the same record gives the same bytes.
pub(crate) struct LineWriter {
    times: TimeText,
    keys: Keys,
    buffer: Box<Buffer>,
}

impl Default for LineWriter {
    fn default() -> Self {
        Self { times: TimeText::default(), keys: Keys::new(), buffer: line::buffer() }
    }
}

impl LineWriter {
    /// Appends one line with its newline.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, cut: &Cut<'_>) {
        let start = out.len();
        let mut line = Line::new(out, &mut self.buffer);
        line.begin_part();
        for_each_field(cut.record, &mut Members { line: &mut line, times: &mut self.times });
        if let Some(metrics) = cut.tcp {
            extras::tcp(&mut line, metrics);
        }
        if let Some(event) = &cut.event {
            line = extras::application(line, &self.keys, event);
        }
        line.plain(b"}\n");
        line.finish();
        // Instead of the comma before the first member.
        if let Some(first) = out.get_mut(start) {
            *first = b'{';
        }
    }
}

/// Where the members of a line go.
struct Members<'a, 'b> {
    line: &'a mut Line<'b>,
    times: &'a mut TimeText,
}

impl EachField for Members<'_, '_> {
    #[inline(always)]
    fn field(&mut self, key: &'static str, value: FieldValue) {
        let Self { line, times } = self;
        line.plain(key.as_bytes());
        match value {
            FieldValue::Time(ns) => line.time(times, ns),
            FieldValue::Address(address) => line.address(address),
            FieldValue::Number(number) => line.number(number),
            FieldValue::Word(word) => line.word(word),
            FieldValue::Mac(mac) => line.mac(mac),
            FieldValue::Absent => line.plain(b"null"),
        }
    }
}

#[cfg(test)]
mod tests {
    use decode::app::App;
    use flowtable::{Direction, Record};

    use super::*;
    use crate::schema::FIELDS;
    use crate::testing::record;

    const GOLDEN: &str = concat!(
        r#"{"time":"2026-01-02T03:04:05.123456789Z","src":"2001:db8::53","dst":"2001:db8::34","#,
        r#""src_port":53,"dst_port":52407,"protocol":17,"packets":1,"bytes":432,"#,
        r#""direction":"in","tcp_flags":0,"tos":184,"vlan":41,"sample_rate":256,"app":1,"#,
        r#""src_mac":"01:02:03:04:05:06","dst_mac":"00:1c:42:60:bb:37","fragments":2,"#,
        r#""connection_id":77,"first_payload_us":null}"#,
        "\n"
    );

    fn alone(record: &Record) -> Cut<'_> {
        Cut { record, tcp: None, event: None }
    }

    fn dns_answer() -> Record {
        Record {
            time_ns: 1_767_323_045_123_456_789,
            first_frame: 2,
            src: "2001:db8::53".parse().unwrap(),
            dst: "2001:db8::34".parse().unwrap(),
            src_port: 53,
            dst_port: 52407,
            protocol: 17,
            tos: 184,
            tcp_flags: 0,
            direction: Direction::In,
            vlan: 41,
            src_mac: [1, 2, 3, 4, 5, 6],
            dst_mac: [0x00, 0x1c, 0x42, 0x60, 0xbb, 0x37],
            packets: 1,
            bytes: 432,
            fragments: 2,
            sample_rate: 256,
            app: Some(App::Dns),
            connection_id: 77,
            first_payload_us: None,
        }
    }

    #[test]
    fn a_record_becomes_this_line() {
        let mut out = Vec::new();
        LineWriter::default().write(&mut out, &alone(&dns_answer()));
        assert_eq!(String::from_utf8(out).unwrap(), GOLDEN);
    }

    #[test]
    fn a_line_is_a_json_object_with_one_member_per_field() {
        let mut out = Vec::new();
        let extremes = Record {
            time_ns: u64::MAX,
            packets: u64::MAX,
            bytes: u64::MAX,
            fragments: u32::MAX,
            direction: Direction::Unknown,
            ..record(1)
        };
        LineWriter::default().write(&mut out, &alone(&extremes));
        let line: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&out).unwrap();
        assert_eq!(line.len(), FIELDS.len());
        assert!(FIELDS.iter().all(|field| line.contains_key(field.name)));
        assert_eq!(line["bytes"], u64::MAX);
        assert_eq!(line["direction"], "unknown");
    }
}
