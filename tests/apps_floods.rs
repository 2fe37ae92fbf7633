//! What asks for memory and never lets it go: requests without an end, fragments without a rest,
//! questions without an answer. Memory stays under its ceiling, and counters tell what gave way.
//!
//! `KPROBE_FLOOD` is how many times larger the floods are than they are by default.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use std::io::BufRead;
use std::path::Path;

use benches::pcap_file::Writer;
use common::recordings::{ETHERNET, IPV4, LOCAL, ethernet};
use common::{Run, folder, run};
use etherparse::{Ipv4Header, PacketBuilder};
use nix::sys::resource::{UsageWho, getrusage};

const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const SERVER: [u8; 4] = [198, 51, 100, 7];
/// The ceiling that every flood gets; three eighths of it are counted for queues that a replay to
/// a file does not have.
const CEILING_MIB: i64 = 256;
/// 2026-01-01T00:00:00Z; 100,000 frames a second.
const START_NS: u64 = 1_767_225_600_000_000_000;

/// How many times the usual size.
fn times() -> u32 {
    std::env::var("KPROBE_FLOOD").map_or(1, |text| text.parse().unwrap())
}

#[test]
fn requests_that_never_end_stay_under_the_ceiling() {
    let connections = 45_000 * times();
    let folder = folder();
    let capture = folder.path().join("requests.pcap");
    write(&capture, |frame| {
        let head = format!("GET /{} HTTP/1.1\r\nHost: h\r\nX-Filler: ", "x".repeat(1000));
        for number in 0..connections {
            let [_, a, b, c] = number.to_be_bytes();
            let step =
                || PacketBuilder::ethernet2(LOCAL, SERVER_MAC).ipv4([10, a, b, c], SERVER, 64);
            frame(&|out| step().tcp(40_000, 80, 0, 1000).syn().write(out, &[]).unwrap());
            frame(&|out| {
                let step = step().tcp(40_000, 80, 1, 1000).ack(1);
                step.write(out, head.as_bytes()).unwrap();
            });
        }
    });
    let (run, packets) = replay(&capture, folder.path());
    assert_eq!(packets, u64::from(connections) * 2);
    // An eighth of the ceiling is for what decoders keep.
    let over_budget = counter(&run, "over_budget");
    assert!((1..u64::from(connections)).contains(&over_budget), "{over_budget} over the budget");
    assert_eq!(counter(&run, "heap_bytes"), 0);
}

#[test]
fn fragments_without_a_rest_are_counted_and_forgotten() {
    let datagrams = 20_000 * times();
    let folder = folder();
    let capture = folder.path().join("fragments.pcap");
    write(&capture, |frame| {
        for number in 0..datagrams {
            let [_, a, b, c] = number.to_be_bytes();
            // The first 1,200 bytes of a DNS question over UDP.
            let ports = [40_000, 53, 3000, 0].map(u16::to_be_bytes).concat();
            let payload = [&ports[..], &[0x12; 1192]].concat();
            let mut header = Ipv4Header::new(1200, 64, 17.into(), [10, a, b, c], SERVER).unwrap();
            header.identification = number as u16;
            header.dont_fragment = false;
            header.more_fragments = true;
            header.header_checksum = header.calc_header_checksum();
            frame(&|out| *out = ethernet(IPV4, &[&header.to_bytes()[..], &payload].concat()));
        }
    });
    let (run, packets) = replay(&capture, folder.path());
    assert_eq!(packets, u64::from(datagrams));
    assert_eq!((counter(&run, "used"), counter(&run, "completed")), (datagrams.into(), 0));
    // 4,096 may wait.
    assert_eq!(counter(&run, "evicted_for_count"), u64::from(datagrams) - 4096);
}

#[test]
fn questions_without_an_answer_make_room_for_others() {
    let questions = 80_000 * times();
    let folder = folder();
    let capture = folder.path().join("questions.pcap");
    write(&capture, |frame| {
        for number in 0..questions {
            let id = (number as u16).to_be_bytes();
            let question = b"\x01\0\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\x01\0\x01";
            let client = [10, 0, 0, (number >> 16) as u8];
            frame(&|out| {
                let step = PacketBuilder::ethernet2(LOCAL, SERVER_MAC).ipv4(client, SERVER, 64);
                step.udp(40_000, 53).write(out, &[&id[..], question].concat()).unwrap();
            });
        }
    });
    let (run, packets) = replay(&capture, folder.path());
    assert_eq!(packets, u64::from(questions));
    // 65,536 may wait.
    let forgotten = counter(&run, "forgotten");
    let least = u64::from(questions) - 65_536;
    assert!((least..u64::from(questions)).contains(&forgotten), "{forgotten}");
}

/// Writes what `fill` makes, frame by frame.
fn write(path: &Path, fill: impl Fn(&mut dyn FnMut(&dyn Fn(&mut Vec<u8>)))) {
    let mut writer = Writer::create(path, ETHERNET).unwrap();
    let (mut time_ns, mut bytes) = (START_NS, Vec::new());
    fill(&mut |make| {
        bytes.clear();
        make(&mut bytes);
        writer.write(time_ns, &bytes, bytes.len() as u32).unwrap();
        time_ns += 10_000;
    });
    writer.finish().unwrap();
}

/// Replays under the ceiling; gives the run and the packets of its records.
fn replay(capture: &Path, folder: &Path) -> (Run, u64) {
    let output = folder.join("records.json");
    let json = format!("json:{}", output.display());
    let ceiling = CEILING_MIB.to_string();
    let arguments = ["-v", "--max-memory", &ceiling, "--output", &json, "--read"];
    let run = run(arguments.into_iter().chain([&*capture.to_string_lossy()]));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    // Linux counts in KiB; the most of any run so far.
    let most_mib = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss() / 1024;
    eprintln!("peak {most_mib} MiB");
    assert!(most_mib < CEILING_MIB, "peak memory {most_mib} MiB");
    let lines = std::io::BufReader::new(std::fs::File::open(output).unwrap()).lines();
    let packets = lines.map(|line| {
        let record: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        record["packets"].as_u64().unwrap()
    });
    (run, packets.sum())
}

/// A counter of the table in what one `-v` says at the end.
fn counter(run: &Run, name: &str) -> u64 {
    let rest = run.stderr.rsplit_once(&format!(" {name}: ")).expect("a counter").1;
    let value = rest.split(|byte: char| !byte.is_ascii_digit()).next().unwrap().parse().unwrap();
    eprintln!("{name} {value}");
    value
}
