//! Loss on purpose, at each place where packets or records can be lost: what was sent is what the
//! records hold and what was counted as lost, to the packet (design D7).
//!
//! Needs root; without it each test says so and passes.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use benches::mix::{Profile, Size};
use benches::traffic::Plan;
use common::namespace::with_veth;
use common::probe::{Ended, Probe};
use common::recordings::udp;
use common::{folder, page, records, sums, total, traffic};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::Pid;

/// The kernel hands a block over after 10 ms; this is long enough on a busy machine, too.
const ARRIVED: Duration = Duration::from_millis(300);
/// Readers tell the status once a second.
const STATUS: Duration = Duration::from_millis(1500);
/// In a network namespace of its own every port is free.
const PORT: u16 = 9996;

/// Every packet is a conversation of its own.
const UNIQUE: Plan = Plan {
    conversations: 1,
    unique: true,
    size: Size::Fixed(60),
    profile: Profile::Uniform,
    ipv6_percent: 10,
    seed: 3,
};

/// A ring of 16 blocks, each for some forty frames of full size.
const TINY: [&str; 8] = ["-i", "vb", "--buffer-size", "1", "--block-size", "64", "--snaplen", "0"];

#[test]
fn a_probe_that_stands_still_loses_what_the_ring_cannot_hold_and_knows_how_much() {
    with_veth(|| {
        let probe = Probe::capturing([&TINY[..], &["--status-port", "9996"]].concat());
        let frames = vec![udp(1458, 1); 20_000];
        probe.signal(Signal::SIGSTOP);
        traffic::send("va", &frames, 0);
        probe.signal(Signal::SIGCONT);
        std::thread::sleep(ARRIVED);
        // The ring is empty again and loses nothing more.
        traffic::send("va", &frames[..500], 20_000);
        std::thread::sleep(STATUS);
        let reader = &page(PORT, "/v1/status")["readers"][0];
        let count = |name: &str| reader[name].as_u64().unwrap();
        assert_eq!(count("received"), 20_500);
        assert_eq!(count("received"), count("frames") + count("dropped"));
        assert!(count("freezes") > 0, "{reader}");
        let frames = count("frames");
        let ended = stopped(probe);
        assert_eq!(kernel_counts(&ended), (20_500, 20_500 - frames));
        let total = total(&sums(&records(&ended.stdout)));
        assert_eq!((total.packets, total.bytes), (frames, frames * 1486));
        // 1 MiB is used up by 706 frames of 1,486 bytes without any header of the ring's own.
        assert!((500 + 400..=500 + 706).contains(&frames), "{frames} frames");
    });
}

#[test]
fn a_reader_that_is_too_slow_loses_packets_and_every_one_is_counted() {
    with_veth(|| {
        for readers in ["1", "2"] {
            // All on one CPU, the sender as well, and the probe runs when nobody else wants to.
            let slow = ["--cpus", "0", "--readers", readers];
            let probe = Probe::capturing([&TINY[..], &slow].concat());
            let mut cpu = CpuSet::new();
            cpu.set(0).unwrap();
            sched_setaffinity(Pid::from_raw(0), &cpu).unwrap();
            let frames: Vec<_> = (0..50_000).map(|n| udp(1458, n % 100)).collect();
            schedule(&probe, "--idle");
            traffic::send("va", &frames, 0);
            schedule(&probe, "--other");
            std::thread::sleep(ARRIVED);
            let ended = stopped(probe);
            let (received, dropped) = kernel_counts(&ended);
            assert_eq!(received, 50_000);
            assert!(dropped > 0, "{readers} readers were not too slow: {}", ended.log);
            let total = total(&sums(&records(&ended.stdout)));
            assert_eq!(total.packets + dropped, 50_000, "{readers} readers");
        }
    });
}

/// Sets the scheduling policy of all threads of a probe.
fn schedule(probe: &Probe, policy: &str) {
    let id = probe.id().to_string();
    let status = Command::new("chrt").args(["--all-tasks", policy, "--pid", "0", &id]).status();
    assert!(status.expect("chrt of util-linux").success());
}

