//! What a replay sends to a device with these custom columns, by the columns' names.

use std::collections::BTreeMap;
use std::path::Path;

use kflow::{Flow, Value};

use crate::common::backend::urls;
use crate::common::run;
use crate::support::{Server, answer, status};

/// Columns of every device that the specification knows.
pub const COMMON: &str = "FRAGMENTS:uint32 APPL_LATENCY_MS:uint32 FPEX_LATENCY_MS:uint32 \
    CONNECTION_ID:uint32 CLIENT_NW_LATENCY_MS:uint32 SERVER_NW_LATENCY_MS:uint32 \
    RECEIVE_WINDOW:uint32";

/// A column for each field: what a device without `APP_PROTOCOL` has (scheme A).
pub const SCHEME_A: &str = "KFLOW_DNS_QUERY:string KFLOW_DNS_QUERY_TYPE:uint32 \
    KFLOW_DNS_RET_CODE:uint32 KFLOW_DNS_RESPONSE:string KFLOW_HTTP_URL:string \
    KFLOW_HTTP_HOST:string KFLOW_HTTP_REFERER:string KFLOW_HTTP_UA:string \
    KFLOW_HTTP_STATUS:uint32 DHCP_OP:uint32 DHCP_MSG_TYPE:uint32 DHCP_CI_ADDR:inet \
    DHCP_YI_ADDR:inet DHCP_SI_ADDR:inet DHCP_CH_ADDR:string DHCP_HOSTNAME:string \
    DHCP_DOMAIN:string DHCP_LEASE:uint32 RADIUS_CODE:uint32 RADIUS_USER_NAME:string \
    RADIUS_SERVICE_TYPE:uint32 RADIUS_FRAMED_IP_ADDR:inet RADIUS_FRAMED_IP_MASK:inet \
    RADIUS_FRAMED_PROTO:string RADIUS_ACCT_STATUS:uint32 RADIUS_ACCT_SESSION_ID:string";

/// Generic columns (scheme B).
pub const SCHEME_B: &str = "APP_PROTOCOL:uint32 STR00:string STR01:string STR02:string \
    STR03:string INT00:uint32 INT01:uint32 INT02:uint32 INET_00:inet INET_01:inet INET_02:inet";

/// A record that arrived, its columns by name.
pub struct Arrived {
    pub flow: Flow,
    pub columns: BTreeMap<String, Value>,
}

impl Arrived {
    /// A line for comparison with what was written by hand: counters, then all columns but the
    /// connection's number.
    pub fn line(&self) -> String {
        let Flow { in_packets, in_bytes, out_packets, out_bytes, app_protocol, .. } = self.flow;
        let (word, packets, bytes) = match in_packets {
            0 => ("out", out_packets, out_bytes),
            _ => ("in", in_packets, in_bytes),
        };
        let mut line = format!("{word} {packets}/{bytes} app {app_protocol}:");
        for (name, value) in self.columns.iter().filter(|(name, _)| *name != "CONNECTION_ID") {
            let value = match value {
                Value::U32(number) => number.to_string(),
                Value::Text(text) => format!("'{text}'"),
                Value::Addr(address) => address.to_string(),
                other => panic!("{name} is {other:?}"),
            };
            line.push_str(&format!(" {name}={value}"));
        }
        line
    }
}

/// Replays a capture to a real HTTP server that announces a device with these columns,
/// `NAME:type` each; gives its records, sorted by their lines.
pub fn replay(path: &Path, columns: &[&str], more: &[&str]) -> Vec<Arrived> {
    let columns: Vec<(&str, &str)> = columns
        .iter()
        .flat_map(|list| list.split_whitespace())
        .map(|column| column.split_once(':').expect("name:type"))
        .collect();
    let announced: Vec<String> = (1..)
        .zip(&columns)
        .map(|(id, (name, kind))| {
            format!(r#"{{"field_id": "{id}", "col_name": "{name}", "col_type": "{kind}"}}"#)
        })
        .collect();
    let device = format!(
        r#"{{"device": {{"id": "1", "company_id": "1", "device_name": "apps",
        "device_sample_rate": "1", "max_flow_rate": 1000000, "custom_column_data": [{}]}}}}"#,
        announced.join(",")
    );
    let server = Server::start(move |_, seen| match seen.uri.path() {
        "/chf" => status(200),
        path if path.ends_with("/interfaces") => answer(200, "[]"),
        path if path.contains("/device/") => answer(200, &device),
        _ => answer(200, "{}"),
    });
    let account = ["--email", khub::DEV_EMAIL, "--token", khub::DEV_TOKEN, "--device-name", "apps"];
    let arguments = account.into_iter().chain(more.iter().copied()).map(str::to_owned);
    let read = ["--read".to_owned(), path.display().to_string()];
    let run = run(arguments.chain(urls(server.url.authority())).chain(read));
    assert_eq!(run.code, Some(0), "{}: {}", path.display(), run.stderr);
    let name = |id: u32| columns.get(id as usize - 1).expect("an announced column").0.to_owned();
    let mut arrived: Vec<Arrived> = server
        .accepted()
        .into_iter()
        .map(|flow| {
            let values = flow.customs.iter().map(|custom| (name(custom.id), custom.value.clone()));
            let columns: BTreeMap<_, _> = values.collect();
            assert_eq!(columns.len(), flow.customs.len(), "a column came twice: {flow:?}");
            Arrived { flow, columns }
        })
        .collect();
    arrived.sort_by_key(Arrived::line);
    arrived
}
