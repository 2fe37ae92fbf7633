//! What `/v1/top` serves and the terminal shows: the state of a probe at one time.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The whole answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Version of the probe.
    pub version: String,
    /// Seconds since its start.
    pub uptime_s: u64,
    /// Interfaces or the file, each with its number of readers.
    pub sources: Vec<(String, usize)>,
    /// Capture rings of all readers together.
    pub ring: Ring,
    /// Records and what became of them.
    pub records: Records,
    /// All conversations of the last half minute together.
    pub traffic: Traffic,
    /// The heaviest of them by each measure, in no order.
    pub conversations: Vec<Conversation>,
}

/// Capture rings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ring {
    /// Packets that passed the filter, drops included; in replay, frames read.
    pub received: u64,
    /// Packets the kernel had no room for.
    pub dropped: u64,
    /// Times that a ring stood full.
    pub freezes: u64,
}

/// Records.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Records {
    /// Conversations in the flow tables.
    pub conversations: u64,
    /// Records handed to the exporter.
    pub sent: u64,
    /// Lost between readers and exporter.
    pub lost_channel: u64,
    /// Lost by outputs, whatever the reason.
    pub lost_outputs: u64,
    /// Left out by the flow limit.
    pub sampled_out: u64,
}

/// Sums over conversations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Of the conversations that are exported; times `sample_rate` estimates all.
    pub bits_per_s: f64,
    /// Likewise.
    pub packets_per_s: f64,
    /// How many there are.
    pub conversations: u64,
    /// Light ones that were forgotten for want of room, since the start.
    pub forgotten: u64,
    /// N of 1:N flow sampling.
    pub sample_rate: u32,
    /// One standard error of the estimated bits per second, percent; `None` when not sampled.
    pub error_percent: Option<f64>,
}

/// One conversation over its last 15 to 30 s.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    /// Who opened it, as far as known; else the end with the larger port.
    pub client: IpAddr,
    pub client_port: u16,
    pub server: IpAddr,
    pub server_port: u16,
    pub protocol: u8,
    pub vlan: u16,
    pub bits_per_s: f64,
    pub packets_per_s: f64,
    /// TCP segments sent again, both directions.
    pub retransmitted: u64,
    /// TCP, client to server and back as far as seen, µs.
    pub rtt_us: Option<u64>,
    /// Protocol, empty when unknown.
    pub app: String,
    /// What was asked last.
    pub operation: String,
    /// Host, name or target of it.
    pub name: String,
}

impl Conversation {
    /// What tells it from all others, to break ties.
    pub fn names(&self) -> (IpAddr, u16, IpAddr, u16, u8, u16) {
        let Self { client, client_port, server, server_port, protocol, vlan, .. } = *self;
        (client, client_port, server, server_port, protocol, vlan)
    }

    /// `tcp 10.0.0.1:5000 > 10.0.0.2:443`.
    pub fn title(&self) -> String {
        format!("{} {} > {}", self.protocol(), self.ends(true).0, self.ends(true).1)
    }

    /// Both ends, each with its port where there are ports; that of the client only if wanted.
    pub fn ends(&self, client_port: bool) -> (String, String) {
        let end = |address: IpAddr, port: u16, has_port: bool| match address {
            _ if !has_port => address.to_string(),
            IpAddr::V4(v4) => format!("{v4}:{port}"),
            IpAddr::V6(v6) => format!("[{v6}]:{port}"),
        };
        let ports = has_ports(self.protocol);
        (
            end(self.client, self.client_port, ports && client_port),
            end(self.server, self.server_port, ports),
        )
    }

    /// Name of the protocol, or `ip` and its number.
    pub fn protocol(&self) -> String {
        match self.protocol {
            1 => "icmp".to_owned(),
            6 => "tcp".to_owned(),
            17 => "udp".to_owned(),
            58 => "icmp6".to_owned(),
            132 => "sctp".to_owned(),
            number => format!("ip{number}"),
        }
    }

    /// `http GET example.org`.
    pub fn application(&self) -> String {
        let words = [&self.app, &self.operation, &self.name];
        let words: Vec<&str> =
            words.into_iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
        words.join(" ")
    }
}

/// Whether a protocol's ports are ports.
pub fn has_ports(protocol: u8) -> bool {
    matches!(protocol, 6 | 17 | 132)
}
