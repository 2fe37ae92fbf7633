//! Packets and connections of a recording, and what `tshark` says of it.

use std::path::PathBuf;
use std::process::Command;

use decode::app::{EventView, Events, Side, StreamDecoder, Value, Verdict};
use decode::{Frame, Link, Outcome, Packet, parse};

/// A packet with payload or a SYN, and its time.
pub struct Recorded {
    pub now_us: u64,
    pub packet: Packet,
    pub payload: Vec<u8>,
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/recordings").join(name)
}

/// All IP packets of a little-endian classic pcap of Ethernet frames, times in µs.
pub fn recording(name: &str) -> Vec<Recorded> {
    let bytes = std::fs::read(path(name)).unwrap();
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!((word(0), word(20)), (0xa1b2_c3d4, 1));
    let (mut at, mut packets) = (24, Vec::new());
    while at < bytes.len() {
        let now_us = u64::from(word(at)) * 1_000_000 + u64::from(word(at + 4));
        let (captured, wire_len) = (word(at + 8) as usize, word(at + 12));
        let data = &bytes[at + 16..at + 16 + captured];
        at += 16 + captured;
        let mut packet = Packet::default();
        let frame = Frame { data, wire_len, ..Frame::default() };
        if parse(Link::Ethernet, &frame, &mut packet) == Outcome::Packet {
            packets.push(Recorded { now_us, packet, payload: packet.payload(data).to_vec() });
        }
    }
    packets
}

/// One decoder for each connection to a port, in the order of their SYNs, with its last verdict. No
/// segment of these recordings is lost, repeated or out of order, which is checked.
pub fn connections<D: StreamDecoder>(
    packets: &[Recorded],
    port: u16,
    new: impl Fn() -> D,
    events: &mut Events,
) -> Vec<(D, Verdict)> {
    let mut ports: Vec<u16> = Vec::new();
    for Recorded { packet, .. } in packets {
        if packet.dst_port == port && packet.tcp_flags & 0x12 == 0x02 {
            ports.push(packet.src_port);
        }
    }
    let mut decoders: Vec<(D, Verdict)> = ports.iter().map(|_| (new(), Verdict::More)).collect();
    let mut next = vec![[None; 2]; ports.len()];
    for Recorded { now_us, packet, payload } in packets {
        let from = if packet.dst_port == port { Side::Client } else { Side::Server };
        let own = if from == Side::Client { packet.src_port } else { packet.dst_port };
        let nth = ports.iter().position(|port| *port == own).unwrap();
        let expected = next[nth][from.index()].get_or_insert(packet.tcp_seq);
        let (decoder, verdict) = &mut decoders[nth];
        if !payload.is_empty() {
            assert_eq!(*expected, packet.tcp_seq);
            if *verdict == Verdict::More {
                *verdict = decoder.data(from, payload, *now_us, events);
            }
        }
        let flags = u32::from(packet.tcp_flags & 0x03 != 0);
        *expected = packet.tcp_seq.wrapping_add(packet.payload_len + flags);
    }
    decoders
}

/// All attributes of an event as text, joined by spaces.
pub fn line(event: &EventView<'_>) -> String {
    let text = |value| match value {
        Value::Text(text) => text.to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Address(address) => address.to_string(),
    };
    let texts: Vec<String> = event.attributes().map(|(_, value)| text(value)).collect();
    texts.join(" ")
}

/// The values of each field in the packets that pass the filter, in their order; `None`, with a
/// word on standard error, without `tshark`.
pub fn tshark(
    name: &str,
    decode_as: &str,
    filter: &str,
    fields: &[&str],
) -> Option<Vec<Vec<String>>> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(path(name)).args(["-d", decode_as, "-Y", filter, "-T", "fields"]);
    command.args(["-E", "separator=/t", "-E", "aggregator=,"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let Ok(output) = command.output() else {
        eprintln!("skipped: no tshark to ask about {name}");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut values = vec![Vec::new(); fields.len()];
    for line in text.lines() {
        for (values, column) in values.iter_mut().zip(line.split('\t')) {
            let several = column.split(',').filter(|value| !value.is_empty());
            values.extend(several.map(str::to_owned));
        }
    }
    Some(values)
}
