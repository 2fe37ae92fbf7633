//! IPFIX as collectors of others read it: `nfcapd` over UDP, `tshark` for what went over UDP and
//! TCP. Where a program is not installed, its test says so and passes.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod support;

use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use export::{IpfixConfig, Output, OutputSummary, Pace, channel, start};
use flowtable::{Direction, Record};
use support::{batch, record};

const LONG: Duration = Duration::from_secs(20);
const CONVERSATIONS: u64 = 200;
const TIME_NS: u64 = 1_767_323_045_000_000_000;

/// Both directions of conversations, bytes and packets told apart; each tenth is IPv6.
fn conversations(rate: u32) -> Vec<Record> {
    let mut all = Vec::new();
    for n in 0..CONVERSATIONS {
        let v4 = ([10, 0, 0, n as u8].into(), [192, 0, 2, 1].into());
        let (src, dst) = if n % 10 == 0 {
            (format!("2001:db8::{n:x}").parse().unwrap(), "2001:db8:1::1".parse().unwrap())
        } else {
            v4
        };
        let forth = Record {
            time_ns: TIME_NS,
            src,
            dst,
            src_port: 10_000 + n as u16,
            dst_port: 443,
            protocol: 6,
            tcp_flags: 0x1b,
            direction: Direction::Out,
            packets: 3,
            bytes: 1000 + n,
            sample_rate: rate,
            connection_id: n as u32 + 1,
            ..record(n)
        };
        let back = Record {
            src: forth.dst,
            dst: forth.src,
            src_port: 443,
            dst_port: forth.src_port,
            direction: Direction::In,
            packets: 5,
            bytes: 50_000 + n,
            ..forth.clone()
        };
        all.extend([forth, back]);
    }
    all
}

/// Sends the records and gives the end's summary.
fn export(url: &str, records: &[Record]) -> OutputSummary {
    let config = IpfixConfig::parse(url).expect("a URL");
    let (mut feeds, intake) = channel(1, 64, Pace::Replay);
    let exporter = start(vec![Output::Ipfix(config)], intake).expect("starts");
    // A conversation's halves may come in two messages.
    for part in records.chunks(33) {
        feeds[0].send(&mut batch(part.to_vec()));
    }
    drop(feeds);
    let summary = exporter.finish(LONG).outputs.remove(0);
    assert!(summary.is_balanced(), "{summary:?}");
    summary
}

fn is_installed(program: &str) -> bool {
    // Nothing is captured: the version is printed.
    let version = if program == "tshark" { "--version" } else { "-V" };
    let found =
        Command::new(program).arg(version).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_err() {
        eprintln!("skipped: {program} is not installed");
    }
    found.is_ok()
}

