//! Capture files through the whole program: the sums that the specification and tshark give, the
//! same bytes each time, and a clean end for every kind of damage.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use benches::corrupt::Corruptor;
use benches::mix::{Profile, Size};
use benches::traffic::Plan;
use common::captures::{CAPTURES, captures};
use common::recordings::{self, Recording};
use common::{folder, records, replay, run, sums, table, total, traffic, tshark};

const LOCAL: &str = "02:00:00:00:00:01";

/// Generated conversations of both IP versions.
const PLAN: Plan = Plan {
    conversations: 500,
    unique: false,
    size: Size::Imix,
    profile: Profile::Zipf,
    ipv6_percent: 30,
    seed: 5,
};

#[test]
fn every_capture_of_the_specification_gives_its_sums() {
    let Some(folder) = captures() else { return };
    for (file, mac, expected) in CAPTURES {
        let run = replay(&folder.join(file), &["--local-mac", mac]);
        assert_eq!(table(&records(&run.stdout)), expected, "{file}");
    }
}

#[test]
fn tshark_counts_the_same_in_every_capture_there_is() {
    let Some(folder) = captures() else { return };
    let mut compared = 0;
    for path in files(&folder) {
        let Some(expected) = tshark::sums(&path) else { return };
        let run = replay(&path, &[]);
        assert_eq!(sums(&records(&run.stdout)), expected, "{}", path.display());
        compared += 1;
    }
    assert!(compared >= CAPTURES.len(), "only {compared} captures in {}", folder.display());
}

#[test]
fn tshark_counts_the_same_in_our_own_recordings() {
    let folder = folder();
    for recording in recordings::all() {
        let path = recording.write(folder.path());
        let Some(expected) = tshark::sums(&path) else { return };
        let run = replay(&path, &[]);
        assert_eq!(sums(&records(&run.stdout)), expected, "{}", recording.name);
    }
}

#[test]
fn padding_tags_and_tunnels_do_not_count_and_fragments_meet_their_datagram() {
    let folder = folder();
    for (name, expected) in [
        ("vlan", &["out 17 192.0.2.1 40001 > 198.51.100.7 5000: 1 packets, 68 bytes"; 2][..]),
        (
            "fragments_v4",
            &["out 17 192.0.2.1 40100 > 198.51.100.7 5001: 3 packets, 3068 bytes, 3 fragments"],
        ),
        (
            "fragments_v6",
            &["out 17 2001:db8::1 40100 > 2001:db8::7 5002: 3 packets, 3152 bytes, 3 fragments"],
        ),
        (
            "tunnels",
            &[
                "out 4 192.0.2.1 0 > 198.51.100.7 0: 1 packets, 68 bytes",
                "out 47 192.0.2.1 0 > 198.51.100.7 0: 1 packets, 72 bytes",
                "out 4 2001:db8::1 0 > 2001:db8::7 0: 1 packets, 88 bytes",
            ],
        ),
        (
            "padded",
            &[
                "out 17 192.0.2.1 40005 > 198.51.100.7 5000: 1 packets, 29 bytes",
                "out 6 192.0.2.1 40004 > 198.51.100.7 25: 1 packets, 40 bytes, flags 0x11",
                "out 17 192.0.2.1 40100 > 198.51.100.7 5004: 1 packets, 28 bytes",
            ],
        ),
        ("not_ip", &["out 17 192.0.2.1 40004 > 198.51.100.7 5000: 1 packets, 38 bytes"]),
    ] {
        let run = replay(&recording(name).write(folder.path()), &["--local-mac", LOCAL]);
        let mut lines = table(&records(&run.stdout));
        let mut expected = expected.to_vec();
        lines.sort();
        expected.sort_unstable();
        assert_eq!(lines, expected, "{name}");
    }
}

#[test]
fn of_several_tags_the_innermost_is_reported() {
    let folder = folder();
    let run = replay(&recording("qinq").write(folder.path()), &[]);
    let vlans: Vec<u16> = sums(&records(&run.stdout)).keys().map(|flow| flow.vlan).collect();
    assert_eq!(vlans, [300, 301]);
    let run = replay(&recording("vlan").write(folder.path()), &[]);
    let vlans: Vec<u16> = sums(&records(&run.stdout)).keys().map(|flow| flow.vlan).collect();
    assert_eq!(vlans, [0, 100]);
}

