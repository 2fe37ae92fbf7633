//! The probe's requests through kproxy to khub: in clear, through a tunnel, and refused.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::thread::JoinHandle;

use benches::mix::{Profile, Size};
use benches::traffic::Plan;
use common::backend::Khub;
use common::{folder, traffic};
use khub::{DEV_EMAIL, DEV_TOKEN};
use kproxy::cli::Request;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

const PACKETS: u64 = 5000;

const PLAN: Plan = Plan {
    conversations: 300,
    unique: false,
    size: Size::Imix,
    profile: Profile::Zipf,
    ipv6_percent: 20,
    seed: 3,
};

/// Something that serves on a thread of its own until it is dropped.
struct Running {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start<F>(serve: impl FnOnce(oneshot::Sender<SocketAddr>, oneshot::Receiver<()>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let serving = serve(tell, stopped);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(serving);
        });
        let address = told.blocking_recv().unwrap();
        Self { address, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// kproxy that lets through what `allow` names, on this machine too.
fn kproxy(allow: &str) -> Running {
    let words = [
        "-api_email",
        DEV_EMAIL,
        "-api_token",
        DEV_TOKEN,
        "-proxy-http",
        "127.0.0.1:0",
        "-healthcheck",
        "127.0.0.1:0",
        "-proxy-http-private",
        "-proxy-http-allow",
        allow,
    ];
    let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
    let Request::Run(config) = kproxy::cli::request(words, &|_| None).unwrap() else {
        panic!("no run");
    };
    Running::start(|tell, stopped| async move {
        let agent = kproxy::Agent::bind(&config).await.unwrap();
        tell.send(agent.proxy_address()).unwrap();
        let stopped = async {
            let _ = stopped.await;
        };
        agent.run(stopped).await;
    })
}

/// TLS for `localhost` in front of an address; its certificate is written to a file.
fn tls_in_front_of(address: SocketAddr, ca_file: &Path) -> Running {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(ca_file, certified.cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    Running::start(move |tell, mut stopped| async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        tell.send(listener.local_addr().unwrap()).unwrap();
        loop {
            let (stream, _) = tokio::select! {
                accepted = listener.accept() => accepted.unwrap(),
                _ = &mut stopped => return,
            };
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut outer) = acceptor.accept(stream).await else { return };
                let mut inner = TcpStream::connect(address).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
            });
        }
    })
}

/// Replays the capture and ships its records to the base URL through the proxy.
fn replay(path: &Path, base: &str, proxy: SocketAddr, more: &[&str]) -> Output {
    let mut command = common::kprobe();
    command.arg("--read").arg(path).args(["--email", DEV_EMAIL, "--token", DEV_TOKEN]);
    command.args(["--device-name", "through", "--proxy-url", &format!("http://{proxy}")]);
    for (flag, path) in
        [("--api-url", "/api/internal"), ("--flow-url", "/chf"), ("--metrics-url", "/tsdb")]
    {
        command.args([flag, &format!("{base}{path}")]);
    }
    command.args(more).output().unwrap()
}

fn packets(khub: &Khub) -> u64 {
    khub.flows("through").iter().map(|flow| flow["packets"].as_u64().unwrap()).sum()
}

#[test]
fn records_reach_khub_in_clear_and_through_a_tunnel() {
    let folder = folder();
    let path = folder.path().join("traffic.pcap");
    traffic::write(&path, &PLAN, PACKETS, 3_000_000);
    for tls in [false, true] {
        let khub = Khub::start();
        let ca_file = folder.path().join("ca.pem");
        let front = tls.then(|| tls_in_front_of(khub.address, &ca_file));
        let (base, allow) = match &front {
            None => (format!("http://{}", khub.address), khub.address.to_string()),
            Some(front) => {
                let port = front.address.port();
                (format!("https://localhost:{port}"), format!("localhost:{port}"))
            }
        };
        let proxy = kproxy(&allow);
        let more = ["--ca-file", ca_file.to_str().unwrap()];
        let output = replay(&path, &base, proxy.address, if tls { &more } else { &[] });
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "tls {tls}: {log}");
        assert_eq!(packets(&khub), PACKETS, "tls {tls}: {log}");
    }
}

#[test]
fn a_host_that_is_not_allowed_is_refused_in_words() {
    let folder = folder();
    let path = folder.path().join("traffic.pcap");
    traffic::write(&path, &PLAN, 100, 3_000_000);
    let khub = Khub::start();
    let proxy = kproxy("other.example:443");
    for base in [format!("http://{}", khub.address), "https://localhost:9".to_owned()] {
        let output = replay(&path, &base, proxy.address, &[]);
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{base}: {log}");
        assert!(log.contains("403"), "{base}: {log}");
    }
    assert_eq!(khub.flows("through").len(), 0);
}
