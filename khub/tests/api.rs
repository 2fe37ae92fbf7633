//! The device and tag API as agents see it (KH-A-1 to KH-A-9).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{answer, batch, dev, gzip, start};
use kflow::Flow;
use kflow::api::DeviceBody;
use khub::Config;
use reqwest::{Method, StatusCode};
use serde_json::json;

const NEW: &str = r#"{"device": {"device_name": "pd.host", "device_type": "host-nprobe-dns-www",
    "device_subtype": "kprobe", "device_description": "pd.host", "device_sample_rate": "4",
    "device_bgp_type": "none", "plan_id": 11, "site_id": 394, "cdn_attr": "N",
    "sending_ips": ["192.0.2.10"]}}"#;

/// A hub without `--dev` for the same account.
async fn strict() -> common::Running {
    let config = Config { print: false, ..Config::new("test@example.com", "token") };
    start(config, std::io::sink()).await
}

#[tokio::test]
async fn dev_mode_knows_device_1_with_the_reference_columns() {
    let hub = dev().await;
    for key in ["1", "dev1", "127.0.0.1"] {
        for prefix in ["/api/internal", "/api/v5", "/api"] {
            let found = hub.get(&format!("{prefix}/device/{key}")).await;
            let device = serde_json::from_str::<DeviceBody>(&found.text).unwrap().device;
            assert_eq!((device.id, device.company_id, device.device_sample_rate), (1, 1, 1));
            assert_eq!((device.device_name.as_str(), device.max_flow_rate), ("dev1", 4000));
            assert_eq!(device.custom_column_data.len(), 55 + 33);
        }
    }
    let json = hub.get("/api/internal/device/1").await.json();
    assert_eq!(json["device"]["id"], "1");
    assert_eq!(json["device"]["device_sample_rate"], "1");
    assert_eq!(json["device"]["max_flow_rate"], 4000);
    let third = json!({"field_id": "3", "col_name": "FRAGMENTS", "col_type": "uint32"});
    assert_eq!(json["device"]["custom_column_data"][2], third);
}

#[tokio::test]
async fn dev_mode_creates_devices_that_are_looked_up_by_name_or_address() {
    let config = Config { print: false, sample_rate: 16, max_flow_rate: 100, ..Config::dev() };
    let hub = start(config, std::io::sink()).await;
    let named = hub.get("/api/internal/device/my_host").await.json();
    assert_eq!(
        (&named["device"]["id"], &named["device"]["ip"]),
        (&json!("2"), &json!("127.0.0.1"))
    );
    assert_eq!(named["device"]["device_sample_rate"], "16");
    assert_eq!(named["device"]["max_flow_rate"], 100);
    assert_eq!(hub.get("/api/internal/device/my.host").await.json()["device"]["id"], "2");
    assert_eq!(hub.get("/api/internal/device/198.51.100.7").await.json()["device"]["id"], "3");
    assert_eq!(hub.get("/api/internal/device/77").await.error().0, 404);
    assert_eq!(
        hub.get("/api/internal/devices").await.json()["devices"].as_array().unwrap().len(),
        3
    );
}

#[tokio::test]
async fn without_dev_mode_devices_are_created_by_request_only() {
    let hub = strict().await;
    assert_eq!(
        hub.get("/api/internal/device/pd_host").await.error(),
        (404, "device not found".into())
    );
    let created = hub.post("/api/internal/device/", NEW).await;
    assert_eq!(created.status, StatusCode::CREATED);
    let id = created.json()["device"]["id"].clone();
    assert_eq!(id, "1");
    let found = hub.get("/api/internal/device/1").await.json();
    assert_eq!(found["device"]["device_name"], "pd_host");
    assert_eq!(found["device"]["device_sample_rate"], "4");
    assert_eq!(found["device"]["plan"]["id"], 11);
    assert_eq!(found["device"]["sending_ips"], json!(["192.0.2.10"]));
    let ids = found["device"]["custom_column_data"].as_array().unwrap();
    assert!(
        ids.contains(
            &json!({"field_id": "2880", "col_name": "APP_PROTOCOL", "col_type": "uint32"})
        )
    );
    for key in ["pd.host", "pd_host", "pd-host", "192.0.2.10"] {
        assert_eq!(hub.get(&format!("/api/internal/device/{key}")).await.status, 200, "{key}");
    }
}

#[tokio::test]
async fn a_second_device_of_the_same_name_is_a_conflict() {
    let hub = strict().await;
    assert_eq!(hub.post("/api/device", NEW).await.status, StatusCode::CREATED);
    let again = hub.post("/api/device", NEW).await.error();
    assert_eq!(again, (409, "a device of this name exists".into()));
}

