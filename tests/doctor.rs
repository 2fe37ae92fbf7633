//! The doctor on live interfaces: what it says of a veth pair, a group, a single flow.
//!
//! The module is compiled in, so that it can look at the namespace of one thread.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;
#[path = "../src/doctor/mod.rs"]
mod doctor;

use std::net::UdpSocket;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use capture::Interface;
use capture::trial::Spread;
use nix::sched::{CloneFlags, unshare};

use common::namespace::{ip, with_veth};
use doctor::Verdict;

/// What the doctor writes of an interface, each finding in one line.
fn examine(interface: Option<&str>) -> (Verdict, Vec<String>) {
    let mut text = Vec::new();
    let verdict = doctor::run(interface, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let mut findings: Vec<String> = Vec::new();
    for line in text.lines() {
        match findings.last_mut() {
            Some(finding) if line.starts_with("          ") => {
                finding.push(' ');
                finding.push_str(line.trim());
            }
            _ => findings.push(line.trim().to_owned()),
        }
    }
    (verdict, findings)
}

/// The finding of this check, without its name: grade, then evidence.
fn finding(findings: &[String], check: &str) -> (String, String) {
    let found = findings.iter().find_map(|line| {
        let (grade, rest) = line.split_once(' ')?;
        Some((grade.to_owned(), rest.trim().strip_prefix(check)?.trim().to_owned()))
    });
    found.unwrap_or_else(|| panic!("no finding {check} in {findings:#?}"))
}

/// Mounts the sysfs of this thread's network namespace, as `ip netns exec` does.
fn with_own_sysfs() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    for arguments in ["--make-rprivate /", "-t sysfs kprobe /sys"] {
        let status = Command::new("mount").args(arguments.split(' ')).status().unwrap();
        assert!(status.success(), "mount {arguments}");
    }
}

fn allowed_cpus() -> usize {
    std::thread::available_parallelism().unwrap().get()
}

#[test]
fn a_veth_pair_is_examined_with_all_that_sysfs_tells() {
    with_veth(|| {
        with_own_sysfs();
        let (verdict, findings) = examine(Some("va"));
        let bad = findings.iter().any(|line| line.starts_with("bad "));
        assert_eq!(verdict, if bad { Verdict::Bad } else { Verdict::Good });
        let (grade, offloads) = finding(&findings, "offloads");
        assert_eq!(grade, "ok");
        assert!(offloads.contains("tso") && offloads.contains("PACKET_VNET_HDR"), "{offloads}");
        let link = finding(&findings, "link");
        assert_eq!(link, ("ok".into(), "up, 10000 Mbit/s, driver veth".into()));
        assert_eq!(finding(&findings, "receive ring").1, "none: a virtual interface");
        let (grade, stack) = finding(&findings, "same packets");
        assert_eq!(grade, "note");
        assert!(stack.starts_with("one end of a veth pair"), "{stack}");
        assert_eq!(finding(&findings, "other captures").0, "ok");
        assert_eq!(finding(&findings, "interface drops").0, "ok");
        assert_eq!(finding(&findings, "rss").1, "one receive queue takes all conversations");
    });
}

#[test]
fn an_interface_that_is_down_is_bad() {
    with_veth(|| {
        with_own_sysfs();
        ip("link set va down");
        let (verdict, findings) = examine(Some("va"));
        assert_eq!(verdict, Verdict::Bad);
        let (grade, link) = finding(&findings, "link");
        assert_eq!(grade, "bad");
        assert!(link.ends_with("administratively down fix: ip link set va up"), "{link}");
    });
}

#[test]
fn a_port_of_a_bridge_is_told_where_its_packets_pass_again() {
    with_veth(|| {
        with_own_sysfs();
        ip("link add bridge0 type bridge");
        ip("link set va master bridge0");
        let (_, findings) = examine(Some("va"));
        let (grade, stack) = finding(&findings, "same packets");
        assert_eq!(grade, "note");
        assert!(stack.starts_with("a port of bridge0, where its packets pass again"), "{stack}");
        let (_, findings) = examine(Some("bridge0"));
        let (_, stack) = finding(&findings, "same packets");
        assert!(stack.starts_with("a bridge on va, where its packets pass, too"), "{stack}");
    });
}

