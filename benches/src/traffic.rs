//! Conversations with known truth, one frame at a time.
//!
//! Odd conversations are UDP, even ones TCP: handshake, then segments of both sides with sequence
//! numbers that move on. Checksums and lengths are right. Memory is 12 bytes a conversation, and
//! none when every packet is its own conversation. No retransmission, no loss, no FIN.

use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep, TcpHeader};

use crate::mix::{MAX_FRAME_BYTES, MIN_FRAME_BYTES, Profile, Size};

/// Most conversations of one plan: what fits the low 24 bits of the client address.
pub const MAX_CONVERSATIONS: u32 = 1 << 24;

const CLIENT_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0c];
const SERVER_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x05];
const CLIENT_NET_V4: u32 = 0x0a00_0000; // 10.0.0.0/8
const SERVER_NET_V4: u32 = 0xac10_0000; // 172.16.0.0/22
const CLIENT_NET_V6: u128 = 0xfd00_0010 << 96; // fd00:10::/104
const SERVER_NET_V6: u128 = 0xfd00_0172 << 96; // fd00:172::/118
const ETHERNET_BYTES: usize = 14;
const TTL: u8 = 64;
const TCP_WINDOW: u16 = 64_240;
// Ports without an application decoder behind them: the payload is noise.
const TCP_PORTS: [u16; 4] = [5201, 6881, 25_565, 27_015];
const UDP_PORTS: [u16; 4] = [3074, 5201, 27_015, 60_001];

/// What to generate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Number of conversations, 1 to [`MAX_CONVERSATIONS`]; not looked at when `unique`.
    pub conversations: u32,
    /// Every packet opens a conversation of its own, the flood that fills tables.
    pub unique: bool,
    /// Frame sizes.
    pub size: Size,
    /// How packets spread over conversations.
    pub profile: Profile,
    /// Share of conversations over IPv6, 0 to 100.
    pub ipv6_percent: u8,
    /// Same seed, same frames.
    pub seed: u64,
}

/// A plan that cannot be carried out.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlanError {
    /// No conversation, or more than the addresses tell apart.
    #[error("conversations must be 1 to {MAX_CONVERSATIONS}, not {0}")]
    Conversations(u32),
    /// More than all.
    #[error("ipv6-percent must be 0 to 100, not {0}")]
    Ipv6Percent(u8),
}

/// What has been generated so far, for comparison with what a probe counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// Frames, each one packet.
    pub packets: u64,
    /// IP bytes: link header and padding excluded.
    pub ip_bytes: u64,
    /// Bytes of the frames, padding included and FCS excluded.
    pub frame_bytes: u64,
    /// Conversations with at least one packet.
    pub conversations: u64,
    /// Directions with at least one packet: what a unidirectional exporter calls flows.
    pub directions: u64,
}

/// The five-tuple of one conversation, from the side that opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Number of the conversation, from which the rest follows.
    pub number: u32,
    /// Address number of the client, below 2²⁴ and different for each of 2²⁴ conversations.
    client_host: u32,
    server_host: u32,
    client_port: u16,
    server_port: u16,
    tcp: bool,
    ipv6: bool,
}

#[derive(Clone, Copy, Default)]
struct Progress {
    packets: u32,
    client_seq: u32,
    server_seq: u32,
}

/// An endless source of frames.
pub struct Generator {
    plan: Plan,
    rng: fastrand::Rng,
    progress: Vec<Progress>,
    payload: Vec<u8>,
    truth: Truth,
}

impl Generator {
    /// Checks the plan and reserves 12 bytes a conversation.
    ///
    /// # Errors
    /// A [`PlanError`] names the number that is out of range.
    pub fn new(plan: Plan) -> Result<Generator, PlanError> {
        if !plan.unique && !(1..=MAX_CONVERSATIONS).contains(&plan.conversations) {
            return Err(PlanError::Conversations(plan.conversations));
        }
        if plan.ipv6_percent > 100 {
            return Err(PlanError::Ipv6Percent(plan.ipv6_percent));
        }
        let mut rng = fastrand::Rng::with_seed(plan.seed);
        let mut payload = vec![0; usize::from(MAX_FRAME_BYTES)];
        rng.fill(&mut payload);
        let tracked = if plan.unique { 0 } else { plan.conversations as usize };
        Ok(Generator {
            plan,
            rng,
            progress: vec![Progress::default(); tracked],
            payload,
            truth: Truth::default(),
        })
    }

