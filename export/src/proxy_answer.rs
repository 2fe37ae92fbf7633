//! Why a proxy refuses a tunnel: the HTTP client says only that it does, so the proxy is asked once
//! more, by hand, and its status line and text are what the log shows.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// For the whole conversation.
const LIMIT: Duration = Duration::from_secs(5);
const MAX_ANSWER_BYTES: usize = 4 << 10;
const PROXY_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// The reason in words, or `None` when the proxy cannot be asked or does not refuse now.
pub(crate) async fn why_refused(proxy: &Url, target: &Url) -> Option<String> {
    if proxy.scheme() != "http" {
        return None;
    }
    let place = format!("{}:{}", target.host_str()?, target.port().unwrap_or(HTTPS_PORT));
    let answer = tokio::time::timeout(LIMIT, ask(proxy, &place)).await.ok()?.ok()?;
    let (status, text) = read(&answer)?;
    let refuses = !(200..300).contains(&status);
    refuses.then(|| format!("the proxy refuses a connection to {place}: {text}"))
}

async fn ask(proxy: &Url, place: &str) -> std::io::Result<Vec<u8>> {
    let host = proxy.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let mut stream = TcpStream::connect((host, proxy.port().unwrap_or(PROXY_PORT))).await?;
    let request =
        format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{}\r\n", credentials(proxy));
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    // A proxy that agrees keeps the connection open: its head is enough.
    while answer.len() < MAX_ANSWER_BYTES && !is_whole(&answer) {
        if stream.read_buf(&mut answer).await? == 0 {
            break;
        }
    }
    Ok(answer)
}

fn credentials(proxy: &Url) -> String {
    if proxy.username().is_empty() && proxy.password().is_none() {
        return String::new();
    }
    let mut plain = percent_decode_str(proxy.username()).collect::<Vec<u8>>();
    plain.push(b':');
    plain.extend(percent_decode_str(proxy.password().unwrap_or_default()));
    format!("Proxy-Authorization: Basic {}\r\n", BASE64_STANDARD.encode(plain))
}

fn split(answer: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((answer.get(..end)?, answer.get(end + 4..)?))
}

/// The head, and as much of a body as the head promises.
fn is_whole(answer: &[u8]) -> bool {
    let Some((head, body)) = split(answer) else { return false };
    let Some((200..300, _)) = status(head) else {
        let head = String::from_utf8_lossy(head).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length = length.and_then(|length| length.trim().parse::<usize>().ok());
        return length.is_some_and(|length| body.len() >= length);
    };
    true
}

/// Status, and the rest of the status line.
fn status(head: &[u8]) -> Option<(u16, String)> {
    let head = String::from_utf8_lossy(head);
    let line = head.lines().next()?;
    let (version, rest) = line.split_once(' ')?;
    let code = rest.split(' ').next()?.parse().ok()?;
    version.starts_with("HTTP/").then(|| (code, rest.to_owned()))
}

/// Status, and what to show: the status line and the first line of a text.
fn read(answer: &[u8]) -> Option<(u16, String)> {
    let (head, body) = split(answer)?;
    let (code, mut text) = status(head)?;
    let body = String::from_utf8_lossy(body);
    let is_page = body.trim_start().starts_with('<');
    if let Some(line) = body.lines().map(str::trim).find(|line| !line.is_empty() && !is_page) {
        text = format!("{text}: {line}");
    }
    Some((code, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_line_and_the_first_line_of_a_text_are_shown() {
        let answer =
            b"HTTP/1.1 403 Forbidden\r\nContent-Length: 22\r\n\r\nhost is not allowed\nbye";
        assert!(is_whole(answer));
        assert_eq!(read(answer), Some((403, "403 Forbidden: host is not allowed".into())));
        let page = b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>no</html>";
        assert_eq!(read(page), Some((502, "502 Bad Gateway".into())));
        assert!(!is_whole(page));
        assert!(is_whole(b"HTTP/1.1 200 OK\r\n\r\n"));
    }

    #[test]
    fn user_and_password_are_decoded_before_they_are_encoded() {
        let proxy = |text| credentials(&Url::parse(text).unwrap());
        assert_eq!(proxy("http://a:1"), "");
        let expected = "Proxy-Authorization: Basic dXNlcjpwQHNz\r\n";
        assert_eq!(proxy("http://user:p%40ss@a:1"), expected);
    }

    proptest::proptest! {
        #[test]
        fn any_answer_gives_a_reason_or_none(answer: Vec<u8>) {
            let _ = (read(&answer), is_whole(&answer));
        }

        #[test]
        fn any_answer_of_a_proxy_gives_a_reason_or_none(rest: Vec<u8>) {
            let answer = [b"HTTP/1.1 4", &rest[..]].concat();
            let _ = (read(&answer), is_whole(&answer));
        }
    }
}
