//! Flow, DNS and metrics intake as agents see it (KH-F, KH-D, KH-T), and the questions about it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{answer, batch, dev, gzip, start};
use kflow::{Custom, Flow, Value};
use khub::Config;
use reqwest::{Method, StatusCode};

fn flow() -> Flow {
    Flow {
        src: [10, 0, 0, 52].into(),
        dst: [8, 8, 4, 4].into(),
        src_port: 52407,
        dst_port: 53,
        protocol: 17,
        out_bytes: 56,
        out_packets: 1,
        vlan_out: 41,
        sample_rate: 25600,
        device_id: 1,
        app_protocol: 1,
        customs: vec![
            Custom { id: 3, value: Value::U32(2) },
            Custom { id: 15, value: Value::Text("google.com".into()) },
            Custom { id: 53, value: Value::Addr([10, 211, 55, 16].into()) },
            Custom { id: 9999, value: Value::U32(7) },
        ],
        ..Flow::default()
    }
}

#[tokio::test]
async fn a_batch_is_accepted_and_its_records_can_be_listed() {
    let hub = dev().await;
    let accepted = answer(hub.chf(gzip(&batch(&[flow()])))).await;
    assert_eq!((accepted.status, accepted.text.as_str()), (StatusCode::OK, "GOOD"));
    let mut listed = hub.get("/api/v1/flows").await.json();
    let time = listed[0]["time"].take();
    assert!(time.as_str().unwrap().ends_with('Z'));
    let expected: serde_json::Value = serde_json::from_str(
        r#"[{"time": null, "device": "dev1", "src": "10.0.0.52", "dst": "8.8.4.4",
        "src_port": 52407, "dst_port": 53, "protocol": 17, "packets": 1, "bytes": 56,
        "direction": "out", "tcp_flags": 0, "tos": 0, "vlan": 41, "sample_rate": 256.0,
        "app": 1, "metrics": {"FRAGMENTS": 2, "KFLOW_DNS_QUERY": "google.com",
        "INET_00": "10.211.55.16", "column_9999": 7}}]"#,
    )
    .unwrap();
    assert_eq!(listed, expected);
    assert_eq!(hub.counter("records_in").await, 1);
}

#[tokio::test]
async fn uncompressed_bodies_and_the_other_content_type_are_accepted_under_every_prefix() {
    let hub = dev().await;
    for prefix in ["", "/api", "/api/v5", "/api/internal"] {
        let request = hub
            .request(Method::POST, &format!("{prefix}/chf?sid=0&sender_id=1:dev1:1"))
            .header("Content-Type", "application/chf")
            .body(batch(&[flow()]));
        assert_eq!(answer(request).await.text, "GOOD", "{prefix}");
    }
    assert_eq!(hub.counter("batches_in").await, 4);
}

#[tokio::test]
async fn the_device_of_a_record_is_the_senders_when_it_names_none_and_rates_may_be_plain() {
    let hub = dev().await;
    let plain = Flow { device_id: 0, sample_adj: false, sample_rate: 8, ..flow() };
    answer(hub.chf(gzip(&batch(&[plain])))).await;
    let listed = hub.get("/api/v1/flows?device=dev1").await.json();
    assert_eq!((&listed[0]["device"], &listed[0]["sample_rate"]), (&"dev1".into(), &8.0.into()));
}

#[tokio::test]
async fn low_resolution_copies_are_counted_and_not_kept() {
    let hub = dev().await;
    answer(hub.chf(gzip(&batch(&[Flow { big: true, ..flow() }])))).await;
    assert_eq!(hub.get("/api/v1/flows").await.text, "[]");
    assert_eq!(hub.counter("records_big").await, 1);
}

#[tokio::test]
async fn a_body_that_is_no_batch_is_bad() {
    let hub = dev().await;
    let good = batch(&[flow()]);
    let garbage = [
        gzip(&good[..79]),
        gzip(&good[1..]),
        gzip(&good[..good.len() - 1]),
        gzip(b""),
        good.clone(),
        Vec::new(),
    ];
    for body in garbage {
        let refused = answer(hub.chf(body)).await;
        assert_eq!((refused.status.as_u16(), refused.text.as_str()), (400, "BAD"));
    }
    assert_eq!(hub.counter("decode_errors").await, 6);
    assert_eq!(hub.counter("records_in").await, 0);
}

#[tokio::test]
async fn a_sender_whose_company_name_or_id_is_wrong_is_unknown() {
    let hub = dev().await;
    for sender in ["1:dev1:2", "2:dev1:1", "1:other:1", "dev1", ""] {
        let request = hub
            .request(Method::POST, &format!("/chf?sid=0&sender_id={sender}"))
            .header("Content-Type", "application/binary")
            .body(batch(&[flow()]));
        let refused = answer(request).await;
        assert_eq!((refused.status.as_u16(), refused.text.as_str()), (400, "BAD"), "{sender}");
    }
    assert_eq!(hub.counter("unknown_senders").await, 5);
}

#[tokio::test]
async fn wrong_parameters_content_types_and_encodings_are_refused_in_words() {
    let hub = dev().await;
    let request = |path: &str, content_type: &str, encoding: &str| {
        hub.request(Method::POST, path)
            .header("Content-Type", content_type)
            .header("Content-Encoding", encoding)
            .body(batch(&[flow()]))
    };
    let sender = "sender_id=1:dev1:1";
    let sid = answer(request(&format!("/chf?{sender}"), "application/binary", "identity")).await;
    assert_eq!(sid.error(), (400, "sid must be 0".into()));
    let path = format!("/chf?sid=0&{sender}");
    assert_eq!(answer(request(&path, "text/plain", "identity")).await.error().0, 400);
    assert_eq!(answer(request(&path, "application/binary", "br")).await.error().0, 415);
}

