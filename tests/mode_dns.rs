//! DNS mode on replays and on live links, with a real resolver, a real khub, and a plain HTTP
//! server for the exact bytes (spec 14, wire contract section 9).
//!
//! Live tests need root; without it they say so and pass.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;
#[path = "common/modes.rs"]
mod modes;
#[path = "../export/tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use benches::pcap_file::Writer;
use common::backend::Khub;
use common::captures::captures;
use common::hosts::hosts;
use common::namespace::with_veth;
use common::probe::Probe;
use common::recordings::{ETHERNET, tagged};
use common::{folder, page, run, traffic};
use etherparse::PacketBuilder;
use modes::{arguments, backend, fragments, posts, wait_for};
use nix::sys::signal::Signal;
use support::{NEVER, Seen, status};

/// Wire contract, section 9: the response of `google.com-any.pcap`, packet 2.
const VECTOR: &str = "82a85175657374696f6e82a44e616d65aa676f6f676c652e636f6da4486f7374c4040a000034\
    a7416e737765727392\
    84a44e616d65a0a5434e414d45a0a24950c404acd91a0ea354544ccd012b\
    84a44e616d65a0a5434e414d45a0a24950c4102404680040040809000000000000200ea354544ccd012b";

/// The answers for 74.125.203.26 and 2404:6800:4008:c07::1b, packets 5 and 6, written by hand from
/// what tshark shows: `aspmx.l.google.com`, both for 10.0.0.52, TTL 292 and 292.
const LATER: &str = "82a85175657374696f6e82a44e616d65b26173706d782e6c2e676f6f676c652e636f6da4486f7374\
    c4040a000034a7416e737765727391\
    84a44e616d65a0a5434e414d45a0a24950c4044a7dcb1aa354544ccd0124\
    82a85175657374696f6e82a44e616d65b26173706d782e6c2e676f6f676c652e636f6da4486f7374\
    c4040a000034a7416e737765727391\
    84a44e616d65a0a5434e414d45a0a24950c4102404680040080c07000000000000001ba354544ccd0124";

/// `\x05local` A, 192.0.2.7 for 60 s, as a response.
const RESPONSE: &[u8] = b"\0\x01\x81\x80\0\x01\0\x01\0\0\0\0\x05local\0\0\x01\0\x01\
    \xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x07";

/// What RESPONSE is on the wire, for the client 10.0.0.2.
const LOCAL: &str = "82a85175657374696f6e82a44e616d65a56c6f63616ca4486f7374c4040a000002\
    a7416e737765727391\
    84a44e616d65a0a5434e414d45a0a24950c404c0000207a354544c3c";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn response_frame() -> Vec<u8> {
    frame_with(RESPONSE)
}

/// A frame from 10.0.0.1 port 53 to 10.0.0.2.
fn frame_with(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(53, 4000)
        .write(&mut frame, payload)
        .unwrap();
    frame
}

fn bodies(posts: &[Seen]) -> Vec<String> {
    posts.iter().map(|seen| hex(&seen.body)).collect()
}

fn replay(path: &Path, address: &str, more: &[&str]) {
    let read = ["--read".to_owned(), path.display().to_string()];
    let more = more.iter().map(|&text| text.to_owned());
    let run = run(arguments("dns", address).into_iter().chain(read).chain(more));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
}

