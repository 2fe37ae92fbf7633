//! Application messages through the whole program: every value that the specification gives for
//! its test captures (section 17), as JSON lines and as custom columns of both naming schemes.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;
#[path = "../export/tests/support/mod.rs"]
mod support;
#[path = "common/wire.rs"]
mod wire;

use std::collections::BTreeMap;
use std::path::Path;

use benches::pcap_file::Writer;
use common::backend::Khub;
use common::captures::captures;
use common::recordings::ETHERNET;
use common::tapes::{decoded, ethernet, frames, from_packet, http, on_port, recordings};
use common::{folder, records, replay, run};
use kflow::Value;
use serde_json::{Value as Json, json};
use wire::{Arrived, COMMON, SCHEME_A, SCHEME_B};

const GOOGLE: &str = "http/google.com.pcap";
const TLS: &str = "tls/google.com-tls-1.2.pcap";
const ANY_ANSWER: &str = "172.217.26.14/A;2404:6800:4004:809::200e/AAAA;\
    alt2.aspmx.l.google.com/MX;ns2.google.com/NS;;alt4.aspmx.l.google.com/MX;\
    aspmx.l.google.com/MX;ns4.google.com/NS;alt3.aspmx.l.google.com/MX;\
    alt1.aspmx.l.google.com/MX;v=spf1 include:_spf.google.com ~all/TXT;;ns1.google.com/NS;;\
    ns3.google.com/NS";

/// MAC of the probe's host for each capture.
const MACS: [(&str, &str); 10] = [
    ("dhcp/dhcpv4.pcap", "00:1c:42:60:bb:37"),
    ("dns/google.com-any.pcap", "28:f0:76:38:bb:ba"),
    ("dns/sns-pb.isc.org.pcap", "28:f0:76:38:bb:ba"),
    ("dns/sns-pb.isc.org-dnssec.pcap", "28:f0:76:38:bb:ba"),
    (GOOGLE, "00:1c:42:60:bb:37"),
    ("http/http-1.0-fin-data.pcap", "52:54:00:00:06:1c"),
    ("radius/radius-acct-start.pcap", "02:00:00:00:00:00"),
    ("radius/radius-acct-stop.pcap", "02:00:00:00:00:00"),
    ("radius/radius-auth-req.pcap", "02:00:00:00:00:00"),
    (TLS, "28:f0:76:38:bb:ba"),
];

fn mac(file: &str) -> &'static str {
    MACS.iter().find(|(name, _)| *name == file).unwrap().1
}

/// The records of a capture as `[direction, packets, bytes, application id, application]`.
fn lines(path: &Path, more: &[&str]) -> Vec<Json> {
    let line = |record: &Json| {
        let member = |name: &str| record.get(name).cloned().unwrap_or_default();
        json!([
            member("direction"),
            member("packets"),
            member("bytes"),
            member("app"),
            member("application")
        ])
    };
    records(&replay(path, more).stdout).iter().map(line).collect()
}

fn file_lines(folder: &Path, file: &str) -> Vec<Json> {
    lines(&folder.join(file), &["--local-mac", mac(file)])
}

/// The records that a device with these columns gets, a line each, sorted.
fn columns(folder: &Path, file: &str, sets: &[&str]) -> Vec<String> {
    let arrived = wire::replay(&folder.join(file), sets, &["--local-mac", mac(file)]);
    arrived.iter().map(Arrived::line).collect()
}

fn assert_columns(folder: &Path, file: &str, scheme: &str, expected: &[&str]) {
    let mut expected: Vec<String> = expected.iter().map(|line| (*line).to_owned()).collect();
    expected.sort();
    let found = columns(folder, file, &[COMMON, scheme]);
    assert_eq!(found, expected, "{file}");
}

