//! URLs that change while batches wait and travel: nothing is lost, and the new server is asked at
//! once.

mod support;

use std::time::{Duration, Instant};

use export::posts::{self, Endpoint, Parcel, PostsConfig};
use export::{
    ExporterHandle, HttpConfig, KflowConfig, OutputSummary, Pace, Proxy, Route, Timing, Url,
    channel, start,
};
use flowtable::Record;
use support::{
    Answer, NEVER, Seen, Server, answer_with, batch, device, fast, http, kflow, kflow_config,
    numbers, record, status,
};

const LONG: Duration = Duration::from_secs(20);

/// One record per second of packet time, so that each is a batch of its own.
fn replay(config: KflowConfig, records: u64) -> ExporterHandle {
    let (mut feeds, intake) = channel(1, 64, Pace::Replay);
    let exporter = start(kflow(config), intake).expect("starts");
    for n in 0..records {
        let record = Record { time_ns: n * 1_000_000_000, ..record(n) };
        feeds[0].send(&mut batch([record]));
    }
    exporter
}

fn route(url: &Url) -> Route {
    let metrics_url = url.join("/tsdb").expect("a URL");
    Route { flow_url: url.clone(), metrics_url, http: http(), timing: fast() }
}

fn finish(exporter: ExporterHandle) -> OutputSummary {
    let summary = exporter.finish(LONG).outputs.remove(0);
    assert!(summary.is_balanced(), "{summary:?}");
    summary
}

#[test]
fn what_waits_goes_to_the_new_url_at_once_and_what_hangs_follows() {
    let old = Server::start(|_, _| status(NEVER));
    let new = Server::start(|_, _| status(200));
    let timing = Timing { request_timeout: Duration::from_secs(3), ..fast() };
    let exporter = replay(KflowConfig { timing, ..kflow_config(&old.url) }, 8);
    old.wait_for(3);
    assert!(exporter.control().redirect(route(&new.url)).expect("a client"));
    let begin = Instant::now();
    new.wait_for(5);
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    let summary = finish(exporter);
    assert_eq!((summary.accepted, summary.lost_total()), (8, 0));
    assert_eq!(numbers(&new.accepted()), (0..8).collect::<Vec<_>>());
    assert_eq!(old.seen().len(), 3);
    let query = new.seen()[0].uri.query().map(str::to_owned);
    assert_eq!(query.as_deref(), Some("sender_id=1289%3Apd_host%3A9623&sid=0"));
}

#[test]
fn late_answers_of_the_old_server_count_and_say_nothing_of_the_new_one() {
    // One of each: taken, to be sent again, refused.
    let old = Server::start(|number, _| Answer {
        after: Duration::from_secs(2),
        ..match number {
            0 => status(200),
            1 => answer_with(503, "retry-after", "300"),
            _ => status(400),
        }
    });
    let new = Server::start(|_, _| status(200));
    let exporter = replay(kflow_config(&old.url), 8);
    old.wait_for(3);
    assert!(exporter.control().redirect(route(&new.url)).expect("a client"));
    let begin = Instant::now();
    // Five that waited, and the one that the old server did not take.
    new.wait_for(6);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    let summary = finish(exporter);
    assert_eq!((summary.accepted, summary.lost_total()), (7, 1));
    assert_eq!((old.seen().len(), old.accepted().len(), new.accepted().len()), (3, 1, 6));
    let asked = old.seen();
    let refused = asked.iter().filter(|seen| seen.status == 400).flat_map(Seen::flows);
    let all: Vec<_> = refused.chain(old.accepted()).chain(new.accepted()).collect();
    assert_eq!(numbers(&all), (0..8).collect::<Vec<_>>());
}

#[test]
fn a_server_that_asked_to_be_left_alone_does_not_hold_up_the_next() {
    let old = Server::start(|_, _| answer_with(503, "retry-after", "300"));
    let new = Server::start(|_, _| status(200));
    let exporter = replay(kflow_config(&old.url), 5);
    old.wait_for(1);
    assert!(exporter.control().redirect(route(&new.url)).expect("a client"));
    let begin = Instant::now();
    new.wait_for(5);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert_eq!(finish(exporter).accepted, 5);
}

#[test]
fn a_proxy_may_come() {
    let server = Server::start(|_, _| status(503));
    // As a proxy it is asked for the whole URL.
    let proxy = Server::start(|_, _| status(200));
    let exporter = replay(kflow_config(&server.url), 2);
    server.wait_for(1);
    let by_proxy = Some(Proxy::parse(proxy.url.authority()).expect("a proxy"));
    let through = Route { http: HttpConfig { proxy: by_proxy, ..http() }, ..route(&server.url) };
    assert!(exporter.control().redirect(through).expect("a client"));
    assert_eq!(finish(exporter).accepted, 2);
    assert_eq!(numbers(&proxy.accepted()), [0, 1]);
    let uri = proxy.seen()[0].uri.clone();
    assert_eq!(uri.authority().unwrap().as_str(), server.url.authority());
}

#[test]
fn a_route_that_cannot_be_made_changes_nothing() {
    let old = Server::start(|_, _| status(200));
    let new = Server::start(|_, _| status(200));
    let exporter = replay(kflow_config(&old.url), 3);
    let ca_file = Some("/nonexistent/roots.pem".into());
    let broken = Route { http: HttpConfig { ca_file, ..http() }, ..route(&new.url) };
    let error = exporter.control().redirect(broken).expect_err("no such file");
    assert!(error.to_string().starts_with("cannot read root certificates"), "{error}");
    assert_eq!(finish(exporter).accepted, 3);
    assert_eq!((old.accepted().len(), new.seen().len()), (3, 0));
}

#[test]
fn messages_of_the_modes_are_repeated_at_the_new_url() {
    let old = Server::start(|_, _| status(503));
    let new = Server::start(|_, _| status(200));
    let timing = Timing { backoff_min: Duration::from_millis(500), ..fast() };
    let (feed, handle) = posts::start(PostsConfig {
        endpoint: Endpoint::Dns(old.url.join("/").expect("a URL")),
        metrics_url: None,
        http: http(),
        device: device(1000),
        host_name: "host".into(),
        pace: Pace::Live,
        timing,
        max_waiting_bytes: 64 << 20,
    })
    .expect("starts");
    assert!(feed.send(Parcel::Dns { body: b"one".to_vec(), records: 1 }));
    old.wait_for(1);
    let endpoint = Endpoint::Dns(new.url.join("/other").expect("a URL"));
    let metrics = new.url.join("/tsdb").expect("a URL");
    handle.control().redirect(endpoint, metrics, &http()).expect("a client");
    assert!(feed.send(Parcel::Dns { body: b"two".to_vec(), records: 1 }));
    new.wait_for(2);
    let summary = handle.finish_unless(LONG, || false, LONG).outputs.remove(0);
    assert!(summary.is_balanced() && summary.accepted == 2, "{summary:?}");
    let mut bodies: Vec<_> = new.seen().iter().map(|seen| seen.body.to_vec()).collect();
    bodies.sort();
    assert_eq!(bodies, [b"one", b"two"]);
    assert!(new.seen().iter().all(|seen| seen.uri.path() == "/other"));
}
