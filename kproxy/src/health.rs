//! The health page: `/` as text or JSON, `/healthz`, `/metrics` for Prometheus.
//!
//! Bounds: 64 connections, further ones wait in the kernel's queue; 5 s for a request or an idle
//! connection; bodies are not read.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tracing::{debug, trace};

use crate::counters::{Cause, Counters, Hosts, ROWS};
use crate::proxy::Phase;

const MOST_CONNECTIONS: usize = 64;
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// A connection that goes on asking is closed after this time and may come back.
const LONGEST_CONNECTION: Duration = Duration::from_secs(600);

type Answer = Response<Full<Bytes>>;

/// What the page shows.
#[derive(Debug)]
pub(crate) struct Health {
    pub(crate) counters: Arc<Counters>,
    pub(crate) started: Instant,
    pub(crate) most_connections: usize,
    pub(crate) phase: watch::Receiver<Phase>,
}

/// Serves for as long as it is polled.
pub(crate) async fn serve(health: Arc<Health>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                debug!("health page: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let health = Arc::clone(&health);
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                trace!(client = %peer, path = request.uri().path(), "health request");
                let answer = health.answer(&request);
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

impl Health {
    fn answer(&self, request: &Request<Incoming>) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n".into());
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        let wants_json = || {
            let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
            let query = request.uri().query().unwrap_or_default();
            query.split('&').any(|pair| pair == "format=json")
                || accept.is_some_and(|accept| accept.contains("application/json"))
        };
        match request.uri().path() {
            "/" if wants_json() => {
                let text = format!("{:#}\n", Value::Object(self.json()));
                content(StatusCode::OK, "application/json", text)
            }
            "/" => plain(StatusCode::OK, self.text()),
            "/healthz" if self.is_open() => plain(StatusCode::OK, "ok\n".into()),
            "/healthz" => plain(StatusCode::SERVICE_UNAVAILABLE, "stopping\n".into()),
            "/metrics" => {
                let kind = "text/plain; version=0.0.4; charset=utf-8";
                content(StatusCode::OK, kind, self.metrics())
            }
            _ => plain(StatusCode::NOT_FOUND, "not found\n".into()),
        }
    }

    fn is_open(&self) -> bool {
        *self.phase.borrow() == Phase::Open
    }

    fn uptime_s(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    fn text(&self) -> String {
        let state = if self.is_open() { "open" } else { "stopping" };
        let mut text = format!(
            "kproxy {}, up {} s, proxy {state}, at most {} connections\n\n",
            env!("CARGO_PKG_VERSION"),
            self.uptime_s(),
            self.most_connections
        );
        // Writing to a string cannot fail, here and below.
        for (name, _, help, value) in ROWS {
            let _ = writeln!(text, "{:>14}  {name}: {help}", value(&self.counters));
        }
        for cause in Cause::ALL {
            let (count, name) = (self.counters.denied(cause), cause.name());
            let what = if cause.is_failure() { "failed" } else { "refused" };
            let _ = writeln!(text, "{count:>14}  {what}: {name}");
        }
        for (title, hosts) in self.hosts() {
            for (host, count) in hosts.list() {
                let _ = writeln!(text, "{count:>14}  {title}: {host}");
            }
        }
        text
    }

    fn hosts(&self) -> [(&'static str, &Hosts); 2] {
        [
            ("refused_hosts", &self.counters.refused_hosts),
            ("failed_hosts", &self.counters.failed_hosts),
        ]
    }

    fn json(&self) -> Map<String, Value> {
        let mut proxy = Map::new();
        for (name, _, _, value) in ROWS {
            proxy.insert((*name).to_owned(), value(&self.counters).into());
        }
        let by_cause = |failures: bool| {
            let causes = Cause::ALL.into_iter().filter(|cause| cause.is_failure() == failures);
            let counts =
                causes.map(|cause| (cause.name().to_owned(), self.counters.denied(cause).into()));
            Value::Object(counts.collect())
        };
        proxy.insert("refused".into(), by_cause(false));
        proxy.insert("failed".into(), by_cause(true));
        for (title, hosts) in self.hosts() {
            let counts = hosts.list().into_iter().map(|(host, count)| (host, count.into()));
            proxy.insert(title.into(), Value::Object(counts.collect()));
        }
        proxy.insert("most_connections".into(), self.most_connections.into());
        let mut page = Map::new();
        page.insert("version".into(), env!("CARGO_PKG_VERSION").into());
        page.insert("uptime_s".into(), self.uptime_s().into());
        page.insert("open".into(), self.is_open().into());
        page.insert("proxy".into(), json!(proxy));
        page
    }

    fn metrics(&self) -> String {
        let mut text = String::with_capacity(4096);
        let head = |text: &mut String, name: &str, kind: &str, help: &str| {
            let _ = writeln!(text, "# HELP kproxy_{name} {help}\n# TYPE kproxy_{name} {kind}");
        };
        head(&mut text, "uptime_seconds", "gauge", "Seconds since the start");
        let _ = writeln!(text, "kproxy_uptime_seconds {}", self.uptime_s());
        for (name, kind, help, value) in ROWS {
            head(&mut text, &format!("proxy_{name}"), kind, help);
            let _ = writeln!(text, "kproxy_proxy_{name} {}", value(&self.counters));
        }
        for (name, help, failures) in [
            ("refused_total", "Requests that a rule refuses, by rule", false),
            ("failed_total", "Requests that could not be passed on, by cause", true),
        ] {
            head(&mut text, &format!("proxy_{name}"), "counter", help);
            for cause in Cause::ALL.into_iter().filter(|cause| cause.is_failure() == failures) {
                let (label, count) = (cause.name(), self.counters.denied(cause));
                let _ = writeln!(text, "kproxy_proxy_{name}{{cause=\"{label}\"}} {count}");
            }
        }
        for (name, hosts) in self.hosts() {
            head(&mut text, &format!("proxy_{name}_total"), "counter", "The same, by host");
            // Names of hosts have no character that would need an escape.
            for (host, count) in hosts.list() {
                let _ = writeln!(text, "kproxy_proxy_{name}_total{{host=\"{host}\"}} {count}");
            }
        }
        text
    }
}

fn plain(code: StatusCode, text: String) -> Answer {
    content(code, "text/plain; charset=utf-8", text)
}

fn content(code: StatusCode, kind: &'static str, text: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = code;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