    /// Replaces `frame` by the next frame and returns its IP bytes.
    pub fn next_frame(&mut self, frame: &mut Vec<u8>) -> u32 {
        let size = usize::from(self.plan.size.draw(&mut self.rng));
        let (ends, mut progress) = if self.plan.unique {
            (self.endpoints(self.truth.packets as u32), Progress::default())
        } else {
            let number = self.plan.profile.draw(&mut self.rng, self.plan.conversations);
            (self.endpoints(number), self.progress[number as usize])
        };
        let from_client = match progress.packets {
            0 | 2 => true,
            1 => false,
            _ => self.rng.bool(),
        };
        frame.clear();
        if ends.tcp {
            ends.write_tcp(&mut progress, from_client, size, &self.payload, frame);
        } else {
            ends.write_udp(from_client, size, &self.payload, frame);
        }
        let ip_bytes = frame.len() - ETHERNET_BYTES;
        if frame.len() < usize::from(MIN_FRAME_BYTES) {
            frame.resize(usize::from(MIN_FRAME_BYTES), 0);
        }
        self.count(progress.packets, ip_bytes, frame.len());
        progress.packets = progress.packets.saturating_add(1);
        if let Some(slot) = self.progress.get_mut(ends.number as usize) {
            *slot = progress;
        }
        ip_bytes as u32
    }

    /// What has been generated so far.
    pub fn truth(&self) -> Truth {
        self.truth
    }

    /// The five-tuple of a conversation of this plan.
    pub fn endpoints(&self, number: u32) -> Endpoints {
        let mixed = mix(u64::from(number) ^ self.plan.seed.rotate_left(32));
        // An odd factor and a mask permute the 24-bit numbers, so addresses are spread and yet
        // no two conversations below 2^24 share one; above that the client port differs.
        let client_host =
            number.wrapping_mul(0x9e37_79b1).wrapping_add(self.plan.seed as u32) & 0x00ff_ffff;
        let client_port = 32_768 + ((number >> 24) << 6) as u16 + (mixed & 63) as u16;
        let tcp = number.is_multiple_of(2);
        let ports = if tcp { TCP_PORTS } else { UDP_PORTS };
        Endpoints {
            number,
            client_host,
            server_host: (mixed >> 8) as u32 & 0x3ff,
            client_port,
            server_port: ports[(mixed >> 20) as usize % ports.len()],
            tcp,
            ipv6: (mixed >> 32) % 100 < u64::from(self.plan.ipv6_percent),
        }
    }

    fn count(&mut self, packets_before: u32, ip_bytes: usize, frame_bytes: usize) {
        self.truth.packets += 1;
        self.truth.ip_bytes += ip_bytes as u64;
        self.truth.frame_bytes += frame_bytes as u64;
        match packets_before {
            0 => {
                self.truth.conversations += 1;
                self.truth.directions += 1;
            }
            1 => self.truth.directions += 1,
            _ => {}
        }
    }
}

impl Endpoints {
    fn write_udp(&self, from_client: bool, size: usize, payload: &[u8], frame: &mut Vec<u8>) {
        let (src_port, dst_port) = self.ports(from_client);
        let step = self.ip(from_client).udp(src_port, dst_port);
        let headers = step.size(0);
        step.write_to_vec(frame, &payload[..size.saturating_sub(headers)])
            .expect("a UDP datagram below 9 kB has valid lengths");
    }

    fn write_tcp(
        &self,
        progress: &mut Progress,
        from_client: bool,
        size: usize,
        payload: &[u8],
        frame: &mut Vec<u8>,
    ) {
        let (src_port, dst_port) = self.ports(from_client);
        if progress.packets == 0 {
            progress.client_seq = self.number.wrapping_mul(0x85eb_ca6b);
            progress.server_seq = self.number.wrapping_mul(0xc2b2_ae35);
        }
        let (seq, ack) = if from_client {
            (progress.client_seq, progress.server_seq)
        } else {
            (progress.server_seq, progress.client_seq)
        };
        let mut tcp = TcpHeader::new(src_port, dst_port, seq, TCP_WINDOW);
        tcp.syn = progress.packets < 2;
        tcp.ack = progress.packets > 0;
        tcp.acknowledgment_number = if tcp.ack { ack } else { 0 };
        let step = self.ip(from_client).tcp_header(tcp.clone());
        let headers = step.size(0);
        let data = match progress.packets {
            0..=2 => 0,
            _ => size.saturating_sub(headers),
        };
        tcp.psh = data > 0;
        self.ip(from_client)
            .tcp_header(tcp.clone())
            .write_to_vec(frame, &payload[..data])
            .expect("a TCP segment below 9 kB has valid lengths");
        let sent = data as u32 + u32::from(tcp.syn);
        let side = if from_client { &mut progress.client_seq } else { &mut progress.server_seq };
        *side = side.wrapping_add(sent);
    }

    fn ports(&self, from_client: bool) -> (u16, u16) {
        if from_client {
            (self.client_port, self.server_port)
        } else {
            (self.server_port, self.client_port)
        }
    }

