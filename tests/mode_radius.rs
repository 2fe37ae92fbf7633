//! RADIUS mode on replays and on live links, with a real RADIUS server and client, a real khub, and
//! a plain HTTP server for the exact bytes (spec 15, wire contract section 8).
//!
//! Live tests need root; without it they say so and pass.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;
#[path = "common/modes.rs"]
mod modes;
#[path = "../export/tests/support/mod.rs"]
mod support;

use std::net::UdpSocket;
use std::time::Duration;

use common::backend::Khub;
use common::captures::captures;
use common::hosts::{Hosts, hosts};
use common::probe::{Ended, Probe};
use common::recordings::tagged;
use common::{folder, page, run, traffic};
use etherparse::PacketBuilder;
use modes::{arguments, backend, fragments, posts, wait_for};
use nix::sys::signal::Signal;
use support::{Server, answer, status};

const PATH: &str = "/api/internal/batch/customdimensions/kt_user/populators";
const BOB_COMES: &str = r#"{"replace_all":false,"complete":true,"ttl_minutes":0,"upserts":[{"value":"bob","criteria":[{"addr":["10.1.2.3"]}]}]}"#;
const BOB_GOES: &str =
    r#"{"replace_all":false,"complete":true,"ttl_minutes":0,"deletes":[{"value":"bob"}]}"#;

fn bodies(server: &Server) -> Vec<String> {
    let posts = posts(server, PATH);
    for seen in &posts {
        assert_eq!(seen.method.as_str(), "POST");
        assert_eq!(seen.header("content-type"), "application/json");
    }
    posts.iter().map(|seen| String::from_utf8(seen.body.to_vec()).unwrap()).collect()
}

/// An accounting request with this status, user, and address, and attributes to make it longer.
fn request(status: u8, user: &str, address: Option<[u8; 4]>, more_bytes: usize) -> Vec<u8> {
    let mut bytes = vec![4, 1, 0, 0];
    bytes.extend([0; 16]);
    // Vendor-specific, at most 253 bytes each.
    for _ in 0..more_bytes / 250 {
        bytes.extend([26, 250]);
        bytes.extend([0; 248]);
    }
    bytes.extend([40, 6, 0, 0, 0, status]);
    bytes.extend([1, user.len() as u8 + 2]);
    bytes.extend(user.as_bytes());
    if let Some(address) = address {
        bytes.extend([8, 6]);
        bytes.extend(address);
    }
    let length = (bytes.len() as u16).to_be_bytes();
    bytes[2..4].copy_from_slice(&length);
    bytes
}

/// A probe on the server's side of the cable.
fn probe(hosts: &Hosts, address: &str, more: &[&str]) -> Probe {
    let line = arguments("radius", address).into_iter();
    let line: Vec<String> =
        line.chain(["-i", "eth0"].iter().chain(more).map(|&text| text.to_owned())).collect();
    hosts.server.inside(|| Probe::capturing(line))
}

fn stopped(hosts: &Hosts, probe: Probe) -> Ended {
    let ended = hosts.server.inside(|| probe.stop(Signal::SIGTERM));
    assert_eq!(ended.code, 0, "{}", ended.log);
    assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
    ended
}

fn send(hosts: &Hosts, to: &str, datagram: &[u8]) {
    hosts.client.inside(|| {
        let local = if to.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
        UdpSocket::bind(local).unwrap().send_to(datagram, to).unwrap();
    });
}

