//! Intake of DNS responses (KH-D-1) and agent metrics (KH-T-1), and what is kept of them.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use kflow::dns;
use kflow::tsdb::Metric;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::{self, DNS_LIMITS};
use crate::clock;
use crate::hub::{Hub, locked};
use crate::refusal::Refusal;

const MAX_NAME_BYTES: usize = 1024;
const MAX_ANSWERS: usize = 256;
const MAX_TAGS: usize = 64;

/// How many to list.
#[derive(Deserialize)]
pub(crate) struct Limit {
    limit: Option<usize>,
}

/// `POST /dns`: an empty answer without content type, which is what clients expect. Responses in
/// front of a fault are kept.
pub(crate) async fn receive_dns(
    State(hub): State<Arc<Hub>>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let content_type = headers.get(header::CONTENT_TYPE);
    if content_type.is_some_and(|value| value.as_bytes() != dns::CONTENT_TYPE.as_bytes()) {
        return Err(Refusal::bad("content type must be application/chfdns or absent"));
    }
    let sent = body::read(&hub, &headers, body, DNS_LIMITS).await?;
    let Ok(work) = hub.decode_slots.clone().acquire_owned().await else {
        return Err(Refusal::busy());
    };
    let done = tokio::task::spawn_blocking(move || {
        let taken = take_dns(&hub, sent);
        drop(work);
        taken
    });
    done.await.unwrap_or_else(|_| Err(Refusal::busy()))
}

/// `GET /api/v1/dns?limit=`: the newest responses, newest first.
pub(crate) async fn list_dns(
    State(hub): State<Arc<Hub>>,
    Query(query): Query<Limit>,
) -> Json<Value> {
    let kept = locked(&hub.dns);
    let newest = kept.iter().rev().take(query.limit.unwrap_or(100));
    let shown = newest.map(|(time_ms, response)| {
        let answers = response.answers.iter().map(|a| json!({ "address": a.ip, "ttl": a.ttl }));
        json!({
            "time": clock::rfc3339(*time_ms),
            "client": response.question.host,
            "name": response.question.name,
            "answers": answers.collect::<Vec<_>>(),
        })
    });
    Json(shown.collect())
}

/// `POST /tsdb`
pub(crate) async fn receive_metrics(
    State(hub): State<Arc<Hub>>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let metrics: Vec<Metric> = body::array(&hub, &headers, body).await?;
    hub.counters.metrics_in.add(metrics.len() as u64);
    for metric in metrics {
        let texts = metric.tags.iter().flat_map(|(tag, value)| [tag, value]);
        if metric.tags.len() <= MAX_TAGS
            && texts.chain([&metric.metric]).all(|text| text.len() <= MAX_NAME_BYTES)
        {
            hub.keep_metric(metric);
        } else {
            hub.counters.metrics_dropped.add(1);
        }
    }
    Ok(StatusCode::OK)
}

/// `GET /api/v1/agent-metrics`: the newest value of each series, by name and tags.
pub(crate) async fn list_metrics(State(hub): State<Arc<Hub>>) -> Json<Value> {
    let series = locked(&hub.series);
    let mut keys: Vec<_> = series.keys().collect();
    keys.sort_unstable();
    Json(keys.into_iter().map(|key| json!(series[key])).collect())
}

fn take_dns(hub: &Hub, sent: body::Sent) -> Result<StatusCode, Refusal> {
    let bytes = sent.unpack(DNS_LIMITS.unpacked).map_err(|error| error.refusal(hub))?;
    for response in dns::decode(&bytes) {
        let mut response = response.map_err(|error| {
            hub.counters.dns_errors.add(1);
            Refusal::bad(error.to_string())
        })?;
        hub.counters.dns_responses.add(1);
        // Longer ones cannot come from the wire; they are kept without the excess.
        response.answers.truncate(MAX_ANSWERS);
        for answer in &mut response.answers {
            answer.name = String::new();
            answer.cname = String::new();
        }
        if response.question.name.len() <= MAX_NAME_BYTES {
            hub.keep_dns(response);
        } else {
            hub.counters.dns_evicted.add(1);
        }
    }
    Ok(StatusCode::OK)
}
