//! The fault matrix: whatever servers and proxies do, what was sent and what is counted as lost is
//! what was offered, and nothing arrives twice but what broke off on its way.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use export::{
    ExporterHandle, Feed, KflowConfig, Lost, OutputSummary, Pace, Proxy, SpoolConfig, Timing,
    channel, parse_url, start,
};
use flowtable::Record;
use rcgen::CertifiedKey;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use support::{
    NEVER, Server, answer, answer_with, batch, fast, kflow, kflow_config, numbers, record, status,
};

const LONG: Duration = Duration::from_secs(20);
const BATCHES: u64 = 20;

fn run(config: KflowConfig, pace: Pace) -> (Feed, ExporterHandle) {
    let (mut feeds, intake) = channel(1, 256, pace);
    let exporter = start(kflow(config), intake).expect("starts");
    (feeds.remove(0), exporter)
}

/// [`BATCHES`] batches of one record each.
fn replay(config: KflowConfig) -> ExporterHandle {
    let (mut feed, exporter) = run(config, Pace::Replay);
    for number in 0..BATCHES {
        let record = Record { time_ns: number * 1_000_000_000, ..record(number) };
        feed.send(&mut batch([record]));
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

/// All arrived, and once each.
fn assert_all_arrived(server: &Server, summary: &OutputSummary) {
    assert_eq!((summary.accepted, summary.lost_total()), (BATCHES, 0), "{summary:?}");
    assert_eq!(numbers(&server.accepted()), (0..BATCHES).collect::<Vec<_>>());
}

/// Limits a hundred times shorter than those of the contract.
fn hurried() -> Timing {
    Timing {
        connect_timeout: Duration::from_millis(100),
        request_timeout: Duration::from_millis(300),
        ..fast()
    }
}

#[test]
fn refused_connections_are_repeated_until_somebody_listens() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = parse_url("flow", &format!("http://127.0.0.1:{port}/chf")).unwrap();
    let exporter = replay(kflow_config(&url));
    std::thread::sleep(Duration::from_millis(100));
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let taken = std::thread::spawn(move || serve(&listener, |_| Some("200 OK"), BATCHES as usize));
    let summary = finish(exporter, LONG);
    assert_eq!((summary.accepted, summary.lost_total()), (BATCHES, 0));
    assert_eq!(taken.join().unwrap(), BATCHES as usize);
}

#[test]
fn a_server_that_answers_too_late_gets_the_batch_again() {
    // The first three answers take longer than a request may.
    let server = Server::start(|n, _| status(if n < 3 { NEVER } else { 200 }));
    let config = KflowConfig { timing: hurried(), ..kflow_config(&server.url) };
    let summary = finish(replay(config), LONG);
    assert_all_arrived(&server, &summary);
    assert_eq!(summary.retries, 3);
}

#[test]
fn statuses_that_pass_are_repeated() {
    for passing in [429, 500, 502, 503, 504] {
        let server = Server::start(move |n, _| match n {
            0..3 => answer(passing, r#"{"error": "later"}"#),
            _ => status(200),
        });
        let summary = finish(replay(kflow_config(&server.url)), LONG);
        assert_all_arrived(&server, &summary);
    }
}

#[test]
fn a_503_that_says_when_is_asked_again_then() {
    let server = Server::start(|n, _| match n {
        0 => answer_with(503, "retry-after", "1"),
        _ => status(200),
    });
    let summary = finish(replay(kflow_config(&server.url)), LONG);
    assert_all_arrived(&server, &summary);
    let seen = server.seen();
    // Requests that were under way together may come before.
    let late = seen.iter().filter(|later| later.at - seen[0].at > Duration::from_millis(990));
    assert!(late.count() >= BATCHES as usize - 3);
}

#[test]
fn a_token_that_expires_loses_what_was_refused_and_no_more() {
    let server = Server::start(|n, _| match n {
        5..10 => answer(401, r#"{"error": "token expired"}"#),
        _ => status(200),
    });
    let summary = finish(replay(kflow_config(&server.url)), LONG);
    assert_eq!((summary.accepted, lost(&summary, Lost::Rejected)), (BATCHES - 5, 5));
    assert_eq!(server.seen().len() as u64, BATCHES);
}

#[test]
fn a_body_that_is_too_large_for_the_server_is_not_sent_again() {
    let server = Server::start(|n, _| status(if n == 0 { 413 } else { 200 }));
    let summary = finish(replay(kflow_config(&server.url)), LONG);
    assert_eq!((summary.accepted, lost(&summary, Lost::Rejected)), (BATCHES - 1, 1));
}

#[test]
fn a_name_that_does_not_exist_is_repeated_until_the_deadline() {
    let url = parse_url("flow", "http://flow.invalid/chf").unwrap();
    let exporter = replay(kflow_config(&url));
    std::thread::sleep(Duration::from_millis(500));
    let stats = exporter.stats();
    assert!(stats.outputs[0].attempts_failed.get() > 0);
    let summary = finish(exporter, Duration::from_millis(300));
    assert_eq!(lost(&summary, Lost::Deadline), BATCHES);
}

/// Reads requests, one a connection, and answers each with the status line that `answer` gives for
/// its number; without one the connection is reset in the middle of the body. Returns how many were
/// answered 200, after so many.
fn serve(
    listener: &TcpListener,
    answer: impl Fn(usize) -> Option<&'static str>,
    until: usize,
) -> usize {
    let (mut taken, mut number) = (0, 0);
    while taken < until {
        let (mut stream, _) = listener.accept().expect("a connection");
        let line = answer(number);
        number += 1;
        let Some(line) = line else {
            let _ = stream.read(&mut [0; 50]);
            // Unread bytes make the close a reset.
            let _ = stream.shutdown(Shutdown::Read);
            continue;
        };
        if read_request(&mut stream) {
            let text = format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(text.as_bytes());
            taken += usize::from(line.starts_with("200"));
        }
    }
    taken
}

fn read_request(stream: &mut impl Read) -> bool {
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let head = request.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&request[..head]).to_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.map_or(0, |length| length.trim().parse().unwrap_or(0));
            if request.len() >= head + 4 + length {
                return true;
            }
        }
        match stream.read(&mut buffer) {
            Ok(bytes) if bytes > 0 => request.extend_from_slice(&buffer[..bytes]),
            _ => return false,
        }
    }
}

