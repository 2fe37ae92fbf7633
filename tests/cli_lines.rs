//! Every row of the option table (spec 2.2) and every rule between options (2.4, 2.5) on the
//! program itself: command line in, standard error and exit status out.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Run, folder, kprobe, output, recordings, run};

/// Status 1, nothing on standard output, one line on standard error.
fn refused(line: &str, expected: &str) {
    let run = run(line.split_whitespace());
    assert_eq!(run.stderr, format!("Error: {expected}\n"), "{line}");
    assert_eq!((run.code, run.stdout.len()), (Some(1), 0), "{line}");
}

/// The merged configuration of a line.
fn printed(line: &str) -> String {
    let run = run(line.split_whitespace().chain(["--print-config"]));
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{line}");
    String::from_utf8(run.stdout).unwrap()
}

#[test]
fn every_option_that_works_is_accepted_in_both_notations() {
    for (flag, value, shown) in [
        ("--email", "a@b.c", "\"a@b.c\""),
        ("--token", "t", "\"***\""),
        ("--sample", "42949672", "42949672"),
        ("--sample", "0", "0"),
        ("--fanout-group", "65535", "65535"),
        ("--fanout-mode", "lb", "\"lb\""),
        ("--filter", "udp", "\"udp\""),
        ("--snaplen", "0", "0"),
        ("--device-id", "4294967295", "4294967295"),
        ("--device-if", "lo", "\"lo\""),
        ("--device-ip", "2001:db8::1", "\"2001:db8::1\""),
        ("--device-name", "a.b", "\"a.b\""),
        ("--device-plan", "11", "11"),
        ("--device-site", "394", "394"),
        ("--region", "JP1", "\"JP1\""),
        ("--api-url", "http://h/api/internal", "\"http://h/api/internal\""),
        ("--flow-url", "http://h/chf", "\"http://h/chf\""),
        ("--metrics-url", "http://h/tsdb", "\"http://h/tsdb\""),
        ("--dns-url", "http://h/dns", "\"http://h/dns\""),
        ("--proxy-url", "192.0.2.1:2020", "\"192.0.2.1:2020\""),
        ("--status-host", "127.0.0.1", "\"127.0.0.1\""),
        ("--status-port", "65535", "65535"),
        ("--readers", "auto", "\"auto\""),
        ("--cpus", "0,2-3", "\"0,2-3\""),
        ("--buffer-size", "64", "64"),
        ("--block-size", "512", "512"),
        ("--retire-ms", "20", "20"),
        ("--max-flows", "1000", "1000"),
        ("--max-memory", "512", "512"),
        ("--output", "json:/tmp/x", "[\"json:/tmp/x\"]"),
        ("--user", "nobody", "\"nobody\""),
        ("--log-format", "json", "\"json\""),
    ] {
        for line in [format!("-i lo {flag} {value}"), format!("-i lo {flag}={value}")] {
            // What is sent needs an account.
            let run = run(line
                .split_whitespace()
                .chain(["--email", "a@b.c"].into_iter().filter(|_| flag == "--token"))
                .chain(["--token", "t"].into_iter().filter(|_| flag == "--email"))
                .chain(["--print-config"]));
            assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{line}");
            let text = String::from_utf8(run.stdout).unwrap();
            let expected = format!("\n{} = {shown}  # flag\n", &flag[2..]);
            assert!(text.contains(&expected), "{expected}: {text}");
        }
    }
    for switch in ["promisc", "no-decode", "no-sandbox"] {
        assert!(
            printed(&format!("--{switch} -i lo")).contains(&format!("\n{switch} = true  # flag"))
        );
    }
}

#[test]
fn the_interface_has_three_notations_and_verbosity_counts() {
    for line in ["-i eth0", "-ieth0", "-i=eth0", "--interface eth0", "--interface=eth0"] {
        assert!(printed(line).contains("\ninterface = [\"eth0\"]  # flag\n"), "{line}");
    }
    assert!(printed("-i eth0 -v -vv").contains("\nverbose = 3  # flag\n"));
}

#[test]
fn modes_are_words_or_flags_with_flags_of_their_own() {
    for (line, shown) in [
        ("dns", "dns = true"),
        ("--dns", "dns = true"),
        ("dns --filter udp", "dns-filter = \"udp\""),
        ("dns --juniper-mirror", "juniper-mirror = true"),
        ("radius", "radius = true"),
        ("--radius", "radius = true"),
        ("radius --ports 1812,1813", "ports = [\"1812,1813\"]"),
    ] {
        let text = printed(&format!("-i lo --email a --token b {line}"));
        assert!(text.contains(&format!("\n{shown}  # flag\n")), "{line}: {text}");
    }
}

