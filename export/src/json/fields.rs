//! The fields of a JSON line: one table from which the lines, and whoever documents them, follow.
//!
//! Behind them stand, where there is something to say, `tcp` with the members of
//! [`TCP_FIELDS`](crate::TCP_FIELDS), and `application` with what a decoder reports.

use decode::app::App;
use flowtable::{Cut, Direction, Record};

use super::extras;
use super::text::{TimeText, write_addr, write_mac, write_number};

/// One member of a JSON line.
pub struct Field {
    /// Member name.
    pub name: &'static str,
    /// What it means, with type and unit.
    pub doc: &'static str,
    /// `,"name":`.
    key: &'static str,
    write: fn(&mut TimeText, &mut Vec<u8>, &Record),
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.name, self.doc)
    }
}

macro_rules! fields {
    ($($name:literal $doc:literal => $write:expr;)*) => {
        /// Every member, in the order of the line. All are always present.
        pub const FIELDS: &[Field] = &[$(Field {
            name: $name,
            doc: $doc,
            key: concat!(",\"", $name, "\":"),
            write: $write,
        }),*];
    };
}

fields! {
    "time" "text: when the record was cut, RFC 3339 in UTC with nanoseconds" =>
        |times, out, r| quoted(out, |out| times.write(out, r.time_ns));
    "src" "text: source address" =>
        |_, out, r| quoted(out, |out| write_addr(out, r.src));
    "dst" "text: destination address" =>
        |_, out, r| quoted(out, |out| write_addr(out, r.dst));
    "src_port" "number: source port, 0 where the protocol has none and for ICMP" =>
        |_, out, r| write_number(out, r.src_port.into());
    "dst_port" "number: destination port; ICMP: type × 256 + code" =>
        |_, out, r| write_number(out, r.dst_port.into());
    "protocol" "number: IP protocol after extension headers" =>
        |_, out, r| write_number(out, r.protocol.into());
    "packets" "number: packets on the wire, not scaled by the sample rate" =>
        |_, out, r| write_number(out, r.packets);
    "bytes" "number: IP bytes on the wire, not scaled by the sample rate" =>
        |_, out, r| write_number(out, r.bytes);
    "direction" "text: in, out or unknown, seen from the capture interface" =>
        |_, out, r| out.extend_from_slice(match r.direction {
            Direction::In => b"\"in\"",
            Direction::Out => b"\"out\"",
            Direction::Unknown => b"\"unknown\"",
        });
    "tcp_flags" "number: OR of the eight TCP flag bits, 0 for other protocols" =>
        |_, out, r| write_number(out, r.tcp_flags.into());
    "tos" "number: OR of the type-of-service or traffic-class bytes" =>
        |_, out, r| write_number(out, r.tos.into());
    "vlan" "number: innermost VLAN id, 0 when untagged" =>
        |_, out, r| write_number(out, r.vlan.into());
    "sample_rate" "number: N of 1:N flow sampling, 1 when unsampled" =>
        |_, out, r| write_number(out, r.sample_rate.into());
    "app" "number: application id (1 DNS, 2 HTTP, 3 TLS, 4 DHCP, 9 RADIUS), 0 when none" =>
        |_, out, r| write_number(out, r.app.map_or(0, App::wire_id).into());
    "src_mac" "text: source MAC of the direction's first packet, zeros when the link has none" =>
        |_, out, r| quoted(out, |out| write_mac(out, r.src_mac));
    "dst_mac" "text: destination MAC, likewise" =>
        |_, out, r| quoted(out, |out| write_mac(out, r.dst_mac));
    "fragments" "number: IP fragments among the packets" =>
        |_, out, r| write_number(out, r.fragments.into());
    "connection_id" "number: the same for both directions of a TCP or UDP conversation, else 0" =>
        |_, out, r| write_number(out, r.connection_id.into());
    "first_payload_us" "number or null: from the peer's first payload to this direction's first, µs; null unless the peer's came first" =>
        |_, out, r| match r.first_payload_us {
            Some(us) => write_number(out, us.into()),
            None => out.extend_from_slice(b"null"),
        };
}

/// Writes records as lines; the same record gives the same bytes.
#[derive(Default)]
pub(crate) struct LineWriter {
    times: TimeText,
}

impl LineWriter {
    /// Appends one line with its newline.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, cut: &Cut<'_>) {
        let start = out.len();
        for field in FIELDS {
            out.extend_from_slice(field.key.as_bytes());
            (field.write)(&mut self.times, out, cut.record);
        }
        if let Some(first) = out.get_mut(start) {
            *first = b'{';
        }
        if let Some(metrics) = cut.tcp {
            extras::tcp(out, metrics);
        }
        if let Some(event) = &cut.event {
            extras::application(out, event);
        }
        out.extend_from_slice(b"}\n");
    }
}

/// No value needs escapes: addresses, times and words only.
fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
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
