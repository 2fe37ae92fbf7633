//! Outages of the server with a spool on disk: over restarts, without room, and killed at any time.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod support;

use std::collections::{HashMap, HashSet};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use export::{
    ExporterHandle, Feed, KflowConfig, Lost, OutputSummary, Pace, SpoolConfig, Url, channel,
    parse_url, spool, start,
};
use flowtable::Record;
use support::{Server, batch, kflow, kflow_config, numbers, record, status};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);

fn with_spool(url: &Url, dir: &Path, max_bytes: u64) -> KflowConfig {
    KflowConfig {
        spool: Some(SpoolConfig { dir: dir.into(), max_bytes }),
        max_in_flight: 1,
        ..kflow_config(url)
    }
}

fn run(config: KflowConfig, pace: Pace) -> (Feed, ExporterHandle) {
    let (mut feeds, intake) = channel(1, 64, pace);
    let exporter = start(kflow(config), intake).expect("starts");
    (feeds.remove(0), exporter)
}

/// A batch of one record for each number.
fn feed_all(feed: &mut Feed, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        let record = Record { time_ns: number * 1_000_000_000, ..record(number) };
        feed.send(&mut batch([record]));
    }
}

fn replay(config: KflowConfig, numbers: impl IntoIterator<Item = u64>) -> ExporterHandle {
    let (mut feed, exporter) = run(config, Pace::Replay);
    feed_all(&mut feed, numbers);
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

/// Nobody listens there.
fn dead() -> Url {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    parse_url("flow", &format!("http://127.0.0.1:{port}/chf")).unwrap()
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let found = std::fs::read_dir(dir.join("1289-9623")).unwrap();
    let paths = found.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "seg")).collect()
}

#[test]
fn what_an_outage_leaves_waits_on_disk_and_arrives_once_after_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let summary = finish(replay(with_spool(&dead(), dir.path(), 1 << 20), 1..=50), SHORT);
    assert_eq!((summary.offered, summary.spooled, summary.lost_total()), (50, 50, 0));
    // The server takes its time, so that answers are on their way all the while.
    let server = Server::start(|_, _| {
        std::thread::sleep(Duration::from_millis(5));
        status(200)
    });
    let config = with_spool(&server.url, dir.path(), 1 << 20);
    let summary = finish(replay(config, 51..=60), LONG);
    assert_eq!((summary.offered, summary.recovered, summary.accepted), (10, 50, 60));
    assert_eq!(numbers(&server.accepted()), (1..=60).collect::<Vec<_>>());
    // Old ones in order among themselves.
    let arrived = server.accepted();
    let old: Vec<u64> = arrived.iter().map(|f| f.out_bytes).filter(|n| *n <= 50).collect();
    assert!(old.is_sorted(), "{old:?}");
    assert!(files(dir.path()).is_empty());
}

