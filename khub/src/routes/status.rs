//! How the hub is doing, for people, Prometheus and supervisors.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};

use crate::hub::{Hub, locked, read};

/// `GET /api/v1/status`
pub(crate) async fn status(State(hub): State<Arc<Hub>>) -> Json<Value> {
    let counters: Map<_, _> = hub
        .counters
        .table()
        .into_iter()
        .map(|(name, _, value)| (name.to_owned(), value.into()))
        .collect();
    let gauges: Map<_, _> =
        gauges(&hub).into_iter().map(|(name, _, value)| (name.to_owned(), value.into())).collect();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "dev": hub.config.dev,
        "uptime_s": hub.started.elapsed().as_secs(),
        "records_per_s": hub.counters.rate.per_second(),
        "now": gauges,
        "counters": counters,
    }))
}

/// `GET /metrics`, the Prometheus text format 0.0.4.
pub(crate) async fn metrics(State(hub): State<Arc<Hub>>) -> impl IntoResponse {
    let mut text = String::new();
    for (name, help, value) in hub.counters.table() {
        let _ = writeln!(
            text,
            "# HELP khub_{name}_total {help}\n# TYPE khub_{name}_total counter\n\
             khub_{name}_total {value}"
        );
    }
    for (name, help, value) in gauges(&hub) {
        let _ = writeln!(
            text,
            "# HELP khub_{name} {help}\n# TYPE khub_{name} gauge\nkhub_{name} {value}"
        );
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

/// `GET /healthz`
pub(crate) async fn health() -> &'static str {
    "ok\n"
}

fn gauges(hub: &Hub) -> [(&'static str, &'static str, u64); 7] {
    let (records_kept, column_bytes) = {
        let ring = locked(&hub.ring);
        (ring.len() as u64, ring.column_bytes() as u64)
    };
    [
        ("records_kept", "Records in memory.", records_kept),
        ("records_kept_max", "Records that memory is reserved for.", hub.config.keep as u64),
        ("column_bytes", "Bytes of custom columns in memory.", column_bytes),
        ("devices", "Devices known.", read(&hub.directory).len() as u64),
        ("dimension_values", "Tag values known.", read(&hub.dimensions).values() as u64),
        ("dns_kept", "DNS responses in memory.", locked(&hub.dns).len() as u64),
        ("series", "Agent metric series in memory.", locked(&hub.series).len() as u64),
    ]
}
