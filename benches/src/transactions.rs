//! Whole little conversations with content: DNS, HTTP and TLS, many open at a time.
//!
//! DNS is a query and its answer; HTTP and TLS are a handshake, one message of each side and the
//! close. Each transaction has a five-tuple of its own until client ports and addresses come
//! round after 2²⁴ of them. Nothing is lost or sent twice; memory is bounded by [`OPEN`].

use etherparse::{PacketBuilder, TcpHeader};

/// Transactions that are open at a time, their packets mixed.
pub const OPEN: usize = 512;

const CLIENT_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0c];
const SERVER_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x05];
const TTL: u8 = 64;
const WINDOW: u16 = 64_240;
/// Bytes of the body of an HTTP answer; with its headers it fits one segment.
const BODY_BYTES: usize = 900;

/// What has been generated so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames, each one packet.
    pub packets: u64,
    /// Transactions that were begun.
    pub transactions: u64,
}

/// An endless source of frames.
pub struct Transactions {
    rng: fastrand::Rng,
    /// Frames still to come of each open transaction, the next one last.
    open: Vec<Vec<Vec<u8>>>,
    counts: Counts,
}

impl Transactions {
    /// The same seed gives the same frames.
    pub fn new(seed: u64) -> Transactions {
        let rng = fastrand::Rng::with_seed(seed);
        Transactions { rng, open: vec![Vec::new(); OPEN], counts: Counts::default() }
    }

    /// The next frame.
    pub fn next_frame(&mut self) -> Vec<u8> {
        let slot = self.rng.usize(0..OPEN);
        self.counts.packets += 1;
        if let Some(frame) = self.open[slot].pop() {
            return frame;
        }
        let number = self.counts.transactions as u32;
        self.counts.transactions += 1;
        // Half DNS, as before most connections there is a question; the rest in equal parts.
        let mut frames = match number % 4 {
            0 | 1 => dns(number),
            2 => tcp(number, 80, &http_request(number), &http_answer()),
            _ => tcp(number, 443, &client_hello(number), &server_hello(number)),
        };
        let first = frames.remove(0);
        frames.reverse();
        self.open[slot] = frames;
        first
    }

    /// What has been generated so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

/// Addresses and ports of one transaction.
struct Ends {
    client: [u8; 4],
    server: [u8; 4],
    client_port: u16,
    server_port: u16,
}

impl Ends {
    fn new(number: u32, server_port: u16) -> Ends {
        let [_, a, b, c] = number.wrapping_mul(0x9e37_79b1).to_be_bytes();
        let client_port = 32_768 + (number % 28_000) as u16;
        Ends { client: [10, a, b, c], server: [172, 16, 0, a], client_port, server_port }
    }

    fn udp(&self, from_client: bool, payload: &[u8]) -> Vec<u8> {
        let step = if from_client {
            PacketBuilder::ethernet2(CLIENT_MAC, SERVER_MAC)
                .ipv4(self.client, self.server, TTL)
                .udp(self.client_port, self.server_port)
        } else {
            PacketBuilder::ethernet2(SERVER_MAC, CLIENT_MAC)
                .ipv4(self.server, self.client, TTL)
                .udp(self.server_port, self.client_port)
        };
        let mut frame = Vec::with_capacity(step.size(payload.len()));
        step.write_to_vec(&mut frame, payload).expect("a short datagram has valid lengths");
        pad(frame)
    }

    fn tcp(&self, from_client: bool, mut header: TcpHeader, payload: &[u8]) -> Vec<u8> {
        let ports = (self.client_port, self.server_port);
        let step = if from_client {
            (header.source_port, header.destination_port) = ports;
            PacketBuilder::ethernet2(CLIENT_MAC, SERVER_MAC).ipv4(self.client, self.server, TTL)
        } else {
            (header.destination_port, header.source_port) = ports;
            PacketBuilder::ethernet2(SERVER_MAC, CLIENT_MAC).ipv4(self.server, self.client, TTL)
        };
        let step = step.tcp_header(header);
        let mut frame = Vec::with_capacity(step.size(payload.len()));
        step.write_to_vec(&mut frame, payload).expect("a short segment has valid lengths");
        pad(frame)
    }
}

/// Ethernet pads to 60 bytes without FCS.
fn pad(mut frame: Vec<u8>) -> Vec<u8> {
    frame.resize(frame.len().max(60), 0);
    frame
}

fn dns(number: u32) -> Vec<Vec<u8>> {
    let ends = Ends::new(number, 53);
    let mut question = (number as u16).to_be_bytes().to_vec();
    // RFC 1035 4.1.1: recursion desired, one question.
    question.extend_from_slice(&[0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in host(number).split('.') {
        question.push(label.len() as u8);
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(&[0, 0, 1, 0, 1]);
    let mut answer = question.clone();
    (answer[2], answer[3], answer[7]) = (0x81, 0x80, 1);
    // The name by pointer, A, IN, 300 s, 4 bytes.
    answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4]);
    answer.extend_from_slice(&ends.server);
    vec![ends.udp(true, &question), ends.udp(false, &answer)]
}

/// A connection from SYN to the last ACK with one message of each side.
fn tcp(number: u32, port: u16, request: &[u8], answer: &[u8]) -> Vec<Vec<u8>> {
    let ends = Ends::new(number, port);
    let mut next = [number.wrapping_mul(0x85eb_ca6b), number.wrapping_mul(0xc2b2_ae35)];
    let mut frames = Vec::with_capacity(9);
    let mut segment = |from_client: bool, (syn, ack, fin): (bool, bool, bool), data: &[u8]| {
        let (own, peer) = if from_client { (0, 1) } else { (1, 0) };
        let mut header = TcpHeader::new(0, 0, next[own], WINDOW);
        (header.syn, header.ack, header.fin, header.psh) = (syn, ack, fin, !data.is_empty());
        header.acknowledgment_number = if ack { next[peer] } else { 0 };
        frames.push(ends.tcp(from_client, header, data));
        next[own] = next[own].wrapping_add(data.len() as u32 + u32::from(syn) + u32::from(fin));
    };
    segment(true, (true, false, false), &[]);
    segment(false, (true, true, false), &[]);
    segment(true, (false, true, false), &[]);
    segment(true, (false, true, false), request);
    segment(false, (false, true, false), answer);
    segment(true, (false, true, true), &[]);
    segment(false, (false, true, true), &[]);
    segment(true, (false, true, false), &[]);
    frames
}

fn host(number: u32) -> String {
    format!("host{}.example.com", number % 5000)
}

fn http_request(number: u32) -> Vec<u8> {
    let host = host(number);
    format!("GET /item/{number} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: trafficgen\r\n\r\n").into()
}

fn http_answer() -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
    )
    .into_bytes();
    answer.resize(answer.len() + BODY_BYTES, b'x');
    answer
}

