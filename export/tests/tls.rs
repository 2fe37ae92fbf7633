//! HTTPS: servers are verified against the roots of the system (wire contract, HTTP-4).

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use export::{DeviceApi, Timing, parse_url};
use rcgen::CertifiedKey;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use support::http;

const DEVICE: &str = r#"{"device": {"id": "7", "company_id": "1", "device_name": "a"}}"#;
const PORT: &str = "TLS_TEST_PORT";

/// Answers one request with a device; returns whether TLS got that far.
fn serve_once(
    listener: TcpListener,
    certificate: &[u8],
    key: &[u8],
) -> std::thread::JoinHandle<bool> {
    let certificate = CertificateDer::from(certificate.to_vec());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.to_vec()));
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a certificate");
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        let connection = ServerConnection::new(Arc::new(config)).expect("a connection");
        let mut stream = StreamOwned::new(connection, stream);
        let mut request = [0; 4096];
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{DEVICE}", DEVICE.len());
        stream.read(&mut request).is_ok() && stream.write_all(answer.as_bytes()).is_ok()
    })
}

/// Runs [`child_looks_a_device_up`] in a process of its own, whose system roots are `roots`.
fn look_up_with_roots(roots: &Path, listener: &TcpListener) -> std::process::Output {
    Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "child_looks_a_device_up", "--ignored", "--nocapture"])
        .env("SSL_CERT_FILE", roots)
        .env_remove("SSL_CERT_DIR")
        .env(PORT, listener.local_addr().expect("bound").port().to_string())
        .output()
        .expect("a child")
}

#[test]
#[ignore = "run by the other tests, in a process with its own roots"]
fn child_looks_a_device_up() {
    let Ok(port) = std::env::var(PORT) else { return };
    let base = parse_url("API", &format!("https://localhost:{port}/api/internal")).unwrap();
    let api = match DeviceApi::new(&http(), base, &Timing::default()) {
        Ok(api) => api,
        Err(error) => panic!("{error}"),
    };
    match api.by_id(7) {
        Ok(device) => assert_eq!(device.id, 7),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_server_with_a_certificate_of_the_systems_roots_is_trusted_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let roots = dir.path().join("roots.pem");
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert;
    for (root, trusted) in [(&cert, true), (&other, false)] {
        std::fs::write(&roots, root.pem()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let accepting = listener.try_clone().unwrap();
        let server = serve_once(accepting, cert.der(), &signing_key.serialize_der());
        let child = look_up_with_roots(&roots, &listener);
        let text = String::from_utf8_lossy(&child.stderr);
        assert_eq!(child.status.success(), trusted, "{text}");
        assert_eq!(server.join().unwrap(), trusted);
        if !trusted {
            assert!(text.contains("failed to configure: GET https://localhost:"), "{text}");
            assert!(text.contains("invalid peer certificate"), "{text}");
        }
    }
}

#[test]
fn a_system_without_roots_is_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let roots = dir.path().join("roots.pem");
    std::fs::write(&roots, "").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let child = look_up_with_roots(&roots, &listener);
    let text = String::from_utf8_lossy(&child.stderr);
    assert!(!child.status.success());
    assert!(text.contains("no root certificates found on this system"), "{text}");
}
