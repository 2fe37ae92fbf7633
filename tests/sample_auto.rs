//! `--sample auto` on a live ring: the rate follows records and CPU, and sums stay right.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use common::backend::Khub;
use common::namespace::with_veth;
use common::probe::Probe;
use common::{folder, page, records, traffic};
use khub::Config;
use nix::sys::signal::Signal;
use serde_json::Value;

const FLOWS: u16 = 30_000;
/// The device's limit; so many conversations make 2,000 records a second.
const LIMIT: u32 = 600;
const STATUS: u16 = 9987;

/// One UDP packet of each conversation.
fn frames() -> Vec<Vec<u8>> {
    let udp = |number: u16| {
        let [high, low] = number.to_be_bytes();
        let ip = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6]);
        let mut frame = Vec::new();
        let udp = ip.ipv4([192, 0, 2, 1], [10, 0, high, low], 64).udp(4000, 1000);
        udp.write(&mut frame, b"a datagram").unwrap();
        frame
    };
    (0..FLOWS).map(udp).collect()
}

/// Packets that the records stand for, and the highest rate among them.
fn estimate(records: &[Value]) -> (f64, f64) {
    let number = |record: &Value, name: &str| record[name].as_f64().unwrap();
    let sum = records.iter().map(|r| number(r, "packets") * number(r, "sample_rate")).sum();
    let most = records.iter().map(|r| number(r, "sample_rate")).fold(1.0, f64::max);
    (sum, most)
}

fn metrics() -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", STATUS)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn the_rate_that_the_flow_limit_asks_for_is_found_and_sums_stay_right() {
    with_veth(|| {
        let hub = Khub::with(Config { max_flow_rate: LIMIT, ..Config::dev() });
        let port = STATUS.to_string();
        let more = ["--sample", "auto", "--output", "kflow", "--output", "json", "--no-decode"];
        // Room and time enough: records alone are to decide, also on a busy machine.
        let more = [&more[..], &["--cpu-budget", "100"]].concat();
        let capture = ["-i", "vb", "--buffer-size", "128", "--status-port", &port];
        let arguments =
            [hub.arguments("dev"), more.iter().map(|&word| word.to_owned()).collect()].concat();
        let probe = Probe::capturing(arguments.into_iter().chain(capture.map(str::to_owned)));
        let frames = frames();
        // Perhaps by way of 1:2, when the first seconds were half empty.
        let told = "sampling 1:4, it was 1:";
        let mut rounds = 0;
        // Some rounds before the change, and some after it.
        let mut left = 4;
        while left > 0 {
            traffic::send("va", &frames, u64::from(FLOWS) / 2);
            rounds += 1;
            left -= u32::from(probe.log().contains(told));
            assert!(rounds < 30, "{}", probe.log());
        }
        let sampling = &page(STATUS, "/v1/status")["sampling"];
        assert_eq!(sampling["rate"], 4, "{sampling}");
        assert_eq!(sampling["reason"], "records", "{sampling}");
        let metrics = metrics();
        assert!(metrics.contains("\nkprobe_sample_rate 4\n"), "{metrics}");
        let changes = "\nkprobe_sample_rate_changes_total{reason=\"records\"} ";
        assert!(metrics.contains(changes), "{metrics}");
        assert!(!metrics.contains(&format!("{changes}0\n")), "{metrics}");
        let ended = probe.stop(Signal::SIGTERM);
        assert_eq!(ended.code, 0, "{}", ended.log);
        assert!(ended.log.contains("the device's limit is 600"), "{}", ended.log);
        let sent = f64::from(rounds) * f64::from(FLOWS);
        let records = records(&ended.stdout);
        let rates = |rate: u64| records.iter().filter(|r| r["sample_rate"] == rate).count();
        assert!(rates(1) > 0 && rates(4) > 0 && rates(1) + rates(2) + rates(4) == records.len());
        let (sum, _) = estimate(&records);
        // One standard deviation is 1 % at 1:4.
        assert!((sum / sent - 1.0).abs() < 0.04, "{sum} of {sent}: {}", ended.log);
        // What the backend has was sampled again where a second had more than the limit.
        let sum: f64 = hub.flows("dev").iter().map(weighed).sum();
        assert!((sum / sent - 1.0).abs() < 0.1, "{sum} of {sent} at the backend");
    });
}

fn weighed(flow: &Value) -> f64 {
    flow["packets"].as_f64().unwrap() * flow["sample_rate"].as_f64().unwrap()
}

#[test]
fn a_reader_over_its_cpu_budget_samples_until_a_reload_says_otherwise() {
    with_veth(|| {
        let folder = folder();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let path = folder.path().join("kprobe.toml");
        let write = |sampling: &str| {
            let base = "interface = 'vb'\nbuffer-size = 32\noutput = 'json'\nno-decode = true\n";
            let text = format!("{base}status-port = {STATUS}\n{sampling}");
            let new = path.with_extension("new");
            fs::write(&new, text).unwrap();
            fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).unwrap();
            fs::rename(new, &path).unwrap();
        };
        write("sample = 'auto'\ncpu-budget = 1\n");
        let mut probe = Probe::capturing(["--config".as_ref(), path.as_os_str()]);
        let frames = frames();
        let mut rounds = 0;
        while !probe.log().contains("sampling 1:2, it was 1:1: a reader took ") {
            traffic::send("va", &frames, 2 * u64::from(FLOWS));
            rounds += 1;
            assert!(rounds < 30, "{}", probe.log());
        }
        traffic::send("va", &frames, 4 * u64::from(FLOWS));
        rounds += 1;
        let sampling = &page(STATUS, "/v1/status")["sampling"];
        assert_eq!(sampling["reason"], "cpu", "{sampling}");
        write("sample = 1\n");
        probe.signal(Signal::SIGHUP);
        probe.wait_for("reload: in force now: sample, cpu-budget");
        traffic::send("va", &frames, 4 * u64::from(FLOWS));
        rounds += 1;
        let status = page(STATUS, "/v1/status");
        let sampling = &status["sampling"];
        assert_eq!((&sampling["rate"], &sampling["reason"]), (&1.into(), &"given".into()));
        assert!(status["readers"][0]["cpu_s"].as_f64().unwrap() > 0.0, "{status}");
        let ended = probe.stop(Signal::SIGTERM);
        assert_eq!(ended.code, 0, "{}", ended.log);
        let sent = f64::from(rounds) * f64::from(FLOWS);
        let (sum, most) = estimate(&records(&ended.stdout));
        assert!(most >= 2.0, "{most}");
        // Five standard deviations of the highest rate there was.
        let bound = 5.0 * ((most - 1.0) / f64::from(FLOWS)).sqrt();
        assert!((sum / sent - 1.0).abs() < bound, "{sum} of {sent} at 1:{most}: {}", ended.log);
    });
}
