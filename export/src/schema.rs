//! The fields of a record: one table from which JSON lines, IPFIX templates, and whoever documents
//! them, follow.
//!
//! Beside them stand, in JSON, `tcp` with the members of [`TCP_FIELDS`](crate::TCP_FIELDS), and
//! `application` with what a decoder reports.

use std::net::IpAddr;

use decode::app::App;
use flowtable::{Direction, Record};

/// What a field says of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValue {
    /// Nanoseconds since the Unix epoch.
    Time(u64),
    /// An address.
    Address(IpAddr),
    /// A number.
    Number(u64),
    /// One of a few words.
    Word(&'static str),
    /// A MAC address.
    Mac([u8; 6]),
    /// There is nothing to say.
    Absent,
}

/// The information element of IPFIX that a field is (IANA registry), if it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// No registered element says this.
    None,
    /// The same for both directions of a conversation, or said of the first alone.
    One {
        /// Its number.
        id: u16,
        /// Its length as it is sent.
        bytes: u16,
    },
    /// Said of each direction; in a biflow also as a reverse element (RFC 5103).
    Each {
        /// Its number.
        id: u16,
        /// Its length as it is sent.
        bytes: u16,
    },
    /// One element for IPv4, another for IPv6.
    Address {
        /// Number of the element of four bytes.
        v4: u16,
        /// Number of the element of sixteen bytes.
        v6: u16,
    },
}

/// One field of a record.
pub struct Field {
    /// Member name in JSON.
    pub name: &'static str,
    /// What it means, with type and unit.
    pub doc: &'static str,
    /// What it says of a record.
    pub value: fn(&Record) -> FieldValue,
    /// What it is in IPFIX.
    pub element: Element,
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.name, self.doc)
    }
}

/// Takes the fields of a record. Its method is to be inlined.
pub(crate) trait EachField {
    fn field(&mut self, key: &'static str, value: FieldValue);
}

use Element::{Address, Each, One};

fn number(n: impl Into<u64>) -> FieldValue {
    FieldValue::Number(n.into())
}

macro_rules! fields {
    ($($name:literal $doc:literal $element:expr, $value:expr;)*) => {
        /// Every field, in the order of a JSON line, where all are always present.
        pub const FIELDS: &[Field] = &[$(Field {
            name: $name,
            doc: $doc,
            value: $value,
            element: $element,
        }),*];

        /// Gives `,"name":` and what it says of a record, field after field. Unrolled: what a
        /// visitor does with a kind of value is decided when it is compiled.
        #[inline(always)]
        pub(crate) fn for_each_field(record: &Record, each: &mut impl EachField) {
            $(
                let value: fn(&Record) -> FieldValue = $value;
                each.field(concat!(",\"", $name, "\":"), value(record));
            )*
        }
    };
}

fields! {
    "time" "text: when the record was cut, RFC 3339 in UTC with nanoseconds"
        One { id: 153, bytes: 8 }, |r| FieldValue::Time(r.time_ns);
    "src" "text: source address"
        Address { v4: 8, v6: 27 }, |r| FieldValue::Address(r.src);
    "dst" "text: destination address"
        Address { v4: 12, v6: 28 }, |r| FieldValue::Address(r.dst);
    "src_port" "number: source port, 0 where the protocol has none and for ICMP"
        One { id: 7, bytes: 2 }, |r| number(r.src_port);
    "dst_port" "number: destination port; ICMP: type × 256 + code"
        One { id: 11, bytes: 2 }, |r| number(r.dst_port);
    "protocol" "number: IP protocol after extension headers"
        One { id: 4, bytes: 1 }, |r| number(r.protocol);
    "packets" "number: packets on the wire, not scaled by the sample rate"
        Each { id: 2, bytes: 8 }, |r| number(r.packets);
    "bytes" "number: IP bytes on the wire, not scaled by the sample rate"
        Each { id: 1, bytes: 8 }, |r| number(r.bytes);
    "direction" "text: in, out or unknown, seen from the capture interface"
        Element::None, |r| FieldValue::Word(match r.direction {
            Direction::In => "in",
            Direction::Out => "out",
            Direction::Unknown => "unknown",
        });
    "tcp_flags" "number: OR of the eight TCP flag bits, 0 for other protocols"
        Each { id: 6, bytes: 2 }, |r| number(r.tcp_flags);
    "tos" "number: OR of the type-of-service or traffic-class bytes"
        Each { id: 5, bytes: 1 }, |r| number(r.tos);
    "vlan" "number: innermost VLAN id, 0 when untagged"
        One { id: 58, bytes: 2 }, |r| number(r.vlan);
    "sample_rate" "number: N of 1:N flow sampling, 1 when unsampled"
        One { id: 302, bytes: 8 }, |r| number(r.sample_rate);
    "app" "number: application id (1 DNS, 2 HTTP, 3 TLS, 4 DHCP, 9 RADIUS), 0 when none"
        Element::None, |r| number(r.app.map_or(0, App::wire_id));
    "src_mac" "text: source MAC of the direction's first packet, zeros when the link has none"
        One { id: 56, bytes: 6 }, |r| FieldValue::Mac(r.src_mac);
    "dst_mac" "text: destination MAC, likewise"
        One { id: 80, bytes: 6 }, |r| FieldValue::Mac(r.dst_mac);
    "fragments" "number: IP fragments among the packets"
        Element::None, |r| number(r.fragments);
    "connection_id" "number: the same for both directions of a TCP or UDP conversation, else 0"
        One { id: 148, bytes: 8 }, |r| number(r.connection_id);
    "first_payload_us" "number or null: from the peer's first payload to this direction's first, µs; null unless the peer's came first"
        Element::None, |r| r.first_payload_us.map_or(FieldValue::Absent, number);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_and_elements_are_unique() {
        let names: HashSet<_> = FIELDS.iter().map(|field| field.name).collect();
        assert_eq!(names.len(), FIELDS.len());
        let mut ids = Vec::new();
        for field in FIELDS {
            match field.element {
                Element::None => {}
                One { id, .. } | Each { id, .. } => ids.push(id),
                Address { v4, v6 } => ids.extend([v4, v6]),
            }
        }
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    }
}
