//! Command lines in, meaning or one clear line out.

use super::*;
use crate::cli::{self, Request};

fn meaning(line: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let words = std::iter::once("kprobe").chain(line.split_whitespace()).map(Into::into);
    let Request::Run(typed) = cli::parse(words).map_err(|error| error.to_string())? else {
        panic!("no run: {line}")
    };
    let variable = |name: &str| {
        environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    };
    Config::new(&typed, &variable).map_err(|error| error.to_string())
}

fn refusal(line: &str) -> String {
    meaning(line, &[]).err().unwrap_or_else(|| panic!("accepted: {line}"))
}

#[test]
fn without_credentials_records_go_to_standard_output() {
    let config = meaning("-i eth0", &[]).unwrap();
    assert_eq!(config.outputs, [OutputChoice::Json(None)]);
    assert!(config.backend.is_none());
}

#[test]
fn with_credentials_records_go_to_the_backend() {
    let environment = [("KENTIK_EMAIL", "a@b.c"), ("KENTIK_API_TOKEN", "t")];
    let config = meaning("-i eth0 --region eu", &environment).unwrap();
    assert_eq!(config.outputs, [OutputChoice::Kflow]);
    let backend = config.backend.unwrap();
    assert_eq!(backend.urls.flow.as_str(), "https://flow.kentik.eu/chf");
    assert_eq!(backend.credentials.email, "a@b.c");
}

#[test]
fn a_flag_wins_over_the_environment_and_an_empty_variable_counts_as_absent() {
    let environment = [("KENTIK_EMAIL", "a@b.c"), ("KENTIK_TOKEN", "")];
    let config = meaning("-i eth0 --email x@y.z --token t", &environment).unwrap();
    assert_eq!(config.backend.unwrap().credentials.email, "x@y.z");
    let missing = meaning("-i eth0", &environment).unwrap_err();
    assert_eq!(missing, "expected `--token=<token>`, pass `--help` for usage information");
}

#[test]
fn a_named_output_needs_no_account() {
    let config = meaning("--read x.pcap --output json:out.json", &[("KENTIK_TOKEN", "t")]).unwrap();
    assert_eq!(config.outputs, [OutputChoice::Json(Some("out.json".into()))]);
    let text = refusal("--read x.pcap --output kflow");
    assert_eq!(text, "expected `--email=<email>`, pass `--help` for usage information");
}

#[test]
fn the_interface_is_asked_for_in_the_documented_words() {
    let text = refusal("--sample 4");
    assert_eq!(text, "expected `--interface=<interface>`, pass `--help` for usage information");
}

#[test]
fn snap_length_zero_means_everything() {
    for (line, expected) in
        [("-i eth0", 256), ("-i eth0 --snaplen 0", 262_144), ("-i eth0 --snaplen 96", 96)]
    {
        let Source::Live(live) = meaning(line, &[]).unwrap().source else { panic!() };
        assert_eq!(live.snap_bytes, expected, "{line}");
    }
}

#[test]
fn groups_and_modes_are_read() {
    let line = "-i eth0 --fanout 65535 --fanout-mode cpu";
    let Source::Live(live) = meaning(line, &[]).unwrap().source else { panic!() };
    assert_eq!((live.group, live.mode), (Some(65_535), Some(FanoutMode::Cpu)));
    let Source::Live(live) = meaning("-i eth0", &[]).unwrap().source else { panic!() };
    assert_eq!((live.group, live.mode), (None, None));
}

#[test]
fn several_interfaces_and_readers_are_read() {
    let line = "-i eth0 -ieth1 --readers auto --cpus 0,2-3 --block-size 64 --buffer-size 1";
    let Source::Live(live) = meaning(line, &[]).unwrap().source else { panic!() };
    assert_eq!(live.interfaces, ["eth0", "eth1"]);
    assert_eq!((live.readers, live.cpus), (Readers::Auto, vec![0, 2, 3]));
    assert_eq!((live.buffer_bytes, live.block_bytes), (1 << 20, 1 << 16));
}