#[test]
fn an_outage_longer_than_memory_loses_nothing_with_a_spool() {
    let down = Arc::new(AtomicBool::new(true));
    let is_down = Arc::clone(&down);
    let server =
        Server::start(move |_, _| status(if is_down.load(Ordering::Relaxed) { 503 } else { 200 }));
    let dir = tempfile::tempdir().unwrap();
    let mut config = with_spool(&server.url, dir.path(), 1 << 20);
    config.queue.max_batches = 2;
    let (mut feed, exporter) = run(config, Pace::Replay);
    feed_all(&mut feed, 1..=300);
    let stats = exporter.stats();
    let began = Instant::now();
    while stats.outputs[0].spool_batches.get() < 290 {
        assert!(began.elapsed() < LONG, "{} batches", stats.outputs[0].spool_batches.get());
        std::thread::sleep(Duration::from_millis(5));
    }
    down.store(false, Ordering::Relaxed);
    feed_all(&mut feed, 301..=320);
    // A server that does not answer now is not waited for at the end.
    while stats.outputs[0].accepted.get() == 0 {
        assert!(began.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(feed);
    let summary = finish(exporter, LONG);
    assert_eq!((summary.accepted, summary.spooled), (320, 0));
    assert_eq!(numbers(&server.accepted()), (1..=320).collect::<Vec<_>>());
    // Fresh batches did not wait for the end of the backlog.
    let arrived: Vec<u64> = server.accepted().iter().map(|flow| flow.out_bytes).collect();
    let fresh = arrived.iter().position(|number| *number > 300).unwrap();
    assert!(fresh < 250, "the first fresh one came as number {fresh}");
}

#[test]
fn a_spool_that_is_too_small_loses_the_oldest_and_counts_them() {
    let dir = tempfile::tempdir().unwrap();
    let (mut feed, exporter) = run(with_spool(&dead(), dir.path(), 2048), Pace::Live);
    // A record each second of a clock that runs faster: five dispatches.
    let began = Instant::now();
    let mut sent = 0;
    while began.elapsed() < Duration::from_millis(4500) {
        // Noise does not compress: close to 1 KB a batch.
        let mut noise = fastrand::Rng::with_seed(sent);
        let random = |n| Record { bytes: noise.u64(..1 << 40), packets: n, ..record(n) };
        feed.send(&mut (sent..sent + 20).map(random).collect());
        sent += 20;
        std::thread::sleep(Duration::from_millis(250));
    }
    drop(feed);
    let summary = finish(exporter, SHORT);
    assert!(lost(&summary, Lost::SpoolFull) > 0, "{summary:?}");
    assert_eq!(summary.spooled + lost(&summary, Lost::SpoolFull), sent, "{summary:?}");
    let bytes: u64 = files(dir.path()).iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!(bytes <= 2048, "{bytes}");
}

#[test]
fn a_spool_that_cannot_be_written_leaves_batches_in_memory() {
    let down = Arc::new(AtomicBool::new(true));
    let is_down = Arc::clone(&down);
    let server =
        Server::start(move |_, _| status(if is_down.load(Ordering::Relaxed) { 503 } else { 200 }));
    let dir = tempfile::tempdir().unwrap();
    let (mut feed, exporter) = run(with_spool(&server.url, dir.path(), 1 << 20), Pace::Replay);
    std::fs::remove_dir_all(dir.path().join("1289-9623")).unwrap();
    feed_all(&mut feed, 1..=10);
    let stats = exporter.stats();
    let began = Instant::now();
    while stats.outputs[0].spool_failing.get() == 0 {
        assert!(began.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(5));
    }
    down.store(false, Ordering::Relaxed);
    drop(feed);
    let summary = finish(exporter, LONG);
    assert_eq!((summary.accepted, summary.lost_total()), (10, 0));
    assert_eq!(numbers(&server.accepted()), (1..=10).collect::<Vec<_>>());
}

#[test]
fn a_slow_server_gets_nothing_twice() {
    let server = Server::start(|_, _| {
        std::thread::sleep(Duration::from_millis(400));
        status(200)
    });
    let dir = tempfile::tempdir().unwrap();
    let mut config = with_spool(&server.url, dir.path(), 1 << 20);
    config.max_in_flight = 3;
    let exporter = replay(config, 1..=8);
    let stats = exporter.stats();
    let summary = finish(exporter, LONG);
    // Each waited longer than a moment, so most were written, too.
    assert!(stats.outputs[0].spool_written.get() > 2);
    assert_eq!((summary.accepted, summary.spooled), (8, 0));
    assert_eq!(numbers(&server.accepted()), (1..=8).collect::<Vec<_>>());
    assert!(files(dir.path()).is_empty());
}

#[test]
fn a_batch_that_is_refused_leaves_the_spool_too() {
    let dir = tempfile::tempdir().unwrap();
    finish(replay(with_spool(&dead(), dir.path(), 1 << 20), 1..=5), SHORT);
    let server = Server::start(|n, _| status(if n == 1 { 413 } else { 200 }));
    let exporter = replay(with_spool(&server.url, dir.path(), 1 << 20), []);
    let summary = finish(exporter, LONG);
    assert_eq!((summary.accepted, lost(&summary, Lost::Rejected), summary.spooled), (4, 1, 0));
    assert!(files(dir.path()).is_empty());
}

#[test]
fn two_exporters_do_not_share_a_spool() {
    let dir = tempfile::tempdir().unwrap();
    let (_feed, exporter) = run(with_spool(&dead(), dir.path(), 1 << 20), Pace::Live);
    let (_feeds, intake) = channel(1, 1, Pace::Live);
    let error = start(kflow(with_spool(&dead(), dir.path(), 1 << 20)), intake).err().unwrap();
    assert!(error.to_string().contains("is in use by another process"), "{error}");
    finish(exporter, SHORT);
}

const CHILD_DIR: &str = "OUTAGE_TEST_DIR";
const CHILD_URL: &str = "OUTAGE_TEST_URL";
const CHILD_FIRST: &str = "OUTAGE_TEST_FIRST";

#[test]
#[ignore = "run by the other tests, in a process that is killed"]
fn child_sends_until_it_is_killed() {
    let (Ok(dir), Ok(url)) = (std::env::var(CHILD_DIR), std::env::var(CHILD_URL)) else { return };
    let first: u64 = std::env::var(CHILD_FIRST).unwrap().parse().unwrap();
    let config = with_spool(&parse_url("flow", &url).unwrap(), Path::new(&dir), 64 << 20);
    let (mut feed, exporter) = run(config, Pace::Replay);
    for number in first.. {
        feed_all(&mut feed, [number]);
        std::thread::sleep(Duration::from_micros(500));
        if !exporter.is_alive() {
            break;
        }
    }
}

fn child(dir: &Path, url: &Url, first: u64) -> Child {
    Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "child_sends_until_it_is_killed", "--ignored", "--nocapture"])
        .env(CHILD_DIR, dir)
        .env(CHILD_URL, url.as_str())
        .env(CHILD_FIRST, first.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a child")
}

/// The numbers of the records that wait on disk.
fn waiting(dir: &Path) -> HashSet<u64> {
    let mut found = HashSet::new();
    for path in files(dir) {
        let bytes = std::fs::read(&path).unwrap();
        let scan = spool::scan(&mut std::io::Cursor::new(&bytes)).unwrap();
        for entry in scan.entries.iter().filter(|entry| !entry.done) {
            let body = &bytes[entry.offset as usize + spool::ENTRY_BYTES..entry.end() as usize];
            assert!(entry.matches(body), "a damaged batch in {}", path.display());
            let mut plain = Vec::new();
            let mut gzip = flate2::read::GzDecoder::new(body);
            std::io::Read::read_to_end(&mut gzip, &mut plain).unwrap();
            found.extend(numbers(&kflow::wire::decode_body(&plain).unwrap()));
        }
    }
    found
}

/// `KILLS` of the environment, or 10.
#[test]
fn killed_at_any_time_no_spooled_record_is_lost_and_few_arrive_twice() {
    let kills: u64 = std::env::var("KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    // Of every forty requests the first thirty fail: the backlog grows and shrinks.
    let server = Server::start(|n, _| {
        std::thread::sleep(Duration::from_millis(1));
        status(if n % 40 < 30 { 503 } else { 200 })
    });
    let dir = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let mut must_arrive = HashSet::new();
    let started = AtomicUsize::new(0);
    for kill in 0..kills {
        let mut child = child(dir.path(), &server.url, kill * 1_000_000);
        // From before the spool is open to well into the run.
        std::thread::sleep(Duration::from_millis(random.u64(20..700)));
        child.kill().expect("SIGKILL");
        child.wait().unwrap();
        if dir.path().join("1289-9623").exists() {
            let found = waiting(dir.path());
            started.fetch_add(usize::from(!found.is_empty()), Ordering::Relaxed);
            must_arrive.extend(found);
        }
    }
    assert!(must_arrive.len() > 10, "{} records were spooled", must_arrive.len());
    let last = Server::start(|_, _| status(200));
    let config = with_spool(&last.url, dir.path(), 64 << 20);
    let summary = finish(replay(config, []), LONG);
    assert_eq!((summary.spooled, summary.lost_total()), (0, 0), "{summary:?}");
    assert!(files(dir.path()).is_empty());

    let mut times: HashMap<u64, u64> = HashMap::new();
    for number in numbers(&[server.accepted(), last.accepted()].concat()) {
        *times.entry(number).or_default() += 1;
    }
    let missing = must_arrive.iter().filter(|number| !times.contains_key(number)).count();
    assert_eq!(missing, 0, "of {} spooled records", must_arrive.len());
    let twice = times.values().filter(|&&times| times > 1).count() as u64;
    assert!(twice <= kills, "{twice} batches arrived twice in {kills} kills");
    assert!(times.values().all(|&times| times <= 2));
}
