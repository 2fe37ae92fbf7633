//! Replays to real HTTP servers: what arrives, how it is asked for, and what happens when the
//! server is slow, full, away or unwilling.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;
#[path = "../export/tests/support/mod.rs"]
mod support;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use benches::mix::{Profile, Size};
use benches::traffic::Plan;
use common::backend::{Khub, device, urls, wire_sums};
use common::captures::{CAPTURES, captures};
use common::probe::Probe;
use common::{Run, Sums, folder, run, sums, table, total, traffic};
use khub::{Config, DEV_EMAIL, DEV_TOKEN};
use serde_json::Value;
use support::{Answer, Seen, Server, answer, answer_with, status};

const PLAN: Plan = Plan {
    conversations: 400,
    unique: false,
    size: Size::Imix,
    profile: Profile::Uniform,
    ipv6_percent: 25,
    seed: 21,
};

#[test]
fn khub_receives_the_sums_of_the_test_captures() {
    let Some(folder) = captures() else { return };
    let khub = Khub::start();
    for (number, (file, mac, expected)) in CAPTURES.iter().enumerate() {
        let device = format!("capture{number}");
        let local = ["--local-mac".to_owned(), (*mac).to_owned()];
        let run = replay(&folder.join(file), khub.arguments(&device).into_iter().chain(local));
        assert_eq!(run.code, Some(0), "{file}: {}", run.stderr);
        // The wire has no third direction: unknown counts as outgoing.
        let expected: Vec<String> =
            expected.iter().map(|line| line.replace("unknown ", "out ")).collect();
        assert_eq!(table(&khub.flows(&device)), expected, "{file}");
    }
    assert_eq!(khub.counter("decode_errors") + khub.counter("unknown_senders"), 0);
}

#[test]
fn below_the_flow_limit_khub_receives_every_packet_and_byte() {
    let folder = folder();
    let (path, truth) = capture(folder.path(), &PLAN, 20_000);
    let khub = Khub::start();
    let run = replay(&path, khub.arguments("whole"));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let flows = khub.flows("whole");
    assert_eq!(sums(&flows), truth);
    assert!(flows.iter().all(|flow| flow["sample_rate"] == 1.0));
    assert_eq!(khub.counter("records_in"), flows.len() as u64);
}

#[test]
fn above_the_flow_limit_weighted_sums_still_agree() {
    let folder = folder();
    let plan = Plan { conversations: 3000, ..PLAN };
    let (path, truth) = capture(folder.path(), &plan, 60_000);
    let khub = Khub::with(Config { max_flow_rate: 20, ..Config::dev() });
    let run = replay(&path, khub.arguments("limited"));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let flows = khub.flows("limited");
    let offered = number_before(&run.stderr, " records, ");
    let left_out = number_before(&run.stderr, " left out by the flow limit");
    assert_eq!(offered - left_out, flows.len() as u64);
    assert!(left_out > flows.len() as u64, "{left_out} of {offered} left out");
    // A kept record stands for offered/kept; its weight is rounded to a hundredth by chance.
    assert_near(weighted(&flows, |_| 1), offered, 0.01);
    let truth = total(&truth);
    // Thousands of records are kept, and their sizes vary by about their mean.
    assert!(flows.len() > 3000, "{}", flows.len());
    assert_near(weighted(&flows, |flow| flow["packets"].as_u64().unwrap()), truth.packets, 0.05);
    assert_near(weighted(&flows, |flow| flow["bytes"].as_u64().unwrap()), truth.bytes, 0.05);
}