#[test]
fn dns_queries_and_answers_are_those_of_the_specification() {
    let Some(folder) = captures() else { return };
    let request = |operation: &str, name: &str, number: u32| {
        json!({"app": "dns", "kind": "request", "operation": operation,
               "attributes": {"query": name, "query_type": number}})
    };
    let response = |operation: &str, name: &str, number: u32, latency_us: u32, answer: &str| {
        json!({"app": "dns", "kind": "response", "operation": operation, "status": "NOERROR",
               "latency_us": latency_us, "attributes":
               {"query": name, "query_type": number, "rcode": 0, "answer": answer}})
    };
    let (google, aspmx, isc) = ("google.com", "aspmx.l.google.com", "sns-pb.isc.org");
    assert_eq!(
        file_lines(&folder, "dns/google.com-any.pcap"),
        [
            json!(["out", 1, 56, 1, request("ANY", google, 255)]),
            json!(["in", 1, 432, 1, response("ANY", google, 255, 44_230, ANY_ANSWER)]),
            json!(["out", 1, 64, 1, request("A", aspmx, 1)]),
            json!(["out", 1, 64, 1, request("AAAA", aspmx, 28)]),
            json!(["in", 1, 80, 1, response("A", aspmx, 1, 41_781, "74.125.203.26/A")]),
            json!([
                "in",
                1,
                92,
                1,
                response("AAAA", aspmx, 28, 42_300, "2404:6800:4008:c07::1b/AAAA")
            ]),
        ]
    );
    assert_eq!(
        file_lines(&folder, "dns/sns-pb.isc.org.pcap"),
        [
            json!(["out", 1, 60, 1, request("A", isc, 1)]),
            json!(["in", 1, 300, 1, response("A", isc, 1, 168_401, "192.5.4.1/A")]),
        ]
    );
    assert_eq!(
        file_lines(&folder, "dns/sns-pb.isc.org-dnssec.pcap"),
        [
            json!(["out", 1, 71, 1, request("A", isc, 1)]),
            json!(["in", 3, 1687, 1, response("A", isc, 1, 173_443, "192.5.4.1/A;")]),
        ]
    );
}

#[test]
fn dns_columns_are_those_of_both_schemes() {
    let Some(folder) = captures() else { return };
    let any = "dns/google.com-any.pcap";
    let a =
        |name: &str, kind| format!("app 1: KFLOW_DNS_QUERY='{name}' KFLOW_DNS_QUERY_TYPE={kind}");
    let a_answer = |ms: u32, name: &str, text: &str, kind| {
        format!(
            "app 1: APPL_LATENCY_MS={ms} FPEX_LATENCY_MS={ms} KFLOW_DNS_QUERY='{name}' \
             KFLOW_DNS_QUERY_TYPE={kind} KFLOW_DNS_RESPONSE='{text}' KFLOW_DNS_RET_CODE=0"
        )
    };
    let b = |name: &str, kind| format!("app 1: APP_PROTOCOL=1 INT00={kind} STR00='{name}'");
    let b_answer = |ms: u32, name: &str, text: &str, kind| {
        format!(
            "app 1: APPL_LATENCY_MS={ms} APP_PROTOCOL=1 FPEX_LATENCY_MS={ms} INT00={kind} \
             INT01=0 STR00='{name}' STR01='{text}'"
        )
    };
    let aspmx = "aspmx.l.google.com";
    let six = "2404:6800:4008:c07::1b/AAAA";
    // 320 bytes, below the limit of 384.
    assert_columns(
        &folder,
        any,
        SCHEME_A,
        &[
            &format!("out 1/56 {}", a("google.com", 255)),
            &format!("in 1/432 {}", a_answer(44, "google.com", ANY_ANSWER, 255)),
            &format!("out 1/64 {}", a(aspmx, 1)),
            &format!("out 1/64 {}", a(aspmx, 28)),
            &format!("in 1/80 {}", a_answer(41, aspmx, "74.125.203.26/A", 1)),
            &format!("in 1/92 {}", a_answer(42, aspmx, six, 28)),
        ],
    );
    assert_columns(
        &folder,
        any,
        SCHEME_B,
        &[
            &format!("out 1/56 {}", b("google.com", 255)),
            &format!("in 1/432 {}", b_answer(44, "google.com", ANY_ANSWER, 255)),
            &format!("out 1/64 {}", b(aspmx, 1)),
            &format!("out 1/64 {}", b(aspmx, 28)),
            &format!("in 1/80 {}", b_answer(41, aspmx, "74.125.203.26/A", 1)),
            &format!("in 1/92 {}", b_answer(42, aspmx, six, 28)),
        ],
    );
    let isc = "sns-pb.isc.org";
    assert_columns(
        &folder,
        "dns/sns-pb.isc.org.pcap",
        SCHEME_A,
        &[
            &format!("out 1/60 {}", a(isc, 1)),
            &format!("in 1/300 {}", a_answer(168, isc, "192.5.4.1/A", 1)),
        ],
    );
    assert_columns(
        &folder,
        "dns/sns-pb.isc.org-dnssec.pcap",
        SCHEME_A,
        &[
            &format!("out 1/71 {}", a(isc, 1)),
            "in 3/1687 app 1: APPL_LATENCY_MS=173 FPEX_LATENCY_MS=173 FRAGMENTS=3 \
         KFLOW_DNS_QUERY='sns-pb.isc.org' KFLOW_DNS_QUERY_TYPE=1 \
         KFLOW_DNS_RESPONSE='192.5.4.1/A;' KFLOW_DNS_RET_CODE=0",
        ],
    );
}

