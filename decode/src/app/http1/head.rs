//! Start lines and header sections (RFC 9112 sections 2–6). Lenient, as servers are: lines may end
//! in a bare LF, and a malformed header line is passed over.

use memchr::memchr;

/// Longest method that is believed, bytes.
pub(super) const MAX_METHOD_BYTES: usize = 24;

/// How the body of a message is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Nothing says so: no body in a request, until the end in a response.
    Unsaid,
    /// By its length, bytes.
    Length(u64),
    /// By chunks.
    Chunked,
}

/// A request without its body. Absent headers are empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    pub(super) method: &'a [u8],
    pub(super) target: &'a [u8],
    pub(super) host: &'a [u8],
    pub(super) referer: &'a [u8],
    pub(super) user_agent: &'a [u8],
    pub(super) framing: Framing,
}

/// A response without its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) framing: Framing,
}

/// The start line's method and target; `None` for what is no request line of HTTP/1.
pub(super) fn request_line(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.trim_ascii_end();
    let (method, rest) = line.split_at_checked(memchr(b' ', line)?)?;
    if method.is_empty() || method.len() > MAX_METHOD_BYTES || !method.iter().all(is_method_byte) {
        return None;
    }
    let (target, version) = rest.split_at_checked(rest.len().checked_sub(9)?)?;
    let target = target.trim_ascii();
    let is_version =
        matches!(version, [b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0'..=b'9']);
    (is_version && !target.is_empty()).then_some((method, target))
}

/// Methods are tokens of any kind by the letter; those in use are upper case.
fn is_method_byte(byte: &u8) -> bool {
    byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_')
}

/// The status of a status line of HTTP/1, else `None`.
pub(super) fn status_line(line: &[u8]) -> Option<u16> {
    let rest = line.trim_ascii_end().strip_prefix(b"HTTP/1.")?;
    let (minor, rest) = rest.split_first()?;
    let [b' ', digits @ ..] = rest else { return None };
    let (digits, rest) = digits.split_first_chunk::<3>()?;
    let is_status = minor.is_ascii_digit()
        && digits.iter().all(u8::is_ascii_digit)
        && digits[0] != b'0'
        && matches!(rest.first(), None | Some(b' '));
    is_status.then(|| digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0')))
}

/// Whether a line that starts with these bytes can be a request line.
pub(super) fn can_start_request(bytes: &[u8]) -> bool {
    let bytes = bytes.get(..=MAX_METHOD_BYTES).unwrap_or(bytes);
    match bytes.iter().position(|byte| !is_method_byte(byte)) {
        Some(end) => end > 0 && bytes.get(end) == Some(&b' '),
        None => bytes.len() <= MAX_METHOD_BYTES,
    }
}

/// Whether a line that starts with these bytes can be a status line.
pub(super) fn can_start_response(bytes: &[u8]) -> bool {
    let prefix = b"HTTP/1.";
    let len = bytes.len().min(prefix.len());
    bytes.get(..len) == prefix.get(..len)
}

/// Reads a whole head, start line to empty line.
pub(super) fn request(head: &[u8]) -> Option<Request<'_>> {
    let (line, headers) = split_line(head);
    let (method, target) = request_line(line)?;
    let fields = Fields::read(headers);
    let Fields { host, referer, user_agent, .. } = fields;
    let [host, referer, user_agent] = [host, referer, user_agent].map(Option::unwrap_or_default);
    Some(Request { method, target, host, referer, user_agent, framing: fields.framing() })
}

/// Reads a whole head, start line to empty line.
pub(super) fn response(head: &[u8]) -> Option<Response> {
    let (line, headers) = split_line(head);
    let status = status_line(line)?;
    Some(Response { status, framing: Fields::read(headers).framing() })
}

/// The headers of interest, the first of each.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a [u8]>,
    referer: Option<&'a [u8]>,
    user_agent: Option<&'a [u8]>,
    content_length: Option<u64>,
    /// There is a transfer coding, and the last one is that of chunks.
    chunked: Option<bool>,
}

impl<'a> Fields<'a> {
    fn read(mut headers: &'a [u8]) -> Self {
        let mut fields = Self::default();
        while !headers.is_empty() {
            let (line, rest) = split_line(headers);
            headers = rest;
            // The first letter tells most lines apart from those of interest.
            match line.first().map(u8::to_ascii_lowercase) {
                Some(b'h') => first(&mut fields.host, value_of(line, b"host")),
                Some(b'r') => first(&mut fields.referer, value_of(line, b"referer")),
                Some(b'u') => first(&mut fields.user_agent, value_of(line, b"user-agent")),
                Some(b'c') => {
                    let length = value_of(line, b"content-length").and_then(decimal);
                    first(&mut fields.content_length, length);
                }
                Some(b't') => {
                    let coding = value_of(line, b"transfer-encoding");
                    fields.chunked = coding.map(ends_with_chunked).or(fields.chunked);
                }
                _ => {}
            }
        }
        fields
    }

    fn framing(&self) -> Framing {
        // A coding makes a length void (RFC 9112 section 6.3).
        match (self.chunked, self.content_length) {
            (Some(true), _) => Framing::Chunked,
            (None, Some(length)) => Framing::Length(length),
            (Some(false), _) | (None, None) => Framing::Unsaid,
        }
    }
}

/// The value of a header line with this name, in lower case here.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (found, value) = line.split_at_checked(name.len())?;
    let value = value.strip_prefix(b":")?;
    found.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

fn first<T>(place: &mut Option<T>, value: Option<T>) {
    *place = place.take().or(value);
}

/// The first line, without its end, and what follows it.
fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let Some(end) = memchr(b'\n', bytes) else { return (bytes, &[]) };
    let (line, rest) = bytes.split_at(end);
    (line.strip_suffix(b"\r").unwrap_or(line), rest.get(1..).unwrap_or_default())
}