#[tokio::test]
async fn a_creation_that_makes_no_sense_is_a_bad_request() {
    let hub = strict().await;
    let nameless = r#"{"device": {"device_name": ""}}"#;
    let numeric = r#"{"device": {"device_name": "123"}}"#;
    let nowhere = r#"{"device": {"device_name": "a", "sending_ips": ["nowhere"]}}"#;
    for body in ["", "{", "[]", "{}", r#"{"device": 1}"#, nameless, numeric, nowhere] {
        assert_eq!(hub.post("/api/internal/device/", body).await.error().0, 400, "{body}");
    }
    let large = format!(r#"{{"device": {{"device_name": "{}"}}}}"#, "x".repeat(4 << 20));
    assert_eq!(hub.post("/api/internal/device/", &large).await.error().0, 413);
}

#[tokio::test]
async fn a_device_is_created_together_with_its_site() {
    let hub = strict().await;
    let body = r#"{"site": {"title": "Berlin", "city": "Berlin", "region": "", "country": "DE"},
        "device": {"device_name": "a", "device_subtype": "kproxy"}}"#;
    let created = hub.post("/api/internal/deviceAndSite", body).await;
    assert_eq!(created.status, StatusCode::CREATED);
    assert_eq!(created.json()["device"]["site"]["site_name"], "Berlin");
    let count = async |query: &str| {
        let list = hub.get(&format!("/api/internal/devices?{query}")).await.json();
        list["devices"].as_array().unwrap().len()
    };
    assert_eq!(count("subtypes[]=kproxy&columns[]=id").await, 1);
    assert_eq!(count("subtypes%5B%5D=kprobe").await, 0);
}

#[tokio::test]
async fn interfaces_are_stored_and_read_back() {
    let hub = dev().await;
    assert_eq!(hub.get("/api/internal/device/1/interfaces").await.json(), json!([]));
    let update = r#"{"eth0": {"index": "47927", "alias": "", "desc": "eth0", "speed": 0, "type": 0,
        "address": "192.0.2.10", "netmask": "255.255.255.0",
        "alias_address": [{"address": "2001:db8::10", "netmask": "ffff:ffff:ffff:ffff::"}]},
        "kernel": {"index": "0", "alias": "", "desc": "kernel", "speed": 0, "type": 0,
        "address": "", "netmask": "", "alias_address": null}}"#;
    let put = |path: &str| hub.request(Method::PUT, path).body(update);
    let path = "/api/internal/company/1/device/1/tags/snmp";
    assert_eq!(answer(put(path)).await.status, StatusCode::OK);
    let stored = hub.get("/api/internal/device/1/interfaces").await.json();
    let eth0 = json!({"id": "1", "snmp_id": "47927", "snmp_alias": "",
        "interface_description": "eth0", "interface_ip": "192.0.2.10",
        "interface_ip_netmask": "255.255.255.0",
        "secondary_ips": [{"address": "2001:db8::10", "netmask": "ffff:ffff:ffff:ffff::"}]});
    assert_eq!(stored[0], eth0);
    assert_eq!(stored[1]["interface_description"], "kernel");
    for wrong in ["company/2/device/1", "company/1/device/9", "company/x/device/y"] {
        let refused = answer(put(&format!("/api/internal/{wrong}/tags/snmp"))).await;
        assert_eq!(refused.error().0, 404, "{wrong}");
    }
    assert_eq!(hub.get("/api/internal/device/9/interfaces").await.error().0, 404);
    let tags = hub.get("/api/internal/company/1/device/1/tags").await.json();
    assert_eq!(tags, json!({"tags": []}));
}

#[tokio::test]
async fn dimensions_are_created_once_and_listed() {
    let hub = dev().await;
    let body = r#"{"name": "kt_user", "display_name": "User", "type": "string", "is_bulk": true,
        "internal": false}"#;
    let created = hub.post("/api/internal/customdimension", body).await;
    assert_eq!(created.status, StatusCode::CREATED);
    assert_eq!(created.json()["customDimension"]["id"], 1);
    assert_eq!(hub.post("/api/internal/customdimension", body).await.error().0, 409);
    let list = hub.get("/api/internal/customdimensions").await.json();
    assert_eq!(list["customDimensions"][0]["name"], "kt_user");
}

#[tokio::test]
async fn user_tags_are_applied_to_the_records_that_follow() {
    let hub = dev().await;
    let path = "/api/internal/batch/customdimensions/kt_user/populators";
    let flow = Flow { src: [10, 1, 2, 3].into(), out_bytes: 1, ..Flow::default() };
    let send = async || {
        answer(hub.chf(gzip(&batch(std::slice::from_ref(&flow))))).await;
        hub.get("/api/v1/flows?limit=1").await.json()[0]["metrics"].clone()
    };
    let start = r#"{"replace_all": false, "complete": true, "ttl_minutes": 0,
        "upserts": [{"value": "bob", "criteria": [{"addr": ["10.1.2.3"]}]}]}"#;
    let applied = hub.post(path, start).await;
    assert_eq!(applied.status, StatusCode::OK);
    assert!(applied.json()["message"].is_string() && applied.json()["guid"].is_string());
    assert_eq!(send().await, json!({"src_kt_user": "bob"}));
    let stop = r#"{"replace_all": false, "complete": true, "ttl_minutes": 0,
        "deletes": [{"value": "bob"}]}"#;
    assert_eq!(hub.post(path, stop).await.status, StatusCode::OK);
    assert_eq!(send().await, json!({}));
    assert_eq!(hub.post(path, "[]").await.error().0, 400);
}
