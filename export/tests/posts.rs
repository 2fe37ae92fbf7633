//! DNS responses and users against a real HTTP server (wire contract, sections 8 and 9).

mod support;

use std::time::{Duration, Instant};

use export::posts::{Endpoint, Parcel, PostsConfig, PostsHandle, UserEvent, start};
use export::{Lost, OutputSummary, Pace, Timing};
use support::{NEVER, Seen, Server, answer, device, fast, http, status};

type Make = fn(export::Url) -> Endpoint;

fn config(endpoint: Endpoint) -> PostsConfig {
    PostsConfig {
        endpoint,
        metrics_url: None,
        http: http(),
        device: device(1000),
        host_name: "host".into(),
        pace: Pace::Live,
        timing: fast(),
        max_waiting_bytes: 64 << 20,
    }
}

fn dns(body: &[u8]) -> Parcel {
    Parcel::Dns { body: body.to_vec(), records: 1 }
}

fn user(time_ns: u64, name: &str, address: Option<[u8; 4]>) -> UserEvent {
    UserEvent { time_ns, user: name.into(), address: address.map(Into::into) }
}

fn finish(handle: PostsHandle) -> OutputSummary {
    let within = Duration::from_secs(10);
    let summary = handle.finish_unless(within, || false, within).outputs.remove(0);
    assert!(summary.is_balanced(), "{summary:?}");
    summary
}

fn lost(summary: &OutputSummary, reason: Lost) -> u64 {
    summary.lost.iter().find(|(lost, _)| *lost == reason).map_or(0, |(_, count)| *count)
}

fn bodies(server: &Server) -> Vec<Vec<u8>> {
    server.seen().iter().map(|seen| seen.body.to_vec()).collect()
}

#[test]
fn what_comes_within_a_second_is_one_post_with_the_headers_of_the_contract() {
    let server = Server::start(|_, _| status(200));
    let url = server.url.join("/").expect("a URL");
    let (feed, handle) = start(config(Endpoint::Dns(url))).expect("starts");
    assert!(feed.send(dns(b"one")) && feed.clone().send(dns(b"two")));
    server.wait_for(1);
    let [seen]: [Seen; 1] = server.seen().try_into().expect("one");
    assert_eq!((seen.method.as_str(), seen.uri.path()), ("POST", "/dns"));
    assert_eq!(seen.header("content-type"), "application/chfdns");
    assert_eq!((seen.header("content-encoding"), seen.header("content-length")), ("", "6"));
    assert_eq!(seen.header("x-ch-auth-email"), "test@example.com");
    assert_eq!(seen.header("user-agent"), "kprobe/0.1.0");
    assert_eq!(&seen.body[..], b"onetwo");
    let summary = finish(handle);
    assert_eq!((summary.offered, summary.accepted, summary.batches_sent), (2, 2, 1));
    assert!(!feed.send(dns(b"late")));
}

#[test]
fn nothing_to_say_is_no_request() {
    let server = Server::start(|_, _| status(200));
    for endpoint in [Endpoint::Dns, Endpoint::Tags] {
        let (_feed, handle) = start(config(endpoint(server.url.clone()))).expect("starts");
        std::thread::sleep(Duration::from_millis(1500));
        assert_eq!(finish(handle).batches, 0);
    }
    assert_eq!(server.seen().len(), 0);
}

