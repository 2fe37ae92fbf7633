//! Several readers: every frame is counted once, both directions of a conversation meet where the
//! mode promises it, and a replay gives the same bytes whatever their number (design D12).
//!
//! The live tests need root; without it each says so and passes.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use benches::mix::{Profile, Size};
use benches::pcap_file::Writer;
use benches::traffic::Plan;
use benches::transactions::Transactions;
use common::namespace::{ip, with_veth};
use common::probe::{Ended, Probe};
use common::recordings::{self, ETHERNET, tagged};
use common::{Sums, folder, page, records, replay, sums, total, traffic};
use etherparse::PacketBuilder;
use nix::sys::signal::Signal;
use serde_json::Value;

/// The kernel hands a block over after 10 ms; this is long enough on a busy machine, too.
const ARRIVED: Duration = Duration::from_millis(300);
/// Readers tell the status once a second.
const STATUS: Duration = Duration::from_millis(1500);
/// Small rings, so that four readers fit under the memory ceiling.
const RING: [&str; 6] = ["-i", "vb", "--buffer-size", "16", "-v", "--readers"];
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x0c];
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x05];

const PLAN: Plan = Plan {
    conversations: 400,
    unique: false,
    size: Size::Imix,
    profile: Profile::Uniform,
    ipv6_percent: 25,
    seed: 21,
};

#[test]
fn in_every_mode_each_packet_is_counted_once_and_split_conversations_are_told() {
    with_veth(|| {
        let (frames, truth) = pairs(2000);
        for readers in [2, 4] {
            for mode in ["ebpf", "hash", "lb", "cpu", "qm"] {
                let what = format!("{readers} readers, mode {mode}");
                let number = readers.to_string();
                let more = [&*number, "--fanout-mode", mode, "--status-port", "9996"];
                let mut probe = Probe::capturing([&RING[..], &more].concat());
                probe.wait_for("status at");
                traffic::send("va", &frames, 50_000);
                std::thread::sleep(STATUS);
                let status = page(9996, "/v1/status");
                let ended = stopped(probe);
                assert!(ended.log.contains(&format!(", mode {mode}\n")), "{}", ended.log);
                assert_eq!(sums(&records(&ended.stdout)), truth, "{what}");
                let shares = shares(&status);
                assert_eq!(shares.len(), readers, "{what}");
                assert_eq!(shares.iter().sum::<u64>(), 4000, "{what}: {shares:?}");
                match mode {
                    "hash" | "ebpf" => {
                        assert_eq!(one_sided(&ended), 0, "{what}");
                        let fair = 4000 / readers as u64;
                        let spread = |share: &u64| (fair / 2..fair * 2).contains(share);
                        assert!(shares.iter().all(spread), "{what}: {shares:?}");
                    }
                    // Round robin gives the two packets of each conversation to two readers.
                    "lb" => assert_eq!(one_sided(&ended), 4000, "{what}"),
                    // One queue.
                    "qm" => assert_eq!(one_sided(&ended), 0, "{what}"),
                    // By the CPU that the sender happens to be on.
                    _ => {}
                }
            }
        }
    });
}

#[test]
fn one_process_captures_on_two_interfaces() {
    with_veth(|| {
        ip("link add vc type veth peer name vd");
        for end in ["vc", "vd"] {
            ip(&format!("link set {end} addrgenmode none arp off up"));
        }
        let (first, mut truth) = traffic::frames(&PLAN, 10_000);
        let (second, more) = traffic::frames(&Plan { seed: 22, ..PLAN }, 10_000);
        for (flow, counts) in more {
            truth.entry(flow).or_default().add(counts);
        }
        let mut probe = Probe::capturing([&RING[..], &["2", "-i", "vd"]].concat());
        probe.wait_for("capturing on vd");
        traffic::send("va", &first, 0);
        traffic::send("vc", &second, 0);
        std::thread::sleep(ARRIVED);
        let ended = stopped(probe);
        assert_eq!(sums(&records(&ended.stdout)), truth);
        assert!(ended.log.contains("20000 packets passed the filter, 0 dropped"), "{}", ended.log);
    });
}

