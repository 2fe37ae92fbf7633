use super::*;
use crate::cli::{Request, request};
use crate::target::Target;

fn run(line: &str, environment: &[(&str, &str)]) -> Result<Box<Config>, String> {
    let variable = |name: &str| {
        let found = environment.iter().find(|(key, _)| *key == name)?;
        Some(found.1.to_owned())
    };
    match request(line.split_whitespace().map(Into::into), &variable) {
        Ok(Request::Run(config)) => Ok(config),
        Ok(Request::Print(text)) => panic!("{text}"),
        Err(error) => Err(error.to_string()),
    }
}

/// With an account and a port.
fn config(line: &str) -> Config {
    *run(&format!("-api_email a@b -api_token t -proxy-http 2020 {line}"), &[]).unwrap()
}

fn error(line: &str) -> String {
    run(&format!("-api_email a@b -api_token t -proxy-http 2020 {line}"), &[]).unwrap_err()
}

#[test]
fn without_further_flags_the_proxy_is_for_the_service_alone() {
    let config = config("");
    assert_eq!(config.proxy.listen.to_string(), "127.0.0.1:2020");
    assert_eq!(config.proxy.allow.to_string(), ".kentik.com");
    assert!(!config.proxy.private && config.proxy.upstream.is_none());
    assert_eq!(config.health.to_string(), "127.0.0.1:9996");
    assert_eq!((config.region, config.log_level), (Region::Us, LogLevel::Info));
    assert_eq!(config.proxy.limits.connections, 1024);
    assert_eq!(config.proxy.limits.head_time.as_secs(), 10);
    assert_eq!(config.proxy.limits.connect_time.as_secs(), 10);
    assert_eq!(config.proxy.limits.idle_time.as_secs(), 900);
}

#[test]
fn the_region_chooses_the_domain_unless_one_is_given() {
    assert_eq!(config("-region eu").proxy.allow.to_string(), ".kentik.eu");
    assert_eq!(config("-region EU -proxy-http-allow a.b").proxy.allow.to_string(), ".a.b");
    assert_eq!(config("-region=us1").region, Region::Other("us1".into()));
    let line = "-api_email a@b -api_token t -proxy-http 2020";
    assert_eq!(run(line, &[("KENTIK_REGION", "eu")]).unwrap().region, Region::Eu);
    let wrong = run(line, &[("KENTIK_REGION", "e u")]).unwrap_err();
    assert_eq!(
        wrong,
        "invalid value \"e u\" of KENTIK_REGION: a region consists of letters, digits and -"
    );
}

#[test]
fn a_bare_port_is_on_the_host() {
    assert_eq!(config("-host 192.0.2.1").proxy.listen.to_string(), "192.0.2.1:2020");
    assert_eq!(config("-host :: -proxy-http=2021").proxy.listen.to_string(), "[::]:2021");
    assert_eq!(config("-proxy-http 192.0.2.9:0").proxy.listen.to_string(), "192.0.2.9:0");
    assert_eq!(config("-proxy_http [::1]:80").proxy.listen.to_string(), "[::1]:80");
    for text in ["x", "65536", "a.example:1", "127.0.0.1"] {
        assert_eq!(
            error(&format!("-proxy-http {text}")),
            format!("invalid value {text:?} for flag -proxy-http: must be port or ip:port")
        );
    }
}

#[test]
fn the_health_page_is_on_the_port_after_that_of_flow() {
    assert_eq!(config("-port 5000").health.to_string(), "127.0.0.1:5001");
    assert_eq!(config("-healthcheck 0.0.0.0").health.to_string(), "0.0.0.0:9996");
    assert_eq!(config("-healthcheck ::1").health.to_string(), "[::1]:9996");
    assert_eq!(config("-healthcheck 127.0.0.1:0").health.to_string(), "127.0.0.1:0");
    assert_eq!(error("-port 65535"), "invalid value \"65535\" for flag -port: must be 1 to 65534");
}