#[test]
fn every_file_format_gives_the_same_lines() {
    let folder = folder();
    for name in ["plain", "qinq", "fragments_v6", "cooked2"] {
        let recording = recording(name);
        let path = recording.write(folder.path());
        let expected = replay(&path, &[]).stdout;
        assert!(!expected.is_empty());
        let classic = std::fs::read(&path).unwrap();
        let formats = [
            ("pcap.gz", recordings::gzip(&classic)),
            ("le.pcapng", recording.pcapng(false)),
            ("be.pcapng", recording.pcapng(true)),
            ("pcapng.gz", recordings::gzip(&recording.pcapng(true))),
        ];
        for (ending, bytes) in formats {
            let path = folder.path().join(format!("{name}.{ending}"));
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(replay(&path, &[]).stdout, expected, "{name}.{ending}");
        }
    }
}

#[test]
fn standard_input_is_a_capture_too() {
    let folder = folder();
    let path = recording("plain").write(folder.path());
    let mut command = common::kprobe();
    command.args(["--read", "-", "--output", "json"]).stdin(std::fs::File::open(&path).unwrap());
    let piped = common::output(&mut command);
    assert_eq!((piped.code, piped.stdout), (Some(0), replay(&path, &[]).stdout));
}

#[test]
fn the_same_capture_gives_the_same_bytes_with_any_number_of_readers() {
    let folder = folder();
    // Three minutes of packet time, so that ticks and active timeouts take part.
    let path = folder.path().join("generated.pcap");
    let truth = traffic::write(&path, &PLAN, 20_000, 9_000_000);
    let first = replay(&path, &[]).stdout;
    assert_eq!(sums(&records(&first)), truth);
    for readers in ["1", "2", "4"] {
        let output = folder.path().join(format!("{readers}.json"));
        let output_flag = format!("json:{}", output.display());
        let run = replay(&path, &["--readers", readers, "--output", &output_flag]);
        assert!(run.stdout == first, "{readers} readers give other lines");
        assert!(std::fs::read(output).unwrap() == first, "{readers} readers: the file differs");
    }
}

#[test]
fn a_pipe_whose_reader_has_seen_enough_ends_the_replay_well() {
    let folder = folder();
    let path = folder.path().join("generated.pcap");
    // Fewer lines than a pipe holds, and many more.
    for packets in [100, 40_000] {
        traffic::write(&path, &PLAN, packets, 9_000_000);
        let mut command = common::kprobe();
        command.args(["--output", "json", "--read"]).arg(&path);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{packets}: {log}");
        assert!(!log.contains("Error"), "{packets}: {log}");
    }
}

#[test]
fn a_short_snap_length_changes_no_count() {
    let folder = folder();
    let mut paths: Vec<PathBuf> =
        recordings::all().iter().map(|recording| recording.write(folder.path())).collect();
    paths.extend(captures().iter().flat_map(|folder| files(folder)));
    for path in paths {
        let whole = replay(&path, &["--no-decode"]);
        let cut = replay(&path, &["--no-decode", "--snaplen", "96"]);
        assert!(whole.stdout == cut.stdout, "{}", path.display());
    }
}

#[test]
fn a_file_cut_short_gives_what_it_holds_and_says_so() {
    let folder = folder();
    let path = recording("plain").write(folder.path());
    let bytes = std::fs::read(&path).unwrap();
    let cut = folder.path().join("cut.pcap");
    for (name, bytes) in [("plain", bytes[..bytes.len() - 5].to_vec()), ("gzip", gzip_cut(&bytes))]
    {
        std::fs::write(&cut, bytes).unwrap();
        let run = replay(&cut, &[]);
        assert!(run.stderr.contains("the file ends inside a record"), "{name}: {}", run.stderr);
        assert!(run.stderr.contains("cut.pcap"), "{name}: {}", run.stderr);
    }
    // Nine of the ten packets are whole.
    std::fs::write(&cut, &bytes[..bytes.len() - 5]).unwrap();
    assert_eq!(total(&sums(&records(&replay(&cut, &[]).stdout))).packets, 9);
}

