//! A real khub in the test's process, on a port of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use khub::{Config, DEV_EMAIL, DEV_TOKEN, Hub};
use serde_json::Value;
use tokio::sync::oneshot;

use super::{Counts, Flow, Sums};

/// A running khub; stops when dropped. It lives in the network namespace of the thread that
/// started it, and so does every question to it.
pub struct Khub {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Khub {
    /// With `--dev` and a flow limit that no test reaches.
    pub fn start() -> Self {
        Self::with(Config { max_flow_rate: 1_000_000, ..Config::dev() })
    }

    pub fn with(config: Config) -> Self {
        Self::at("127.0.0.1:0", config)
    }

    /// On an address that a probe knows already.
    pub fn at(address: &str, config: Config) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let hub = Hub::new(Config { print: false, ..config }, std::io::sink()).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let stopped = async {
                    let _ = stopped.await;
                };
                khub::serve(listener, hub, stopped).await.unwrap();
            });
        });
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// What makes a probe report here, as the device of this name.
    pub fn arguments(&self, device: &str) -> Vec<String> {
        let email = ["--email".to_owned(), DEV_EMAIL.to_owned()];
        let token = ["--token".to_owned(), DEV_TOKEN.to_owned()];
        let name = ["--device-name".to_owned(), device.to_owned()];
        [email, token, name].into_iter().flatten().chain(urls(&self.address.to_string())).collect()
    }

    /// All records of a device.
    pub fn flows(&self, device: &str) -> Vec<Value> {
        match self.get(&format!("/api/v1/flows?limit=100000&device={device}")) {
            Value::Array(flows) => flows,
            other => panic!("no list: {other}"),
        }
    }

    /// A counter of the status.
    pub fn counter(&self, name: &str) -> u64 {
        self.get("/api/v1/status")["counters"][name].as_u64().unwrap()
    }

    /// The JSON behind a path.
    pub fn get(&self, path: &str) -> Value {
        let mut stream = TcpStream::connect(self.address).unwrap();
        // With HTTP/1.0 the answer ends with the connection.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let head = answer.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4;
        let status = String::from_utf8_lossy(&answer[..head]);
        assert!(status.contains(" 200 "), "{path}: {status}");
        serde_json::from_slice(&answer[head..]).unwrap()
    }
}

impl Drop for Khub {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the device API says of device 1 of company 1.
pub fn device(name: &str, max_flow_rate: u32) -> String {
    format!(
        r#"{{"device": {{"id": "1", "company_id": "1", "device_name": "{name}",
        "device_sample_rate": "1", "max_flow_rate": {max_flow_rate}, "custom_column_data": [
        {{"field_id": "3", "col_name": "FRAGMENTS", "col_type": "uint32"}}]}}}}"#
    )
}

/// The sums of records as they travelled.
pub fn wire_sums(flows: &[kflow::Flow]) -> Sums {
    let mut sums = Sums::new();
    for flow in flows {
        let fragments = flow.customs.iter().find(|custom| custom.id == 3);
        let key = Flow {
            src: flow.src,
            src_port: flow.src_port as u16,
            dst: flow.dst,
            dst_port: flow.dst_port as u16,
            protocol: flow.protocol as u8,
            vlan: (flow.vlan_in | flow.vlan_out) as u16,
        };
        sums.entry(key).or_default().add(Counts {
            packets: flow.in_packets + flow.out_packets,
            bytes: flow.in_bytes + flow.out_bytes,
            tcp_flags: flow.tcp_flags.into(),
            fragments: fragments.map_or(0, |custom| match custom.value {
                kflow::Value::U32(count) => count.into(),
                ref other => panic!("fragments are {other:?}"),
            }),
        });
    }
    sums
}

/// Flags that direct every request of a probe to one `host:port`.
pub fn urls(address: &str) -> Vec<String> {
    [("--api-url", "/api/internal"), ("--flow-url", "/chf"), ("--metrics-url", "/tsdb")]
        .into_iter()
        .flat_map(|(flag, path)| [flag.to_owned(), format!("http://{address}{path}")])
        .collect()
}
