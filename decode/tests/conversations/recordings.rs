//! Recordings made by `scripts/record`, as payloads in order.

use std::process::Command;

use decode::app::{Events, Side, StreamDecoder, Verdict};
use decode::{Frame, Link, Outcome, Packet, parse};

/// A payload on its way.
pub struct Payload {
    /// Client and server port.
    pub ports: (u16, u16),
    pub from: Side,
    pub bytes: Vec<u8>,
    pub now_us: u64,
}

fn path(name: &str) -> String {
    format!("{}/tests/recordings/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Every payload to and from a server's port. The recordings have no loss or repetition.
pub fn payloads(name: &str, server_port: u16) -> Vec<Payload> {
    let bytes = std::fs::read(path(name)).unwrap();
    assert_eq!(word(&bytes, 0), 0xa1b2_c3d4);
    let link = Link::from_linktype(word(&bytes, 20)).unwrap();
    let (mut found, mut at) = (Vec::new(), 24);
    while at < bytes.len() {
        let captured = word(&bytes, at + 8) as usize;
        let now_us = u64::from(word(&bytes, at)) * 1_000_000 + u64::from(word(&bytes, at + 4));
        let data = &bytes[at + 16..at + 16 + captured];
        let frame = Frame {
            data,
            wire_len: word(&bytes, at + 12),
            vlan: None,
            gso_size: 0,
            gso_hdr_len: 0,
        };
        let mut packet = Packet::default();
        let outcome = parse(link, &frame, &mut packet);
        at += 16 + captured;
        let payload = packet.payload(data);
        if outcome != Outcome::Packet || payload.is_empty() {
            continue;
        }
        // Where both ends use the port, the client has the lower address.
        let to_server = packet.dst_port == server_port
            && (packet.src_port != server_port || packet.src < packet.dst);
        let (ports, from) = match to_server {
            true => ((packet.src_port, packet.dst_port), Side::Client),
            false => ((packet.dst_port, packet.src_port), Side::Server),
        };
        found.push(Payload { ports, from, bytes: payload.to_vec(), now_us });
    }
    found
}

/// Events of all connections, one after the other, and the last verdict of each. A latency is
/// shown as `*`: it is another one each time the recording is made.
pub fn decode_streams<D: StreamDecoder>(
    name: &str,
    server_port: u16,
    new: impl Fn() -> D,
) -> (Vec<String>, Vec<Verdict>) {
    let payloads = payloads(name, server_port);
    let mut connections: Vec<(u16, u16)> = Vec::new();
    for payload in &payloads {
        if !connections.contains(&payload.ports) {
            connections.push(payload.ports);
        }
    }
    let (mut lines, mut verdicts) = (Vec::new(), Vec::new());
    for ports in connections {
        let (mut decoder, mut events, mut verdict) = (new(), Events::default(), Verdict::More);
        for payload in payloads.iter().filter(|payload| payload.ports == ports) {
            verdict = decoder.data(payload.from, &payload.bytes, payload.now_us, &mut events);
            if verdict != Verdict::More {
                break;
            }
        }
        decoder.facts(&mut events);
        lines.extend(lines_of(&events));
        verdicts.push(verdict);
    }
    (lines, verdicts)
}

pub fn lines_of(events: &Events) -> Vec<String> {
    let line = |event: decode::app::EventView<'_>| {
        let line = super::transcript::line(&event);
        match event.latency_us {
            Some(latency_us) => {
                assert!(latency_us < 10_000_000, "{line}");
                line.replacen(&format!("< {latency_us}"), "< *", 1)
            }
            None => line,
        }
    };
    events.iter().map(line).collect()
}

/// What tshark reads from a field in all packets, one value a line; nothing without tshark.
pub fn tshark(name: &str, filter: &str, field: &str) -> Option<Vec<String>> {
    let arguments = ["-r", &path(name), "-Y", filter, "-T", "fields", "-E", "aggregator=\u{1}"];
    let output = Command::new("tshark").args(arguments).args(["-e", field]).output();
    let Ok(output) = output else {
        eprintln!("no tshark: no second opinion on {name}");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let values =
        text.lines().flat_map(|line| line.split('\u{1}')).filter(|value| !value.is_empty());
    Some(values.map(str::to_owned).collect())
}

/// The values of an attribute in lines that begin so; its value has no space.
pub fn values(lines: &[String], begin: &str, name: &str) -> Vec<String> {
    let name = format!(" {name}=");
    let lines = lines.iter().filter(|line| line.starts_with(begin));
    let value = |line: &String| {
        let (_, rest) = line.split_once(&name)?;
        Some(rest.split(' ').next().unwrap_or_default().to_owned())
    };
    lines.filter_map(value).collect()
}
