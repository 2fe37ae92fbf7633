//! CONNECT: TLS end to end, half-closed connections, and proxies behind the proxy.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::servers::{client, echo_then_bye, https, no_roots, recording_proxy, tcp, web};
use common::{Kproxy, parse, read_head, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn tls_stays_end_to_end() {
    let (server, tls) = https().await;
    let allow = format!("localhost:{}", server.port());
    let proxy = Kproxy::start(&["-proxy-http-allow", &allow, "-proxy-http-private"]);
    let url = format!("https://localhost:{}/", server.port());
    let answer = client(proxy.address, tls).get(&url).send().await.unwrap();
    // What the proxy adds to plain answers is missing: it has not seen this one.
    assert!(!answer.headers().contains_key("via"));
    assert_eq!(answer.text().await.unwrap(), "secure");
    assert_eq!(proxy.metric("kproxy_proxy_tunnels_total"), 1);
    // The certificate is the server's own: a client without its root refuses it.
    client(proxy.address, no_roots()).get(&url).send().await.unwrap_err();
}

#[test]
fn each_side_may_close_its_half() {
    let proxy = Kproxy::open(&[]);
    let mut stream = proxy.tunnel(echo_then_bye());
    stream.write_all(b"hello ").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert_eq!(said, "hello bye");
    let first_to_close = tcp(|mut stream| {
        stream.write_all(b"only this").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert_eq!(said, "late");
    });
    let mut stream = proxy.tunnel(first_to_close);
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert_eq!(said, "only this");
    assert_eq!(proxy.metric("kproxy_proxy_tunnels"), 1);
    stream.write_all(b"late").unwrap();
    drop(stream);
    proxy.wait_for_metric("kproxy_proxy_tunnels", 0);
    proxy.wait_for_metric("kproxy_proxy_connections", 0);
}

#[test]
fn bytes_that_do_not_wait_for_the_200_are_kept() {
    let proxy = Kproxy::open(&[]);
    let target = echo_then_bye();
    let mut stream = proxy.connect();
    write!(stream, "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\nearly ").unwrap();
    stream.write_all(&[b'x'; 20_000]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    let body = said.split_once("\r\n\r\n").unwrap().1;
    assert_eq!(body, format!("early {}bye", "x".repeat(20_000)));
}

#[test]
fn a_tunnel_in_which_nothing_moves_is_cut() {
    let proxy = Kproxy::open(&["-proxy-http-idle-timeout", "1"]);
    let mut stream = proxy.tunnel(echo_then_bye());
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(500));
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
    }
    let start = Instant::now();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    let took = start.elapsed();
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(8), "{took:?}");
    assert_eq!(proxy.metric("kproxy_proxy_idle_total"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_proxies_in_a_row_carry_both_kinds_of_requests() {
    let (server, tls) = https().await;
    let web = web().await;
    let outer = Kproxy::open(&[]);
    let upstream = format!("http://{}", outer.address);
    // The inner one resolves nothing, so it need not be allowed private addresses.
    let inner = Kproxy::start(&["-local_proxy", &upstream, "-proxy-http-allow", "*:*"]);
    let secure = client(inner.address, tls);
    let url = format!("https://localhost:{}/", server.port());
    assert_eq!(secure.get(url).send().await.unwrap().text().await.unwrap(), "secure");
    let plain = client(inner.address, no_roots());
    let url = format!("http://localhost:{}/echo", web.address.port());
    let text = plain.post(url).body("text").send().await.unwrap().text().await.unwrap();
    assert!(text.starts_with("POST /echo\n") && text.ends_with("\n\ntext"), "{text}");
    assert_eq!(text.matches("via: 1.1 kproxy-").count(), 2, "{text}");
    assert!(text.contains(&format!("\nhost: localhost:{}\n", web.address.port())), "{text}");
    assert_eq!(outer.metric("kproxy_proxy_tunnels_total"), 1);
    assert_eq!(outer.metric("kproxy_proxy_forwarded_total"), 1);
    // What the outer one refuses is told with its status.
    let (status, text) = inner.ask("CONNECT nowhere.invalid:443 HTTP/1.1");
    assert_eq!(status, 502);
    assert_eq!(
        text,
        format!(
            "kproxy: the proxy of -local_proxy ({}) refused nowhere.invalid:443: status 502\n",
            outer.address
        )
    );
}

#[test]
fn the_proxy_behind_gets_user_and_password_and_nobody_else() {
    let (upstream, heads) = recording_proxy("HTTP/1.1 200 OK\r\n\r\n");
    let url = format!("http://us%40er:p%3Ass@{upstream}");
    let proxy = Kproxy::start(&["-local_proxy", &url]);
    let mut stream = proxy.connect();
    stream
        .write_all(b"CONNECT flow.kentik.com:443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic bWluZQ==\r\n\r\n")
        .unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 200 OK\r\n"));
    stream.write_all(b"ping").unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    let head = heads.lock().unwrap().remove(0);
    assert!(head.starts_with("CONNECT flow.kentik.com:443 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("proxy-authorization: Basic dXNAZXI6cDpzcw==\r\n"), "{head}");
    assert!(!head.contains("bWluZQ=="), "{head}");
    assert!(!proxy.log().contains("p%3Ass") && !proxy.log().contains("s3cret"), "{}", proxy.log());
}

#[test]
fn a_refusal_of_the_proxy_behind_is_not_passed_on_as_our_own() {
    let (upstream, heads) = recording_proxy(
        "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    );
    let proxy = Kproxy::start(&["-local_proxy", &format!("http://u:wrong@{upstream}")]);
    let (status, text) = proxy.ask("CONNECT flow.kentik.com:443 HTTP/1.1");
    assert_eq!(status, 502);
    assert!(text.ends_with("refused flow.kentik.com:443: status 407\n"), "{text}");
    let (status, text) = proxy.ask("GET http://flow.kentik.com/x HTTP/1.1");
    assert_eq!(status, 502);
    assert!(text.ends_with("wants other credentials\n"), "{text}");
    let heads = heads.lock().unwrap();
    assert!(heads[1].starts_with("GET http://flow.kentik.com/x HTTP/1.1\r\n"), "{}", heads[1]);
    assert!(heads[1].contains("proxy-authorization: Basic dTp3cm9uZw==\r\n"), "{}", heads[1]);
    assert_eq!(proxy.metric("kproxy_proxy_failed_total{cause=\"upstream\"}"), 2);
}

#[test]
fn a_proxy_behind_that_dies_or_says_nothing_is_an_error_in_time() {
    let silent = tcp(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let url = format!("http://{silent}");
    let proxy = Kproxy::start(&["-local_proxy", &url, "-proxy-http-connect-timeout", "1"]);
    let start = Instant::now();
    let (status, text) = proxy.ask("CONNECT flow.kentik.com:443 HTTP/1.1");
    assert_eq!(
        (status, text.as_str()),
        (504, "kproxy: no connection to flow.kentik.com:443 in time\n")
    );
    assert!(start.elapsed() < Duration::from_secs(8));
    let gone = tcp(drop);
    let proxy = Kproxy::start(&["-local_proxy", &format!("http://{gone}")]);
    let (status, text) = proxy.ask("CONNECT flow.kentik.com:443 HTTP/1.1");
    assert_eq!(status, 502, "{text}");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Kproxy::start(&["-local_proxy", &format!("http://{nobody}")]);
    let (status, text) = proxy.ask("CONNECT flow.kentik.com:443 HTTP/1.1");
    assert_eq!(status, 502);
    assert!(text.starts_with(&format!("kproxy: cannot connect to {nobody}: ")), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tinyproxy_with_a_password_takes_our_requests() {
    let has_it = Command::new("tinyproxy").arg("-v").stdout(Stdio::null()).status().is_ok();
    if !has_it {
        eprintln!("skipped: tinyproxy is not installed");
        return;
    }
    let (server, tls) = https().await;
    let web = web().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let file = std::env::temp_dir().join(format!("kproxy-tinyproxy-{}.conf", std::process::id()));
    let settings = format!(
        "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\nBasicAuth user pass\n\
         ConnectPort {}\n",
        server.port()
    );
    std::fs::write(&file, settings).unwrap();
    let mut tinyproxy = Command::new("tinyproxy")
        .arg("-d")
        .arg("-c")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until(|| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok(), "tinyproxy");
    let url = format!("http://user:pass@127.0.0.1:{port}");
    let proxy = Kproxy::start(&["-local_proxy", &url, "-proxy-http-allow", "*:*"]);
    let secure = client(proxy.address, tls);
    let answer = secure.get(format!("https://localhost:{}/", server.port())).send().await;
    let plain = client(proxy.address, no_roots());
    let echoed = plain.get(format!("http://localhost:{}/echo", web.address.port())).send().await;
    let wrong = format!("http://user:wrong@127.0.0.1:{port}");
    let refused = Kproxy::start(&["-local_proxy", &wrong, "-proxy-http-allow", "*:*"])
        .ask(&format!("CONNECT localhost:{} HTTP/1.1", server.port()));
    tinyproxy.kill().unwrap();
    tinyproxy.wait().unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(answer.unwrap().text().await.unwrap(), "secure");
    assert!(echoed.unwrap().text().await.unwrap().starts_with("GET /echo\n"));
    assert_eq!(refused.0, 502, "{}", refused.1);
}

#[test]
fn curl_gets_through() {
    let proxy = Kproxy::open(&[]);
    let target = tcp(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").unwrap();
    });
    for extra in [&["--proxytunnel"][..], &[]] {
        let run = Command::new("curl")
            .args(["-sS", "--max-time", "10", "--proxy", &format!("http://{}", proxy.address)])
            .args(extra)
            .arg(format!("http://{target}/"))
            .output();
        let Ok(output) = run else {
            eprintln!("skipped: curl is not installed");
            return;
        };
        assert_eq!(String::from_utf8_lossy(&output.stdout), "hello", "{output:?}");
    }
    let (status, _) = parse(&proxy.exchange("GET /healthz HTTP/1.0\r\n\r\n"));
    assert_eq!(status, 200);
}
