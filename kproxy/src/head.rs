//! The head of a request, judged before the HTTP library sees it.
//!
//! Two programs that disagree on where a request ends can be made to see different requests
//! (RFC 9112, sections 6.3 and 11.2). The library mends what is ambiguous without a word; a proxy
//! has to refuse it: two lengths, a length beside a transfer coding, a coding other than `chunked`,
//! a line that ends without CR, no `Host` or more than one.

use httparse::{EMPTY_HEADER, Request, Status};

/// Longest request head in bytes, the empty line included.
pub const MAX_HEAD_BYTES: usize = 8 << 10;
/// Most header fields of a request.
const MAX_HEADERS: usize = 100;
/// Digits of the longest length: 10^18 bytes are more than anybody sends.
const MAX_LENGTH_DIGITS: usize = 18;

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// More than 8 KiB, or more than 100 fields.
    #[error("the request head is longer than 8 KiB or has more than 100 fields")]
    TooLong,
    /// No HTTP/1 request.
    #[error("not an HTTP/1 request")]
    Malformed,
    /// A line that ends with LF alone.
    #[error("a line ends without CR")]
    BareLineFeed,
    /// Content-Length twice, or no number.
    #[error("Content-Length is no single number")]
    Length,
    /// A transfer coding that is not exactly `chunked`, or one in HTTP/1.0.
    #[error("Transfer-Encoding is not just chunked")]
    Coding,
    /// Both.
    #[error("Content-Length and Transfer-Encoding contradict each other")]
    LengthAndCoding,
    /// CONNECT with a body.
    #[error("CONNECT has no body")]
    ConnectBody,
    /// HTTP/1.1 without Host, or more than one.
    #[error("there must be one Host field")]
    Host,
    /// A request sent before the answer to the one before it.
    #[error("a request came before the answer to the one before it")]
    Pipelined,
}

/// Where the head that starts `bytes` ends, looking from `from` on; everything before `from` has
/// been looked at already.
pub fn end(bytes: &[u8], from: usize) -> Option<usize> {
    // The end may have begun three bytes before.
    let start = from.saturating_sub(3);
    let rest = bytes.get(start..)?;
    rest.iter().enumerate().filter(|(_, byte)| **byte == b'\n').find_map(|(at, _)| {
        match rest.get(at + 1..)? {
            [b'\n', ..] => Some(start + at + 2),
            [b'\r', b'\n', ..] => Some(start + at + 3),
            _ => None,
        }
    })
}

/// Judges a head as [`end`] found it.
///
/// # Errors
/// Why it is refused.
pub fn check(head: &[u8]) -> Result<(), HeadError> {
    if head.len() > MAX_HEAD_BYTES {
        return Err(HeadError::TooLong);
    }
    let mut before = None;
    for &byte in head {
        if byte == b'\n' && before != Some(b'\r') {
            return Err(HeadError::BareLineFeed);
        }
        before = Some(byte);
    }
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = Request::new(&mut headers);
    match request.parse(head) {
        Ok(Status::Complete(length)) if length == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLong),
        _ => return Err(HeadError::Malformed),
    }
    let is_11 = request.version == Some(1);
    let values = |name: &str| {
        let named =
            request.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value.trim_ascii()).collect::<Vec<_>>()
    };
    let hosts = values("host").len();
    if hosts > 1 || (is_11 && hosts == 0) {
        return Err(HeadError::Host);
    }
    let length = match values("content-length")[..] {
        [] => None,
        [digits] if is_length(digits) => Some(digits),
        _ => return Err(HeadError::Length),
    };
    let has_coding = match values("transfer-encoding")[..] {
        [] => false,
        [coding] if is_11 && coding.eq_ignore_ascii_case(b"chunked") => true,
        _ => return Err(HeadError::Coding),
    };
    if has_coding && length.is_some() {
        return Err(HeadError::LengthAndCoding);
    }
    let has_body = has_coding || length.is_some_and(|digits| digits.iter().any(|&d| d != b'0'));
    if request.method == Some("CONNECT") && has_body {
        return Err(HeadError::ConnectBody);
    }
    Ok(())
}

