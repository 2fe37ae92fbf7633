//! The status server: `/v1/status`, `/v1/top`, `/metrics` and `/healthz` over HTTP/1.1, on a thread of its own
//! that touches no reader.
//!
//! Bounds: 64 connections at once, further ones wait in the kernel's queue; 5 s for a request, an
//! answer or an idle connection (spec 16.1); request bodies are not read. `/v1/status` and `/metrics`
//! are made at most a hundred times a second, whoever asks how often and however many readers there
//! are; their counters change once a second.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tracing::debug;

use super::page::Page;
use super::{Status, metrics};

const MOST_CONNECTIONS: usize = 64;
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// A connection that goes on asking is closed after this time and may come back.
const LONGEST_CONNECTION: Duration = Duration::from_secs(600);

/// A page is given again for so long.
const FRESH: Duration = Duration::from_millis(10);

type Answer = Response<Full<Bytes>>;

/// Serves on a bound socket until the process ends.
///
/// # Errors
/// The thread cannot be started.
pub fn start(listener: TcpListener, status: Arc<Status>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let body = move || {
        if let Err(error) = runtime.block_on(serve(listener, status)) {
            tracing::warn!("the status server has ended: {error}");
        }
    };
    std::thread::Builder::new().name("status".to_owned()).spawn(body).map(drop)
}

/// What is served.
struct Pages {
    status: Arc<Status>,
    page: Kept,
    metrics: Kept,
}

/// A page, and when it was made.
#[derive(Default)]
struct Kept(Mutex<Option<(Instant, Bytes)>>);

impl Kept {
    /// The page of a moment ago, or a new one.
    fn get<E>(&self, make: impl FnOnce() -> Result<String, E>) -> Result<Bytes, E> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, page)) = kept.as_ref().filter(|(made, _)| made.elapsed() < FRESH) {
            return Ok(page.clone());
        }
        let page = Bytes::from(make()?);
        *kept = Some((Instant::now(), page.clone()));
        Ok(page)
    }
}

async fn serve(listener: TcpListener, status: Arc<Status>) -> io::Result<()> {
    let pages = Arc::new(Pages { status, page: Kept::default(), metrics: Kept::default() });
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: others may be given back.
                debug!("status server: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let pages = Arc::clone(&pages);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(&request, &pages);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(TIME_LIMIT)
                .max_buf_size(16 << 10)
                .serve_connection(TokioIo::new(stream), service);
            // What a client does wrong ends its connection and nothing else.
            let _ = tokio::time::timeout(LONGEST_CONNECTION, connection).await;
            drop(place);
        });
    }
}

fn answer(request: &Request<Incoming>, pages: &Pages) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n".into());
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match request.uri().path() {
        "/v1/status" => match pages.page.get(|| page(&pages.status)) {
            Ok(text) => content(StatusCode::OK, "application/json", text),
            Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        "/v1/top" => match pages.status.snapshot().map(|snapshot| serde_json::to_string(&snapshot))
        {
            Some(Ok(text)) => content(StatusCode::OK, "application/json", text + "\n"),
            Some(Err(error)) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            None => plain(StatusCode::NOT_FOUND, "not collected\n".into()),
        },
        "/metrics" => {
            let kind = "text/plain; version=0.0.4; charset=utf-8";
            match pages.metrics.get(|| Ok::<_, Infallible>(metrics::page(&pages.status))) {
                Ok(text) => content(StatusCode::OK, kind, text),
            }
        }
        "/healthz" => plain(StatusCode::OK, "ok\n".into()),
        _ => plain(StatusCode::NOT_FOUND, "not found\n".into()),
    }
}

fn page(status: &Status) -> serde_json::Result<String> {
    serde_json::to_string_pretty(&Page::new(status)).map(|text| text + "\n")
}

fn plain(code: StatusCode, text: String) -> Answer {
    content(code, "text/plain; charset=utf-8", text)
}

fn content(code: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = code;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
