//! Connections written by hand, frame by frame.

use proptest::prelude::*;

use super::*;
use crate::app::{Field, Kind, Value};

/// A literal header without indexing and without Huffman code.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        assert!(text.len() < 127 + 128);
        match text.len() {
            length @ ..127 => bytes.push(length as u8),
            length => bytes.extend_from_slice(&[127, (length - 127) as u8]),
        }
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    headers.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn get(path: &str) -> Vec<u8> {
    block(&[
        (":method", "GET"),
        (":path", path),
        (":authority", "host"),
        ("user-agent", "tester"),
        ("authorization", "Basic c2VjcmV0"),
        ("cookie", "secret=1"),
    ])
}

fn client_start() -> Vec<u8> {
    [&PREFACE[..], &frame(frame::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])].concat()
}

fn server_start() -> Vec<u8> {
    [frame(frame::SETTINGS, 0, 0, &[]), frame(frame::SETTINGS, 1, 0, &[])].concat()
}

/// `Q GET /path` or `R latency GET /path status grpc-status`.
fn told(events: &Events) -> Vec<String> {
    let line = |event: crate::app::EventView<'_>| {
        let mut line = match event.kind {
            Kind::Request => "Q".to_owned(),
            Kind::Response => format!("R {}", event.latency_us.unwrap()),
            Kind::Facts => panic!(),
        };
        for (field, value) in event.attributes() {
            match (field, value) {
                (Field::Http2Authority, value) => assert_eq!(value, Value::Text("host")),
                (Field::Http2UserAgent, value) => assert_eq!(value, Value::Text("tester")),
                (_, Value::Text(text)) => line = format!("{line} {text}"),
                (_, Value::Number(number)) => line = format!("{line} {number}"),
                (_, Value::Address(_)) => panic!(),
            }
        }
        line
    };
    events.iter().map(line).collect()
}

/// A connection after its beginning.
fn begun() -> (Http2, Events) {
    let (mut http2, mut events) = (Http2::new(), Events::default());
    assert_eq!(http2.data(Side::Client, &client_start(), 0, &mut events), Verdict::More);
    assert_eq!(http2.data(Side::Server, &server_start(), 0, &mut events), Verdict::More);
    (http2, events)
}

const END: u8 = frame::END_HEADERS | frame::END_STREAM;

#[test]
fn a_response_is_told_with_its_request_and_the_time_to_its_last_byte() {
    let (mut http2, mut events) = begun();
    let request = frame(frame::HEADERS, END, 1, &get("/a"));
    let _ = http2.data(Side::Client, &request[..5], 1_000, &mut events);
    let _ = http2.data(Side::Client, &request[5..], 1_500, &mut events);
    assert_eq!(told(&events), ["Q GET /a"]);
    let response = [
        frame(frame::HEADERS, frame::END_HEADERS, 1, &block(&[(":status", "404")])),
        frame(frame::DATA, frame::END_STREAM, 1, &[b'x'; 20_000]),
    ]
    .concat();
    let _ = http2.data(Side::Server, &response[..9_000], 2_000, &mut events);
    assert_eq!(events.len(), 1);
    assert!(http2.heap_bytes() < 4_000, "bodies are not kept: {}", http2.heap_bytes());
    let _ = http2.data(Side::Server, &response[9_000..], 4_000, &mut events);
    assert_eq!(told(&events), ["Q GET /a", "R 3000 GET /a 404"]);
    let event = events.get(1).unwrap();
    assert_eq!(event.get(Field::Http2Authority), Some(Value::Text("host")));
    assert!(!format!("{events:?}").contains("ecret"));
}