#[test]
fn any_2xx_is_success_and_is_not_repeated() {
    for code in [200, 201, 202, 204] {
        let server = Server::start(move |_, _| match code {
            204 => status(204),
            code => answer(code, r#"{"error": "none"}"#),
        });
        let (feed, handle) = start(config(Endpoint::Dns(server.url.clone()))).expect("starts");
        feed.send(dns(b"x"));
        let summary = finish(handle);
        assert_eq!((summary.accepted, summary.retries, server.seen().len()), (1, 0, 1), "{code}");
    }
}

#[test]
fn refusals_are_final_and_failures_are_repeated_three_or_four_times_in_all() {
    let endpoints: [(Make, usize); 2] = [(Endpoint::Dns, 4), (Endpoint::Tags, 3)];
    for (endpoint, attempts) in endpoints {
        for (code, expected) in [(401, 1), (302, 1), (429, 1), (500, attempts), (503, attempts)] {
            let server = Server::start(move |_, _| status(code));
            let (feed, handle) = start(config(endpoint(server.url.clone()))).expect("starts");
            feed.send(Parcel::Users(vec![user(1, "bob", None)]));
            let summary = finish(handle);
            assert_eq!(server.seen().len(), expected, "{code}");
            let reason = if expected == 1 { Lost::Rejected } else { Lost::GaveUp };
            assert_eq!((lost(&summary, reason), summary.lost_total()), (1, 1), "{code}");
        }
        let server = Server::start(|number, _| status(if number == 0 { 502 } else { 200 }));
        let (feed, handle) = start(config(endpoint(server.url.clone()))).expect("starts");
        feed.send(Parcel::Users(vec![user(1, "bob", None)]));
        let summary = finish(handle);
        assert_eq!((summary.accepted, summary.retries), (1, 1));
        let [first, second] = &bodies(&server)[..] else { panic!("two attempts") };
        assert_eq!(first, second);
    }
}

#[test]
fn a_stalled_receiver_holds_four_posts_and_the_rest_is_bounded() {
    let server = Server::start(|_, _| status(NEVER));
    let max_waiting_bytes = 100_000;
    let (feed, handle) =
        start(PostsConfig { max_waiting_bytes, ..config(Endpoint::Dns(server.url.clone())) })
            .expect("starts");
    let output = handle.stats().outputs[0].clone();
    let begin = Instant::now();
    let mut longest = Duration::ZERO;
    // Parcels of 1,000 bytes, for longer than four POSTs need to be made.
    for _ in 0..600 {
        let before = Instant::now();
        assert!(feed.send(dns(&[1; 1000])));
        longest = longest.max(before.elapsed());
        assert!(output.queue_bytes.get() <= 100_000);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(longest < Duration::from_millis(500), "{longest:?} in {:?}", begin.elapsed());
    assert_eq!(output.in_flight.get(), 4);
    assert_eq!(server.seen().len(), 4);
    assert!(output.lost(Lost::QueueFull) > 0);
    let within = Duration::from_millis(300);
    let summary = handle.finish_unless(within, || false, within).outputs.remove(0);
    assert_eq!((summary.offered, summary.accepted, summary.lost_total()), (600, 0, 600));
}

#[test]
fn a_post_is_made_at_ten_million_bytes_without_waiting() {
    let server = Server::start(|_, _| status(200));
    let (feed, handle) = start(config(Endpoint::Dns(server.url.clone()))).expect("starts");
    let begin = Instant::now();
    for _ in 0..11 {
        feed.send(dns(&vec![7; 1_000_000]));
    }
    server.wait_for(1);
    assert!(begin.elapsed() < Duration::from_millis(1500));
    let summary = finish(handle);
    assert_eq!(summary.accepted, 11);
    let lengths: Vec<usize> = bodies(&server).iter().map(Vec::len).collect();
    assert_eq!(lengths, [10_000_000, 1_000_000]);
}

#[test]
fn of_a_user_the_last_event_within_a_second_is_sent_and_requests_come_one_after_the_other() {
    let server = Server::start(|_, _| answer(200, r#"{"message": "", "guid": "1"}"#));
    let (feed, handle) = start(config(Endpoint::Tags(server.url.clone()))).expect("starts");
    feed.send(Parcel::Users(vec![user(1, "bob", Some([10, 1, 2, 3]))]));
    feed.send(Parcel::Users(vec![user(2, "bob", None)]));
    server.wait_for(1);
    feed.send(Parcel::Users(vec![user(3, "bob", Some([10, 1, 2, 4]))]));
    let summary = finish(handle);
    assert_eq!((summary.offered, summary.accepted, summary.batches), (3, 3, 2));
    let start = r#"{"replace_all":false,"complete":true,"ttl_minutes":0,"#;
    let expected = [
        format!(r#"{start}"deletes":[{{"value":"bob"}}]}}"#),
        format!(r#"{start}"upserts":[{{"value":"bob","criteria":[{{"addr":["10.1.2.4"]}}]}}]}}"#),
    ];
    assert_eq!(bodies(&server), expected.map(String::into_bytes));
    for seen in server.seen() {
        let path = "/api/internal/batch/customdimensions/kt_user/populators";
        assert_eq!((seen.method.as_str(), seen.uri.path()), ("POST", path));
        assert_eq!(seen.header("content-type"), "application/json");
    }
}

#[test]
fn no_tag_request_has_three_megabytes() {
    let server = Server::start(|_, _| status(200));
    let (feed, handle) = start(config(Endpoint::Tags(server.url.clone()))).expect("starts");
    for batch in 0..8 {
        let name = |n: u32| format!("{batch}-{n}-{}", "\u{1}".repeat(200));
        let events = (0..500).map(|n| user(n.into(), &name(n), None)).collect();
        feed.send(Parcel::Users(events));
    }
    assert_eq!(finish(handle).accepted, 4000);
    let bodies = bodies(&server);
    assert!(bodies.len() > 1);
    assert!(bodies.iter().all(|body| body.len() < 3_000_000));
}

#[test]
fn in_replay_each_parcel_is_a_post_and_none_is_lost() {
    let server = Server::start(|_, _| status(200));
    let (feed, handle) = start(PostsConfig {
        pace: Pace::Replay,
        max_waiting_bytes: 10,
        ..config(Endpoint::Dns(server.url.clone()))
    })
    .expect("starts");
    for n in 0..50 {
        feed.send(dns(&[n; 8]));
    }
    let summary = finish(handle);
    assert_eq!((summary.accepted, summary.batches_sent, server.seen().len()), (50, 50, 50));
}

#[test]
fn own_metrics_are_reported() {
    let server = Server::start(|_, _| status(200));
    let timing = Timing { metrics_interval: Duration::from_millis(300), ..fast() };
    let metrics_url = Some(server.url.join("/tsdb").expect("a URL"));
    let (feed, handle) =
        start(PostsConfig { metrics_url, timing, ..config(Endpoint::Dns(server.url.clone())) })
            .expect("starts");
    feed.send(dns(b"x"));
    let begin = Instant::now();
    let reported = |server: &Server| {
        let seen = server.seen();
        let report = seen.iter().find(|seen| seen.uri.path() == "/tsdb")?;
        Some(report.json()[0].clone())
    };
    let metric = loop {
        assert!(begin.elapsed() < Duration::from_secs(10));
        if let Some(metric) = reported(&server) {
            break metric;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!((&metric["metric"], &metric["value"]), (&"chf.client_Total".into(), &1.into()));
    assert_eq!(metric["tags"]["did"], "9623");
    finish(handle);
}
