//! The rules of the syntax (spec 2.1), one by one.

use super::*;

fn run(line: &str) -> Result<Settings, String> {
    let words = std::iter::once("kprobe").chain(line.split_whitespace()).map(OsString::from);
    match parse(words).map_err(|error| error.to_string())? {
        Request::Run(settings) => Ok(settings),
        Request::Print(text) => Err(text),
        Request::Doctor(interface) => Err(format!("doctor {interface:?}")),
        Request::Top(settings) => Err(format!("top {:?}", settings.all("interface"))),
        Request::TopOf(url) => Err(format!("top of {url}")),
    }
}

#[test]
fn the_doctor_takes_an_interface_before_or_after_the_word() {
    assert_eq!(run("doctor").unwrap_err(), "doctor None");
    for line in ["doctor -i eth0", "-i eth0 doctor"] {
        assert_eq!(run(line).unwrap_err(), "doctor Some(\"eth0\")");
    }
    assert!(run("doctor --promisc").unwrap_err().contains("--promisc has no meaning"));
    assert!(run("doctor dns").unwrap_err().contains("--dns has no meaning"));
}

#[test]
fn top_takes_an_interface_as_a_word_or_flag_or_a_running_probe() {
    for line in ["top eth0", "top -i eth0", "-i eth0 top", "top eth0 --filter tcp --readers 2"] {
        assert_eq!(run(line).unwrap_err(), "top [\"eth0\"]", "{line}");
    }
    assert_eq!(run("top --status http://h:1").unwrap_err(), "top of http://h:1");
    for (line, expected) in [
        ("top eth0 eth1", "unexpected argument 'eth1' found"),
        ("eth0 top", "unexpected argument 'eth0' found"),
        ("top eth0 --status http://h:1", "--interface has no meaning with --status"),
        ("top eth0 --output json", "--output has no meaning with top"),
        ("top dns", "--dns has no meaning with top"),
        ("doctor top", "unexpected argument 'top' found"),
        ("-i eth0 --status http://h:1", "--status has no meaning without the word top"),
    ] {
        assert_eq!(run(line).unwrap_err(), expected, "{line}");
    }
}

#[test]
fn the_flag_table_makes_sound_parsers() {
    command().debug_assert();
    shown_command().debug_assert();
}

#[test]
fn values_may_stand_behind_a_space_or_an_equals_sign() {
    for line in ["-i eth0", "-ieth0", "-i=eth0", "--interface eth0", "--interface=eth0"] {
        assert_eq!(run(line).unwrap().one("interface"), Some("eth0"), "{line}");
    }
}

#[test]
fn a_mode_word_may_stand_anywhere_and_flags_around_it() {
    for mode in ["dns", "radius"] {
        for line in [
            format!("{mode} -i eth0 --snaplen 96"),
            format!("-i eth0 {mode} --snaplen 96"),
            format!("-i eth0 --snaplen 96 {mode}"),
            format!("-i eth0 --snaplen 96 --{mode}"),
            format!("--{mode} {mode} -i eth0 --snaplen 96"),
        ] {
            let settings = run(&line).unwrap();
            assert!(settings.has(mode), "{line}");
            assert_eq!(settings.one("snaplen"), Some("96"), "{line}");
            assert_eq!(settings.one("interface"), Some("eth0"), "{line}");
        }
    }
}

#[test]
fn a_value_that_looks_like_a_mode_is_a_value() {
    let settings = run("--device-name dns -i radius").unwrap();
    assert!(!settings.has("dns") && !settings.has("radius"));
    assert_eq!(settings.one("device-name"), Some("dns"));
}

