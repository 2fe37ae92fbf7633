//! Bodies on their way through: not buffered, and remembered as work under way.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::line::Busy;

/// The body of an answer: the proxy's own text, or the host's bytes.
pub(super) type Answer = Either<Passing<Full<Bytes>>, Passing<Incoming>>;

/// Most bytes of a refused request's body that are read so that the connection can go on.
const DRAIN_BYTES: usize = 256 << 10;
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// A body; while it exists, its request is under way.
#[derive(Debug)]
pub(super) struct Passing<B> {
    body: B,
    _busy: Arc<Busy>,
}

impl<B> Passing<B> {
    pub(super) fn new(body: B, busy: Arc<Busy>) -> Self {
        Self { body, _busy: busy }
    }
}

impl<B: Body + Unpin> Body for Passing<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Reads what is left of a body and forgets it; whether that was all of it.
pub(super) async fn drain(mut body: Incoming) -> bool {
    if body.is_end_stream() {
        return true;
    }
    // A client that waits for leave to send must not get it.
    if body.size_hint().exact().is_some_and(|length| length > DRAIN_BYTES as u64) {
        return false;
    }
    let read = async {
        let mut left = DRAIN_BYTES;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else {
                return false;
            };
            left = rest;
        }
        true
    };
    tokio::time::timeout(DRAIN_TIME, read).await.unwrap_or(false)
}
