//! Command lines in, meaning or one clear line out.

use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt;

use capture::FanoutMode;

use super::*;
use crate::cli::{self, Request};

fn meaning(line: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let words = std::iter::once("kprobe").chain(line.split_whitespace()).map(Into::into);
    let Request::Run(settings) = cli::parse(words).map_err(|error| error.to_string())? else {
        panic!("no run: {line}")
    };
    let variable = |name: &str| {
        environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    };
    let settings = Sources::new(settings, &variable).gather();
    settings.and_then(|settings| Config::new(&settings)).map_err(|error| error.to_string())
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
    for (line, expected) in [
        ("-i eth0", 65_535),
        ("-i eth0 --no-decode", 256),
        ("-i eth0 --snaplen 0", 262_144),
        ("-i eth0 --snaplen 96", 96),
    ] {
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
    // With the device at 1:7.
    for (line, expected) in [
        ("-i eth0 --sample 0", 1),
        ("-i eth0 --sample 1", 1),
        ("-i eth0 --sample 42949672", 42_949_672),
        ("-i eth0", 7),
    ] {
        assert_eq!(meaning(line, &[]).unwrap().sample.at_start(Some(7)), expected, "{line}");
    }
    for (line, device, expected) in [("-i eth0", None, 1), ("-i eth0", Some(0), 1)] {
        assert_eq!(meaning(line, &[]).unwrap().sample.at_start(device), expected, "{line}");
    }
}

#[test]
fn only_a_rate_that_was_given_does_not_follow_the_device() {
    let sample = |line| meaning(line, &[]).unwrap().sample;
    assert!(sample("-i eth0").follows_device() && sample("-i eth0 --sample 0").follows_device());
    assert_eq!(sample("-i eth0 --sample 1"), Sample::Every(NonZeroU32::MIN));
    assert!(!sample("-i eth0 --sample 1").follows_device());
    assert_eq!(sample("-i eth0 --sample auto"), Sample::Auto { cpu_percent: 80 });
    let budget = sample("-i eth0 --sample auto --cpu-budget 25");
    assert_eq!(budget, Sample::Auto { cpu_percent: 25 });
    assert!(!budget.follows_device() && budget.at_start(Some(7)) == 1);
}

#[test]
fn wrong_values_are_refused_in_one_line_that_names_the_flag() {
    for (line, expected) in [
        (
            "-i eth0 --sample 42949673",
            "--sample: expected auto or a whole number from 0 to 42949672",
        ),
        ("-i eth0 --sample=-1", "'-1' for --sample"),
        ("-i eth0 --sample automatic", "'automatic' for --sample: expected auto or a whole number"),
        ("-i eth0 --cpu-budget 50", "--cpu-budget has no meaning without --sample auto"),
        ("-i eth0 --sample auto --cpu-budget 101", "--cpu-budget: expected a whole number from 1"),
        ("--read x.pcap --sample auto", "--sample auto has no meaning with --read"),
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
        ("-i eth0 --output xml", "--output: expected json, json:PATH, kflow or ipfix://HOST:PORT"),
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

fn mode(line: &str) -> Mode {
    meaning(&format!("-i eth0 --email a --token b {line}"), &[]).unwrap().mode
}

#[test]
fn the_filter_of_dns_mode_is_its_own_else_that_for_flows_else_the_default() {
    let fragments = "ip[6:2] & 0x1fff != 0 or ip6[6] = 44";
    for (line, expected) in [
        ("dns", format!("udp src port 53 or {fragments}")),
        ("dns --dns-port 5353", format!("udp src port 5353 or {fragments}")),
        ("dns --juniper-mirror", format!("udp or {fragments}")),
        ("--filter tcp dns", "tcp".to_owned()),
        ("dns --filter tcp", "tcp".to_owned()),
        ("--filter udp dns --filter tcp", "tcp".to_owned()),
        ("--dns --dns-filter tcp --filter udp", "tcp".to_owned()),
    ] {
        let Mode::Dns(dns) = mode(line) else { panic!("{line}") };
        assert_eq!(dns.filter, expected, "{line}");
        assert_eq!(dns.juniper_mirror, line.contains("mirror"), "{line}");
        capture::Filter::compile(&dns.filter, capture::LINKTYPE_ETHERNET).unwrap();
    }
}

#[test]
fn radius_mode_captures_its_ports_and_fragments_and_of_them_what_the_filter_selects() {
    let fragments = "ip[6:2] & 0x1fff != 0 or ip6[6] = 44";
    for (line, ports, expected) in [
        ("radius", &[1812, 1813][..], format!("udp dst port (1812 or 1813) or {fragments}")),
        (
            "radius --ports 7,8 --ports 9",
            &[7, 8, 9],
            format!("udp dst port (7 or 8 or 9) or {fragments}"),
        ),
        ("radius --radius-port 7", &[7], format!("udp dst port (7) or {fragments}")),
        ("radius --radius-port 7 --ports 8", &[8], format!("udp dst port (8) or {fragments}")),
        (
            "--radius --ports 8 --filter ip",
            &[8],
            format!("(udp dst port (8) or {fragments}) and (ip)"),
        ),
    ] {
        let Mode::Radius(radius) = mode(line) else { panic!("{line}") };
        assert_eq!(
            (&radius.ports[..], radius.filter.as_str()),
            (ports, expected.as_str()),
            "{line}"
        );
        capture::Filter::compile(&radius.filter, capture::LINKTYPE_ETHERNET).unwrap();
    }
}

#[test]
fn a_mode_needs_an_account_and_excludes_the_other_and_the_others_flags() {
    assert!(refusal("-i eth0 dns --output json").starts_with("expected `--email=<email>`"));
    for (line, expected) in [
        ("-i eth0 dns radius", "--dns and --radius exclude each other"),
        ("-i eth0 --dns radius", "--dns and --radius exclude each other"),
        ("-i eth0 --juniper-mirror", "--juniper-mirror has no meaning without --dns"),
        ("-i eth0 radius --juniper-mirror", "--juniper-mirror has no meaning without --dns"),
        ("-i eth0 --dns-filter tcp", "--dns-filter has no meaning without --dns"),
        ("-i eth0 dns --ports 1", "--ports has no meaning without --radius"),
        ("-i eth0 radius --ports=", "--ports: no ports specified"),
        (
            "-i eth0 radius --ports x",
            "invalid value 'x' for --ports: expected ports from 0 to 65535",
        ),
    ] {
        assert_eq!(refusal(line), expected, "{line}");
    }
}

#[test]
fn decoders_are_told_their_ports() {
    let decoding = meaning("-i eth0", &[]).unwrap().decoding;
    assert!(decoding.enabled);
    assert_eq!((&decoding.http_ports[..], &decoding.tls_ports[..]), (&[80][..], &[443][..]));
    assert_eq!((decoding.dns_port, &decoding.radius_ports[..]), (53, &[1812, 1813][..]));
    let line = "-i eth0 --no-decode --http-port 8080,8081 --http-port 3128 --tls-port 8443 \
                --dns-port 5353 --radius-ports 1645 --classify ports";
    let decoding = meaning(line, &[]).unwrap().decoding;
    assert!(!decoding.enabled);
    assert_eq!(decoding.classify, decode::app::Classify::Ports);
    assert_eq!(decoding.http_ports, [80, 8080, 8081, 3128]);
    assert_eq!((&decoding.tls_ports[..], decoding.dns_port), (&[443, 8443][..], 5353));
    assert_eq!(decoding.radius_ports, [1645]);
}

#[test]
fn sizes_have_units() {
    for (text, bytes) in
        [("1048576", 1 << 20), ("64M", 64 << 20), ("64MiB", 64 << 20), ("2g", 2 << 30)]
    {
        let line = format!("-i eth0 --queue-size {text} --spool /tmp/s --spool-size {text}");
        let delivery = meaning(&line, &[]).unwrap().delivery;
        assert_eq!(delivery.queue_bytes, bytes, "{text}");
        assert_eq!(delivery.spool.unwrap().bytes, bytes, "{text}");
    }
    for text in ["", "M", "1.5M", "1T", "99999999999999999999", "10"] {
        assert!(
            refusal(&format!("-i eth0 --queue-size={text}")).contains("--queue-size"),
            "{text}"
        );
    }
}

#[test]
fn redaction_names_each_field_once() {
    use features::{RedactedField, Redaction};
    let line = "-i eth0 --redact url=drop --redact user-agent=hash --cut-query";
    let privacy = meaning(line, &[]).unwrap().privacy;
    assert!(privacy.cut_query);
    let expected =
        [(RedactedField::Url, Redaction::Drop), (RedactedField::UserAgent, Redaction::Hash)];
    assert_eq!(privacy.redact, expected);
    for text in ["url", "url=", "url=mask", "host=drop", "url=drop --redact url=hash"] {
        assert!(refusal(&format!("-i eth0 --redact {text}")).contains("--redact"), "{text}");
    }
}

#[test]
fn outputs_may_be_collectors_and_files_that_rotate() {
    for (text, host, port) in [
        ("ipfix://collector.example.net:2055", "collector.example.net", 2055),
        ("ipfix://192.0.2.1", "192.0.2.1", 4739),
        ("ipfix://[2001:db8::1]:9995", "2001:db8::1", 9995),
    ] {
        let config = meaning(&format!("-i eth0 --output {text}"), &[]).unwrap();
        let [OutputChoice::Ipfix(collector)] = &config.outputs[..] else { panic!("{text}") };
        assert_eq!((collector.host.as_str(), collector.port), (host, port));
    }
    for text in
        ["ipfix:", "ipfix://", "ipfix://a:0", "ipfix://a:x", "ipfix://[::1", "ipfix://[x]:1"]
    {
        assert!(refusal(&format!("-i eth0 --output {text}")).contains("--output"), "{text}");
    }
    let line = "-i eth0 --output json:/tmp/x --rotate-size 1M --rotate-files 3";
    let rotation = meaning(line, &[]).unwrap().rotation.unwrap();
    assert_eq!((rotation.bytes, rotation.files), (1 << 20, 3));
    assert!(refusal("-i eth0 --rotate-size 1M").contains("without --output json:PATH"));
    assert!(refusal("-i eth0 --rotate-files 2").contains("without --rotate-size"));
}

/// A configuration file with this content and mode.
fn file(content: &str, mode: u32) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kprobe.toml");
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    let path = path.display().to_string();
    (folder, path)
}

#[test]
fn a_file_says_what_flags_say_and_is_the_weakest_source() {
    let content = "interface = ['eth0', 'eth1']\npromisc = true\nno-decode = false\nverbose = 2\n\
                   sample = 16\nregion = 'eu'\nfanout = 7\nemail = 'file@x'\ntoken = 'file'\n\
                   radius-port = [1, 2]\nhttp-port = '3,4'\n";
    let (_folder, path) = file(content, 0o600);
    let environment = [("KENTIK_EMAIL", "environment@x")];
    let config =
        meaning(&format!("--config {path} --sample 4 --region jp1"), &environment).unwrap();
    let Source::Live(live) = config.source else { panic!() };
    assert_eq!(live.interfaces, ["eth0", "eth1"]);
    assert_eq!((live.promiscuous, live.group), (true, Some(7)));
    assert_eq!(config.sample, Sample::Every(NonZeroU32::new(4).unwrap()));
    assert_eq!((config.verbose, config.decoding.enabled), (2, true));
    assert_eq!(config.decoding.radius_ports, [1, 2]);
    assert_eq!(config.decoding.http_ports, [80, 3, 4]);
    let backend = config.backend.unwrap();
    assert_eq!(backend.credentials.email, "environment@x");
    assert_eq!(backend.urls.flow.as_str(), "https://flow.jp1.kentik.com/chf");
}

#[test]
fn what_is_wrong_in_a_file_is_named_with_file_and_key() {
    for (content, expected) in [
        ("fanuot = 3", "unknown key 'fanuot'"),
        ("help = true", "unknown key 'help'"),
        ("config = 'x'", "unknown key 'config'"),
        ("[capture]\nsnaplen = 1", "unknown key 'capture'"),
        ("snaplen = 1.5", "key 'snaplen': expected a text or a number"),
        ("promisc = 1", "key 'promisc': expected true or false"),
        ("verbose = 'x'", "key 'verbose': expected a number from 0 to 255"),
        ("interface = [['a']]", "key 'interface': expected a list of texts or numbers"),
        ("fanout = 1\nfanout-group = 2", "was given in two spellings"),
        ("token = 'a'\ntoken-file = 'b'", "--token and --token-file exclude each other"),
        ("snaplen = 1\nsnaplen", "line 2: "),
    ] {
        let (_folder, path) = file(content, 0o600);
        let text = refusal(&format!("-i eth0 --config {path}"));
        assert!(text.starts_with(&path) && text.contains(expected), "{content}: {text}");
        assert!(!text.contains('\n'), "{text}");
    }
    assert!(refusal("-i eth0 --config /nonexistent").starts_with("/nonexistent: No such file"));
    assert_eq!(refusal("-i eth0 --config /dev"), "/dev: is no regular file");
}

#[test]
fn a_file_with_secrets_must_not_be_open_to_others() {
    for content in ["token = 's3cret'", "sample-secret = 's3cret'", "proxy-url = 'u:s3cret@h:1'"] {
        for mode in [0o640, 0o604, 0o644, 0o660] {
            let (_folder, path) = file(content, mode);
            let text = refusal(&format!("-i eth0 --output json --config {path}"));
            let expected = format!("{path}: holds secrets and is open to others (mode {mode:03o})");
            assert!(text.starts_with(&expected) && !text.contains("s3cret"), "{text}");
        }
        let (_folder, path) = file(content, 0o600);
        meaning(&format!("-i eth0 --output json --config {path}"), &[]).unwrap();
    }
    let (_folder, path) = file("snaplen = 96", 0o644);
    meaning(&format!("-i eth0 --config {path}"), &[]).unwrap();
}

#[test]
fn token_and_email_come_from_files_of_their_own() {
    let (_token_folder, token) = file("  s3cret \nmore\n", 0o400);
    let (_email_folder, email) = file("a@b.c\n", 0o644);
    let line = format!("-i eth0 --token-file {token} --email-file {email}");
    let config = meaning(&line, &[("KENTIK_TOKEN", "other")]).unwrap();
    assert!(!format!("{config:?}").contains("s3cret"), "{config:?}");
    let backend = config.backend.unwrap();
    assert_eq!(backend.credentials.email, "a@b.c");
    assert_eq!(backend.credentials.token, export::Token::new("s3cret"));
    let (_folder, open) = file("s3cret\n", 0o644);
    let text = refusal(&format!("-i eth0 --email a --token-file {open}"));
    assert!(text.contains("holds a secret and is open to others"), "{text}");
    // The service manager guards its folder; group bits there are those of an access list.
    let folder = std::path::Path::new(&open).parent().unwrap().display().to_string();
    let line = format!("-i eth0 --email a --token-file {open}");
    meaning(&line, &[("CREDENTIALS_DIRECTORY", &folder)]).unwrap();
    let (_folder, empty) = file("\n", 0o400);
    let text = refusal(&format!("-i eth0 --email a --token-file {empty}"));
    assert_eq!(text, format!("{empty}: the first line is empty"));
}

/// The settings of a line, merged.
fn settings(line: &str) -> Settings {
    let words = std::iter::once("kprobe").chain(line.split_whitespace()).map(Into::into);
    let Ok(Request::Run(settings)) = cli::parse(words) else { panic!("{line}") };
    Sources::new(settings, &|name| (name == "KENTIK_EMAIL").then(|| "a@b.c".to_owned()))
        .gather()
        .unwrap()
}

#[test]
fn the_printed_configuration_is_one_and_says_where_each_setting_came_from() {
    let (_folder, path) = file("snaplen = 96\npromisc = true\n", 0o644);
    let line = format!("-i eth0 -i eth1 -vv --config {path} --output json --filter tcp");
    let text = print(&settings(&line)).unwrap();
    for expected in [
        "interface = [\"eth0\", \"eth1\"]  # flag\n",
        "snaplen = 96  # file\n",
        "promisc = true  # file\n",
        "filter = \"tcp\"  # flag\n",
        "email = \"a@b.c\"  # environment KENTIK_EMAIL\n",
        "# readers = 1  # default\n",
        "# flow-url = \"https://flow.kentik.com/chf\"  # default, by region\n",
        "# sample: of the device\n",
        "verbose = 2  # flag\n",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(text.contains("# classify = \"content\"  # default\n"), "{text}");
    let (_folder, again) = file(&text, 0o600);
    let reread = print(&settings(&format!("--config {again}"))).unwrap();
    // What is not a comment, without the origins.
    let plain = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        lines.map(|line| line.split("  # ").next().unwrap().to_owned()).collect()
    };
    assert_eq!(plain(&text), plain(&reread));
}

#[test]
fn the_printed_configuration_hides_secrets() {
    let line = "-i eth0 --token s3cret --sample-secret s3cret --proxy-url http://u:s3cret@h:1 \
                --flow-url https://s3cret@h/chf";
    let text = print(&settings(line)).unwrap();
    assert!(!text.contains("s3cret"), "{text}");
    assert!(text.contains("token = \"***\"  # flag"), "{text}");
    assert!(text.contains("proxy-url = \"http://***@h:1/\"  # flag"), "{text}");
    let (_folder, token) = file("s3cret", 0o600);
    let text = print(&settings(&format!("-i eth0 --token-file {token}"))).unwrap();
    assert!(!text.contains("s3cret") && text.contains(&format!("token-file = \"{token}\"")));
}

#[test]
fn a_reload_tells_what_changes_now_and_what_waits() {
    let (_folder, path) = file("interface = 'eth0'\nverbose = 1\nsnaplen = 96\n", 0o644);
    let line = format!("kprobe --config {path} --promisc");
    let Ok(Request::Run(flags)) = cli::parse(line.split(' ').map(Into::into)) else { panic!() };
    let mut sources = Sources::new(flags, &|_| None);
    let at_start = sources.gather().unwrap();
    assert!(!format!("{sources:?}").contains("eth0"));
    let mut reload = Reload::new(sources, at_start);
    let changes = reload.again().unwrap();
    assert!(changes.live.is_empty() && changes.at_start.is_empty());

    std::fs::write(&path, "interface = 'eth0'\nverbose = 2\nsnaplen = 97\npromisc = false\n")
        .unwrap();
    let changes = reload.again().unwrap();
    assert_eq!((&changes.live[..], &changes.at_start[..]), (&["verbose"][..], &["snaplen"][..]));
    assert_eq!(changes.config.verbose, 2);
    // Not in force before it is accepted.
    assert_eq!(reload.again().unwrap().live, ["verbose"]);
    reload.accept(&changes);
    // In force now, or still waiting.
    let changes = reload.again().unwrap();
    assert_eq!((&changes.live[..], &changes.at_start[..]), (&[][..], &["snaplen"][..]));

    for wrong in
        ["interface = 'eth0'\nverbose = 3\nnonsense = 1", "interface = 'eth0'\nsample = 'x'"]
    {
        std::fs::write(&path, wrong).unwrap();
        assert!(reload.again().is_err());
    }
    std::fs::write(&path, "interface = 'eth0'\nsnaplen = 96\n").unwrap();
    let changes = reload.again().unwrap();
    assert_eq!((&changes.live[..], &changes.at_start[..]), (&["verbose"][..], &[][..]));
    assert_eq!(changes.config.verbose, 0);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn any_file_is_settings_or_one_line_that_names_it(
        key in "[a-z-]{1,12}|sample|token|interface|promisc|verbose",
        value in ".*|[0-9]{1,20}|true|\\[[0-9, ]*\\]|'[^'\n]*'",
    ) {
        let (_folder, path) = file(&format!("{key} = {value}\n"), 0o600);
        if let Err(text) = meaning(&format!("-i eth0 --output json --config {path}"), &[]) {
            let flag = text.starts_with("invalid value") || text.starts_with("--");
            let flag = flag || text.starts_with("expected `--");
            proptest::prop_assert!(flag || text.starts_with(&path), "{}", text);
        }
    }
}
