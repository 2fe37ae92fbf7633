//! HTTP/2 where the server offers it, HTTP/1.1 where it does not: several posts on one connection.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::Version;
use export::{Pace, channel, parse_url, start};
use flowtable::Record;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rcgen::CertifiedKey;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use support::{batch, kflow, kflow_config, record};
use tokio_rustls::TlsAcceptor;

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    http2: AtomicUsize,
    http1: AtomicUsize,
    now: AtomicUsize,
    most_at_once: AtomicUsize,
}

/// Answers 200 after a while; returns its port. Ends with the test's process.
fn serve(protocols: &[&str], roots: &PathBuf, counts: &Arc<Counts>) -> u16 {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(roots, cert.pem()).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(cert.der().to_vec())], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let counts = Arc::clone(counts);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let acceptor = TlsAcceptor::from(Arc::new(config));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                counts.connections.fetch_add(1, Relaxed);
                let counted = Arc::clone(&counts);
                let app = Router::new().fallback(move |request| answer(request, counted.clone()));
                tokio::spawn(async move {
                    let service = TowerToHyperService::new(app);
                    let builder = Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
    });
    port
}

async fn answer(request: Request, counts: Arc<Counts>) {
    let is_http2 = request.version() == Version::HTTP_2;
    if is_http2 { &counts.http2 } else { &counts.http1 }.fetch_add(1, Relaxed);
    let now = counts.now.fetch_add(1, Relaxed) + 1;
    counts.most_at_once.fetch_max(now, Relaxed);
    axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    counts.now.fetch_sub(1, Relaxed);
}

/// Posts twelve batches to a server that speaks these protocols.
fn post(protocols: &[&str]) -> Arc<Counts> {
    let dir = tempfile::tempdir().unwrap();
    let roots = dir.path().join("roots.pem");
    let counts = Arc::new(Counts::default());
    let port = serve(protocols, &roots, &counts);
    let url = parse_url("flow", &format!("https://localhost:{port}/chf")).unwrap();
    let mut config = kflow_config(&url);
    config.http.ca_file = Some(roots);
    let (mut feeds, intake) = channel(1, 64, Pace::Replay);
    let exporter = start(kflow(config), intake).expect("starts");
    for second in 0..12 {
        let record = Record { time_ns: second * 1_000_000_000, ..record(second) };
        feeds[0].send(&mut batch([record]));
    }
    drop(feeds);
    let summary = exporter.finish(Duration::from_secs(20)).outputs.remove(0);
    assert_eq!((summary.accepted, summary.retries), (12, 0));
    counts
}

#[test]
fn several_posts_share_one_http2_connection() {
    let counts = post(&["h2", "http/1.1"]);
    assert_eq!((counts.http2.load(Relaxed), counts.http1.load(Relaxed)), (12, 0));
    // Those that start together before the first connection stands may open their own.
    assert!(counts.connections.load(Relaxed) <= 3);
    assert!(counts.most_at_once.load(Relaxed) > 1);
    assert!(counts.most_at_once.load(Relaxed) <= 3);
}

#[test]
fn a_server_without_http2_gets_http1_on_connections_that_are_kept() {
    for protocols in [&["http/1.1"][..], &[]] {
        let counts = post(protocols);
        assert_eq!((counts.http2.load(Relaxed), counts.http1.load(Relaxed)), (0, 12));
        assert!(counts.connections.load(Relaxed) <= 3, "{}", counts.connections.load(Relaxed));
    }
}