#[test]
fn http_requests_and_responses_are_those_of_the_specification() {
    let Some(folder) = captures() else { return };
    let attributes = json!({"url": "/", "host": "google.com", "user_agent": "curl/7.38.0"});
    assert_eq!(
        file_lines(&folder, GOOGLE),
        [
            json!(["out", 3, 214, 2, {"app": "http", "kind": "request", "operation": "GET",
                "attributes": attributes}]),
            json!(["in", 3, 635, 2, {"app": "http", "kind": "response", "operation": "GET",
                "status": 302, "latency_us": 7868, "attributes": attributes}]),
            json!(["out", 3, 120, 2, null]),
            json!(["in", 2, 80, 2, null]),
        ]
    );
    let attributes = json!({"url": "/application1", "host": "server3.sjc1",
        "user_agent": "Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.0)"});
    assert_eq!(
        file_lines(&folder, "http/http-1.0-fin-data.pcap"),
        [
            json!(["out", 3, 291, 2, {"app": "http", "kind": "request", "operation": "GET",
                "attributes": attributes}]),
            json!(["in", 4, 400, 2, {"app": "http", "kind": "response", "operation": "GET",
                "status": 200, "latency_us": 2130, "attributes": attributes}]),
            json!(["out", 2, 104, 2, null]),
            json!(["in", 1, 52, 2, null]),
        ]
    );
}

#[test]
fn http_columns_are_those_of_both_schemes() {
    let Some(folder) = captures() else { return };
    let texts_a = "KFLOW_HTTP_HOST='google.com' KFLOW_HTTP_REFERER=''";
    let more_a = "KFLOW_HTTP_UA='curl/7.38.0' KFLOW_HTTP_URL='/'";
    assert_columns(
        &folder,
        GOOGLE,
        SCHEME_A,
        &[
            &format!(
                "out 3/214 app 2: CLIENT_NW_LATENCY_MS=1 {texts_a} {more_a} RECEIVE_WINDOW=29312"
            ),
            &format!(
                "in 3/635 app 2: APPL_LATENCY_MS=7 FPEX_LATENCY_MS=7 {texts_a} \
             KFLOW_HTTP_STATUS=302 {more_a} RECEIVE_WINDOW=32768 SERVER_NW_LATENCY_MS=3"
            ),
            "out 3/120 app 2: CLIENT_NW_LATENCY_MS=1 RECEIVE_WINDOW=30336",
            "in 2/80 app 2: FPEX_LATENCY_MS=7 RECEIVE_WINDOW=32768 SERVER_NW_LATENCY_MS=3",
        ],
    );
    let texts_b = "STR00='/' STR01='google.com' STR02='' STR03='curl/7.38.0'";
    assert_columns(
        &folder,
        GOOGLE,
        SCHEME_B,
        &[
            &format!(
                "out 3/214 app 2: APP_PROTOCOL=2 CLIENT_NW_LATENCY_MS=1 RECEIVE_WINDOW=29312 {texts_b}"
            ),
            &format!(
                "in 3/635 app 2: APPL_LATENCY_MS=7 APP_PROTOCOL=2 FPEX_LATENCY_MS=7 INT00=302 \
             RECEIVE_WINDOW=32768 SERVER_NW_LATENCY_MS=3 {texts_b}"
            ),
            "out 3/120 app 2: APP_PROTOCOL=2 CLIENT_NW_LATENCY_MS=1 RECEIVE_WINDOW=30336",
            "in 2/80 app 2: APP_PROTOCOL=2 FPEX_LATENCY_MS=7 RECEIVE_WINDOW=32768 \
         SERVER_NW_LATENCY_MS=3",
        ],
    );
    let texts = "KFLOW_HTTP_HOST='server3.sjc1' KFLOW_HTTP_REFERER=''";
    let more = "KFLOW_HTTP_UA='Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.0)' \
                KFLOW_HTTP_URL='/application1'";
    assert_columns(
        &folder,
        "http/http-1.0-fin-data.pcap",
        SCHEME_A,
        &[
            &format!("out 3/291 app 2: CLIENT_NW_LATENCY_MS=1 {texts} {more} RECEIVE_WINDOW=29312"),
            &format!(
                "in 4/400 app 2: APPL_LATENCY_MS=2 FPEX_LATENCY_MS=1 {texts} KFLOW_HTTP_STATUS=200 \
             {more} RECEIVE_WINDOW=29056 SERVER_NW_LATENCY_MS=1"
            ),
            "out 2/104 app 2: CLIENT_NW_LATENCY_MS=1 RECEIVE_WINDOW=30336",
            "in 1/52 app 2: FPEX_LATENCY_MS=1 RECEIVE_WINDOW=29056 SERVER_NW_LATENCY_MS=1",
        ],
    );
}

