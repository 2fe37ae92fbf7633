//! Live capture on a veth pair in a network namespace, with a real khub behind the probe.
//!
//! Needs root; without it each test says so and passes.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;
#[path = "../export/tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use benches::mix::{Profile, Size};
use benches::traffic::Plan;
use capture::CaptureFile;
use common::backend::{Khub, device, urls};
use common::captures::{CAPTURES, captures};
use common::namespace::{ip, with_veth};
use common::probe::{Ended, Probe};
use common::recordings::{tagged, udp};
use common::{Sums, folder, records, sums, table, total, traffic};
use nix::sys::signal::Signal;
use support::{NEVER, Server, answer, status};

/// A few hundred conversations of both IP versions.
const PLAN: Plan = Plan {
    conversations: 300,
    unique: false,
    size: Size::Imix,
    profile: Profile::Uniform,
    ipv6_percent: 25,
    seed: 11,
};

/// The kernel hands a block over after 10 ms; this is long enough on a busy machine, too.
const ARRIVED: Duration = Duration::from_millis(300);

#[test]
fn the_test_captures_give_their_sums_over_a_live_link() {
    let Some(folder) = captures() else { return };
    with_veth(|| {
        let khub = Khub::start();
        for (number, (file, mac, expected)) in CAPTURES.iter().enumerate() {
            let Some(frames) = ethernet_frames(&folder.join(file)) else { continue };
            // An interface cannot have the address of zeros that loopback frames carry.
            let has_mac = *mac != "00:00:00:00:00:00";
            if has_mac {
                ip(&format!("link set vb address {mac}"));
            }
            let device = format!("capture{number}");
            let probe = Probe::capturing(on_vb(&khub.arguments(&device)));
            traffic::send("va", &frames, 0);
            std::thread::sleep(ARRIVED);
            let ended = probe.stop(Signal::SIGTERM);
            assert_eq!(ended.code, 0, "{}", ended.log);
            let without_direction = |line: &str| line.split_once(' ').unwrap().1.to_owned();
            let mut lines = table(&khub.flows(&device));
            let mut expected: Vec<String> =
                expected.iter().map(|line| (*line).to_owned()).collect();
            for line in lines.iter_mut().chain(&mut expected).filter(|_| !has_mac) {
                *line = without_direction(line);
            }
            assert_eq!(lines, expected, "{file}");
        }
    });
}

#[test]
fn at_60_000_packets_a_second_every_packet_and_byte_arrives() {
    with_veth(|| {
        let (frames, truth) = traffic::frames(&PLAN, 200_000);
        let khub = Khub::start();
        let probe = Probe::capturing(on_vb(&khub.arguments("busy")));
        traffic::send("va", &frames, 60_000);
        std::thread::sleep(ARRIVED);
        let ended = stopped(probe, Signal::SIGTERM);
        assert_kernel_counts(&ended, 200_000);
        assert_eq!(sums(&khub.flows("busy")), truth);
    });
}

#[test]
fn both_signals_end_in_order_and_lose_nothing() {
    with_veth(|| {
        let khub = Khub::start();
        for (signal, device) in [(Signal::SIGINT, "interrupted"), (Signal::SIGTERM, "terminated")] {
            let (frames, truth) = traffic::frames(&PLAN, 3000);
            let probe = Probe::capturing(on_vb(&khub.arguments(device)));
            traffic::send("va", &frames, 0);
            stopped(probe, signal);
            assert_eq!(sums(&khub.flows(device)), truth, "{signal}");
        }
    });
}

#[test]
fn what_the_kernel_took_until_the_stop_is_in_the_records() {
    with_veth(|| {
        let (frames, _) = traffic::frames(&PLAN, 60_000);
        let probe = Probe::capturing(["-i", "vb"]);
        std::thread::scope(|scope| {
            // A thread is born into the namespace of its parent.
            scope.spawn(|| traffic::send("va", &frames, 60_000));
            std::thread::sleep(ARRIVED);
            let ended = stopped(probe, Signal::SIGTERM);
            let counted = total(&sums(&records(&ended.stdout))).packets;
            assert!((1000..60_000).contains(&counted), "{counted}");
            assert_kernel_counts(&ended, counted);
        });
    });
}

#[test]
fn a_dead_backend_holds_the_end_up_for_ten_seconds_at_most() {
    with_veth(|| {
        let server = silent_backend();
        let probe = Probe::capturing(on_vb(&account(&server)));
        traffic::send("va", &traffic::frames(&PLAN, 100).0, 0);
        std::thread::sleep(ARRIVED);
        let ended = probe.stop(Signal::SIGTERM);
        assert_eq!(ended.code, 0, "{}", ended.log);
        assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
        assert!(ended.log.contains(" lost"), "{}", ended.log);
    });
}

