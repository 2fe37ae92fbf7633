//! Rows of the specification's section 2 that need more than a line that is read: environment,
//! options that must have no effect, and failures while running.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;
#[path = "common/modes.rs"]
mod modes;
#[path = "../export/tests/support/mod.rs"]
mod support;

use std::net::TcpListener;

use benches::mix::{Profile, Size};
use benches::traffic::Plan;
use common::backend::{Khub, device, urls};
use common::captures::captures;
use common::namespace::{ip, with_veth};
use common::probe::Probe;
use common::{Run, folder, kprobe, output, page, recordings, records, run, total, traffic};
use modes::{arguments, posts};
use nix::sys::signal::Signal;
use support::{Server, answer, status};

const PLAN: Plan = Plan {
    conversations: 20,
    unique: false,
    size: Size::Imix,
    profile: Profile::Uniform,
    ipv6_percent: 25,
    seed: 4,
};

/// A small capture in a folder.
fn recording(folder: &std::path::Path) -> String {
    recordings::all().into_iter().next().unwrap().write(folder).display().to_string()
}

fn printed(variables: &[(&str, &str)], line: &str) -> String {
    let mut command = kprobe();
    command.args(line.split_whitespace()).arg("--print-config").envs(variables.iter().copied());
    let Run { code, stdout, stderr } = output(&mut command);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{line}");
    String::from_utf8(stdout).unwrap()
}

/// 2.3: which of the variables counts, and that the option wins.
#[test]
fn credentials_come_from_the_option_else_the_first_variable_that_is_not_empty() {
    let (first, second) = (("KENTIK_EMAIL", "first"), ("KENTIK_API_EMAIL", "second"));
    let token = ("KENTIK_API_TOKEN", "t");
    for (variables, line, shown) in [
        (&[first, second, token][..], "", "email = \"first\"  # environment KENTIK_EMAIL"),
        (&[second, token], "", "email = \"second\"  # environment KENTIK_API_EMAIL"),
        (
            &[("KENTIK_EMAIL", ""), second, token],
            "",
            "email = \"second\"  # environment KENTIK_API_EMAIL",
        ),
        (&[first, second, token], "--email third", "email = \"third\"  # flag"),
        (&[first, token], "", "token = \"***\"  # environment KENTIK_API_TOKEN"),
        (&[first, token, ("KENTIK_TOKEN", "u")], "", "token = \"***\"  # environment KENTIK_TOKEN"),
    ] {
        let text = printed(variables, &format!("-i lo {line}"));
        assert!(text.contains(&format!("\n{shown}\n")), "{shown}: {text}");
    }
}

/// 2.3: the level of the whole is that of `-v`.
#[test]
fn rust_log_refines_modules_and_no_more() {
    let folder = folder();
    let capture = recording(folder.path());
    let log = |filter: &str, more: &[&str]| {
        let mut command = kprobe();
        command.args(["--read", &capture, "--output", "json"]).args(more).env("RUST_LOG", filter);
        output(&mut command).stderr
    };
    assert!(!log("trace", &[]).contains("DEBUG"));
    let refined = log("kprobe::probe::describe=debug", &[]);
    assert!(refined.contains("DEBUG") && refined.contains("sample rate in force"), "{refined}");
    assert!(!refined.contains("Landlock"), "{refined}");
    assert!(log("off", &["-v"]).contains("Landlock"));
}

/// 2.3: only `--proxy-url` counts, in all modes.
#[test]
fn proxy_variables_are_ignored() {
    // Nobody is there.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxies = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"]
        .map(|name| (name, format!("http://{closed}")));
    let hub = Khub::start();
    let folder = folder();
    let capture = recording(folder.path());
    let mut command = kprobe();
    command.args(hub.arguments("dev")).args(["--read", &capture]).envs(proxies.clone());
    let run = output(&mut command);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(!hub.flows("dev").is_empty());
    let Some(captures) = captures() else { return };
    for (mode, file, path) in [
        ("dns", "dns/google.com-any.pcap", "/dns"),
        ("radius", "radius/radius-acct-start.pcap", "/populators"),
    ] {
        let server = modes::backend(|_| answer(200, "{}"));
        let mut command = kprobe();
        command.args(arguments(mode, server.url.authority())).envs(proxies.clone());
        let run = output(command.arg("--read").arg(captures.join(file)));
        assert_eq!(run.code, Some(0), "{mode}: {}", run.stderr);
        assert!(!posts(&server, path).is_empty(), "{mode}");
    }
}

