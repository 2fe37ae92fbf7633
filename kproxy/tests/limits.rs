//! What happens at the bounds, and at the end.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::servers::{echo_then_bye, tcp, web};
use common::{Kproxy, http_get, parse, program, read_head, wait_until};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;

/// Lets this process have the descriptors that a test needs for its own ends.
fn raise_descriptors(wanted: u64) -> bool {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    soft >= wanted || (hard >= wanted && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok())
}

#[test]
fn a_thousand_tunnels_are_held_at_once() {
    if !raise_descriptors(8000) {
        eprintln!("skipped: too few descriptors");
        return;
    }
    let proxy = Kproxy::open(&[]);
    // One thread for all ends of the test's own.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let ends = std::thread::spawn(move || {
        (0..1000).map(|_| listener.accept().unwrap().0).collect::<Vec<_>>()
    });
    let mut tunnels: Vec<TcpStream> = (0..1000).map(|_| proxy.tunnel(target)).collect();
    let mut ends = ends.join().unwrap();
    assert_eq!(proxy.metric("kproxy_proxy_tunnels"), 1000);
    for (number, tunnel) in tunnels.iter_mut().enumerate() {
        write!(tunnel, "{number:04}").unwrap();
    }
    for end in &mut ends {
        let mut bytes = [0; 4];
        end.read_exact(&mut bytes).unwrap();
        end.write_all(&bytes).unwrap();
    }
    for (number, tunnel) in tunnels.iter_mut().enumerate() {
        let mut bytes = [0; 4];
        tunnel.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, *format!("{number:04}").as_bytes());
    }
    let (now, _) = proxy.memory_kib();
    eprintln!("a thousand tunnels: {now} KiB");
    assert!(now < 100 << 10, "{now} KiB");
    assert_eq!(proxy.metric("kproxy_proxy_refused_total{cause=\"full\"}"), 0);
    drop(tunnels);
    drop(ends);
    proxy.wait_for_metric("kproxy_proxy_tunnels", 0);
}

