//! SIGHUP: the configuration file is read again while the probe runs.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::namespace::with_veth;
use common::probe::Probe;
use common::{folder, records, traffic};
use nix::sys::signal::Signal;

const BASE: &str = "interface = 'vb'\nbuffer-size = 8\noutput = 'json'\n";

/// A file that the user whom the probe becomes may read.
fn file(folder: &Path, more: &str) -> PathBuf {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let path = folder.join("kprobe.toml");
    write(&path, more);
    path
}

/// As an editor does: a new file takes the old one's name.
fn write(path: &Path, more: &str) {
    let new = path.with_extension("new");
    fs::write(&new, format!("{BASE}{more}")).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).unwrap();
    fs::rename(new, path).unwrap();
}

#[test]
fn verbosity_changes_at_once_and_what_cannot_change_waits() {
    with_veth(|| {
        let folder = folder();
        let path = file(folder.path(), "");
        let mut probe = Probe::capturing(["--config".as_ref(), path.as_os_str()]);
        // Whoever signals before the readers run has to be heard, too.
        write(&path, "verbose = 1\nsnaplen = 96\n");
        probe.signal(Signal::SIGHUP);
        probe.wait_for("reload: snaplen has changed and takes effect with the next start");
        probe.wait_for("reload: in force now: verbose");

        write(&path, "verbose = 2\nfanuot = 1\n");
        probe.signal(Signal::SIGHUP);
        probe.wait_for("unknown key 'fanuot'; everything stays as it is");

        write(&path, "verbose = 1\n");
        probe.signal(Signal::SIGHUP);
        probe.wait_for("reload: nothing changes now");
        let before = probe.log();
        assert!(!before.contains("DEBUG"), "{before}");
        let ended = probe.stop(Signal::SIGTERM);
        assert_eq!(ended.code, 0, "{}", ended.log);
        // What is told at the end is told at the new level.
        assert!(ended.log.contains("DEBUG"), "{}", ended.log);
    });
}

#[test]
fn a_file_that_the_new_user_may_not_read_changes_nothing() {
    with_veth(|| {
        let folder = folder();
        let path = file(folder.path(), "verbose = 1\n");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let mut probe = Probe::start(["--config".as_ref(), path.as_os_str()]);
        probe.wait_for("seccomp");
        probe.signal(Signal::SIGHUP);
        probe.wait_for("Permission denied (os error 13); everything stays as it is");
        assert_eq!(probe.stop(Signal::SIGTERM).code, 0);
    });
}

#[test]
fn without_a_file_the_signal_ends_nothing() {
    with_veth(|| {
        let mut probe = Probe::capturing(["-i", "vb", "--buffer-size", "8"]);
        probe.signal(Signal::SIGHUP);
        probe.wait_for("reload: nothing changes now");
        assert_eq!(probe.stop(Signal::SIGTERM).code, 0);
    });
}

#[test]
fn sampling_filter_and_translations_change_in_a_running_capture() {
    with_veth(|| {
        let folder = folder();
        let path = file(folder.path(), "filter = 'udp port 1000'\n");
        let mut probe = Probe::capturing(["--config".as_ref(), path.as_os_str()]);
        let frames = |ports: std::ops::Range<u16>| -> Vec<Vec<u8>> {
            let udp = |port| {
                let ip = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6]);
                let mut frame = Vec::new();
                let udp = ip.ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64).udp(port, 1000);
                udp.write(&mut frame, b"x").unwrap();
                frame
            };
            ports.map(udp).collect()
        };
        traffic::send("va", &frames(2000..2010), 0);
        write(&path, "filter = 'udp port 3001'\ntranslate = ['192.0.2.2,198.51.100.2']\n");
        std::thread::sleep(std::time::Duration::from_millis(300));
        probe.signal(Signal::SIGHUP);
        probe.wait_for("reload: in force now:");
        std::thread::sleep(std::time::Duration::from_millis(300));
        traffic::send("va", &frames(3000..3010), 0);
        write(&path, "sample = 1000000\ntranslate = ['192.0.2.2,198.51.100.2']\n");
        std::thread::sleep(std::time::Duration::from_millis(300));
        probe.signal(Signal::SIGHUP);
        probe.wait_for("reload: in force now: filter, sample");
        std::thread::sleep(std::time::Duration::from_millis(300));
        traffic::send("va", &frames(4000..4010), 0);
        write(&path, "filter = 'udp prt 1'\n");
        probe.signal(Signal::SIGHUP);
        probe.wait_for("everything stays as it is");
        std::thread::sleep(std::time::Duration::from_millis(300));
        let ended = probe.stop(Signal::SIGTERM);
        assert_eq!(ended.code, 0, "{}", ended.log);
        let mut seen: Vec<(u64, String, u64)> = records(&ended.stdout)
            .iter()
            .map(|record| {
                let number = |name: &str| record[name].as_u64().unwrap();
                let dst = record["dst"].as_str().unwrap().to_owned();
                (number("src_port"), dst, number("sample_rate"))
            })
            .collect();
        seen.sort();
        let before = (2000..2010).map(|port| (port, "192.0.2.2".to_owned(), 1));
        let expected: Vec<_> = before.chain([(3001, "198.51.100.2".to_owned(), 1)]).collect();
        assert_eq!(seen, expected, "{}", ended.log);
    });
}