#[test]
fn nfcapd_takes_every_conversation_with_both_directions() {
    if !is_installed("nfcapd") || !is_installed("nfdump") {
        return;
    }
    for rate in [1, 256] {
        let dir = tempfile::tempdir().unwrap();
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut collector = Command::new("nfcapd")
            .args(["-b", "127.0.0.1", "-p", &port.to_string(), "-t", "3600", "-w"])
            .arg(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nfcapd");
        wait_for_port(port);
        let summary = export(&format!("ipfix://127.0.0.1:{port}"), &conversations(rate));
        assert_eq!((summary.accepted, summary.lost_total()), (2 * CONVERSATIONS, 0));
        std::thread::sleep(Duration::from_millis(500));
        let id = collector.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        collector.wait().unwrap();
        let flows = nfdump(dir.path());
        assert_eq!(flows.len() as u64, CONVERSATIONS, "rate {rate}");
        let sum = |column| flows.iter().map(|flow: &Vec<u64>| flow[column]).sum::<u64>();
        // Version 1.7.1 reads the sampling options and does not scale, others do.
        let scale = if sum(2) == 600 { 1 } else { u64::from(rate) };
        // Σ 1000 + n and Σ 50,000 + n for n below 200.
        assert_eq!((sum(1), sum(2)), (219_900 * scale, 600 * scale), "rate {rate}");
        assert_eq!((sum(3), sum(4)), (10_019_900 * scale, 1000 * scale), "rate {rate}");
        assert_eq!(sum(0), (0..200).map(|n| 10_000 + n).sum::<u64>());
    }
}

/// Until the kernel lists somebody who listens there.
fn wait_for_port(port: u16) {
    let began = Instant::now();
    let place = format!("0100007F:{port:04X}");
    while !std::fs::read_to_string("/proc/net/udp").unwrap().contains(&place) {
        assert!(began.elapsed() < LONG, "nfcapd does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Source port, bytes and packets forth, bytes and packets back of each flow.
fn nfdump(dir: &Path) -> Vec<Vec<u64>> {
    let output = Command::new("nfdump")
        .args(["-q", "-N", "-o", "fmt:%sp %ibyt %ipkt %obyt %opkt", "-R"])
        .arg(dir)
        .output()
        .expect("nfdump");
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            let numbers = line.split_whitespace().map(str::parse);
            numbers.collect::<Result<_, _>>().unwrap_or_else(|_| panic!("nfdump says: {text}"))
        })
        .collect()
}

/// IPFIX messages as datagrams in a capture file (raw IPv4).
fn capture(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0];
    file.extend([0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 101, 0, 0, 0]);
    for message in messages {
        let udp = (8 + message.len() as u16).to_be_bytes();
        let ip = (28 + message.len() as u16).to_be_bytes();
        let length = 28 + message.len() as u32;
        for word in [1_767_323_045, 0, length, length] {
            file.extend(u32::to_le_bytes(word));
        }
        file.extend([0x45, 0, ip[0], ip[1], 0, 1, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 2]);
        file.extend([0x9c, 0x40, 0x12, 0x83, udp[0], udp[1], 0, 0]);
        file.extend_from_slice(message);
    }
    file
}

/// Values of fields over all messages, and what tshark complains about.
fn tshark(messages: &[Vec<u8>], fields: &[&str]) -> Vec<Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ipfix.pcap");
    std::fs::write(&path, capture(messages)).unwrap();
    let mut command = Command::new("tshark");
    command.args(["-d", "udp.port==4739,cflow", "-T", "fields", "-E", "aggregator=,", "-r"]);
    command.arg(&path);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().expect("tshark");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut columns = vec![Vec::new(); fields.len()];
    for line in text.lines() {
        for (column, value) in columns.iter_mut().zip(line.split('\t')) {
            column.extend(value.split(',').filter(|value| !value.is_empty()).map(str::to_owned));
        }
    }
    columns
}

fn check_with_tshark(messages: &[Vec<u8>]) {
    assert!(messages.iter().all(|message| message.len() <= 1400));
    let fields = [
        "cflow.octets",
        "cflow.packets",
        "cflow.srcport",
        "cflow.sampling_packet_space",
        "_ws.expert.message",
        "cflow.version",
        "cflow.sequence",
    ];
    let columns = tshark(messages, &fields);
    let sum = |column: usize| {
        columns[column].iter().map(|value| value.parse::<u64>().unwrap()).sum::<u64>()
    };
    // Forth and back carry the same name there.
    assert_eq!(sum(0), 219_900 + 10_019_900, "{:?}", columns[4]);
    assert_eq!(sum(1), 1600);
    assert_eq!(sum(2), (0..200).map(|n| 10_000 + n).sum::<u64>());
    assert_eq!(columns[3], ["255"]);
    assert!(columns[4].is_empty(), "{:?}", columns[4]);
    assert!(columns[5].iter().all(|version| version == "10"));
    let sequences: Vec<u64> = columns[6].iter().map(|text| text.parse().unwrap()).collect();
    assert!(sequences.is_sorted() && sequences[0] == 0, "{sequences:?}");
    // One options record before the first conversation.
    assert_eq!(sequences[1], 1);
}

