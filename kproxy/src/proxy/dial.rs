//! Connections towards the target: resolved once, each address judged, and connected to the
//! address that was judged, so that a name cannot change its mind in between.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderMap, HeaderValue, PROXY_AUTHORIZATION, VIA};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::denial::Denial;
use super::fields::add_via;
use crate::config::ProxyConfig;
use crate::reach::Reach;
use crate::target::{Host, Target};
use crate::upstream::Upstream;

/// Addresses of a name that are tried.
const MOST_ADDRESSES: usize = 8;
/// Longest head of an answer, and read buffer of a connection, in bytes.
pub(super) const BUFFER_BYTES: usize = 16 << 10;

/// A task that ends when this is dropped.
#[derive(Debug)]
pub(super) struct Task(pub(super) JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What connecting needs to know.
#[derive(Debug)]
pub(crate) struct Dialer {
    upstream: Option<Upstream>,
    private: bool,
    connect_time: Duration,
    /// Addresses that this process listens on.
    own: [SocketAddr; 2],
    via: HeaderValue,
}

impl Dialer {
    pub(super) fn new(config: &ProxyConfig, own: [SocketAddr; 2], via: HeaderValue) -> Self {
        let connect_time = config.limits.connect_time;
        let upstream = config.upstream.clone();
        Self { upstream, private: config.private, connect_time, own, via }
    }

    /// The proxy that everything goes through.
    pub(super) fn upstream(&self) -> Option<&Upstream> {
        self.upstream.as_ref()
    }

    /// A connection that takes requests for the target: to itself, or to the proxy behind this one.
    /// `listed`: the target is an address of the allow list.
    pub(super) async fn connect(&self, target: &Target, listed: bool) -> Result<TcpStream, Denial> {
        self.in_time(target, self.reach(target, listed)).await
    }

    /// A connection that leads to the target, and bytes that came through it already. `headers` are
    /// those of the request, for where it has been.
    pub(super) async fn tunnel(
        &self,
        target: &Target,
        listed: bool,
        headers: &HeaderMap,
    ) -> Result<(TcpStream, Bytes), Denial> {
        let opened = async {
            let stream = self.reach(target, listed).await?;
            match &self.upstream {
                None => Ok((stream, Bytes::new())),
                Some(upstream) => self.ask(stream, target, upstream, headers).await,
            }
        };
        self.in_time(target, opened).await
    }

    async fn in_time<T>(
        &self,
        target: &Target,
        work: impl Future<Output = Result<T, Denial>>,
    ) -> Result<T, Denial> {
        timeout(self.connect_time, work).await.unwrap_or_else(|_| Err(Denial::late(target)))
    }

    async fn reach(&self, target: &Target, listed: bool) -> Result<TcpStream, Denial> {
        let deadline = Instant::now() + self.connect_time;
        // Who runs this proxy chose the one behind it; that one resolves and judges.
        let next = self.upstream.as_ref().map_or(target, |upstream| &upstream.target);
        let addresses =
            resolve(next).await.map_err(|error| Denial::unresolved(target, next, error))?;
        if self.upstream.is_none() {
            let judged =
                |address: &&SocketAddr| !Reach::of(address.ip()).is_permitted(listed, self.private);
            // One bad address among good ones is no accident.
            if let Some(bad) = addresses.iter().find(judged) {
                return Err(Denial::reach(target, bad.ip()));
            }
        }
        let stream = connect_any(&addresses, deadline)
            .await
            .map_err(|error| Denial::unreachable(target, next, error))?;
        if self.leads_back(&stream) {
            return Err(Denial::itself(target));
        }
        // Small writes are somebody's request; a socket that refuses the option still works.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    /// Whether the other end is a listener of this process.
    fn leads_back(&self, stream: &TcpStream) -> bool {
        let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else { return false };
        let ip = peer.ip().to_canonical();
        let is_here = ip.is_loopback() || ip == local.ip().to_canonical();
        is_here && self.own.iter().any(|own| own.port() == peer.port() && takes(own.ip(), ip))
    }

    /// Asks the proxy behind this one for a tunnel.
    async fn ask(
        &self,
        stream: TcpStream,
        target: &Target,
        upstream: &Upstream,
        headers: &HeaderMap,
    ) -> Result<(TcpStream, Bytes), Denial> {
        let broken = |error: &dyn std::fmt::Display| {
            Denial::upstream(target, format_args!("({upstream}) gave no answer: {error}"))
        };
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER_BYTES)
            .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
            .await
            .map_err(|error| broken(&error))?;
        let _task = Task(tokio::spawn(async move {
            // An error shows in the answer as well.
            let _ = connection.with_upgrades().await;
        }));
        let authority = target.to_string();
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(&authority)
            .header(HOST, &authority)
            .body(Empty::new())
            .map_err(|error| broken(&error))?;
        for via in headers.get_all(VIA) {
            request.headers_mut().append(VIA, via.clone());
        }
        add_via(request.headers_mut(), &self.via);
        if let Some(value) = &upstream.authorization {
            request.headers_mut().insert(PROXY_AUTHORIZATION, value.clone());
        }
        let answer = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = answer.status();
        if !status.is_success() {
            let text = format_args!("({upstream}) refused {target}: status {}", status.as_u16());
            return Err(Denial::upstream(target, text));
        }
        let upgraded = hyper::upgrade::on(answer).await.map_err(|error| broken(&error))?;
        match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => Ok((parts.io.into_inner(), parts.read_buf)),
            Err(_) => Err(broken(&"not the stream that was given")),
        }
    }
}

/// Whether a listener on `own` gets what is sent to `ip` of this machine.
fn takes(own: IpAddr, ip: IpAddr) -> bool {
    own.is_unspecified() || own.to_canonical() == ip
}

async fn resolve(target: &Target) -> io::Result<Vec<SocketAddr>> {
    let name = match &target.host {
        Host::Address(address) => return Ok(vec![SocketAddr::new(*address, target.port)]),
        Host::Name(name) => name,
    };
    let found: Vec<_> = tokio::net::lookup_host((name.as_str(), target.port)).await?.collect();
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no address"));
    }
    Ok(found)
}

/// Tries the addresses in order; each gets an equal part of the time that is left.
async fn connect_any(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let addresses = addresses.get(..MOST_ADDRESSES).unwrap_or(addresses);
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let part = left / (addresses.len() - tried) as u32;
        match timeout(part, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            // The last one may use up the caller's time, which says so more clearly.
            Err(_) if tried + 1 == addresses.len() => return std::future::pending().await,
            Err(_) => {}
        }
    }
    Err(last)
}
