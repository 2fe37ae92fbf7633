//! CONNECT: bytes both ways, not looked at.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tracing::debug;

use super::line::{Busy, Client, Line};
use super::{Phase, Proxy};
use crate::target::Target;

/// Two of these for each tunnel.
const BUFFER_BYTES: usize = 8 << 10;
/// When the proxy stops, a tunnel ends once nothing has moved for this time.
const STOP_SILENCE: Duration = Duration::from_secs(1);

/// Relays from the moment the client's stream is free until both ends have closed.
pub(super) async fn run(
    proxy: Arc<Proxy>,
    line: Arc<Line>,
    busy: Arc<Busy>,
    upgrade: OnUpgrade,
    (mut host, early): (TcpStream, Bytes),
    target: Target,
) {
    // Until its end the bytes of the stream are the tunnel's.
    let _busy = busy;
    let _open = proxy.counters.open_tunnels.hold();
    let parts = match upgrade.await {
        Ok(upgraded) => upgraded.downcast::<TokioIo<Client>>(),
        Err(error) => {
            debug!(client = %line.peer, %target, "tunnel not begun: {error}");
            return;
        }
    };
    let Ok(parts) = parts else { return };
    let mut client = parts.io.into_inner();
    let relayed = relay(&mut client, &mut host, &parts.read_buf, &early);
    let mut phase = proxy.phase.clone();
    tokio::select! {
        result = relayed => match result {
            Ok(()) => debug!(client = %line.peer, %target, "tunnel ended"),
            Err(error) => debug!(client = %line.peer, %target, "tunnel broken: {error}"),
        },
        () = line.silent(proxy.limits.idle_time) => {
            proxy.counters.cut_idle.add(1);
            debug!(client = %line.peer, %target, "tunnel cut: nothing moved");
        }
        () = async {
            // An error means that there is nobody left to say so.
            let _ = phase.wait_for(|phase| *phase != Phase::Open).await;
            line.silent(STOP_SILENCE).await;
        } => {}
        () = ended(proxy.phase.clone()) => {}
    }
}

async fn relay(
    client: &mut Client,
    host: &mut TcpStream,
    up: &[u8],
    down: &[u8],
) -> io::Result<()> {
    host.write_all(up).await?;
    client.write_all(down).await?;
    copy_bidirectional_with_sizes(client, host, BUFFER_BYTES, BUFFER_BYTES).await.map(drop)
}

/// Waits until all work is to end at once.
pub(super) async fn ended(mut phase: tokio::sync::watch::Receiver<Phase>) {
    let _ = phase.wait_for(|phase| *phase == Phase::Ended).await;
}