#[test]
fn the_captures_give_the_requests_of_the_wire_contract() {
    let Some(folder) = captures() else { return };
    for (file, expected) in [
        ("radius-acct-start.pcap", vec![BOB_COMES]),
        ("radius-acct-stop.pcap", vec![BOB_GOES]),
        ("radius-auth-req.pcap", vec![]),
        ("radius_different_auths.pcap", vec![]),
    ] {
        let server = backend(|_| answer(200, r#"{"message": "", "guid": "1"}"#));
        let read = ["--read".to_owned(), folder.join("radius").join(file).display().to_string()];
        let run = run(arguments("radius", server.url.authority()).into_iter().chain(read));
        assert_eq!(run.code, Some(0), "{file}: {}", run.stderr);
        assert_eq!(bodies(&server), expected, "{file}");
    }
}

#[test]
fn a_real_server_and_client_make_users_at_khub() {
    let Some(hosts) = hosts(&["freeradius", "radclient"]) else { return };
    let folder = folder();
    let radius = hosts.radius_server(folder.path());
    let khub = hosts.server.inside(Khub::start);
    let mut line = vec!["--radius".to_owned(), "-i".to_owned(), "eth0".to_owned()];
    line.extend(khub.arguments("radius"));
    let probe = hosts.server.inside(|| Probe::capturing(line));
    let ask = |attributes: &str| {
        let program = ["radclient", "-r", "1", "-t", "5", "10.9.0.2:1813", "acct", "testing123"];
        let output = hosts.tell_client(&program, attributes);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{attributes}: {text}");
    };
    let values = || {
        let status = hosts.server.inside(|| khub.get("/api/v1/status"));
        status["now"]["dimension_values"].as_u64().unwrap()
    };
    ask("User-Name=alice,Acct-Status-Type=Start,Framed-IP-Address=192.0.2.77\n");
    ask("User-Name=carol,Acct-Status-Type=Interim-Update,Framed-IP-Address=192.0.2.78\n");
    ask("User-Name=dave,Acct-Status-Type=Start\n");
    wait_for("two users", || (values() == 2).then_some(()));
    ask("User-Name=alice,Acct-Status-Type=Stop\n");
    wait_for("one user", || (values() == 1).then_some(()));
    let counter = |name| hosts.server.inside(|| khub.counter(name));
    assert_eq!((counter("dimension_upserts"), counter("dimension_deletes")), (2, 1));
    let ended = stopped(&hosts, probe);
    assert!(ended.log.contains("radius: 3 records, 3 accepted"), "{}", ended.log);
    assert!(ended.log.contains("filter: udp dst port (1812 or 1813) or "), "{}", ended.log);
    drop(radius);
}

#[test]
fn a_user_who_comes_and_goes_within_a_second_is_only_deleted_and_silence_is_no_request() {
    let Some(hosts) = hosts(&[]) else { return };
    let server = hosts.server.inside(|| backend(|_| status(204)));
    let probe = probe(&hosts, server.url.authority(), &["--status-port", "9994"]);
    send(&hosts, "10.9.0.2:1813", &request(1, "bob", Some([10, 1, 2, 3]), 0));
    std::thread::sleep(Duration::from_millis(400));
    send(&hosts, "10.9.0.2:1813", &request(2, "bob", None, 0));
    wait_for("a request", || posts(&server, PATH).pop());
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(bodies(&server), [BOB_GOES]);
    let status = hosts.server.inside(|| page(9994, "/v1/status"));
    let radius = &status["radius"];
    for (member, expected) in [("messages", 2), ("taken", 2), ("accepted", 2), ("posts", 1)] {
        assert_eq!(radius[member], expected, "{member}: {radius}");
    }
    // The last event is sent before the end.
    send(&hosts, "10.9.0.2:1812", &request(3, "bob", Some([10, 1, 2, 3]), 0));
    std::thread::sleep(Duration::from_millis(100));
    stopped(&hosts, probe);
    assert_eq!(bodies(&server), [BOB_GOES, BOB_COMES]);
}

#[test]
fn requests_in_fragments_tagged_and_of_ipv6_are_used_on_any_interface_and_port_given() {
    let Some(hosts) = hosts(&[]) else { return };
    let server = hosts.server.inside(|| backend(|_| status(200)));
    let more = ["-i", "lo", "--readers", "2", "--ports", "1646,1813"];
    let mut probe = probe(&hosts, server.url.authority(), &more);
    probe.wait_for("capturing on lo");
    let address = |number| Some([10, 1, 2, number]);
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(4000, 1813)
        .write(&mut frame, &request(1, "vlan", address(1), 3000))
        .unwrap();
    let tag = |frame| tagged(frame, &[(0x8100, 100)]);
    let frames: Vec<Vec<u8>> = fragments(&frame).into_iter().map(tag).collect();
    hosts.client.inside(|| traffic::send("eth0", &frames, 0));
    hosts.server.inside(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&request(3, "local", address(5), 0), "127.0.0.1:1813").unwrap();
    });
    send(&hosts, "[fd09::2]:1646", &request(1, "six", address(2), 3000));
    send(&hosts, "10.9.0.2:1813", &request(1, "plain", address(3), 3000));
    // Fragments of another port pass the filter and are no RADIUS.
    send(&hosts, "[fd09::2]:1812", &request(1, "none", address(4), 3000));
    let users = wait_for("four users", || {
        let all = bodies(&server).concat();
        ["vlan", "six", "plain", "local"].iter().all(|user| all.contains(user)).then_some(all)
    });
    assert!(!users.contains("none"), "{users}");
    stopped(&hosts, probe);
}

#[test]
fn a_filter_narrows_what_the_ports_select() {
    let Some(hosts) = hosts(&[]) else { return };
    let server = hosts.server.inside(|| backend(|_| status(200)));
    let probe = probe(&hosts, server.url.authority(), &["--filter", "dst host 10.9.0.2"]);
    send(&hosts, "[fd09::2]:1813", &request(1, "six", Some([10, 1, 2, 2]), 0));
    send(&hosts, "10.9.0.2:1813", &request(1, "bob", Some([10, 1, 2, 3]), 0));
    wait_for("a request", || posts(&server, PATH).pop());
    let ended = stopped(&hosts, probe);
    assert!(ended.log.contains(") and (dst host 10.9.0.2)\n"), "{}", ended.log);
    assert_eq!(bodies(&server), [BOB_COMES]);
}
