//! Batches against real servers that are slow, dead, lying or full.

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use decode::app::{App, Events, Kind, Pair};
use export::{
    Batch, DeviceSettings, ExporterHandle, Feed, KflowConfig, Lost, OutputSummary, Pace, Proxy,
    QueueLimits, Timing, Url, channel, parse_url, start,
};
use flowtable::{Cut, Record};
use support::{
    NEVER, Server, answer, answer_with, batch, fast, kflow, kflow_config, numbers, record, status,
};

const LONG: Duration = Duration::from_secs(20);

fn run(config: KflowConfig, pace: Pace) -> (Feed, ExporterHandle) {
    let (mut feeds, intake) = channel(1, 64, pace);
    let exporter = start(kflow(config), intake).expect("starts");
    (feeds.remove(0), exporter)
}

/// One record per second of packet time from `seconds`, so that each is a batch of its own.
fn replay(config: KflowConfig, seconds: std::ops::Range<u64>) -> ExporterHandle {
    let (mut feed, exporter) = run(config, Pace::Replay);
    for second in seconds {
        feed.send(&mut batch([Record { time_ns: second * 1_000_000_000, ..record(second) }]));
    }
    exporter
}

fn finish(exporter: ExporterHandle, within: Duration) -> OutputSummary {
    let summary = exporter.finish(within).outputs.remove(0);
    assert!(summary.is_balanced(), "{summary:?}");
    summary
}

fn lost(summary: &OutputSummary, reason: Lost) -> u64 {
    summary.lost.iter().find(|(other, _)| *other == reason).expect("every reason").1
}

#[test]
fn a_post_has_the_form_of_the_contract() {
    let server = Server::start(|_, _| status(200));
    let mut config = kflow_config(&server.url);
    config.flow_url = parse_url("flow", &format!("{}?key=1", server.url)).unwrap();
    let (mut feed, exporter) = run(config, Pace::Live);
    feed.send(&mut batch([Record { fragments: 2, app: Some(App::Dns), ..record(56) }]));
    drop(feed);
    let summary = finish(exporter, LONG);
    assert_eq!((summary.offered, summary.accepted, summary.batches_sent), (1, 1, 1));

    let seen = &server.seen()[0];
    assert_eq!(seen.method, "POST");
    let expected = "/chf?key=1&sender_id=1289%3Apd_host%3A9623&sid=0";
    assert_eq!(seen.uri.path_and_query().unwrap(), expected);
    for (name, value) in [
        ("content-type", "application/binary"),
        ("content-encoding", "gzip"),
        ("x-ch-auth-email", "test@example.com"),
        ("x-ch-auth-api-token", "token"),
        ("user-agent", "kprobe/0.1.0"),
    ] {
        assert_eq!(seen.header(name), value, "{name}");
    }
    let flow = &seen.flows()[0];
    assert_eq!((flow.out_bytes, flow.out_packets, flow.output_port), (56, 1, 0xbb37));
    assert_eq!((flow.sample_rate, flow.sample_adj, flow.device_id), (100, true, 9623));
    assert_eq!((flow.app_protocol, flow.customs.len(), flow.customs[0].id), (1, 1, 3));
    assert_eq!(summary.bytes_sent, seen.body.len() as u64);
}

#[test]
fn after_ten_503s_nothing_is_lost_and_nothing_doubled() {
    let server = Server::start(|n, _| if n < 10 { status(503) } else { status(200) });
    let exporter = replay(kflow_config(&server.url), 0..20);
    let summary = finish(exporter, LONG);
    assert_eq!(summary.accepted, 20);
    assert_eq!(summary.retries, 10);
    assert_eq!(numbers(&server.accepted()), (0..20).collect::<Vec<_>>());
}

