//! What a running probe may still do (design D13), seen from outside: the kernel's own account of
//! each of its threads. What a confined thread is refused is tested beside the rules themselves.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::net::UdpSocket;
use std::process::{Command, Stdio};

use common::backend::{Khub, urls};
use common::namespace::{ip, with_veth};
use common::probe::Probe;
use common::{copy_for_all_users, folder, kprobe, records};
use nix::sys::signal::Signal;

const NO_CAPABILITY: &str = "0000000000000000";
const DAC_OVERRIDE: &str = "0000000000000002";

/// The kernel's account of each thread, by name.
fn threads(pid: u32) -> Vec<BTreeMap<String, String>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks
        .map(|task| {
            let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            let facts = status.lines().filter_map(|line| line.split_once(':'));
            facts.map(|(name, fact)| (name.to_owned(), fact.trim().to_owned())).collect()
        })
        .collect()
}

fn check(threads: &[BTreeMap<String, String>], expected: &[(&str, &str)]) {
    // Main thread, exporter, reader, status server.
    assert!(threads.len() >= 4, "{threads:?}");
    for thread in threads {
        for (fact, value) in expected {
            assert_eq!(thread[*fact], *value, "{fact} of {}", thread["Name"]);
        }
    }
}

/// Starts a probe on `vb` and waits until all its threads run.
fn start(mut command: Command, more: &[&str]) -> Probe {
    command.args(["-i", "vb", "-v", "--status-port", "9000", "--buffer-size", "8"]).args(more);
    let mut probe = Probe::spawn(command);
    probe.wait_for("status at");
    probe
}

/// A few packets that `vb` receives.
fn speak() {
    let socket = UdpSocket::bind("10.9.0.1:4000").unwrap();
    for _ in 0..10 {
        socket.send_to(b"hello", "10.9.0.2:5000").unwrap();
    }
}

fn addresses() {
    ip("addr add 10.9.0.1/24 dev va");
    ip("neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev va");
}

#[test]
fn no_thread_of_a_probe_that_root_started_keeps_a_privilege() {
    with_veth(|| {
        addresses();
        let folder = folder();
        let out = folder.path().join("out.json");
        let output = format!("json:{}", out.display());
        let probe = start(kprobe(), &["--output", &output, "--readers", "2"]);
        let threads = threads(probe.id());
        check(
            &threads,
            &[
                ("CapEff", NO_CAPABILITY),
                ("CapPrm", NO_CAPABILITY),
                ("CapInh", NO_CAPABILITY),
                ("CapAmb", NO_CAPABILITY),
                ("CapBnd", NO_CAPABILITY),
                ("NoNewPrivs", "1"),
                ("Seccomp", "2"),
                ("Seccomp_filters", "2"),
                ("Groups", ""),
            ],
        );
        let nobody = nix::unistd::User::from_name("kprobe").unwrap();
        let nobody = nobody.or_else(|| nix::unistd::User::from_name("nobody").unwrap()).unwrap();
        let ids = format!("{0}\t{0}\t{0}\t{0}", nobody.uid);
        assert!(threads.iter().all(|thread| thread["Uid"] == ids), "{threads:?}");
        // And it does its work.
        speak();
        let ended = probe.stop(Signal::SIGTERM);
        assert_eq!(ended.code, 0, "{}", ended.log);
        let packets: u64 = records(&fs::read(&out).unwrap())
            .iter()
            .filter(|record| record["dst_port"] == 5000)
            .map(|record| record["packets"].as_u64().unwrap())
            .sum();
        assert_eq!(packets, 10);
        for step in ["no new privileges", "bounding set", "Landlock: ", "became user", "seccomp: "]
        {
            assert!(ended.log.contains(step), "{step}: {}", ended.log);
        }
    });
}

#[test]
fn a_confined_probe_looks_names_up_and_delivers() {
    with_veth(|| {
        addresses();
        let hub = Khub::start();
        let arguments = hub.arguments("probe");
        // By name, so that a look-up happens behind the rules.
        let urls = urls(&format!("localhost:{}", hub.address.port()));
        let account = arguments.iter().take(6).chain(&urls).map(String::as_str);
        let probe = start(kprobe(), &account.collect::<Vec<_>>());
        speak();
        let ended = probe.stop(Signal::SIGTERM);
        assert_eq!(ended.code, 0, "{}", ended.log);
        assert!(!ended.log.contains("failed"), "{}", ended.log);
        let flows = hub.flows("probe");
        assert!(flows.iter().any(|flow| flow["dst_port"] == 5000), "{flows:?}");
    });
}

#[test]
fn root_stays_root_where_that_is_wanted_and_the_sandbox_can_be_left_out() {
    with_veth(|| {
        let probe = start(kprobe(), &["--user", "root", "--no-sandbox", "--output", "json"]);
        check(
            &threads(probe.id()),
            &[
                ("Uid", "0\t0\t0\t0"),
                ("CapEff", DAC_OVERRIDE),
                ("CapPrm", DAC_OVERRIDE),
                ("CapBnd", NO_CAPABILITY),
                ("NoNewPrivs", "1"),
                ("Seccomp", "0"),
            ],
        );
        assert_eq!(probe.stop(Signal::SIGTERM).code, 0);
    });
}

/// As in a container that leaves root hardly a capability.
#[test]
fn root_that_cannot_become_another_user_says_so_and_keeps_no_more_than_it_needs() {
    with_veth(|| {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-setuid,-setgid"]).arg(env!("CARGO_BIN_EXE_kprobe"));
        command.env_clear().stdin(Stdio::null());
        let probe = start(command, &["--output", "json"]);
        check(
            &threads(probe.id()),
            &[("Uid", "0\t0\t0\t0"), ("CapEff", DAC_OVERRIDE), ("Seccomp", "2")],
        );
        let ended = probe.stop(Signal::SIGTERM);
        let line = "without CAP_SETUID and CAP_SETGID the probe stays root";
        assert!(ended.code == 0 && ended.log.contains(line), "{}", ended.log);
    });
}

#[test]
fn an_unprivileged_user_with_the_one_capability_captures_and_then_gives_it_up() {
    with_veth(|| {
        if Command::new("setpriv").arg("--version").stdout(Stdio::null()).status().is_err() {
            eprintln!("skipped: setpriv is not installed");
            return;
        }
        addresses();
        // For another user the program has to lie where that user may read.
        let folder = folder();
        let copy = copy_for_all_users(folder.path());
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .args(["--inh-caps", "-all,+net_raw", "--ambient-caps", "-all,+net_raw"])
            .arg(&copy)
            .env_clear()
            .stdin(Stdio::null());
        let probe = start(command, &["--output", "json", "--promisc"]);
        check(
            &threads(probe.id()),
            &[
                ("Uid", "65534\t65534\t65534\t65534"),
                ("CapEff", NO_CAPABILITY),
                ("CapPrm", NO_CAPABILITY),
                ("CapInh", NO_CAPABILITY),
                ("CapAmb", NO_CAPABILITY),
                ("NoNewPrivs", "1"),
                ("Seccomp", "2"),
            ],
        );
        speak();
        let ended = probe.stop(Signal::SIGTERM);
        assert_eq!(ended.code, 0, "{}", ended.log);
        assert!(records(&ended.stdout).iter().any(|record| record["dst_port"] == 5000));
    });
}