#[test]
fn a_table_that_is_too_small_exports_early_and_loses_no_packet() {
    with_veth(|| {
        let plan = Plan { conversations: 5000, unique: false, size: Size::Imix, ..UNIQUE };
        let (frames, truth) = traffic::frames(&plan, 20_000);
        let probe = Probe::capturing(["-i", "vb", "--max-flows", "100", "--status-port", "9996"]);
        traffic::send("va", &frames, 50_000);
        std::thread::sleep(STATUS);
        let status = page(PORT, "/v1/status");
        let count = |name: &str| status["table"][name].as_u64().unwrap();
        assert_eq!(count("packets"), 20_000);
        assert!(count("conversations") <= 100, "{status}");
        assert!(count("evicted") > 10_000, "{status}");
        let gone = count("evicted") + count("closed") + count("expired");
        assert_eq!(count("created"), count("conversations") + gone, "{status}");
        let ended = stopped(probe);
        assert_eq!(kernel_counts(&ended), (20_000, 0));
        assert_eq!(sums(&records(&ended.stdout)), truth);
    });
}

#[test]
fn an_output_that_stalls_loses_records_by_number_and_leaves_the_capture_alone() {
    with_veth(|| {
        let (frames, _) = traffic::frames(&UNIQUE, 400_000);
        let folder = folder();
        let (mut probe, mut pipe) = stalled(folder.path());
        traffic::send("va", &frames, 100_000);
        std::thread::sleep(STATUS);
        let status = page(PORT, "/v1/status");
        // A machine with other things to do may lose some in the kernel; the output has no part in
        // that, and all is counted.
        let reader = |name: &str| status["readers"][0][name].as_u64().unwrap();
        assert_eq!(reader("received"), 400_000, "{status}");
        assert!(reader("frames") + reader("dropped") > 300_000, "{status}");
        let lost = status["channel"]["lost_full"].as_u64().unwrap();
        assert!(lost > 100_000, "{status}");
        // Its reader awakes, and takes all there is.
        let received = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).unwrap();
            bytes
        });
        assert!(probe.is_running(), "{}", probe.log());
        std::thread::sleep(STATUS);
        let ended = stopped(probe);
        let (seen, dropped) = kernel_counts(&ended);
        assert_eq!(seen, 400_000);
        let received = records(&received.join().unwrap());
        // Since the status a few more came due, before the reader awoke.
        let (before, lost) = (lost, number(&ended.log, " records lost because"));
        assert!(lost >= before, "{before}, then {lost}");
        assert_eq!(received.len() as u64 + lost + dropped, 400_000);
        assert_eq!(total(&sums(&received)).packets + lost + dropped, 400_000);
    });
}

#[test]
fn an_output_that_never_moves_again_does_not_hold_up_the_end() {
    with_veth(|| {
        let (frames, _) = traffic::frames(&UNIQUE, 50_000);
        let folder = folder();
        let (probe, _pipe) = stalled(folder.path());
        traffic::send("va", &frames, 100_000);
        std::thread::sleep(ARRIVED);
        let ended = stopped(probe);
        assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
        assert_eq!(kernel_counts(&ended), (50_000, 0));
        assert!(ended.log.contains("json: 50000 records, 0 accepted"), "{}", ended.log);
        assert!(ended.log.contains("records lost: deadline 50000"), "{}", ended.log);
    });
}

/// A probe whose records go into a pipe that nobody empties. The table is so small that nearly
/// each packet of [`UNIQUE`] pushes a record out.
fn stalled(folder: &Path) -> (Probe, File) {
    let path = folder.join("pipe");
    nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let output = format!("json:{}", path.display());
    let mut probe = Probe::start([
        "-i",
        "vb",
        "--max-flows",
        "1000",
        "--status-port",
        "9996",
        "--output",
        &output,
    ]);
    // Each end waits for the other.
    let pipe = File::open(path).unwrap();
    probe.wait_for("status at");
    (probe, pipe)
}

fn stopped(probe: Probe) -> Ended {
    let ended = probe.stop(Signal::SIGTERM);
    assert_eq!(ended.code, 0, "{}", ended.log);
    ended
}

/// Packets that passed the filter, and those of them that the kernel dropped.
fn kernel_counts(ended: &Ended) -> (u64, u64) {
    let passed = number(&ended.log, " packets passed the filter");
    (passed, number(&ended.log, " dropped by the kernel"))
}

/// The number before these words of the log.
fn number(log: &str, words: &str) -> u64 {
    let (before, _) = log.rsplit_once(words).unwrap_or_else(|| panic!("no \"{words}\" in {log}"));
    before.rsplit(' ').next().unwrap().parse().unwrap()
}
