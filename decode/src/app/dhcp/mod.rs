//! DHCP for IPv4 (RFC 2131 and 2132, spec 13.4).
//!
//! Each message gives one event: a request when its op is 1, a response otherwise. A response has
//! the time since the latest request with the same client hardware address and transaction id,
//! wherever either was sent; several servers may answer one request, and each answer has it.
//! Server name and boot file are passed over, options that overflow into them too. Options end at
//! the end option, or before the first that breaks out of the message.

use std::net::Ipv4Addr;

use super::text::TextBuf;
use super::{App, Datagram, Events, Field, Guess, Kind, Pair, Pending, Verdict};

/// Ports of server and client.
pub const PORTS: [u16; 2] = [67, 68];

/// Keeps transaction ids of DHCP apart from numbers of other protocols in [`Pending`].
const SALT: u64 = 0x6468_6370;
/// Fixed part: header, hardware address, server name, boot file.
const FIXED_BYTES: usize = 236;
const MAGIC: [u8; 4] = [0x63, 0x82, 0x53, 0x63];
const OP_REQUEST: u8 = 1;

/// Decodes one datagram.
pub fn datagram(datagram: &Datagram<'_>, pending: &mut Pending, events: &mut Events) -> Verdict {
    let Some(message) = Message::parse(datagram.payload) else { return Verdict::Wrong };
    message.report(message.share(datagram.now_us, pending), events);
    Verdict::More
}

/// Whether a datagram on any port is DHCP: the magic number where it belongs, and a known op and
/// message type.
#[must_use]
pub fn guess(payload: &[u8]) -> Guess {
    let Some(message) = Message::parse(payload) else { return Guess::No };
    let is_known = matches!(message.op, 1 | 2) && message.hardware_len <= 16;
    if is_known && word(message.options.message_type).is_some() { Guess::Yes } else { Guess::No }
}

struct Message<'a> {
    op: u8,
    hardware_len: u8,
    transaction: u32,
    client: Ipv4Addr,
    your: Ipv4Addr,
    server: Ipv4Addr,
    hardware: [u8; 16],
    options: Options<'a>,
}

impl<'a> Message<'a> {
    /// `None` without the whole fixed part and the magic number behind it.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (fixed, rest) = bytes.split_first_chunk::<FIXED_BYTES>()?;
        let options = rest.strip_prefix(&MAGIC)?;
        let word = |at: usize| [fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]];
        let hardware_len = fixed[2];
        // What stands behind the address may differ between request and reply.
        let mut hardware = [0; 16];
        let used = usize::from(hardware_len).min(hardware.len());
        hardware[..used].copy_from_slice(&fixed[28..28 + used]);
        Some(Self {
            op: fixed[0],
            hardware_len,
            transaction: u32::from_be_bytes(word(4)),
            client: word(12).into(),
            your: word(16).into(),
            server: word(20).into(),
            hardware,
            options: Options::parse(options),
        })
    }

    /// Notes a question or looks for that of an answer: the latency, or what may lead to it.
    fn share(&self, now_us: u64, pending: &mut Pending) -> Result<u64, Pair> {
        let hardware = u128::from_be_bytes(self.hardware);
        let client = Pending::key((hardware >> 64) as u64, SALT, hardware as u64);
        let key = Pending::key(client, SALT, self.transaction.into());
        let pair = Pair { key, at_us: now_us };
        if self.op == OP_REQUEST {
            pending.ask(key, now_us);
            return Err(pair);
        }
        pending.one_answer(key, now_us).ok_or(pair)
    }

    fn report(&self, latency_us: Result<u64, Pair>, events: &mut Events) {
        let kind = if self.op == OP_REQUEST { Kind::Request } else { Kind::Response };
        let mut draft = events.begin(App::Dhcp, kind);
        match latency_us {
            Ok(latency_us) => draft.latency_us(latency_us),
            Err(pair) => draft.pair(pair),
        };
        if let Some(word) = word(self.options.message_type) {
            draft.text(Field::DhcpOperation, word.as_bytes());
        }
        draft.number(Field::DhcpOp, self.op.into());
        draft.number(Field::DhcpMessageType, self.options.message_type.into());
        let mut text = TextBuf::new();
        if self.hardware_len == 6 {
            push_mac(&self.hardware, &mut text);
        }
        draft.text(Field::DhcpClientMac, text.as_bytes());
        if let Some(host_name) = self.options.host_name {
            draft.text(Field::DhcpHostName, host_name);
        }
        if let Some(domain) = self.options.domain {
            draft.text(Field::DhcpDomain, domain);
        }
        if let Some(lease_s) = self.options.lease_s {
            draft.number(Field::DhcpLease, lease_s.into());
        }
        draft.address(Field::DhcpClientAddress, self.client.into());
        draft.address(Field::DhcpYourAddress, self.your.into());
        draft.address(Field::DhcpServerAddress, self.server.into());
    }
}

fn push_mac(hardware: &[u8; 16], text: &mut TextBuf) {
    for (number, &byte) in hardware.iter().take(6).enumerate() {
        if number > 0 {
            text.push_byte(b':');
        }
        text.push_hex(byte);
    }
}

/// The options that are reported; of one that is repeated the first.
#[derive(Default)]
struct Options<'a> {
    /// 0 when absent.
    message_type: u8,
    host_name: Option<&'a [u8]>,
    domain: Option<&'a [u8]>,
    lease_s: Option<u32>,
}

impl<'a> Options<'a> {
    fn parse(mut bytes: &'a [u8]) -> Self {
        const PAD: u8 = 0;
        const END: u8 = 255;
        let mut options = Self::default();
        while let Some((&code, rest)) = bytes.split_first() {
            if code == PAD {
                bytes = rest;
                continue;
            }
            if code == END {
                break;
            }
            let Some((&length, rest)) = rest.split_first() else { break };
            let Some((value, rest)) = rest.split_at_checked(length.into()) else { break };
            options.take(code, value);
            bytes = rest;
        }
        options
    }

    fn take(&mut self, code: u8, value: &'a [u8]) {
        match (code, value) {
            (53, &[number]) if self.message_type == 0 => self.message_type = number,
            (12, _) => self.host_name = self.host_name.or(Some(value)),
            (15, _) => self.domain = self.domain.or(Some(value)),
            (51, &[a, b, c, d]) => {
                self.lease_s = self.lease_s.or(Some(u32::from_be_bytes([a, b, c, d])));
            }
            _ => {}
        }
    }
}

/// Message types of RFC 2132, 3203, 4388, 6926 and 7724; BOOTP has none.
fn word(message_type: u8) -> Option<&'static str> {
    const WORDS: [&str; 19] = [
        "BOOTP",
        "DISCOVER",
        "OFFER",
        "REQUEST",
        "DECLINE",
        "ACK",
        "NAK",
        "RELEASE",
        "INFORM",
        "FORCERENEW",
        "LEASEQUERY",
        "LEASEUNASSIGNED",
        "LEASEUNKNOWN",
        "LEASEACTIVE",
        "BULKLEASEQUERY",
        "LEASEQUERYDONE",
        "ACTIVELEASEQUERY",
        "LEASEQUERYSTATUS",
        "TLS",
    ];
    WORDS.get(usize::from(message_type)).copied()
}