#[test]
fn the_account_comes_from_flags_or_the_environment() {
    let variables = [("KENTIK_API_EMAIL", "e@f"), ("KENTIK_API_TOKEN", "s3cret")];
    let config = run("-proxy-http 2020", &variables).unwrap();
    assert_eq!(config.account.email, "e@f");
    assert_eq!(config.account.token, Token("s3cret".into()));
    assert!(!format!("{config:?}").contains("s3cret"));
    let config = run("-proxy-http 2020 -api_email a@b -api_pass other", &variables).unwrap();
    assert_eq!(config.account, Account { email: "a@b".into(), token: Token("other".into()) });
    assert_eq!(
        run("-proxy-http 2020", &[]).unwrap_err(),
        "no e-mail of the account: give -api_email or KENTIK_API_EMAIL"
    );
    assert_eq!(
        run("-proxy-http 2020 -api_email a@b", &[("KENTIK_API_TOKEN", "")]).unwrap_err(),
        "no token of the account: set KENTIK_API_TOKEN or give -api_token"
    );
}

#[test]
fn without_the_proxy_there_is_nothing_to_do() {
    assert_eq!(
        run("-api_email a@b -api_token t", &[]).unwrap_err(),
        "nothing to do: give -proxy-http [addr:]port; the proxy is all there is so far"
    );
}

#[test]
fn limits_are_checked() {
    let config = config(
        "-proxy-http-connections 5 -proxy-http-head-timeout 1 -proxy-http-connect-timeout 2 \
         -proxy-http-idle-timeout 3",
    );
    let seconds = Duration::from_secs;
    assert_eq!(
        config.proxy.limits,
        Limits {
            connections: 5,
            head_time: seconds(1),
            connect_time: seconds(2),
            idle_time: seconds(3)
        }
    );
    assert_eq!(
        error("-proxy-http-connections 0"),
        "invalid value \"0\" for flag -proxy-http-connections: must be 1 to 100000"
    );
    assert!(error("-proxy-http-idle-timeout=-1").contains("must be 1 to 86400"));
}

#[test]
fn a_wrong_upstream_is_an_error_without_its_password() {
    let config = config("-local_proxy http://u:s3cret@proxy.example:3128");
    let target = config.proxy.upstream.as_ref().unwrap().target.clone();
    assert_eq!(target, Target::parse("proxy.example:3128", None).unwrap());
    assert!(!format!("{config:?}").contains("s3cret"));
    assert_eq!(
        error("-local_proxy https://u:s3cret@proxy.example:3128"),
        "invalid value \"***\" for flag -local_proxy: must be http://[user:password@]host:port"
    );
}

#[test]
fn what_is_not_there_yet_is_said_and_what_is_ignored_is_not() {
    let config = config("-host 192.0.2.1 -snmp_low -fg -geo x -dns 1.2.3.4:53");
    let without_token: Vec<_> =
        config.notices.iter().filter(|notice| !notice.contains("token")).collect();
    assert_eq!(
        without_token,
        ["-dns has no effect: not there yet", "-snmp_low has no effect: not there yet"]
    );
}

#[test]
fn each_flag_of_the_table_is_taken_in_both_spellings() {
    for flag in FLAGS.iter().filter(|flag| flag.name != "v") {
        let value = match (flag.name, flag.kind) {
            (_, crate::cli::syntax::Kind::Switch) => "true",
            (_, crate::cli::syntax::Kind::Integer) => "7",
            ("host" | "healthcheck" | "proxy_host" | "local_proxy", _) => "192.0.2.1",
            ("proxy-http", _) => "2020",
            ("log_level", _) => "debug",
            _ => "x",
        };
        let glued = config(&format!("-{}={value}", flag.name));
        if flag.kind != crate::cli::syntax::Kind::Switch {
            config(&format!("--{} {value}", flag.name));
        }
        let says = format!("-{} has no effect: not there yet", flag.name);
        assert_eq!(glued.notices.contains(&says), flag.class == Class::Absent, "{}", flag.name);
    }
}

#[test]
fn levels_have_the_names_of_the_flag() {
    assert_eq!(config("-log_level access").log_level, LogLevel::Access);
    assert_eq!(config("-verbose").log_level, LogLevel::Debug);
    assert_eq!(config("-verbose -log_level off").log_level, LogLevel::Off);
    assert!(error("-log_level loud").contains("must be access, debug, info"));
}
