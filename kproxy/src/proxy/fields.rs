//! Header fields that end at a proxy, and `Via` (RFC 9110, section 7.6).

use hyper::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, TE, TRAILER};
use hyper::header::{TRANSFER_ENCODING, UPGRADE, VIA};

/// Removes what is for the next hop alone: `Connection` and what it lists, `Keep-Alive`, `TE`,
/// `Trailer`, `Transfer-Encoding`, `Upgrade`, and all of `Proxy-*`.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| !matters_end_to_end(name))
        .collect();
    for name in listed {
        headers.remove(name);
    }
    for name in [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    let proxies: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("proxy-")).cloned().collect();
    for name in proxies {
        headers.remove(name);
    }
}

/// What frames a message or names its target; a client that lists it means mischief.
fn matters_end_to_end(name: &HeaderName) -> bool {
    use hyper::header::{CACHE_CONTROL, CONTENT_LENGTH, HOST};
    [CONTENT_LENGTH, HOST, CACHE_CONTROL, VIA].contains(name)
}

/// Adds this proxy to those that a message has been through.
pub(super) fn add_via(headers: &mut HeaderMap, via: &HeaderValue) {
    headers.append(VIA, via.clone());
}

/// Whether the message has been through the proxy of this `Via` value.
pub(super) fn has_been_here(headers: &HeaderMap, via: &HeaderValue) -> bool {
    let entries =
        headers.get_all(VIA).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    entries.map(<[u8]>::trim_ascii).any(|entry| entry == via.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn what_is_for_the_next_hop_is_removed() {
        let mut given = headers(&[
            ("Host", "a"),
            ("Connection", "close, X-Mine,, Content-Length"),
            ("Connection", "x-yours , host"),
            ("X-Mine", "1"),
            ("X-Yours", "1"),
            ("X-Other", "1"),
            ("Content-Length", "3"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Authorization", "Basic x"),
            ("Proxy-Connection", "keep-alive"),
            ("Proxy-Anything", "1"),
            ("TE", "trailers"),
            ("Trailer", "X"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "websocket"),
            ("X-CH-Auth-API-Token", "t"),
        ]);
        remove_hop_by_hop(&mut given);
        let mut left: Vec<_> = given.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "host", "x-ch-auth-api-token", "x-other"]);
    }

    #[test]
    fn a_message_is_known_again_by_its_via() {
        let via = HeaderValue::from_static("1.1 kproxy-12");
        let mut given = headers(&[("Via", "1.0 fred, 1.1 kproxy-123")]);
        assert!(!has_been_here(&given, &via));
        add_via(&mut given, &via);
        assert!(has_been_here(&given, &via));
        assert!(has_been_here(&headers(&[("Via", "1.0 a,1.1 kproxy-12 , 1.1 b")]), &via));
    }

    proptest::proptest! {
        #[test]
        fn any_connection_field_leaves_the_length(value in "[ -~]{0,60}") {
            let mut given = headers(&[("Content-Length", "3")]);
            given.append(CONNECTION, value.parse().unwrap());
            remove_hop_by_hop(&mut given);
            proptest::prop_assert_eq!(given.len(), 1);
        }
    }
}
