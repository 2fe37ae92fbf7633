//! A state for tests, made up by hand.

use super::snapshot::{Conversation, Records, Ring, Snapshot, Traffic};

fn conversation(client: &str, port: u16, server: &str, server_port: u16) -> Conversation {
    Conversation {
        client: client.parse().unwrap(),
        client_port: port,
        server: server.parse().unwrap(),
        server_port,
        protocol: 6,
        vlan: 0,
        bits_per_s: 0.0,
        packets_per_s: 0.0,
        retransmitted: 0,
        rtt_us: None,
        app: String::new(),
        operation: String::new(),
        name: String::new(),
    }
}

/// Four conversations, each the first by another measure.
pub(super) fn snapshot() -> Snapshot {
    let conversations = vec![
        Conversation {
            bits_per_s: 93_200_000.0,
            packets_per_s: 7_900.0,
            retransmitted: 3,
            rtt_us: Some(812),
            app: "tls".to_owned(),
            name: "example.org".to_owned(),
            ..conversation("192.168.100.101", 40_001, "192.168.100.202", 443)
        },
        Conversation {
            protocol: 17,
            bits_per_s: 1_250_000.0,
            packets_per_s: 12_345.0,
            app: "dns".to_owned(),
            operation: "AAAA".to_owned(),
            name: "a-very-long-name.in.a.deep.zone.example.net".to_owned(),
            ..conversation("10.0.0.7", 40_002, "10.0.0.53", 53)
        },
        Conversation {
            bits_per_s: 56_000.0,
            packets_per_s: 12.0,
            retransmitted: 1_234,
            rtt_us: Some(1_250_000),
            app: "http".to_owned(),
            operation: "GET".to_owned(),
            name: "[2001:db8::1]".to_owned(),
            ..conversation("2001:db8:1:2:3:4:5:6", 40_003, "2001:db8::1", 80)
        },
        Conversation {
            protocol: 1,
            bits_per_s: 800.0,
            packets_per_s: 60.0,
            ..conversation("10.0.0.7", 0, "10.0.0.1", 0)
        },
    ];
    Snapshot {
        version: "0.1.0".to_owned(),
        uptime_s: 3_754,
        sources: vec![("eth0".to_owned(), 2)],
        ring: Ring { received: 12_345_678, dropped: 1_234, freezes: 1 },
        records: Records {
            conversations: 51_234,
            sent: 987_654,
            lost_channel: 0,
            lost_outputs: 12,
            sampled_out: 0,
        },
        traffic: Traffic {
            bits_per_s: 94_506_800.0,
            packets_per_s: 20_317.0,
            conversations: 4,
            forgotten: 0,
            sample_rate: 16,
            error_percent: Some(4.2),
        },
        conversations,
    }
}