#[test]
fn tshark_reads_what_goes_over_udp() {
    if !is_installed("tshark") {
        return;
    }
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let url = format!("ipfix://{}", socket.local_addr().unwrap());
    let summary = export(&url, &conversations(256));
    assert_eq!((summary.accepted, summary.lost_total()), (2 * CONVERSATIONS, 0));
    let mut messages = Vec::new();
    let mut buffer = [0; 2000];
    while let Ok(bytes) = socket.recv(&mut buffer) {
        messages.push(buffer[..bytes].to_vec());
    }
    check_with_tshark(&messages);
}

/// The messages that a connection brings until its end.
fn read_messages(listener: &TcpListener) -> Vec<Vec<u8>> {
    let (mut stream, _) = listener.accept().unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let mut messages = Vec::new();
    let mut rest = &bytes[..];
    while rest.len() >= 4 {
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        let (message, later) = rest.split_at(length);
        messages.push(message.to_vec());
        rest = later;
    }
    assert!(rest.is_empty());
    messages
}

#[test]
fn tshark_reads_what_goes_over_tcp() {
    if !is_installed("tshark") {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ipfix+tcp://{}", listener.local_addr().unwrap());
    let collector = std::thread::spawn(move || read_messages(&listener));
    let summary = export(&url, &conversations(256));
    assert_eq!((summary.accepted, summary.lost_total()), (2 * CONVERSATIONS, 0));
    check_with_tshark(&collector.join().unwrap());
}

#[test]
fn a_connection_that_breaks_is_opened_again_and_begins_with_templates() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ipfix+tcp://{}", listener.local_addr().unwrap());
    let (mut feeds, intake) = channel(1, 64, Pace::Live);
    let output = Output::Ipfix(IpfixConfig::parse(&url).unwrap());
    let exporter = start(vec![output], intake).expect("starts");
    drop(listener.accept().unwrap());
    // The first message or two go into the broken connection before that shows.
    let collector = std::thread::spawn(move || read_messages(&listener));
    for _ in 0..4 {
        feeds[0].send(&mut batch(conversations(1)));
        std::thread::sleep(Duration::from_millis(600));
    }
    drop(feeds);
    let summary = exporter.finish(LONG).outputs.remove(0);
    assert!(summary.is_balanced(), "{summary:?}");
    let messages = collector.join().unwrap();
    // Set 2 holds templates.
    assert_eq!(messages[0][16..18], [0, 2]);
    assert!(messages.len() > 10, "{} messages", messages.len());
}

#[test]
fn a_collector_that_does_not_exist_costs_what_is_counted() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = IpfixConfig::parse(&format!("ipfix+tcp://127.0.0.1:{port}")).unwrap();
    let (mut feeds, intake) = channel(1, 64, Pace::Live);
    let exporter = start(vec![Output::Ipfix(config)], intake).expect("starts");
    feeds[0].send(&mut batch(conversations(1)));
    drop(feeds);
    let summary = exporter.finish(Duration::from_millis(500)).outputs.remove(0);
    assert!(summary.is_balanced(), "{summary:?}");
    assert_eq!(summary.lost_total(), 2 * CONVERSATIONS);
}

#[test]
fn several_outputs_get_the_same_records() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("flows.json");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let url = format!("ipfix://{}", socket.local_addr().unwrap());
    let server = support::Server::start(|_, _| support::status(200));
    let (mut feeds, intake) = channel(1, 64, Pace::Replay);
    let outputs = vec![
        Output::Kflow(Box::new(support::kflow_config(&server.url))),
        Output::Json(export::Target::File(path.clone())),
        Output::Ipfix(IpfixConfig::parse(&url).unwrap()),
    ];
    let exporter = start(outputs, intake).expect("starts");
    feeds[0].send(&mut batch(conversations(1)));
    drop(feeds);
    let summary = exporter.finish(LONG);
    for output in &summary.outputs {
        assert_eq!((output.offered, output.accepted), (400, 400), "{}", output.name);
    }
    assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 400);
    assert_eq!(server.accepted().len(), 400);
}
