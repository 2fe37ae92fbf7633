//! Real TCP between two network namespaces over a link that loses nothing: what the records say of
//! retransmission and reordering is what the kernels say, and what the capture itself lost is not
//! held against the network.
//!
//! Needs root and ethtool; without root each test says so and passes.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use common::namespace::{Namespace, ip, with_veth};
use common::probe::{Ended, Probe};
use common::records;
use nix::sys::signal::Signal;

/// The kernel hands a block over after 10 ms; this is long enough on a busy machine, too.
const ARRIVED: Duration = Duration::from_millis(300);
/// What each connection carries, in either direction.
const TRANSFER_BYTES: usize = 4 << 20;
const CONNECTIONS: u16 = 4;
const PORT: u16 = 7000;

/// A ring of 16 blocks, each for some forty frames of full size.
const TINY: [&str; 8] = ["-i", "va", "--buffer-size", "1", "--block-size", "64", "--snaplen", "0"];

/// The addresses of the far end: over IPv4, over IPv6, and both within VLAN 7.
const FAR: [&str; 4] = ["10.7.0.2", "fd07::2", "10.7.7.2", "fd07:7::2"];

/// `va` stays here, `vb` goes to another namespace; both have addresses. Gives those of the other.
fn link() -> (Namespace, &'static [&'static str]) {
    let peer = Namespace::new();
    ip(&format!("link set vb netns {}", peer.name));
    let vlans = has_vlans();
    let addresses = |end: &str, host: u8| {
        ip(&format!("link set {end} arp on up"));
        if vlans {
            ip(&format!("link add link {end} name {end}.7 type vlan id 7"));
            ip(&format!("link set {end}.7 addrgenmode none up"));
        }
        let both = [(end.to_owned(), "10.7.0", "fd07"), (format!("{end}.7"), "10.7.7", "fd07:7")];
        for (device, v4, v6) in both.iter().take(1 + usize::from(vlans)) {
            ip(&format!("addr add {v4}.{host}/24 dev {device}"));
            ip(&format!("addr add {v6}::{host}/64 dev {device} nodad"));
        }
    };
    addresses("va", 1);
    peer.inside(|| {
        ip("link set lo up");
        addresses("vb", 2);
    });
    (peer, if vlans { &FAR } else { &FAR[..2] })
}

/// Some kernels are built without VLANs.
fn has_vlans() -> bool {
    let words = ["link", "add", "link", "lo", "name", "try", "type", "vlan", "id", "7"];
    let has = Command::new("ip").args(words).output().expect("iproute2").status.success();
    if has {
        ip("link del try");
    } else {
        eprintln!("skipped: VLANs, which this kernel does not have");
    }
    has
}

fn offloads(end: &str, on: bool) {
    let state = if on { "on" } else { "off" };
    let mut command = Command::new("ethtool");
    command.args(["-K", end, "tso", state, "gso", state, "gro", state]);
    let output = command.output().expect("ethtool");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Connections side by side, each with data up and then down. Gives what both kernels together say
/// of it.
fn transfer(peer: &Namespace, address: &str, bytes: usize) -> Kernel {
    let before = [Kernel::now(), peer.inside(Kernel::now)];
    let listener = peer.inside(|| TcpListener::bind((address, PORT)).unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..CONNECTIONS {
                let (stream, _) = listener.accept().unwrap();
                scope.spawn(move || echo(stream));
            }
        });
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut stream = TcpStream::connect((address, PORT)).unwrap();
                stream.write_all(&vec![0x5a; bytes]).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                let mut back = Vec::new();
                stream.read_to_end(&mut back).unwrap();
                assert_eq!(back.len(), bytes);
            });
        }
    });
    let after = [Kernel::now(), peer.inside(Kernel::now)];
    let both = |of: fn(&Kernel) -> u64| {
        after.iter().map(of).sum::<u64>() - before.iter().map(of).sum::<u64>()
    };
    Kernel { again: both(|kernel| kernel.again), late: both(|kernel| kernel.late) }
}

fn echo(mut stream: TcpStream) {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    stream.write_all(&bytes).unwrap();
}

/// What a kernel's TCP, in this thread's namespace, says of itself since its start.
#[derive(Clone, Copy, Debug)]
struct Kernel {
    /// `TcpRetransSegs`: segments sent again.
    again: u64,
    /// `TcpExtTCPOFOQueue`: frames received out of order.
    late: u64,
}

impl Kernel {
    fn now() -> Self {
        Self {
            again: counter("snmp", "Tcp: ", "RetransSegs"),
            late: counter("netstat", "TcpExt: ", "TCPOFOQueue"),
        }
    }
}