fn is_length(digits: &[u8]) -> bool {
    (1..=MAX_LENGTH_DIGITS).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn post(fields: &str) -> Result<(), HeadError> {
        check(format!("POST http://a/ HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes())
    }

    #[test]
    fn plain_requests_pass() {
        for fields in [
            "",
            "Content-Length: 0\r\n",
            "content-length:  17 \r\n",
            "Transfer-Encoding: Chunked\r\nExpect: 100-continue\r\n",
        ] {
            assert_eq!(post(fields), Ok(()), "{fields}");
        }
        assert_eq!(check(b"GET http://a/ HTTP/1.0\r\n\r\n"), Ok(()));
        assert_eq!(check(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"), Ok(()));
    }

    #[test]
    fn what_two_programs_could_read_differently_is_refused() {
        for (fields, error) in [
            ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", HeadError::LengthAndCoding),
            ("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", HeadError::LengthAndCoding),
            ("Content-Length: 1\r\nContent-Length: 2\r\n", HeadError::Length),
            ("Content-Length: 1\r\nContent-Length: 1\r\n", HeadError::Length),
            ("Content-Length: 1, 1\r\n", HeadError::Length),
            ("Content-Length: +1\r\n", HeadError::Length),
            ("Content-Length: 0x1\r\n", HeadError::Length),
            ("Content-Length:\r\n", HeadError::Length),
            ("Content-Length: 1000000000000000000\r\n", HeadError::Length),
            ("Transfer-Encoding: gzip, chunked\r\n", HeadError::Coding),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", HeadError::Coding),
            ("Transfer-Encoding: identity\r\n", HeadError::Coding),
            ("Transfer-Encoding: \x0bchunked\r\n", HeadError::Malformed),
            ("Transfer-Encoding : chunked\r\n", HeadError::Malformed),
            ("X: a\r\n folded\r\n", HeadError::Malformed),
            ("X: a\nY: b\r\n", HeadError::BareLineFeed),
            ("X: a\rY: b\r\n", HeadError::Malformed),
            ("Host: b\r\n", HeadError::Host),
        ] {
            assert_eq!(post(fields), Err(error), "{fields:?}");
        }
        assert_eq!(check(b"GET http://a/ HTTP/1.1\r\n\r\n"), Err(HeadError::Host));
        let coding_in_10 = b"POST http://a/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(check(coding_in_10), Err(HeadError::Coding));
        let body = b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 9\r\n\r\n";
        assert_eq!(check(body), Err(HeadError::ConnectBody));
        assert_eq!(check(b"PRI * HTTP/2.0\r\n\r\n"), Err(HeadError::Malformed));
        assert_eq!(check(b"\x16\x03\x01\x02\n\r\n"), Err(HeadError::BareLineFeed));
    }

    #[test]
    fn a_head_has_at_most_8_kib_and_100_fields() {
        let with = |size: usize| {
            let frame = "GET http://a/ HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
            post_like(&format!("X: {}\r\n", "x".repeat(size - frame)))
        };
        assert_eq!(with(8192), Ok(()));
        assert_eq!(with(8193), Err(HeadError::TooLong));
        assert_eq!(post(&"X: 1\r\n".repeat(99)), Ok(()));
        assert_eq!(post(&"X: 1\r\n".repeat(100)), Err(HeadError::TooLong));
    }

    fn post_like(fields: &str) -> Result<(), HeadError> {
        check(format!("GET http://a/ HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes())
    }

    #[test]
    fn the_end_is_found_wherever_the_bytes_were_cut() {
        let bytes = b"GET / HTTP/1.1\r\nA: b\r\n\r\nbody\r\n\r\n";
        assert_eq!(end(bytes, 0), Some(24));
        for cut in 0..24 {
            assert_eq!(end(&bytes[..cut], 0), None);
            assert_eq!(end(bytes, cut), Some(24), "{cut}");
        }
        assert_eq!(end(b"GET /\n\nx", 0), Some(7));
    }

    proptest! {
        #[test]
        fn any_bytes_get_a_verdict(bytes: Vec<u8>) {
            if let Some(end) = end(&bytes, 0) {
                let _ = check(&bytes[..end]);
            }
        }
    }
}
