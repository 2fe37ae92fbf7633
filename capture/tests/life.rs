//! What befalls an interface while a source is open on it.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use capture::{Interface, Plain, Ring, Source, Wait};
use common::packets::ethernet;
use common::{collect_source, interface, ip, send, small, with_veth};

const WAIT: Duration = Duration::from_millis(500);

/// Runs the test on a ring and on plain reads, each in a namespace of its own.
fn with_each_source(test: fn(Source)) {
    with_veth(move || test(Source::Ring(Ring::open(&interface("vb"), &small()).unwrap())));
    with_veth(move || test(Source::Plain(Plain::open(&interface("vb"), &small()).unwrap())));
}

fn receives(source: &mut Source) -> bool {
    send("va", &[ethernet(0x88b5, &[0; 46])]);
    !collect_source(source, 1).is_empty()
}

/// Waits for the end of the interface; whatever was reported before it is given back.
fn until_gone(source: &mut Source) -> Vec<Wait> {
    let mut before = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        match source.wait(WAIT).unwrap() {
            Wait::Gone => return before,
            other => before.push(other),
        }
        while source.next_block().is_some() {}
    }
    panic!("never gone: {before:?}");
}

/// A process in a network namespace of its own.
fn other_namespace() -> Child {
    let child = Command::new("unshare").args(["--net", "sleep", "60"]).spawn().unwrap();
    let ours = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    let theirs = format!("/proc/{}/ns/net", child.id());
    let deadline = Instant::now() + Duration::from_secs(5);
    while std::fs::read_link(&theirs).unwrap() == ours && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn down_is_reported_once_and_frames_come_again_after_up() {
    with_each_source(|mut source| {
        ip("link set vb down");
        let waited = source.wait(WAIT).unwrap();
        assert!(matches!(&waited, Wait::Down(e) if e.raw_os_error() == Some(libc::ENETDOWN)));
        let waited = source.wait(WAIT).unwrap();
        assert!(matches!(waited, Wait::Timeout), "{waited:?}");
        ip("link set vb up");
        assert!(receives(&mut source));
        ip("link set vb down");
        let waited = source.wait(WAIT).unwrap();
        assert!(matches!(waited, Wait::Down(_)), "{waited:?}");
    });
}

#[test]
fn a_new_name_changes_nothing_for_the_source_and_refresh_finds_it() {
    with_each_source(|mut source| {
        let before = interface("vb");
        ip("link set vb down");
        ip("link set vb name vc");
        ip("link set vc up");
        assert!(receives(&mut source));
        let after = before.refresh().unwrap();
        assert_eq!((after.name.as_str(), after.index), ("vc", before.index));
    });
}

#[test]
fn a_new_mac_or_mtu_is_no_event_and_refresh_tells_it() {
    with_each_source(|mut source| {
        let before = interface("vb");
        ip("link set vb address 02:00:00:00:00:77");
        ip("link set vb mtu 1400");
        let waited = source.wait(WAIT).unwrap();
        assert!(matches!(waited, Wait::Timeout), "{waited:?}");
        assert_eq!(before.refresh().unwrap().mac, Some([2, 0, 0, 0, 0, 0x77]));
        assert!(receives(&mut source));
    });
}

#[test]
fn a_deleted_interface_is_gone_for_good() {
    with_each_source(|mut source| {
        let before = interface("vb");
        ip("link del vb");
        let reports = until_gone(&mut source);
        assert!(reports.iter().all(|wait| matches!(wait, Wait::Down(_) | Wait::Timeout)));
        assert!(matches!(source.wait(Duration::ZERO).unwrap(), Wait::Gone));
        assert_eq!(before.refresh().unwrap_err().to_string(), "unsupported interface vb");
        // One of the same name is another interface.
        ip("link add va type veth peer name vb");
        ip("link set vb up");
        assert!(matches!(source.wait(Duration::ZERO).unwrap(), Wait::Gone));
        let after = before.refresh().unwrap();
        assert_eq!(after.name, "vb");
        assert_ne!(after.index, before.index);
    });
}

#[test]
fn deletion_after_down_is_noticed_though_it_is_no_second_error() {
    with_each_source(|mut source| {
        ip("link set vb down");
        assert!(matches!(source.wait(WAIT).unwrap(), Wait::Down(_)));
        ip("link del vb");
        until_gone(&mut source);
    });
}

#[test]
fn an_interface_moved_to_another_namespace_is_gone() {
    with_each_source(|mut source| {
        let other = other_namespace();
        ip(&format!("link set vb netns {}", other.id()));
        until_gone(&mut source);
        end(other);
    });
}

#[test]
fn when_the_peers_namespace_vanishes_the_interface_is_gone() {
    with_each_source(|mut source| {
        let other = other_namespace();
        ip(&format!("link set va netns {}", other.id()));
        end(other);
        until_gone(&mut source);
        assert!(Interface::find("vb").is_err());
    });
}

#[test]
fn a_namespace_lives_on_as_long_as_a_source_in_it() {
    use std::sync::mpsc::channel;
    let (give, take) = channel();
    with_veth(move || {
        give.send(Source::Ring(Ring::open(&interface("vb"), &small()).unwrap())).unwrap();
    });
    // The thread that made the namespace has ended.
    let Ok(mut source) = take.recv() else { return };
    let waited = source.wait(WAIT).unwrap();
    assert!(matches!(waited, Wait::Timeout | Wait::Ready), "{waited:?}");
    assert_eq!(source.stats().unwrap().drops, 0);
}
