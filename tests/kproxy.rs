//! The probe's requests through kproxy to khub: in clear, through a tunnel, and refused.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;

use benches::mix::{Profile, Size};
use benches::traffic::Plan;
use common::backend::Khub;
use common::tls::{Running, tls_in_front_of};
use common::{folder, traffic};
use khub::{DEV_EMAIL, DEV_TOKEN};
use kproxy::cli::Request;

const PACKETS: u64 = 5000;

const PLAN: Plan = Plan {
    conversations: 300,
    unique: false,
    size: Size::Imix,
    profile: Profile::Zipf,
    ipv6_percent: 20,
    seed: 3,
};

/// kproxy that lets through what `allow` names, on this machine too.
fn kproxy(allow: &str) -> Running {
    let words = [
        "-api_email",
        DEV_EMAIL,
        "-api_token",
        DEV_TOKEN,
        "-proxy-http",
        "127.0.0.1:0",
        "-healthcheck",
        "127.0.0.1:0",
        "-proxy-http-private",
        "-proxy-http-allow",
        allow,
    ];
    let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
    let Request::Run(config) = kproxy::cli::request(words, &|_| None).unwrap() else {
        panic!("no run");
    };
    Running::start(|tell, stopped| async move {
        let agent = kproxy::Agent::bind(&config).await.unwrap();
        tell.send(agent.proxy_address()).unwrap();
        let stopped = async {
            let _ = stopped.await;
        };
        agent.run(stopped).await;
    })
}

/// Replays the capture and ships its records to the base URL through the proxy.
fn replay(path: &Path, base: &str, proxy: SocketAddr, more: &[&str]) -> Output {
    let mut command = common::kprobe();
    command.arg("--read").arg(path).args(["--email", DEV_EMAIL, "--token", DEV_TOKEN]);
    command.args(["--device-name", "through", "--proxy-url", &format!("http://{proxy}")]);
    for (flag, path) in
        [("--api-url", "/api/internal"), ("--flow-url", "/chf"), ("--metrics-url", "/tsdb")]
    {
        command.args([flag, &format!("{base}{path}")]);
    }
    command.args(more).output().unwrap()
}

fn packets(khub: &Khub) -> u64 {
    khub.flows("through").iter().map(|flow| flow["packets"].as_u64().unwrap()).sum()
}

#[test]
fn records_reach_khub_in_clear_and_through_a_tunnel() {
    let folder = folder();
    let path = folder.path().join("traffic.pcap");
    traffic::write(&path, &PLAN, PACKETS, 3_000_000);
    for tls in [false, true] {
        let khub = Khub::start();
        let ca_file = folder.path().join("ca.pem");
        let front = tls.then(|| tls_in_front_of(khub.address, &ca_file));
        let (base, allow) = match &front {
            None => (format!("http://{}", khub.address), khub.address.to_string()),
            Some(front) => {
                let port = front.address.port();
                (format!("https://localhost:{port}"), format!("localhost:{port}"))
            }
        };
        let proxy = kproxy(&allow);
        let more = ["--ca-file", ca_file.to_str().unwrap()];
        let output = replay(&path, &base, proxy.address, if tls { &more } else { &[] });
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "tls {tls}: {log}");
        assert_eq!(packets(&khub), PACKETS, "tls {tls}: {log}");
    }
}

#[test]
fn a_host_that_is_not_allowed_is_refused_in_words() {
    let folder = folder();
    let path = folder.path().join("traffic.pcap");
    traffic::write(&path, &PLAN, 100, 3_000_000);
    let khub = Khub::start();
    let proxy = kproxy("other.example:443");
    for base in [format!("http://{}", khub.address), "https://localhost:9".to_owned()] {
        let output = replay(&path, &base, proxy.address, &[]);
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{base}: {log}");
        assert!(log.contains("403"), "{base}: {log}");
    }
    assert_eq!(khub.flows("through").len(), 0);
}