#[test]
fn dhcp_and_radius_messages_are_those_of_the_specification() {
    let Some(folder) = captures() else { return };
    let dhcp = "dhcp/dhcpv4.pcap";
    assert_eq!(
        file_lines(&folder, dhcp),
        [
            json!(["out", 1, 328, 4, {"app": "dhcp", "kind": "request", "operation": "REQUEST",
                "attributes": {"op": 1, "message_type": 3, "client_mac": "00:1c:42:60:bb:37",
                "host_name": "chdev", "client_address": "0.0.0.0", "your_address": "0.0.0.0",
                "server_address": "0.0.0.0"}}]),
            json!(["in", 1, 322, 4, {"app": "dhcp", "kind": "response", "operation": "ACK",
                "latency_us": 1634, "attributes": {"op": 2, "message_type": 5,
                "client_mac": "00:1c:42:60:bb:37", "host_name": "chdev",
                "domain": "localdomain", "lease_s": 1800, "client_address": "0.0.0.0",
                "your_address": "10.211.55.16", "server_address": "10.211.55.1"}}]),
        ]
    );
    assert_columns(
        &folder,
        dhcp,
        SCHEME_A,
        &[
            "out 1/328 app 4: DHCP_CH_ADDR='00:1c:42:60:bb:37' DHCP_CI_ADDR=0.0.0.0 \
         DHCP_HOSTNAME='chdev' DHCP_MSG_TYPE=3 DHCP_OP=1 DHCP_SI_ADDR=0.0.0.0 \
         DHCP_YI_ADDR=0.0.0.0",
            "in 1/322 app 4: APPL_LATENCY_MS=1 DHCP_CH_ADDR='00:1c:42:60:bb:37' DHCP_CI_ADDR=0.0.0.0 \
         DHCP_DOMAIN='localdomain' DHCP_HOSTNAME='chdev' DHCP_LEASE=1800 DHCP_MSG_TYPE=5 \
         DHCP_OP=2 DHCP_SI_ADDR=10.211.55.1 DHCP_YI_ADDR=10.211.55.16",
        ],
    );
    assert_columns(
        &folder,
        dhcp,
        SCHEME_B,
        &[
            "out 1/328 app 4: APP_PROTOCOL=4 INET_00=0.0.0.0 INET_01=0.0.0.0 INET_02=0.0.0.0 INT00=1 \
         INT01=3 STR00='00:1c:42:60:bb:37' STR01='chdev'",
            "in 1/322 app 4: APPL_LATENCY_MS=1 APP_PROTOCOL=4 INET_00=0.0.0.0 INET_01=10.211.55.16 \
         INET_02=10.211.55.1 INT00=2 INT01=5 INT02=1800 STR00='00:1c:42:60:bb:37' \
         STR01='chdev' STR02='localdomain'",
        ],
    );
    assert_columns(
        &folder,
        "radius/radius-acct-start.pcap",
        SCHEME_A,
        &[
            "out 1/65 app 9: RADIUS_ACCT_STATUS=1 RADIUS_CODE=4 RADIUS_FRAMED_IP_ADDR=10.1.2.3 \
         RADIUS_USER_NAME='bob'",
            "out 1/48 app 9: APPL_LATENCY_MS=1 FPEX_LATENCY_MS=1 RADIUS_CODE=5",
        ],
    );
    assert_columns(
        &folder,
        "radius/radius-acct-stop.pcap",
        SCHEME_B,
        &[
            "out 1/59 app 9: APP_PROTOCOL=9 INT00=4 INT02=2 STR00='bob'",
            "out 1/48 app 9: APPL_LATENCY_MS=1 APP_PROTOCOL=9 FPEX_LATENCY_MS=1 INT00=5",
        ],
    );
    let john = "RADIUS_SERVICE_TYPE=2 RADIUS_USER_NAME='John.McGuirk'";
    let framed = "RADIUS_FRAMED_IP_ADDR=255.255.255.254 RADIUS_SERVICE_TYPE=2";
    assert_columns(
        &folder,
        "radius/radius-auth-req.pcap",
        SCHEME_A,
        &[
            &format!("out 1/167 app 9: RADIUS_CODE=1 {john}"),
            &format!(
                "out 1/137 app 9: APPL_LATENCY_MS=2 FPEX_LATENCY_MS=2 RADIUS_CODE=11 {framed}"
            ),
            &format!("out 1/202 app 9: RADIUS_CODE=1 {john}"),
            &format!(
                "out 1/125 app 9: APPL_LATENCY_MS=1 FPEX_LATENCY_MS=2 RADIUS_CODE=2 {framed} \
             RADIUS_USER_NAME='John.McGuirk'"
            ),
        ],
    );
    let loopback = records(&replay(&folder.join("radius/radius_different_auths.pcap"), &[]).stdout);
    assert_eq!(
        loopback[1]["application"]["attributes"],
        json!({"code": 11, "service_type": 2, "framed_protocol": 1,
               "framed_address": "172.16.3.33", "framed_mask": "255.255.255.0"})
    );
}