#[test]
fn a_connection_that_is_reset_in_the_middle_of_a_body_is_no_loss() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let url = parse_url("flow", &format!("http://{address}/chf")).unwrap();
    let server = std::thread::spawn(move || {
        serve(&listener, |n| (n % 3 != 0).then_some("200 OK"), BATCHES as usize)
    });
    let summary = finish(replay(kflow_config(&url)), LONG);
    assert_eq!((summary.accepted, summary.lost_total()), (BATCHES, 0));
    assert!(summary.retries >= BATCHES / 3);
    assert_eq!(server.join().unwrap(), BATCHES as usize);
}

/// A TLS server with a certificate for `name`: `h2` or not, one request a connection.
struct TlsServer {
    port: u16,
    roots: PathBuf,
    taken: Arc<AtomicUsize>,
    _dir: tempfile::TempDir,
}

impl TlsServer {
    fn start(name: &str) -> Self {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let roots = dir.path().join("roots.pem");
        std::fs::write(&roots, cert.pem()).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(cert.der().to_vec())], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = Arc::new(AtomicUsize::new(0));
        let (config, count) = (Arc::new(config), Arc::clone(&taken));
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = StreamOwned::new(connection, stream);
                if read_request(&mut stream) {
                    let text = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                    count.fetch_add(usize::from(stream.write_all(text).is_ok()), Ordering::Relaxed);
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                }
            }
        });
        Self { port, roots, taken, _dir: dir }
    }

    fn config(&self) -> KflowConfig {
        let url = format!("https://localhost:{}/chf", self.port);
        let mut config = kflow_config(&parse_url("flow", &url).unwrap());
        config.http.ca_file = Some(self.roots.clone());
        config
    }
}

#[test]
fn a_certificate_of_the_ca_file_is_trusted() {
    let server = TlsServer::start("localhost");
    let summary = finish(replay(server.config()), LONG);
    assert_eq!((summary.accepted, summary.lost_total()), (BATCHES, 0));
    assert_eq!(server.taken.load(Ordering::Relaxed) as u64, BATCHES);
}