#[tokio::test]
async fn bodies_above_the_limits_are_too_large_and_intake_goes_on() {
    let hub = dev().await;
    let packed = answer(hub.chf(vec![0; (10 << 20) + 1])).await;
    assert_eq!(packed.error(), (413, "body has more than 10485760 bytes".into()));
    let unpacked = answer(hub.chf(gzip(&vec![0; (128 << 20) + 1]))).await;
    assert_eq!(unpacked.error(), (413, "body has more than 134217728 bytes".into()));
    // 80 zeros, then runs of zeros that stand for 1 GiB.
    let bomb = [vec![0; 80], [0x00, 0xff].repeat(512 << 10)].concat();
    assert_eq!(answer(hub.chf(gzip(&bomb))).await.error().0, 413);
    assert_eq!(hub.counter("too_large").await, 3);
    assert_eq!(answer(hub.chf(gzip(&batch(&[flow()])))).await.text, "GOOD");
}

#[tokio::test]
async fn the_oldest_records_leave_a_full_memory_and_are_counted() {
    let config = Config { print: false, keep: 2, ..Config::dev() };
    let hub = start(config, std::io::sink()).await;
    let numbered = |port| Flow { src_port: port, ..flow() };
    answer(hub.chf(gzip(&batch(&[numbered(1), numbered(2), numbered(3)])))).await;
    let listed = hub.get("/api/v1/flows").await.json();
    assert_eq!(listed[0]["src_port"], 3);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(hub.counter("records_evicted").await, 1);
}

#[tokio::test]
async fn questions_have_filters_limits_and_sums() {
    let hub = dev().await;
    let back = Flow {
        src: [8, 8, 4, 4].into(),
        dst: [10, 0, 0, 52].into(),
        out_bytes: 0,
        out_packets: 0,
        in_bytes: 100,
        in_packets: 2,
        sample_rate: 100,
        ..flow()
    };
    answer(hub.chf(gzip(&batch(&[flow(), back])))).await;
    let number = async |query: &str| {
        let listed = hub.get(&format!("/api/v1/flows?{query}")).await.json();
        listed.as_array().unwrap().len()
    };
    assert_eq!(number("").await, 2);
    assert_eq!(number("limit=1").await, 1);
    assert_eq!(number("src=10.0.0.0/8&dst=8.8.4.4&port=53&protocol=udp&device=1").await, 1);
    assert_eq!(number("device=nobody").await, 0);
    assert_eq!(number("since=4102444800").await, 0);
    let top = hub.get("/api/v1/top?by=src&seconds=60&limit=1").await.json();
    let expected = r#"[{"key": "10.0.0.52", "bytes": 14336, "packets": 256, "records": 1}]"#;
    assert_eq!(top, serde_json::from_str::<serde_json::Value>(expected).unwrap());
    for query in ["flows?src=x", "flows?port=70000", "flows?since=-1", "top?by=x", "top?limit=x"] {
        assert_eq!(hub.get(&format!("/api/v1/{query}")).await.error().0, 400, "{query}");
    }
}

#[tokio::test]
async fn dns_responses_are_taken_with_an_empty_answer_without_type() {
    let hub = dev().await;
    let response = kflow::dns::Response {
        question: kflow::dns::Question { name: "google.com".into(), host: [10, 0, 0, 52].into() },
        answers: vec![kflow::dns::Answer {
            name: String::new(),
            cname: String::new(),
            ip: [172, 217, 26, 14].into(),
            ttl: 299,
        }],
    };
    let mut body = Vec::new();
    kflow::dns::encode(&response, &mut body);
    kflow::dns::encode(&response, &mut body);
    let post = |content_type: Option<&str>, body: &[u8]| {
        let request = hub.request(Method::POST, "/dns").body(body.to_vec());
        match content_type {
            Some(name) => request.header("Content-Type", name),
            None => request,
        }
    };
    for content_type in [None, Some("application/chfdns")] {
        let taken = answer(post(content_type, &body)).await;
        assert_eq!((taken.status.as_u16(), taken.text.as_str()), (200, ""));
        assert_eq!(taken.content_type, None);
    }
    assert_eq!(answer(post(Some("text/plain"), &body)).await.error().0, 400);
    assert_eq!(answer(post(None, b"garbage")).await.error().0, 400);
    assert_eq!(hub.counter("dns_responses").await, 4);
    assert_eq!(hub.counter("dns_errors").await, 1);
    let listed = hub.get("/api/v1/dns?limit=1").await.json();
    assert_eq!(listed[0]["client"], "10.0.0.52");
    assert_eq!(listed[0]["answers"][0]["address"], "172.217.26.14");
}

#[tokio::test]
async fn the_newest_value_of_each_agent_metric_is_kept() {
    let hub = dev().await;
    let metric = |value: u32, kind: &str| {
        format!(
            r#"{{"metric": "chf.client_Total", "timestamp": 1700000000, "value": {value},
            "tags": {{"type": "{kind}"}}}}"#
        )
    };
    let body = format!("[{}, {}]", metric(1, "count"), metric(2, "one-minute"));
    assert_eq!(hub.post("/tsdb", &body).await.status, StatusCode::OK);
    let later = format!("[{}]", metric(5, "count"));
    assert_eq!(hub.post("/tsdb", &later).await.status, StatusCode::OK);
    assert_eq!(hub.post("/tsdb", "{").await.error().0, 400);
    let listed = hub.get("/api/v1/agent-metrics").await.json();
    let values: Vec<_> = listed.as_array().unwrap().iter().map(|m| m["value"].clone()).collect();
    assert_eq!(values, [5, 2]);
}
