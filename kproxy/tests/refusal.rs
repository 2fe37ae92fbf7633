//! What the proxy does not forward, and what it says then.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::servers::{client, no_roots, tcp, web};
use common::{Kproxy, http_get, read_head};
use std::io::{Read, Write};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, atomic::AtomicU64};

#[test]
fn by_default_only_the_service_is_reached() {
    let proxy = Kproxy::start(&[]);
    for (target, why) in [
        ("example.org:443", "example.org is not in -proxy-http-allow (.kentik.com)"),
        ("evilkentik.com:443", "evilkentik.com is not in -proxy-http-allow (.kentik.com)"),
        (
            "kentik.com.evil.org:443",
            "kentik.com.evil.org is not in -proxy-http-allow (.kentik.com)",
        ),
        ("kentik.com@evil.org:443", "a user name stands before the host"),
        (
            "kentik.com:22",
            "port 22 of kentik.com is neither 443 nor 80 nor listed in -proxy-http-allow",
        ),
        ("127.0.0.1:443", "the address 127.0.0.1 is not listed in -proxy-http-allow"),
        ("[::1]:443", "the address [::1] is not listed in -proxy-http-allow"),
        ("8.8.8.8:443", "the address 8.8.8.8 is not listed in -proxy-http-allow"),
        ("2130706433:443", "the host is an address in disguise"),
        ("0x7f.1:443", "the host is an address in disguise"),
    ] {
        let answer = proxy.ask(&format!("CONNECT {target} HTTP/1.1"));
        assert_eq!(answer, (403, format!("kproxy: {why}\n")), "{target}");
        if !target.ends_with(":443") {
            continue;
        }
        let plain = format!("GET http://{}/x HTTP/1.1", target.replace(":443", ":80"));
        assert_eq!(proxy.ask(&plain), (403, format!("kproxy: {why}\n")), "{plain}");
    }
    assert_eq!(proxy.metric("kproxy_proxy_refused_total{cause=\"host\"}"), 6);
    assert_eq!(proxy.metric("kproxy_proxy_refused_hosts_total{host=\"example.org\"}"), 2);
    // The second refusal of a host within a minute is counted and not logged.
    assert_eq!(proxy.log().matches("example.org is not").count(), 1, "{}", proxy.log());
}

#[test]
fn a_region_has_its_own_domain() {
    let proxy = Kproxy::start(&["--region=eu"]);
    let answer = proxy.ask("CONNECT flow.kentik.com:443 HTTP/1.1");
    let why = "kproxy: flow.kentik.com is not in -proxy-http-allow (.kentik.eu)\n";
    assert_eq!(answer, (403, why.to_owned()));
}

