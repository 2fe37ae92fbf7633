//! Which device a probe reports as, and what it does with it (spec section 4), by the requests that
//! the program makes.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;
#[path = "../export/tests/support/mod.rs"]
mod support;

use common::backend::{Khub, device, urls};
use common::namespace::{ip, with_veth};
use common::probe::Probe;
use common::{Run, folder, recordings, run};
use nix::sys::signal::Signal;
use support::{Server, answer};

/// Replays a small capture to a server, as the device of these flags.
fn replay(server: &Server, more: &[&str]) -> Run {
    let folder = folder();
    let capture = recordings::all().into_iter().next().unwrap().write(folder.path());
    let account = ["--email", "a@b.c", "--token", "t", "--metrics-url", "http://127.0.0.1:9/tsdb"];
    let read = ["--read".to_owned(), capture.display().to_string()];
    let account = account.into_iter().chain(more.iter().copied()).map(str::to_owned);
    run(urls(server.url.authority()).into_iter().take(4).chain(account).chain(read))
}

/// Method and path behind the API's base, without deliveries.
fn requests(server: &Server) -> Vec<String> {
    let calls = server.seen();
    let calls = calls.iter().filter(|seen| seen.uri.path().starts_with("/api/"));
    let text = |seen: &support::Seen| {
        format!("{} {}", seen.method, seen.uri.path().trim_start_matches("/api/internal"))
    };
    calls.map(text).collect()
}

#[test]
fn the_first_selector_decides_and_the_others_are_named() {
    let ip = ["--device-ip", "192.0.2.1"];
    let name = ["--device-name", "a.b"];
    let id = ["--device-id", "7"];
    let plan = ["--device-plan", "11"];
    let by = |first: &str, ignored: &str| {
        Some(format!("the device is chosen by {first}; ignored: {ignored}"))
    };
    for (flags, request, warning) in [
        (vec![id, ip, name], "GET /device/7", by("--device-id", "--device-ip, --device-name")),
        (vec![name, ip], "GET /device/192.0.2.1", by("--device-ip", "--device-name")),
        (vec![name], "GET /device/a_b", None),
        (vec![id], "GET /device/7", None),
        // All three are needed for a device with a chosen address.
        (vec![ip, name, plan], "GET /device/192.0.2.1", None),
    ] {
        let server = Server::start(|_, _| answer(200, &device("a_b", 100)));
        let run = replay(&server, &flags.concat());
        assert_eq!(requests(&server), [request], "{flags:?}");
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        match warning {
            Some(text) => assert!(run.stderr.contains(&text), "{}", run.stderr),
            None => assert!(!run.stderr.contains("chosen by"), "{}", run.stderr),
        }
    }
}

#[test]
fn a_device_id_of_zero_is_none() {
    let server = Server::start(|_, _| answer(200, &device("x", 100)));
    replay(&server, &["--device-id", "0", "--device-name", "x"]);
    assert_eq!(requests(&server), ["GET /device/x"]);
}