#[test]
fn sampling_by_load_has_a_budget_and_needs_a_live_capture() {
    assert!(printed("-i lo --sample auto").contains("\nsample = \"auto\"  # flag\n"));
    let text = printed("-i lo --sample=auto --cpu-budget 25");
    assert!(text.contains("\ncpu-budget = 25  # flag\n"), "{text}");
    for (line, expected) in [
        ("-i lo --cpu-budget 25", "--cpu-budget has no meaning without --sample auto"),
        (
            "--read x.pcap --sample auto",
            "--sample auto has no meaning with --read: a file waits; give a number",
        ),
        (
            "-i lo --sample auto --cpu-budget 0",
            "invalid value '0' for --cpu-budget: expected a whole number from 1 to 100",
        ),
        (
            "-i lo --sample autp",
            "invalid value 'autp' for --sample: expected auto or a whole number from 0 to 42949672",
        ),
    ] {
        refused(line, expected);
    }
}

#[test]
fn what_decoders_and_readers_are_told_is_accepted() {
    for line in [
        "--sample-secret x",
        "--translate 10.0.0.1,80,192.0.2.1,8080",
        "--translate 10.0.0.1,192.0.2.1",
        "--classify ports",
        "--http-port 8080,8081",
        "--tls-port 8443 --tls-port 9443",
        "--dns-port 5353",
        "--radius-ports 1812",
        "--redact url=drop --redact name=hash",
        "--cut-query",
        "--keep-heavy",
        "--ca-file /etc/ssl/ca.pem",
        "--queue-size 64M",
        "--spool /var/spool/x",
    ] {
        let (flag, _) = line.split_once(' ').unwrap_or((line, ""));
        let key = if flag == "--radius-ports" { "radius-port" } else { &flag[2..] };
        let text = printed(&format!("-i lo {line}"));
        assert!(text.contains(&format!("\n{key} = ")), "{line}: {text}");
    }
}

#[test]
fn wrong_values_of_what_is_planned_are_named_already() {
    for (line, expected) in [
        ("--translate 10.0.0.1", "invalid value '10.0.0.1' for --translate: missing src port"),
        (
            "--translate 10.0.0.1,80",
            "invalid value '10.0.0.1,80' for --translate: missing dst spec",
        ),
        (
            "--translate 10.0.0.1,80,10.0.0.2",
            "invalid value '10.0.0.1,80,10.0.0.2' for --translate: missing dst port",
        ),
        (
            "--translate x,80,10.0.0.2,80",
            "invalid value 'x,80,10.0.0.2,80' for --translate: invalid IP address syntax",
        ),
        (
            "--translate 10.0.0.1,x,10.0.0.2,80",
            "invalid value '10.0.0.1,x,10.0.0.2,80' for --translate: invalid digit found in string",
        ),
        (
            "--http-port 80,x",
            "invalid value '80,x' for --http-port: expected ports from 0 to 65535",
        ),
        (
            "--http-port 65536",
            "invalid value '65536' for --http-port: expected ports from 0 to 65535",
        ),
        (
            "--dns-port 65536",
            "invalid value '65536' for --dns-port: expected a whole number from 0 to 65535",
        ),
        ("--classify x", "invalid value 'x' for --classify: expected content or ports"),
        ("--queue-size x", "invalid value 'x' for --queue-size: expected a size like 64M or 1G"),
        ("--spool-size 1G", "--spool-size has no meaning without --spool"),
        ("--juniper-mirror", "--juniper-mirror has no meaning without --dns"),
        ("--email a --token b dns radius", "--dns and --radius exclude each other"),
        ("--email a --token b radius --ports=", "--ports: no ports specified"),
        ("--email a --token b dns word", "unexpected argument 'word' found"),
        ("--email a dns", "expected `--token=<token>`, pass `--help` for usage information"),
        ("--email a --token b dns --output json", "--output has no meaning with --dns or --radius"),
    ] {
        refused(&format!("-i lo {line}"), expected);
    }
    let run = run(["-i", "lo", "--dns-url", "x"]);
    assert!(run.stderr.starts_with("Error: --dns-url: invalid DNS URL: "), "{}", run.stderr);
}

