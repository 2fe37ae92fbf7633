//! The command line of the program.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::program;

/// Exit status, standard output, standard error.
fn run(line: &str) -> (i32, String, String) {
    let output = program().args(line.split_whitespace()).output().unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

const ACCOUNT: &str = "-api_email test@example.com -api_token s3cret";

#[test]
fn help_and_version_end_well() {
    for word in ["-h", "-help", "--help"] {
        let (code, out, error) = run(word);
        assert_eq!((code, error.as_str()), (0, ""));
        assert!(out.starts_with("Usage of kproxy: "), "{out}");
        assert!(out.contains("\n  -proxy-http-allow host[:port],...\n"), "{out}");
    }
    assert_eq!(run("-v"), (0, "kproxy 0.1.0\n".into(), String::new()));
    assert_eq!(run("--v=true -proxy-http 1"), (0, "kproxy 0.1.0\n".into(), String::new()));
}

#[test]
fn an_unknown_flag_is_named_with_the_usage_behind_it() {
    let (code, out, error) = run("-proxy-http 2020 -nope=1");
    assert_eq!((code, out.as_str()), (2, ""));
    let (line, usage) = error.split_once('\n').unwrap();
    assert_eq!(line, "flag provided but not defined: -nope");
    assert!(usage.starts_with("Usage of kproxy: "), "{usage}");
}

#[test]
fn what_is_wrong_is_one_line_and_status_2() {
    for (line, text) in [
        ("-proxy-http", "flag needs an argument: -proxy-http"),
        ("-port x", "invalid value \"x\" for flag -port: parse error"),
        ("-syslog=maybe", "invalid value \"maybe\" for flag -syslog: parse error"),
        ("-fg false", "unexpected argument: \"false\""),
        ("---port 1", "bad flag syntax: ---port"),
        ("-proxy-http 2020", "no e-mail of the account: give -api_email or KENTIK_API_EMAIL"),
        (
            "-proxy-http 2020 -api_email a",
            "no token of the account: set KENTIK_API_TOKEN or give -api_token",
        ),
        (
            "-api_email a -api_token b",
            "nothing to do: give -proxy-http [addr:]port; the proxy is all there is so far",
        ),
        (
            "-local_proxy socks5://u:s3cret@x -proxy-http 1 -api_email a -api_token b",
            "invalid value \"***\" for flag -local_proxy: must be http://[user:password@]host:port",
        ),
        ("-host x", "invalid value \"x\" for flag -host: not an IP address"),
    ] {
        let (code, out, error) = run(line);
        assert_eq!((code, out, error), (2, String::new(), format!("{text}\n")), "{line}");
    }
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (code, _, error) = run(&format!("{ACCOUNT} -proxy-http {address}"));
    assert_eq!(code, 1);
    let text = format!(
        "kproxy: cannot listen on {address} for the proxy: Address already in use (os error 98)\n"
    );
    assert_eq!(error, text);
    let (code, _, error) =
        run(&format!("{ACCOUNT} -proxy-http 127.0.0.1:0 -healthcheck {address}"));
    assert_eq!(code, 1);
    assert!(error.contains("for the health page"), "{error}");
}

#[test]
fn the_start_says_what_has_no_effect_and_never_the_token() {
    let mut command = program();
    command.args(["-dns", "192.0.2.1:53", "--snmp_low", "-api_token", "t0ken-typed", "-fg"]);
    command.args(["-local_proxy", "http://user:pa55@192.0.2.1:3128", "-log_level", "access"]);
    let proxy = common::Kproxy::spawn(command);
    proxy.ask("GET http://user:pa55w@flow.kentik.com/?token=in-query HTTP/1.1");
    let log = proxy.log();
    for text in [
        "-dns has no effect: not there yet",
        "-snmp_low has no effect: not there yet",
        "only programs on this machine reach the proxy: see -host",
        "all users of this machine can read the token on the command line",
    ] {
        assert!(log.contains(text), "{text}: {log}");
    }
    for secret in ["t0ken-typed", "s3cret", "pa55", "in-query"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

#[test]
fn the_log_level_is_kept_to() {
    let quiet = {
        let mut command = program();
        command.args(["-log_level", "access"]);
        common::Kproxy::spawn(command)
    };
    quiet.ask("CONNECT example.org:443 HTTP/1.1");
    quiet.wait_for("example.org is not in -proxy-http-allow");
    assert!(quiet.log().contains("TRACE request"), "{}", quiet.log());
}
