//! Which custom columns a device has, and what of a record goes into them (spec 11.6, 12.1–12.3).

use std::collections::BTreeMap;

use decode::app::{FIELDS, Field, Kind, Value};
use flowtable::Cut;
use flowtable::tcp::clamped_ms;
use kflow::api::CustomColumn;
use kflow::wire::ValueRef;

use crate::tcp_fields::{TCP_FIELDS, TcpValue};

/// Column ids of the device for all that records carry; what has no column is not sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns {
    fragments: Option<u32>,
    app_protocol: Option<u32>,
    connection_id: Option<u32>,
    first_payload: Option<u32>,
    app_latency: Option<u32>,
    /// In the order of [`TCP_FIELDS`].
    tcp: Vec<Option<u32>>,
    /// In the order of [`FIELDS`].
    events: Vec<Option<Column>>,
}

#[derive(Clone, Copy, Debug)]
struct Column {
    id: u32,
    is_text: bool,
}

impl Columns {
    /// Finds the columns by name. Ids beyond 32 bits do not fit a record and count as absent.
    ///
    /// A device with `APP_PROTOCOL` has the generic columns (scheme B), in which each protocol's
    /// attributes share a few; one without it has a column for each (scheme A). What has no generic
    /// column is looked for under its own name in either.
    pub(crate) fn new(announced: &[CustomColumn]) -> Self {
        let columns: BTreeMap<&str, Column> = announced
            .iter()
            .filter_map(|column| {
                let id = column.field_id.try_into().ok()?;
                let is_text = matches!(column.col_type.as_str(), "string" | "text");
                Some((column.col_name.as_str(), Column { id, is_text }))
            })
            .collect();
        let id = |name: &str| columns.get(name).map(|column| column.id);
        let app_protocol = id("APP_PROTOCOL");
        let event = |field: &decode::app::FieldInfo| {
            let own = (!field.column.is_empty()).then(|| columns.get(field.column)).flatten();
            if app_protocol.is_some() && !field.generic.is_empty() {
                return columns.get(field.generic).copied();
            }
            let legacy = (field.field == Field::TlsServerName).then(|| columns.get(TLS_LEGACY));
            own.or(legacy.flatten()).copied()
        };
        Self {
            fragments: id("FRAGMENTS"),
            app_protocol,
            connection_id: id("CONNECTION_ID"),
            first_payload: id("FPEX_LATENCY_MS"),
            app_latency: id("APPL_LATENCY_MS"),
            tcp: TCP_FIELDS.iter().map(|field| id(field.column)).collect(),
            events: FIELDS.iter().map(event).collect(),
        }
    }

    /// Column values of a record, each id once.
    pub(crate) fn values<'a>(&'a self, cut: Cut<'a>) -> impl Iterator<Item = (u32, ValueRef<'a>)> {
        let record = cut.record;
        let latency_ms = cut.event.filter(|event| event.kind == Kind::Response);
        let latency_ms = latency_ms.and_then(|event| event.latency_us);
        let ms = |us: u64| u32::from(clamped_ms(us));
        let common = [
            (self.app_latency, latency_ms.map_or(0, ms)),
            (self.fragments, record.fragments),
            (self.app_protocol, record.app.map_or(0, decode::app::App::wire_id)),
            (self.connection_id, record.connection_id),
            (self.first_payload, record.first_payload_us.map_or(0, |us| ms(us.into()))),
        ];
        let common = common.into_iter().filter_map(|(column, value)| {
            Some((column.filter(|_| value > 0)?, ValueRef::U32(value)))
        });
        self.event(cut).chain(common).chain(self.tcp(cut))
    }

    fn event<'a>(&'a self, cut: Cut<'a>) -> impl Iterator<Item = (u32, ValueRef<'a>)> {
        let attributes = cut.event.map(move |event| {
            event.attributes().enumerate().filter_map(move |(index, (field, value))| {
                let column = self.column(field)?;
                let mut before = event.attributes().take(index);
                let again = before.any(|(other, _)| {
                    self.column(other).is_some_and(|other| other.id == column.id)
                });
                (!again).then_some((column.id, wire_value(value, column.is_text)?))
            })
        });
        attributes.into_iter().flatten()
    }

    fn column(&self, field: Field) -> Option<Column> {
        self.events.get(field.index()).copied().flatten()
    }

    fn tcp<'a>(&'a self, cut: Cut<'a>) -> impl Iterator<Item = (u32, ValueRef<'a>)> {
        let metrics = cut.tcp.map(move |metrics| {
            TCP_FIELDS.iter().zip(&self.tcp).filter_map(move |(field, column)| {
                let value = match ((*column)?, (field.value)(metrics)?) {
                    (id, TcpValue::Number(n)) => (id, ValueRef::U32(saturated(n))),
                    (id, TcpValue::Word(word)) => (id, ValueRef::Text(word)),
                };
                Some(value)
            })
        });
        metrics.into_iter().flatten()
    }
}

/// Which protocols the device has a column for, by [`decode::app::App::index`].
pub fn decodable(announced: &[CustomColumn]) -> [bool; decode::app::App::ALL.len()] {
    let columns = Columns::new(announced);
    let mut known = [false; decode::app::App::ALL.len()];
    for (field, column) in FIELDS.iter().zip(&columns.events) {
        known[field.app.index()] |= column.is_some();
    }
    known
}

/// Where the TLS server name goes on a device without a column of its own for it (spec 12.1).
const TLS_LEGACY: &str = "KFLOW_HTTP_HOST";

