//! Requests on their way: what is remembered of each until its response is complete.

use super::name::Name;
use crate::app::event::{Draft, Events, Kind};
use crate::app::field::{App, Field};

/// Streams remembered at once; the oldest makes room.
pub const MAX_STREAMS: usize = 64;
/// Texts of all streams together, bytes; the oldest make room.
pub const MAX_TEXT_BYTES: usize = 12 * 1024;

/// The headers of one block that are reported. Each is taken once, cut to its limit.
#[derive(Debug, Default)]
pub struct Headers {
    method: Vec<u8>,
    path: Vec<u8>,
    authority: Vec<u8>,
    user_agent: Vec<u8>,
    pub status: Option<u16>,
    pub grpc_status: Option<u32>,
}

impl Headers {
    pub fn clear(&mut self) {
        for text in [&mut self.method, &mut self.path, &mut self.authority, &mut self.user_agent] {
            text.clear();
        }
        (self.status, self.grpc_status) = (None, None);
    }

    /// Takes a header if it is one of those; all others are passed over.
    pub fn take(&mut self, name: Name, value: &[u8]) {
        let text = match name {
            Name::Method => &mut self.method,
            Name::Path => &mut self.path,
            Name::Authority => &mut self.authority,
            Name::UserAgent => &mut self.user_agent,
            Name::Status => {
                self.status = self.status.or_else(|| number(value)?.try_into().ok());
                return;
            }
            Name::GrpcStatus => {
                self.grpc_status = self.grpc_status.or_else(|| number(value));
                return;
            }
            Name::Other => return,
        };
        if text.is_empty() {
            text.extend_from_slice(name.kept(value));
        }
    }

    pub fn is_request(&self) -> bool {
        !self.method.is_empty()
    }

    pub fn heap_bytes(&self) -> usize {
        let texts = [&self.method, &self.path, &self.authority, &self.user_agent];
        texts.into_iter().map(Vec::capacity).sum()
    }
}

/// A decimal number of at most 9 digits.
fn number(digits: &[u8]) -> Option<u32> {
    let is_number = matches!(digits.len(), 1..=9) && digits.iter().all(u8::is_ascii_digit);
    let value = |value: u32, digit: &u8| value * 10 + u32::from(digit - b'0');
    is_number.then(|| digits.iter().fold(0, value))
}

/// A request and what came of it.
#[derive(Debug)]
struct Stream {
    id: u32,
    began_us: u64,
    is_reported: bool,
    status: Option<u16>,
    grpc_status: Option<u32>,
    /// Method, path, authority and user agent, one after the other.
    text: Vec<u8>,
    lengths: [u16; 4],
}

impl Stream {
    /// Adds the request's attributes; what the request did not have is left out.
    fn describe(&self, draft: &mut Draft<'_>) {
        let fields =
            [Field::Http2Method, Field::Http2Path, Field::Http2Authority, Field::Http2UserAgent];
        let mut rest = &self.text[..];
        for (field, length) in fields.into_iter().zip(self.lengths) {
            let Some((text, after)) = rest.split_at_checked(usize::from(length)) else { return };
            if !text.is_empty() {
                draft.text(field, text);
            }
            rest = after;
        }
    }

    fn is_connect(&self) -> bool {
        let [method, ..] = self.lengths;
        self.text.get(..method.into()) == Some(b"CONNECT")
    }

    fn report_request(&mut self, events: &mut Events) {
        if !std::mem::replace(&mut self.is_reported, true) {
            self.describe(&mut events.begin(App::Http2, Kind::Request));
        }
    }
}

/// The streams of one connection that are open.
#[derive(Debug, Default)]
pub struct Streams {
    open: Vec<Stream>,
    /// The text of a stream that is gone, for the next.
    spare: Vec<u8>,
    /// Capacity of all texts.
    text_bytes: usize,
    last_id: u32,
    forgotten: u64,
}