#[test]
fn a_tls_connection_has_its_facts_in_both_directions_and_only_when_its_start_was_seen() {
    let Some(folder) = captures() else { return };
    let facts = json!({"app": "tls", "kind": "facts", "attributes": {"server_name": "google.com",
        "ja4": "t12d340700_c09add56dd4c_3304d8368043", "certificate_subject": "*.google.com",
        "version": 0x0303, "cipher": 0xc02b, "certificate_not_after": 1_505_310_720}});
    assert_eq!(
        file_lines(&folder, TLS),
        [json!(["out", 15, 1246, 3, facts]), json!(["in", 10, 5594, 3, facts])]
    );
    assert_columns(
        &folder,
        TLS,
        SCHEME_A,
        &[
            "out 15/1246 app 3: CLIENT_NW_LATENCY_MS=1 KFLOW_HTTP_HOST='google.com' \
         RECEIVE_WINDOW=131072",
            "in 10/5594 app 3: FPEX_LATENCY_MS=6 KFLOW_HTTP_HOST='google.com' RECEIVE_WINDOW=43520 \
         SERVER_NW_LATENCY_MS=3",
        ],
    );
    assert_columns(
        &folder,
        TLS,
        SCHEME_B,
        &[
            "out 15/1246 app 3: APP_PROTOCOL=3 CLIENT_NW_LATENCY_MS=1 INT00=771 INT01=49195 \
         RECEIVE_WINDOW=131072 STR00='google.com'",
            "in 10/5594 app 3: APP_PROTOCOL=3 FPEX_LATENCY_MS=6 INT00=771 INT01=49195 \
         RECEIVE_WINDOW=43520 SERVER_NW_LATENCY_MS=3 STR00='google.com'",
        ],
    );
    let names = folder.join(TLS);
    let own = "TLS_SERVER_NAME:string TLS_SERVER_VERSION:uint32 TLS_CIPHER_SUITE:uint32";
    for arrived in wire::replay(&names, &[COMMON, SCHEME_A, own], &["--local-mac", mac(TLS)]) {
        assert_eq!(arrived.columns["TLS_SERVER_NAME"], Value::Text("google.com".into()));
        assert_eq!(arrived.columns["TLS_SERVER_VERSION"], Value::U32(0x0303));
        assert_eq!(arrived.columns["TLS_CIPHER_SUITE"], Value::U32(0xc02b));
        assert!(!arrived.columns.contains_key("KFLOW_HTTP_HOST"));
    }
    let dir = crate::folder();
    // The third packet is the first without SYN.
    let late = from_packet(&folder.join(TLS), 3, dir.path());
    let found = lines(&late, &["--local-mac", mac(TLS)]);
    assert_eq!(found, [json!(["out", 14, 1182, 3, null]), json!(["in", 9, 5534, 3, null])]);
    // The second is the SYN+ACK, which tells the server.
    let second = from_packet(&folder.join(TLS), 2, dir.path());
    let found = lines(&second, &["--local-mac", mac(TLS)]);
    assert_eq!(found, [json!(["in", 10, 5594, 3, facts]), json!(["out", 14, 1182, 3, facts])]);
}

