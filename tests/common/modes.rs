//! What the tests of DNS and RADIUS mode share.
#![allow(dead_code, reason = "each test program uses a part")]

use std::time::{Duration, Instant};

use crate::common::backend::{device, urls};
use crate::support::{Answer, Seen, Server, answer};

/// A backend that knows the device, and answers everything else by this.
pub fn backend(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Server {
    Server::start(move |_, seen| match seen.uri.path() {
        path if path.ends_with("/interfaces") => answer(200, "[]"),
        path if path.contains("/device/") => answer(200, &device("probe", 4000)),
        path if path.contains("/tags/") => answer(200, "{}"),
        _ => script(seen),
    })
}

/// Makes a probe in this mode report to an address.
pub fn arguments(mode: &str, address: &str) -> Vec<String> {
    let account = ["--email", "test@example.com", "--token", "token", "--device-name", "probe"];
    let dns_url = ["--dns-url".to_owned(), format!("http://{address}")];
    let first = [mode].into_iter().chain(account).map(str::to_owned);
    first.chain(urls(address)).chain(dns_url).collect()
}

/// Requests to a path that ends so.
pub fn posts(server: &Server, path: &str) -> Vec<Seen> {
    server.seen().into_iter().filter(|seen| seen.uri.path().ends_with(path)).collect()
}

/// An untagged frame of UDP over IPv4 as fragments of up to 1,480 bytes each.
pub fn fragments(frame: &[u8]) -> Vec<Vec<u8>> {
    let (headers, payload) = frame.split_at(34);
    let count = payload.len().div_ceil(1480);
    let fragment = |(number, chunk): (usize, &[u8])| {
        let mut fragment = [headers, chunk].concat();
        let length = (20 + chunk.len() as u16).to_be_bytes();
        let more = u16::from(number + 1 < count) << 13;
        let place = (more | (number * 1480 / 8) as u16).to_be_bytes();
        // RFC 791, 3.1; nobody on the way looks at the checksum.
        fragment[16..18].copy_from_slice(&length);
        fragment[20..22].copy_from_slice(&place);
        fragment
    };
    payload.chunks(1480).enumerate().map(fragment).collect()
}

/// Waits until there is one.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < Duration::from_secs(15), "{what} never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}