#[test]
fn a_second_signal_ends_at_once() {
    with_veth(|| {
        let server = silent_backend();
        for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
            let mut probe = Probe::capturing(on_vb(&account(&server)));
            traffic::send("va", &traffic::frames(&PLAN, 100).0, 0);
            std::thread::sleep(ARRIVED);
            probe.signal(signal);
            // Something is being delivered that nobody takes.
            std::thread::sleep(Duration::from_secs(1));
            assert!(probe.is_running(), "{}", probe.log());
            let ended = probe.stop(signal);
            assert_eq!(ended.code, code, "{}", ended.log);
            assert!(ended.took < Duration::from_secs(1), "{:?}", ended.took);
        }
    });
}

#[test]
fn vlan_tags_that_the_kernel_strips_are_kept() {
    with_veth(|| {
        let probe = Probe::capturing(["-i", "vb"]);
        let frames = [
            tagged(udp(40, 1), &[(0x8100, 100)]),
            tagged(udp(40, 1), &[(0x88a8, 200), (0x8100, 300)]),
            udp(40, 1),
        ];
        traffic::send("va", &frames, 0);
        std::thread::sleep(ARRIVED);
        let ended = stopped(probe, Signal::SIGTERM);
        let sums = sums(&records(&ended.stdout));
        let found: Vec<_> = sums.iter().map(|(f, c)| (f.vlan, c.packets, c.bytes)).collect();
        assert_eq!(found, [(0, 1, 68), (100, 1, 68), (300, 1, 68)]);
    });
}

#[test]
fn a_filter_leaves_out_what_it_does_not_select() {
    with_veth(|| {
        let (frames, truth) = traffic::frames(&PLAN, 5000);
        let probe = Probe::capturing(["-i", "vb", "--filter", "udp and ip"]);
        traffic::send("va", &frames, 0);
        std::thread::sleep(ARRIVED);
        let ended = stopped(probe, Signal::SIGTERM);
        let selected: Sums = truth
            .into_iter()
            .filter(|(flow, _)| flow.protocol == 17 && flow.src.is_ipv4())
            .collect();
        assert_eq!(sums(&records(&ended.stdout)), selected);
        assert_kernel_counts(&ended, total(&selected).packets);
    });
}

#[test]
fn a_filter_on_a_vlan_sees_the_tag_that_the_kernel_strips() {
    with_veth(|| {
        let tagged = tagged(udp(40, 1), &[(0x8100, 100)]);
        for (filter, vlans) in [
            ("vlan 100", &[100][..]),
            ("vlan 101", &[]),
            ("not vlan", &[0]),
            ("udp port 5000", &[0, 100]),
            ("vlan and udp port 5000", &[100]),
        ] {
            let probe = Probe::capturing(["-i", "vb", "--filter", filter]);
            traffic::send("va", &[tagged.clone(), udp(40, 1)], 0);
            std::thread::sleep(ARRIVED);
            let ended = stopped(probe, Signal::SIGTERM);
            let sums = sums(&records(&ended.stdout));
            let found: Vec<u16> = sums.keys().map(|flow| flow.vlan).collect();
            assert_eq!(found, vlans, "{filter}");
        }
    });
}

#[test]
fn two_probes_of_a_group_share_the_packets_without_doubles() {
    with_veth(|| {
        let (frames, truth) = traffic::frames(&PLAN, 20_000);
        let probes = [(); 2].map(|()| {
            let mut probe = Probe::capturing(["-i", "vb", "--fanout-group", "7"]);
            probe.wait_for("joined fanout group 7, mode hash");
            probe
        });
        traffic::send("va", &frames, 0);
        std::thread::sleep(ARRIVED);
        let shares = probes.map(|probe| records(&stopped(probe, Signal::SIGTERM).stdout));
        let [first, second] = shares.each_ref().map(|share| sums(share));
        // By flow hash: each direction is in one of them whole, beside its reverse.
        assert!(first.len() > 100 && second.len() > 100, "{} and {}", first.len(), second.len());
        assert!(first.keys().all(|flow| !second.contains_key(flow)));
        assert_eq!(sums(&shares.concat()), truth);
    });
}

#[test]
fn a_group_of_another_mode_is_refused_in_words() {
    with_veth(|| {
        let _first = Probe::capturing(["-i", "vb", "--fanout-group", "7"]);
        let second =
            Probe::start(["-i", "vb", "--fanout-group", "7", "--fanout-mode", "lb"]).wait();
        let last = second.log.lines().last().unwrap();
        assert!(last.starts_with("Error: fanout group 7 refused this probe: "), "{last}");
        assert_eq!(second.code, 1);
    });
}

