//! The way of messages to a collector: a task that connects, sends templates first and again, and
//! counts what has left.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::sync::{Notify, mpsc};
use tracing::{info, warn};

use super::message::{Message, preamble};
use super::{IpfixConfig, Transport};
use crate::flow::Timing;
use crate::stats::{Lost, OutputStats};

/// UDP: templates are sent again after this time, and after so many messages.
const TEMPLATES_EVERY: Duration = Duration::from_secs(60);
const TEMPLATES_AFTER: u32 = 4096;
/// Sampling rates that are explained; older ones are forgotten.
const MAX_RATES: usize = 16;

/// What the task and the output share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Sampling rates that records carry.
    rates: Mutex<Vec<u32>>,
    /// Changes when they change.
    generation: AtomicU32,
    /// Messages handed to the task and not dealt with.
    pub under_way: AtomicU64,
    /// Data records of messages that were given up before they were numbered.
    pub skipped: AtomicU32,
}

impl Shared {
    /// Makes sure that the collector learns what this rate means.
    pub(super) fn know_rate(&self, rate: u32) {
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        if rates.contains(&rate) {
            return;
        }
        if rates.len() >= MAX_RATES {
            rates.remove(0);
        }
        rates.push(rate);
        self.generation.fetch_add(1, Relaxed);
    }

    fn preamble(&self, domain: u32) -> Message {
        let rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        preamble(domain, now_s(), &rates)
    }
}

enum Socket {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

pub(super) struct Link {
    pub config: IpfixConfig,
    pub timing: Timing,
    pub messages: mpsc::Receiver<Message>,
    pub shared: Arc<Shared>,
    pub stats: Arc<OutputStats>,
    pub wake: Arc<Notify>,
    /// Attempts that failed since a message left.
    pub failures: u32,
}

impl Link {
    pub(super) async fn run(mut self) {
        let mut random = fastrand::Rng::new();
        let mut pending: Option<Message> = None;
        loop {
            // Nothing to send needs no connection, but a collector that is wrong shows at once.
            let error = match self.connect().await {
                Ok(socket) => match self.serve(socket, &mut pending).await {
                    Ok(()) => return,
                    Err(error) => error,
                },
                Err(error) => error,
            };
            self.failures = self.failures.saturating_add(1);
            self.stats.attempts_failed.add(1);
            if self.failures == 1 {
                warn!("{}: {error}; will be repeated", self.config);
            }
            tokio::time::sleep(self.timing.backoff(self.failures, &mut random)).await;
        }
    }

    async fn connect(&self) -> std::io::Result<Socket> {
        let connect = async {
            let IpfixConfig { host, port, transport, .. } = &self.config;
            let mut last = std::io::Error::other("the name has no address");
            for address in lookup_host((host.as_str(), *port)).await? {
                let socket = match transport {
                    Transport::Tcp => TcpStream::connect(address).await.map(Socket::Tcp),
                    Transport::Udp => udp(address).await.map(Socket::Udp),
                };
                match socket {
                    Ok(socket) => return Ok(socket),
                    Err(error) => last = error,
                }
            }
            Err(last)
        };
        let limit = self.timing.connect_timeout;
        tokio::time::timeout(limit, connect).await.unwrap_or_else(|_| {
            Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer to the connection"))
        })
    }

    /// Sends until all is sent or the connection breaks; then the message that did not get through
    /// is left in `pending`.
    async fn serve(
        &mut self,
        mut socket: Socket,
        pending: &mut Option<Message>,
    ) -> std::io::Result<()> {
        let mut sequence = 0_u32;
        let (mut known, mut templates_at, mut since) = (None, Instant::now(), 0);
        loop {
            if pending.is_none() {
                *pending = self.messages.recv().await;
            }
            let Some(message) = pending else {
                return match &mut socket {
                    Socket::Tcp(stream) => stream.shutdown().await,
                    Socket::Udp(_) => Ok(()),
                };
            };
            let generation = self.shared.generation.load(Relaxed);
            let is_udp = matches!(socket, Socket::Udp(_));
            let is_old = templates_at.elapsed() >= TEMPLATES_EVERY || since >= TEMPLATES_AFTER;
            if known != Some(generation) || is_udp && is_old {
                let mut preamble = self.shared.preamble(self.config.domain);
                preamble.number(sequence);
                sequence = sequence.wrapping_add(preamble.data_records);
                self.send(&mut socket, &preamble.bytes).await?;
                (known, templates_at, since) = (Some(generation), Instant::now(), 0);
            }
            sequence = sequence.wrapping_add(self.shared.skipped.swap(0, Relaxed));
            message.number(sequence);
            sequence = sequence.wrapping_add(message.data_records);
            let sent = self.send(&mut socket, &message.bytes).await;
            if let (Err(error), false) = (&sent, is_udp) {
                return Err(std::io::Error::new(error.kind(), error.to_string()));
            }
            since += 1;
            if let Some(message) = pending.take() {
                self.account(&message, &sent);
            }
            sent?;
        }
    }

    /// A datagram socket reports at a send what became of an earlier one, so a second try tells
    /// whether this one leaves.
    async fn send(&self, socket: &mut Socket, bytes: &[u8]) -> std::io::Result<()> {
        match socket {
            Socket::Tcp(stream) => {
                // What is written into a connection that the collector has closed is lost.
                if stream.try_read(&mut [0; 64]).is_ok_and(|bytes| bytes == 0) {
                    return Err(std::io::ErrorKind::ConnectionReset.into());
                }
                let limit = self.timing.request_timeout;
                let sent = tokio::time::timeout(limit, stream.write_all(bytes)).await;
                sent.unwrap_or_else(|_| {
                    Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "does not read"))
                })
            }
            Socket::Udp(socket) => {
                if socket.send(bytes).await.is_err() {
                    socket.send(bytes).await?;
                }
                Ok(())
            }
        }
    }

    fn account(&mut self, message: &Message, sent: &std::io::Result<()>) {
        if sent.is_ok() {
            if std::mem::take(&mut self.failures) > 0 {
                info!("{}: takes messages again", self.config);
            }
            self.stats.accepted.add(message.records);
            self.stats.batches_sent.add(1);
            self.stats.bytes_sent.add(message.bytes.len() as u64);
            self.stats.succeeded_now();
        } else {
            self.stats.lose(Lost::WriteFailed, message.records);
            self.stats.batches_lost.add(1);
        }
        if self.shared.under_way.fetch_sub(1, Relaxed) == 1 {
            self.wake.notify_one();
        }
    }
}

async fn udp(address: std::net::SocketAddr) -> std::io::Result<UdpSocket> {
    let own = if address.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    let socket = UdpSocket::bind(own).await?;
    socket.connect(address).await?;
    Ok(socket)
}

pub(super) fn now_s() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // RFC 7011: until 2106.
    since.as_secs() as u32
}
