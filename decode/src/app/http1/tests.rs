use proptest::prelude::*;

use super::*;
use crate::app::{EventView, MAX_TEXT_BYTES, Value};

const MS: u64 = 1_000;

/// A connection: what was said when, and what was reported of it.
#[derive(Default)]
struct Talk {
    http: Http,
    events: Events,
    now_us: u64,
    ended: Option<Verdict>,
}

impl Talk {
    fn say(&mut self, from: Side, bytes: &[u8]) -> &mut Self {
        self.now_us += MS;
        if self.ended.is_none() && !bytes.is_empty() {
            let verdict = self.http.data(from, bytes, self.now_us, &mut self.events);
            self.ended = Some(verdict).filter(|verdict| *verdict != Verdict::More);
        }
        self
    }

    fn client(&mut self, text: &str) -> &mut Self {
        self.say(Side::Client, text.as_bytes())
    }

    fn server(&mut self, text: &str) -> &mut Self {
        self.say(Side::Server, text.as_bytes())
    }

    fn gap(&mut self, from: Side, lost: u64) -> &mut Self {
        self.now_us += MS;
        let _ = self.http.gap(from, lost, self.now_us, &mut self.events);
        self
    }

    fn end(&mut self, from: Side) -> &mut Self {
        self.now_us += MS;
        self.http.end(from, self.now_us, &mut self.events);
        self
    }

    fn lines(&self) -> Vec<String> {
        self.events.iter().map(|event| line(&event)).collect()
    }
}

fn text(event: &EventView<'_>, field: Field) -> String {
    match event.get(field) {
        Some(Value::Text(text)) => text.to_owned(),
        Some(Value::Number(number)) => number.to_string(),
        value => panic!("{field:?} {value:?}"),
    }
}

/// `GET /` for a request; `GET / 200 3` for a response after 3 ms, `-` for no latency.
fn line(event: &EventView<'_>) -> String {
    let asked = [Field::HttpMethod, Field::HttpUrl].map(|field| text(event, field)).join(" ");
    match event.kind {
        Kind::Request => asked,
        Kind::Response => {
            let latency = event.latency_us.map_or("-".into(), |us| (us / MS).to_string());
            format!("{asked} {} {latency}", text(event, Field::HttpStatus))
        }
        Kind::Facts => panic!("HTTP has no facts"),
    }
}

const GET_A: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
const GET_B: &str = "GET /b HTTP/1.1\r\nHost: x\r\n\r\n";
const OK_2: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

#[test]
fn a_response_repeats_the_texts_of_its_request() {
    let mut talk = Talk::default();
    talk.client(
        "GET /x?y HTTP/1.1\r\nhost: example.org\r\nreferer: http://r/\r\nuser-agent: me\r\n\r\n",
    );
    talk.server(OK_2);
    assert_eq!(talk.lines(), ["GET /x?y", "GET /x?y 200 1"]);
    for event in talk.events.iter() {
        assert_eq!(text(&event, Field::HttpHost), "example.org");
        assert_eq!(text(&event, Field::HttpReferer), "http://r/");
        assert_eq!(text(&event, Field::HttpUserAgent), "me");
    }
}

#[test]
fn absent_headers_are_empty_texts() {
    let mut talk = Talk::default();
    talk.client("GET / HTTP/1.0\r\n\r\n");
    let event = talk.events.get(0).unwrap();
    for field in [Field::HttpHost, Field::HttpReferer, Field::HttpUserAgent] {
        assert_eq!(event.get(field), Some(Value::Text("")));
    }
}

// One test for each row of the table of defects in spec 13.3.

#[test]
fn a_head_split_over_segments_is_joined() {
    let mut talk = Talk::default();
    talk.client("GET /abc")
        .client("def HTTP/1.1\r\nHost: exam")
        .client("ple.org\r")
        .client("\n\r\n");
    // The time of the request is that of its first byte: 4 ms before the answer.
    talk.server("HTTP/1.1 2").server("00 OK\r\nContent-Length: 0\r\n").server("\r\n");
    assert_eq!(talk.lines(), ["GET /abcdef", "GET /abcdef 200 6"]);
    assert_eq!(text(&talk.events.get(0).unwrap(), Field::HttpHost), "example.org");
}

#[test]
fn after_an_error_each_side_goes_on_at_the_next_message() {
    let mut talk = Talk::default();
    talk.client(GET_A).client("FOO\r\nbar\r\n\r\n").client(GET_B);
    talk.server(OK_2).server("FOO\r\n").server(NOT_FOUND);
    assert_eq!(talk.lines(), ["GET /a", "GET /b", "GET /a 200 3", "GET /b 404 3"]);
}

