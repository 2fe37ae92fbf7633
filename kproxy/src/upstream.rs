//! The proxy behind this one (`-local_proxy`), and who we are to it.

use std::fmt;

use hyper::header::HeaderValue;

use crate::target::{Target, TargetError};

const DEFAULT_PORT: u16 = 80;

/// Another proxy that everything is forwarded through. `Debug` and `Display` show no user and
/// password.
#[derive(Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Where it listens.
    pub target: Target,
    /// `Basic …`, marked as sensitive.
    pub authorization: Option<HeaderValue>,
}

/// Why a text names no proxy. No variant holds a part of the text, which may have a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// Another scheme than `http`.
    #[error("must be http://[user:password@]host:port")]
    Scheme,
    /// A path, query or fragment.
    #[error("has more than a host and a port")]
    Path,
    /// User or password with a broken `%` escape.
    #[error("user or password: % is followed by no two hexadecimal digits")]
    Escape,
    /// The host or port.
    #[error("{0}")]
    Target(#[from] TargetError),
}

impl Upstream {
    /// Reads `http://[user[:password]@]host[:port]` or the same without scheme; `%xx` in user and
    /// password is decoded.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, UpstreamError> {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err(UpstreamError::Scheme),
            None => text,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // The last @ ends the user's part: a password may have one that is not escaped.
        let (user, authority) = match rest.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, rest),
        };
        if authority.contains(['/', '?', '#']) {
            return Err(UpstreamError::Path);
        }
        let target = Target::parse(authority, Some(DEFAULT_PORT))?;
        let authorization = user.map(basic).transpose()?;
        Ok(Self { target, authorization })
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.fmt(f)
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `Basic` credentials (RFC 7617).
fn basic(user: &str) -> Result<HeaderValue, UpstreamError> {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let mut pair = unescape(name)?;
    pair.push(b':');
    pair.extend(unescape(password)?);
    let mut value = HeaderValue::from_str(&format!("Basic {}", base64(&pair)))
        .map_err(|_| UpstreamError::Escape)?;
    value.set_sensitive(true);
    Ok(value)
}

fn unescape(text: &str) -> Result<Vec<u8>, UpstreamError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = digit().zip(digit()).ok_or(UpstreamError::Escape)?;
        bytes.push((high * 16 + low) as u8);
    }
    Ok(bytes)
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = LETTERS.get((group >> (18 - 6 * at) & 63) as usize).copied();
            let letter = letter.filter(|_| at <= chunk.len()).unwrap_or(b'=');
            text.push(char::from(letter));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_read_with_user_and_password() {
        let upstream = Upstream::parse("http://us%40er:p%3Ass@Proxy.example:3128/").unwrap();
        assert_eq!(upstream.target.to_string(), "proxy.example:3128");
        // printf 'us@er:p:ss' | base64
        assert_eq!(upstream.authorization.as_ref().unwrap(), "Basic dXNAZXI6cDpzcw==");
        assert_eq!(format!("{upstream} {upstream:?}"), "proxy.example:3128 proxy.example:3128");
        assert_eq!(Upstream::parse("[::1]:3128").unwrap().authorization, None);
        assert_eq!(Upstream::parse("HTTP://proxy.example").unwrap().target.port, 80);
        assert!(Upstream::parse("http://u:p@ss@a:1").unwrap().authorization.is_some());
    }

    #[test]
    fn what_is_wrong_is_said_without_the_text() {
        let error = |text: &str| Upstream::parse(text).unwrap_err().to_string();
        assert_eq!(error("https://u:s3cret@a:1"), "must be http://[user:password@]host:port");
        assert_eq!(error("http://u:s3cret@a:1/x"), "has more than a host and a port");
        assert_eq!(
            error("http://u:%zz@a:1"),
            "user or password: % is followed by no two hexadecimal digits"
        );
        assert_eq!(error("http://u:s3cret@:1"), "the host is malformed");
        assert_eq!(error("http://u:s3cret@a:x"), "the port is missing or malformed");
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        // RFC 4648, section 10.
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_gives_a_proxy_or_an_error(text: String) {
            if let Ok(upstream) = Upstream::parse(&text) {
                proptest::prop_assert!(upstream.target.port > 0);
            }
        }
    }
}