#[test]
fn a_status_host_without_a_port_starts_nothing() {
    assert_eq!(meaning("-i eth0 --status-host 127.0.0.1", &[]).unwrap().status, None);
    let status = meaning("-i eth0 --status-port 9000", &[]).unwrap().status;
    assert_eq!(status, Some("127.0.0.1:9000".parse().unwrap()));
}

#[test]
fn sample_rates_of_zero_and_one_both_mean_all() {
    for (text, expected) in [("0", 1), ("1", 1), ("42949672", 42_949_672)] {
        let config = meaning(&format!("-i eth0 --sample {text}"), &[]).unwrap();
        assert_eq!(config.sample, Some(expected));
    }
    assert_eq!(meaning("-i eth0", &[]).unwrap().sample, None);
}

#[test]
fn wrong_values_are_refused_in_one_line_that_names_the_flag() {
    for (line, expected) in [
        ("-i eth0 --sample 42949673", "--sample: expected a whole number from 0 to 42949672"),
        ("-i eth0 --sample=-1", "'-1' for --sample"),
        ("-i eth0 --snaplen=-5", "'-5' for --snaplen"),
        ("-i eth0 --fanout-group 65536", "--fanout-group: expected a whole number from 0 to 65535"),
        ("-i eth0 --fanout-mode rr", "--fanout-mode: invalid fanout mode"),
        ("-i eth0 --device-ip nonsense", "--device-ip: expected an IP address"),
        ("-i eth0 --device-id x", "--device-id"),
        ("-i eth0 --region a.b", "--region: a region consists of letters"),
        ("-i eth0 --flow-url ftp://x/", "--flow-url: invalid flow URL: the scheme must be http"),
        ("-i eth0 --api-url zzz", "--api-url: invalid API URL"),
        ("-i eth0 --metrics-url zzz", "invalid metrics URL"),
        ("-i eth0 --proxy-url http://", "--proxy-url: invalid proxy URL"),
        ("-i eth0 --output xml", "--output: expected json, json:PATH or kflow"),
        ("-i eth0 --read x.pcap", "--interface and --read exclude each other"),
        ("--read x.pcap --promisc", "--promisc has no meaning with --read"),
        ("--read x.pcap --local-mac 1:2:3", "'1:2:3' for --local-mac: expected six bytes"),
        ("-i eth0 --local-mac 00:1c:42:60:bb:37", "--local-mac has no meaning without --read"),
        ("-i eth0 --max-flows 0", "--max-flows: expected a whole number from 1"),
        ("-i eth0 -i eth0", "--interface eth0 was given twice"),
        ("-i eth0 --readers 0", "--readers: expected auto or a number from 1 to 64"),
        ("-i eth0 --cpus 3-1", "--cpus: expected CPU numbers and ranges like 0,2-5"),
        ("-i eth0 --block-size 96", "--block-size: expected a power of two"),
        ("-i eth0 --buffer-size 1", "--buffer-size: expected at least two blocks of 1024 KiB"),
        ("-i eth0 --status-port 65536", "--status-port: expected a whole number from 0 to 65535"),
    ] {
        let text = refusal(line);
        assert!(text.contains(expected), "{line}: {text}");
        assert!(!text.contains('\n'), "{line}: {text}");
    }
}

#[test]
fn a_local_mac_is_read_in_both_notations() {
    for text in ["00:1c:42:60:bb:37", "00-1C-42-60-BB-37", "0:1c:42:60:bb:37"] {
        let line = format!("--read x.pcap --local-mac {text}");
        let Source::Replay(replay) = meaning(&line, &[]).unwrap().source else { panic!() };
        assert_eq!(replay.local_mac, Some([0, 0x1c, 0x42, 0x60, 0xbb, 0x37]));
    }
}