    fn ip(&self, from_client: bool) -> PacketBuilderStep<IpHeaders> {
        let (src_mac, dst_mac) =
            if from_client { (CLIENT_MAC, SERVER_MAC) } else { (SERVER_MAC, CLIENT_MAC) };
        let step = PacketBuilder::ethernet2(src_mac, dst_mac);
        if self.ipv6 {
            let client = (CLIENT_NET_V6 | u128::from(self.client_host)).to_be_bytes();
            let server = (SERVER_NET_V6 | u128::from(self.server_host)).to_be_bytes();
            let (src, dst) = if from_client { (client, server) } else { (server, client) };
            step.ipv6(src, dst, TTL)
        } else {
            let client = (CLIENT_NET_V4 | self.client_host).to_be_bytes();
            let server = (SERVER_NET_V4 | self.server_host).to_be_bytes();
            let (src, dst) = if from_client { (client, server) } else { (server, client) };
            step.ipv4(src, dst, TTL)
        }
    }
}

/// Spreads the bits of a number (the finalizer of splitmix64).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    use super::*;

    fn plan() -> Plan {
        Plan {
            conversations: 50,
            unique: false,
            size: Size::Imix,
            profile: Profile::Uniform,
            ipv6_percent: 30,
            seed: 7,
        }
    }

    /// What a strict parser sees in one frame.
    struct Seen {
        tuple: (Vec<u8>, Vec<u8>, u16, u16, bool),
        ipv6: bool,
        ip_bytes: u64,
        tcp: Option<(u32, u32, bool, bool, u32)>,
    }

    fn parse(frame: &[u8]) -> Seen {
        let sliced = SlicedPacket::from_ethernet(frame).unwrap();
        let (src, dst, ipv6, ip_bytes) = match sliced.net.as_ref().unwrap() {
            NetSlice::Ipv4(ip) => {
                let header = ip.header().to_header();
                assert_eq!(header.header_checksum, header.calc_header_checksum());
                let bytes = u64::from(header.total_len);
                (header.source.to_vec(), header.destination.to_vec(), false, bytes)
            }
            NetSlice::Ipv6(ip) => {
                let header = ip.header().to_header();
                let bytes = u64::from(header.payload_length) + 40;
                (header.source.to_vec(), header.destination.to_vec(), true, bytes)
            }
            NetSlice::Arp(_) => panic!("ARP"),
        };
        let sum_v4 = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).unwrap();
        let sum_v6 = |bytes: &[u8]| <[u8; 16]>::try_from(bytes).unwrap();
        match sliced.transport.unwrap() {
            TransportSlice::Tcp(slice) => {
                let tcp = slice.to_header();
                let data = slice.payload();
                let checksum = if ipv6 {
                    tcp.calc_checksum_ipv6_raw(sum_v6(&src), sum_v6(&dst), data).unwrap()
                } else {
                    tcp.calc_checksum_ipv4_raw(sum_v4(&src), sum_v4(&dst), data).unwrap()
                };
                assert_eq!(tcp.checksum, checksum);
                let facts = (
                    tcp.sequence_number,
                    tcp.acknowledgment_number,
                    tcp.syn,
                    tcp.ack,
                    data.len() as u32,
                );
                let tuple = (src, dst, tcp.source_port, tcp.destination_port, true);
                Seen { tuple, ipv6, ip_bytes, tcp: Some(facts) }
            }
            TransportSlice::Udp(slice) => {
                let udp = slice.to_header();
                let data = slice.payload();
                let checksum = if ipv6 {
                    udp.calc_checksum_ipv6_raw(sum_v6(&src), sum_v6(&dst), data).unwrap()
                } else {
                    udp.calc_checksum_ipv4_raw(sum_v4(&src), sum_v4(&dst), data).unwrap()
                };
                assert_eq!(udp.checksum, checksum);
                let tuple = (src, dst, udp.source_port, udp.destination_port, false);
                Seen { tuple, ipv6, ip_bytes, tcp: None }
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_frame_parses_and_the_truth_adds_up() {
        let mut generator = Generator::new(plan()).unwrap();
        let mut frame = Vec::new();
        let (mut tcp, mut ipv6, mut ip_bytes, mut frame_bytes) = (0, 0, 0, 0);
        let mut directions = HashSet::new();
        for _ in 0..5000 {
            let reported = generator.next_frame(&mut frame);
            let seen = parse(&frame);
            assert_eq!(u64::from(reported), seen.ip_bytes);
            ip_bytes += seen.ip_bytes;
            frame_bytes += frame.len() as u64;
            tcp += u32::from(seen.tcp.is_some());
            ipv6 += u32::from(seen.ipv6);
            directions.insert(seen.tuple);
        }
        let truth = generator.truth();
        assert_eq!(truth.packets, 5000);
        assert_eq!(truth.ip_bytes, ip_bytes);
        assert_eq!(truth.frame_bytes, frame_bytes);
        assert_eq!(truth.conversations, 50);
        assert_eq!(truth.directions, 100);
        assert_eq!(directions.len(), 100);
        assert!((2300..2700).contains(&tcp), "{tcp} TCP packets");
        assert!((500..2500).contains(&ipv6), "{ipv6} IPv6 packets");
    }

    #[test]
    fn a_tcp_conversation_shakes_hands_and_its_sequence_numbers_move_on() {
        let one = Plan { conversations: 1, ipv6_percent: 0, ..plan() };
        let mut generator = Generator::new(one).unwrap();
        let mut frame = Vec::new();
        let mut next = || {
            generator.next_frame(&mut frame);
            let seen = parse(&frame);
            (seen.tuple.0[0] == 10, seen.tcp.unwrap())
        };
        let (from_client, (isn, ack, syn, acked, _)) = next();
        assert!(from_client && syn && !acked);
        assert_eq!(ack, 0);
        let (from_client, (server_isn, ack, syn, acked, _)) = next();
        assert!(!from_client && syn && acked);
        assert_eq!(ack, isn.wrapping_add(1));
        let (from_client, (seq, ack, syn, acked, data)) = next();
        assert!(from_client && !syn && acked);
        assert_eq!((seq, ack, data), (isn.wrapping_add(1), server_isn.wrapping_add(1), 0));
        let mut expected = [isn.wrapping_add(1), server_isn.wrapping_add(1)];
        for _ in 0..50 {
            let (from_client, (seq, ack, syn, _, data)) = next();
            let (own, peer) = if from_client { (0, 1) } else { (1, 0) };
            assert!(!syn);
            assert_eq!((seq, ack), (expected[own], expected[peer]));
            expected[own] = expected[own].wrapping_add(data);
        }
    }

    #[test]
    fn unique_packets_never_share_a_five_tuple() {
        let unique = Plan { unique: true, ipv6_percent: 0, ..plan() };
        let mut generator = Generator::new(unique).unwrap();
        let mut frame = Vec::new();
        let mut tuples = HashSet::new();
        for _ in 0..20_000 {
            generator.next_frame(&mut frame);
            assert!(tuples.insert(parse(&frame).tuple));
        }
        assert_eq!(generator.truth().conversations, 20_000);
        assert_eq!(generator.truth().directions, 20_000);
    }

    #[test]
    fn conversations_beyond_the_address_space_differ_by_port() {
        let generator = Generator::new(plan()).unwrap();
        let low = generator.endpoints(5);
        let high = generator.endpoints(5 + (1 << 24));
        assert_eq!(low.client_host, high.client_host);
        assert!((32_768..32_832).contains(&low.client_port));
        assert!((32_832..32_896).contains(&high.client_port));
    }

    #[test]
    fn the_seed_decides_every_byte() {
        let frames = |seed| {
            let mut generator = Generator::new(Plan { seed, ..plan() }).unwrap();
            let mut frame = Vec::new();
            let mut all = Vec::new();
            for _ in 0..200 {
                generator.next_frame(&mut frame);
                all.extend_from_slice(&frame);
            }
            all
        };
        assert_eq!(frames(1), frames(1));
        assert_ne!(frames(1), frames(2));
    }

    #[test]
    fn sizes_are_kept_down_to_the_headers() {
        let fixed = |size, ipv6_percent| Plan { size: Size::Fixed(size), ipv6_percent, ..plan() };
        let mut frame = Vec::new();
        let mut generator = Generator::new(fixed(60, 0)).unwrap();
        for _ in 0..1000 {
            generator.next_frame(&mut frame);
            assert_eq!(frame.len(), 60);
        }
        let mut generator = Generator::new(fixed(60, 100)).unwrap();
        for _ in 0..1000 {
            generator.next_frame(&mut frame);
            // IPv6: 14 + 40 + 8 of UDP, or 14 + 40 + 20 of TCP.
            assert!(frame.len() == 62 || frame.len() == 74, "{}", frame.len());
        }
    }

    #[test]
    fn plans_out_of_range_are_refused() {
        let none = Plan { conversations: 0, ..plan() };
        assert_eq!(Generator::new(none).err(), Some(PlanError::Conversations(0)));
        let many = Plan { conversations: MAX_CONVERSATIONS + 1, ..plan() };
        assert_eq!(Generator::new(many).err(), Some(PlanError::Conversations(16_777_217)));
        let share = Plan { ipv6_percent: 101, ..plan() };
        assert_eq!(Generator::new(share).err(), Some(PlanError::Ipv6Percent(101)));
    }
}
