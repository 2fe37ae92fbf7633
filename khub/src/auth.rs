//! Who may ask: agents by e-mail and token, people on the same machine freely for reading.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::connection::Peer;
use crate::hub::Hub;
use crate::refusal::Refusal;

/// Lets requests pass that carry the account's headers (HTTP-1).
pub(crate) async fn agents(State(hub): State<Arc<Hub>>, request: Request, next: Next) -> Response {
    if has_headers(&hub, request.headers()) {
        return next.run(request).await;
    }
    hub.counters.auth_failures.add(1);
    unauthorized()
}

/// Lets requests pass from this machine, or with the account's headers, or with the same pair as
/// HTTP basic authentication, so that a browser can ask for it.
pub(crate) async fn readers(State(hub): State<Arc<Hub>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|info| info.0.0);
    if is_local(peer, headers) || has_headers(&hub, headers) || has_basic(&hub, headers) {
        return next.run(request).await;
    }
    hub.counters.auth_failures.add(1);
    let mut response = unauthorized();
    let challenge = HeaderValue::from_static(r#"Basic realm="khub", charset="UTF-8""#);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

fn unauthorized() -> Response {
    Refusal::new(StatusCode::UNAUTHORIZED, "wrong or missing e-mail or token").into_response()
}

fn has_headers(hub: &Hub, headers: &HeaderMap) -> bool {
    let value = |name| headers.get(name).map_or(&[][..], HeaderValue::as_bytes);
    is_account(hub, value("x-ch-auth-email"), value("x-ch-auth-api-token"))
}

fn has_basic(hub: &Hub, headers: &HeaderMap) -> bool {
    let Some(sent) = headers.get(header::AUTHORIZATION) else { return false };
    let expected = format!("{}:{}", hub.config.email, hub.config.token);
    let Some(encoded) = sent.as_bytes().strip_prefix(b"Basic ") else { return false };
    same(encoded, base64(expected.as_bytes()).as_bytes())
}

fn is_account(hub: &Hub, email: &[u8], token: &[u8]) -> bool {
    // Both are always compared, so that the time does not tell which was wrong.
    same(email, hub.config.email.as_bytes()) & same(token, hub.config.token.as_bytes())
}

/// Compares keyed hashes first: the time it takes says nothing about how much was right.
fn same(sent: &[u8], expected: &[u8]) -> bool {
    let keys = RandomState::new();
    keys.hash_one(sent) == keys.hash_one(expected) && sent == expected
}

/// From a loopback address, and addressed by an IP address or as localhost: a web page under
/// another name that resolves to loopback may not read our data through the user's browser.
fn is_local(peer: Option<SocketAddr>, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let local_name = name.is_empty() || name == "localhost" || name.parse::<IpAddr>().is_ok();
    peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback()) && local_name
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 4];
        group[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(group);
        for place in 0..4 {
            if place <= chunk.len() {
                let index = bits >> (18 - 6 * place) & 63;
                text.push(char::from(ALPHABET[index as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_agrees_with_rfc_4648() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, encoded) in vectors {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn only_loopback_peers_under_a_local_name_are_local() {
        let local = |peer: &str, host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            is_local(Some(peer.parse().unwrap()), &headers)
        };
        assert!(local("127.0.0.1:1", "127.0.0.1:8999"));
        assert!(local("127.0.0.1:1", "localhost:8999"));
        assert!(local("[::1]:1", "[::1]:8999"));
        assert!(local("[::ffff:127.0.0.1]:1", "localhost"));
        assert!(!local("127.0.0.1:1", "attacker.example:8999"));
        assert!(!local("192.0.2.1:1", "127.0.0.1:8999"));
        assert!(!is_local(None, &HeaderMap::new()));
    }
}