#[test]
fn a_server_with_a_wrong_name_gets_nothing() {
    let server = TlsServer::start("other.example");
    let summary = finish(replay(server.config()), Duration::from_millis(500));
    assert_eq!(lost(&summary, Lost::Deadline), BATCHES);
    assert_eq!(server.taken.load(Ordering::Relaxed), 0);
}

/// A forward proxy for CONNECT that may die and come back.
struct TestProxy {
    port: u16,
    alive: Arc<AtomicBool>,
    tunnels: Arc<AtomicUsize>,
    requests: Arc<std::sync::Mutex<Vec<String>>>,
}

impl TestProxy {
    /// With a `refusal`, nobody gets through.
    fn start(address: &str, refusal: Option<&'static str>) -> Self {
        let listener = TcpListener::bind(address).expect("an address");
        let port = listener.local_addr().unwrap().port();
        let (alive, tunnels) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let requests = Arc::new(std::sync::Mutex::new(Vec::new()));
        let proxy = Self {
            port,
            alive: Arc::clone(&alive),
            tunnels: Arc::clone(&tunnels),
            requests: Arc::clone(&requests),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if !alive.load(Ordering::Relaxed) {
                    continue;
                }
                let (alive, tunnels) = (Arc::clone(&alive), Arc::clone(&tunnels));
                let requests = Arc::clone(&requests);
                std::thread::spawn(move || tunnel(stream, refusal, &alive, &tunnels, &requests));
            }
        });
        proxy
    }

    fn proxy(&self, user: &str, host: &str) -> Option<Proxy> {
        Some(Proxy::parse(&format!("http://{user}{host}:{}", self.port)).unwrap())
    }
}

fn tunnel(
    mut client: TcpStream,
    refusal: Option<&str>,
    alive: &Arc<AtomicBool>,
    tunnels: &AtomicUsize,
    requests: &std::sync::Mutex<Vec<String>>,
) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        match client.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let place = head.split(' ').nth(1).unwrap_or_default().to_owned();
    requests.lock().unwrap().push(head);
    if let Some(refusal) = refusal {
        let _ = client.write_all(refusal.as_bytes());
        return;
    }
    let Ok(mut server) = TcpStream::connect(place) else { return };
    tunnels.fetch_add(1, Ordering::Relaxed);
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
    let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let back = std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let mut buffer = [0; 4096];
    while let Ok(bytes) = client.read(&mut buffer) {
        if bytes == 0 || !alive.load(Ordering::Relaxed) {
            break;
        }
        if server.write_all(&buffer[..bytes]).is_err() {
            break;
        }
    }
    let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
    let _ = back.join();
}

#[test]
fn https_goes_through_a_tunnel_with_user_and_password_also_over_ipv6() {
    for (address, host) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "[::1]")] {
        let server = TlsServer::start("localhost");
        let proxy = TestProxy::start(address, None);
        let mut config = server.config();
        config.http.proxy = proxy.proxy("user:p%40ss@", host);
        let summary = finish(replay(config), LONG);
        assert_eq!((summary.accepted, summary.lost_total()), (BATCHES, 0), "{address}");
        let request = proxy.requests.lock().unwrap()[0].to_lowercase();
        assert!(request.starts_with(&format!("connect localhost:{} ", server.port)), "{request}");
        // user:p@ss
        assert!(request.contains("proxy-authorization: basic dxnlcjpwqhnz"), "{request}");
    }
}

#[test]
fn a_proxy_that_dies_and_comes_back_costs_nothing() {
    let server = TlsServer::start("localhost");
    let proxy = TestProxy::start("127.0.0.1:0", None);
    let mut config = server.config();
    config.timing = hurried();
    config.http.proxy = proxy.proxy("", "127.0.0.1");
    proxy.alive.store(false, Ordering::Relaxed);
    let exporter = replay(config);
    let stats = exporter.stats();
    let began = Instant::now();
    while stats.outputs[0].attempts_failed.get() < 2 {
        assert!(began.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(5));
    }
    proxy.alive.store(true, Ordering::Relaxed);
    let summary = finish(exporter, LONG);
    assert_eq!((summary.accepted, summary.lost_total()), (BATCHES, 0));
    assert!(proxy.tunnels.load(Ordering::Relaxed) > 0);
}

