//! Plays a capture to the decoders, as a reader would, and writes what they say as lines.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use decode::app::datagram::{UdpPorts, UdpState, datagram};
use decode::app::dns::Stream;
use decode::app::{
    Budget, Datagram, EventView, Events, Kind, Pending, Side, StreamDecoder, Value, Verdict,
};
use decode::fragments::Reassembler;
use decode::{Frame, Link, Outcome, Packet, parse};

/// Frames of a capture, with their time in µs.
pub struct Capture {
    link: Link,
    pub frames: Vec<(u64, Vec<u8>)>,
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

impl Capture {
    /// A little-endian pcap, or pcapng of one interface, with times in µs.
    pub fn read(path: &Path) -> Option<Self> {
        let Ok(bytes) = std::fs::read(path) else {
            eprintln!("skipped: no {}", path.display());
            return None;
        };
        Some(if word(&bytes, 0) == 0x0a0d_0d0a { Self::pcapng(&bytes) } else { Self::pcap(&bytes) })
    }

    fn pcap(bytes: &[u8]) -> Self {
        assert_eq!(word(bytes, 0), 0xa1b2_c3d4);
        let mut frames = Vec::new();
        let mut at = 24;
        while at < bytes.len() {
            let captured = word(bytes, at + 8) as usize;
            let time = u64::from(word(bytes, at)) * 1_000_000 + u64::from(word(bytes, at + 4));
            frames.push((time, bytes[at + 16..at + 16 + captured].to_vec()));
            at += 16 + captured;
        }
        Self { link: Link::from_linktype(word(bytes, 20)).unwrap(), frames }
    }

    fn pcapng(bytes: &[u8]) -> Self {
        let (mut link, mut frames) = (None, Vec::new());
        let mut at = 0;
        while at < bytes.len() {
            match word(bytes, at) {
                1 => link = Link::from_linktype(word(bytes, at + 8) & 0xffff),
                6 => {
                    let captured = word(bytes, at + 20) as usize;
                    let time =
                        u64::from(word(bytes, at + 12)) << 32 | u64::from(word(bytes, at + 16));
                    frames.push((time, bytes[at + 28..at + 28 + captured].to_vec()));
                }
                _ => {}
            }
            at += word(bytes, at + 4) as usize;
        }
        Self { link: link.unwrap(), frames }
    }

    /// The lines of all events, each with the number of the frame that caused it.
    pub fn play(&self, ports: &UdpPorts) -> Vec<String> {
        let mut player = Player::new(ports.clone());
        let mut reassembler = Reassembler::new();
        for (number, (now_us, data)) in self.frames.iter().enumerate() {
            let frame = Frame { data, wire_len: data.len() as u32, ..Frame::default() };
            let mut packet = Packet::default();
            match parse(self.link, &frame, &mut packet) {
                Outcome::Packet => {
                    player.packet(number + 1, *now_us, &packet, packet.payload(data));
                }
                Outcome::Fragment(fragment) => {
                    let part = packet.payload(data);
                    let whole =
                        reassembler.push(now_us * 1_000, &packet, &fragment, part, &mut |_| {});
                    if let Some(whole) = whole {
                        let payload = whole.packet.payload(whole.bytes);
                        player.packet(number + 1, *now_us, &whole.packet, payload);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        player.lines
    }
}

/// Addresses and ports, the smaller end first.
type Conversation = [([u8; 16], u16); 2];

struct Player {
    ports: UdpPorts,
    udp: HashMap<Conversation, UdpState>,
    /// The client's end, and the decoder. Segments of the captures here are in order.
    tcp: HashMap<Conversation, (([u8; 16], u16), Stream)>,
    pending: Pending,
    events: Events,
    lines: Vec<String>,
}

impl Player {
    fn new(ports: UdpPorts) -> Self {
        Self {
            ports,
            udp: HashMap::new(),
            tcp: HashMap::new(),
            pending: Pending::new(1024),
            events: Events::default(),
            lines: Vec::new(),
        }
    }

    fn packet(&mut self, number: usize, now_us: u64, packet: &Packet, payload: &[u8]) {
        let (src, dst) = ((packet.src, packet.src_port), (packet.dst, packet.dst_port));
        let mut conversation = [src, dst];
        conversation.sort_unstable();
        match packet.protocol {
            17 => {
                let mut hasher = DefaultHasher::new();
                conversation.hash(&mut hasher);
                let input = Datagram {
                    payload,
                    src_port: packet.src_port,
                    dst_port: packet.dst_port,
                    conversation: hasher.finish(),
                    now_us,
                };
                let state = self.udp.entry(conversation).or_default();
                let budget = &mut Budget::new(1 << 20);
                datagram(state, &input, &self.ports, &mut self.pending, budget, &mut self.events);
            }
            6 if !payload.is_empty() => {
                let new = || (src, Stream::new());
                let (client, stream) = self.tcp.entry(conversation).or_insert_with(new);
                let from = if src == *client { Side::Client } else { Side::Server };
                let _ = stream.data(from, payload, now_us, &mut self.events);
            }
            _ => {}
        }
        for event in self.events.iter() {
            self.lines.push(format!("{number} {}", line(&event)));
        }
        self.events.clear();
    }
}

/// App, kind and latency, then each attribute.
pub fn line(event: &EventView<'_>) -> String {
    let mut line = format!("{} {:?}", event.app.name(), event.kind);
    assert!(event.latency_us.is_none() || event.kind == Kind::Response);
    if let Some(latency_us) = event.latency_us {
        write!(line, " {latency_us}us").unwrap();
    }
    for (field, value) in event.attributes() {
        assert_eq!(field.info().app, event.app);
        write!(line, " {}=", field.info().name).unwrap();
        match value {
            Value::Text(text) => write!(line, "{text}"),
            Value::Number(number) => write!(line, "{number}"),
            Value::Address(address) => write!(line, "{address}"),
        }
        .unwrap();
    }
    line
}

/// Datagrams made by hand, given to a decoder one after the other.
pub struct Sender {
    pub pending: Pending,
    pub events: Events,
    pub verdict: Option<Verdict>,
}

impl Sender {
    pub fn new() -> Self {
        Self { pending: Pending::new(64), events: Events::default(), verdict: None }
    }

    /// The lines of a datagram at `now_us` between two ports of one conversation.
    pub fn send(
        &mut self,
        ports: [u16; 2],
        now_us: u64,
        payload: &[u8],
        decode: impl Fn(&Datagram<'_>, &mut Pending, &mut Events) -> Verdict,
    ) -> Vec<String> {
        let [src_port, dst_port] = ports;
        let datagram = Datagram { payload, src_port, dst_port, conversation: 0x5eed, now_us };
        self.events.clear();
        self.verdict = Some(decode(&datagram, &mut self.pending, &mut self.events));
        self.events.iter().map(|event| line(&event)).collect()
    }
}
