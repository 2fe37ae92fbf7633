//! A capturing probe whose backend fails: nothing is lost that could be kept, what is lost is
//! counted, and readers never notice.
//!
//! Needs root; without it each test says so and passes.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;
#[path = "../export/tests/support/mod.rs"]
mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use benches::mix::{Profile, Size};
use benches::traffic::Plan;
use common::backend::{device, urls, wire_sums};
use common::namespace::with_veth;
use common::probe::Probe;
use common::{total, traffic};
use khub::{DEV_EMAIL, DEV_TOKEN};
use nix::sys::signal::Signal;
use support::{Answer, Seen, Server, answer, answer_with, status};

const PACKETS: usize = 8000;

/// Packets that are conversations of their own.
const PLAN: Plan = Plan {
    conversations: 1,
    unique: true,
    size: Size::Imix,
    profile: Profile::Uniform,
    ipv6_percent: 10,
    seed: 5,
};

/// Answers the device API, and flow POSTs by their number.
fn backend(script: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Server {
    let posts = AtomicUsize::new(0);
    Server::start(move |_, seen: &Seen| match seen.uri.path() {
        "/chf" => script(posts.fetch_add(1, Ordering::Relaxed)),
        "/tsdb" => status(200),
        path if path.ends_with("/interfaces") => answer(200, "[]"),
        _ => answer(200, &device("pd_host", 1_000_000)),
    })
}

/// Sends the packets over five seconds while the backend follows its script; stops the
/// probe; returns how many records were refused.
fn run(name: &str, script: impl Fn(usize) -> Answer + Send + Sync + 'static) -> u64 {
    let (frames, truth) = traffic::frames(&PLAN, PACKETS);
    let server = backend(script);
    let address = format!("127.0.0.1:{}", server.url.port().unwrap());
    let account = ["-i", "vb", "--email", DEV_EMAIL, "--token", DEV_TOKEN];
    let account = account.into_iter().map(str::to_owned).chain(urls(&address));
    let probe = Probe::capturing(account);
    for part in frames.chunks(PACKETS / 5) {
        traffic::send("va", part, 4000);
        std::thread::sleep(Duration::from_millis(600));
    }
    let ended = probe.stop(Signal::SIGTERM);
    assert_eq!(ended.code, 0, "{name}: {}", ended.log);
    assert!(ended.log.contains(", 0 dropped by the kernel"), "{name}: {}", ended.log);
    let arrived = wire_sums(&server.accepted());
    let refused = server.seen().into_iter().filter(|seen| seen.status == 401);
    let refused: Vec<_> = refused.flat_map(|seen| seen.flows()).collect();
    let lost = wire_sums(&refused);
    let (arrived, lost, truth) = (total(&arrived), total(&lost), total(&truth));
    assert_eq!(arrived.packets + lost.packets, truth.packets, "{name}: {}", ended.log);
    assert_eq!(arrived.bytes + lost.bytes, truth.bytes, "{name}");
    refused.len() as u64
}

#[test]
fn what_a_failing_backend_does_costs_only_what_it_refuses() {
    with_veth(|| {
        assert_eq!(run("well", |_| status(200)), 0);
        assert_eq!(run("500 then 200", |n| status(if n == 0 { 500 } else { 200 })), 0);
        assert_eq!(run("503 for a while", |n| status(if n < 3 { 503 } else { 200 })), 0);
        let wait = |n| if n < 2 { answer_with(429, "retry-after", "1") } else { status(200) };
        assert_eq!(run("429", wait), 0);
        let refused = run("401 once", |n| match n {
            1 => answer(401, r#"{"error": "token expired"}"#),
            _ => status(200),
        });
        assert!(refused > 0);
    });
}
