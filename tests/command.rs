//! What the command says and how it ends when it cannot do what was asked: the failure table of the
//! specification (2.6), usage errors, help and version.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;
#[path = "../export/tests/support/mod.rs"]
mod support;

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use common::backend::{Khub, urls};
use common::{Run, copy_for_all_users, folder, kprobe, output, recordings, run};
use support::{Server, answer};

/// Status 1, nothing on standard output, one line on standard error.
fn refused(arguments: &[&str], line: &str) {
    let run = run(arguments);
    assert_eq!(run.stderr, format!("{line}\n"), "{arguments:?}");
    assert_eq!(run.code, Some(1), "{arguments:?}");
    assert_eq!(run.stdout, b"", "{arguments:?}");
}

#[test]
fn what_is_missing_is_named() {
    let missing =
        |flag| format!("Error: expected `--{flag}=<{flag}>`, pass `--help` for usage information");
    refused(&[], &missing("interface"));
    refused(&["--email", "a@b.c", "--token", "a-token"], &missing("interface"));
    refused(&["-i", "lo", "--token", "a-token"], &missing("email"));
    refused(&["-i", "lo", "--email", "a@b.c"], &missing("token"));
    refused(&["-i", "lo", "--output", "kflow"], &missing("email"));
}

#[test]
fn an_empty_variable_counts_as_absent_and_a_flag_wins() {
    let with_empty = |name: &str, arguments: &[&str]| {
        output(kprobe().env(name, "").args(arguments).args(["-i", "lo", "--output", "kflow"]))
    };
    let run = with_empty("KENTIK_EMAIL", &["--token", "a-token"]);
    assert!(run.stderr.starts_with("Error: expected `--email=<email>`"), "{}", run.stderr);
    let run = with_empty("KENTIK_TOKEN", &["--email", "a@b.c"]);
    assert!(run.stderr.starts_with("Error: expected `--token=<token>`"), "{}", run.stderr);
}

#[test]
fn an_unknown_interface_is_refused_before_any_request() {
    let server = Server::start(|_, _| answer(200, "{}"));
    let mut arguments = vec!["-i", "nosuch0", "--email", "a@b.c", "--token", "a-token"];
    let urls = urls(server.url.authority());
    arguments.extend(urls.iter().map(String::as_str));
    refused(&arguments, "Error: unsupported interface nosuch0");
    assert!(server.seen().is_empty());
}

#[test]
fn a_usage_error_is_one_line_and_no_request() {
    let server = Server::start(|_, _| answer(200, "{}"));
    let base = format!("http://{}", server.url.authority());
    for (arguments, line) in [
        (&["--fanuot", "3"][..], "unexpected argument '--fanuot' found"),
        (&["eth0"], "unexpected argument 'eth0' found"),
        (
            &["--read", "a", "--read", "b"],
            "the argument '--read <FILE>' cannot be used multiple times",
        ),
        (
            &["--email", "a", "--email=b"],
            "the argument '--email <EMAIL>' cannot be used multiple times",
        ),
        (&["-i", "lo", "--read", "x"], "--interface and --read exclude each other"),
        (
            &["-i", "lo", "--sample", "42949673"],
            "invalid value '42949673' for --sample: expected auto or a whole number from 0 to 42949672",
        ),
        (
            &["-i", "lo", "--sample", "x"],
            "invalid value 'x' for --sample: expected auto or a whole number from 0 to 42949672",
        ),
        (
            &["-i", "lo", "--snaplen=-1"],
            "invalid value '-1' for --snaplen: expected a whole number from 0 to 2147483647",
        ),
        (
            &["-i", "lo", "--device-id", "4294967296"],
            "invalid value '4294967296' for --device-id: expected a whole number from 0 to 4294967295",
        ),
        (
            &["-i", "lo", "--device-ip", "10.0.0"],
            "invalid value '10.0.0' for --device-ip: expected an IP address",
        ),
        (&["-i", "lo", "--device-name="], "invalid value '' for --device-name: expected a name"),
        (
            &["-i", "lo", "--fanout-group", "65536"],
            "invalid value '65536' for --fanout-group: expected a whole number from 0 to 65535",
        ),
        (
            &["-i", "lo", "--fanout-group", "1", "--fanout-mode", "rnd"],
            "invalid value 'rnd' for --fanout-mode: invalid fanout mode",
        ),
        (
            &["-i", "lo", "--output", "xml"],
            "invalid value 'xml' for --output: expected json, json:PATH, kflow or ipfix://HOST:PORT",
        ),
        (
            &["--read", "x", "--local-mac", "1:2:3"],
            "invalid value '1:2:3' for --local-mac: expected six bytes like 00:1c:42:60:bb:37",
        ),
        (&["--read", "x", "--promisc"], "--promisc has no meaning with --read"),
    ] {
        let run = run(arguments.iter().copied().chain(["--api-url", &base]));
        assert_eq!(run.stderr, format!("Error: {line}\n"), "{arguments:?}");
        assert_eq!((run.code, &run.stdout[..]), (Some(1), &b""[..]), "{arguments:?}");
    }
    assert!(server.seen().is_empty());
}

