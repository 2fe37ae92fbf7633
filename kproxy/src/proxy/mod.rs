//! The HTTP forward proxy: CONNECT and `http://` requests, for listed hosts.
//!
//! Bounds: connections by number, request heads by bytes and time, connecting and silence by time.
//! A connection beyond the limit gets a 503; when many of them come at once, some are closed
//! without it. Memory for each connection: some 40 KiB at most, or 16 KiB as a tunnel.

mod body;
mod denial;
mod dial;
mod fields;
mod forward;
mod full;
mod line;
mod tunnel;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tracing::{debug, trace, warn};

use self::body::{Answer, Passing, drain};
use self::denial::Denial;
use self::dial::Dialer;
use self::forward::{Kept, Refused};
use self::line::{Busy, Client, Cut, Line};
use crate::allow::{Allow, Verdict};
use crate::config::{Limits, ProxyConfig};
use crate::counters::Counters;
use crate::target::Target;

/// After an error of the listener, most likely for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where the proxy is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It takes connections.
    Open,
    /// It takes none; what is under way may end.
    Draining,
    /// Everything ends.
    Ended,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Proxy {
    allow: Allow,
    limits: Limits,
    dialer: Dialer,
    counters: Arc<Counters>,
    /// `1.1 kproxy-<random>`, by which a request is known that comes again.
    via: HeaderValue,
    phase: watch::Receiver<Phase>,
}