#[test]
fn two_processes_steer_alike_by_their_program() {
    with_veth(|| {
        let (frames, truth) = pairs(2000);
        let group = ["1", "--fanout-group", "7", "--fanout-mode", "ebpf"];
        let probes = [(); 2].map(|()| {
            let mut probe = Probe::capturing([&RING[..], &group].concat());
            probe.wait_for("joined fanout group 7, mode ebpf");
            probe
        });
        traffic::send("va", &frames, 50_000);
        std::thread::sleep(ARRIVED);
        let ended = probes.map(stopped);
        let shares = ended.each_ref().map(|ended| records(&ended.stdout));
        let [first, second] = shares.each_ref().map(|share| sums(share));
        assert!(first.len() > 1000 && second.len() > 1000, "{}, {}", first.len(), second.len());
        assert!(first.keys().all(|flow| !second.contains_key(flow)));
        assert_eq!(sums(&shares.concat()), truth);
        assert_eq!(ended.each_ref().map(one_sided), [0, 0]);
    });
}

#[test]
fn the_fragments_of_a_flow_meet_its_whole_packets_in_one_reader() {
    with_veth(|| {
        let (mut frames, mut expected) = (Vec::new(), 0);
        for number in 0..300_u16 {
            let whole = datagram(number, 500);
            frames.extend([whole.clone(), answer(whole)]);
            frames.extend(fragments(&datagram(number, 1400)));
            expected += 4;
        }
        let probe = Probe::capturing([&RING[..], &["4", "--fanout-mode", "ebpf"]].concat());
        traffic::send("va", &frames, 50_000);
        std::thread::sleep(ARRIVED);
        let ended = stopped(probe);
        let sums = sums(&records(&ended.stdout));
        assert_eq!((sums.len(), total(&sums).packets), (600, expected));
        // Two fragments and one whole packet forth, one back: no reader saw less.
        let asked = sums.iter().filter(|(flow, _)| flow.dst_port == 5000);
        assert!(asked.clone().all(|(_, counts)| (counts.packets, counts.fragments) == (3, 2)));
        assert_eq!(asked.count(), 300);
        assert_eq!(one_sided(&ended), 0);
    });
}

#[test]
fn with_the_right_to_packet_sockets_alone_readers_share_by_hash_and_say_so_once() {
    if Command::new("setpriv").arg("--version").output().is_err() {
        eprintln!("skipped: no setpriv");
        return;
    }
    with_veth(|| {
        let sysctl = std::fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled");
        if sysctl.is_ok_and(|value| value.trim() == "0") {
            eprintln!("skipped: anybody may load programs here");
            return;
        }
        // Where the tests were built may be closed to others.
        let folder = folder();
        let open = |path: &Path| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        open(folder.path());
        let program = folder.path().join("kprobe");
        std::fs::copy(env!("CARGO_BIN_EXE_kprobe"), &program).unwrap();
        open(&program);
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        for set in ["--inh-caps", "--ambient-caps", "--bounding-set"] {
            command.args([set, "-all,+net_raw"]);
        }
        command.arg(program).args(RING).arg("2");
        let (frames, truth) = pairs(1000);
        let mut probe = Probe::spawn(command);
        probe.wait_for("capturing on vb");
        traffic::send("va", &frames, 50_000);
        std::thread::sleep(ARRIVED);
        let ended = stopped(probe);
        assert!(ended.log.contains(", mode hash\n"), "{}", ended.log);
        let notes = ended.log.matches("fanout mode hash is used instead of ebpf").count();
        assert_eq!(notes, 1, "{}", ended.log);
        assert_eq!(sums(&records(&ended.stdout)), truth);
        assert_eq!(one_sided(&ended), 0);
    });
}

#[test]
fn messages_of_one_time_keep_their_order_for_any_number_of_readers() {
    let folder = folder();
    let path = folder.path().join("messages.pcap");
    let mut frames = Transactions::new(3);
    let mut file = Writer::create(&path, 1).unwrap();
    for number in 0..60_000_u64 {
        // Many at a time, pauses in which a tick has nothing to cut, and ticks between messages.
        let time_ns = 1_700_000_000_000_000_000 + number / 100 * 50_000_000;
        let pause_ns = number / 6_000 * 100_000_000_000;
        let frame = frames.next_frame();
        file.write(time_ns + pause_ns, &frame, frame.len() as u32).unwrap();
    }
    file.finish().unwrap();
    let replays = ["1", "2", "4"].map(|readers| replay(&path, &["--readers", readers]));
    let [one, two, four] = &replays;
    assert_eq!(one.code, Some(0), "{}", one.stderr);
    assert!(records(&one.stdout).len() > 20_000);
    assert!(one.stdout == two.stdout, "two readers");
    assert!(one.stdout == four.stdout, "four readers");
}

