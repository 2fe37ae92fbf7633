//! What holds for every request: authentication, errors, pages, printing, stopping.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{answer, batch, dev, gzip, start};
use kflow::Flow;
use khub::Config;
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn agents_need_both_headers_on_every_path() {
    let hub = dev().await;
    let paths = [
        (Method::GET, "/api/internal/device/1"),
        (Method::GET, "/api/v5/devices"),
        (Method::POST, "/api/device/"),
        (Method::PUT, "/api/internal/company/1/device/1/tags/snmp"),
        (Method::POST, "/api/internal/batch/customdimensions/kt_user/populators"),
        (Method::POST, "/chf?sid=0&sender_id=1:dev1:1"),
        (Method::POST, "/dns"),
        (Method::POST, "/tsdb"),
    ];
    let wrong =
        [("", ""), ("test@example.com", "x"), ("x", "token"), ("token", "test@example.com")];
    for (method, path) in paths {
        for (email, token) in wrong {
            let request = hub
                .client
                .request(method.clone(), hub.url(path))
                .header("X-CH-Auth-Email", email)
                .header("X-CH-Auth-API-Token", token);
            let refused = answer(request).await.error();
            assert_eq!(refused, (401, "wrong or missing e-mail or token".into()), "{path}");
        }
        let bare = answer(hub.client.request(method, hub.url(path))).await;
        assert_eq!(bare.status, 401);
    }
    assert_eq!(hub.counter("auth_failures").await, 40);
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_json_errors() {
    let hub = dev().await;
    assert_eq!(hub.get("/nowhere").await.error(), (404, "/nowhere not found".into()));
    assert_eq!(hub.get("/api/internal/nowhere").await.error().0, 404);
    assert_eq!(hub.get("/chf").await.error(), (405, "GET is not allowed here".into()));
    assert_eq!(hub.post("/api/internal/devices", "").await.error().0, 405);
}

#[tokio::test]
async fn pages_and_questions_are_open_to_this_machine_only() {
    let hub = dev().await;
    let ask = |host: &str| hub.client.get(hub.url("/api/v1/status")).header("Host", host);
    assert_eq!(answer(ask("localhost:8999")).await.status, 200);
    // A page under a foreign name that resolves to loopback.
    let foreign = ask("attacker.example");
    assert_eq!(answer(foreign.try_clone().unwrap()).await.error().0, 401);
    let account = foreign.try_clone().unwrap().basic_auth("test@example.com", Some("token"));
    assert_eq!(answer(account).await.status, 200);
    let wrong = foreign.basic_auth("test@example.com", Some("other")).send().await.unwrap();
    assert_eq!(wrong.status(), 401);
    assert!(wrong.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic "));
}

#[tokio::test]
async fn the_page_allows_only_its_own_style_and_script() {
    let hub = dev().await;
    let response = hub.client.get(hub.url("/")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
    let page = response.text().await.unwrap();
    let nonce = policy.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    assert_eq!(nonce.len(), 32);
    assert!(policy.starts_with("default-src 'none'"));
    assert!(page.contains(&format!("<script nonce=\"{nonce}\">")));
    assert!(page.contains(&format!("<style nonce=\"{nonce}\">")));
    assert!(!page.contains("{nonce}") && !page.contains("innerHTML"));
    let again = hub.client.get(hub.url("/")).send().await.unwrap();
    assert_ne!(again.headers()["content-security-policy"].to_str().unwrap(), policy);
}

#[tokio::test]
async fn health_and_metrics_answer_in_their_formats() {
    let hub = dev().await;
    assert_eq!(answer(hub.client.get(hub.url("/healthz"))).await.text, "ok\n");
    answer(hub.chf(gzip(&batch(&[Flow::default(), Flow::default()])))).await;
    let metrics = hub.get("/metrics").await;
    assert_eq!(metrics.content_type.unwrap(), "text/plain; version=0.0.4; charset=utf-8");
    for line in [
        "# TYPE khub_records_in_total counter",
        "khub_records_in_total 2",
        "khub_records_kept 2",
        "khub_devices 1",
    ] {
        assert!(metrics.text.lines().any(|have| have == line), "{line}");
    }
    let status = hub.get("/api/v1/status").await.json();
    assert_eq!(status["now"]["records_kept"], 2);
    assert_eq!(status["counters"]["batches_in"], 1);
    assert!(status["records_per_s"].is_number());
}

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn records_are_printed_as_json_lines_before_the_hub_stops() {
    let output = Output::default();
    let hub = start(Config::dev(), output.clone()).await;
    let flow = Flow { in_bytes: 7, in_packets: 1, device_id: 1, ..Flow::default() };
    answer(hub.chf(gzip(&batch(&[flow.clone(), flow])))).await;
    hub.stop().await.unwrap();
    let text = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[1]["bytes"], &lines[1]["direction"]), (&7.into(), &"in".into()));
}

/// Blocks for ever, or fails at once.
enum Broken {
    Blocked,
    Closed,
}

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Blocked => loop {
                std::thread::park();
            },
            Self::Closed => Err(std::io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn neither_a_closed_nor_a_blocked_output_stops_intake_or_the_end() {
    for output in [Broken::Closed, Broken::Blocked] {
        let hub = start(Config::dev(), output).await;
        // About 300 bytes a line: 40 batches are more than the 16 MiB that may wait.
        let body = gzip(&batch(&vec![Flow::default(); 2000]));
        for _ in 0..40 {
            assert_eq!(answer(hub.chf(body.clone())).await.text, "GOOD");
        }
        assert_eq!(hub.counter("records_in").await, 80_000);
        assert_eq!(hub.counter("printed").await, 0);
        assert!(hub.counter("print_dropped").await > 0);
        let begin = Instant::now();
        hub.stop().await.unwrap();
        assert!(begin.elapsed() < Duration::from_secs(4));
    }
}

#[tokio::test]
async fn a_request_under_way_is_answered_before_the_hub_stops() {
    let hub = dev().await;
    let body = gzip(&batch(&[Flow::default()]));
    let (first, rest) = body.split_at(10);
    let mut stream = TcpStream::connect(hub.address).await.unwrap();
    let head = format!(
        "POST /chf?sid=0&sender_id=1:dev1:1 HTTP/1.1\r\nHost: localhost\r\n\
         X-CH-Auth-Email: test@example.com\r\nX-CH-Auth-API-Token: token\r\n\
         Content-Type: application/binary\r\nContent-Encoding: gzip\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(first).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let stopped = tokio::spawn(hub.stop());
    tokio::time::sleep(Duration::from_millis(100)).await;
    stream.write_all(rest).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK") && text.ends_with("GOOD"));
    stopped.await.unwrap().unwrap();
}

#[tokio::test]
async fn chunked_bodies_and_http2_are_understood() {
    let hub = dev().await;
    let body = gzip(&batch(&[Flow::default()]));
    let mut stream = TcpStream::connect(hub.address).await.unwrap();
    let head = "POST /chf?sid=0&sender_id=1:dev1:1 HTTP/1.1\r\nHost: localhost\r\n\
         X-CH-Auth-Email: test@example.com\r\nX-CH-Auth-API-Token: token\r\n\
         Content-Type: application/binary\r\nContent-Encoding: gzip\r\n\
         Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    for part in body.chunks(7) {
        stream.write_all(format!("{:x}\r\n", part.len()).as_bytes()).await.unwrap();
        stream.write_all(part).await.unwrap();
        stream.write_all(b"\r\n").await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK") && text.ends_with("GOOD"));
    let http2 = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    assert_eq!(http2.get(hub.url("/healthz")).send().await.unwrap().text().await.unwrap(), "ok\n");
}
