//! Asks a running probe's status server for its state.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};

use super::screen::Screen;
use super::snapshot::Snapshot;

/// For each of connecting, sending and a piece of the answer.
const WITHIN: Duration = Duration::from_secs(2);
/// Some 400 rows of at most 500 bytes are expected.
const MOST_BYTES: u64 = 4 << 20;

/// Shows the probe behind this URL until the user quits.
///
/// # Errors
/// The URL is not one of a status server, there is no answer at the start, or no terminal.
pub fn run(url: &str, stop: &Arc<AtomicBool>) -> anyhow::Result<()> {
    let authority = authority(url)?;
    // A wrong address is better told before the screen changes.
    let first = fetch(&authority).with_context(|| format!("Error: {url}"))?;
    let mut first = Some(first);
    let screen = Screen::take().context("Error")?;
    let state = || match first.take() {
        Some(first) => Ok(first),
        None => fetch(&authority).map_err(|error| format!("{error:#}")),
    };
    screen.run(state, stop, &AtomicBool::new(false)).context("Error: terminal")
}

/// `127.0.0.1:9000` of `http://127.0.0.1:9000`, with any path of ours.
fn authority(url: &str) -> anyhow::Result<String> {
    let wrong = || {
        anyhow!("Error: invalid value '{url}' for --status: expected http://HOST:PORT of a probe")
    };
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let has_port = authority.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    let known = ["", "v1/status", "v1/top", "metrics"].contains(&path);
    let plain = authority.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'@');
    if has_port && known && plain { Ok(authority.to_owned()) } else { Err(wrong()) }
}

fn fetch(authority: &str) -> anyhow::Result<Snapshot> {
    let addresses = authority.to_socket_addrs().context("no such host")?;
    let mut result = Err(anyhow!("no address"));
    for address in addresses {
        result = TcpStream::connect_timeout(&address, WITHIN).context("cannot connect");
        if result.is_ok() {
            break;
        }
    }
    let mut stream = result?;
    stream.set_read_timeout(Some(WITHIN))?;
    stream.set_write_timeout(Some(WITHIN))?;
    // With HTTP/1.0 the answer ends with the connection.
    write!(stream, "GET /v1/top HTTP/1.0\r\nHost: {authority}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MOST_BYTES).read_to_end(&mut answer).context("no answer")?;
    parse(&answer)
}

fn parse(answer: &[u8]) -> anyhow::Result<Snapshot> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let Some((head, body)) = end.and_then(|end| answer.split_at_checked(end + 4)) else {
        bail!("the answer is no HTTP");
    };
    let status = head.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
    if status != b"200" {
        let status = String::from_utf8_lossy(status.get(..3).unwrap_or(status)).into_owned();
        bail!("status {status}: is it a kprobe with /v1/top?");
    }
    serde_json::from_slice(body).context("the answer is none of kprobe's")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::snapshot;
    use super::*;

    #[test]
    fn a_url_is_a_host_with_a_port() {
        for url in ["http://127.0.0.1:9000", "127.0.0.1:9000/", "http://127.0.0.1:9000/v1/status"] {
            assert_eq!(authority(url).unwrap(), "127.0.0.1:9000");
        }
        assert_eq!(authority("http://[::1]:9000").unwrap(), "[::1]:9000");
        for url in
            ["", "http://", "https://a:1", "host", "host:0", "http://u@h:1", "a b:1", "h:1/x"]
        {
            assert!(authority(url).is_err(), "{url}");
        }
    }

    #[test]
    fn an_answer_is_read_and_a_refusal_named() {
        let body = serde_json::to_string(&snapshot()).unwrap();
        let answer = format!("HTTP/1.0 200 OK\r\nx: y\r\n\r\n{body}");
        assert_eq!(parse(answer.as_bytes()).unwrap(), snapshot());
        let refused = parse(b"HTTP/1.0 404 Not Found\r\n\r\n").unwrap_err().to_string();
        assert!(refused.starts_with("status 404"), "{refused}");
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
            let answer = [b"HTTP/1.0 200 OK\r\n\r\n".as_slice(), &bytes].concat();
            let _ = parse(&answer);
        }
    }
}