#[test]
fn sampling_keeps_whole_flows_and_says_their_rate() {
    let folder = folder();
    let (path, truth) = capture(folder.path(), &PLAN, 20_000);
    let by_flag = Khub::start();
    let flag = ["--sample".to_owned(), "8".to_owned()];
    let flagged = replay(&path, by_flag.arguments("flag").into_iter().chain(flag));
    let dev = Config { max_flow_rate: 1_000_000, sample_rate: 8, ..Config::dev() };
    let by_device = Khub::with(dev);
    let told = replay(&path, by_device.arguments("device"));
    assert_eq!((flagged.code, told.code), (Some(0), Some(0)));
    let flows = by_flag.flows("flag");
    assert!(flows.iter().all(|flow| flow["sample_rate"] == 8.0));
    let kept = sums(&flows);
    assert_eq!(kept, sums(&by_device.flows("device")));
    assert!(kept.iter().all(|(flow, counts)| truth[flow] == *counts));
    // 800 directions, one in eight; four standard deviations are 38 if each was chosen by itself
    // and 53 if both go together.
    assert!(kept.len().abs_diff(truth.len() / 8) < 54, "{} of {}", kept.len(), truth.len());
}

#[test]
fn a_request_has_the_form_of_the_wire_contract() {
    let folder = folder();
    let (path, truth) = capture(folder.path(), &PLAN, 100);
    let server = backend("pd_host", |_, _| status(200));
    let run = replay(&path, account(&server, "pd.host"));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let seen = server.seen();
    assert_eq!(
        (seen[0].method.as_str(), seen[0].uri.path()),
        ("GET", "/api/internal/device/pd_host")
    );
    for request in &seen {
        for (header, value) in [
            ("x-ch-auth-email", DEV_EMAIL),
            ("x-ch-auth-api-token", DEV_TOKEN),
            ("user-agent", concat!("kprobe/", env!("CARGO_PKG_VERSION"))),
        ] {
            assert_eq!(request.header(header), value, "{}", request.uri);
        }
    }
    let posts: Vec<&Seen> = seen.iter().filter(|seen| seen.uri.path() == "/chf").collect();
    assert!(!posts.is_empty());
    for post in posts {
        assert_eq!(post.method, "POST");
        assert_eq!(post.uri.query(), Some("sender_id=1%3Apd_host%3A1&sid=0"));
        assert_eq!(post.header("content-type"), "application/binary");
        assert_eq!(post.header("content-encoding"), "gzip");
        for flow in post.flows() {
            assert_eq!((flow.device_id, flow.sample_rate, flow.sample_adj), (1, 100, true));
        }
    }
    assert_eq!(wire_sums(&server.accepted()), truth);
}

#[test]
fn ten_refusals_for_lack_of_time_lose_nothing_and_double_nothing() {
    let folder = folder();
    let (path, truth) = capture(folder.path(), &PLAN, 4000);
    let refusals = AtomicUsize::new(0);
    let server = backend("slow", move |_, _| match refusals.fetch_add(1, Ordering::Relaxed) {
        0..10 => answer_with(503, "retry-after", "1"),
        _ => status(200),
    });
    let run = replay(&path, account(&server, "slow"));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let seen = server.seen();
    let refused = seen.iter().filter(|seen| seen.status == 503).count();
    assert_eq!(refused, 10);
    let accepted = server.accepted();
    assert_eq!(wire_sums(&accepted), truth);
    let records = number_before(&run.stderr, " records, ");
    assert_eq!(
        (accepted.len() as u64, number_before(&run.stderr, " accepted, ")),
        (records, records)
    );
}

#[test]
fn a_server_that_comes_late_is_waited_for() {
    let folder = folder();
    let (path, truth) = capture(folder.path(), &PLAN, 4000);
    let api = backend("dev1", |_, _| status(200));
    // Bound and closed again.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut arguments = account(&api, "dev1");
    let flow_url = arguments.iter().position(|word| word == "--flow-url").unwrap() + 1;
    arguments[flow_url] = format!("http://{address}/chf");
    let mut probe = Probe::start(
        arguments.into_iter().chain(["--read".to_owned(), path.display().to_string()]),
    );
    probe.wait_for("Connection refused");
    let dev = Config { max_flow_rate: 1_000_000, ..Config::dev() };
    let khub = Khub::at(&address, dev);
    let ended = probe.wait();
    assert_eq!(ended.code, 0, "{}", ended.log);
    assert_eq!(sums(&khub.flows("dev1")), truth);
}

