//! Real TCP and UDP between two network namespaces: with segmentation offload on, the counts are
//! those of the wire all the same (design D6).
//!
//! The reference is the sender's own count of segments in `/proc/net/snmp`: counters of the
//! interface count a super-packet once. Needs root and iperf3; without them each test says
//! so and passes.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use common::namespace::{Namespace, ip, with_veth};
use common::probe::{Ended, Probe};
use common::recordings::{tagged, udp};
use common::{Sums, records, sums, traffic};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::Signal;
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::Pid;
use serde_json::Value;

/// The kernel hands a block over after 10 ms; this is long enough on a busy machine, too.
const ARRIVED: Duration = Duration::from_millis(300);
/// A whole number of iperf3's blocks of 128 KiB.
const TRANSFER_BYTES: u64 = 320 << 17;
/// iperf3 opens each data connection with these bytes from the client.
const COOKIE_BYTES: u64 = 37;
/// TCP with timestamps (RFC 7323): 32 bytes of header, 40 in the SYN.
const TCP_BYTES: u64 = 32;
const SYN_MORE_BYTES: u64 = 8;
/// Most payload of a segment: MTU 1500, IPv4.
const MSS_BYTES: u64 = 1448;
const TCP: u8 = 6;
const UDP: u8 = 17;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offload {
    On,
    Off,
}

/// `va` here and `vb` there, with addresses; iperf3 listens there.
struct Link {
    peer: Namespace,
    server: Child,
}

impl Link {
    /// `None` where there is no iperf3.
    fn new() -> Option<Self> {
        if Command::new("iperf3").arg("--version").output().is_err() {
            eprintln!("skipped: no iperf3");
            return None;
        }
        let peer = Namespace::new();
        ip("link set va arp on");
        ip("addr add 10.9.0.1/24 dev va");
        ip("addr add fd09::1/64 dev va nodad");
        ip(&format!("link set vb arp on netns {}", peer.name));
        let server = peer.inside(|| {
            ip("link set lo up");
            ip("link set vb up");
            ip("addr add 10.9.0.2/24 dev vb");
            ip("addr add fd09::2/64 dev vb nodad");
            listening()
        });
        Some(Self { peer, server })
    }

    /// Sets the offloads of both ends.
    fn offload(&self, offload: Offload) {
        ethtool("va", offload);
        self.peer.inside(|| ethtool("vb", offload));
    }

