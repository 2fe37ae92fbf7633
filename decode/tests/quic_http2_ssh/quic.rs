//! aioquic: both versions, a Retry, and a hello of two datagrams.

use decode::app::quic::{Quic, guess};
use decode::app::{Datagram, Events, Field, Guess, Value, Verdict};

use crate::recording::{line, recording, tshark};

const FILE: &str = "quic/aioquic.pcap";

#[test]
fn the_hellos_of_aioquic_are_read() {
    let packets = recording(FILE);
    let mut events = Events::default();
    let mut datagrams_needed = Vec::new();
    for client in 40_001..=40_004 {
        let mut quic = Quic::new();
        let of_client = |port| port == client;
        let own = packets.iter().filter(|recorded| {
            of_client(recorded.packet.src_port) || of_client(recorded.packet.dst_port)
        });
        let mut needed = 0;
        for (nth, recorded) in own.enumerate() {
            let datagram = Datagram {
                payload: &recorded.payload,
                src_port: recorded.packet.src_port,
                dst_port: recorded.packet.dst_port,
                conversation: u64::from(client),
                now_us: recorded.now_us,
            };
            if nth == 0 {
                assert_eq!(guess(&recorded.payload), Guess::Yes);
            }
            needed += 1;
            if quic.datagram(&datagram, &mut events) == Verdict::Done {
                break;
            }
        }
        datagrams_needed.push(needed);
    }
    // The long hello's second part is the client's second datagram; the server answers between.
    assert_eq!(datagrams_needed, [1, 1, 1, 3]);
    let lines: Vec<String> = events.iter().map(|event| line(&event)).collect();
    // JA4 by hand: sha256sum of tshark's sorted cipher suites, and of its sorted extensions without
    // server name and ALPN with the signature algorithms.
    assert_eq!(
        lines,
        [
            "one.quic.example 1 h3 q13d0307h3_55b375c5d22e_1cecd519fee8",
            "two.quic.example 1798521807 h3 q13d0307h3_55b375c5d22e_1cecd519fee8",
            "retry.quic.example 1 h3 q13d0307h3_55b375c5d22e_1cecd519fee8",
            "long.quic.example 1 test q13d0307tt_55b375c5d22e_1cecd519fee8",
        ]
    );

    let own_names: Vec<&str> = events
        .iter()
        .map(|event| match event.get(Field::QuicServerName) {
            Some(Value::Text(name)) => name,
            other => panic!("{other:?}"),
        })
        .collect();
    let fields = ["tls.handshake.extensions_server_name", "quic.version"];
    let hello = "tls.handshake.type == 1";
    if let Some(values) = tshark(FILE, "udp.port==4433-4434,quic", hello, &fields) {
        assert_eq!(values[0], own_names);
        assert_eq!(values[1], ["0x00000001", "0x6b3343cf", "0x00000001", "0x00000001"]);
    }
}