#[test]
fn a_filter_after_the_word_dns_belongs_to_the_mode() {
    for (line, top, mode) in [
        ("--filter tcp", Some("tcp"), None),
        ("--filter tcp dns", Some("tcp"), None),
        ("dns --filter tcp", None, Some("tcp")),
        ("--filter tcp dns --filter udp", Some("tcp"), Some("udp")),
        ("--dns-filter udp --filter tcp dns", Some("tcp"), Some("udp")),
        ("--dns --filter tcp", Some("tcp"), None),
        ("radius --filter tcp", Some("tcp"), None),
    ] {
        let settings = run(line).unwrap();
        assert_eq!((settings.one("filter"), settings.one("dns-filter")), (top, mode), "{line}");
    }
    for line in
        ["--filter a --filter b", "dns --filter a --filter b", "dns --filter a --dns-filter b"]
    {
        let text = run(line).unwrap_err();
        assert!(text.contains("filter") && text.contains("multiple times"), "{line}: {text}");
    }
}

#[test]
fn verbosity_counts_in_any_mix() {
    assert_eq!(run("-v -vv -i eth0").unwrap().verbose(), 3);
    assert_eq!(run("-i eth0").unwrap().verbose(), 0);
}

#[test]
fn a_flag_given_twice_is_an_error_that_names_it() {
    for line in ["--snaplen 1 --snaplen 2", "--promisc --promisc", "--fanout 1 --fanout-group 2"] {
        let text = run(line).unwrap_err();
        let flag = line.split_whitespace().next_back().filter(|word| word.starts_with("--"));
        let flag = flag.unwrap_or("--");
        assert!(text.contains(flag) && text.contains("multiple times"), "{line}: {text}");
    }
}

#[test]
fn unknown_flags_and_stray_words_are_named() {
    assert!(run("--fanuot 3").unwrap_err().contains("--fanuot"));
    assert!(!run("--fanuot 3").unwrap_err().contains('\n'));
    for line in ["-i eth0 word", "dns word", "word dns", "dns -i eth0 word"] {
        assert_eq!(run(line).unwrap_err(), "unexpected argument 'word' found", "{line}");
    }
    assert_eq!(run("dns dns").unwrap_err(), "unexpected argument 'dns' found");
}

#[test]
fn the_old_spellings_are_accepted() {
    assert_eq!(run("--fanout 7").unwrap().one("fanout-group"), Some("7"));
    let settings = run("--radius-ports 1812 --radius-port 1813,1814").unwrap();
    assert_eq!(settings.all("radius-port"), ["1812", "1813,1814"]);
    assert_eq!(run("radius --ports 1 --ports 2").unwrap().all("ports"), ["1", "2"]);
    assert!(run("--dns --juniper-mirror").unwrap().has("juniper-mirror"));
}

#[test]
fn a_secret_given_twice_in_different_ways_is_an_error() {
    let text = run("--token a --token-file b").unwrap_err();
    assert_eq!(text, "--token and --token-file exclude each other");
}

#[test]
fn a_stronger_source_decides_between_a_secret_and_its_file() {
    let mut typed = run("--token-file b").unwrap();
    let mut weaker = Settings::default();
    weaker.set("token", vec!["a".into()], Origin::Variable("KENTIK_TOKEN"));
    weaker.set("snaplen", vec!["1".into()], Origin::File);
    typed.fill(weaker);
    assert!(!typed.has("token"));
    assert_eq!(typed.one("snaplen"), Some("1"));
}

#[test]
fn the_help_shows_every_flag_that_is_not_hidden() {
    let help = run("--help").unwrap_err();
    for flag in FLAGS {
        let shown = help.lines().any(|line| {
            let mut words = line.trim_start().trim_end_matches('.').split([' ', ',', '.']);
            words.next().is_some_and(|word| word.starts_with('-'))
                && line.split([' ', ',', '.']).any(|word| word == format!("--{}", flag.long))
        });
        assert_eq!(shown, flag.is_shown(), "{}", flag.long);
    }
}

#[test]
fn settings_do_not_show_their_values_in_a_log() {
    let settings = run("--token s3cret").unwrap();
    assert!(!format!("{settings:?}").contains("s3cret"));
}

#[test]
fn version_prints_in_the_documented_form() {
    assert!(run("-V").unwrap_err().starts_with("Version: "));
}