/// What is logged while `work` runs; events of other threads count, too.
fn logged(work: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);
    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    static LINES: std::sync::OnceLock<Lines> = std::sync::OnceLock::new();
    let lines = LINES.get_or_init(|| {
        let lines = Lines::default();
        let writer = lines.clone();
        let make = move || writer.clone();
        tracing_subscriber::fmt().with_ansi(false).with_writer(make).init();
        lines
    });
    work();
    String::from_utf8_lossy(&lines.0.lock().unwrap()).into_owned()
}

#[test]
fn the_log_says_why_a_proxy_refuses_and_what_a_server_answers() {
    let text = logged(|| {
        let server = TlsServer::start("localhost");
        let refusal =
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 27\r\n\r\nlocalhost is not allowed\nx\n";
        let proxy = TestProxy::start("127.0.0.1:0", Some(refusal));
        let mut config = server.config();
        config.http.proxy = proxy.proxy("", "127.0.0.1");
        finish(replay(config), Duration::from_millis(500));
        let server = Server::start(|_, _| answer(403, r#"{"error": "device is disabled"}"#));
        finish(replay(kflow_config(&server.url)), LONG);
    });
    assert!(text.contains("the proxy refuses a connection to localhost:"), "{text}");
    assert!(text.contains(": 403 Forbidden: localhost is not allowed"), "{text}");
    // Once, whatever many batches were refused.
    let refused: Vec<&str> = text.matches("HTTP status 403: device is disabled").collect();
    assert_eq!(refused.len(), 1, "{text}");
}

/// 5,000 records a second while nobody answers; the longest time that handing over took.
fn outage(config: KflowConfig, seconds: u64, up: &AtomicBool) -> (OutputSummary, Duration) {
    let (mut feed, exporter) = run(config, Pace::Live);
    let began = Instant::now();
    let (mut sent, mut longest) = (0, Duration::ZERO);
    while began.elapsed() < Duration::from_secs(seconds) {
        let due = began.elapsed().as_millis() as u64 * 5;
        let mut records = (sent..due).map(record).collect();
        sent = due;
        let asked = Instant::now();
        feed.send(&mut records);
        longest = longest.max(asked.elapsed());
        std::thread::sleep(Duration::from_millis(10));
    }
    up.store(true, Ordering::Relaxed);
    // One attempt later all is well again; after a long outage that may be half a minute away.
    let (stats, back) = (exporter.stats(), Instant::now());
    while stats.outputs[0].accepted.get() == 0 && back.elapsed() < 2 * LONG {
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(feed);
    let summary = finish(exporter, LONG);
    assert_eq!(summary.offered, sent);
    (summary, longest)
}

/// `OUTAGE_S` of the environment, or 4 seconds.
#[test]
fn an_outage_at_five_thousand_records_a_second_costs_nothing_and_delays_no_reader() {
    let seconds = std::env::var("OUTAGE_S").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    let dir = tempfile::tempdir().unwrap();
    let spool = SpoolConfig { dir: dir.path().into(), max_bytes: 1 << 30 };
    for spool in [None, Some(spool)] {
        let up = Arc::new(AtomicBool::new(false));
        let is_up = Arc::clone(&up);
        let server = Server::start(move |_, _| {
            status(if is_up.load(Ordering::Relaxed) { 200 } else { 503 })
        });
        let config = KflowConfig { spool, ..kflow_config(&server.url) };
        let (summary, longest) = outage(config, seconds, &up);
        assert_eq!((summary.accepted, summary.lost_total()), (summary.offered, 0));
        let arrived = numbers(&server.accepted());
        assert!(arrived.windows(2).all(|pair| pair[0] != pair[1]), "a record arrived twice");
        assert_eq!(arrived.len() as u64, summary.offered);
        // A busy machine may take its time; waiting for a server would take longer.
        assert!(longest < Duration::from_millis(500), "{longest:?}");
    }
}