#[test]
fn a_connection_beyond_the_limit_gets_a_503_and_a_free_place_is_used_again() {
    let proxy = Kproxy::open(&["-proxy-http-connections", "2"]);
    let target = echo_then_bye();
    let one = proxy.tunnel(target);
    let _two = proxy.tunnel(target);
    let answer = proxy.exchange("CONNECT a.example:443 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    assert!(answer.contains("retry-after: 5\r\n"), "{answer}");
    assert_eq!(parse(&answer).1, "kproxy: all 2 connections are in use\n");
    assert_eq!(proxy.metric("kproxy_proxy_refused_total{cause=\"full\"}"), 1);
    assert_eq!(proxy.metric("kproxy_proxy_connections"), 2);
    drop(one);
    proxy.wait_for_metric("kproxy_proxy_connections", 1);
    drop(proxy.tunnel(target));
}

#[test]
fn a_flood_beyond_the_limit_costs_little_and_leaves_no_trace() {
    let proxy = Kproxy::open(&["-proxy-http-connections", "1"]);
    let _held = proxy.tunnel(echo_then_bye());
    let flood: Vec<TcpStream> = (0..300).map(|_| proxy.connect()).collect();
    wait_until(
        || proxy.metric("kproxy_proxy_refused_total{cause=\"full\"}") == 300,
        "300 refusals",
    );
    assert!(proxy.metric("kproxy_proxy_connections_dropped_total") > 0);
    assert_eq!(proxy.log().matches("connections are in use").count(), 1, "{}", proxy.log());
    drop(flood);
    assert_eq!(proxy.metric("kproxy_proxy_connections"), 1);
}

#[test]
fn clients_that_dawdle_over_a_head_are_cut() {
    let proxy = Kproxy::open(&["-proxy-http-head-timeout", "1"]);
    let start = Instant::now();
    let mut mute = proxy.connect();
    let mut dripping = proxy.connect();
    dripping.set_nonblocking(true).unwrap();
    let drip = std::thread::spawn(move || {
        for byte in "GET http://a.example/ HTTP/1.1\r\nX: ".bytes().chain(std::iter::repeat(b'x')) {
            let _ = dripping.write_all(&[byte]);
            match dripping.read(&mut [0]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                _ => return start.elapsed(),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        unreachable!("an endless head");
    });
    assert_eq!(mute.read(&mut [0]).unwrap(), 0);
    let in_time = |took| took > Duration::from_millis(950) && took < Duration::from_secs(8);
    assert!(in_time(start.elapsed()));
    assert!(in_time(drip.join().unwrap()));
    assert_eq!(proxy.metric("kproxy_proxy_slow_heads_total"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_head_of_a_connection_has_its_own_time() {
    let web = web().await;
    let proxy = Kproxy::open(&["-proxy-http-head-timeout", "1"]);
    let mut stream = proxy.connect();
    let request = format!("GET http://{}/length HTTP/1.1\r\nHost: x\r\n\r\n", web.address);
    for _ in 0..2 {
        stream.write_all(request.as_bytes()).unwrap();
        assert!(read_head(&mut stream).starts_with("HTTP/1.1 200 OK\r\n"));
        stream.read_exact(&mut [0]).unwrap();
        // Between requests a connection may rest for longer than a head may take.
        std::thread::sleep(Duration::from_millis(1500));
    }
    let start = Instant::now();
    stream.write_all(b"GET http://").unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    let took = start.elapsed();
    assert!(took > Duration::from_millis(950) && took < Duration::from_secs(8), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_which_nothing_moves_is_cut() {
    let web = web().await;
    let proxy = Kproxy::open(&["-proxy-http-idle-timeout", "1"]);
    for body in ["", "Content-Length: 9\r\n"] {
        let start = Instant::now();
        let answer = proxy.exchange(&format!(
            "POST http://{}/stuck HTTP/1.1\r\nHost: x\r\n{body}\r\n",
            web.address
        ));
        assert_eq!(answer, "");
        assert!(start.elapsed() < Duration::from_secs(8));
    }
    assert_eq!(proxy.metric("kproxy_proxy_idle_total"), 2);
}

#[test]
fn an_address_that_does_not_answer_is_given_up_in_time() {
    let proxy = Kproxy::open(&["-proxy-http-connect-timeout", "1"]);
    // A listener whose queue is full drops further attempts without a word.
    let full = {
        use nix::sys::socket::{
            AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, socket,
        };
        let socket =
            socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).unwrap();
        bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
        listen(&socket, Backlog::new(0).unwrap()).unwrap();
        std::net::TcpListener::from(socket)
    };
    let address = full.local_addr().unwrap();
    let _queued = TcpStream::connect(address).unwrap();
    let start = Instant::now();
    let (status, text) = proxy.ask(&format!("CONNECT {address} HTTP/1.1"));
    assert_eq!((status, text), (504, format!("kproxy: no connection to {address} in time\n")));
    assert!(start.elapsed() < Duration::from_secs(8));
    assert_eq!(proxy.metric("kproxy_proxy_failed_total{cause=\"timeout\"}"), 1);
}

#[test]
fn at_the_end_what_is_under_way_may_finish_and_the_rest_closes() {
    let proxy = Kproxy::open(&[]);
    let slow = tcp(|mut stream| {
        read_head(&mut stream);
        std::thread::sleep(Duration::from_millis(1500));
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone").unwrap();
    });
    let mut idle = proxy.connect();
    let mut silent = proxy.tunnel(echo_then_bye());
    let mut busy = proxy.connect();
    write!(busy, "GET http://{slow}/ HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    wait_until(|| proxy.metric("kproxy_proxy_requests_total") == 2, "the request");
    proxy.signal(Signal::SIGTERM);
    proxy.wait_for("stopping");
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
    assert_eq!(http_get(proxy.health, "/healthz"), "stopping\n");
    wait_until(|| TcpStream::connect(proxy.address).is_err(), "the listener closed");
    let mut answer = String::new();
    busy.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("done"), "{answer}");
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    let (code, log, took) = proxy.wait();
    assert_eq!(code, 0, "{log}");
    assert!(took < Duration::from_secs(9), "{took:?}");
    assert!(!log.contains("cut off"), "{log}");
}

#[test]
fn at_the_end_a_tunnel_in_use_has_ten_seconds() {
    let proxy = Kproxy::open(&[]);
    let mut stream = proxy.tunnel(echo_then_bye());
    proxy.signal(Signal::SIGINT);
    let start = Instant::now();
    while stream.write_all(b"x").is_ok() && matches!(stream.read(&mut [0]), Ok(1)) {
        assert!(start.elapsed() < Duration::from_secs(25));
        std::thread::sleep(Duration::from_millis(100));
    }
    let took = start.elapsed();
    assert!(took > Duration::from_secs(9) && took < Duration::from_secs(20), "{took:?}");
    let (code, log, _) = proxy.wait();
    assert_eq!(code, 0);
    assert!(log.contains("requests or tunnels were cut off"), "{log}");
}

/// The program with this limit of open files.
fn with_descriptors(limit: u32, flags: &str) -> std::process::Command {
    let mut shell = program();
    let kproxy = env!("CARGO_BIN_EXE_kproxy");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &format!("ulimit -n {limit}; exec {kproxy} {flags} \"$@\""), "sh"]);
    command.stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    std::mem::swap(&mut shell, &mut command);
    shell
}

#[test]
fn too_few_descriptors_lower_the_limit_with_a_word() {
    let proxy = Kproxy::spawn(with_descriptors(276, "-proxy-http-allow '*:*' -proxy-http-private"));
    let log = proxy.log();
    assert!(
        log.contains(
            "the limit of open files is 276: 10 connections at once instead of 1024; raise it \
             (ulimit -n, LimitNOFILE=)"
        ),
        "{log}"
    );
    let target = echo_then_bye();
    let _held: Vec<_> = (0..10).map(|_| proxy.tunnel(target)).collect();
    assert!(proxy.exchange("GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 503 "));
}

#[test]
fn descriptors_for_no_connection_at_all_are_an_error() {
    let output = with_descriptors(200, "-api_email a -api_token b -proxy-http 127.0.0.1:0")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "kproxy: the limit of open files is 200, and 258 are needed for one connection: raise it \
         (ulimit -n, LimitNOFILE=)\n"
    );
}
