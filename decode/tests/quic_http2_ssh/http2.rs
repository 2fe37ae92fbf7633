//! curl and nginx, nghttp and nghttpd, gRPC by grpcio.

use std::collections::{BTreeMap, BTreeSet};

use decode::app::http2::Http2;
use decode::app::stream::Segment;
use decode::app::{
    Budget, Classify, Events, Field, Kind, Peer, PortLists, Ports, StreamDecoder, TcpConversation,
    Value, Verdict,
};

use crate::recording::{Recorded, connections, line, recording, tshark};

/// Requests, and responses with their latency in µs, in the order they were told; `tshark` has to
/// find the same requests and statuses.
fn told(name: &str, port: u16) -> Vec<String> {
    let mut events = Events::default();
    let connections = connections(&recording(name), port, Http2::new, &mut events);
    for (http2, verdict) in &connections {
        assert_eq!((*verdict, http2.forgotten()), (Verdict::More, 0));
        assert!(http2.heap_bytes() < 8 * 1024, "{}", http2.heap_bytes());
    }
    assert!(!format!("{events:?}").contains("ecret"));

    let values = |kind, field| -> Vec<String> {
        let text = |value| match value {
            Value::Text(text) => text.to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Address(_) => panic!(),
        };
        let of_kind = events.iter().filter(|event| event.kind == kind);
        of_kind.filter_map(|event| event.get(field).map(text)).collect()
    };
    let compared = [
        ("http2.headers.method", Kind::Request, Field::Http2Method),
        ("http2.headers.path", Kind::Request, Field::Http2Path),
        ("http2.headers.authority", Kind::Request, Field::Http2Authority),
        ("http2.headers.user_agent", Kind::Request, Field::Http2UserAgent),
        ("http2.headers.status", Kind::Response, Field::Http2Status),
    ];
    let fields = compared.map(|(field, ..)| field);
    let theirs = tshark(name, &format!("tcp.port=={port},http2"), "http2", &fields);
    for (mut theirs, (field, kind, own)) in theirs.unwrap_or_default().into_iter().zip(compared) {
        // It shows responses as they begin, we tell them as they end.
        let mut ours = values(kind, own);
        theirs.sort_unstable();
        ours.sort_unstable();
        assert_eq!(theirs, ours, "{field}");
    }

    let describe = |event| match event {
        (line, None) => format!("Q {line}"),
        (line, Some(latency_us)) => format!("R {latency_us} {line}"),
    };
    events.iter().map(|event| describe((line(&event), event.latency_us))).collect()
}

#[test]
fn curl_and_nginx() {
    assert_eq!(
        told("http2/curl_nginx.pcap", 8080),
        [
            "Q GET /index.html 10.9.0.2:8080 recorder/1",
            "R 292 GET /index.html 10.9.0.2:8080 recorder/1 200",
            "Q GET /moved?a=b 10.9.0.2:8080 recorder/1",
            "R 142 GET /moved?a=b 10.9.0.2:8080 recorder/1 302",
            "Q GET /none 10.9.0.2:8080 recorder/1",
            "R 108 GET /none 10.9.0.2:8080 recorder/1 404",
            "Q GET /large.txt 10.9.0.2:8080 recorder/1",
            "R 142 GET /large.txt 10.9.0.2:8080 recorder/1 200",
        ]
    );
}

#[test]
fn nghttp_and_nghttpd_with_padding_priorities_and_trailers() {
    let host = "10.9.0.2:8081 nghttp2/1.52.0";
    assert_eq!(
        told("http2/nghttp_nghttpd.pcap", 8081),
        [
            format!("Q GET /index.html {host}"),
            format!("Q GET /none {host}"),
            format!("Q GET /index.html?again {host}"),
            format!("R 139 GET /index.html {host} 200 3"),
            format!("R 139 GET /none {host} 404 3"),
            format!("R 139 GET /index.html?again {host} 200 3"),
            format!("Q POST /index.html {host}"),
            format!("R 46 POST /index.html {host} 200 3"),
        ]
    );
}

