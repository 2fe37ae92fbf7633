//! The device API against a server that knows some devices (spec, section 4).

mod support;

use std::net::IpAddr;

use export::{
    DeviceApi, DeviceError, Identity, Interface, Selection, SetupError, Timing, parse_url,
};
use support::{Answer, Seen, Server, answer, answer_with, http, status};

const DEVICE: &str = r#"{"device": {"id": "9623", "company_id": "1289", "device_name": "pd_host",
    "max_flow_rate": 100, "custom_column_data": [
    {"field_id": "3", "col_name": "FRAGMENTS", "col_type": "uint32"}]}}"#;

fn api(server: &Server) -> DeviceApi {
    let base = server.url.join("/api/internal").expect("a URL");
    DeviceApi::new(&http(), base, &Timing::default()).expect("a client")
}

/// A server that knows a device under one path, and takes creations.
fn server(known: &'static str) -> Server {
    Server::start(move |_, seen| match (seen.method.as_str(), seen.uri.path()) {
        ("GET", path) if path == known => answer(200, DEVICE),
        ("POST", "/api/internal/device/") => answer(201, r#"{"device": {"id": "9623"}}"#),
        _ => answer(404, r#"{"error": "not found"}"#),
    })
}

fn identity() -> Identity {
    Identity {
        name: "pd.host-1".into(),
        address: Some([192, 0, 2, 10].into()),
        plan_id: 11,
        site_id: 394,
    }
}

fn requests(server: &Server) -> Vec<String> {
    server.seen().iter().map(|seen| format!("{} {}", seen.method, seen.uri)).collect()
}

fn setup_error(error: DeviceError) -> SetupError {
    match error {
        DeviceError::Setup(error) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn each_selection_asks_for_its_keys_in_order() {
    let addresses = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    for (wanted, known, asked) in [
        (Selection::Id(9623), "/api/internal/device/9623", vec!["9623"]),
        (
            Selection::Addresses(addresses),
            "/api/internal/device/2001:db8::1",
            vec!["192.0.2.1", "2001:db8::1"],
        ),
        (
            Selection::Address([192, 0, 2, 10].into()),
            "/api/internal/device/192.0.2.10",
            vec!["192.0.2.10"],
        ),
        (Selection::Name, "/api/internal/device/pd_host-1", vec!["pd_host-1"]),
        (Selection::Name, "/api/internal/device/pd_host_1", vec!["pd_host-1", "pd_host_1"]),
    ] {
        let server = server(known);
        let device = api(&server).find(&wanted, &identity()).unwrap();
        assert_eq!((device.id, device.max_flow_rate), (9623, 100));
        let expected: Vec<_> =
            asked.iter().map(|key| format!("GET /api/internal/device/{key}")).collect();
        assert_eq!(requests(&server), expected);
        assert_eq!(server.seen()[0].header("x-ch-auth-api-token"), "token");
        assert_eq!(server.seen()[0].header("user-agent"), "kprobe/0.1.0");
    }
}

#[test]
fn a_name_is_encoded_as_one_path_segment() {
    let server = server("/api/internal/device/a%2Fb%20%3Fc%25_%C3%A9");
    let identity = Identity { name: "a/b ?c%.é".into(), ..Identity::default() };
    assert!(api(&server).find(&Selection::Name, &identity).is_ok());
}

#[test]
fn an_unknown_device_is_created_and_read_by_id() {
    for wanted in [Selection::Name, Selection::Address([192, 0, 2, 10].into())] {
        let server = server("/api/internal/device/9623");
        let device = api(&server).find(&wanted, &identity()).unwrap();
        assert_eq!(device.custom_column_data[0].col_name, "FRAGMENTS");
        let requests = requests(&server);
        assert_eq!(
            requests[requests.len() - 2..],
            ["POST /api/internal/device/", "GET /api/internal/device/9623"]
        );
        let seen = server.seen();
        let creation = &seen[seen.len() - 2];
        assert_eq!(creation.header("content-type"), "application/json");
        let device = &creation.json()["device"];
        assert_eq!(device["device_name"], "pd_host-1");
        assert_eq!(device["device_description"], "pd.host-1");
        assert_eq!((device["plan_id"].as_u64(), device["site_id"].as_u64()), (Some(11), Some(394)));
        assert_eq!(device["sending_ips"], serde_json::json!(["192.0.2.10"]));
    }
}

#[test]
fn without_name_address_or_plan_nothing_is_created() {
    for identity in [
        Identity { plan_id: 0, ..identity() },
        Identity { address: None, ..identity() },
        Identity { name: String::new(), ..identity() },
    ] {
        let server = server("/nothing");
        let error = api(&server).find(&Selection::Name, &identity).unwrap_err();
        assert!(matches!(error, DeviceError::DeviceNotFound));
        assert_eq!(error.to_string(), "device not found");
        assert!(server.seen().iter().all(|seen| seen.method == "GET"));
    }
}

#[test]
fn a_device_given_by_id_or_interface_is_never_created() {
    let address: IpAddr = [192, 0, 2, 1].into();
    for wanted in
        [Selection::Id(7), Selection::Addresses(vec![address]), Selection::Addresses(vec![])]
    {
        let server = server("/nothing");
        let error = api(&server).find(&wanted, &identity()).unwrap_err();
        assert!(matches!(error, DeviceError::DeviceNotFound));
        assert!(server.seen().iter().all(|seen| seen.method == "GET"));
    }
}

#[test]
fn a_401_to_a_look_up_or_a_creation_is_an_authentication_failure() {
    type Script = fn(usize, &Seen) -> Answer;
    let look_up: Script = |_, _| answer(401, r#"{"error": "no"}"#);
    let creation: Script = |_, seen| status(if seen.method == "POST" { 401 } else { 404 });
    for script in [look_up, creation] {
        let server = Server::start(script);
        let error = api(&server).find(&Selection::Name, &identity()).unwrap_err();
        assert!(matches!(error, DeviceError::AuthenticationFailed));
        assert_eq!(error.to_string(), "authentication failed");
    }
}

#[test]
fn other_answers_are_set_up_errors_with_method_url_status_and_text() {
    for (code, body, expected) in [
        (403, r#"{"error": "wrong company"}"#, "HTTP status 403: wrong company"),
        (500, "<html>", "HTTP status 500"),
        (200, r#"{"device": {"id": "x"}}"#, "unexpected JSON at line 1, column 21"),
        (200, "", "unexpected JSON at line 1, column 0"),
        (204, "", "HTTP status 204"),
    ] {
        let server = Server::start(move |_, _| answer(code, body));
        let error = api(&server).find(&Selection::Id(7), &identity()).unwrap_err();
        let url = server.url.join("/api/internal/device/7").unwrap();
        assert_eq!(error.to_string(), format!("failed to configure: GET {url}: {expected}"));
        assert_eq!(setup_error(error).status, Some(code));
    }
}

#[test]
fn a_creation_that_is_refused_says_so() {
    let server = Server::start(|_, seen| match seen.method.as_str() {
        "POST" => answer(400, r#"{"error": "plan is full"}"#),
        _ => status(404),
    });
    let error = setup_error(api(&server).find(&Selection::Name, &identity()).unwrap_err());
    assert_eq!((error.method.as_str(), error.status), ("POST", Some(400)));
    assert_eq!(error.detail, "HTTP status 400: plan is full");
    assert!(error.url.ends_with("/api/internal/device/"));
}

#[test]
fn a_server_that_is_not_there_is_a_set_up_error() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let base = parse_url("API", &format!("http://127.0.0.1:{port}/api/internal")).unwrap();
    let api = DeviceApi::new(&http(), base, &Timing::default()).unwrap();
    let error = setup_error(api.find(&Selection::Id(7), &identity()).unwrap_err());
    assert_eq!(error.status, None);
    assert!(error.detail.contains("onnection refused"), "{}", error.detail);
}

#[test]
fn an_endless_answer_is_a_set_up_error() {
    let endless = "x".repeat(export::MAX_ANSWER_BYTES + 1);
    let server = Server::start(move |_, _| answer(200, &endless));
    let error = setup_error(api(&server).find(&Selection::Id(7), &identity()).unwrap_err());
    assert!(error.detail.contains("4194304 bytes"), "{}", error.detail);
}

#[test]
fn redirects_of_a_look_up_stay_within_the_server() {
    let server = Server::start(|_, seen| match seen.uri.path() {
        "/api/internal/device/7" => answer_with(301, "location", "/moved"),
        _ => answer(200, DEVICE),
    });
    assert_eq!(api(&server).by_id(7).unwrap().id, 9623);

    let other = Server::start(|_, _| answer(200, DEVICE));
    let elsewhere = other.url.to_string();
    let server = Server::start(move |_, _| answer_with(301, "location", &elsewhere));
    assert_eq!(setup_error(api(&server).by_id(7).unwrap_err()).status, Some(301));
    // The token did not leave.
    assert!(other.seen().is_empty());
}

#[test]
fn a_new_interface_is_published_and_a_stored_one_is_not() {
    let interface = Interface {
        name: "eth0".into(),
        mac: Some([0x00, 0x1c, 0x42, 0x60, 0xbb, 0x37]),
        addresses: vec![([192, 0, 2, 10].into(), 24)],
    };
    let device = support::device(100);
    let stored = r#"[{"id": "1", "snmp_id": "0", "interface_description": "kernel"},
        {"id": "2", "snmp_id": "47927", "interface_description": "eth0",
         "interface_ip": "192.0.2.10", "interface_ip_netmask": "255.255.255.0"}]"#;
    for (stored, published) in [("[]", true), (stored, false)] {
        let server = Server::start(move |_, seen| match seen.method.as_str() {
            "GET" => answer(200, stored),
            _ => status(200),
        });
        assert_eq!(api(&server).publish(&device, &interface).unwrap(), published);
        let mut expected = vec!["GET /api/internal/device/9623/interfaces"];
        if published {
            expected.push("PUT /api/internal/company/1289/device/9623/tags/snmp");
            let sent = server.seen()[1].json();
            assert_eq!(sent["eth0"]["index"], "47927");
            assert_eq!(sent["kernel"]["index"], "0");
        }
        assert_eq!(requests(&server), expected);
    }
}
