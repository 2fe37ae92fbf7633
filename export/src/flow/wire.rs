//! Flow records as the wire has them (spec 8.5, 12.3).

use decode::app::App;
use flowtable::Direction;
use kflow::Flow;
use kflow::wire::ValueRef;

use super::sample::Weighted;

/// A record on its way into a message.
#[derive(Clone, Copy)]
pub(crate) struct WireRecord<'a> {
    pub weighted: &'a Weighted,
    /// What goes into custom columns.
    pub values: &'a [(u32, ValueRef<'a>)],
    /// Low 32 bits of the device id.
    pub device_id: u32,
    /// What the record takes in a message.
    pub unpacked_bytes: usize,
}

impl kflow::wire::Record for WireRecord<'_> {
    fn fixed(&self) -> Flow {
        let (record, wire_rate) = (&self.weighted.record, self.weighted.wire_rate);
        let flow = Flow {
            src: record.src,
            dst: record.dst,
            src_port: record.src_port.into(),
            dst_port: record.dst_port.into(),
            protocol: record.protocol.into(),
            tos: record.tos.into(),
            tcp_flags: record.tcp_flags.into(),
            src_mac: mac_number(record.src_mac),
            dst_mac: mac_number(record.dst_mac),
            sample_rate: wire_rate,
            sample_adj: true,
            device_id: self.device_id,
            app_protocol: record.app.map_or(0, App::wire_id),
            ..Flow::default()
        };
        match record.direction {
            Direction::In => Flow {
                in_bytes: record.bytes,
                in_packets: record.packets,
                input_port: port_number(record.dst_mac),
                vlan_in: record.vlan.into(),
                ..flow
            },
            Direction::Out | Direction::Unknown => Flow {
                out_bytes: record.bytes,
                out_packets: record.packets,
                output_port: port_number(record.src_mac),
                vlan_out: record.vlan.into(),
                ..flow
            },
        }
    }

    fn customs(&self) -> impl Iterator<Item = (u32, ValueRef<'_>)> {
        self.values.iter().copied()
    }

    fn unpacked_bytes(&self) -> usize {
        self.unpacked_bytes
    }
}

/// First octet in bits 47–40.
fn mac_number(mac: [u8; 6]) -> u64 {
    mac.iter().fold(0, |number, &octet| number << 8 | u64::from(octet))
}

/// The interface index that the probe publishes: the last two octets of its MAC.
fn port_number(mac: [u8; 6]) -> u32 {
    u16::from_be_bytes([mac[4], mac[5]]).into()
}

#[cfg(test)]
mod tests {
    use flowtable::{Cut, Record};
    use kflow::api::CustomColumn;
    use kflow::wire::Record as _;

    use super::super::columns::Columns;
    use super::*;
    use crate::testing::record;

    fn column(field_id: u64, name: &str) -> CustomColumn {
        CustomColumn { field_id, col_name: name.into(), col_type: "uint32".into() }
    }

    fn weighted(record: &Record, wire_rate: u32) -> Weighted {
        let cut = Cut { record, tcp: None, event: None };
        let mut weighted = Weighted::new(&cut);
        weighted.wire_rate = wire_rate;
        weighted
    }

    fn dns_answer(direction: Direction) -> Weighted {
        let record = Record {
            src: "2001:db8::53".parse().unwrap(),
            dst: "2001:db8::34".parse().unwrap(),
            src_port: 53,
            dst_port: 52407,
            tos: 184,
            direction,
            vlan: 41,
            src_mac: [1, 2, 3, 4, 5, 6],
            dst_mac: [0x00, 0x1c, 0x42, 0x60, 0xbb, 0x37],
            packets: 3,
            bytes: 432,
            fragments: 2,
            sample_rate: 256,
            app: Some(App::Dns),
            ..record(1)
        };
        weighted(&record, 25_600)
    }

    fn flow(weighted: &Weighted) -> Flow {
        WireRecord { weighted, values: &[], device_id: 9623, unpacked_bytes: 0 }.fixed()
    }

    #[test]
    fn an_inbound_record_fills_the_in_fields() {
        let expected = Flow {
            src: "2001:db8::53".parse().unwrap(),
            dst: "2001:db8::34".parse().unwrap(),
            src_port: 53,
            dst_port: 52407,
            protocol: 17,
            tos: 184,
            in_bytes: 432,
            in_packets: 3,
            input_port: 47927,
            vlan_in: 41,
            src_mac: 0x0102_0304_0506,
            dst_mac: 0x001c_4260_bb37,
            sample_rate: 25_600,
            sample_adj: true,
            device_id: 9623,
            app_protocol: 1,
            ..Flow::default()
        };
        assert_eq!(flow(&dns_answer(Direction::In)), expected);
    }

    #[test]
    fn outbound_and_unknown_records_fill_the_out_fields() {
        for direction in [Direction::Out, Direction::Unknown] {
            let flow = flow(&dns_answer(direction));
            assert_eq!((flow.out_bytes, flow.out_packets, flow.vlan_out), (432, 3, 41));
            assert_eq!((flow.output_port, flow.input_port), (0x0506, 0));
            assert_eq!((flow.in_bytes, flow.in_packets, flow.vlan_in), (0, 0, 0));
        }
    }

    #[test]
    fn a_value_is_sent_only_when_positive_and_when_the_device_has_its_column() {
        let columns = Columns::new(&[
            column(25, "APP_PROTOCOL"),
            column(3, "FRAGMENTS"),
            column(4, "CLIENT_NW_LATENCY_MS"),
        ]);
        let customs = |weighted: &Weighted, columns: &Columns| {
            columns
                .values(weighted.cut())
                .map(|(id, value)| match value {
                    ValueRef::U32(value) => (id, value),
                    other => panic!("{other:?}"),
                })
                .collect::<Vec<_>>()
        };
        let answer = dns_answer(Direction::In);
        assert_eq!(customs(&answer, &columns), [(3, 2), (25, 1)]);
        assert_eq!(customs(&answer, &Columns::default()), []);
        let plain = weighted(&record(1), 100);
        assert_eq!(customs(&plain, &columns), []);
    }

    #[test]
    fn a_column_id_beyond_32_bits_counts_as_absent() {
        let columns = Columns::new(&[column(1 << 32, "FRAGMENTS")]);
        let answer = dns_answer(Direction::In);
        assert_eq!(columns.values(answer.cut()).count(), 0);
    }
}