#[test]
fn of_a_quic_conversation_that_ends_within_its_hello_the_version_is_told() {
    let dir = folder();
    let to = dir.path().join("half.pcap");
    let mut writer = Writer::create(&to, ETHERNET).unwrap();
    // The client of the long hello, its first datagram alone; then a client of version 2.
    let mut is_first = true;
    for (time_ns, data, wire) in frames(&decoded("quic/aioquic.pcap")) {
        let port = u16::from_be_bytes([data[34], data[35]]);
        if port == 40_002 || port == 40_004 && std::mem::take(&mut is_first) {
            writer.write(time_ns, &data, wire).unwrap();
        }
    }
    writer.finish().unwrap();
    let mut found: Vec<Json> = lines(&to, &[]).into_iter().map(|line| line[4].clone()).collect();
    found.sort_by_key(Json::to_string);
    let whole = json!({"server_name": "two.quic.example", "version": 0x6b33_43cf, "alpn": "h3",
        "ja4": "q13d0307h3_55b375c5d22e_1cecd519fee8"});
    let facts = |attributes| json!({"app": "quic", "kind": "facts", "attributes": attributes});
    assert_eq!(found, [facts(whole), facts(json!({"version": 1}))]);
}

#[test]
fn without_the_syn_the_answer_to_it_tells_the_server() {
    let Some(folder) = captures() else { return };
    let dir = crate::folder();
    let hosts = |packet: usize| -> Vec<Json> {
        let path = from_packet(&folder.join(GOOGLE), packet, dir.path());
        lines(&path, &["--local-mac", mac(GOOGLE)])
            .iter()
            .map(|line| line[4]["attributes"]["host"].clone())
            .filter(|host| !host.is_null())
            .collect()
    };
    assert_eq!(hosts(1), ["google.com", "google.com"]);
    assert_eq!(hosts(2), ["google.com", "google.com"]);
    assert!(hosts(3).is_empty());
}

#[test]
fn a_capture_played_twice_gives_its_latency_twice() {
    let Some(folder) = captures() else { return };
    let dir = crate::folder();
    let path = dir.path().join("twice.pcap");
    let frames = frames(&folder.join(GOOGLE));
    let span_ns = frames.last().unwrap().0 - frames[0].0 + 2_000_000_000;
    let mut writer = Writer::create(&path, ETHERNET).unwrap();
    for pass in 0..2 {
        for (time_ns, data, wire) in &frames {
            writer.write(time_ns + pass * span_ns, data, *wire).unwrap();
        }
    }
    writer.finish().unwrap();
    let records = records(&replay(&path, &[]).stdout);
    let latencies: Vec<u64> =
        records.iter().filter_map(|record| record["application"]["latency_us"].as_u64()).collect();
    assert_eq!(latencies, [7868, 7868]);
}