/// 2.1 and 2.2: spellings that are not shown, and options behind the word of a mode.
#[test]
fn old_spellings_and_options_behind_a_mode_are_accepted() {
    let account = "--email a --token b";
    for (line, shown) in [
        ("--fanout 7", "fanout-group = 7"),
        ("--fanout-group=7 --fanout-mode cpu", "fanout-mode = \"cpu\""),
        ("--fanout-group=7 --fanout-mode hash", "fanout-mode = \"hash\""),
        ("--radius-ports 1645 --radius-port 1646", "radius-port = [1645, 1646]"),
        ("--http-port 8080 --http-port 8081,8082", "http-port = [8080, \"8081,8082\"]"),
        ("--dns --dns-filter udp", "dns-filter = \"udp\""),
        ("--dns --juniper-mirror", "juniper-mirror = true"),
        ("--dns dns", "dns = true"),
        ("radius --radius", "radius = true"),
        ("radius --ports 1 --ports 2", "ports = [1, 2]"),
        ("dns --snaplen 96", "snaplen = 96"),
        ("radius --promisc", "promisc = true"),
        ("--no-decode", "no-decode = true"),
        ("--device-id 0", "device-id = 0"),
        ("--status-port 0", "status-port = 0"),
        ("--fanout-group 0", "fanout-group = 0"),
        ("--snaplen 2147483647", "snaplen = 2147483647"),
    ] {
        let text = printed(&[], &format!("{line} -i lo {account}"));
        assert!(text.contains(&format!("\n{shown}  # flag\n")), "{line}: {text}");
    }
}

/// CLI-12: a mode without a group; CLI-14: a host without a port.
#[test]
fn a_fanout_mode_without_a_group_and_a_status_host_without_a_port_have_no_effect() {
    with_veth(|| {
        let more = ["--fanout-mode", "lb", "--status-host", "127.0.0.1", "--output", "json"];
        let probe = Probe::capturing(["-i", "vb", "--buffer-size", "8"].into_iter().chain(more));
        traffic::send("va", &traffic::frames(&PLAN, 500).0, 0);
        let ended = probe.stop(Signal::SIGTERM);
        assert_eq!(ended.code, 0, "{}", ended.log);
        assert!(!ended.log.contains("fanout") && !ended.log.contains("status at"), "{}", ended.log);
        assert_eq!(total(&common::sums(&records(&ended.stdout))).packets, 500);
    });
}

/// CLI-13.
#[test]
fn plan_and_site_have_no_effect_on_a_device_that_is_there() {
    let server = Server::start(|_, seen| match seen.uri.path() {
        "/chf" | "/tsdb" => status(200),
        _ => answer(200, &device("probe", 100)),
    });
    let folder = folder();
    let capture = recording(folder.path());
    let account = ["--email", "a@b.c", "--token", "t", "--device-name", "probe"];
    let more = ["--device-plan", "11", "--device-site", "394", "--read", &capture];
    let words = account.into_iter().chain(more).map(str::to_owned);
    let run = run(words.chain(urls(server.url.authority())));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let api: Vec<String> = server
        .seen()
        .iter()
        .filter(|seen| seen.uri.path().starts_with("/api/"))
        .map(|seen| format!("{} {}", seen.method, seen.uri.path()))
        .collect();
    assert_eq!(api, ["GET /api/internal/device/probe"]);
}

/// CLI-17.
#[test]
fn a_sample_rate_has_no_effect_on_the_modes() {
    let Some(captures) = captures() else { return };
    for (mode, file, path) in [
        ("dns", "dns/google.com-any.pcap", "/dns"),
        ("radius", "radius/radius-acct-start.pcap", "/populators"),
    ] {
        let bodies = [&[][..], &["--sample", "1000000"]].map(|more| {
            let server = modes::backend(|_| answer(200, "{}"));
            let mut command = kprobe();
            command.args(arguments(mode, server.url.authority())).args(more);
            let run = output(command.arg("--read").arg(captures.join(file)));
            assert_eq!(run.code, Some(0), "{mode}: {}", run.stderr);
            posts(&server, path).iter().map(|seen| seen.body.to_vec()).collect::<Vec<_>>()
        });
        assert!(!bodies[0].is_empty() && bodies[0] == bodies[1], "{mode}");
    }
}

/// ERR-9: a capture that fails while it runs, after the flush.
#[test]
fn an_interface_that_vanishes_ends_with_status_1_and_everything_counted() {
    with_veth(|| {
        let arguments = ["-i", "vb", "--buffer-size", "8", "--output", "json"];
        let port = ["--status-port", "9000"];
        let mut probe = Probe::start(arguments.into_iter().chain(port));
        probe.wait_for("status at");
        traffic::send("va", &traffic::frames(&PLAN, 500).0, 0);
        // Taken by the reader before the interface goes.
        modes::wait_for("all frames", || {
            (page(9000, "/v1/status")["readers"][0]["frames"] == 500).then_some(())
        });
        ip("link del va");
        let ended = probe.wait();
        assert_eq!(ended.code, 1, "{}", ended.log);
        let last = ended.log.lines().last().unwrap();
        let expected = "Error: interface vb was deleted or moved to another namespace";
        assert_eq!(last, expected, "{}", ended.log);
        assert_eq!(total(&common::sums(&records(&ended.stdout))).packets, 500);
    });
}

/// ERR-8: the end of a capture is no failure.
#[test]
fn the_end_of_a_capture_is_status_0() {
    let folder = folder();
    let capture = recording(folder.path());
    let run = run(["--read", &capture, "--output", "json"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(!run.stdout.is_empty() && !run.stderr.contains("Error"));
}