/// Integers travel as 32 bits whatever the column says; a number for a text column as digits.
fn wire_value(value: Value<'_>, is_text: bool) -> Option<ValueRef<'_>> {
    Some(match value {
        Value::Text(text) if is_text => ValueRef::Text(text),
        Value::Number(number) if is_text => ValueRef::Digits(number),
        Value::Number(number) => ValueRef::U32(saturated(number)),
        Value::Address(address) => ValueRef::Addr(address),
        // A word does not fit a column of numbers.
        Value::Text(_) => return None,
    })
}

fn saturated(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use decode::app::{App, Events};
    use flowtable::tcp::{Role, TcpMetrics};

    use super::*;
    use crate::testing::record;

    fn columns(names: &[(u64, &str, &str)]) -> Columns {
        let announced: Vec<_> = names
            .iter()
            .map(|(field_id, name, kind)| CustomColumn {
                field_id: *field_id,
                col_name: (*name).into(),
                col_type: (*kind).into(),
            })
            .collect();
        Columns::new(&announced)
    }

    fn dns() -> Events {
        let mut events = Events::default();
        let mut draft = events.begin(App::Dns, Kind::Response);
        draft.latency_us(44_900).text(Field::DnsQuery, b"example.org");
        draft.number(Field::DnsQueryType, 28).number(Field::DnsRcode, 0);
        draft.number(Field::DnsRcode, 3);
        events
    }

    #[test]
    fn a_device_of_the_first_scheme_has_a_column_for_each_attribute() {
        let columns = columns(&[
            (5, "KFLOW_DNS_QUERY", "string"),
            (6, "KFLOW_DNS_QUERY_TYPE", "uint32"),
            (7, "KFLOW_DNS_RET_CODE", "uint32"),
            (8, "APPL_LATENCY_MS", "uint32"),
            (9, "STR00", "string"),
        ]);
        let (events, record) = (dns(), record(1));
        let cut = Cut { record: &record, tcp: None, event: events.get(0) };
        let expected = [
            (5, ValueRef::Text("example.org")),
            (6, ValueRef::U32(28)),
            (7, ValueRef::U32(0)),
            (8, ValueRef::U32(44)),
        ];
        assert_eq!(columns.values(cut).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_device_of_the_second_scheme_has_generic_columns() {
        let columns = columns(&[
            (1, "APP_PROTOCOL", "uint32"),
            (2, "STR00", "string"),
            (3, "INT00", "uint32"),
            (5, "KFLOW_DNS_QUERY", "string"),
        ]);
        let (events, record) = (dns(), flowtable::Record { app: Some(App::Dns), ..record(1) });
        let cut = Cut { record: &record, tcp: None, event: events.get(0) };
        let expected =
            [(2, ValueRef::Text("example.org")), (3, ValueRef::U32(28)), (1, ValueRef::U32(1))];
        assert_eq!(columns.values(cut).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_tls_server_name_goes_where_the_device_has_room_for_it() {
        let mut events = Events::default();
        events.begin(App::Tls, Kind::Facts).text(Field::TlsServerName, b"a.example");
        let record = record(1);
        let cut = Cut { record: &record, tcp: None, event: events.get(0) };
        let id = |names: &[_]| columns(names).values(cut).next().map(|(id, _)| id);
        let (own, legacy) = ((4, "TLS_SERVER_NAME", "string"), (5, "KFLOW_HTTP_HOST", "string"));
        assert_eq!(id(&[legacy]), Some(5));
        assert_eq!(id(&[legacy, own]), Some(4));
        assert_eq!(id(&[legacy, (1, "APP_PROTOCOL", "uint32"), (2, "STR00", "string")]), Some(2));
        assert_eq!(id(&[legacy, (1, "APP_PROTOCOL", "uint32")]), None);
    }

    #[test]
    fn numbers_become_digits_in_a_column_of_texts() {
        let mut events = Events::default();
        events.begin(App::Radius, Kind::Response).number(Field::RadiusFramedProtocol, 1);
        let record = record(1);
        let cut = Cut { record: &record, tcp: None, event: events.get(0) };
        for (kind, value) in [("string", ValueRef::Digits(1)), ("uint32", ValueRef::U32(1))] {
            let columns = columns(&[(4, "RADIUS_FRAMED_PROTO", kind)]);
            assert_eq!(columns.values(cut).collect::<Vec<_>>(), [(4, value)]);
        }
    }

    #[test]
    fn tcp_metrics_go_into_the_columns_that_exist() {
        let columns = columns(&[
            (1, "RETRANSMITTED_OUT_PKTS", "uint32"),
            (2, "OOORDER_IN_PKTS", "uint32"),
            (3, "CLIENT_NW_LATENCY_MS", "uint32"),
            (4, "TCP_ROLE", "string"),
            (5, "CONNECTION_ID", "uint32"),
            (6, "FPEX_LATENCY_MS", "uint32"),
        ]);
        let record =
            flowtable::Record { connection_id: 77, first_payload_us: Some(200), ..record(1) };
        let tcp = TcpMetrics {
            client_nw_latency_ms: Some(9),
            retransmitted: 2,
            role: Some(Role::Client),
            ..TcpMetrics::default()
        };
        let cut = Cut { record: &record, tcp: Some(&tcp), event: None };
        let expected = [
            (5, ValueRef::U32(77)),
            (6, ValueRef::U32(1)),
            (3, ValueRef::U32(9)),
            (1, ValueRef::U32(2)),
            (4, ValueRef::Text("client")),
        ];
        assert_eq!(columns.values(cut).collect::<Vec<_>>(), expected);
    }
}