#[test]
fn the_status_of_a_grpc_call_is_in_the_trailers() {
    let (mut http2, mut events) = begun();
    let call = block(&[(":method", "POST"), (":path", "/svc/Do"), ("te", "trailers")]);
    let client = [
        frame(frame::HEADERS, frame::END_HEADERS, 1, &call),
        frame(frame::DATA, frame::END_STREAM, 1, b"\0\0\0\0\0"),
        frame(frame::HEADERS, END, 3, &call),
    ]
    .concat();
    let _ = http2.data(Side::Client, &client, 10, &mut events);
    let server = [
        frame(frame::HEADERS, frame::END_HEADERS, 1, &block(&[(":status", "200")])),
        frame(frame::DATA, 0, 1, b"\0\0\0\0\0"),
        frame(frame::HEADERS, END, 1, &block(&[("grpc-status", "7")])),
        // Trailers only.
        frame(frame::HEADERS, END, 3, &block(&[(":status", "200"), ("grpc-status", "12")])),
    ]
    .concat();
    let _ = http2.data(Side::Server, &server, 30, &mut events);
    assert_eq!(
        told(&events),
        ["Q POST /svc/Do", "Q POST /svc/Do", "R 20 POST /svc/Do 200 7", "R 20 POST /svc/Do 200 12"]
    );
}

#[test]
fn a_request_still_under_way_is_told_when_its_response_begins() {
    let (mut http2, mut events) = begun();
    let _ = http2.data(
        Side::Client,
        &frame(frame::HEADERS, frame::END_HEADERS, 1, &get("/stream")),
        0,
        &mut events,
    );
    assert!(events.is_empty());
    let early = frame(frame::HEADERS, frame::END_HEADERS, 1, &block(&[(":status", "103")]));
    let _ = http2.data(Side::Server, &early, 1, &mut events);
    assert!(events.is_empty());
    let head = frame(frame::HEADERS, frame::END_HEADERS, 1, &block(&[(":status", "200")]));
    let _ = http2.data(Side::Server, &head, 2, &mut events);
    assert_eq!(told(&events), ["Q GET /stream"]);
    let _ = http2.data(Side::Client, &frame(frame::DATA, 1, 1, b"x"), 3, &mut events);
    let _ = http2.data(Side::Server, &frame(frame::DATA, 1, 1, b""), 4, &mut events);
    assert_eq!(told(&events), ["Q GET /stream", "R 4 GET /stream 200"]);
}

#[test]
fn the_success_of_a_connect_does_not_wait_for_the_end_of_the_tunnel() {
    let (mut http2, mut events) = begun();
    let connect = |id| {
        let headers = block(&[(":method", "CONNECT"), (":authority", "host")]);
        frame(frame::HEADERS, frame::END_HEADERS, id, &headers)
    };
    let _ = http2.data(Side::Client, &[connect(1), connect(3)].concat(), 0, &mut events);
    let status =
        |id, status| frame(frame::HEADERS, frame::END_HEADERS, id, &block(&[(":status", status)]));
    let _ =
        http2.data(Side::Server, &[status(1, "200"), status(3, "403")].concat(), 7, &mut events);
    assert_eq!(told(&events), ["Q CONNECT", "R 7 CONNECT 200", "Q CONNECT"]);
    let _ = http2.data(Side::Client, &frame(frame::DATA, 0, 1, b"x"), 8, &mut events);
    for id in [1, 3] {
        let end = frame(frame::DATA, frame::END_STREAM, id, b"x");
        let _ = http2.data(Side::Server, &end, 900, &mut events);
    }
    assert_eq!(told(&events)[3..], ["R 900 CONNECT 403"]);
}

#[test]
fn padding_priorities_continuations_and_promises_are_understood() {
    let (mut http2, mut events) = begun();
    let headers = get("/long");
    let padded = [&[3, 0, 0, 0, 0, 7][..], &headers[..10], &[0; 3]].concat();
    let flags = frame::PADDED | frame::PRIORITY | frame::END_STREAM;
    let client = [
        frame(frame::HEADERS, flags, 1, &padded),
        frame(frame::CONTINUATION, 0, 1, &headers[10..20]),
        frame(frame::CONTINUATION, frame::END_HEADERS, 1, &headers[20..]),
    ]
    .concat();
    let _ = http2.data(Side::Client, &client, 0, &mut events);
    assert_eq!(told(&events), ["Q GET /long"]);
    // The promise adds to the table (index 62) what the response then uses.
    let promise = [&[0, 0, 0, 2][..], b"\x48\x03200"].concat();
    let server = [
        frame(frame::PUSH_PROMISE, frame::END_HEADERS, 1, &promise),
        frame(frame::HEADERS, END, 2, &[0xbe]),
        frame(frame::HEADERS, END, 1, &[0xbe]),
    ]
    .concat();
    let _ = http2.data(Side::Server, &server, 9, &mut events);
    assert_eq!(told(&events), ["Q GET /long", "R 9 GET /long 200"]);
}

