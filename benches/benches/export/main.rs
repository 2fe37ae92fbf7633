//! The exporter at 100,000 records a second: CPU share of its thread from the channel to a sink that
//! answers every POST, over loopback.
//!
//! `cargo bench -p benches --bench export -- [SECONDS]` posts for so long (10); `… -- gzip` encodes
//! and compresses the same records at several levels instead, `… -- gzip LEVEL` at one of them, once,
//! for callgrind to count.
#![forbid(unsafe_code)]

mod records;

use std::error::Error;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use benches::measure::{ns_per_packet, thread_cpu};
use export::{
    Batch, Credentials, Feed, HttpConfig, KflowConfig, Output, Pace, QueueLimits, Stats, Timing,
    Token, channel, parse_url, start,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use records::Records;

/// Records a second.
const RATE: u64 = 100_000;
/// Between two messages of a reader.
const STEP: Duration = Duration::from_millis(5);
/// Ticks of `/proc/self/task/*/stat`, fixed on Linux for user space.
const TICKS_PER_S: f64 = 100.0;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.first().map(String::as_str) {
        Some("gzip") => match words.get(1) {
            Some(level) => once(level.parse()?),
            None => levels(),
        },
        Some(seconds) => post(seconds.parse()?),
        None => post(10),
    }
}

/// Posts for some seconds and prints one line.
fn post(seconds: u64) -> Result<(), Box<dyn Error>> {
    let sink = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/chf", sink.local_addr()?);
    std::thread::spawn(move || serve(&sink));
    let records = Records::new();
    let config = KflowConfig {
        flow_url: parse_url("flow", &url)?,
        metrics_url: None,
        http: HttpConfig {
            credentials: Credentials { email: "a@example.com".into(), token: Token::new("token") },
            proxy: None,
            version: "0".into(),
            ca_file: None,
        },
        device: records::device(RATE * 2),
        host_name: "bench".into(),
        queue: QueueLimits::default(),
        max_in_flight: 3,
        timing: Timing::default(),
        keep_heavy: false,
        spool: None,
    };
    let (mut feeds, intake) = channel(1, 256, Pace::Live);
    let exporter = start(vec![Output::Kflow(Box::new(config))], intake)?;
    let stats = exporter.stats();
    let mut feed = feeds.remove(0);
    // Buffers grow in the first seconds.
    offer(&mut feed, &records, 2);
    let (begun, before) = (cpu_of("export")?, Totals::of(&stats));
    let started = Instant::now();
    offer(&mut feed, &records, seconds);
    let (spent, after) = (cpu_of("export")? - begun, Totals::of(&stats));
    let share = 100.0 * spent / started.elapsed().as_secs_f64();
    let accepted = after.accepted - before.accepted;
    let us = spent * 1e6 / accepted as f64;
    let bytes = (after.bytes - before.bytes) as f64 / accepted as f64;
    let per_s = accepted / seconds;
    writeln!(
        io::stdout(),
        "{per_s} records/s accepted, {share:.0} % of a core, {us:.2} µs and {bytes:.1} bytes a record"
    )?;
    drop(feed);
    let summary = exporter.finish(Duration::from_secs(10));
    let lost: u64 = summary.outputs.iter().map(export::OutputSummary::lost_total).sum();
    writeln!(io::stdout(), "{} records lost, {} on the way in", lost, summary.channel_full)?;
    Ok(())
}

struct Totals {
    accepted: u64,
    bytes: u64,
}

impl Totals {
    fn of(stats: &Stats) -> Self {
        let output = &stats.outputs[0];
        Self { accepted: output.accepted.get(), bytes: output.bytes_sent.total() }
    }
}

/// Records at the rate, a batch every few milliseconds as readers send them.
fn offer(feed: &mut Feed, records: &Records, seconds: u64) {
    let started = Instant::now();
    let (mut sent, mut batch) = (0, Batch::default());
    while started.elapsed() < Duration::from_secs(seconds) {
        let due = started.elapsed().as_micros() as u64 * RATE / 1_000_000;
        records.push(&mut batch, sent, due - sent);
        sent = due;
        feed.send(&mut batch);
        std::thread::sleep(STEP);
    }
}

/// CPU seconds that the threads of this name have used.
fn cpu_of(name: &str) -> io::Result<f64> {
    let mut ticks = 0.0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let stat = std::fs::read_to_string(task?.path().join("stat"))?;
        let Some((head, rest)) = stat.rsplit_once(')') else { continue };
        if head.ends_with(&format!("({name}")) {
            // proc_pid_stat(5): user and system time are fields 14 and 15, the third follows here.
            let fields = rest.split_whitespace().skip(11).take(2);
            ticks += fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>();
        }
    }
    Ok(ticks / TICKS_PER_S)
}

/// Answers 200 to every request.
fn serve(listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || answer(stream));
    }
}

fn answer(mut stream: TcpStream) {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 256 << 10]);
    loop {
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|place| place + 4);
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
            let body: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
            let mut missing = (head + body).saturating_sub(bytes.len());
            while missing > 0 {
                match stream.read(&mut buffer) {
                    Ok(read) if read > 0 => missing = missing.saturating_sub(read),
                    _ => return,
                }
            }
            bytes.clear();
            if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_err() {
                return;
            }
            continue;
        }
        match stream.read(&mut buffer) {
            Ok(read) if read > 0 => bytes.extend_from_slice(&buffer[..read]),
            _ => return,
        }
    }
}

/// Time and size of each level.
fn levels() -> Result<(), Box<dyn Error>> {
    let body = Records::new().body();
    writeln!(io::stdout(), "{} bytes a record before compression", body.len() as f64 / 10_000.0)?;
    for level in 1..=6 {
        let mut bytes = 0;
        let figures = ns_per_packet(5, || {
            bytes = compress(&body, level);
            10_000
        });
        let (ns, size) = (figures.median_ns, bytes as f64 / 10_000.0);
        writeln!(io::stdout(), "level {level}: {ns:.0} ns and {size:.1} bytes a record")?;
    }
    Ok(())
}

fn once(level: u32) -> Result<(), Box<dyn Error>> {
    let body = Records::new().body();
    let begun = thread_cpu();
    let bytes = compress(&body, level);
    let spent = thread_cpu().saturating_sub(begun);
    writeln!(io::stdout(), "level {level}: {} bytes of {}, {spent:?}", bytes, body.len())?;
    Ok(())
}

fn compress(body: &[u8], level: u32) -> usize {
    let mut gzip = GzEncoder::new(Vec::with_capacity(body.len()), Compression::new(level));
    gzip.write_all(body).and_then(|()| gzip.finish()).map_or(0, |bytes| black_box(bytes).len())
}