#[test]
fn a_server_that_never_answers_does_not_stop_delivery() {
    let server = Server::start(|n, _| status(if n < 4 { NEVER } else { 200 }));
    let mut config = kflow_config(&server.url);
    config.timing = Timing { request_timeout: Duration::from_millis(200), ..fast() };
    let summary = finish(replay(config, 0..6), LONG);
    assert_eq!(summary.accepted, 6);
    assert_eq!(numbers(&server.accepted()), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_401_loses_its_batch_once_and_the_others_arrive() {
    let server = Server::start(|n, _| match n {
        2 => answer(401, r#"{"error": "token expired"}"#),
        _ => status(200),
    });
    let summary = finish(replay(kflow_config(&server.url), 0..6), LONG);
    assert_eq!((summary.accepted, lost(&summary, Lost::Rejected)), (5, 1));
    assert_eq!((summary.retries, summary.batches_lost), (0, 1));
    assert_eq!(server.seen().len(), 6);
}

#[test]
fn only_200_is_success_and_redirects_of_a_post_are_not_followed() {
    for refusal in [204, 301, 307, 400, 403, 404, 413, 501] {
        let server = Server::start(move |_, _| answer_with(refusal, "location", "/elsewhere"));
        let summary = finish(replay(kflow_config(&server.url), 0..1), LONG);
        assert_eq!(lost(&summary, Lost::Rejected), 1, "{refusal}");
        assert_eq!(server.seen().len(), 1, "{refusal}");
    }
}

#[test]
fn retry_after_is_waited_for() {
    let server = Server::start(|n, _| match n {
        0 => answer_with(429, "retry-after", "1"),
        _ => status(200),
    });
    let summary = finish(replay(kflow_config(&server.url), 0..1), LONG);
    assert_eq!(summary.accepted, 1);
    let seen = server.seen();
    assert!(seen[1].at - seen[0].at >= Duration::from_millis(990));
}

#[test]
fn a_full_queue_loses_the_oldest_batches_and_counts_them() {
    let server = Server::start(|n, seen| {
        let first_of_last_batch = seen.flows()[0].out_bytes >= 48_768;
        status(if n > 3 && first_of_last_batch { 200 } else { 503 })
    });
    let mut config = kflow_config(&server.url);
    config.queue = QueueLimits { max_batches: 1, ..QueueLimits::default() };
    config.max_in_flight = 1;
    let (mut feed, exporter) = run(config, Pace::Live);
    // Five batches of 12,192 records in one dispatch.
    feed.send(&mut (0..60_960).map(record).collect());
    drop(feed);
    let summary = finish(exporter, LONG);
    assert_eq!((summary.offered, summary.batches), (60_960, 5));
    assert_eq!((summary.accepted, lost(&summary, Lost::QueueFull)), (12_192, 48_768));
    assert_eq!(numbers(&server.accepted())[0], 48_768);
}

#[test]
fn what_a_dead_server_has_not_taken_by_the_deadline_is_lost() {
    // Bound and closed again: connections are refused.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = parse_url("flow", &format!("http://127.0.0.1:{port}/chf")).unwrap();
    let summary = finish(replay(kflow_config(&url), 0..5), Duration::from_millis(300));
    assert_eq!((summary.offered, lost(&summary, Lost::Deadline)), (5, 5));
    assert!(summary.retries > 0);
}

#[test]
fn what_is_in_flight_at_the_deadline_is_lost() {
    let server = Server::start(|_, _| status(NEVER));
    let summary = finish(replay(kflow_config(&server.url), 0..5), Duration::from_millis(300));
    assert_eq!(lost(&summary, Lost::Deadline), 5);
}

/// Answers each connection with one of `answers` after reading its request, then closes it.
fn raw_server(answers: &'static [&'static str]) -> (Url, std::thread::JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/chf", listener.local_addr().expect("bound"));
    let thread = std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("a connection");
            let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
            while !is_whole(&request) {
                let bytes = stream.read(&mut buffer).expect("a request");
                assert!(bytes > 0, "the request breaks off");
                request.extend_from_slice(&buffer[..bytes]);
            }
            stream.write_all(answer.as_bytes()).expect("a reader");
        }
        answers.len()
    });
    (parse_url("flow", &url).expect("a URL"), thread)
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, _)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let head_bytes = request.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(0) + 4;
    request.len() >= head_bytes + length.map_or(0, |length| length.trim().parse().unwrap_or(0))
}

#[test]
fn broken_answers_are_repeated_and_a_200_that_breaks_off_is_not() {
    let (url, server) = raw_server(&[
        "",
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nshort",
    ]);
    let summary = finish(replay(kflow_config(&url), 0..1), LONG);
    assert_eq!((summary.accepted, summary.retries), (1, 2));
    assert_eq!(server.join().unwrap(), 3);
}