#[test]
fn grpc_calls_have_the_status_of_their_trailers() {
    let host = "10.9.0.2:8082 grpc-python/1.85.3 grpc-c/58.0.0 (linux; chttp2)";
    assert_eq!(
        told("http2/grpc.pcap", 8082),
        [
            format!("Q POST /test.Service/Unary {host}"),
            format!("R 896 POST /test.Service/Unary {host} 200 0"),
            format!("Q POST /test.Service/Missing {host}"),
            format!("R 364 POST /test.Service/Missing {host} 200 5"),
            format!("Q POST /test.Service/Unknown {host}"),
            format!("R 3030 POST /test.Service/Unknown {host} 200 12"),
            format!("Q POST /test.Service/Stream {host}"),
            format!("R 960 POST /test.Service/Stream {host} 200 0"),
        ]
    );
}

#[test]
fn headers_that_take_several_frames() {
    let host = "10.9.0.2:8081 nghttp2/1.52.0";
    let told = told("http2/long_headers.pcap", 8081);
    let told: Vec<&str> = told.iter().map(String::as_str).collect();
    let [first, second, third, fourth] = told[..] else { panic!("{told:?}") };
    assert_eq!(first, format!("Q GET /index.html?one {host}"));
    assert_eq!(second, format!("Q GET /none?two {host}"));
    assert!(third.ends_with(&format!(" GET /index.html?one {host} 200 3")), "{third}");
    assert!(fourth.ends_with(&format!(" GET /none?two {host} 404 3")), "{fourth}");
}

/// What is told of these packets, as a capture without the others shows them.
fn told_of<'a>(packets: impl Iterator<Item = &'a Recorded>, port: u16) -> Vec<String> {
    let (table, mut budget) = (Ports::new(&PortLists::default()), Budget::new(1 << 20));
    let (mut conversations, mut events) = (BTreeMap::new(), Events::default());
    for Recorded { now_us, packet, payload } in packets {
        let from = if packet.dst_port == port { Peer::A } else { Peer::B };
        let segment = Segment {
            seq: packet.tcp_seq,
            ack: packet.tcp_ack,
            flags: packet.tcp_flags,
            payload,
            payload_len: packet.payload_len,
        };
        let ports = [packet.src_port, packet.dst_port];
        let client = if from == Peer::A { packet.src_port } else { packet.dst_port };
        let begin = || TcpConversation::begin(&table, Classify::Content, ports, from, &segment);
        let conversation = conversations.entry(client).or_insert_with(begin);
        if let Some(conversation) = conversation {
            let _ = conversation.segment(from, &segment, *now_us, &mut budget, &mut events);
        }
    }
    events.iter().map(|event| format!("{:?} {}", event.kind, line(&event))).collect()
}

#[test]
fn what_was_not_captured_makes_no_other_say_what_it_did_not() {
    for (name, port) in [
        ("http2/curl_nginx.pcap", 8080),
        ("http2/nghttp_nghttpd.pcap", 8081),
        ("http2/long_headers.pcap", 8081),
        ("http2/grpc.pcap", 8082),
    ] {
        let packets = recording(name);
        let whole = told_of(packets.iter(), port);
        assert!(whole.len() >= 4, "{name}: {whole:?}");
        let possible: BTreeSet<&String> = whole.iter().collect();
        for missing in 0..packets.len() {
            let others = packets.iter().enumerate().filter(|(nth, _)| *nth != missing);
            let told = told_of(others.map(|(_, packet)| packet), port);
            assert!(told.iter().all(|line| possible.contains(line)), "{name} {missing}: {told:?}");
        }
        // Joined in the middle.
        for first in 3..packets.len() {
            let told = told_of(packets[first..].iter(), port);
            assert!(told.iter().all(|line| possible.contains(line)), "{name} {first}: {told:?}");
        }
    }
}
