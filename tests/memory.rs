//! A flood of conversations does not cost more memory than the table was given.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader};

use benches::mix::{Profile, Size};
use benches::traffic::{Generator, Plan};
use common::{folder, run};
use nix::sys::resource::{UsageWho, getrusage};

const PACKETS: u64 = 400_000;

/// Table and index for 50,000 conversations, buffers, the program itself, and two seconds of records
/// on their way out took 57 MiB. All conversations at once would take twice the limit.
const MOST_MIB: i64 = 96;

#[test]
fn eight_times_more_conversations_than_fit_all_become_records_in_bounded_memory() {
    let folder = folder();
    let capture = folder.path().join("flood.pcap");
    let ip_bytes = write_flood(&capture);
    let records = folder.path().join("flood.json");
    let output = format!("json:{}", records.display());
    let arguments = ["--max-flows", "50000", "--output", &output, "--read"];
    let run = run(arguments.into_iter().chain([&*capture.to_string_lossy()]));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    // Linux counts in KiB, and this test program has started no other.
    let most_mib = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss() / 1024;
    eprintln!("peak {most_mib} MiB");
    let (mut lines, mut packets, mut bytes) = (0, 0, 0);
    for line in BufReader::new(File::open(records).unwrap()).lines() {
        let record: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        lines += 1;
        packets += record["packets"].as_u64().unwrap();
        bytes += record["bytes"].as_u64().unwrap();
    }
    assert_eq!((lines, packets, bytes), (PACKETS, PACKETS, ip_bytes));
    assert!(most_mib < MOST_MIB, "peak memory {most_mib} MiB");
}

/// Every packet a conversation of its own, 100,000 a second; gives their IP bytes.
fn write_flood(path: &std::path::Path) -> u64 {
    let plan = Plan {
        conversations: 1,
        unique: true,
        size: Size::Fixed(60),
        profile: Profile::Uniform,
        ipv6_percent: 20,
        seed: 31,
    };
    let mut generator = Generator::new(plan).unwrap();
    let mut writer =
        benches::pcap_file::Writer::create(path, common::recordings::ETHERNET).unwrap();
    let mut frame = Vec::new();
    for number in 0..PACKETS {
        generator.next_frame(&mut frame);
        let time_ns = 1_767_225_600_000_000_000 + number * 10_000;
        writer.write(time_ns, &frame, frame.len() as u32).unwrap();
    }
    writer.finish().unwrap();
    generator.truth().ip_bytes
}
