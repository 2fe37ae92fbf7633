//! Intake of flow batches (KH-F-1 to KH-F-3).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kflow::api::{SenderId, strict_name};
use kflow::wire::{DecodeError, decode_body};
use serde::Deserialize;

use crate::body::{self, FLOW_LIMITS, Sent};
use crate::directory::COMPANY_ID;
use crate::hub::{Hub, read};
use crate::refusal::Refusal;

/// Query of a flow POST.
#[derive(Deserialize)]
pub(crate) struct Parameters {
    #[serde(default)]
    sid: String,
    #[serde(default)]
    sender_id: String,
}

/// `POST /chf`: `GOOD`, or `BAD` for an unknown sender or a body that is no batch.
pub(crate) async fn receive(
    State(hub): State<Arc<Hub>>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    if parameters.sid != "0" {
        return Err(Refusal::bad("sid must be 0"));
    }
    let content_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    if !matches!(content_type, b"application/binary" | b"application/chf") {
        return Err(Refusal::bad("content type must be application/binary"));
    }
    let Some(device_id) = known_sender(&hub, &parameters.sender_id) else {
        hub.counters.unknown_senders.add(1);
        tracing::debug!("flow batch of an unknown sender");
        return Ok(bad());
    };
    let sent = body::read(&hub, &headers, body, FLOW_LIMITS).await?;
    let Ok(work) = hub.decode_slots.clone().acquire_owned().await else {
        return Err(Refusal::busy());
    };
    let done = tokio::task::spawn_blocking(move || {
        let answer = take(&hub, sent, device_id);
        drop(work);
        answer
    });
    done.await.unwrap_or_else(|_| Err(Refusal::busy()))
}

/// The device of a sender id whose three parts are all right, the name in any spelling.
fn known_sender(hub: &Hub, sender_id: &str) -> Option<u32> {
    let sender: SenderId = sender_id.parse().ok()?;
    let directory = read(&hub.directory);
    let device = directory.by_id(sender.device_id)?;
    let known =
        sender.company_id == COMPANY_ID && strict_name(&sender.device_name) == device.device_name;
    known.then_some(device.id as u32)
}

fn take(hub: &Hub, sent: Sent, device_id: u32) -> Result<Response, Refusal> {
    let sent_bytes = sent.bytes.len() as u64;
    let body = match sent.unpack(FLOW_LIMITS.unpacked) {
        Ok(body) => body,
        Err(body::UnpackError::Gzip(error)) => {
            hub.counters.decode_errors.add(1);
            tracing::debug!(device_id, %error, "flow batch cannot be unpacked");
            return Ok(bad());
        }
        Err(error) => return Err(error.refusal(hub)),
    };
    let flows = match decode_body(&body) {
        Ok(flows) => flows,
        Err(error @ DecodeError::TooLarge { limit_bytes }) => {
            hub.counters.too_large.add(1);
            tracing::debug!(device_id, %error, "flow batch is too large");
            return Err(Refusal::too_large(limit_bytes));
        }
        Err(error) => {
            hub.counters.decode_errors.add(1);
            tracing::debug!(device_id, %error, "flow batch cannot be decoded");
            return Ok(bad());
        }
    };
    drop(body);
    hub.counters.batches_in.add(1);
    hub.counters.bytes_in.add(sent_bytes);
    hub.absorb(&flows, device_id);
    Ok("GOOD".into_response())
}

fn bad() -> Response {
    (StatusCode::BAD_REQUEST, "BAD").into_response()
}