#[test]
fn above_the_flow_limit_a_weighted_sample_is_sent() {
    let server = Server::start(|_, _| status(200));
    let mut config = kflow_config(&server.url);
    config.device = support::device(100);
    let (mut feed, exporter) = run(config, Pace::Replay);
    feed.send(&mut (0..1000).map(record).collect());
    // Two seconds later: twice the limit may leave.
    let later = |n| Record { time_ns: 3_000_000_000, ..record(n) };
    feed.send(&mut (1000..1200).map(later).collect());
    drop(feed);
    let summary = finish(exporter, LONG);
    assert_eq!((summary.offered, summary.sampled_out, summary.accepted), (1200, 900, 300));
    let flows = server.accepted();
    let rates = |rate| flows.iter().filter(|flow| flow.sample_rate == rate).count();
    assert_eq!((rates(1000), rates(100)), (100, 200));
}

#[test]
fn settings_of_the_device_change_while_running_and_nothing_is_lost() {
    let server = Server::start(|_, _| status(200));
    let mut config = kflow_config(&server.url);
    config.device = support::device(100);
    config.keep_heavy = true;
    let (mut feed, exporter) = run(config, Pace::Replay);
    let at = |second: u64, n| Record { time_ns: second * 1_000_000_000, fragments: 1, ..record(n) };
    feed.send(&mut (0..100).map(|n| at(1, n)).collect());
    feed.tick(2_000_000_000);
    server.wait_for(1);
    let mut settings = DeviceSettings::from(&support::device(10));
    settings.columns[0].field_id = 77;
    let control = exporter.control();
    assert!(control.apply(settings));
    std::thread::sleep(Duration::from_millis(100));
    feed.send(&mut (100..120).map(|n| at(2, n)).collect());
    feed.tick(3_000_000_000);
    feed.send(&mut (200..220).map(|n| at(3, n)).collect());
    drop(feed);
    let stats = exporter.stats();
    let summary = finish(exporter, LONG);
    assert!(!control.apply(DeviceSettings::default()), "nobody listens any more");
    let seen = server.seen();
    let flows: Vec<_> = seen.iter().map(support::Seen::flows).collect();
    let (first, last) = (&flows[0], flows.last().unwrap());
    assert_eq!((first.len(), first[0].customs[0].id, first[0].sample_rate), (100, 3, 100));
    assert_eq!((last.len(), last[0].customs[0].id), (10, 77));
    assert!(last.iter().any(|flow| flow.sample_rate > 100));
    assert_eq!(summary.offered, 140);
    let error = stats.outputs[0].sample_error.last_bytes.get();
    assert!(error > 0.0 && error < 0.5, "{error}");
}

#[test]
fn a_live_dispatch_leaves_within_a_second_without_finishing() {
    let server = Server::start(|_, _| status(200));
    let (mut feed, exporter) = run(kflow_config(&server.url), Pace::Live);
    feed.send(&mut batch([record(7)]));
    server.wait_for(1);
    assert_eq!(numbers(&server.accepted()), [7]);
    assert!(exporter.is_alive());
    drop(feed);
    finish(exporter, LONG);
}

#[test]
fn a_replay_waits_for_a_slow_server_and_loses_nothing() {
    let server = Server::start(|n, _| status(if n < 30 { 503 } else { 200 }));
    let mut config = kflow_config(&server.url);
    config.queue = QueueLimits { max_batches: 2, ..QueueLimits::default() };
    config.timing.backoff_max = Duration::from_millis(10);
    let (mut feed, exporter) = run(config, Pace::Replay);
    // More than channel and queue hold together.
    for second in 0..200 {
        feed.send(&mut batch([Record { time_ns: second * 1_000_000_000, ..record(second) }]));
    }
    drop(feed);
    let summary = finish(exporter, LONG);
    assert_eq!(summary.accepted, 200);
    assert_eq!(numbers(&server.accepted()), (0..200).collect::<Vec<_>>());
}

