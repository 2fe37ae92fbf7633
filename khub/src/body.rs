//! Request bodies: read within limits of size and time, unpacked within a limit of size.

use std::io::Read;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::hub::Hub;
use crate::refusal::Refusal;

/// A client that sends more than this is not listened to any further.
const MAX_DRAINED_BYTES: usize = 64 << 20;
const READ_TIME: Duration = Duration::from_secs(30);
const SLOT_TIME: Duration = Duration::from_secs(5);

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
}

/// Sizes in bytes up to which bodies are taken.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) sent: usize,
    pub(crate) unpacked: usize,
}

/// For flow batches: 10 MiB sent, 128 MiB unpacked (KH-F-1).
pub(crate) const FLOW_LIMITS: Limits = Limits { sent: 10 << 20, unpacked: 128 << 20 };
/// For DNS batches, which are cut only after they passed 10 MB.
pub(crate) const DNS_LIMITS: Limits = Limits { sent: 32 << 20, unpacked: 32 << 20 };
/// For JSON; tag batches stay below 3.5 MB.
pub(crate) const JSON_LIMITS: Limits = Limits { sent: 4 << 20, unpacked: 4 << 20 };

/// A body as it was sent, and the place it holds among those being worked on.
pub(crate) struct Sent {
    pub(crate) bytes: Vec<u8>,
    pub(crate) encoding: Encoding,
    pub(crate) _slot: OwnedSemaphorePermit,
}

/// Reads a body: waits up to 5 s for a place and gives the client 30 s.
pub(crate) async fn read(
    hub: &Hub,
    headers: &HeaderMap,
    body: Body,
    limits: Limits,
) -> Result<Sent, Refusal> {
    let encoding = encoding(headers)?;
    let Ok(Ok(slot)) = timeout(SLOT_TIME, hub.intake_slots.clone().acquire_owned()).await else {
        hub.counters.busy.add(1);
        return Err(Refusal::busy());
    };
    let Ok(read) = timeout(READ_TIME, collect(body, limits.sent)).await else {
        hub.counters.slow_bodies.add(1);
        return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "body did not arrive in time"));
    };
    match read {
        Ok(bytes) => Ok(Sent { bytes, encoding, _slot: slot }),
        Err(CollectError::TooLarge) => {
            hub.counters.too_large.add(1);
            Err(Refusal::too_large(limits.sent))
        }
        Err(CollectError::Broken) => Err(Refusal::bad("body ends too early")),
    }
}

/// Reads and parses a body that must be a JSON object.
pub(crate) async fn object<T: DeserializeOwned>(
    hub: &Hub,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Refusal> {
    json(hub, headers, body, b'{').await
}

/// Reads and parses a body that must be a JSON array.
pub(crate) async fn array<T: DeserializeOwned>(
    hub: &Hub,
    headers: &HeaderMap,
    body: Body,
) -> Result<Vec<T>, Refusal> {
    json(hub, headers, body, b'[').await
}

async fn json<T: DeserializeOwned>(
    hub: &Hub,
    headers: &HeaderMap,
    body: Body,
    opening: u8,
) -> Result<T, Refusal> {
    let sent = read(hub, headers, body, JSON_LIMITS).await?;
    let bytes = sent.unpack(JSON_LIMITS.unpacked).map_err(|error| error.refusal(hub))?;
    // The parser would take an array for an object, member by member.
    if bytes.trim_ascii_start().first() != Some(&opening) {
        return Err(Refusal::bad(format!("body must begin with {}", char::from(opening))));
    }
    serde_json::from_slice(&bytes).map_err(|error| Refusal::bad(format!("bad JSON: {error}")))
}

/// Why a body cannot be unpacked.
#[derive(Debug)]
pub(crate) enum UnpackError {
    TooLarge { limit_bytes: usize },
    Gzip(std::io::Error),
}

impl UnpackError {
    pub(crate) fn refusal(self, hub: &Hub) -> Refusal {
        match self {
            Self::TooLarge { limit_bytes } => {
                hub.counters.too_large.add(1);
                Refusal::too_large(limit_bytes)
            }
            Self::Gzip(error) => Refusal::bad(format!("bad gzip body: {error}")),
        }
    }
}

impl Sent {
    /// The body without compression. Takes processor time in proportion to the limit.
    pub(crate) fn unpack(self, limit_bytes: usize) -> Result<Vec<u8>, UnpackError> {
        if self.encoding == Encoding::Identity {
            return Ok(self.bytes);
        }
        let mut unpacked = Vec::new();
        MultiGzDecoder::new(&*self.bytes)
            .take(limit_bytes as u64 + 1)
            .read_to_end(&mut unpacked)
            .map_err(UnpackError::Gzip)?;
        if unpacked.len() > limit_bytes {
            return Err(UnpackError::TooLarge { limit_bytes });
        }
        Ok(unpacked)
    }
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Refusal> {
    match headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase()) {
        None => Ok(Encoding::Identity),
        Some(name) if name.is_empty() || name == b"identity" => Ok(Encoding::Identity),
        Some(name) if name == b"gzip" || name == b"x-gzip" => Ok(Encoding::Gzip),
        Some(_) => Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "content encoding is neither gzip nor identity",
        )),
    }
}

enum CollectError {
    TooLarge,
    Broken,
}

/// Collects the body. One that is too large is read on for a while without being kept, so that the
/// client gets to read the answer.
async fn collect(mut body: Body, limit_bytes: usize) -> Result<Vec<u8>, CollectError> {
    let mut bytes = Vec::new();
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| CollectError::Broken)?.into_data() else { continue };
        seen += data.len();
        if seen > MAX_DRAINED_BYTES {
            break;
        }
        if seen > limit_bytes {
            bytes = Vec::new();
        } else {
            bytes.extend_from_slice(&data);
        }
    }
    if seen > limit_bytes { Err(CollectError::TooLarge) } else { Ok(bytes) }
}