impl Streams {
    /// A request's headers are complete. Headers of a stream that is known, or was, are trailers.
    pub fn request(&mut self, id: u32, began_us: u64, headers: &Headers) {
        if id.is_multiple_of(2) || id <= self.last_id || !headers.is_request() {
            return;
        }
        self.last_id = id;
        let parts = [&headers.method, &headers.path, &headers.authority, &headers.user_agent];
        let mut text = std::mem::take(&mut self.spare);
        text.clear();
        text.reserve_exact(parts.into_iter().map(Vec::len).sum());
        for part in parts {
            text.extend_from_slice(part);
        }
        while self.open.len() >= MAX_STREAMS
            || (self.text_bytes + text.capacity() > MAX_TEXT_BYTES && !self.open.is_empty())
        {
            // Streams are opened in the order of their numbers.
            let oldest = self.open.iter().enumerate().min_by_key(|(_, stream)| stream.id);
            self.remove(oldest.map_or(0, |(place, _)| place));
            self.spare = Vec::new();
            self.forgotten += 1;
        }
        self.text_bytes += text.capacity();
        self.open.push(Stream {
            id,
            began_us,
            is_reported: false,
            status: None,
            grpc_status: None,
            text,
            // What is kept of each is below 2^16.
            lengths: parts.map(|part| part.len() as u16),
        });
    }

    /// The request is complete. `is_last` when no response can be told.
    pub fn request_end(&mut self, id: u32, is_last: bool, events: &mut Events) {
        let Some(place) = self.find(id) else { return };
        self.open[place].report_request(events);
        if is_last {
            self.remove(place);
        }
    }

    /// Headers or trailers of a response are complete. Its request, if that is still under way, is
    /// reported first. The success of a CONNECT is a response by itself; a tunnel follows.
    pub fn response(&mut self, id: u32, headers: &Headers, now_us: u64, events: &mut Events) {
        let Some(place) = self.find(id) else { return };
        // 1xx announces the response; 101 does not exist here (RFC 9113 section 8.6).
        if headers.status.is_some_and(|status| status < 200) {
            return;
        }
        let stream = &mut self.open[place];
        stream.report_request(events);
        stream.status = stream.status.or(headers.status);
        stream.grpc_status = stream.grpc_status.or(headers.grpc_status);
        if stream.is_connect() && stream.status.is_some_and(|status| status < 300) {
            self.response_end(id, now_us, events);
        }
    }

    /// The response is complete.
    pub fn response_end(&mut self, id: u32, now_us: u64, events: &mut Events) {
        let Some(place) = self.find(id) else { return };
        let stream = &self.open[place];
        if let Some(status) = stream.status {
            let mut draft = events.begin(App::Http2, Kind::Response);
            draft.latency_us(now_us.saturating_sub(stream.began_us));
            stream.describe(&mut draft);
            draft.number(Field::Http2Status, u64::from(status));
            if let Some(grpc_status) = stream.grpc_status {
                draft.number(Field::GrpcStatus, u64::from(grpc_status));
            }
        }
        self.remove(place);
    }

    /// The stream ends without a complete response.
    pub fn reset(&mut self, id: u32) {
        if let Some(place) = self.find(id) {
            self.remove(place);
        }
    }

    /// No response can be told any more: keeps only what is not reported yet.
    pub fn without_responses(&mut self) {
        self.open.retain(|stream| !stream.is_reported);
        self.open.shrink_to_fit();
        self.text_bytes = self.open.iter().map(|stream| stream.text.capacity()).sum();
    }

    /// Whether there never was a request.
    pub fn is_untouched(&self) -> bool {
        self.last_id == 0
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Streams that made room before their response was complete.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    pub fn heap_bytes(&self) -> usize {
        self.open.capacity() * size_of::<Stream>() + self.spare.capacity() + self.text_bytes
    }

    fn find(&self, id: u32) -> Option<usize> {
        self.open.iter().position(|stream| stream.id == id)
    }

    fn remove(&mut self, place: usize) {
        let stream = self.open.swap_remove(place);
        self.text_bytes -= stream.text.capacity();
        self.spare = stream.text;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_of_a_header_counts_and_only_numbers_are_statuses() {
        let mut headers = Headers::default();
        for (name, value) in [
            (":status", "x"),
            (":status", "70000"),
            (":status", "201"),
            (":status", "500"),
            ("grpc-status", "-1"),
            ("grpc-status", "16"),
            (":authority", "first"),
            ("host", "second"),
        ] {
            headers.take(Name::of(name.as_bytes()), value.as_bytes());
        }
        assert_eq!((headers.status, headers.grpc_status), (Some(201), Some(16)));
        assert_eq!(headers.authority, b"first");
    }
}
