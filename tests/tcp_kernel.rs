//! Transfers between two kernels over a link that drops, delays and reorders by a seeded plan: the
//! metrics of the records against what the sender's own TCP says of itself (`TCP_INFO`, as `ss`
//! prints it).
//!
//! Needs root; without it each test says so and passes. The link is this program: it forwards
//! frames between two interfaces of a third namespace.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use afpacket::sync::RawPacketStream;
use common::namespace::{Namespace, ip, with_veth};
use common::probe::Probe;
use common::records;
use nix::sys::signal::Signal;
use serde_json::Value;

/// What travels each way.
const TRANSFER_BYTES: usize = 3 << 20;
const SERVER: &str = "10.8.0.2:7000";
/// The kernel hands a block over after 10 ms; this is long enough on a busy machine, too.
const ARRIVED: Duration = Duration::from_millis(300);
/// What anything here may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the link does to one direction. Probabilities are in 1/1000.
#[derive(Clone, Copy)]
struct Plan {
    seed: u64,
    delay: Duration,
    loss: u64,
    reorder: u64,
    /// How much later a reordered frame comes.
    later: Duration,
}

/// What it did.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    forwarded: u64,
    dropped: u64,
    reordered: u64,
}

/// The xorshift64* generator.
struct Random(u64);

impl Random {
    fn one_in_thousand(&mut self, times: u64) -> bool {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % 1000 < times
    }
}

/// A frame and when it has to go on.
type Waiting = (Instant, u64, Vec<u8>);

/// The link: two threads a direction in a namespace of its own.
struct Relay {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    done: [Arc<Mutex<Done>>; 2],
}

impl Relay {
    /// Between the interfaces of this thread's namespace; the first plan is for what comes from
    /// the first.
    fn start(ends: [(&str, [u8; 6]); 2], plans: [Plan; 2]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = [(); 2].map(|()| Arc::new(Mutex::new(Done::default())));
        let mut threads = Vec::new();
        for way in [0, 1] {
            let ((from, mac), (to, _)) = (ends[way], ends[1 - way]);
            let (input, output) = (socket(from), socket(to));
            let (sender, receiver) = channel();
            let (flag, plan, count) = (Arc::clone(&stop), plans[way], Arc::clone(&done[way]));
            threads
                .push(std::thread::spawn(move || take(input, mac, plan, &sender, &flag, &count)));
            threads.push(std::thread::spawn(move || give(output, &receiver)));
        }
        Self { stop, threads, done }
    }