#[test]
fn a_reset_stream_has_no_response() {
    let (mut http2, mut events) = begun();
    let _ = http2.data(Side::Client, &frame(frame::HEADERS, END, 1, &get("/a")), 0, &mut events);
    let server = [
        frame(frame::HEADERS, frame::END_HEADERS, 1, &block(&[(":status", "200")])),
        frame(frame::RST_STREAM, 0, 1, &[0, 0, 0, 2]),
        frame(frame::DATA, frame::END_STREAM, 1, b""),
    ]
    .concat();
    let _ = http2.data(Side::Server, &server, 0, &mut events);
    assert_eq!(told(&events), ["Q GET /a"]);
}

#[test]
fn a_gap_within_a_body_costs_nothing() {
    let (mut http2, mut events) = begun();
    let _ = http2.data(Side::Client, &frame(frame::HEADERS, END, 1, &get("/a")), 0, &mut events);
    let mut server = frame(frame::HEADERS, frame::END_HEADERS, 1, &block(&[(":status", "200")]));
    server.extend_from_slice(&[0, 0x40, 0, frame::DATA, frame::END_STREAM, 0, 0, 0, 1]);
    let _ = http2.data(Side::Server, &server, 1, &mut events);
    assert_eq!(http2.gap(Side::Server, 0x3000, 2, &mut events), Verdict::More);
    assert_eq!(http2.gap(Side::Server, 0x1000, 5, &mut events), Verdict::More);
    assert_eq!(told(&events), ["Q GET /a", "R 5 GET /a 200"]);
}

#[test]
fn a_gap_elsewhere_ends_the_headers_of_that_side_only() {
    let (mut http2, mut events) = begun();
    let request = |id, path| frame(frame::HEADERS, END, id, &get(path));
    let _ = http2.data(Side::Client, &request(1, "/a"), 0, &mut events);
    assert_eq!(http2.gap(Side::Server, 50, 1, &mut events), Verdict::More);
    let response = frame(frame::HEADERS, END, 1, &block(&[(":status", "200")]));
    assert_eq!(http2.data(Side::Server, &response, 1, &mut events), Verdict::More);
    assert_eq!(http2.data(Side::Client, &request(3, "/b"), 2, &mut events), Verdict::More);
    assert_eq!(told(&events), ["Q GET /a", "Q GET /b"]);
    assert!(http2.streams.is_empty());
    assert_eq!(http2.gap(Side::Client, 50, 3, &mut events), Verdict::Done);

    let (mut http2, mut events) = begun();
    let _ = http2.data(Side::Client, &request(1, "/a"), 0, &mut events);
    assert_eq!(http2.gap(Side::Client, 50, 1, &mut events), Verdict::More);
    assert_eq!(http2.data(Side::Server, &response, 7, &mut events), Verdict::Done);
    assert_eq!(told(&events), ["Q GET /a", "R 7 GET /a 200"]);
}

