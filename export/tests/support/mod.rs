//! A real HTTP server in the test's process, and what every delivery test configures.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, Request, Response, Uri};
use export::{
    Batch, Credentials, HttpConfig, KflowConfig, Output, QueueLimits, Timing, Token, Url, parse_url,
};
use flowtable::{Direction, Record};
use kflow::Flow;
use kflow::api::Device;
use tokio::sync::oneshot;

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Instant,
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Status of the answer; 0 for none.
    pub status: u16,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("plain header"))
    }

    /// The records of a flow POST.
    pub fn flows(&self) -> Vec<Flow> {
        let mut body = Vec::new();
        flate2::read::GzDecoder::new(&self.body[..]).read_to_end(&mut body).expect("gzip");
        kflow::wire::decode_body(&body).expect("kflow")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// What the server answers.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: HashMap<&'static str, String>,
    pub body: String,
    /// How long it is in coming.
    pub after: Duration,
}

/// An answer with this status never comes.
pub const NEVER: u16 = 0;

pub fn status(status: u16) -> Answer {
    Answer { status, ..Answer::default() }
}

pub fn answer(status: u16, body: &str) -> Answer {
    Answer { status, body: body.into(), ..Answer::default() }
}

pub fn answer_with(status: u16, header: &'static str, value: &str) -> Answer {
    Answer { status, headers: HashMap::from([(header, value.into())]), ..Answer::default() }
}

type Script = dyn Fn(usize, &Seen) -> Answer + Send + Sync;

#[derive(Clone)]
struct Shared {
    script: Arc<Script>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// The server; stops when dropped.
pub struct Server {
    pub url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// `script` gets the number of the request, from 0, and the request.
    pub fn start(script: impl Fn(usize, &Seen) -> Answer + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = Shared { script: Arc::new(script), seen: Arc::clone(&seen) };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("non-blocking");
        let address = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                let app = axum::Router::new()
                    .fallback(handle)
                    .layer(DefaultBodyLimit::disable())
                    .with_state(shared);
                tokio::select! {
                    served = async { axum::serve(listener, app).await } => served.expect("serving"),
                    _ = stopped => {}
                }
            });
        });
        let url = parse_url("flow", &format!("http://{address}/chf")).expect("a URL");
        Self { url, seen, stop: Some(stop), thread: Some(thread) }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The records of all requests that were answered 200.
    pub fn accepted(&self) -> Vec<Flow> {
        let answered_200 = |seen: &&Seen| seen.status == 200 && seen.uri.path() == "/chf";
        self.seen().iter().filter(answered_200).flat_map(Seen::flows).collect()
    }

    pub fn wait_for(&self, requests: usize) {
        let start = Instant::now();
        while self.seen().len() < requests {
            assert!(start.elapsed() < Duration::from_secs(20), "{requests} requests never came");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn handle(State(shared): State<Shared>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.expect("a whole body");
    let answer = {
        let mut all = shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = Seen {
            at: Instant::now(),
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            body,
            status: 0,
        };
        let answer = (shared.script)(all.len(), &seen);
        seen.status = answer.status;
        all.push(seen);
        answer
    };
    if answer.status == NEVER {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(answer.after).await;
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    response.body(answer.body.into()).expect("a response")
}

pub fn http() -> HttpConfig {
    let token = Token::new("token");
    HttpConfig {
        credentials: Credentials { email: "test@example.com".into(), token },
        proxy: None,
        version: "0.1.0".into(),
        ca_file: None,
    }
}

/// The default, a hundred times faster.
pub fn fast() -> Timing {
    Timing {
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(300),
        ..Timing::default()
    }
}

pub fn device(max_flow_rate: u64) -> Device {
    let text = r#"{"id": "9623", "company_id": "1289", "device_name": "pd_host",
        "custom_column_data": [{"field_id": "3", "col_name": "FRAGMENTS", "col_type": "uint32"}]}"#;
    Device { max_flow_rate, ..serde_json::from_str(text).expect("a device") }
}

pub fn kflow_config(url: &Url) -> KflowConfig {
    KflowConfig {
        flow_url: url.clone(),
        metrics_url: None,
        http: http(),
        device: device(1_000_000),
        host_name: "pd-host.example.com".into(),
        queue: QueueLimits::default(),
        max_in_flight: 3,
        timing: fast(),
        keep_heavy: false,
        spool: None,
    }
}

pub fn kflow(config: KflowConfig) -> Vec<Output> {
    vec![Output::Kflow(Box::new(config))]
}

/// Records alone.
pub fn batch(records: impl IntoIterator<Item = Record>) -> Batch {
    records.into_iter().collect()
}

/// Record number `n`, told apart by its byte count; one conversation per record.
pub fn record(n: u64) -> Record {
    Record {
        time_ns: 1_000_000_000,
        first_frame: n,
        src: [10, 0, 0, 52].into(),
        dst: [8, 8, 4, 4].into(),
        src_port: 52407,
        dst_port: 53,
        protocol: 17,
        tos: 0,
        tcp_flags: 0,
        direction: Direction::Out,
        vlan: 0,
        src_mac: [0x02, 0, 0, 0, 0xbb, 0x37],
        dst_mac: [0x02, 0, 0, 0, 0, 1],
        packets: 1,
        bytes: n,
        fragments: 0,
        sample_rate: 1,
        app: None,
        connection_id: 0,
        first_payload_us: None,
    }
}

/// The numbers of records that arrived, sorted.
pub fn numbers(flows: &[Flow]) -> Vec<u64> {
    let mut numbers: Vec<u64> = flows.iter().map(|flow| flow.out_bytes).collect();
    numbers.sort_unstable();
    numbers
}