/// RFC 8446 4.1.2 with a server name (RFC 6066 3) and the versions offered.
fn client_hello(number: u32) -> Vec<u8> {
    let host = host(number);
    let name = [&[0][..], &sized(host.as_bytes())].concat();
    let server_name = [&[0, 0][..], &sized(&sized(&name))].concat();
    let versions = [0, 43, 0, 5, 4, 3, 4, 3, 3];
    // Three cipher suites, no compression.
    let offers = [0, 6, 0x13, 1, 0x13, 2, 0xc0, 0x2f, 1, 0];
    let extensions = sized(&[&server_name[..], &versions].concat());
    hello(1, number, &[&offers[..], &extensions].concat())
}

/// RFC 8446 4.1.3, TLS 1.3 chosen.
fn server_hello(number: u32) -> Vec<u8> {
    hello(2, number, &[0x13, 1, 0, 0, 6, 0, 43, 0, 2, 3, 4])
}

/// A handshake message in a record: version 1.2, a random that is none, no session id.
fn hello(kind: u8, number: u32, rest: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend_from_slice(&number.to_be_bytes().repeat(8));
    body.push(0);
    body.extend_from_slice(rest);
    let message = [&[kind, 0][..], &sized(&body)].concat();
    [&[22, 3, 1][..], &sized(&message)].concat()
}

/// Bytes behind their length in 16 bits.
fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

#[cfg(test)]
mod tests {
    use etherparse::{SlicedPacket, TransportSlice};

    use super::*;

    #[test]
    fn a_connection_is_whole_and_its_numbers_fit() {
        let frames = tcp(3, 443, b"abc", b"defgh");
        let mut seen = Vec::new();
        for frame in &frames {
            match SlicedPacket::from_ethernet(frame).unwrap().transport.unwrap() {
                TransportSlice::Tcp(tcp) => {
                    seen.push((tcp.syn(), tcp.fin(), tcp.sequence_number(), tcp.payload().len()));
                }
                other => panic!("{other:?}"),
            }
        }
        let (client, server) = (seen[0].2, seen[1].2);
        let expected = [
            (true, false, client, 0),
            (true, false, server, 0),
            (false, false, client.wrapping_add(1), 0),
            (false, false, client.wrapping_add(1), 3),
            (false, false, server.wrapping_add(1), 5),
            (false, true, client.wrapping_add(4), 0),
            (false, true, server.wrapping_add(6), 0),
            (false, false, client.wrapping_add(5), 0),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_client_hello_is_laid_out_as_the_rfc_says() {
        let hello = client_hello(7);
        // Record, handshake, version, random, session id, suites, compression.
        assert_eq!(&hello[..3], [22, 3, 1]);
        assert_eq!(usize::from(hello[3]) * 256 + usize::from(hello[4]), hello.len() - 5);
        assert_eq!(&hello[5..7], [1, 0]);
        assert_eq!(usize::from(hello[7]) * 256 + usize::from(hello[8]), hello.len() - 9);
        assert_eq!(&hello[44..54], [0, 6, 0x13, 1, 0x13, 2, 0xc0, 0x2f, 1, 0]);
        assert_eq!(&hello[56..65], [0, 0, 0, 22, 0, 20, 0, 0, 17]);
        assert_eq!(&hello[65..82], b"host7.example.com");
    }

    #[test]
    fn a_dns_answer_repeats_the_question_and_names_the_server() {
        let frames = dns(5);
        let payload = |frame: &[u8]| match SlicedPacket::from_ethernet(frame).unwrap().transport {
            Some(TransportSlice::Udp(udp)) => udp.payload().to_vec(),
            other => panic!("{other:?}"),
        };
        let (question, answer) = (payload(&frames[0]), payload(&frames[1]));
        assert_eq!(&question[..12], [0, 5, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&answer[..12], [0, 5, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert_eq!(&question[12..], &answer[12..question.len()]);
        assert_eq!(answer.len(), question.len() + 16);
    }

    #[test]
    fn a_stream_mixes_transactions_and_the_seed_decides_every_byte() {
        let stream = |seed| {
            let mut source = Transactions::new(seed);
            let frames: Vec<_> = (0..20_000).map(|_| source.next_frame()).collect();
            (frames, source.counts())
        };
        let (frames, counts) = stream(1);
        assert_eq!(counts.packets, 20_000);
        // Five packets a transaction on average, and up to 512 not complete.
        assert!((4000..4600).contains(&counts.transactions), "{counts:?}");
        assert_eq!(stream(1).0, frames);
        assert_ne!(stream(2).0, frames);
    }
}