#[test]
fn a_wrong_url_or_region_is_a_usage_error_that_says_which() {
    for (flag, value, phrase) in [
        ("--api-url", "ftp://x", "invalid API URL"),
        ("--flow-url", "nowhere", "invalid flow URL"),
        ("--metrics-url", "http://", "invalid metrics URL"),
        ("--proxy-url", "socks5://x", "invalid proxy URL"),
        ("--region", "", "--region"),
        ("--region", "a/b", "--region"),
    ] {
        let run = run(["-i", "lo", flag, value]);
        assert!(run.stderr.starts_with("Error: ") && run.stderr.contains(phrase), "{}", run.stderr);
        assert_eq!(
            (run.stderr.lines().count(), run.code, run.stdout.len()),
            (1, Some(1), 0),
            "{flag}"
        );
    }
}

#[test]
fn version_and_help_go_to_standard_output() {
    for flag in ["-V", "--version"] {
        let run = run([flag]);
        let expected = format!("Version: {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!((run.code, String::from_utf8(run.stdout).unwrap()), (Some(0), expected));
        assert_eq!(run.stderr, "");
    }
    for flag in ["-h", "--help"] {
        let run = run([flag]);
        let text = String::from_utf8(run.stdout).unwrap();
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
        for expected in ["Usage: kprobe -i NAME", "--fanout-group", "KENTIK_TOKEN", "--read"] {
            assert!(text.contains(expected), "{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }
}

#[test]
fn the_token_is_never_shown() {
    let folder = folder();
    let capture = recording(folder.path());
    let secrets = ["s3cret-token", "who@example.net"];
    let shown = |command: &mut Command| -> Run {
        output(command.env("KENTIK_TOKEN", secrets[0]).env("KENTIK_EMAIL", secrets[1]))
    };
    let help = shown(kprobe().arg("--help"));
    for secret in secrets {
        assert!(!String::from_utf8_lossy(&help.stdout).contains(secret));
    }
    // A server that answers with what it was sent.
    let server = Server::start(|_, seen| {
        answer(403, &format!(r#"{{"error": "no {}"}}"#, seen.header("x-ch-auth-api-token")))
    });
    for verbosity in ["-v", "-vvv"] {
        let mut command = kprobe();
        command.args(["--read", &capture, verbosity]).args(urls(server.url.authority()));
        let run = shown(&mut command);
        assert_eq!(run.code, Some(1));
        assert!(run.stderr.contains("no ***"), "{}", run.stderr);
        assert!(!run.stderr.contains(secrets[0]) && run.stdout.is_empty(), "{}", run.stderr);
    }
    assert_eq!(server.seen()[0].header("x-ch-auth-api-token"), secrets[0]);
}

#[test]
fn a_wrong_token_fails_authentication() {
    let khub = Khub::start();
    let folder = folder();
    let mut arguments = khub.arguments("probe");
    let token = arguments.iter().position(|word| word == "--token").unwrap() + 1;
    arguments[token] = "wrong".to_owned();
    arguments.extend(["--read".to_owned(), recording(folder.path())]);
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    refused(&words, "error: authentication failed");
    assert_eq!(khub.counter("auth_failures"), 1);
}

#[test]
fn an_unknown_device_is_not_found() {
    let strict = khub::Config::new(khub::DEV_EMAIL, khub::DEV_TOKEN);
    let khub = Khub::with(strict);
    let folder = folder();
    let capture = recording(folder.path());
    for more in [&[][..], &["--device-ip", "192.0.2.77"], &["--device-id", "77"]] {
        let arguments = khub.arguments("nobody");
        let mut words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        words.extend(["--read", &capture]);
        words.extend(more);
        let run = run(&words);
        let last = run.stderr.lines().last();
        assert_eq!((run.code, last), (Some(1), Some("error: device not found")), "{more:?}");
        assert_eq!(run.stdout, b"");
    }
}

#[test]
fn a_device_that_is_not_found_is_created_where_a_plan_is_given() {
    let khub = Khub::with(khub::Config::new(khub::DEV_EMAIL, khub::DEV_TOKEN));
    let folder = folder();
    let mut arguments = khub.arguments("new.probe");
    arguments.extend(["--read".to_owned(), recording(folder.path())]);
    let with = ["--device-ip", "192.0.2.77", "--device-plan", "11"].map(str::to_owned);
    let run = run(arguments.into_iter().chain(with));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(khub.flows("192.0.2.77").len(), khub.flows("new_probe").len());
    assert!(!khub.flows("new_probe").is_empty());
}

#[test]
fn other_answers_are_set_up_failures_with_method_url_status_and_text() {
    let folder = folder();
    let capture = recording(folder.path());
    for (status, body, detail) in [
        (403, r#"{"error": "no such plan"}"#, "HTTP status 403: no such plan"),
        (500, "<html>", "HTTP status 500"),
        (503, "", "HTTP status 503"),
        (200, "{", "unexpected JSON at line 1, column 1"),
        (200, "[]", "unexpected JSON at line 1, column "),
    ] {
        let server = Server::start(move |_, _| answer(status, body));
        let run = set_up(&capture, server.url.authority());
        let place = format!("GET http://{}/api/internal/device/probe", server.url.authority());
        let line = format!("error: failed to configure: {place}: {detail}");
        assert!(run.stderr.starts_with(&line), "{status}: {}", run.stderr);
        assert_eq!((run.code, run.stderr.lines().count()), (Some(1), 1), "{}", run.stderr);
        assert_eq!(server.seen().len(), 1);
    }
}

#[test]
fn a_backend_that_refuses_connections_is_a_set_up_failure() {
    let folder = folder();
    // Bound and closed again.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let run = set_up(&recording(folder.path()), &address);
    let line =
        format!("error: failed to configure: GET http://{address}/api/internal/device/probe: ");
    assert!(run.stderr.starts_with(&line), "{}", run.stderr);
    assert!(run.stderr.ends_with("Connection refused (os error 111)\n"), "{}", run.stderr);
    assert_eq!((run.code, run.stderr.lines().count(), run.stdout.len()), (Some(1), 1, 0));
}

#[test]
fn a_bad_filter_gives_libpcaps_own_words() {
    let server = Server::start(|_, _| answer(200, "{}"));
    let mut arguments =
        vec!["-i", "lo", "--filter", "udp prt 53", "--email", "a", "--token", "a-token"];
    let urls = urls(server.url.authority());
    arguments.extend(urls.iter().map(String::as_str));
    let complaint = "can't parse filter expression: syntax error";
    refused(&arguments, &format!("Error: {complaint} in filter \"udp prt 53\""));
    assert!(server.seen().is_empty());
}

#[test]
fn without_privilege_the_capture_says_what_it_needs() {
    let mut command = kprobe();
    // For another user the program has to lie where that user may read.
    let folder = folder();
    if nix::unistd::geteuid().is_root() {
        command = Command::new(copy_for_all_users(folder.path()));
        command.env_clear().stdin(Stdio::null()).uid(65_534).gid(65_534);
    }
    let run = output(command.args(["-i", "lo"]));
    assert!(
        run.stderr.starts_with("Error: opening a packet socket needs CAP_NET_RAW"),
        "{}",
        run.stderr
    );
    assert_eq!((run.code, run.stderr.lines().count(), run.stdout.len()), (Some(1), 1, 0));
}

/// A replay as device `probe` to the backend at `host:port`.
fn set_up(capture: &str, address: &str) -> Run {
    let account =
        ["--email", "a@b.c", "--token", "a-token", "--device-name", "probe", "--read", capture];
    run(account.into_iter().map(str::to_owned).chain(urls(address)))
}

fn recording(folder: &std::path::Path) -> String {
    let recording = recordings::all().into_iter().next().unwrap();
    recording.write(folder).display().to_string()
}