#[test]
fn damaged_header_blocks_end_the_headers_of_that_side() {
    let interrupted = [frame(frame::HEADERS, 0, 3, &[]), frame(frame::DATA, 0, 1, &[])].concat();
    let padded = frame(frame::HEADERS, END | frame::PADDED, 3, &[9, 0, 0]);
    let lonely = frame(frame::CONTINUATION, frame::END_HEADERS, 3, &[]);
    let damaged = frame(frame::HEADERS, END, 3, &[0x80]);
    for bytes in [interrupted, padded, lonely, damaged] {
        let (mut http2, mut events) = begun();
        assert_eq!(http2.data(Side::Client, &bytes, 0, &mut events), Verdict::Done);
        let request = frame(frame::HEADERS, END, 5, &get("/a"));
        assert_eq!(http2.data(Side::Client, &request, 0, &mut events), Verdict::Done);
        assert!(events.is_empty());
    }
}

/// A header block with this many headers of 200 bytes before the request's.
fn long_block(headers: usize) -> Vec<u8> {
    let one = literal("cookie", &"c".repeat(191));
    [one.repeat(headers), b"\x40\x05x-new\x01y".to_vec(), get("/long")].concat()
}

/// The frames of a block, each of at most 16 KiB.
fn in_frames(stream: u32, block: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = block.chunks(16 * 1024).collect();
    let mut frames = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let kind = if number == 0 { frame::HEADERS } else { frame::CONTINUATION };
        let stream_end = if number == 0 { frame::END_STREAM } else { 0 };
        let headers_end = if number + 1 == parts.len() { frame::END_HEADERS } else { 0 };
        frames.extend(frame(kind, stream_end | headers_end, stream, part));
    }
    frames
}

#[test]
fn headers_of_64_kib_are_read_and_the_table_stays_right() {
    let long = long_block(320);
    assert!(long.len() > 60 * 1024);
    let mut client = in_frames(1, &long);
    // One frame, and then the entry that the long block has added.
    client.extend(frame(frame::HEADERS, END, 3, &long_block(240)));
    let next = [&[0xbe, 0xbf][..], &get("/next")].concat();
    client.extend(frame(frame::HEADERS, END, 5, &next));
    for size in [client.len(), 1_460] {
        let (mut http2, mut events) = begun();
        for piece in client.chunks(size) {
            assert_eq!(http2.data(Side::Client, piece, 0, &mut events), Verdict::More);
            assert!(http2.heap_bytes() <= 128 * 1024);
        }
        assert_eq!(told(&events), ["Q GET /long", "Q GET /long", "Q GET /next"]);
        assert!(http2.heap_bytes() < 4_000, "{}", http2.heap_bytes());
    }
}

#[test]
fn headers_without_an_end_are_given_up_and_counted() {
    for bytes in [in_frames(3, &long_block(400)), frame(frame::HEADERS, END, 3, &[0; 65_537])] {
        let (mut http2, mut events) = begun();
        let _ =
            http2.data(Side::Client, &frame(frame::HEADERS, END, 1, &get("/a")), 0, &mut events);
        let verdict = bytes
            .chunks(1_460)
            .map(|piece| http2.data(Side::Client, piece, 0, &mut events))
            .find(|verdict| *verdict != Verdict::More);
        assert_eq!(verdict, Some(Verdict::Over));
        assert!(http2.heap_bytes() <= 128 * 1024);
        assert_eq!(told(&events), ["Q GET /a"]);
    }
}

#[test]
fn the_oldest_of_too_many_streams_is_forgotten_and_counted() {
    let (mut http2, mut events) = begun();
    for id in 0..100 {
        let request = frame(frame::HEADERS, END, 2 * id + 1, &get("/a"));
        let _ = http2.data(Side::Client, &request, 0, &mut events);
    }
    assert_eq!(http2.forgotten(), 36);
    for id in [71, 73] {
        let response = frame(frame::HEADERS, END, id, &block(&[(":status", "200")]));
        let _ = http2.data(Side::Server, &response, 1, &mut events);
    }
    assert_eq!(events.len(), 101);
    assert_eq!(told(&events)[100], "R 1 GET /a 200");
    let (mut http2, mut events) = begun();
    let path = "p".repeat(250);
    let headers = [get(&path), literal("x", "y")].concat();
    for id in 0..100 {
        let request = frame(frame::HEADERS, END, 2 * id + 1, &headers);
        let _ = http2.data(Side::Client, &request, 0, &mut events);
    }
    // 263 bytes of text each.
    assert_eq!(http2.forgotten(), 100 - 46);
}

