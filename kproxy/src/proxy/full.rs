//! Connections beyond the limit: a short 503, at little cost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::Proxy;
use super::denial::Denial;

/// Refusals under way at once; connections beyond them are closed at once.
pub(super) const MOST_REFUSALS: usize = 64;
/// For the client to read the answer and close.
const TIME: Duration = Duration::from_secs(2);
/// Bytes of the client's that are read, so that closing does not lose it the answer.
const MOST_BYTES: u64 = 64 << 10;

/// Answers 503 without having read the request.
pub(super) fn refuse(
    proxy: &Arc<Proxy>,
    refusals: &Arc<Semaphore>,
    mut stream: TcpStream,
    peer: SocketAddr,
) {
    let denial = Denial::full(proxy.limits.connections);
    proxy.note(&denial, peer);
    let Ok(place) = Arc::clone(refusals).try_acquire_owned() else {
        proxy.counters.dropped.add(1);
        return;
    };
    let body = format!("kproxy: {}\n", denial.text);
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n\
         retry-after: 5\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    tokio::spawn(async move {
        let talk = async {
            stream.write_all(answer.as_bytes()).await?;
            stream.shutdown().await?;
            tokio::io::copy(&mut stream.take(MOST_BYTES), &mut tokio::io::sink()).await
        };
        // A client that is gone or slow is none of ours.
        let _ = tokio::time::timeout(TIME, talk).await;
        drop(place);
    });
}
