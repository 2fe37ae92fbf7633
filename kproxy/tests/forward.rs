//! Plain requests through the proxy: rewriting, streaming, and what must not be passed on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{Read, Write};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use common::servers::{BIG_BYTES, Chunks, client, no_roots, web};
use common::{Kproxy, parse, read_head};

/// Resident memory that no amount of traffic may exceed, in KiB.
const MEMORY_KIB: u64 = 40 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_any_method_reach_the_named_host() {
    let (web, proxy) = (web().await, Kproxy::open(&[]));
    let client = client(proxy.address, no_roots());
    let url = format!("http://{}/echo?sender_id=1%3Aa%3A1", web.address);
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "QUERY"] {
        let request = client.request(method.parse().unwrap(), &url).body("text");
        let answer = request.header("X-CH-Auth-API-Token", "t").send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.headers()["via"].to_str().unwrap().starts_with("1.1 kproxy-"));
        let text = answer.text().await.unwrap();
        assert!(text.starts_with(&format!("{method} /echo?sender_id=1%3Aa%3A1\n")), "{text}");
        assert!(text.contains("\nx-ch-auth-api-token: t\n"), "{text}");
        assert!(text.contains("\nvia: 1.1 kproxy-"), "{text}");
        assert!(text.ends_with("\n\ntext"), "{text}");
    }
    assert_eq!(proxy.metric("kproxy_proxy_forwarded_total"), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_for_the_proxy_does_not_reach_the_host() {
    let (web, proxy) = (web().await, Kproxy::open(&[]));
    let head = format!(
        "GET http://{}/echo HTTP/1.1\r\nHost: other.example\r\nConnection: close, X-Mine\r\n\
         X-Mine: 1\r\nProxy-Authorization: Basic eA==\r\nProxy-Connection: x\r\nKeep-Alive: 1\r\n\
         TE: trailers\r\nUpgrade: websocket\r\nX-Other: 1\r\n\r\n",
        web.address
    );
    let (status, echoed) = parse(&proxy.exchange(&head));
    assert_eq!(status, 200);
    let via = echoed.lines().find(|line| line.starts_with("via: ")).unwrap();
    assert_eq!(echoed, format!("GET /echo\nhost: {}\nx-other: 1\n{via}\n\n", web.address));
    let answer = proxy.exchange(&format!(
        "GET http://{}/hops HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        web.address
    ));
    for gone in ["keep-alive", "x-listed", "proxy-secret"] {
        assert!(!answer.contains(gone), "{answer}");
    }
    assert!(answer.contains("x-kept: 1\r\n") && answer.ends_with("hops"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_pass_both_ways_without_being_held() {
    let (web, proxy) = (web().await, Kproxy::open(&[]));
    let client = client(proxy.address, no_roots());
    let mut answer = client.get(format!("http://{}/big", web.address)).send().await.unwrap();
    let mut length = 0;
    while let Some(chunk) = answer.chunk().await.unwrap() {
        length += chunk.len() as u64;
    }
    assert_eq!(length, BIG_BYTES);
    let chunk = bytes::Bytes::from(vec![b'x'; 64 << 10]);
    let mut left = BIG_BYTES / chunk.len() as u64;
    let body = reqwest::Body::wrap(Chunks(move || {
        left = left.checked_sub(1)?;
        Some(chunk.clone())
    }));
    let url = format!("http://{}/length", web.address);
    let answer = client.post(url).body(body).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), BIG_BYTES.to_string());
    let (_, highest) = proxy.memory_kib();
    assert!(highest < MEMORY_KIB, "{highest} KiB");
    assert!(proxy.metric("kproxy_proxy_received_bytes_total") > BIG_BYTES);
    assert!(proxy.metric("kproxy_proxy_sent_bytes_total") > BIG_BYTES);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_does_not_read_stops_the_client_soon() {
    let (web, proxy) = (web().await, Kproxy::open(&[]));
    let mut stream = proxy.connect();
    write!(
        stream,
        "POST http://{}/stuck HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n",
        web.address
    )
    .unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut sent = 0;
    while let Ok(count) = stream.write(&[0; 65536]) {
        sent += count;
    }
    // What three sockets on loopback hold; the rest has to wait.
    assert!(sent < 30_000_000, "{sent}");
    let (_, highest) = proxy.memory_kib();
    assert!(highest < MEMORY_KIB, "{highest} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_leave_gets_it_once_the_host_is_reached() {
    let (web, proxy) = (web().await, Kproxy::open(&[]));
    let mut stream = proxy.connect();
    write!(
        stream,
        "POST http://{}/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\
         Expect: 100-continue\r\nConnection: close\r\n\r\n",
        web.address
    )
    .unwrap();
    assert_eq!(read_head(&mut stream), "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"late").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("late"), "{answer}");
    // A refused one does not get it.
    let refused = proxy.exchange(
        "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n",
    );
    assert!(refused.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ambiguous_requests_reach_nobody() {
    let (web, proxy) = (web().await, Kproxy::open(&[]));
    let smuggled = format!("0\r\n\r\nGET http://{}/echo HTTP/1.1\r\nHost: x\r\n\r\n", web.address);
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "X: y\nContent-Length: 5\r\n",
        "Host: y\r\n",
    ] {
        let request = format!(
            "POST http://{}/echo HTTP/1.1\r\nHost: x\r\n{fields}\r\n{smuggled}",
            web.address
        );
        let answer = proxy.exchange(&request);
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{fields:?}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1 + answer.matches("not an HTTP/1").count());
    }
    let long = format!("GET http://a/ HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(8192));
    assert!(proxy.exchange(&long).starts_with("HTTP/1.1 431 "));
    assert_eq!(web.requests.load(SeqCst), 0);
    assert_eq!(proxy.metric("kproxy_proxy_refused_total{cause=\"malformed\"}"), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_on_the_heels_of_another_is_refused_and_the_first_is_answered() {
    let (web, proxy) = (web().await, Kproxy::open(&[]));
    let one = format!("GET http://{}/echo HTTP/1.1\r\nHost: x\r\n\r\n", web.address);
    let answer = proxy.exchange(&format!("{one}{one}"));
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert_eq!(web.requests.load(SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_follow_each_other_on_one_connection() {
    let (web, proxy) = (web().await, Kproxy::open(&[]));
    let mut stream = proxy.connect();
    for size in 0..300_usize {
        let body = "x".repeat(size * 37);
        let chunked = size % 2 == 0 && size > 0;
        let (field, body_on_wire) = match chunked {
            true => (
                "Transfer-Encoding: chunked".to_owned(),
                format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
            ),
            false => (format!("Content-Length: {}", body.len()), body.clone()),
        };
        let request = format!(
            "\r\nPOST http://{}/length HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n{body_on_wire}",
            web.address
        );
        stream.write_all(request.as_bytes()).unwrap();
        let head = read_head(&mut stream);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{size}: {head}");
        let length = body.len().to_string();
        let mut said = vec![0; length.len()];
        stream.read_exact(&mut said).unwrap();
        assert_eq!(said, length.as_bytes());
    }
    assert_eq!(web.connections.load(SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_closed_a_kept_connection_is_connected_to_again() {
    let proxy = Kproxy::open(&[]);
    let once = common::servers::tcp(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
    });
    let mut stream = proxy.connect();
    for _ in 0..20 {
        write!(stream, "GET http://{once}/ HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let head = read_head(&mut stream);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        stream.read_exact(&mut [0; 2]).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_fail_are_told_apart() {
    let proxy = Kproxy::open(&[]);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (status, text) = proxy.ask(&format!("GET http://{closed}/ HTTP/1.1"));
    assert_eq!(status, 502);
    assert!(text.starts_with(&format!("kproxy: cannot connect to {closed}: ")), "{text}");
    let (status, text) = proxy.ask(&format!("CONNECT {closed} HTTP/1.1"));
    assert_eq!(status, 502, "{text}");
    let mute = common::servers::tcp(|mut stream| drop(read_head(&mut stream)));
    let (status, text) = proxy.ask(&format!("GET http://{mute}/ HTTP/1.1"));
    assert_eq!(status, 502);
    assert!(text.starts_with(&format!("kproxy: {mute} gave no answer: ")), "{text}");
    let (status, text) = proxy.ask("GET http://nowhere.invalid/ HTTP/1.1");
    assert_eq!(status, 502);
    assert!(text.starts_with("kproxy: cannot resolve nowhere.invalid: "), "{text}");
    assert_eq!(proxy.metric("kproxy_proxy_failed_total{cause=\"connect\"}"), 2);
    assert_eq!(proxy.metric("kproxy_proxy_failed_total{cause=\"answer\"}"), 1);
    assert_eq!(proxy.metric("kproxy_proxy_failed_total{cause=\"resolve\"}"), 1);
}
