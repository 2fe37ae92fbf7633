//! Capture files through the parser into conversations, as a flow table would do it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use decode::app::stream::{SYN, Segment};
use decode::app::{
    App, Budget, Classify, EventView, Events, Field, Interest, Kind, Peer, Ports, TcpConversation,
    Value,
};
use decode::{Frame, Link, Outcome, Packet, parse};

/// Frames of a classic capture file.
pub struct Capture {
    link: Link,
    /// Packet time in µs, captured bytes, wire length.
    pub frames: Vec<(u64, Vec<u8>, u32)>,
}

/// A recording that is kept in the repository.
pub fn recording(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings").join(name)
}

/// A shared capture (`KPROBE_PCAPS` names their folder); says so where there is none.
pub fn shared(name: &str) -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/pcaps");
    let folder = std::env::var_os("KPROBE_PCAPS").map_or_else(|| default.into(), PathBuf::from);
    let path = folder.join(name);
    if !path.exists() {
        eprintln!("skipped: no {}", path.display());
        return None;
    }
    Some(path)
}

/// Lines of fields joined by `|`; nothing where tshark is not installed.
pub fn tshark(path: &Path, options: &[&str], fields: &[&str]) -> Option<Vec<String>> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(path).args(["-T", "fields", "-E", "separator=|"]).args(options);
    for field in fields {
        command.args(["-e", field]);
    }
    let Ok(output) = command.output() else {
        eprintln!("skipped: no tshark");
        return None;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.lines().map(str::to_owned).collect())
}

impl Capture {
    /// Reads a little-endian file, classic with times in µs or pcapng with its usual resolution.
    pub fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let (mut link, mut frames) = (None, Vec::new());
        if word(0) == 0x0a0d_0d0a {
            let mut at = 0;
            while at < bytes.len() {
                match word(at) {
                    1 => link = Link::from_linktype(word(at + 8) & 0xffff),
                    6 => {
                        let captured = word(at + 20) as usize;
                        let time_us = u64::from(word(at + 12)) << 32 | u64::from(word(at + 16));
                        let data = bytes[at + 28..at + 28 + captured].to_vec();
                        frames.push((time_us, data, word(at + 24)));
                    }
                    _ => {}
                }
                at += word(at + 4) as usize;
            }
            return Self { link: link.unwrap(), frames };
        }
        assert_eq!(word(0), 0xa1b2_c3d4);
        let mut at = 24;
        while at < bytes.len() {
            let captured = word(at + 8) as usize;
            let time_us = u64::from(word(at)) * 1_000_000 + u64::from(word(at + 4));
            frames.push((time_us, bytes[at + 16..at + 16 + captured].to_vec(), word(at + 12)));
            at += 16 + captured;
        }
        Self { link: Link::from_linktype(word(20)).unwrap(), frames }
    }

    /// What is decoded of each connection, in the order in which they began.
    pub fn connections(&self) -> Vec<Connection> {
        let mut budget = Budget::new(1 << 20);
        let mut order = Vec::new();
        let mut connections: BTreeMap<[(Vec<u8>, u16); 2], Connection> = BTreeMap::new();
        for (time_us, data, wire_len) in &self.frames {
            let mut packet = Packet::default();
            let frame = Frame { data, wire_len: *wire_len, ..Frame::default() };
            if parse(self.link, &frame, &mut packet) != Outcome::Packet || packet.protocol != 6 {
                continue;
            }
            let src = (packet.src.to_vec(), packet.src_port);
            let dst = (packet.dst.to_vec(), packet.dst_port);
            let from = if src < dst { Peer::A } else { Peer::B };
            let key = if src < dst { [src, dst] } else { [dst, src] };
            let connection = connections.entry(key.clone()).or_insert_with(|| {
                order.push(key);
                Connection { ports: [packet.src_port, packet.dst_port], ..Connection::default() }
            });
            connection.packet(&packet, data, from, *time_us, &mut budget);
        }
        assert_eq!(
            budget.used(),
            connections.values().map(Connection::heap_bytes).sum::<usize>(),
            "each byte is accounted for"
        );
        order.iter().map(|key| connections.remove(key).unwrap()).collect()
    }
}

/// One connection of a capture.
#[derive(Default)]
pub struct Connection {
    /// Of the first packet: source and destination.
    pub ports: [u16; 2],
    pub conversation: Option<TcpConversation>,
    pub interest: Option<Interest>,
    pub events: Events,
}

impl Connection {
    fn packet(
        &mut self,
        packet: &Packet,
        data: &[u8],
        from: Peer,
        now_us: u64,
        budget: &mut Budget,
    ) {
        let segment = Segment {
            seq: packet.tcp_seq,
            ack: packet.tcp_ack,
            flags: packet.tcp_flags,
            payload: packet.payload(data),
            payload_len: packet.payload_len,
        };
        if segment.payload_len == 0 && segment.flags & 0b111 == 0 {
            return;
        }
        if self.interest == Some(Interest::Nothing) && segment.flags & SYN != 0 {
            (self.conversation, self.interest) = (None, None);
        }
        if self.interest == Some(Interest::Nothing) {
            return;
        }
        if self.conversation.is_none() {
            let (table, ports) = (Ports::default(), self.ports);
            self.conversation =
                TcpConversation::begin(&table, Classify::Content, ports, from, &segment);
        }
        if let Some(conversation) = &mut self.conversation {
            let interest = conversation.segment(from, &segment, now_us, budget, &mut self.events);
            self.interest = Some(interest);
        }
    }

    fn heap_bytes(&self) -> usize {
        self.conversation.as_ref().map_or(0, TcpConversation::heap_bytes)
    }

    pub fn app(&self) -> Option<App> {
        self.conversation.as_ref().and_then(TcpConversation::app)
    }

    /// The facts, each as text.
    pub fn facts(&self) -> BTreeMap<Field, String> {
        let mut events = Events::default();
        if let Some(conversation) = &self.conversation {
            conversation.facts(&mut events);
        }
        assert!(events.iter().all(|event| event.kind == Kind::Facts) && events.len() <= 1);
        events.iter().flat_map(|event| fields(&event)).collect()
    }
}

/// All attributes as text.
pub fn fields(event: &EventView<'_>) -> BTreeMap<Field, String> {
    let fields = event.attributes().map(|(field, value)| match value {
        Value::Text(text) => (field, text.to_owned()),
        Value::Number(number) => (field, number.to_string()),
        Value::Address(address) => (field, address.to_string()),
    });
    fields.collect()
}