fn write(path: &Path, frames: &[(u64, Vec<u8>)]) {
    let mut writer = Writer::create(path, ETHERNET).unwrap();
    for (time_ms, frame) in frames {
        let time_ns = 1_767_225_600_000_000_000 + time_ms * 1_000_000;
        writer.write(time_ns, frame, frame.len() as u32).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn a_capture_gives_the_bytes_of_the_wire_contract_a_post_for_each_second_of_it() {
    let Some(folder) = captures() else { return };
    let server = backend(|_| status(200));
    replay(&folder.join("dns/google.com-any.pcap"), server.url.authority(), &[]);
    let posts = posts(&server, "/dns");
    for seen in &posts {
        assert_eq!((seen.method.as_str(), seen.uri.path()), ("POST", "/dns"));
        assert_eq!(seen.header("content-type"), "application/chfdns");
        assert_eq!(seen.header("content-encoding"), "");
        assert_eq!(seen.header("x-ch-auth-email"), "test@example.com");
    }
    assert_eq!(bodies(&posts), [VECTOR, LATER]);
}

#[test]
fn every_2xx_is_taken_as_success_and_the_batch_is_not_sent_again() {
    let Some(folder) = captures() else { return };
    let server = backend(|_| status(204));
    replay(&folder.join("dns/google.com-any.pcap"), server.url.authority(), &[]);
    assert_eq!(posts(&server, "/dns").len(), 2);
}

#[test]
fn a_replay_says_when_something_was_not_accepted() {
    let folder = folder();
    let path = folder.path().join("one.pcap");
    write(&path, &[(0, response_frame())]);
    let server = backend(|_| status(403));
    let read = ["--read".to_owned(), path.display().to_string()];
    let run = run(arguments("dns", server.url.authority()).into_iter().chain(read));
    assert_eq!(run.code, Some(1));
    let last = run.stderr.lines().last().unwrap();
    assert_eq!(last, "Error: not every record was accepted: rejected 1");
    assert!(run.stderr.contains("DNS API error HTTP status 403"), "{}", run.stderr);
}

#[test]
fn a_mirror_counts_by_what_is_in_it_and_short_payloads_are_ignored() {
    let folder = folder();
    let path = folder.path().join("mirror.pcap");
    let outer = |payload: &[u8]| {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
            .udp(30_000, 30_001)
            .write(&mut frame, payload)
            .unwrap();
        frame
    };
    let mut frames: Vec<(u64, Vec<u8>)> =
        (0..=8).map(|length| (length, outer(&vec![0x45; length as usize]))).collect();
    let envelope = [&[0; 8], &response_frame()[14..]].concat();
    frames.push((20, outer(&envelope)));
    frames.push((21, tagged(outer(&envelope), &[(0x8100, 100)])));
    // Not in an envelope, so it is none.
    frames.push((22, response_frame()));
    write(&path, &frames);
    let server = backend(|_| status(200));
    replay(&path, server.url.authority(), &["--juniper-mirror"]);
    assert_eq!(bodies(&posts(&server, "/dns")), [LOCAL.repeat(2)]);
}

#[test]
fn a_filter_after_the_word_is_shown_and_in_force() {
    let folder = folder();
    let path = folder.path().join("two.pcap");
    write(&path, &[(0, response_frame()), (5, tagged(response_frame(), &[(0x8100, 7)]))]);
    for (filter, expected) in
        [("vlan 7", vec![LOCAL.to_owned()]), ("tcp", vec![]), ("udp", vec![LOCAL.repeat(2)])]
    {
        let server = backend(|_| status(200));
        let mut line = arguments("dns", server.url.authority());
        line.extend([
            "--filter".into(),
            filter.into(),
            "--read".into(),
            path.display().to_string(),
        ]);
        let run = run(line);
        let shown = format!("dns mode, no flow records; filter: {filter}\n");
        assert!(run.stderr.contains(&shown), "{}", run.stderr);
        assert_eq!(bodies(&posts(&server, "/dns")), expected, "{filter}");
    }
}

#[test]
fn one_response_on_an_idle_link_arrives_within_three_seconds_and_silence_is_no_request() {
    with_veth(|| {
        let server = backend(|_| status(204));
        let arguments = arguments("dns", server.url.authority());
        let more = ["-i", "vb", "--status-port", "9995"].map(str::to_owned);
        let probe = Probe::capturing(arguments.into_iter().chain(more));
        std::thread::sleep(Duration::from_millis(1500));
        assert_eq!(posts(&server, "/dns").len(), 0);
        traffic::send("va", &[response_frame()], 0);
        let begin = Instant::now();
        let first = wait_for("a batch", || posts(&server, "/dns").pop());
        assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
        assert_eq!(hex(&first.body), LOCAL);
        std::thread::sleep(Duration::from_millis(1500));
        let status = page(9995, "/v1/status");
        assert_eq!(status["dns"]["taken"], 1);
        assert_eq!(status["dns"]["accepted"], 1);
        assert_eq!(status["dns"]["posts"], 1);
        assert_eq!(status["flows-in"]["count"], 1);
        assert!(status.get("radius").is_none());
        // What came last is sent before the end.
        traffic::send("va", &[response_frame()], 0);
        std::thread::sleep(Duration::from_millis(100));
        let ended = probe.stop(Signal::SIGTERM);
        assert_eq!(ended.code, 0, "{}", ended.log);
        assert_eq!(bodies(&posts(&server, "/dns")), [LOCAL, LOCAL]);
    });
}

#[test]
fn a_receiver_that_stalls_costs_no_packet_and_ends_within_ten_seconds() {
    with_veth(|| {
        let server = backend(|_| status(NEVER));
        let arguments = arguments("dns", server.url.authority());
        let more = ["-i", "vb", "--readers", "2"].map(str::to_owned);
        let probe = Probe::capturing(arguments.into_iter().chain(more));
        traffic::send("va", &vec![response_frame(); 20_000], 20_000);
        std::thread::sleep(Duration::from_millis(300));
        let ended = probe.stop(Signal::SIGTERM);
        assert_eq!(ended.code, 0, "{}", ended.log);
        assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
        assert!(ended.log.contains("dns: 20000 records, 0 accepted"), "{}", ended.log);
        assert!(ended.log.contains("records lost: deadline 20000"), "{}", ended.log);
        assert!(ended.log.contains("20000 packets passed the filter, 0 dropped"), "{}", ended.log);
    });
}

#[test]
fn tagged_responses_and_fragments_pass_the_default_filter_of_a_live_capture() {
    with_veth(|| {
        let server = backend(|_| status(200));
        let arguments = arguments("dns", server.url.authority());
        let probe = Probe::capturing(arguments.into_iter().chain(["-i", "vb"].map(str::to_owned)));
        // Bytes behind a message do not matter.
        let long = frame_with(&[RESPONSE, &[0; 3000]].concat());
        let tags = [(0x8100, 100)];
        let mut frames = vec![response_frame(), tagged(response_frame(), &tags)];
        frames.extend(fragments(&long));
        frames.extend(fragments(&long).into_iter().map(|frame| tagged(frame, &tags)));
        assert_eq!(frames.len(), 8);
        traffic::send("va", &frames, 0);
        let first = wait_for("a batch", || posts(&server, "/dns").pop());
        assert_eq!(hex(&first.body), LOCAL.repeat(4));
        assert_eq!(probe.stop(Signal::SIGTERM).code, 0);
    });
}

/// Answers that need three packets on an Ethernet.
fn long_answer() -> String {
    (1..=200).map(|n| format!(" local-data: \"long.example.test. 60 A 192.0.2.{n}\"\n")).collect()
}

#[test]
fn what_a_real_resolver_answers_arrives_at_khub_whole_and_of_both_families() {
    let Some(hosts) = hosts(&["unbound", "dig"]) else { return };
    let folder = folder();
    let lines = " local-data: \"example.test. 60 A 192.0.2.10\"\n \
                 local-data: \"example.test. 90 AAAA 2001:db8::10\"\n \
                 local-data: \"www.example.test. 60 CNAME example.test.\"\n \
                 local-data: 'example.test. 60 TXT \"none\"'\n"
        .to_owned();
    let resolver = hosts.resolver(folder.path(), &(lines + &long_answer()));
    let khub = hosts.server.inside(Khub::start);
    let arguments = hosts.server.inside(|| {
        let more = ["-i", "eth0", "--readers", "2"].map(str::to_owned);
        let dns_url = ["--dns-url".to_owned(), format!("http://{}", khub.address)];
        let dns = ["dns".to_owned()].into_iter().chain(khub.arguments("resolver"));
        dns.chain(dns_url).chain(more).collect::<Vec<_>>()
    });
    let probe = hosts.server.inside(|| Probe::capturing(&arguments));
    for question in [
        &["@10.9.0.2", "example.test", "A"][..],
        &["@10.9.0.2", "example.test", "AAAA"],
        &["@10.9.0.2", "example.test", "TXT"],
        &["@10.9.0.2", "missing.example.test", "A"],
        &["@fd09::2", "example.test", "A"],
        &["@10.9.0.2", "+bufsize=4096", "+ignore", "long.example.test", "A"],
        &["@fd09::2", "+bufsize=4096", "+ignore", "long.example.test", "A"],
        // Not selected by the filter, which takes UDP.
        &["@10.9.0.2", "+tcp", "example.test", "A"],
    ] {
        let output = hosts.on_client(&[&["dig", "+tries=1", "+time=5"], question].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains("->>HEADER<<-"), "{question:?}: {text}");
    }
    let list = || hosts.server.inside(|| khub.get("/api/v1/dns?limit=100"));
    let rows = wait_for("five responses", || {
        let rows = list().as_array().unwrap().clone();
        (rows.len() >= 5).then_some(rows)
    });
    let mut shown: Vec<String> = rows
        .iter()
        .map(|row| {
            let answers = row["answers"].as_array().unwrap();
            let first = &answers[0];
            let first = if answers.len() > 1 { "" } else { first["address"].as_str().unwrap() };
            let ttl = &answers[0]["ttl"];
            let (client, name) = (row["client"].as_str().unwrap(), row["name"].as_str().unwrap());
            format!("{client} {name} {} {ttl} {first}", answers.len())
        })
        .collect();
    shown.sort();
    let expected = [
        "10.9.0.1 example.test 1 60 192.0.2.10",
        "10.9.0.1 example.test 1 90 2001:db8::10",
        "10.9.0.1 long.example.test 200 60 ",
        "fd09::1 example.test 1 60 192.0.2.10",
        "fd09::1 long.example.test 200 60 ",
    ];
    assert_eq!(shown, expected);
    let ended = hosts.server.inside(|| probe.stop(Signal::SIGTERM));
    assert_eq!(ended.code, 0, "{}", ended.log);
    assert!(ended.log.contains("dns: 5 records, 5 accepted"), "{}", ended.log);
    assert!(hosts.server.inside(|| khub.flows("resolver")).is_empty());
    drop(resolver);
}