#[test]
fn a_replay_gives_the_same_bytes_for_any_number_of_readers() {
    let folder = folder();
    let path = folder.path().join("mixed.pcap");
    for seed in 1..=3 {
        let packets = write_mixed(&path, seed);
        let [one, two, four] =
            ["1", "2", "4"].map(|readers| replay(&path, &["--readers", readers]));
        assert!(one.stdout == two.stdout, "two readers, seed {seed}");
        assert!(one.stdout == four.stdout, "four readers, seed {seed}");
        let records = records(&one.stdout);
        assert_eq!(total(&sums(&records)).packets, packets, "seed {seed}");
        assert!(records.len() > 2000, "{} records", records.len());
    }
}

/// A capture of all that could make readers differ; says how many IP packets are in it.
fn write_mixed(path: &Path, seed: u64) -> u64 {
    const S: u64 = 1_000_000_000;
    let mut writer = Writer::create(path, ETHERNET).unwrap();
    let mut time_ns = 1_767_225_600 * S;
    let mut packets = 0;
    let mut write = |time_ns: u64, frame: &[u8]| {
        writer.write(time_ns, frame, frame.len() as u32).unwrap();
        packets += 1;
    };
    let (plain, _) = traffic::frames(&Plan { seed, ..PLAN }, 12_000);
    let odd: Vec<_> = recordings::all()
        .into_iter()
        .filter(|recording| recording.linktype == ETHERNET && recording.name != "not_ip")
        .flat_map(|recording| recording.frames)
        .collect();
    for (number, frame) in plain.iter().enumerate() {
        time_ns += 3_000_000;
        match number {
            // Silence that ends every conversation, and one that fragments do not outlive.
            3000 => time_ns += 61 * S,
            6000 => time_ns += 11 * 60 * S,
            // The clock is set back.
            9000 => time_ns -= 30 * S,
            _ => {}
        }
        match number % 5 {
            0 => write(time_ns, &tagged(frame.clone(), &[(0x8100, number as u16 % 7 + 1)])),
            _ => write(time_ns, frame),
        }
        if number % 50 == 0 {
            // Fragments whole and out of order, tunnels, extension headers, labels, padding.
            odd.iter().for_each(|frame| write(time_ns, frame));
        }
        if number % 40 == 0 {
            // A first fragment, or a last one, whose others are lost.
            write(time_ns, &lost_fragment(number as u32));
        }
        if number % 30 == 0 {
            // The ports of a connection are used again and again.
            for (forth, flags) in [(true, 0x02), (false, 0x12), (true, 0x11), (false, 0x11)] {
                write(time_ns, &segment(number as u16 % 90, forth, flags));
            }
        }
    }
    writer.finish().unwrap();
    packets
}

/// A fragment of 1,200 bytes, the first of its datagram or a later one, alone.
fn lost_fragment(number: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    let [.., high, low] = number.to_be_bytes();
    PacketBuilder::ethernet2(CLIENT_MAC, SERVER_MAC)
        .ipv4([10, 1, high, low], [10, 2, 0, 1], 64)
        .udp(40_000, 5000)
        .write(&mut frame, &[7; 1192])
        .unwrap();
    // Identification, then flags and offset in units of eight bytes: more to come, or byte 1,200.
    frame[18..20].copy_from_slice(&[high, low]);
    let place: u16 = if number.is_multiple_of(80) { 0x2000 } else { 150 };
    frame[20..22].copy_from_slice(&place.to_be_bytes());
    frame
}

/// A datagram from a client of its own to the server.
fn datagram(number: u16, payload_bytes: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    let [high, low] = number.to_be_bytes();
    PacketBuilder::ethernet2(CLIENT_MAC, SERVER_MAC)
        .ipv4([10, 4, high, low], [10, 5, 0, 1], 64)
        .udp(40_000, 5000)
        .write(&mut frame, &vec![7; payload_bytes])
        .unwrap();
    frame
}