#[test]
fn with_the_sysfs_of_another_namespace_it_says_what_it_cannot_see() {
    with_veth(|| {
        let (_, findings) = examine(Some("lo"));
        let (grade, sysfs) = finding(&findings, "sysfs");
        assert_eq!(grade, "unknown");
        assert!(sysfs.contains("/sys shows another network namespace"), "{sysfs}");
        assert_eq!(finding(&findings, "offloads").0, "ok");
    });
}

#[test]
fn members_of_a_group_on_the_interface_are_counted_and_named() {
    with_veth(|| {
        let index = Interface::find("va").unwrap().index;
        let _group = Spread::open(index, 3).unwrap();
        let (_, findings) = examine(Some("va"));
        let (grade, others) = finding(&findings, "other captures");
        assert_eq!(grade, "note");
        assert!(others.contains("(hash) of 3 sockets: "), "{others}");
        assert!(others.contains(&format!("({})", std::process::id())), "{others}");
        let (_, findings) = examine(Some("vb"));
        assert_eq!(finding(&findings, "other captures").0, "ok");
    });
}

#[test]
fn one_flow_that_outweighs_all_others_shows_as_skew() {
    with_veth(|| {
        ip("addr add 10.9.0.1/24 dev va");
        let stop = AtomicBool::new(false);
        let (_, findings) = std::thread::scope(|scope| {
            scope.spawn(|| {
                let socket = UdpSocket::bind("10.9.0.1:4000").unwrap();
                while !stop.load(Ordering::Relaxed) {
                    for _ in 0..20 {
                        socket.send_to(b"one flow", "10.9.0.2:5000").unwrap();
                    }
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
            let result = examine(Some("va"));
            stop.store(true, Ordering::Relaxed);
            result
        });
        let (grade, skew) = finding(&findings, "fanout skew");
        if allowed_cpus() > 1 {
            assert_eq!(grade, "warn", "{skew}");
            assert!(skew.contains("100 %"), "{skew}");
        }
    });
}

#[test]
fn without_an_interface_every_one_that_is_up_has_a_line() {
    with_veth(|| {
        with_own_sysfs();
        ip("link set vb down");
        let (_, findings) = examine(None);
        let heading = findings.iter().position(|l| l == "interfaces that are up").unwrap();
        let lines: Vec<&str> = findings[heading + 1..]
            .iter()
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.split_once("interface        ")?.1.split(' ').next())
            .collect();
        assert_eq!(lines, ["lo", "va"]);
    });
}

#[test]
fn an_unknown_interface_is_an_error() {
    let error = doctor::run(Some("nope0"), &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "unsupported interface nope0");
}

#[test]
fn nobody_gets_findings_too_and_learns_what_is_missing() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root to become nobody");
        return;
    }
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program)
        .args(["--exact", "--ignored", "as_nobody"])
        .uid(65_534)
        .gid(65_534)
        .output();
    // The folder of the build may be closed to others.
    match output {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
        Err(error) => eprintln!("skipped: nobody may not run this program: {error}"),
    }
}

#[test]
#[ignore = "run by another test as another user"]
fn as_nobody() {
    let (verdict, findings) = examine(Some("lo"));
    assert_eq!(verdict, Verdict::Bad);
    let (grade, privileges) = finding(&findings, "privileges");
    assert_eq!(grade, "bad");
    assert!(privileges.contains("no CAP_NET_RAW"), "{privileges}");
    assert_eq!(finding(&findings, "kernel").0, "unknown");
    assert_eq!(finding(&findings, "fanout skew").0, "unknown");
}