#[test]
fn settings_of_operation_are_checked() {
    for (line, expected) in [
        (
            "--log-format xml",
            "invalid value 'xml' for --log-format: expected plain, json, journald or auto",
        ),
        ("--user=", "invalid value '' for --user: expected a user name"),
        ("--token a --token-file b", "--token and --token-file exclude each other"),
        ("--config /nonexistent", "/nonexistent: No such file or directory (os error 2)"),
        ("--token-file /nonexistent", "/nonexistent: No such file or directory (os error 2)"),
        (
            "--generate pdf",
            "invalid value 'pdf' for --generate: expected man, completions-bash, \
             completions-zsh, completions-fish, config-toml, reference-md or records-md",
        ),
    ] {
        refused(&format!("-i lo {line}"), expected);
    }
}

#[test]
fn a_user_that_does_not_exist_is_refused() {
    if nix::unistd::geteuid().is_root() {
        refused("-i lo --user nosuchuser0", "--user nosuchuser0: there is no such user");
    }
}

#[test]
fn a_configuration_file_says_what_is_wrong_with_it() {
    let folder = folder();
    let path = folder.path().join("kprobe.toml");
    std::fs::write(&path, "snaplen = 96\nfanuot = 7\n").unwrap();
    let path = path.display();
    refused(&format!("-i lo --config {path}"), &format!("{path}: unknown key 'fanuot'"));
}

#[test]
fn a_configuration_file_works_like_flags() {
    let folder = folder();
    let recording = recordings::all().into_iter().next().unwrap().write(folder.path());
    let (path, out) = (folder.path().join("kprobe.toml"), folder.path().join("out.json"));
    let text = format!("read = {recording:?}\noutput = ['json:{}']\n", out.display());
    std::fs::write(&path, text).unwrap();
    let by_file = run(["--config".as_ref(), path.as_os_str()]);
    assert_eq!((by_file.code, by_file.stdout.len()), (Some(0), 0), "{}", by_file.stderr);
    let by_flag = common::replay(&recording, &[]);
    assert_eq!(std::fs::read(&out).unwrap(), by_flag.stdout);
    assert!(!by_flag.stdout.is_empty());
}

/// In a mount namespace of its own `/run/systemd/journal` is our folder.
#[test]
fn log_lines_go_to_the_journal_where_it_reads_standard_error() {
    let works = Command::new("unshare").args(["--mount", "true"]).status();
    if !works.is_ok_and(|status| status.success()) {
        eprintln!("skipped: needs root for a mount namespace");
        return;
    }
    let folder = folder();
    let recording = recordings::all().into_iter().next().unwrap().write(folder.path());
    let all = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(folder.path(), all.clone()).unwrap();
    let journal = UnixDatagram::bind(folder.path().join("socket")).unwrap();
    std::fs::set_permissions(folder.path().join("socket"), all).unwrap();
    journal.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let script = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && \
                  mount --bind \"$1\" /run/systemd/journal && shift && exec \"$@\"";
    let stderr = std::fs::File::create(folder.path().join("stderr")).unwrap();
    let facts = stderr.metadata().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(folder.path());
    command.args([env!("CARGO_BIN_EXE_kprobe"), "-v", "--read"]).arg(recording);
    command.args(["--output", "json"]).stdout(Stdio::null()).stdin(Stdio::null());
    command.env("JOURNAL_STREAM", format!("{}:{}", facts.dev(), facts.ino()));
    assert!(command.stderr(stderr).status().unwrap().success());
    assert_eq!(std::fs::read_to_string(folder.path().join("stderr")).unwrap(), "");
    // The last line is said by a process that has given everything up.
    let mut message = [0; 4096];
    loop {
        let length = journal.recv(&mut message).unwrap();
        let text = String::from_utf8_lossy(&message[..length]);
        if text.contains("0 left out by the flow limit") {
            assert!(text.contains("PRIORITY"), "{text}");
            break;
        }
    }
}

#[test]
fn log_lines_are_json_where_that_is_wanted_and_plain_without_a_journal() {
    let folder = folder();
    let recording = recordings::all().into_iter().next().unwrap().write(folder.path());
    let log = |format: &str, journal: Option<&str>| {
        let mut command = kprobe();
        command.arg("--read").arg(&recording).args(["-v", "--log-format", format]);
        if let Some(journal) = journal {
            command.env("JOURNAL_STREAM", journal);
        }
        let Run { code, stderr, .. } = output(&mut command);
        assert_eq!(code, Some(0), "{stderr}");
        stderr
    };
    for line in log("json", None).lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
    }
    // Inherited from a service, but standard error leads elsewhere.
    let plain = log("auto", Some("1:2"));
    assert!(plain.contains("DEBUG kprobe 0."), "{plain}");
    assert!(plain.contains("sample rate in force 1:1"), "{plain}");
}
