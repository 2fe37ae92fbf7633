//! A real hub on an ephemeral port, and a real client.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test program uses a part")]

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use kflow::Flow;
use khub::{Config, Hub};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub struct Running {
    pub address: SocketAddr,
    pub hub: Arc<Hub>,
    pub client: Client,
    stop: oneshot::Sender<()>,
    served: JoinHandle<std::io::Result<()>>,
}

/// The answer to a request.
pub struct Answer {
    pub status: StatusCode,
    pub content_type: Option<String>,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// The error text of a JSON error, with its status.
    pub fn error(&self) -> (u16, String) {
        (self.status.as_u16(), self.json()["error"].as_str().unwrap().to_owned())
    }
}

pub async fn start(config: Config, output: impl Write + Send + 'static) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let hub = Hub::new(config, output).unwrap();
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(khub::serve(listener, hub.clone(), async move {
        let _ = stopped.await;
    }));
    // Built with the whole workspace, reqwest has TLS without a provider of its own; the second
    // and later calls find one installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Running { address, hub, client: Client::new(), stop, served }
}

/// A hub as `khub --dev --quiet` starts it.
pub async fn dev() -> Running {
    start(Config { print: false, ..Config::dev() }, std::io::sink()).await
}

impl Running {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A request with the account's headers.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client
            .request(method, self.url(path))
            .header("X-CH-Auth-Email", "test@example.com")
            .header("X-CH-Auth-API-Token", "token")
    }

    pub async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, json: &str) -> Answer {
        answer(self.request(Method::POST, path).body(json.to_owned())).await
    }

    /// A flow POST of `dev1` with a body that is already compressed.
    pub fn chf(&self, gzip: Vec<u8>) -> reqwest::RequestBuilder {
        self.request(Method::POST, "/chf?sender_id=1%3Adev1%3A1&sid=0")
            .header("Content-Type", "application/binary")
            .header("Content-Encoding", "gzip")
            .body(gzip)
    }

    pub async fn counter(&self, name: &str) -> u64 {
        self.get("/api/v1/status").await.json()["counters"][name].as_u64().unwrap()
    }

    pub async fn stop(self) -> std::io::Result<()> {
        self.stop.send(()).unwrap();
        self.served.await.unwrap()
    }
}

pub async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let content_type = response.headers().get("content-type").cloned();
    Answer {
        status: response.status(),
        content_type: content_type.map(|value| value.to_str().unwrap().to_owned()),
        text: response.text().await.unwrap(),
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn batch(flows: &[Flow]) -> Vec<u8> {
    let mut body = Vec::new();
    kflow::wire::Encoder::new().encode_body(flows, &mut body).unwrap();
    body
}