#[test]
fn a_server_that_refuses_fails_the_replay_in_one_line() {
    let folder = folder();
    let (path, _) = capture(folder.path(), &PLAN, 1000);
    let server = backend("unwanted", |_, _| answer(400, r#"{"error": "no such plan"}"#));
    let run = replay(&path, account(&server, "unwanted"));
    let records = number_before(&run.stderr, " records, ");
    let errors: Vec<&str> =
        run.stderr.lines().filter(|line| line.to_lowercase().starts_with("error")).collect();
    assert_eq!(errors.len(), 1, "{}", run.stderr);
    assert_eq!(errors[0], format!("Error: not every record was accepted: rejected {records}"));
    assert!(run.stderr.contains("HTTP status 400: no such plan"), "{}", run.stderr);
    assert_eq!((run.code, run.stdout.len()), (Some(1), 0));
    // Refused for good: each batch was sent once.
    let posts = server.seen().iter().filter(|seen| seen.uri.path() == "/chf").count();
    let lost: usize =
        server.seen().iter().filter(|s| s.status == 400).map(|s| s.flows().len()).sum();
    assert!(posts > 0);
    assert_eq!(lost as u64, records);
}

#[test]
fn a_signal_ends_a_replay_that_nobody_takes() {
    let folder = folder();
    let (path, _) = capture(folder.path(), &PLAN, 1000);
    let server = backend("dead", |_, _| status(support::NEVER));
    let arguments = account(&server, "dead");
    let probe = Probe::start(
        arguments.into_iter().chain(["--read".to_owned(), path.display().to_string()]),
    );
    let start = Instant::now();
    while !server.seen().iter().any(|seen| seen.uri.path() == "/chf") {
        assert!(start.elapsed() < Duration::from_secs(20), "{}", probe.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    let ended = probe.stop(nix::sys::signal::Signal::SIGTERM);
    assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
    assert_eq!(ended.code, 0, "{}", ended.log);
}

/// A backend that knows one device, and answers flow batches by `script`.
fn backend(
    name: &'static str,
    script: impl Fn(usize, &Seen) -> Answer + Send + Sync + 'static,
) -> Server {
    Server::start(move |number, seen| match seen.uri.path() {
        "/chf" => script(number, seen),
        path if path.ends_with("/interfaces") => answer(200, "[]"),
        path if path.contains("/device/") => answer(200, &device(name, 1_000_000)),
        _ => answer(200, "{}"),
    })
}

fn account(server: &Server, device: &str) -> Vec<String> {
    let account = ["--email", DEV_EMAIL, "--token", DEV_TOKEN, "--device-name", device];
    account.into_iter().map(str::to_owned).chain(urls(server.url.authority())).collect()
}

fn replay(path: &Path, arguments: impl IntoIterator<Item = String>) -> Run {
    let read = ["--read".to_owned(), path.display().to_string()];
    run(read.into_iter().chain(arguments))
}

/// A capture of generated packets, 5 ms apart, so that records are cut and sent on the way.
fn capture(folder: &Path, plan: &Plan, packets: u64) -> (PathBuf, Sums) {
    let path = folder.join("generated.pcap");
    let truth = traffic::write(&path, plan, packets, 5_000_000);
    (path, truth)
}

/// Records times their rate.
fn weighted(flows: &[Value], value: impl Fn(&Value) -> u64) -> f64 {
    flows.iter().map(|flow| value(flow) as f64 * flow["sample_rate"].as_f64().unwrap()).sum()
}

fn assert_near(found: f64, truth: u64, share: f64) {
    let off = found / truth as f64 - 1.0;
    assert!(off.abs() < share, "{found} against {truth}: {:.1} % off", off * 100.0);
}

/// The number in front of a text in the log.
fn number_before(log: &str, text: &str) -> u64 {
    let before = log.split_once(text).unwrap_or_else(|| panic!("no \"{text}\" in {log}")).0;
    before.rsplit([' ', ',']).next().unwrap().parse().unwrap()
}
