//! The agent's life: bind, serve, stop.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::config::Config;
use crate::counters::Counters;
use crate::health::{self, Health};
use crate::proxy::{Phase, Proxy};

/// What is under way may take this long when the agent stops.
const STOP_TIME: Duration = Duration::from_secs(10);
/// And what is cut then, this long to end.
const END_TIME: Duration = Duration::from_secs(1);

/// Why the agent cannot start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for {what}: {error}")]
pub struct StartError {
    /// `the proxy` or `the health page`.
    pub what: &'static str,
    /// As configured.
    pub address: SocketAddr,
    /// What the system says.
    pub error: io::Error,
}

/// An agent that listens, and serves once it runs.
#[derive(Debug)]
pub struct Agent {
    proxy: Arc<Proxy>,
    health: Arc<Health>,
    proxy_listener: TcpListener,
    health_listener: TcpListener,
    proxy_address: SocketAddr,
    health_address: SocketAddr,
    phase: watch::Sender<Phase>,
}

impl Agent {
    /// Opens the listeners.
    ///
    /// # Errors
    /// An address cannot be used.
    pub async fn bind(config: &Config) -> Result<Self, StartError> {
        let (proxy_listener, proxy_address) = listen("the proxy", config.proxy.listen).await?;
        let (health_listener, health_address) = listen("the health page", config.health).await?;
        let (phase, phases) = watch::channel(Phase::Open);
        let counters = Arc::new(Counters::default());
        let own = [proxy_address, health_address];
        let proxy = Proxy::new(&config.proxy, own, Arc::clone(&counters), phases.clone());
        let health = Arc::new(Health {
            counters,
            started: Instant::now(),
            most_connections: config.proxy.limits.connections,
            phase: phases,
        });
        info!(address = %proxy_address, allow = %config.proxy.allow, "proxy listening");
        info!(address = %health_address, "health page listening");
        Ok(Self {
            proxy,
            health,
            proxy_listener,
            health_listener,
            proxy_address,
            health_address,
            phase,
        })
    }

    /// Where the proxy listens.
    pub fn proxy_address(&self) -> SocketAddr {
        self.proxy_address
    }

    /// Where the health page is.
    pub fn health_address(&self) -> SocketAddr {
        self.health_address
    }

    /// Serves until `stop` is ready. Then requests under way and tunnels that are in use have 10 s
    /// to end; idle connections end at once.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let health = tokio::spawn(health::serve(self.health, self.health_listener));
        let mut serving = std::pin::pin!(self.proxy.serve(self.proxy_listener));
        tokio::select! {
            () = &mut serving => {}
            () = stop => {}
        }
        self.phase.send_replace(Phase::Draining);
        if tokio::time::timeout(STOP_TIME, &mut serving).await.is_err() {
            warn!("requests or tunnels were cut off");
            self.phase.send_replace(Phase::Ended);
            let _ = tokio::time::timeout(END_TIME, serving).await;
        }
        health.abort();
    }
}

async fn listen(
    what: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound.await.map_err(|error| StartError { what, address, error })
}
