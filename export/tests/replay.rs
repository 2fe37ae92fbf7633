//! Replay gives the same output whatever the number of readers; live output does not wait.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use export::{Output, Pace, Target, channel, start};
use flowtable::Record;
use support::{Server, batch, kflow_config, record, status};

const LONG: Duration = Duration::from_secs(20);

/// 3,000 records over five export ticks, as a capture gives them.
fn capture() -> Vec<Record> {
    (0..3000)
        .map(|n| Record { time_ns: (n / 600) * 2_000_000_000 + 1_700_000_000, ..record(n) })
        .collect()
}

/// Replays the capture with conversations spread over `readers` threads of different speed.
fn replay(outputs: Vec<Output>, readers: u64) {
    let (feeds, intake) = channel(readers as usize, 4, Pace::Replay);
    let exporter = start(outputs, intake).expect("starts");
    let threads: Vec<_> = feeds
        .into_iter()
        .zip(0..)
        .map(|(mut feed, reader)| {
            std::thread::spawn(move || {
                // Within a tick, readers find conversations in no order.
                for tick in capture().chunks(600) {
                    let mine = tick.iter().rev().filter(|r| r.first_frame % readers == reader);
                    let mine: Vec<Record> = mine.cloned().collect();
                    for part in mine.chunks(50) {
                        assert!(feed.send(&mut batch(part.iter().cloned())));
                        std::thread::sleep(Duration::from_micros(100 * reader));
                    }
                    assert!(feed.tick(tick[0].time_ns));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    let summary = exporter.finish(LONG);
    assert_eq!(summary.received, 3000);
    assert!(summary.outputs.iter().all(|output| output.is_balanced() && output.offered == 3000));
}

fn json(path: &Path) -> Output {
    Output::Json(Target::File(path.into()))
}

#[test]
fn json_lines_are_the_same_bytes_with_one_two_and_four_readers() {
    let dir = tempfile::tempdir().unwrap();
    let outputs = [1, 2, 4].map(|readers| {
        let path = dir.path().join(readers.to_string());
        replay(vec![json(&path)], readers);
        std::fs::read_to_string(path).unwrap()
    });
    assert_eq!(outputs[0].lines().count(), 3000);
    assert!(
        outputs[0].starts_with(r#"{"time":"1970-01-01T00:00:01.700000000Z","src":"10.0.0.52""#)
    );
    let bytes: Vec<u64> = outputs[0]
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["bytes"].as_u64())
        .map(Option::unwrap)
        .collect();
    assert_eq!(bytes, (0..3000).collect::<Vec<_>>());
    assert_eq!(outputs[0], outputs[1]);
    assert_eq!(outputs[0], outputs[2]);
}

#[test]
fn a_resampled_replay_sends_the_same_bodies_with_one_and_three_readers() {
    let bodies = [1, 3].map(|readers| {
        let server = Server::start(|_, _| status(200));
        let mut config = kflow_config(&server.url);
        config.device = support::device(70);
        // One at a time, so that the server sees them in order.
        config.max_in_flight = 1;
        replay(vec![Output::Kflow(Box::new(config))], readers);
        let bodies: Vec<_> = server.seen().iter().map(|seen| seen.body.clone()).collect();
        assert_eq!(server.accepted().len(), 70 + 4 * 140);
        bodies
    });
    assert_eq!(bodies[0], bodies[1]);
}

#[test]
fn every_output_gets_every_record() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("1"), dir.path().join("2"));
    let server = Server::start(|_, _| status(200));
    let kflow = Output::Kflow(Box::new(kflow_config(&server.url)));
    replay(vec![json(&one), kflow, json(&two)], 2);
    assert_eq!(std::fs::read(one).unwrap(), std::fs::read(two).unwrap());
    assert_eq!(server.accepted().len(), 3000);
}

#[test]
fn live_lines_are_written_within_a_second_or_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("live");
    let (mut feeds, intake) = channel(1, 4, Pace::Live);
    let exporter = start(vec![json(&path)], intake).expect("starts");
    feeds[0].send(&mut batch([record(1)]));
    let begin = Instant::now();
    while std::fs::read(&path).unwrap().is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(10));
    }
    let stats = exporter.stats();
    assert_eq!(stats.outputs[0].accepted.get(), 1);
    assert!(!stats.all_closed());
    drop(feeds);
    exporter.finish(LONG);
    assert!(stats.all_closed());
}

#[test]
fn a_file_that_cannot_be_made_is_an_error_at_start() {
    let (_feeds, intake) = channel(1, 4, Pace::Live);
    let error = start(vec![json(Path::new("/nonexistent/dir/file"))], intake).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("cannot open /nonexistent/dir/file: No such file"), "{text}");
}