#[test]
fn requests_that_are_not_for_a_proxy_are_refused() {
    let proxy = Kproxy::start(&[]);
    let form = "kproxy: this is a forward proxy: CONNECT host:port or an http:// URI is needed\n";
    assert_eq!(proxy.ask("GET / HTTP/1.1"), (400, form.to_owned()));
    assert_eq!(proxy.ask("POST /healthz HTTP/1.1").0, 400);
    assert_eq!(proxy.ask("OPTIONS * HTTP/1.1").0, 400);
    assert_eq!(proxy.ask("GET /healthz HTTP/1.1"), (200, "ok\n".to_owned()));
    let scheme = "kproxy: only http:// URIs are forwarded; for https:// use CONNECT\n";
    assert_eq!(proxy.ask("GET https://flow.kentik.com/ HTTP/1.1"), (400, scheme.to_owned()));
    assert_eq!(proxy.ask("GET ftp://flow.kentik.com/ HTTP/1.1"), (400, scheme.to_owned()));
    let port = "kproxy: the port is missing or malformed\n";
    assert_eq!(proxy.ask("CONNECT kentik.com HTTP/1.1"), (400, port.to_owned()));
    assert_eq!(proxy.ask("CONNECT kentik.com:0 HTTP/1.1"), (400, port.to_owned()));
    assert_eq!(proxy.ask("GET flow.kentik.com HTTP/1.1").0, 400);
    // TLS or HTTP/2 straight at the port.
    for garbage in
        ["\x16\x03\x01\x02\x00\x01\n\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\0\0\0\r\n\r\n"]
    {
        let answer = proxy.exchange(garbage);
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{garbage:?}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowed_name_at_a_private_address_is_refused_unless_a_flag_permits_it() {
    let web = web().await;
    let port = web.address.port();
    let allow = format!("localhost:{port}");
    let proxy = Kproxy::start(&["-proxy-http-allow", &allow]);
    let why = "kproxy: localhost is at a loopback address, which is not forwarded to; \
               see -proxy-http-private\n";
    let connect = format!("CONNECT LOCALHOST.:{port} HTTP/1.1");
    assert_eq!(proxy.ask(&connect), (403, why.to_owned()));
    let get = format!("GET http://localhost:{port}/echo HTTP/1.1");
    assert_eq!(proxy.ask(&get), (403, why.to_owned()));
    assert_eq!(web.connections.load(SeqCst), 0);
    let proxy = Kproxy::start(&["-proxy-http-allow", &allow, "-proxy-http-private"]);
    assert_eq!(proxy.ask(&get).0, 200);
    // A listed address speaks for itself, and `*` does not.
    let literal = format!("GET http://127.0.0.1:{port}/echo HTTP/1.1");
    let proxy = Kproxy::start(&["-proxy-http-allow", &format!("127.0.0.1:{port}")]);
    assert_eq!(proxy.ask(&literal).0, 200);
    assert_eq!(proxy.ask(&get).0, 403);
    let proxy = Kproxy::start(&["-proxy-http-allow", "*:*"]);
    assert_eq!(proxy.ask(&literal).0, 403);
    let mapped = format!("GET http://[::ffff:127.0.0.1]:{port}/echo HTTP/1.1");
    assert_eq!(proxy.ask(&mapped).0, 403);
    let (status, text) = proxy.ask("CONNECT 169.254.169.254:80 HTTP/1.1");
    assert_eq!(status, 403);
    assert_eq!(
        text,
        "kproxy: 169.254.169.254 is at a link-local address, which is not forwarded to\n"
    );
}

#[test]
fn the_proxy_does_not_lead_to_itself_or_to_its_health_page() {
    let proxy = Kproxy::open(&[]);
    for address in [proxy.address, proxy.health] {
        let target = format!("localhost:{}", address.port());
        let why = format!("kproxy: {target} leads back to this proxy\n");
        assert_eq!(proxy.ask(&format!("CONNECT {target} HTTP/1.1")), (403, why.clone()));
        assert_eq!(proxy.ask(&format!("GET http://{target}/ HTTP/1.1")), (403, why));
    }
    assert_eq!(proxy.metric("kproxy_proxy_refused_total{cause=\"loop\"}"), 4);
}

#[test]
fn a_request_that_comes_round_is_stopped() {
    // Two proxies, each behind the other: the second learns the first's port beforehand.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let first_url = format!("http://127.0.0.1:{port}");
    let second = Kproxy::start(&["-local_proxy", &first_url]);
    let mut command = common::program();
    // The last of repeated flags wins, so the port is given by a relay instead.
    command.args(["-local_proxy", &format!("http://{}", second.address)]);
    let first = Kproxy::spawn(command);
    let goal = first.address;
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let from = stream.unwrap();
            let to = std::net::TcpStream::connect(goal).unwrap();
            let (mut from_read, mut to_write) =
                (from.try_clone().unwrap(), to.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from_read, &mut to_write));
            let (mut to_read, mut from_write) = (to, from);
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut to_read, &mut from_write);
                let _ = from_write.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    let (status, text) = first.ask("GET http://flow.kentik.com/ HTTP/1.1");
    assert_eq!(status, 508);
    assert_eq!(
        text,
        "kproxy: the request for flow.kentik.com:80 has been through this proxy already\n"
    );
    let (status, text) = first.ask("CONNECT flow.kentik.com:443 HTTP/1.1");
    assert_eq!(status, 502, "{text}");
    assert_eq!(first.metric("kproxy_proxy_refused_total{cause=\"loop\"}"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upload_is_answered() {
    let proxy = Kproxy::start(&[]);
    let client = client(proxy.address, no_roots());
    for length in [0, 100_000, 10_000_000] {
        let request = client.post("http://example.org/chf").body("x".repeat(length));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 403);
        let text = answer.text().await.unwrap();
        assert_eq!(text, "kproxy: example.org is not in -proxy-http-allow (.kentik.com)\n");
    }
}

#[test]
fn after_a_refused_upload_the_connection_goes_on() {
    let proxy = Kproxy::start(&[]);
    let mut stream = proxy.connect();
    for _ in 0..3 {
        let head =
            "POST http://example.org/chf HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&[b'x'; 100_000]).unwrap();
        let head = read_head(&mut stream);
        assert!(head.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{head}");
        assert!(!head.contains("connection: close"), "{head}");
        let why = "kproxy: example.org is not in -proxy-http-allow (.kentik.com)\n";
        let mut text = vec![0; why.len()];
        stream.read_exact(&mut text).unwrap();
        assert_eq!(text, why.as_bytes());
    }
}

#[test]
fn a_host_cannot_change_the_protocol_unasked() {
    let served = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&served);
    let switching = tcp(move |mut stream| {
        read_head(&mut stream);
        count.fetch_add(1, SeqCst);
        let answer =
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n";
        stream.write_all(answer).unwrap();
    });
    let proxy = Kproxy::open(&[]);
    let (status, text) = proxy.ask(&format!("GET http://{switching}/ HTTP/1.1"));
    assert_eq!(status, 502, "{text}");
    assert_eq!(served.load(SeqCst), 1);
}

#[test]
fn the_health_page_says_the_same_in_three_forms() {
    let proxy = Kproxy::start(&[]);
    proxy.ask("CONNECT example.org:443 HTTP/1.1");
    let text = http_get(proxy.health, "/");
    assert!(text.starts_with("kproxy 0.1.0, up "), "{text}");
    assert!(text.contains("             1  refused: host\n"), "{text}");
    assert!(text.contains("             1  refused_hosts: example.org\n"), "{text}");
    let page: serde_json::Value =
        serde_json::from_str(&http_get(proxy.health, "/?format=json")).unwrap();
    assert_eq!(page["version"], "0.1.0");
    assert_eq!(page["open"], true);
    assert_eq!(page["proxy"]["refused"]["host"], 1);
    assert_eq!(page["proxy"]["refused_hosts"]["example.org"], 1);
    assert_eq!(page["proxy"]["requests_total"], 1);
    assert_eq!(page["proxy"]["most_connections"], 1024);
    assert_eq!(http_get(proxy.health, "/healthz"), "ok\n");
    assert_eq!(http_get(proxy.health, "/x"), "not found\n");
    let metrics = http_get(proxy.health, "/metrics");
    for line in metrics.lines() {
        let is_comment = line.starts_with("# HELP kproxy_") || line.starts_with("# TYPE kproxy_");
        let value = line.rsplit(' ').next().unwrap().parse::<u64>();
        assert!(is_comment || (line.starts_with("kproxy_") && value.is_ok()), "{line}");
    }
    for secret in ["s3cret", "test@example.com"] {
        assert!(!proxy.log().contains(secret) && !text.contains(secret));
    }
}
