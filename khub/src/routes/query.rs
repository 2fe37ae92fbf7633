//! Questions about kept records, in the query of a URL.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::hub::{Hub, read};
use crate::query::{self, By, Filter, Network};
use crate::refusal::Refusal;

const DEFAULT_FLOWS: usize = 100;
const MAX_FLOWS: usize = 100_000;
const DEFAULT_TOP: usize = 20;
const MAX_TOP: usize = 1000;
const DEFAULT_TOP_SECONDS: u64 = 60;

/// Parameters of `/api/v1/flows`; empty ones are as good as absent.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct FlowParameters {
    limit: String,
    device: String,
    src: String,
    dst: String,
    port: String,
    protocol: String,
    since: String,
}

/// Parameters of `/api/v1/top`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct TopParameters {
    by: String,
    seconds: String,
    limit: String,
}

/// `GET /api/v1/flows?limit=&device=&src=&dst=&port=&protocol=&since=`: newest first. `device` is an
/// id, name or address; `src` and `dst` addresses or prefixes; `since` is in seconds since the
/// epoch, fractions allowed.
pub(crate) async fn flows(
    State(hub): State<Arc<Hub>>,
    Query(parameters): Query<FlowParameters>,
) -> Result<Response, Refusal> {
    let limit = number("limit", &parameters.limit, DEFAULT_FLOWS)?.min(MAX_FLOWS);
    let Some(filter) = filter(&hub, &parameters)? else {
        return Ok(Json([(); 0]).into_response());
    };
    let json = blocking(&hub.clone(), move || query::flows(&hub, &filter, limit)).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

/// `GET /api/v1/top?by=src|dst|pair|port|protocol&seconds=60&limit=20`
pub(crate) async fn top(
    State(hub): State<Arc<Hub>>,
    Query(parameters): Query<TopParameters>,
) -> Result<Json<Vec<query::Top>>, Refusal> {
    let by = match parameters.by.as_str() {
        "" => By::Src,
        by => By::parse(by)
            .ok_or_else(|| Refusal::bad("by is none of src, dst, pair, port, protocol"))?,
    };
    let seconds = number("seconds", &parameters.seconds, DEFAULT_TOP_SECONDS)?;
    let limit = number("limit", &parameters.limit, DEFAULT_TOP)?.min(MAX_TOP);
    let since_ms = query::ago(seconds);
    blocking(&hub.clone(), move || query::top(&hub, by, since_ms, limit)).await.map(Json)
}

/// Runs a question beside the server, two at a time.
async fn blocking<T: Send + 'static>(
    hub: &Hub,
    question: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    let slot = hub.query_slots.clone().acquire_owned().await.map_err(|_| Refusal::busy())?;
    let answer = tokio::task::spawn_blocking(move || {
        let answer = question();
        drop(slot);
        answer
    });
    answer.await.map_err(|_| Refusal::busy())
}

/// `None` when no record can match, since the device is unknown.
fn filter(hub: &Hub, parameters: &FlowParameters) -> Result<Option<Filter>, Refusal> {
    let device_id = match parameters.device.as_str() {
        "" => None,
        key => match read(&hub.directory).find(key) {
            Some(device) => Some(device.id as u32),
            None => return Ok(None),
        },
    };
    Ok(Some(Filter {
        device_id,
        src: optional("src", &parameters.src, Network::parse)?,
        dst: optional("dst", &parameters.dst, Network::parse)?,
        port: optional("port", &parameters.port, |text| text.parse().ok())?,
        protocol: optional("protocol", &parameters.protocol, query::protocol)?,
        since_ms: optional("since", &parameters.since, epoch_ms)?.unwrap_or_default(),
    }))
}

fn epoch_ms(text: &str) -> Option<u64> {
    let seconds: f64 = text.parse().ok()?;
    (seconds.is_finite() && seconds >= 0.0).then_some((seconds * 1000.0) as u64)
}

fn optional<T>(
    name: &str,
    text: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    parse(text).map(Some).ok_or_else(|| Refusal::bad(format!("{name} cannot be understood")))
}

fn number<T: std::str::FromStr>(name: &str, text: &str, default: T) -> Result<T, Refusal> {
    Ok(optional(name, text, |text| text.parse().ok())?.unwrap_or(default))
}