#[test]
fn without_an_account_records_go_to_standard_output_or_a_file() {
    with_veth(|| {
        let (frames, truth) = traffic::frames(&PLAN, 1000);
        let folder = folder();
        let path = folder.path().join("flows.json");
        let output = format!("json:{}", path.display());
        let probes = [
            Probe::capturing(["-i", "vb"]),
            Probe::capturing(["-i", "vb", "--output", "json", "--output", &output]),
        ];
        traffic::send("va", &frames, 0);
        std::thread::sleep(ARRIVED);
        for probe in probes {
            let ended = stopped(probe, Signal::SIGTERM);
            assert_eq!(sums(&records(&ended.stdout)), truth);
        }
        assert_eq!(sums(&records(&std::fs::read(path).unwrap())), truth);
    });
}

#[test]
fn an_interface_that_goes_down_and_comes_back_is_waited_for() {
    with_veth(|| {
        let (frames, truth) = traffic::frames(&PLAN, 2000);
        let (before, after) = frames.split_at(1000);
        let mut probe = Probe::capturing(["-i", "vb"]);
        traffic::send("va", before, 0);
        std::thread::sleep(ARRIVED);
        ip("link set vb down");
        probe.wait_for("vb is down");
        std::thread::sleep(Duration::from_secs(1));
        assert!(probe.is_running(), "{}", probe.log());
        ip("link set vb up");
        wait_for_carrier();
        traffic::send("va", after, 0);
        probe.wait_for("vb is back");
        std::thread::sleep(ARRIVED);
        let ended = stopped(probe, Signal::SIGTERM);
        assert_eq!(sums(&records(&ended.stdout)), truth);
    });
}

#[test]
fn outgoing_packets_are_counted_as_such() {
    with_veth(|| {
        // MAC of the generator's clients.
        ip("link set vb address 02:00:00:00:00:0c");
        let (frames, truth) = traffic::frames(&PLAN, 2000);
        let is_client = |frame: &&Vec<u8>| frame[6..12] == [2, 0, 0, 0, 0, 0x0c];
        let (out, back): (Vec<&Vec<u8>>, Vec<&Vec<u8>>) = frames.iter().partition(is_client);
        let [out, back] = [out, back].map(|frames| frames.into_iter().cloned().collect::<Vec<_>>());
        let probe = Probe::capturing(["-i", "vb"]);
        traffic::send("vb", &out, 0);
        traffic::send("va", &back, 0);
        std::thread::sleep(ARRIVED);
        let ended = stopped(probe, Signal::SIGTERM);
        let records = records(&ended.stdout);
        assert_eq!(sums(&records), truth);
        for record in &records {
            let from_client = record["src_mac"] == "02:00:00:00:00:0c";
            assert_eq!(record["direction"], if from_client { "out" } else { "in" }, "{record}");
        }
    });
}

/// A backend that knows every device and never answers a batch.
fn silent_backend() -> Server {
    Server::start(|_, seen| match seen.uri.path() {
        "/chf" => status(NEVER),
        path if path.ends_with("/interfaces") => answer(200, "[]"),
        path if path.contains("/device/") => answer(200, &device("dead", 4000)),
        _ => answer(200, "{}"),
    })
}

fn account(server: &Server) -> Vec<String> {
    let account = ["--email", "test@example.com", "--token", "a-token", "--device-name", "dead"];
    account.into_iter().map(str::to_owned).chain(urls(server.url.authority())).collect()
}

fn on_vb(arguments: &[String]) -> Vec<String> {
    [&["-i".to_owned(), "vb".to_owned()], arguments].concat()
}

/// Stops a probe that has nothing to complain about.
fn stopped(probe: Probe, signal: Signal) -> Ended {
    let ended = probe.stop(signal);
    assert_eq!(ended.code, 0, "{signal}: {}", ended.log);
    assert!(ended.took < Duration::from_secs(10), "{signal}: {:?}", ended.took);
    assert!(!ended.log.contains(" ERROR "), "{}", ended.log);
    ended
}

fn assert_kernel_counts(ended: &Ended, packets: u64) {
    let line = format!("{packets} packets passed the filter, 0 dropped by the kernel");
    assert!(ended.log.contains(&line), "{}", ended.log);
}

/// The frames of a capture of Ethernet; `None` for another link type.
fn ethernet_frames(path: &std::path::Path) -> Option<Vec<Vec<u8>>> {
    let mut file = CaptureFile::open(path).unwrap();
    let mut frames = Vec::new();
    while let Some(mut block) = file.next_block().unwrap() {
        for frame in block.frames() {
            if frame.linktype != capture::LINKTYPE_ETHERNET {
                return None;
            }
            frames.push(frame.data.to_vec());
        }
    }
    Some(frames)
}

/// Until both ends of the pair agree that the link is up.
fn wait_for_carrier() {
    let start = Instant::now();
    while !["va", "vb"].iter().all(|end| {
        let output = std::process::Command::new("ip").args(["-o", "link", "show", end]).output();
        String::from_utf8_lossy(&output.unwrap().stdout).contains("state UP")
    }) {
        assert!(start.elapsed() < Duration::from_secs(5), "the link stays down");
        std::thread::sleep(Duration::from_millis(20));
    }
}