#[test]
fn other_protocols_are_wrong_at_their_first_bytes() {
    let mut events = Events::default();
    for (side, bytes) in [
        (Side::Client, &b"GET / HTTP/1.1\r\n"[..]),
        (Side::Client, b"PRI * HTTP/1.1\r\n"),
        (Side::Server, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        (Side::Server, b"\0\0\0\x06\0\0\0\0\0"),
    ] {
        let mut http2 = Http2::new();
        let verdict = match http2.data(side, bytes, 0, &mut events) {
            // The length of the frame that its first bytes would be.
            Verdict::More => http2.data(side, &vec![b'x'; 1 << 24], 0, &mut events),
            verdict => verdict,
        };
        assert_eq!(verdict, Verdict::Wrong, "{}", bytes.escape_ascii());
    }
    assert!(events.is_empty());
    let (client, server) = (client_start(), server_start());
    assert_eq!(guess(&client, Side::Client), Guess::Yes);
    assert_eq!(guess(&client[..23], Side::Client), Guess::Maybe);
    assert_eq!(guess(b"PRI x", Side::Client), Guess::No);
    assert_eq!(guess(&server, Side::Server), Guess::Yes);
    for length in 1..9 {
        assert_eq!(guess(&server[..length], Side::Server), Guess::Maybe);
    }
    for other in [&b"HTTP/1.1 200"[..], b"SSH-2.0-x", b"\x16\x03\x03\0\x7a\x02\0\0\x76", b"\0\x40"]
    {
        assert_eq!(guess(other, Side::Server), Guess::No);
    }
}

/// Both sides of a connection with all kinds of frames.
fn conversation() -> [Vec<u8>; 2] {
    let headers = get("/three");
    let client = [
        client_start(),
        frame(frame::HEADERS, END, 1, &get("/one")),
        frame(frame::HEADERS, frame::END_HEADERS, 3, b"\x82\x44\x04/two\x41\x04host"),
        frame(8, 0, 0, &[0, 0, 1, 0]),
        frame(frame::DATA, frame::END_STREAM, 3, &[7; 300]),
        frame(frame::HEADERS, frame::END_STREAM, 5, &headers[..30]),
        frame(frame::CONTINUATION, frame::END_HEADERS, 5, &headers[30..]),
        frame(frame::HEADERS, END, 7, b"\x82\xbf\xbe"),
    ];
    let server = [
        server_start(),
        frame(frame::HEADERS, END, 3, b"\x88\x0f\x10\x01x"),
        frame(frame::HEADERS, frame::END_HEADERS, 1, b"\x8d"),
        frame(frame::DATA, frame::PADDED, 1, &[2, 1, 0, 0]),
        frame(frame::DATA, frame::END_STREAM, 1, &[]),
        frame(frame::HEADERS, frame::END_HEADERS, 5, b"\x40\x07:status\x03204"),
        frame(frame::HEADERS, END, 5, &literal("grpc-status", "0")),
        frame(frame::HEADERS, END, 7, b"\xbe"),
    ];
    [client.concat(), server.concat()]
}

#[test]
fn a_table_entry_of_one_block_serves_the_next() {
    let [client, server] = conversation();
    let (mut http2, mut events) = (Http2::new(), Events::default());
    assert_eq!(http2.data(Side::Client, &client, 0, &mut events), Verdict::More);
    assert_eq!(http2.data(Side::Server, &server, 3, &mut events), Verdict::More);
    assert_eq!(
        told(&events),
        [
            "Q GET /one",
            "Q GET /two",
            "Q GET /three",
            "Q GET /two",
            "R 3 GET /two 200",
            "R 3 GET /one 404",
            "R 3 GET /three 204 0",
            "R 3 GET /two 204",
        ]
    );
}

proptest! {
    #[test]
    fn any_cuts_give_the_same_events(
        first in prop::collection::vec(1..120_usize, 1..20),
        second in prop::collection::vec(1..120_usize, 1..20))
    {
        let decode = |cuts: [&[usize]; 2]| {
            let (mut http2, mut events) = (Http2::new(), Events::default());
            let sides = [Side::Client, Side::Server];
            for ((side, cuts), bytes) in sides.into_iter().zip(cuts).zip(&conversation()) {
                let mut rest = &bytes[..];
                for cut in cuts.iter().cycle() {
                    let (now, later) = rest.split_at(rest.len().min(*cut));
                    assert_eq!(http2.data(side, now, 5, &mut events), Verdict::More);
                    rest = later;
                    if rest.is_empty() {
                        break;
                    }
                }
            }
            told(&events)
        };
        prop_assert_eq!(decode([&first, &second]), decode([&[10_000], &[10_000]]));
    }

    #[test]
    fn long_blocks_of_both_sides_are_bounded_alike_however_they_are_cut(
        fillers in prop::collection::vec((0..340_usize, 0..340_usize), 1..4),
        // Sizes of tables, as the other side allows them and as the first block says.
        tables in [0..3_u8, 0..3_u8],
        turns in prop::collection::vec((any::<bool>(), 1..50_000_usize), 1..20),
        size in 300..5_000_usize)
    {
        const ALLOW: [u8; 6] = [0, 1, 0, 1, 0, 0];
        let allows = frame(frame::SETTINGS, 0, 0, &ALLOW);
        let mut streams = [client_start(), server_start()];
        for (side, table) in tables.into_iter().enumerate() {
            streams[side].extend(&allows);
            let resize: &[u8] = [&[][..], &[0x3f, 0xe1, 0x7f], &[0x3f, 0xe1, 0xff, 0x03]][usize::from(table)];
            for (number, filler) in (0..).zip(&fillers) {
                let headers = if side == 0 { filler.0 } else { filler.1 };
                let resize = if number == 0 { resize } else { &[] };
                let block = [resize, &long_block(headers)].concat();
                streams[side].extend(in_frames(2 * number + 1, &block));
            }
        }
        let decode = |size: usize| {
            let (mut http2, mut events) = (Http2::new(), Events::default());
            let (mut at, mut verdict) = ([0, 0], Verdict::More);
            for (server, len) in &turns {
                let side = usize::from(*server);
                let from = [Side::Client, Side::Server][side];
                let rest = &streams[side][at[side]..];
                let now = &rest[..rest.len().min(*len)];
                at[side] += now.len();
                for piece in now.chunks(size) {
                    if verdict == Verdict::More {
                        verdict = http2.data(from, piece, 0, &mut events);
                    }
                    assert!(http2.heap_bytes() <= 128 * 1024, "{}", http2.heap_bytes());
                }
            }
            (told(&events), verdict)
        };
        prop_assert_eq!(decode(size), decode(usize::MAX));
    }

    #[test]
    fn any_frames_give_a_bounded_result(steps in prop::collection::vec(
        (any::<bool>(), 0..12_u8, any::<u8>(), 0..200_u32,
         prop::collection::vec(any::<u8>(), 0..600), 0..40_usize), 0..80))
    {
        let (mut http2, mut events) = begun();
        for (server, kind, flags, stream, payload, times) in steps {
            let side = if server { Side::Server } else { Side::Client };
            let payload = payload.repeat(times);
            let verdict = match kind {
                10 => http2.gap(side, u64::from(stream), 0, &mut events),
                11 => http2.data(side, if payload.is_empty() { b"x" } else { &payload }, 0, &mut events),
                _ => http2.data(side, &frame(kind, flags, stream, &payload), 0, &mut events),
            };
            prop_assert!(http2.heap_bytes() <= 128 * 1024);
            if verdict != Verdict::More {
                break;
            }
        }
        http2.end(Side::Client, 0, &mut events);
        http2.end(Side::Server, 0, &mut events);
    }
}