#[test]
fn khub_shows_the_columns_by_their_names_and_one_connection_id_for_both_ways() {
    let Some(folder) = captures() else { return };
    let khub = Khub::start();
    for (number, (file, mac)) in MACS.into_iter().enumerate() {
        let device = format!("apps{number}");
        let read = ["--read".to_owned(), folder.join(file).display().to_string()];
        let local = ["--local-mac".to_owned(), mac.to_owned()];
        let run = run(khub.arguments(&device).into_iter().chain(local).chain(read));
        assert_eq!(run.code, Some(0), "{file}: {}", run.stderr);
        let flows = khub.flows(&device);
        assert!(flows.iter().all(|flow| flow["app"] == flow["metrics"]["APP_PROTOCOL"]), "{file}");
        let mut ids: BTreeMap<[u64; 2], Vec<u64>> = BTreeMap::new();
        for flow in &flows {
            let mut ports = ["src_port", "dst_port"].map(|port| flow[port].as_u64().unwrap());
            ports.sort_unstable();
            let id = flow["metrics"]["CONNECTION_ID"].as_u64().unwrap();
            ids.entry(ports).or_default().push(id);
        }
        // A broadcast and the answer to it are no conversation of two addresses.
        let is_one = |ids: &Vec<u64>| ids.iter().all(|id| *id == ids[0] && *id != 0);
        assert!(file.starts_with("dhcp") || ids.values().all(is_one), "{file}: {ids:?}");
    }
    let metrics: Vec<Json> = khub
        .flows("apps4")
        .into_iter()
        .map(|flow| flow["metrics"].clone())
        .filter(|metrics| metrics.get("APPL_LATENCY_MS").is_some())
        .collect();
    assert_eq!(metrics.len(), 1);
    for (name, value) in [
        ("STR00", json!("/")),
        ("STR01", json!("google.com")),
        ("STR03", json!("curl/7.38.0")),
        ("INT00", json!(302)),
        ("APPL_LATENCY_MS", json!(7)),
        ("FPEX_LATENCY_MS", json!(7)),
        ("APP_PROTOCOL", json!(2)),
    ] {
        assert_eq!(metrics[0][name], value, "{name}");
    }
    assert_eq!(khub.counter("decode_errors"), 0);
}

#[test]
fn without_decoding_the_application_is_0_everywhere() {
    let Some(folder) = captures() else { return };
    for (file, mac) in MACS {
        let path = folder.join(file);
        for record in records(&replay(&path, &["--local-mac", mac, "--no-decode"]).stdout) {
            assert_eq!(record["app"], 0, "{file}");
            assert!(record.get("application").is_none(), "{file}: {record}");
        }
        for arrived in wire::replay(&path, &[COMMON, SCHEME_B], &["--no-decode"]) {
            assert_eq!(arrived.flow.app_protocol, 0, "{file}");
            let is_application = |name: &String| {
                name.starts_with("STR") || name.starts_with("IN") || name.starts_with("APP")
            };
            assert!(!arrived.columns.keys().any(is_application), "{file}: {}", arrived.line());
        }
    }
}

#[test]
fn content_finds_protocols_on_any_port_and_ports_find_the_rest() {
    let Some(folder) = captures() else { return };
    let dir = crate::folder();
    let apps = |path: &Path, more: &[&str]| -> Vec<(u64, bool)> {
        records(&replay(path, more).stdout)
            .iter()
            .map(|record| (record["app"].as_u64().unwrap(), record["application"].is_object()))
            .collect()
    };
    let by_ports = ["--classify", "ports"];
    let tls = on_port(&folder.join(TLS), 443, 8443, dir.path());
    assert_eq!(apps(&tls, &[]), [(3, true); 2]);
    assert_eq!(apps(&tls, &by_ports), [(0, false); 2]);
    assert_eq!(apps(&tls, &[&by_ports[..], &["--tls-port", "8443"]].concat()), [(3, true); 2]);
    let http = on_port(&folder.join(GOOGLE), 80, 8000, dir.path());
    let http_records = [(2, true), (2, true), (2, false), (2, false)];
    assert_eq!(apps(&http, &[]), http_records);
    assert_eq!(apps(&http, &by_ports), [(0, false); 2]);
    assert_eq!(apps(&http, &[&by_ports[..], &["--http-port", "8000"]].concat()), http_records);
    // A TLS connection on the port of HTTP is TLS, and by ports HTTP that says nothing.
    let on_80 = on_port(&folder.join(TLS), 443, 80, dir.path());
    assert_eq!(apps(&on_80, &[]), [(3, true); 2]);
    let silent = apps(&on_80, &by_ports);
    assert!(silent.iter().all(|(_, has_fields)| !has_fields), "{silent:?}");
    let ssh = on_port(&decoded("ssh/openssh.pcap"), 22, 80, dir.path());
    for more in [&[][..], &by_ports] {
        for record in records(&replay(&ssh, more).stdout) {
            assert_ne!(record["application"]["app"], "http", "{record}");
        }
    }
    assert!(
        records(&replay(&ssh, &[]).stdout)
            .iter()
            .any(|record| record["application"]["app"] == "ssh")
    );
}

