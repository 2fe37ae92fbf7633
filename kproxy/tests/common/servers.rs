//! Real servers on loopback: HTTP with axum, HTTPS with rustls, and proxies that want a password.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::routing::{any, get};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Frame;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Bytes that `/big` sends.
pub const BIG_BYTES: u64 = 100 << 20;

/// An HTTP server: `/echo` says what it got, `/big` sends 100 MiB, `/length` counts a body,
/// `/stuck` never answers and never reads.
pub struct Web {
    pub address: SocketAddr,
    pub connections: Arc<AtomicU64>,
    pub requests: Arc<AtomicU64>,
}

pub async fn web() -> Web {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (connections, requests) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let seen = Arc::clone(&requests);
    let router = Router::new()
        .route("/echo", any(echo))
        .route("/big", get(big))
        .route("/length", any(length))
        .route("/stuck", any(std::future::pending::<()>))
        .route(
            "/hops",
            get(|| async {
                let headers =
                    [("keep-alive", "timeout=9"), ("x-kept", "1"), ("connection", "x-listed")];
                (headers, [("x-listed", "1"), ("proxy-secret", "1")], "hops")
            }),
        )
        .layer(axum::middleware::from_fn(move |request: Request, next: axum::middleware::Next| {
            seen.fetch_add(1, SeqCst);
            next.run(request)
        }));
    let accepted = Arc::clone(&connections);
    tokio::spawn(async move {
        let listener = axum::serve::ListenerExt::tap_io(listener, move |_| {
            accepted.fetch_add(1, SeqCst);
        });
        axum::serve(listener, router).await.unwrap();
    });
    Web { address, connections, requests }
}

/// Request line, headers in their order, and body.
async fn echo(request: Request) -> String {
    let mut text = format!("{} {}\n", request.method(), request.uri());
    let headers: &HeaderMap = request.headers();
    for (name, value) in headers {
        text.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    let body = request.into_body().collect().await.unwrap().to_bytes();
    text + "\n" + &String::from_utf8_lossy(&body)
}

async fn big() -> Body {
    let chunk = Bytes::from(vec![b'x'; 64 << 10]);
    let mut left = BIG_BYTES / chunk.len() as u64;
    Body::new(Chunks(move || {
        left = left.checked_sub(1)?;
        Some(chunk.clone())
    }))
}

async fn length(request: Request) -> String {
    let mut body = request.into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.unwrap().data_ref().map_or(0, |data| data.len() as u64);
    }
    length.to_string()
}

/// A body of what a function gives until it gives nothing.
pub struct Chunks<F>(pub F);

impl<F: FnMut() -> Option<Bytes> + Unpin> hyper::body::Body for Chunks<F> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready((self.0)().map(|chunk| Ok(Frame::data(chunk))))
    }
}

/// An HTTPS server for `localhost` that answers `secure`, and a client's TLS that trusts it alone.
pub async fn https() -> (SocketAddr, rustls::ClientConfig) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = CertificateDer::from(cert.der().to_vec());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let ring = || Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(ring())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                let service = hyper::service::service_fn(|_| async {
                    Ok::<_, Infallible>(hyper::Response::new(Full::new(Bytes::from("secure"))))
                });
                let io = TokioIo::new(stream);
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
            });
        }
    });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(ring())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (address, client)
}

/// A client that sends everything through the proxy.
pub fn client(proxy: SocketAddr, tls: rustls::ClientConfig) -> reqwest::Client {
    reqwest::Client::builder()
        .proxy(reqwest::Proxy::all(format!("http://{proxy}")).unwrap())
        .tls_backend_preconfigured(tls)
        .timeout(super::PATIENCE)
        .build()
        .unwrap()
}

pub fn no_roots() -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

/// A listener that handles each connection in a thread.
pub fn tcp(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handle = Arc::new(handle);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let handle = Arc::clone(&handle);
            std::thread::spawn(move || handle(stream.unwrap()));
        }
    });
    address
}

/// Sends back what it gets; after the end of that, `bye`.
pub fn echo_then_bye() -> SocketAddr {
    tcp(|mut stream| {
        let mut bytes = [0; 4096];
        loop {
            match stream.read(&mut bytes) {
                Ok(0) => break,
                Ok(count) => stream.write_all(&bytes[..count]).unwrap(),
                Err(_) => return,
            }
        }
        let _ = stream.write_all(b"bye");
    })
}

/// A proxy that records each head and answers it with `answer`; behind a 200 it echoes.
pub fn recording_proxy(answer: &'static str) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let address = tcp(move |mut stream| {
        let head = super::read_head(&mut stream);
        seen.lock().unwrap().push(head);
        stream.write_all(answer.as_bytes()).unwrap();
        let mut copy = stream.try_clone().unwrap();
        let _ = std::io::copy(&mut stream, &mut copy);
    });
    (address, heads)
}