#[test]
fn own_metrics_are_reported() {
    let server = Server::start(|_, _| status(200));
    let mut config = kflow_config(&server.url);
    config.metrics_url = Some(server.url.join("/tsdb").unwrap());
    config.timing.metrics_interval = Duration::from_millis(100);
    let (mut feed, exporter) = run(config, Pace::Live);
    feed.send(&mut batch([record(1), record(2)]));
    server.wait_for(2);
    drop(feed);
    finish(exporter, LONG);
    let seen = server.seen();
    let report = seen.iter().find(|seen| seen.uri.path() == "/tsdb").unwrap();
    assert_eq!(report.header("content-type"), "application/json");
    assert_eq!(report.header("x-ch-auth-email"), "test@example.com");
    let metric = &report.json()[0];
    assert_eq!(metric["metric"], "chf.client_Total");
    assert_eq!(metric["value"], 2);
    assert_eq!(metric["tags"]["host"], "pd-host.example.com");
    assert_eq!(metric["tags"]["type"], "count");
}

#[test]
fn a_proxy_gets_every_request_in_absolute_form_with_its_credentials() {
    let proxy = Server::start(|_, _| status(200));
    let mut config = kflow_config(&parse_url("flow", "http://flow.invalid/chf").unwrap());
    let text = format!("http://user:pass@127.0.0.1:{}", proxy.url.port().unwrap());
    config.http.proxy = Some(Proxy::parse(&text).unwrap());
    let summary = finish(replay(config, 0..1), LONG);
    assert_eq!(summary.accepted, 1);
    let seen = &proxy.seen()[0];
    assert_eq!(seen.header("host"), "flow.invalid");
    assert_eq!(seen.header("proxy-authorization"), "Basic dXNlcjpwYXNz");
}

#[test]
fn a_dropped_handle_ends_the_exporter_when_its_feeds_are_gone() {
    let server = Server::start(|_, _| status(200));
    let (mut feed, exporter) = run(kflow_config(&server.url), Pace::Live);
    drop(exporter);
    feed.send(&mut batch([record(1)]));
    drop(feed);
    server.wait_for(1);
    assert_eq!(numbers(&server.accepted()), [1]);
}

#[test]
fn whatever_the_server_does_every_record_is_accounted_for_once() {
    let server = Server::start(|n, _| {
        let choice = fastrand::Rng::with_seed(n as u64).u32(0..10);
        match choice {
            0 => status(503),
            1 => answer_with(429, "retry-after", "0"),
            2 => answer(400, r#"{"error": "no"}"#),
            3 => status(NEVER),
            4 => answer(500, "<html>"),
            _ => status(200),
        }
    });
    let mut config = kflow_config(&server.url);
    config.timing = Timing {
        // Shorter than "never", longer than a busy machine takes for an answer.
        request_timeout: Duration::from_millis(300),
        backoff_max: Duration::from_millis(10),
        ..fast()
    };
    let summary = finish(replay(config, 0..200), LONG);
    assert_eq!(summary.accepted + lost(&summary, Lost::Rejected), 200);
    let arrived = numbers(&server.accepted());
    assert_eq!(arrived.len() as u64, summary.accepted);
    assert!(arrived.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn an_answer_that_waits_for_its_question_counts_once_as_another_readers() {
    let server = Server::start(|_, _| status(200));
    let (mut feeds, intake) = channel(2, 64, Pace::Live);
    let intake = intake.with_links(vec![0, 0]);
    let exporter = start(kflow(kflow_config(&server.url)), intake).expect("starts");
    let stats = exporter.stats();
    let mut events = Events::default();
    events.begin(App::Dhcp, Kind::Response).pair(Pair { key: 7, at_us: 1_000 });
    let answer = Record { packets: 3, ..record(2) };
    let cuts = [
        Cut { record: &record(1), tcp: None, event: None },
        Cut { record: &answer, tcp: None, event: events.get(0) },
    ];
    // Of one conversation, which belongs to the reader that comes first.
    for (feed, cut) in feeds.iter_mut().zip(&cuts) {
        let mut batch = Batch::default();
        batch.push(cut);
        assert!(feed.send(&mut batch));
    }
    drop(feeds);
    let summary = finish(exporter, LONG);
    assert_eq!(numbers(&server.accepted()), [1, 2]);
    assert_eq!(summary.accepted, 2);
    assert_eq!((stats.feed.foreign_records.get(), stats.feed.foreign_packets.get()), (1, 3));
}