#[test]
fn a_damaged_file_gives_what_comes_before_the_damage_and_fails() {
    let folder = folder();
    let path = folder.path().join("damaged.pcapng");
    let mut bytes = recording("plain").pcapng(false);
    let end = bytes.len();
    // The length that the last block repeats at its end.
    bytes[end - 4..].copy_from_slice(&[1, 2, 3, 4]);
    std::fs::write(&path, bytes).unwrap();
    let run = run(["--output", "json", "--read", &path.to_string_lossy()]);
    assert_eq!(run.code, Some(1));
    let last = run.stderr.lines().last().unwrap();
    assert!(
        last.starts_with("Error: ") && last.contains("damaged.pcapng: damaged at byte "),
        "{last}"
    );
    assert!(last.ends_with("a block whose two lengths differ"), "{last}");
    assert_eq!(total(&sums(&records(&run.stdout))).packets, 9);
}

#[test]
fn what_is_no_capture_file_is_refused_in_one_line() {
    let folder = folder();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let odd_link = Recording { name: "odd", linktype: 105, frames: vec![vec![0; 60]] };
    for (path, expected) in [
        (write("text", b"time,src,dst\n"), "neither pcap nor pcapng"),
        (write("nothing", b""), "neither pcap nor pcapng"),
        (write("gzip", &recordings::gzip(b"not a capture")), "neither pcap nor pcapng"),
        (folder.path().join("absent.pcap"), "No such file"),
        (folder.path().to_owned(), "directory"),
        (odd_link.write(folder.path()), "unsupported link type 105"),
    ] {
        let run = run(["--read", &path.to_string_lossy(), "--output", "json"]);
        assert_eq!(run.code, Some(1), "{}", path.display());
        let error = run.stderr.lines().last().unwrap();
        let place = format!("Error: {}: ", path.display());
        assert!(error.starts_with(&place) && error.contains(expected), "{error}");
        assert!(run.stdout.is_empty());
    }
}

#[test]
fn a_capture_without_packets_is_no_error() {
    let folder = folder();
    let empty = Recording { name: "empty", linktype: recordings::ETHERNET, frames: vec![] };
    let path = empty.write(folder.path());
    assert_eq!(replay(&path, &[]).stdout, b"");
    std::fs::write(&path, empty.pcapng(false)).unwrap();
    assert_eq!(replay(&path, &[]).stdout, b"");
}

#[test]
fn damaged_frames_end_as_counters_and_never_in_a_panic() {
    let folder = folder();
    let recordings = recordings::all();
    let mut ethernet: Vec<Vec<u8>> = Vec::new();
    for recording in recordings.iter().filter(|r| r.linktype == recordings::ETHERNET) {
        ethernet.extend(recording.frames.iter().cloned());
    }
    for seed in 0..4 {
        let mut corruptor = Corruptor::new(seed);
        let mut damaged = |name, linktype, frames: &[Vec<u8>], count| {
            let mut frames: Vec<Vec<u8>> = frames.iter().cycle().take(count).cloned().collect();
            for frame in &mut frames {
                corruptor.damage(frame);
            }
            damaged_replay(&Recording { name, linktype, frames }.write(folder.path()), count);
        };
        damaged("ethernet", recordings::ETHERNET, &ethernet, 4000);
        for recording in recordings.iter().filter(|r| r.linktype != recordings::ETHERNET) {
            damaged(recording.name, recording.linktype, &recording.frames, 500);
        }
    }
}

/// Every frame is a packet of some record, or in one of the counters that `-v` shows.
fn damaged_replay(path: &Path, frames: usize) {
    let run = replay(path, &["-v"]);
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    let counted = total(&sums(&records(&run.stdout))).packets;
    let start = format!("{frames} frames");
    let line = run.stderr.lines().find(|line| line.contains(&start)).expect("the counters");
    let words: Vec<&str> = line.split([' ', ',', '}']).collect();
    let behind = |word: &str, places: usize| -> u64 {
        let found = words.windows(places + 1).filter(|words| words[0] == word);
        found.map(|words| words[places].parse::<u64>().unwrap()).sum()
    };
    let uncounted = behind("ignored", 2) + behind("malformed", 2);
    let no_news = behind("duplicates:", 1) + behind("out_of_range:", 1);
    assert_eq!(counted + uncounted + no_news, frames as u64, "{counted} packets; {line}");
}

fn gzip_cut(bytes: &[u8]) -> Vec<u8> {
    let whole = recordings::gzip(bytes);
    whole[..whole.len() - 30].to_vec()
}

fn recording(name: &str) -> Recording {
    recordings::all().into_iter().find(|recording| recording.name == name).unwrap()
}

/// All capture files below a folder, in a fixed order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|e| e == "pcap" || e == "pcapng") {
            found.push(path);
        }
    }
    found.sort();
    found
}