#[test]
fn what_is_to_be_hidden_leaves_neither_way() {
    let dir = folder();
    let path = dir.path().join("query.pcap");
    http(&path, "/search?q=secret-word", "who/1");
    let attributes = |more: &[&str]| {
        let records = records(&replay(&path, more).stdout);
        records[0]["application"]["attributes"].clone()
    };
    assert_eq!(
        attributes(&[]),
        json!({"url": "/search?q=secret-word", "host": "h", "user_agent": "who/1"})
    );
    assert_eq!(attributes(&["--cut-query"])["url"], "/search");
    let dropped = attributes(&["--redact", "url=drop", "--redact", "user-agent=drop"]);
    assert_eq!(dropped, json!({"host": "h"}));
    let hashed = attributes(&["--redact", "url=hash"])["url"].as_str().unwrap().to_owned();
    assert!(!hashed.contains("search") && !hashed.is_empty(), "{hashed}");
    for more in [&["--cut-query"][..], &["--redact", "url=hash"], &["--redact", "url=drop"]] {
        for arrived in wire::replay(&path, &[COMMON, SCHEME_B], more) {
            assert!(!arrived.line().contains("secret-word"), "{}", arrived.line());
        }
    }
}

#[test]
fn texts_on_the_wire_end_at_384_bytes_at_a_character() {
    let dir = folder();
    let path = dir.path().join("long.pcap");
    // 1 + 2 × 300 bytes: byte 384 is the second of a character.
    let url = format!("/{}", "ä".repeat(300));
    http(&path, &url, &"u".repeat(500));
    let kept = format!("/{}", "ä".repeat(191));
    assert_eq!(kept.len(), 383);
    let arrived = wire::replay(&path, &[COMMON, SCHEME_A], &[]);
    let request = arrived.iter().find(|record| record.columns.contains_key("KFLOW_HTTP_URL"));
    let columns = &request.unwrap().columns;
    assert_eq!(columns["KFLOW_HTTP_URL"], Value::Text(kept));
    assert_eq!(columns["KFLOW_HTTP_UA"], Value::Text("u".repeat(384)));
}

#[test]
fn any_number_of_readers_gives_the_same_bytes_of_all_recordings_together() {
    let dir = folder();
    let path = dir.path().join("all.pcap");
    let mut writer = Writer::create(&path, ETHERNET).unwrap();
    let (mut count, mut now_ns) = (0, 1_767_225_600_000_000_000);
    for file in recordings() {
        let Some(frames) = ethernet(&file) else { continue };
        let start_ns = frames.first().map_or(0, |frame| frame.0);
        let mut last_ns = now_ns;
        for (time_ns, data, wire) in &frames {
            last_ns = now_ns + time_ns.saturating_sub(start_ns);
            writer.write(last_ns, data, *wire).unwrap();
        }
        // The next recording begins before the last one's records are due.
        now_ns = last_ns + 700_000_000;
        count += 1;
    }
    writer.finish().unwrap();
    assert!(count >= 20, "{count} recordings");
    let one = replay(&path, &[]).stdout;
    let apps: std::collections::BTreeSet<String> = records(&one)
        .iter()
        .filter_map(|record| Some(record["application"]["app"].as_str()?.to_owned()))
        .collect();
    let expected = [
        "dhcp", "dhcpv6", "dns", "http", "http2", "mdns", "mysql", "postgres", "quic", "radius",
        "redis", "sip", "smtp", "ssh", "tls",
    ];
    assert_eq!(apps.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    for readers in ["2", "4"] {
        assert!(replay(&path, &["--readers", readers]).stdout == one, "{readers} readers");
    }
}