    fn done(&self) -> [Done; 2] {
        [*self.done[0].lock().unwrap(), *self.done[1].lock().unwrap()]
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn socket(interface: &str) -> RawPacketStream {
    let mut socket = RawPacketStream::new().unwrap();
    socket.bind(interface).unwrap();
    socket.set_non_blocking().unwrap();
    socket
}

/// Takes what comes from the peer, that is, all frames with its address as source; decides what
/// becomes of each.
fn take(
    mut input: RawPacketStream,
    mac: [u8; 6],
    plan: Plan,
    sender: &Sender<Waiting>,
    stop: &AtomicBool,
    count: &Mutex<Done>,
) {
    let mut random = Random(plan.seed);
    let mut buffer = vec![0; 65_536];
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let Ok(len) = input.read(&mut buffer) else {
            std::thread::sleep(Duration::from_micros(50));
            continue;
        };
        let frame = &buffer[..len];
        if frame.get(6..12) != Some(&mac[..]) {
            continue;
        }
        let mut count = count.lock().unwrap();
        let is_data = len > 200;
        if is_data && random.one_in_thousand(plan.loss) {
            count.dropped += 1;
            continue;
        }
        let mut due = Instant::now() + plan.delay;
        if is_data && random.one_in_thousand(plan.reorder) {
            due += plan.later;
            count.reordered += 1;
        }
        count.forwarded += 1;
        number += 1;
        if sender.send((due, number, frame.to_vec())).is_err() {
            return;
        }
    }
}

/// Sends each frame when its time has come.
fn give(mut output: RawPacketStream, receiver: &Receiver<Waiting>) {
    let mut waiting: BinaryHeap<Reverse<Waiting>> = BinaryHeap::new();
    loop {
        let next = waiting.peek().map_or(Duration::from_millis(50), |Reverse((due, ..))| {
            due.saturating_duration_since(Instant::now())
        });
        if !next.is_zero() {
            match receiver.recv_timeout(next) {
                Ok(frame) => waiting.push(Reverse(frame)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            continue;
        }
        if let Some(Reverse((_, _, frame))) = waiting.pop() {
            let start = Instant::now();
            // A queue that is full empties; anything else ends with the test.
            while output.write(&frame).is_err() && start.elapsed() < Duration::from_millis(100) {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    }
}

/// What the kernel says of one socket.
#[derive(Clone, Copy, Debug)]
struct Info {
    retransmitted: u64,
    rtt_us: u64,
    min_rtt_us: u64,
    unacked: u64,
}

impl Info {
    /// Of the connection to this port, in this thread's namespace, once all is acknowledged.
    fn settled(filter: &str) -> Self {
        let start = Instant::now();
        loop {
            let mut command = Command::new("ss");
            command.args(["-tinH", "state", "established", filter]);
            let text = String::from_utf8(output_of(&mut command)).unwrap();
            let info = Self::parse(&text);
            if info.unacked == 0 || start.elapsed() > PATIENCE {
                return info;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn parse(text: &str) -> Self {
        let find = |name: &str| {
            let words = text.split_whitespace();
            words.into_iter().find_map(|word| word.strip_prefix(name))
        };
        let us = |text: &str| (text.parse::<f64>().unwrap() * 1000.0).round() as u64;
        let (_, total) = find("retrans:").unwrap_or("0/0").split_once('/').unwrap();
        let (rtt, _) =
            find("rtt:").unwrap_or_else(|| panic!("no rtt in {text}")).split_once('/').unwrap();
        Self {
            retransmitted: total.parse().unwrap(),
            rtt_us: us(rtt),
            min_rtt_us: us(find("minrtt:").unwrap()),
            unacked: find("unacked:").map_or(0, |n| n.parse().unwrap()),
        }
    }
}

fn output_of(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// One run's figures: of the data upwards, sent beside the probe, and of the data downwards.
struct Outcome {
    info: [Info; 2],
    done: [Done; 2],
    /// Records of the client and of the server, as [`sums`] adds them up.
    records: [Sum; 2],
}

/// What the records of one direction say together.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    retransmitted: u64,
    out_of_order: u64,
    gaps: u64,
    unseen_bytes: u64,
    rtt_min_us: u64,
    rtt_us: u64,
    rtt_samples: u64,
    handshake_us: u64,
    lost_upstream: u64,
}

fn sum(records: &[Value], src: &str) -> Sum {
    let mut sum = Sum::default();
    for record in records.iter().filter(|record| record["src"] == src) {
        let number = |name: &str| record["tcp"][name].as_u64().unwrap_or(0);
        sum.retransmitted += number("retransmitted");
        sum.out_of_order += number("out_of_order");
        sum.gaps += number("gaps");
        sum.unseen_bytes += number("unseen_bytes");
        sum.lost_upstream += number("lost_upstream");
        sum.rtt_samples += number("rtt_samples");
        sum.rtt_us += number("rtt_samples") * number("rtt_mean_us");
        sum.handshake_us = number("handshake_rtt_us");
        if number("rtt_samples") > 0 {
            let before = if sum.rtt_min_us == 0 { u64::MAX } else { sum.rtt_min_us };
            sum.rtt_min_us = before.min(number("rtt_min_us"));
        }
    }
    sum
}

/// How the kernels are set up.
#[derive(Clone, Copy, Debug)]
struct Setting {
    timestamps: bool,
    sack: bool,
    /// The sender at the probe leaves segmentation to the interface.
    offload: bool,
}

/// Client and probe on `ca`, bridged to `cb` so that what offload left whole is cut on the way;
/// the relay between `ra` and `rb`; the server on `sa`.
///
/// ca | ba = bridge = bb | ra = relay = rb | sa
fn run(setting: Setting, plans: [Plan; 2]) -> Outcome {
    let [bridge, relay, server] = [(); 3].map(|()| Namespace::new());
    ip("link add ca type veth peer name ba");
    ip(&format!("link set ba netns {}", bridge.name));
    bridge.inside(|| {
        ip("link add bb type veth peer name ra");
        ip(&format!("link set ra netns {}", relay.name));
        ip("link add name sw type bridge forward_delay 0");
        for end in ["ba", "bb"] {
            ip(&format!("link set {end} master sw addrgenmode none up"));
        }
        ip("link set sw addrgenmode none up");
        // Super-segments are cut, and checksums written, where a frame leaves for the relay.
        features("bb", &["tso", "gso", "gro", "tx"], false);
    });
    relay.inside(|| {
        ip("link add rb type veth peer name sa");
        ip(&format!("link set sa netns {}", server.name));
        for end in ["ra", "rb"] {
            ip(&format!("link set {end} addrgenmode none promisc on up"));
        }
    });
    let mac = |device: &str| {
        let output = output_of(Command::new("ip").args(["-br", "link", "show", device]));
        let text = String::from_utf8(output).unwrap();
        let mac = text.split_whitespace().nth(2).unwrap();
        let octets: Vec<u8> =
            mac.split(':').map(|octet| u8::from_str_radix(octet, 16).unwrap()).collect();
        <[u8; 6]>::try_from(octets).unwrap()
    };
    let up = |device: &str, address: &str| {
        ip(&format!("link set {device} addrgenmode none up"));
        ip(&format!("addr add {address}/24 dev {device}"));
        let switch = |name: &str, on: bool| {
            let path = format!("/proc/sys/net/ipv4/{name}");
            std::fs::write(path, if on { "1" } else { "0" }).unwrap();
        };
        switch("tcp_timestamps", setting.timestamps);
        switch("tcp_sack", setting.sack);
        // The relay's sockets hold about 200 KiB; what they drop would be in no plan.
        std::fs::write("/proc/sys/net/ipv4/tcp_rmem", "4096 65536 131072").unwrap();
        mac(device)
    };
    let client_mac = up("ca", "10.8.0.1");
    features("ca", &["tso", "gso"], setting.offload);
    let server_mac = server.inside(|| {
        features("sa", &["tso", "gso", "gro", "tx"], false);
        up("sa", "10.8.0.2")
    });
    let link = relay.inside(|| Relay::start([("ra", client_mac), ("rb", server_mac)], plans));
    let probe = Probe::capturing(["-i", "ca", "--snaplen", "0"]);
    let info = transfer(&server);
    std::thread::sleep(ARRIVED);
    let ended = probe.stop(Signal::SIGTERM);
    assert_eq!(ended.code, 0, "{}", ended.log);
    assert!(ended.log.contains(" 0 dropped by the kernel"), "{}", ended.log);
    let records = records(&ended.stdout);
    let outcome = Outcome {
        info,
        done: link.done(),
        records: [sum(&records, "10.8.0.1"), sum(&records, "10.8.0.2")],
    };
    drop(link);
    ip("link del ca");
    outcome
}

/// Data up, then data down over the same connection; what either sender's kernel says of it.
fn transfer(server: &Namespace) -> [Info; 2] {
    let listener = server.inside(|| TcpListener::bind(SERVER).unwrap());
    let (asked, asks) = channel::<()>();
    let accepting = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buffer = vec![0; TRANSFER_BYTES];
        stream.read_exact(&mut buffer).unwrap();
        stream.write_all(&buffer).unwrap();
        // Open until both were asked.
        asks.recv().unwrap();
    });
    let mut stream = TcpStream::connect(SERVER).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = vec![0x5a; TRANSFER_BYTES];
    stream.write_all(&buffer).unwrap();
    stream.read_exact(&mut buffer).unwrap();
    let client = Info::settled("dport = :7000");
    let peer = server.inside(|| Info::settled("sport = :7000"));
    asked.send(()).unwrap();
    accepting.join().unwrap();
    drop(stream);
    [client, peer]
}

fn features(device: &str, names: &[&str], on: bool) {
    let mut command = Command::new("ethtool");
    command.args(["-K", device]);
    for &name in names {
        command.args([name, if on { "on" } else { "off" }]);
    }
    output_of(&mut command);
}

const CLEAN: Plan = Plan {
    seed: 1,
    delay: Duration::from_millis(5),
    loss: 0,
    reorder: 0,
    later: Duration::from_millis(1),
};

/// Nothing but the loss of the plan.
fn losing(loss: u64) -> [Plan; 2] {
    [7, 8].map(|seed| Plan { seed, loss, ..CLEAN })
}

fn reordering(loss: u64, reorder: u64) -> [Plan; 2] {
    losing(loss).map(|plan| Plan { reorder, ..plan })
}

/// Both directions of a run. What is sent again is counted segment by segment by both, so the
/// figures are nearly always equal; they may differ by what the sender does between the question
/// and the end of the connection, and behind the relay by what is lost twice.
fn assert_sound(outcome: &Outcome, what: &str) {
    let Outcome { info, done, records: [up, down] } = outcome;
    let what = format!("{what}: {info:?} {done:?} {up:?} {down:?}");
    assert!(up.retransmitted.abs_diff(info[0].retransmitted) <= 2, "{what}");
    let lost_twice = info[1].retransmitted / 10;
    assert!(down.retransmitted <= info[1].retransmitted + 2, "{what}");
    assert!(down.retransmitted + lost_twice + 2 >= info[1].retransmitted, "{what}");
    // Beside the sender nothing is missing or late.
    assert_eq!((up.gaps, up.out_of_order, up.lost_upstream), (0, 0, 0), "{what}");
    // Behind the relay something is late only if the relay made it so.
    let tolerance = 1 + down.retransmitted / 20;
    assert!(down.out_of_order <= done[1].reordered + tolerance, "{what}");
    // The last frame of a flight is overtaken by nothing.
    assert!(down.out_of_order >= done[1].reordered / 2, "{what}");
    assert_eq!((up.unseen_bytes, down.unseen_bytes), (0, 0), "{what}");
    assert_round_trips(outcome, &what);
}

/// The server's side is the whole path of 10 ms, seen from the client; the client's is nothing.
fn assert_round_trips(outcome: &Outcome, what: &str) {
    let Outcome { info, records: [up, down], .. } = outcome;
    let path_us = 2 * CLEAN.delay.as_micros() as u64;
    // The kernel measures in ms where it takes a round trip from timestamps.
    let kernel_us = info[0].min_rtt_us.max(path_us);
    let tolerance_us = (kernel_us / 10).max(200);
    assert!(down.rtt_min_us >= path_us && down.handshake_us >= path_us, "{what}");
    assert!(down.rtt_min_us.abs_diff(kernel_us) <= tolerance_us, "{what}");
    let mean_us = down.rtt_us / down.rtt_samples;
    assert!((down.rtt_min_us..=3 * info[0].rtt_us).contains(&mean_us), "{what}");
    assert!(down.rtt_samples >= 5 && up.rtt_samples >= 5, "{what}");
    assert!(up.rtt_min_us < 1000, "{what}");
}

fn assert_runs(settings: &[(bool, bool, bool)], plans: [Plan; 2]) {
    with_veth(|| {
        if Command::new("ethtool").arg("--version").output().is_err() {
            eprintln!("skipped: no ethtool");
            return;
        }
        for &(timestamps, sack, offload) in settings {
            let setting = Setting { timestamps, sack, offload };
            let outcome = run(setting, plans);
            assert_sound(&outcome, &format!("{setting:?}"));
            let lossy = plans.iter().any(|plan| plan.loss > 0);
            assert!(!lossy || outcome.records.iter().all(|sum| sum.retransmitted > 0));
        }
    });
}

#[test]
fn retransmissions_and_round_trips_are_those_of_the_senders_kernel_without_offload() {
    let settings =
        [(true, true, false), (false, true, false), (true, false, false), (false, false, false)];
    assert_runs(&settings, losing(8));
}

#[test]
fn retransmissions_are_counted_by_segment_where_offload_sends_many_at_once() {
    assert_runs(&[(true, true, true), (false, true, true)], losing(8));
}

#[test]
fn what_the_link_reorders_is_late_and_not_sent_again() {
    assert_runs(&[(true, true, false), (false, true, false)], reordering(0, 20));
}

#[test]
fn loss_and_reordering_at_once_are_told_apart() {
    assert_runs(&[(true, true, true)], reordering(5, 20));
}