fn counter(file: &str, prefix: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(prefix));
    let [names, values] = [(); 2].map(|()| lines.next().unwrap().split(' '));
    let (_, value) = names.zip(values).find(|(counter, _)| *counter == name).unwrap();
    value.parse().unwrap()
}

/// All counters of the records' `tcp` objects, added up.
fn totals(ended: &Ended) -> BTreeMap<String, u64> {
    assert_eq!(ended.code, 0, "{}", ended.log);
    let mut totals = BTreeMap::new();
    for record in records(&ended.stdout) {
        let Some(tcp) = record["tcp"].as_object() else { continue };
        for (name, value) in tcp {
            *totals.entry(name.clone()).or_insert(0) += value.as_u64().unwrap_or(0);
        }
        *totals.entry("packets".to_owned()).or_insert(0) += record["packets"].as_u64().unwrap();
    }
    totals
}

#[test]
fn a_clean_link_has_no_retransmission_that_the_kernels_do_not_know_of() {
    with_veth(|| {
        let (peer, far) = link();
        for on in [true, false] {
            offloads("va", on);
            peer.inside(|| offloads("vb", on));
            for (address, readers) in far.iter().zip(["1", "2", "2", "1"]) {
                let what = format!("{address}, offloads {on}, {readers} readers");
                let options = ["-i", "va", "--buffer-size", "64", "--readers", readers];
                let probe = Probe::capturing(options);
                let kernels = transfer(&peer, address, TRANSFER_BYTES);
                std::thread::sleep(ARRIVED);
                let ended = probe.stop(Signal::SIGTERM);
                assert!(ended.log.contains(", 0 dropped by the kernel"), "{what}: {}", ended.log);
                let totals = totals(&ended);
                let count = |name: &str| totals.get(name).copied().unwrap_or(0);
                let data = u64::from(CONNECTIONS) * 2 * TRANSFER_BYTES as u64;
                assert!(count("packets") > data / 1448, "{what}: {totals:?}");
                let what = format!("{what}, {kernels:?}: {totals:?}");
                // What is late by more than the few µs of this round trip can be told from what is
                // sent again by IPv4's identification alone.
                let tells = kernels.late == 0 || !address.contains(':');
                assert!(count("retransmitted") <= kernels.again || !tells, "{what}");
                for name in ["duplicates", "unseen_bytes", "lacking"] {
                    assert_eq!(count(name), 0, "{what}");
                }
                // A sender that changes CPUs is overtaken by itself; the receiver knows.
                if kernels.late == 0 {
                    assert_eq!((count("out_of_order"), count("gaps")), (0, 0), "{what}");
                }
                assert!(count("rtt_samples") > 20, "{what}");
            }
        }
    });
}

#[test]
fn what_the_ring_loses_is_marked_and_not_counted_as_the_networks() {
    with_veth(|| {
        let (peer, _) = link();
        offloads("va", false);
        peer.inside(|| offloads("vb", false));
        let probe = Probe::capturing(TINY);
        let mut kernels = Kernel { again: 0, late: 0 };
        for round in 0..3 {
            // The handshake is seen, then the probe stands still in the middle of the data.
            let stalled = std::thread::scope(|scope| {
                let probe = &probe;
                let stalling = scope.spawn(move || {
                    std::thread::sleep(Duration::from_millis(30));
                    probe.signal(Signal::SIGSTOP);
                    std::thread::sleep(Duration::from_millis(60));
                    probe.signal(Signal::SIGCONT);
                });
                let more = transfer(&peer, FAR[0], 16 << 20);
                kernels.again += more.again;
                kernels.late += more.late;
                stalling.join()
            });
            assert!(stalled.is_ok(), "round {round}");
            std::thread::sleep(ARRIVED);
        }
        let ended = probe.stop(Signal::SIGTERM);
        let totals = totals(&ended);
        let count = |name: &str| totals.get(name).copied().unwrap_or(0);
        assert!(!ended.log.contains(", 0 dropped by the kernel"), "{}", ended.log);
        assert!(count("capture_loss_gaps") > 0, "{totals:?}");
        assert!(count("unseen_bytes") > 0, "{totals:?}");
        assert!(count("retransmitted") <= kernels.again, "{kernels:?}: {totals:?}");
        assert!(count("out_of_order") == 0 || kernels.late > 0, "{kernels:?}: {totals:?}");
        // Hardly one that the kernel counted too late.
        assert!(count("gaps") * 50 <= count("capture_loss_gaps"), "{totals:?}");
    });
}
