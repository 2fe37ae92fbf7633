//! What the unit tests share.

use flowtable::{Direction, Record};

/// An outbound UDP record with source port `port`.
pub(crate) fn record(port: u16) -> Record {
    Record {
        time_ns: 1_000_000_000,
        first_frame: 0,
        src: [10, 0, 0, 52].into(),
        dst: [8, 8, 4, 4].into(),
        src_port: port,
        dst_port: 53,
        protocol: 17,
        tos: 0,
        tcp_flags: 0,
        direction: Direction::Out,
        vlan: 0,
        src_mac: [0x02, 0, 0, 0, 0xbb, 0x37],
        dst_mac: [0x02, 0, 0, 0, 0, 1],
        packets: 1,
        bytes: 56,
        fragments: 0,
        sample_rate: 1,
        app: None,
        connection_id: 0,
        first_payload_us: None,
    }
}