#[test]
fn a_name_is_looked_up_in_both_forms_and_then_created_in_the_first() {
    let not_found = |_: usize, seen: &support::Seen| match seen.method.as_str() {
        "POST" if seen.uri.path() == "/chf" => answer(200, ""),
        "POST" => answer(201, r#"{"device": {"id": "1"}}"#),
        _ if seen.uri.path().ends_with("/1") => answer(200, &device("x", 100)),
        _ => answer(404, r#"{"error": "no such device"}"#),
    };
    let server = Server::start(not_found);
    let run = replay(&server, &["--device-name", "a-b.c d"]);
    assert_eq!(run.stderr.lines().last(), Some("error: device not found"));
    assert_eq!(requests(&server), ["GET /device/a-b_c%20d", "GET /device/a_b_c_d"]);

    let server = Server::start(not_found);
    let more = ["--device-name", "a-b.c", "--device-plan", "11", "--device-site", "394"];
    // A replay has no interface whose address a new device could get.
    let run = replay(&server, &more);
    assert_eq!(run.stderr.lines().last(), Some("error: device not found"));
    let server = Server::start(not_found);
    let run = replay(&server, &[&more[..], &["--device-ip", "192.0.2.1"]].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(requests(&server), ["GET /device/192.0.2.1", "POST /device/", "GET /device/1"]);
    let body = server.seen()[1].json();
    let sent = &body["device"];
    assert_eq!(
        (&sent["device_name"], &sent["device_description"]),
        (&"a-b_c".into(), &"a-b.c".into())
    );
    assert_eq!((&sent["plan_id"], &sent["site_id"]), (&11.into(), &394.into()));
    assert_eq!(sent["sending_ips"], serde_json::json!(["192.0.2.1"]));
}

#[test]
fn an_interface_selects_by_its_addresses_in_their_order() {
    with_veth(|| {
        ip("addr add 10.9.0.1/24 dev va");
        ip("addr add 10.9.0.2/24 dev va");
        let flags = ["--device-if", "va", "--device-plan", "11"];
        let server = Server::start(|_, seen| match seen.uri.path() {
            "/chf" => answer(200, ""),
            path if path.ends_with("/10.9.0.2") => answer(200, &device("x", 100)),
            _ => answer(404, "{}"),
        });
        let run = replay(&server, &flags);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert_eq!(requests(&server), ["GET /device/10.9.0.1", "GET /device/10.9.0.2"]);
        let line = "device x was found by address 10.9.0.2";
        assert!(run.stderr.contains(line), "{}", run.stderr);

        // Never created, and a refusal is no unknown device.
        for (status, line) in [
            (404, "error: device not found"),
            (401, "error: authentication failed"),
            (500, "error: failed to configure: GET "),
        ] {
            let server = Server::start(move |_, _| answer(status, "{}"));
            let run = replay(&server, &flags);
            let last = run.stderr.lines().last().unwrap();
            assert!(run.code == Some(1) && last.starts_with(line), "{status}: {}", run.stderr);
            assert!(requests(&server).iter().all(|request| request.starts_with("GET ")));
        }
        let run = replay(&server, &["--device-if", "nosuch0"]);
        assert_eq!(run.stderr, "Error: unsupported interface nosuch0\n");
    });
}

#[test]
fn the_rate_is_that_of_the_flag_else_that_of_the_device() {
    let hub = Khub::with(khub::Config { sample_rate: 4, ..khub::Config::dev() });
    let folder = folder();
    let capture = recordings::all().into_iter().next().unwrap().write(folder.path());
    for (flags, rate) in
        [(&[][..], 4), (&["--sample", "0"], 1), (&["--sample", "1"], 1), (&["--sample", "16"], 16)]
    {
        let name = format!("rate{rate}{}", flags.concat().trim_start_matches('-'));
        let mut arguments = hub.arguments(&name);
        arguments.extend(flags.iter().copied().map(str::to_owned));
        arguments.extend(["-v".to_owned(), "--read".to_owned(), capture.display().to_string()]);
        let run = run(arguments);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let line = format!("sample rate in force 1:{rate}\n");
        assert!(run.stderr.contains(&line), "{flags:?}: {}", run.stderr);
        let flows = hub.flows(&name.replace('-', "_"));
        assert!(flows.iter().all(|flow| flow["sample_rate"] == f64::from(rate)), "{flows:?}");
        assert!(rate > 1 || !flows.is_empty());
    }
}

#[test]
fn the_capture_interface_is_published_and_a_new_device_gets_its_address() {
    with_veth(|| {
        ip("addr add 10.9.0.1/24 dev vb");
        let server = Server::start(|_, seen| match (seen.method.as_str(), seen.uri.path()) {
            ("POST", path) if path.ends_with("/device/") => {
                answer(201, r#"{"device": {"id": "1"}}"#)
            }
            ("GET", path) if path.ends_with("/interfaces") => answer(200, "[]"),
            ("GET", path) if path.ends_with("/device/1") => answer(200, &device("new", 100)),
            ("PUT", _) => answer(200, "{}"),
            ("POST", _) => answer(200, ""),
            _ => answer(404, "{}"),
        });
        let mut arguments = urls(server.url.authority());
        let more = "--email a --token t -i vb --buffer-size 8 --device-name new --device-plan 11";
        arguments.extend(more.split(' ').map(str::to_owned));
        let probe = Probe::capturing(arguments);
        let ended = probe.stop(Signal::SIGTERM);
        assert_eq!(ended.code, 0, "{}", ended.log);
        assert_eq!(
            requests(&server),
            [
                "GET /device/new",
                "POST /device/",
                "GET /device/1",
                "GET /device/1/interfaces",
                "PUT /company/1/device/1/tags/snmp",
            ]
        );
        let seen = server.seen();
        assert_eq!(seen[1].json()["device"]["sending_ips"], serde_json::json!(["10.9.0.1"]));
        let published = seen[4].json();
        assert_eq!(published["vb"]["address"], "10.9.0.1");
        assert_eq!(published["vb"]["netmask"], "255.255.255.0");
        assert_eq!(published["kernel"]["index"], "0");
    });
}