#[test]
fn answers_to_head_and_304_and_204_have_no_body() {
    let mut talk = Talk::default();
    talk.client("HEAD /h HTTP/1.1\r\n\r\n").server("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    talk.client(GET_A).server("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n");
    talk.client("DELETE /d HTTP/1.1\r\n\r\n").server("HTTP/1.1 204 No Content\r\n\r\n");
    talk.client(GET_B).server(OK_2);
    let expected = [
        "HEAD /h",
        "HEAD /h 200 1",
        "GET /a",
        "GET /a 304 1",
        "DELETE /d",
        "DELETE /d 204 1",
        "GET /b",
        "GET /b 200 1",
    ];
    assert_eq!(talk.lines(), expected);
}

#[test]
fn a_100_continue_is_no_answer() {
    let mut talk = Talk::default();
    talk.client("POST /p HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    talk.server("HTTP/1.1 100 Continue\r\n\r\n").client("body").server(OK_2);
    assert_eq!(talk.lines(), ["POST /p", "POST /p 200 3"]);
}

#[test]
fn messages_in_one_segment_are_reported_one_by_one() {
    let mut talk = Talk::default();
    talk.client(&[GET_A, GET_B].concat()).server(&[OK_2, NOT_FOUND].concat());
    assert_eq!(talk.lines(), ["GET /a", "GET /b", "GET /a 200 1", "GET /b 404 1"]);
}

#[test]
fn decoding_ends_with_an_upgrade() {
    let mut talk = Talk::default();
    talk.client("GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n");
    talk.server("HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(talk.ended, Some(Verdict::Done));
    assert_eq!(talk.lines(), ["GET /ws", "GET /ws 101 1"]);
}

#[test]
fn decoding_ends_with_a_tunnel() {
    let mut talk = Talk::default();
    talk.client("CONNECT x:443 HTTP/1.1\r\n\r\n").server("HTTP/1.1 200 OK\r\n\r\n\x16\x03\x01");
    assert_eq!(talk.ended, Some(Verdict::Done));
    assert_eq!(talk.lines(), ["CONNECT x:443", "CONNECT x:443 200 1"]);
}

#[test]
fn a_refused_tunnel_is_an_answer_like_others() {
    let mut talk = Talk::default();
    talk.client("CONNECT x:443 HTTP/1.1\r\n\r\n").server(NOT_FOUND).client(GET_A).server(OK_2);
    assert_eq!(talk.ended, None);
    assert_eq!(talk.lines(), ["CONNECT x:443", "CONNECT x:443 404 1", "GET /a", "GET /a 200 1"]);
}

#[test]
fn foo_is_neither_request_nor_response() {
    let mut talk = Talk::default();
    talk.client("FOO").server("FOO").client("\r\n\r\n").end(Side::Client).end(Side::Server);
    assert!(talk.events.is_empty());
}

#[test]
fn a_request_with_a_body_is_complete_at_its_end() {
    let mut talk = Talk::default();
    talk.client("POST /p HTTP/1.1\r\nContent-Length: 4\r\n\r\nbo");
    assert!(talk.events.is_empty());
    talk.client(&["dy", GET_A].concat());
    assert_eq!(talk.lines(), ["POST /p", "GET /a"]);
}

#[test]
fn chunked_messages_end_with_their_trailer() {
    let mut talk = Talk::default();
    talk.client("POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0");
    talk.client("\r\n\r\n");
    talk.server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    talk.server("0\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(talk.lines(), ["POST /p", "POST /p 200 3"]);
}

#[test]
fn an_early_answer_comes_after_its_request() {
    let mut talk = Talk::default();
    talk.client("POST /p HTTP/1.1\r\nContent-Length: 4\r\n\r\n").server(NOT_FOUND).client("body");
    assert_eq!(talk.lines(), ["POST /p", "POST /p 404 1"]);
}

#[test]
fn a_body_until_the_end_is_complete_with_it() {
    let mut talk = Talk::default();
    talk.client(GET_A).server("HTTP/1.0 200 OK\r\n\r\nabc").server("def");
    assert_eq!(talk.lines(), ["GET /a"]);
    talk.end(Side::Server);
    assert_eq!(talk.lines(), ["GET /a", "GET /a 200 3"]);
}

#[test]
fn a_broken_off_response_has_no_latency() {
    let mut talk = Talk::default();
    talk.client(GET_A).server("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").end(Side::Server);
    assert_eq!(talk.lines(), ["GET /a", "GET /a 200 -"]);
}

#[test]
fn a_response_without_a_request_is_not_reported() {
    let mut talk = Talk::default();
    talk.server(OK_2).client(GET_A).server(NOT_FOUND);
    assert_eq!(talk.lines(), ["GET /a", "GET /a 404 1"]);
}

#[test]
fn one_sided_requests_are_all_reported_and_64_wait() {
    let mut talk = Talk::default();
    for _ in 0..100 {
        talk.client(GET_A);
    }
    assert_eq!((talk.events.len(), talk.http.waiting.len()), (100, 100));
    for _ in 0..100 {
        talk.server(OK_2);
    }
    assert_eq!(talk.events.len(), 164);
    talk.client(GET_B).server(NOT_FOUND);
    assert_eq!(talk.lines()[164..], ["GET /b", "GET /b 404 1"]);
}

#[test]
fn one_sided_responses_find_each_other() {
    let mut talk = Talk::default();
    // The first two answer a HEAD and a GET that were not seen.
    talk.server("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").server(OK_2);
    talk.client(GET_A).server(OK_2);
    assert_eq!(talk.lines(), ["GET /a", "GET /a 200 1"]);
}

#[test]
fn a_gap_within_a_body_of_known_length_loses_nothing() {
    let mut talk = Talk::default();
    talk.client("POST /p HTTP/1.1\r\nContent-Length: 10\r\n\r\nab")
        .gap(Side::Client, 6)
        .client("yz");
    talk.server("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab").gap(Side::Server, 8);
    assert_eq!(talk.lines(), ["POST /p", "POST /p 200 4"]);
    talk.client(GET_A).server(OK_2);
    assert_eq!(talk.lines()[2..], ["GET /a", "GET /a 200 1"]);
}

#[test]
fn after_a_gap_each_side_goes_on_at_the_next_message() {
    let mut talk = Talk::default();
    talk.client("GET /lost HTTP/1.1\r\nHo")
        .gap(Side::Client, 50)
        .client("st: x\r\n\r\n")
        .client(GET_A);
    talk.server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\nabc");
    talk.gap(Side::Server, 9_000).server("tail\r\n0\r\n\r\n");
    talk.client(GET_B).server(NOT_FOUND);
    assert_eq!(talk.lines(), ["GET /a", "GET /a 200 -", "GET /b", "GET /b 404 1"]);
}

#[test]
fn a_lost_response_does_not_shift_those_that_follow() {
    let mut talk = Talk::default();
    talk.client(GET_A).gap(Side::Server, 100).client(GET_B).server(NOT_FOUND);
    assert_eq!(talk.lines(), ["GET /a", "GET /b", "GET /b 404 1"]);
}

#[test]
fn a_head_beyond_80_kib_is_given_up() {
    let mut talk = Talk::default();
    talk.client("GET /long HTTP/1.1\r\n");
    let header = format!("X-Filler: {}\r\n", "x".repeat(1000));
    for _ in 0..80 {
        talk.client(&header);
        assert!(talk.http.heap_bytes() <= direction::MAX_HEAD_BYTES);
    }
    talk.client(&header).client(&header);
    assert_eq!(talk.http.heap_bytes(), 0);
    talk.client("\r\n").client(GET_A).server(OK_2);
    assert_eq!(talk.lines(), ["GET /a", "GET /a 200 1"]);
}

#[test]
fn a_head_of_79_kib_is_read() {
    let mut talk = Talk::default();
    let header = format!("X-Filler: {}\r\n", "x".repeat(1000));
    talk.client(&format!("GET /long HTTP/1.1\r\n{}", header.repeat(79))).client("Host: h\r\n\r\n");
    assert_eq!(talk.lines(), ["GET /long"]);
    assert_eq!(text(&talk.events.get(0).unwrap(), Field::HttpHost), "h");
}

#[test]
fn texts_are_cut_at_their_limit() {
    let mut talk = Talk::default();
    let path = "/p".repeat(2_000);
    talk.client(&format!("GET {path} HTTP/1.1\r\n\r\n")).server(OK_2);
    for event in talk.events.iter() {
        assert_eq!(text(&event, Field::HttpUrl), path[..MAX_TEXT_BYTES]);
    }
}

#[test]
fn what_never_is_http_is_given_up() {
    let mut talk = Talk::default();
    for _ in 0..10 {
        talk.server(&"220 some other protocol\r\n".repeat(20));
    }
    assert_eq!(talk.ended, Some(Verdict::Wrong));
    assert!(talk.events.is_empty());
}

#[test]
fn time_that_goes_back_gives_no_negative_latency() {
    let mut talk = Talk { now_us: 10 * MS, ..Talk::default() };
    talk.client(GET_A).now_us = 0;
    talk.server(OK_2);
    assert_eq!(talk.lines(), ["GET /a", "GET /a 200 0"]);
}

#[test]
fn guesses_are_strict() {
    let client: [(&[u8], Guess); 14] = [
        (b"GET / HTTP/1.1\r\n", Guess::Yes),
        (b"GET /a/long/path/that/goes/on", Guess::Yes),
        (b"GET http://example.org/", Guess::Yes),
        (b"CONNECT example.org:443 HTTP/1.1\r\n", Guess::Yes),
        (b"GE", Guess::Maybe),
        (b"SSH-2.0-OpenSSH_9\r\n", Guess::No),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Guess::No),
        (b"INVITE sip:a@b SIP/2.0\r\n", Guess::No),
        (b"OPTIONS rtsp://h/ RTSP/1.0\r\n", Guess::No),
        (b"EHLO example.org\r\n", Guess::No),
        (b"\x16\x03\x01\x02\x00\x01", Guess::No),
        (b"*1\r\n$4\r\nPING\r\n", Guess::No),
        (b"", Guess::Maybe),
        (b"\0\0\0\x08\x04\xd2\x16\x2f", Guess::No),
    ];
    for (bytes, expected) in client {
        assert_eq!(guess(bytes, Side::Client), expected, "{bytes:?}");
    }
    let server: [(&[u8], Guess); 5] = [
        (b"HTTP/1.1 200 OK\r\n", Guess::Yes),
        (b"HTTP/1.1 2", Guess::Yes),
        (b"HTT", Guess::Maybe),
        (b"SIP/2.0 200 OK\r\n", Guess::No),
        (b"220 mail ESMTP\r\n", Guess::No),
    ];
    for (bytes, expected) in server {
        assert_eq!(guess(bytes, Side::Server), expected, "{bytes:?}");
    }
}

/// Pieces of conversations, whole and broken.
fn pieces() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            GET_A,
            GET_B,
            OK_2,
            NOT_FOUND,
            "HEAD / HTTP/1.1\r\n\r\n",
            "POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
            "FOO\r\n",
            "\r\n",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 1..60),
    ];
    prop::collection::vec((any::<bool>(), piece), 1..20)
}