fn decimal(text: &[u8]) -> Option<u64> {
    // A list of equal lengths is allowed: the first stands for all.
    let digits = text.split(|&byte| byte == b',').next()?.trim_ascii_end();
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

fn ends_with_chunked(value: &[u8]) -> bool {
    let start = value.len().saturating_sub(7);
    value.get(start..).is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_have_any_case_and_values_no_space_around_them() {
        let head =
            b"POST /a?b=c HTTP/1.1\r\nhOST:  example.org \r\nREFERER:x\r\nUser-agent: \t me \r\n\
            Content-Length: 12\r\nno header at all\r\nHost: second\r\n\r\n";
        let expected = Request {
            method: b"POST",
            target: b"/a?b=c",
            host: b"example.org",
            referer: b"x",
            user_agent: b"me",
            framing: Framing::Length(12),
        };
        assert_eq!(request(head), Some(expected));
    }

    #[test]
    fn absent_headers_are_empty() {
        let request = request(b"GET / HTTP/1.0\n\n").unwrap();
        assert_eq!(
            (request.host, request.referer, request.user_agent),
            (&b""[..], &b""[..], &b""[..])
        );
        assert_eq!(request.framing, Framing::Unsaid);
    }

    #[test]
    fn chunks_win_over_a_length() {
        let head =
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n";
        assert_eq!(response(head), Some(Response { status: 200, framing: Framing::Chunked }));
    }

    #[test]
    fn with_another_coding_a_response_lasts_until_the_end() {
        for codings in ["Transfer-Encoding: gzip", "transfer-encoding: chunked, gzip"] {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{codings}\r\n\r\n");
            let response = response(head.as_bytes());
            assert_eq!(response, Some(Response { status: 200, framing: Framing::Unsaid }));
        }
        let head =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(response(head), Some(Response { status: 200, framing: Framing::Chunked }));
    }

    #[test]
    fn start_lines_are_told_from_other_lines() {
        assert_eq!(request_line(b"GET /a b HTTP/1.1\r"), Some((&b"GET"[..], &b"/a b"[..])));
        for line in
            ["FOO", "GET /", "GET HTTP/1.1", "GET / HTTP/2.0", "PRI * HTTP/2.0", "", " / HTTP/1.1"]
        {
            assert_eq!(request_line(line.as_bytes()), None, "{line}");
        }
        assert_eq!(status_line(b"HTTP/1.1 404 Not Found\r"), Some(404));
        assert_eq!(status_line(b"HTTP/1.0 204"), Some(204));
        for line in [
            "FOO",
            "HTTP/1.1",
            "HTTP/1.1 20",
            "HTTP/1.1 2000 OK",
            "HTTP/2.0 200 OK",
            "HTTP/1.1 099 x",
        ] {
            assert_eq!(status_line(line.as_bytes()), None, "{line}");
        }
        assert!(
            can_start_request(b"") && can_start_request(b"GE") && can_start_request(b"M-SEARCH *")
        );
        assert!(
            !can_start_request(b" GET")
                && !can_start_request(b"SSH-2.0")
                && !can_start_request(&[b'A'; 25])
        );
        assert!(can_start_response(b"HT") && !can_start_response(b"HTTP/2.0"));
    }

    #[test]
    fn lengths_that_are_no_numbers_are_none() {
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(decimal(b"7, 7"), Some(7));
        for text in ["", "-1", "1x", "18446744073709551616", "99999999999999999999999"] {
            assert_eq!(decimal(text.as_bytes()), None, "{text}");
        }
    }
}