impl Proxy {
    /// `own`: the addresses this process listens on.
    pub(crate) fn new(
        config: &ProxyConfig,
        own: [SocketAddr; 2],
        counters: Arc<Counters>,
        phase: watch::Receiver<Phase>,
    ) -> Arc<Self> {
        let number = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0_u8);
        let via = HeaderValue::from_str(&format!("1.1 kproxy-{number:016x}"));
        let via = via.unwrap_or_else(|_| HeaderValue::from_static("1.1 kproxy"));
        let dialer = Dialer::new(config, own, via.clone());
        let (allow, limits) = (config.allow.clone(), config.limits);
        Arc::new(Self { allow, limits, dialer, counters, via, phase })
    }

    /// Takes connections until the phase changes; returns when all have ended.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(self.limits.connections));
        let refusals = Arc::new(Semaphore::new(full::MOST_REFUSALS));
        let mut phase = self.phase.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = phase.wait_for(|phase| *phase != Phase::Open) => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.counters.accept_errors.add(1);
                    if let Some(count) = self.counters.failed_hosts.note("(accept)", Instant::now())
                    {
                        warn!(count, "cannot accept connections: {error}");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            self.counters.connections.add(1);
            match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => drop(tokio::spawn(Arc::clone(&self).talk(stream, peer, place))),
                Err(_) => full::refuse(&self, &refusals, stream, peer),
            }
        }
        drop(listener);
        let all = self.limits.connections as u32;
        // Every connection gives its place back; an error cannot be, the semaphore is not closed.
        let _ = places.acquire_many(all).await;
    }

    /// One client's connection, until it ends or becomes a tunnel.
    async fn talk(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        place: OwnedSemaphorePermit,
    ) {
        let _ = stream.set_nodelay(true);
        let line = Line::new(peer, Arc::clone(&self.counters));
        let client = Client::new(stream, Arc::clone(&line), place);
        let kept = Arc::new(Kept::default());
        let service = service_fn(|request| {
            let (proxy, line, kept) = (Arc::clone(&self), Arc::clone(&line), Arc::clone(&kept));
            async move { Ok::<_, Infallible>(proxy.answer(line, kept, request).await) }
        });
        let connection = http1::Builder::new()
            // The line looks after the time of heads, and of all else.
            .header_read_timeout(None)
            .max_buf_size(dial::BUFFER_BYTES)
            .serve_connection(TokioIo::new(client), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let mut phase = self.phase.clone();
        let mut drains = false;
        loop {
            tokio::select! {
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        debug!(client = %peer, "connection ended: {error}");
                    }
                    return;
                }
                cut = line.cut(&self.limits) => {
                    self.count_cut(cut, peer);
                    return;
                }
                _ = phase.wait_for(|phase| *phase != Phase::Open), if !drains => {
                    drains = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = tunnel::ended(self.phase.clone()) => return,
            }
        }
    }

    fn count_cut(&self, cut: Cut, peer: SocketAddr) {
        match cut {
            Cut::Slow => self.counters.cut_slow.add(1),
            Cut::Idle => self.counters.cut_idle.add(1),
            Cut::Done => return,
        }
        debug!(client = %peer, "connection cut: {cut:?}");
    }

    /// The answer to a request.
    async fn answer(
        self: Arc<Self>,
        line: Arc<Line>,
        kept: Arc<Kept>,
        request: Request<Incoming>,
    ) -> Response<Answer> {
        let (busy, passed) = line.take_request();
        let busy = Arc::new(busy);
        self.counters.requests.add(1);
        if let Err(error) = passed {
            return self.deny(&line, Denial::head(error).into(), busy).await;
        }
        // The host alone: an authority can hold a password, a query a token.
        let host = request.uri().host().unwrap_or_default();
        trace!(client = %line.peer, method = %request.method(), host, "request");
        let answered = match *request.method() {
            Method::CONNECT => self.connect(&line, &busy, request).await,
            _ if request.uri().authority().is_some() => self.pass_on(&kept, &busy, request).await,
            Method::GET if request.uri().path() == "/healthz" => Ok(self.health(&busy)),
            _ => {
                let text = "this is a forward proxy: CONNECT host:port or an http:// URI is needed";
                let body = Some(request.into_body());
                Err(Refused { denial: Denial::form(text), body })
            }
        };
        match answered {
            Ok(answer) => answer,
            Err(refused) => self.deny(&line, refused, busy).await,
        }
    }

    /// Whether the target may be reached; if so, whether it is a listed address.
    fn judge(&self, target: &Target, request: &Request<Incoming>) -> Result<bool, Denial> {
        match self.allow.check(target) {
            Verdict::Host => Err(Denial::host(target, &self.allow)),
            Verdict::Address => Err(Denial::address(target)),
            Verdict::Port => Err(Denial::port(target)),
            Verdict::Allowed { .. } if fields::has_been_here(request.headers(), &self.via) => {
                Err(Denial::circle(target))
            }
            Verdict::Allowed { listed } => Ok(listed),
        }
    }

    async fn connect(
        self: &Arc<Self>,
        line: &Arc<Line>,
        busy: &Arc<Busy>,
        mut request: Request<Incoming>,
    ) -> Result<Response<Answer>, Refused> {
        let authority = request.uri().authority().map_or("", |authority| authority.as_str());
        let keep_body = |denial| Refused { denial, body: None };
        let target = Target::parse(authority, None).map_err(Denial::target).map_err(keep_body)?;
        let listed = self.judge(&target, &request).map_err(keep_body)?;
        let host =
            self.dialer.tunnel(&target, listed, request.headers()).await.map_err(keep_body)?;
        self.counters.tunnels.add(1);
        trace!(client = %line.peer, %target, "tunnel begins");
        let upgrade = hyper::upgrade::on(&mut request);
        let (proxy, line, lasting) = (Arc::clone(self), Arc::clone(line), Arc::clone(busy));
        tokio::spawn(tunnel::run(proxy, line, lasting, upgrade, host, target));
        Ok(self.text(StatusCode::OK, String::new(), busy))
    }

    async fn pass_on(
        &self,
        kept: &Kept,
        busy: &Arc<Busy>,
        request: Request<Incoming>,
    ) -> Result<Response<Answer>, Refused> {
        let (target, listed) = match self.plain_target(&request) {
            Ok(judged) => judged,
            Err(denial) => return Err(Refused { denial, body: Some(request.into_body()) }),
        };
        let way = (&target, listed);
        let answer = forward::forward(&self.dialer, &self.via, kept, request, way, busy).await?;
        self.counters.forwarded.add(1);
        Ok(answer.map(Either::Right))
    }

    /// The target of an absolute URI, and whether it is a listed address.
    fn plain_target(&self, request: &Request<Incoming>) -> Result<(Target, bool), Denial> {
        let uri = request.uri();
        if uri.scheme_str() != Some("http") {
            return Err(Denial::form("only http:// URIs are forwarded; for https:// use CONNECT"));
        }
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let target = Target::parse(authority, Some(80)).map_err(Denial::target)?;
        let listed = self.judge(&target, request)?;
        Ok((target, listed))
    }

    fn health(&self, busy: &Arc<Busy>) -> Response<Answer> {
        match *self.phase.borrow() {
            Phase::Open => self.text(StatusCode::OK, "ok\n".into(), busy),
            _ => self.text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n".into(), busy),
        }
    }

    fn text(&self, status: StatusCode, text: String, busy: &Arc<Busy>) -> Response<Answer> {
        let has_text = !text.is_empty();
        let body = Passing::new(Full::new(Bytes::from(text)), Arc::clone(busy));
        let mut answer = Response::new(Either::Left(body));
        *answer.status_mut() = status;
        if has_text {
            let plain = HeaderValue::from_static("text/plain; charset=utf-8");
            answer.headers_mut().insert(CONTENT_TYPE, plain);
        }
        answer
    }

    /// Counts and logs a denial, and makes an answer of it.
    async fn deny(&self, line: &Line, refused: Refused, busy: Arc<Busy>) -> Response<Answer> {
        let Refused { denial, body } = refused;
        self.note(&denial, line.peer);
        let is_read = match body {
            Some(body) => drain(body).await,
            None => true,
        };
        let mut answer = self.text(denial.status, format!("kproxy: {}\n", denial.text), &busy);
        if denial.closes || !is_read {
            line.linger();
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        debug_assert!(!answer.body().is_end_stream(), "a denial says why");
        answer
    }

    fn note(&self, denial: &Denial, peer: SocketAddr) {
        self.counters.deny(denial.cause);
        let (hosts, what) = match denial.cause.is_failure() {
            true => (&self.counters.failed_hosts, "failed"),
            false => (&self.counters.refused_hosts, "refused"),
        };
        let host = denial.host.as_deref().unwrap_or("(none)");
        let (status, why) = (denial.status.as_u16(), &denial.text);
        match hosts.note(host, Instant::now()) {
            Some(count) => warn!(client = %peer.ip(), status, count, "{what}: {why}"),
            None => trace!(client = %peer.ip(), status, "{what}: {why}"),
        }
    }
}