fn side(is_client: bool) -> Side {
    if is_client { Side::Client } else { Side::Server }
}

proptest! {
    #[test]
    fn any_bytes_with_gaps_give_a_clean_result(
        steps in pieces(),
        gaps in prop::collection::vec((any::<bool>(), 1..40_u64), 20),
    ) {
        let mut talk = Talk::default();
        for ((is_client, bytes), (has_gap, lost)) in steps.iter().zip(gaps) {
            talk.say(side(*is_client), bytes);
            if has_gap {
                talk.gap(side(*is_client), lost);
            }
            prop_assert!(talk.http.heap_bytes() < 16 * 1024);
        }
        talk.end(Side::Client).end(Side::Server);
        for event in talk.events.iter() {
            prop_assert!(!line(&event).is_empty());
        }
    }

    #[test]
    fn where_segments_are_cut_changes_nothing(
        steps in pieces(),
        cuts in prop::collection::vec(1..20_usize, 1..10),
    ) {
        let mut whole = Talk::default();
        let mut cut = Talk::default();
        let mut sizes = cuts.iter().cycle();
        let mut was_blind = false;
        for (is_client, bytes) in &steps {
            whole.say(side(*is_client), bytes);
            let mut left = &bytes[..];
            while !left.is_empty() {
                let (now, later) = left.split_at((*sizes.next().unwrap()).min(left.len()));
                cut.now_us = whole.now_us - MS;
                cut.say(side(*is_client), now);
                left = later;
                was_blind |= cut.http.is_blind;
            }
            was_blind |= whole.http.is_blind;
        }
        // A blind response is told from a body by where a segment begins: leave those out.
        if !was_blind {
            prop_assert_eq!(whole.lines(), cut.lines());
        }
    }

    #[test]
    fn heads_are_read_as_httparse_reads_them(
        method in "[A-Z]{1,10}", target in "/[a-z?=&%]{0,20}",
        names in prop::collection::vec(
            prop::sample::select(vec!["Host", "user-agent", "REFERER", "Accept", "X-A"]), 0..6),
        values in prop::collection::vec("[ -~]{0,20}", 6),
    ) {
        let lines: String =
            names.iter().zip(&values).map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("{method} {target} HTTP/1.1\r\n{lines}\r\n");
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut oracle = httparse::Request::new(&mut headers);
        prop_assert!(oracle.parse(head.as_bytes()).unwrap().is_complete());
        let request = head::request(head.as_bytes()).unwrap();
        prop_assert_eq!(oracle.method.unwrap().as_bytes(), request.method);
        prop_assert_eq!(oracle.path.unwrap().as_bytes(), request.target);
        for (name, text) in
            [("host", request.host), ("user-agent", request.user_agent), ("referer", request.referer)]
        {
            let first = oracle.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            prop_assert_eq!(first.map_or(&b""[..], |header| header.value.trim_ascii()), text);
        }
    }
}