/// The same datagram from the server.
fn answer(mut frame: Vec<u8>) -> Vec<u8> {
    let (client, server) = (frame[26..30].to_vec(), frame[30..34].to_vec());
    frame.splice(26..34, [server, client].concat());
    let ports = [frame[36..38].to_vec(), frame[34..36].to_vec()].concat();
    frame.splice(34..38, ports);
    frame
}

/// Cut after 800 bytes of IP payload; checksums are left as they were.
fn fragments(frame: &[u8]) -> [Vec<u8>; 2] {
    let part = |payload: &[u8], place: u16| {
        let mut part = [&frame[..34], payload].concat();
        part[16..18].copy_from_slice(&(20 + payload.len() as u16).to_be_bytes());
        part[20..22].copy_from_slice(&place.to_be_bytes());
        part
    };
    let (first, rest) = frame[34..].split_at(800);
    [part(first, 0x2000), part(rest, 100)]
}

/// A TCP segment of connection `n`, without payload.
fn segment(n: u16, forth: bool, flags: u8) -> Vec<u8> {
    let (client, server) = (([10, 3, 0, 1], 40_000 + n), ([10, 3, 0, 2], 80));
    let (src, dst) = if forth { (client, server) } else { (server, client) };
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(CLIENT_MAC, SERVER_MAC)
        .ipv4(src.0, dst.0, 64)
        .tcp(src.1, dst.1, 1, 1000)
        .write(&mut frame, &[])
        .unwrap();
    frame[47] = flags;
    frame
}

/// Conversations of two packets each, one after the other: a question and its answer. Every
/// fourth goes over IPv6.
fn pairs(conversations: u32) -> (Vec<Vec<u8>>, Sums) {
    let mut frames = Vec::new();
    let mut truth = Sums::new();
    for number in 0..conversations {
        for forth in [true, false] {
            let frame = half(number, forth);
            let (flow, counts) = traffic::parse(&frame);
            truth.entry(flow).or_default().add(counts);
            frames.push(frame);
        }
    }
    (frames, truth)
}

fn half(number: u32, forth: bool) -> Vec<u8> {
    let [_, a, b, c] = number.wrapping_mul(0x9e37_79b1).to_be_bytes();
    let (client_port, server_port) = (32_768 + (number % 5000) as u16, 5000);
    let (src_port, dst_port) =
        if forth { (client_port, server_port) } else { (server_port, client_port) };
    let macs = if forth { (CLIENT_MAC, SERVER_MAC) } else { (SERVER_MAC, CLIENT_MAC) };
    let step = PacketBuilder::ethernet2(macs.0, macs.1);
    let step = if number.is_multiple_of(4) {
        let client = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c];
        let server = [0xfd, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let (src, dst) = if forth { (client, server) } else { (server, client) };
        step.ipv6(src, dst, 64)
    } else {
        let (client, server) = ([10, a, b, c], [172, 16, 0, 1]);
        let (src, dst) = if forth { (client, server) } else { (server, client) };
        step.ipv4(src, dst, 64)
    };
    let mut frame = Vec::new();
    step.udp(src_port, dst_port).write(&mut frame, &[0x5a; 100]).unwrap();
    frame
}

/// Frames that each reader took.
fn shares(status: &Value) -> Vec<u64> {
    let readers = status["readers"].as_array().unwrap();
    readers.iter().map(|reader| reader["frames"].as_u64().unwrap()).collect()
}

/// Ends a probe that has lost nothing.
fn stopped(probe: Probe) -> Ended {
    let ended = probe.stop(Signal::SIGTERM);
    assert_eq!(ended.code, 0, "{}", ended.log);
    assert!(ended.log.contains(" passed the filter, 0 dropped by the kernel"), "{}", ended.log);
    ended
}

/// Conversations of which a reader has seen one direction only, as the last line of counters has
/// it; in the status they appear when they end.
fn one_sided(ended: &Ended) -> u64 {
    let (_, after) = ended.log.rsplit_once("one_sided: ").expect("the counters at the end");
    after.split(',').next().unwrap().parse().unwrap()
}