    /// Sends the amount to this address, or has it sent back with `-R`, past a probe on `va`.
    fn transfer(&self, address: &str, reverse: bool) -> Transfer {
        let probe = Probe::capturing(["-i", "va"]);
        let before = [Segments::sent(), self.peer.inside(Segments::sent)];
        let bytes = TRANSFER_BYTES.to_string();
        let mut command = Command::new("iperf3");
        command.args(["-J", "-c", address, "-n", &bytes]).args(reverse.then_some("-R"));
        let output = command.output().unwrap();
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(output.status.success(), "{result}");
        std::thread::sleep(ARRIVED);
        let after = [Segments::sent(), self.peer.inside(Segments::sent)];
        let ended = stopped(probe);
        let number = |sum: &str, name: &str| result["end"][sum][name].as_u64().unwrap();
        let records = records(&ended.stdout);
        let metric = |name: &str| {
            records.iter().filter_map(|record| record["tcp"][name].as_u64()).sum::<u64>()
        };
        Transfer {
            is_ipv6: address.contains(':'),
            retransmitted: metric("retransmitted"),
            out_of_order: metric("out_of_order"),
            segments: [after[0].since(before[0]), after[1].since(before[1])],
            sent_bytes: number("sum_sent", "bytes"),
            received_bytes: number("sum_received", "bytes"),
            frames: frames(&ended),
            sums: sums(&records),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Both fail when it has ended.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Segments that a namespace has sent, over IPv4 and IPv6 together.
#[derive(Clone, Copy, Debug)]
struct Segments {
    /// `TcpOutSegs`, which leaves out what is sent again (net/ipv4/tcp_output.c).
    new: u64,
    /// `TcpRetransSegs`.
    again: u64,
    /// `TcpExtTCPOFOQueue`: received out of order.
    late: u64,
}

impl Segments {
    /// Of this thread's namespace, since it was made.
    fn sent() -> Self {
        Self {
            new: tcp_counter("OutSegs"),
            again: tcp_counter("RetransSegs"),
            late: counter("netstat", "TcpExt: ", "TCPOFOQueue"),
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            new: self.new - before.new,
            again: self.again - before.again,
            late: self.late - before.late,
        }
    }
}

/// What one run of iperf3 gave.
struct Transfer {
    /// What the TCP of this side and of the peer has sent.
    segments: [Segments; 2],
    sent_bytes: u64,
    received_bytes: u64,
    /// Entries of the ring.
    frames: u64,
    is_ipv6: bool,
    /// As the records' TCP metrics have it, both ways together.
    retransmitted: u64,
    out_of_order: u64,
    sums: Sums,
}

impl Transfer {
    /// Segments that the kernels sent again, and those that they received out of order.
    fn again_and_late(&self) -> (u64, u64) {
        let [out, back] = self.segments;
        (out.again + back.again, out.late + back.late)
    }

    /// Packets of a protocol that went out, and that came in.
    fn packets(&self, protocol: u8, local: &str) -> [u64; 2] {
        let local: std::net::IpAddr = local.parse().unwrap();
        let flows = || self.sums.iter().filter(|(flow, _)| flow.protocol == protocol);
        let (out, back): (Vec<_>, Vec<_>) = flows().partition(|(flow, _)| flow.src == local);
        [out, back].map(|side| side.iter().map(|(_, counts)| counts.packets).sum())
    }
}

#[test]
fn tcp_segments_are_counted_as_sent_with_offloads_on_and_off() {
    with_veth(|| {
        let Some(link) = Link::new() else { return };
        for offload in [Offload::On, Offload::Off] {
            link.offload(offload);
            for (local, remote, ip_bytes) in
                [("10.9.0.1", "10.9.0.2", 20), ("fd09::1", "fd09::2", 40)]
            {
                for reverse in [false, true] {
                    let what = format!("offload {offload:?}, {remote}, reverse {reverse}");
                    let transfer = link.transfer(remote, reverse);
                    assert_segments(&transfer, transfer.packets(TCP, local), 0, &what);
                    assert_data(&transfer, ip_bytes, &what);
                    assert_frames(&transfer, offload, &what);
                }
            }
        }
    });
}

#[test]
fn what_is_late_because_the_sender_changes_cpus_was_not_sent_again() {
    with_veth(|| {
        let Some(link) = Link::new() else { return };
        link.offload(Offload::Off);
        let moving = Moving::begin(link.server.id());
        for round in 0..4 {
            let transfer = link.transfer("10.9.0.2", true);
            let what = format!("round {round}");
            assert_packets(&transfer, transfer.packets(TCP, "10.9.0.1"), 0, &what);
            // How many are late is not compared: two CPUs bring segments to the probe and to TCP at
            // the same time, so that the orders differ.
            let (again, seen) = (transfer.again_and_late().0, transfer.retransmitted);
            assert!(seen <= again, "{what}: {seen} sent again, to the kernels {again}");
        }
        drop(moving);
    });
}

/// Brings the threads of a process from CPU to CPU, all of which are busy: what waits to be
/// received on one is overtaken by what is sent on the next.
struct Moving(Arc<AtomicBool>, Vec<JoinHandle<()>>);

impl Moving {
    fn begin(process: u32) -> Self {
        let goes_on = Arc::new(AtomicBool::new(true));
        let cpus = std::thread::available_parallelism().unwrap().get();
        let mover = {
            let goes_on = Arc::clone(&goes_on);
            std::thread::spawn(move || {
                for cpu in (0..cpus).cycle().take_while(|_| goes_on.load(Relaxed)) {
                    pin(process, cpu);
                    std::thread::sleep(Duration::from_millis(2));
                }
            })
        };
        let busy = || {
            let goes_on = Arc::clone(&goes_on);
            std::thread::spawn(move || while goes_on.load(Relaxed) {})
        };
        let threads = std::iter::repeat_with(busy).take(cpus).chain([mover]).collect();
        Self(goes_on, threads)
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.0.store(false, Relaxed);
        for thread in self.1.drain(..) {
            // It has nothing to say, and a panic would abort a test that already fails.
            let _ = thread.join();
        }
    }
}

/// A CPU that does not exist, or may not be used, and a thread that ends meanwhile, are left alone.
fn pin(process: u32, cpu: usize) {
    let mut cpus = CpuSet::new();
    if cpus.set(cpu).is_err() {
        return;
    }
    for task in std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten() {
        if let Some(id) = task.file_name().to_str().and_then(|name| name.parse().ok()) {
            let _ = sched_setaffinity(Pid::from_raw(id), &cpus);
        }
    }
}

#[test]
fn the_same_data_makes_the_same_bytes_with_offloads_on_and_off() {
    with_veth(|| {
        let Some(link) = Link::new() else { return };
        for offload in [Offload::On, Offload::Off] {
            link.offload(offload);
            for (remote, ip_bytes) in [("10.9.0.2:7000", 20), ("[fd09::2]:7000", 40)] {
                let what = format!("offload {offload:?}, {remote}");
                let here = Probe::capturing(["-i", "va"]);
                let there = link.peer.inside(|| Probe::capturing(["-i", "vb"]));
                let before = tcp_counter("RetransSegs");
                let listener = link.peer.inside(|| TcpListener::bind(remote).unwrap());
                let received = std::thread::spawn(move || {
                    let (mut stream, _) = listener.accept().unwrap();
                    std::io::copy(&mut stream, &mut std::io::sink()).unwrap()
                });
                let mut stream = TcpStream::connect(remote).unwrap();
                stream.write_all(&vec![0x5a; TRANSFER_BYTES as usize]).unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                assert_eq!(received.join().unwrap(), TRANSFER_BYTES);
                assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the peer says nothing");
                std::thread::sleep(ARRIVED);
                let again = tcp_counter("RetransSegs") - before;
                let [here, there] = [here, there]
                    .map(|probe| payload_bytes(&sums(&records(&stopped(probe).stdout)), ip_bytes));
                let most = TRANSFER_BYTES + again * MSS_BYTES;
                assert!((TRANSFER_BYTES..=most).contains(&here), "{what}: {here} bytes");
                // What is sent again was lost on the way, or was not.
                assert!((TRANSFER_BYTES..=here).contains(&there), "{what}: {there} bytes");
            }
        }
    });
}

#[test]
fn packets_beyond_64_kib_are_counted_as_their_segments() {
    with_veth(|| {
        let Some(link) = Link::new() else { return };
        let set = |end: &str| {
            let size = ["link", "set", end, "gso_max_size", "180000", "gro_max_size", "180000"];
            Command::new("ip").args(size).status().unwrap().success()
        };
        if !set("va") || !link.peer.inside(|| set("vb")) {
            eprintln!("skipped: no BIG TCP here");
            return;
        }
        link.offload(Offload::On);
        for reverse in [false, true] {
            let what = format!("reverse {reverse}");
            let transfer = link.transfer("fd09::2", reverse);
            assert_segments(&transfer, transfer.packets(TCP, "fd09::1"), 0, &what);
            assert_data(&transfer, 40, &what);
            assert_frames(&transfer, Offload::On, &what);
        }
    });
}

#[test]
fn tcp_inside_vxlan_counts_as_many_tunnel_packets_as_segments() {
    with_veth(|| {
        let Some(link) = Link::new() else { return };
        let tunnel = |device: &str, local: &str, remote: &str, inner: &str| {
            let ends = format!("local {local} remote {remote} dev {device}");
            ip(&format!("link add vx type vxlan id 42 dstport 4789 {ends}"));
            ip("link set vx addrgenmode none up");
            ip(&format!("addr add {inner}/24 dev vx"));
        };
        tunnel("va", "10.9.0.1", "10.9.0.2", "10.10.0.1");
        link.peer.inside(|| tunnel("vb", "10.9.0.2", "10.9.0.1", "10.10.0.2"));
        for offload in [Offload::On, Offload::Off] {
            link.offload(offload);
            for reverse in [false, true] {
                let what = format!("offload {offload:?}, reverse {reverse}");
                let transfer = link.transfer("10.10.0.2", reverse);
                // ARP goes through the tunnel as well.
                assert_segments(&transfer, transfer.packets(UDP, "10.9.0.1"), 10, &what);
            }
        }
    });
}

#[test]
fn datagrams_that_the_kernel_cuts_are_counted_one_by_one() {
    with_veth(|| {
        let Some(link) = Link::new() else { return };
        for offload in [Offload::On, Offload::Off] {
            link.offload(offload);
            for (local, remote, headers) in
                [("10.9.0.1:7001", "10.9.0.2:7000", 28), ("[fd09::1]:7001", "[fd09::2]:7000", 48)]
            {
                let here = Probe::capturing(["-i", "va"]);
                let there = link.peer.inside(|| Probe::capturing(["-i", "vb"]));
                // Somebody has to be there, or the peer answers with ICMP.
                let _receiver = link.peer.inside(|| UdpSocket::bind(remote).unwrap());
                let socket = UdpSocket::bind(local).unwrap();
                setsockopt(&socket, sockopt::UdpGsoSegment, &1000).unwrap();
                for _ in 0..100 {
                    // Ten datagrams of 1,000 bytes and one of 300.
                    assert_eq!(socket.send_to(&[0x5a; 10_300], remote).unwrap(), 10_300);
                }
                std::thread::sleep(ARRIVED);
                for (end, probe) in [("va", here), ("vb", there)] {
                    let what = format!("offload {offload:?}, {remote} on {end}");
                    let ended = stopped(probe);
                    let sums = sums(&records(&ended.stdout));
                    let found: Vec<_> =
                        sums.iter().filter(|(flow, _)| flow.dst_port == 7000).collect();
                    let [(_, counts)] = found[..] else { panic!("{what}: {found:?}") };
                    let bytes = 100 * (10_300 + 11 * headers);
                    assert_eq!((counts.packets, counts.bytes), (1100, bytes), "{what}");
                    match offload {
                        Offload::On => assert!(frames(&ended) < 400, "{what}: {}", frames(&ended)),
                        Offload::Off => assert!(frames(&ended) >= 1100, "{what}"),
                    }
                }
            }
        }
    });
}

#[test]
fn a_tag_is_seen_alike_at_the_end_that_sends_and_at_the_one_that_receives() {
    with_veth(|| {
        let probes = ["va", "vb"].map(|end| Probe::capturing(["-i", end]));
        let one = |id| tagged(udp(1000, 1), &[(0x8100, id)]);
        let frames: Vec<_> = (0..3000).map(|n| one(100 + n % 3)).collect();
        traffic::send("va", &frames, 0);
        std::thread::sleep(ARRIVED);
        for probe in probes {
            let sums = sums(&records(&stopped(probe).stdout));
            let found: Vec<_> = sums.iter().map(|(f, c)| (f.vlan, c.packets, c.bytes)).collect();
            let bytes = 1000 * (20 + 8 + 1000);
            assert_eq!(found, [(100, 1000, bytes), (101, 1000, bytes), (102, 1000, bytes)]);
        }
    });
}

/// Packets out are the segments sent, and as many others at most; what comes in may have lost
/// segments on the way, which were sent again.
fn assert_segments(transfer: &Transfer, packets: [u64; 2], others: u64, what: &str) {
    assert_packets(transfer, packets, others, what);
    let (again, late) = transfer.again_and_late();
    let seen = [transfer.retransmitted, transfer.out_of_order];
    let what = format!("{what}: {seen:?} again and late, to the kernels {again} and {late}");
    // What the kernels did not send again was not, and nothing is late that came in order. It may be
    // late: a sender changes CPUs. What is late by more than the few µs of this round trip can
    // be told from what is sent again by IPv4's identification alone.
    let sound = seen[0] <= again || transfer.is_ipv6 && late > 0;
    assert!(sound && (late > 0 || seen[1] == 0), "{what}");
}

fn assert_packets(transfer: &Transfer, packets: [u64; 2], others: u64, what: &str) {
    let [out, back] = transfer.segments;
    let sent = out.new + out.again..=out.new + out.again + others;
    assert!(sent.contains(&packets[0]), "{what}: {} packets out, {out:?}", packets[0]);
    let came = back.new..=back.new + back.again + others;
    assert!(came.contains(&packets[1]), "{what}: {} packets in, {back:?}", packets[1]);
}

/// The data's direction: payload once, headers once a packet. At the end of a run iperf3 drops what
/// it has not sent, so two figures of its own hold the payload.
fn assert_data(transfer: &Transfer, ip_bytes: u64, what: &str) {
    let payload = payload_bytes(&transfer.sums, ip_bytes);
    let least = transfer.received_bytes;
    // Its count of retransmissions ends before the connection does.
    let (again, _) = transfer.again_and_late();
    let most = transfer.sent_bytes + COOKIE_BYTES + again * MSS_BYTES;
    assert!((least..=most).contains(&payload), "{what}: {payload} bytes, not {least} to {most}");
}

/// What the TCP headers of the flow with the most bytes have left.
fn payload_bytes(sums: &Sums, ip_bytes: u64) -> u64 {
    let counts = sums.values().max_by_key(|counts| counts.bytes).unwrap();
    counts.bytes - counts.packets * (ip_bytes + TCP_BYTES) - SYN_MORE_BYTES
}

/// With offload the ring holds few frames for many packets, without it one for each.
fn assert_frames(transfer: &Transfer, offload: Offload, what: &str) {
    let (frames, packets) =
        (transfer.frames, transfer.segments.iter().map(|side| side.new).sum::<u64>());
    match offload {
        Offload::On => assert!(frames * 4 < packets, "{what}: {frames} frames, {packets} packets"),
        Offload::Off => assert!(frames >= packets, "{what}: {frames} frames, {packets} packets"),
    }
}

fn ethtool(end: &str, offload: Offload) {
    let state = if offload == Offload::On { "on" } else { "off" };
    let mut command = Command::new("ethtool");
    command.args(["-K", end]);
    for feature in ["tso", "gso", "gro", "tx-udp-segmentation"] {
        command.args([feature, state]);
    }
    // It tells of features that follow others.
    let output = command.output().expect("ethtool");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An iperf3 that takes one run after the other.
fn listening() -> Child {
    let mut command = Command::new("iperf3");
    let mut server = command.args(["-s", "--forceflush"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("listening")), "iperf3 has ended");
    // Nobody may be written to that does not read.
    std::thread::spawn(move || lines.for_each(drop));
    server
}

/// A counter of TCP in this thread's namespace.
fn tcp_counter(name: &str) -> u64 {
    counter("snmp", "Tcp: ", name)
}

/// A counter of a file in `/proc/net`, in this thread's namespace.
fn counter(file: &str, prefix: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(prefix));
    let [names, values] = [(); 2].map(|()| lines.next().unwrap().split(' '));
    let (_, value) = names.zip(values).find(|(counter, _)| *counter == name).unwrap();
    value.parse().unwrap()
}

/// Ends a probe that has lost nothing.
fn stopped(probe: Probe) -> Ended {
    let ended = probe.stop(Signal::SIGTERM);
    assert_eq!(ended.code, 0, "{}", ended.log);
    assert!(ended.log.contains(" passed the filter, 0 dropped by the kernel"), "{}", ended.log);
    ended
}

/// Entries that the ring gave.
fn frames(ended: &Ended) -> u64 {
    let line = ended.log.lines().find(|line| line.contains(" passed the filter")).unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    let at = words.iter().position(|word| *word == "packets").unwrap();
    words[at - 1].parse().unwrap()
}
