//! Requests with an absolute URI: rewritten for the next hop, bodies streamed both ways.
//!
//! Each client connection keeps the connection that its last request used, and uses it again for
//! the same target.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{EXPECT, HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::http::uri::{Authority, PathAndQuery, Scheme, Uri};
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::sync::Mutex;

use super::body::Passing;
use super::denial::Denial;
use super::dial::{BUFFER_BYTES, Dialer, Task};
use super::fields::{add_via, remove_hop_by_hop};
use super::line::Busy;
use crate::target::Target;

const HTTP_PORT: u16 = 80;

type Sender = SendRequest<Passing<Incoming>>;

/// The connection that a client's last request used.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Option<Way>>);

#[derive(Debug)]
struct Way {
    target: Target,
    sender: Sender,
    _task: Task,
}

/// Passes a request on and returns the answer.
pub(super) async fn forward(
    dialer: &Dialer,
    via: &HeaderValue,
    kept: &Kept,
    request: Request<Incoming>,
    (target, listed): (&Target, bool),
    busy: &Arc<Busy>,
) -> Result<Response<Passing<Incoming>>, Refused> {
    // One request at a time is under way on a client's connection: nobody waits here.
    let mut kept = kept.0.lock().await;
    let reused = kept.take().filter(|way| way.target == *target && way.sender.is_ready());
    let is_reused = reused.is_some();
    let mut way = match reused {
        Some(way) => way,
        None => match open(dialer, target, listed).await {
            Ok(way) => way,
            Err(denial) => return Err(Refused { denial, body: Some(request.into_body()) }),
        },
    };
    let request =
        rewrite(dialer, via, request, target).map(|body| Passing::new(body, Arc::clone(busy)));
    let answer = match way.sender.try_send_request(request).await {
        Ok(answer) => answer,
        Err(mut error) => match error.take_message() {
            // The host had closed it meanwhile, and nothing of the request has left.
            Some(request) if is_reused => {
                way = open(dialer, target, listed).await?;
                let sent = way.sender.send_request(request).await;
                sent.map_err(|error| Denial::broken(target, error))?
            }
            _ => return Err(Denial::broken(target, error.into_error()).into()),
        },
    };
    let answer = answer.map(|body| Passing::new(body, Arc::clone(busy)));
    let answer = pass_back(dialer, via, answer, target)?;
    *kept = Some(way);
    Ok(answer)
}

/// Why a request was not passed on, and its body unless that is gone.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) denial: Denial,
    pub(super) body: Option<Incoming>,
}

impl From<Denial> for Refused {
    fn from(denial: Denial) -> Self {
        // The body went with the request.
        Self { denial: Denial { closes: true, ..denial }, body: None }
    }
}

async fn open(dialer: &Dialer, target: &Target, listed: bool) -> Result<Way, Denial> {
    let stream = dialer.connect(target, listed).await?;
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(BUFFER_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Denial::broken(target, error))?;
    let task = Task(tokio::spawn(async move {
        // An error shows in the answer as well.
        let _ = connection.await;
    }));
    Ok(Way { target: target.clone(), sender, _task: task })
}

/// For the host: path alone, and its name in `Host` whatever the client wrote there (RFC 9112,
/// section 3.2.2). For a proxy: the whole URI, and credentials.
fn rewrite(
    dialer: &Dialer,
    via: &HeaderValue,
    request: Request<Incoming>,
    target: &Target,
) -> Request<Incoming> {
    let (mut head, body) = request.into_parts();
    remove_hop_by_hop(&mut head.headers);
    // The library has said 100 to the client when the body is first read, which is when the host
    // has been reached.
    head.headers.remove(EXPECT);
    let authority = match target.port {
        HTTP_PORT => target.host.to_string(),
        _ => target.to_string(),
    };
    if let Ok(value) = HeaderValue::from_str(&authority) {
        head.headers.insert(HOST, value);
    }
    add_via(&mut head.headers, via);
    let path = head.uri.path_and_query().cloned();
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let mut uri = hyper::http::uri::Parts::default();
    if let Some(upstream) = dialer.upstream() {
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Authority::try_from(authority.as_str()).ok();
        if let Some(value) = &upstream.authorization {
            head.headers.insert(PROXY_AUTHORIZATION, value.clone());
        }
    }
    uri.path_and_query = Some(path);
    head.uri = Uri::from_parts(uri).unwrap_or_default();
    head.version = Version::HTTP_11;
    Request::from_parts(head, body)
}

/// For the client.
fn pass_back<B>(
    dialer: &Dialer,
    via: &HeaderValue,
    mut answer: Response<B>,
    target: &Target,
) -> Result<Response<B>, Denial> {
    match (answer.status(), dialer.upstream()) {
        // Nobody asked for it: Upgrade does not get through.
        (StatusCode::SWITCHING_PROTOCOLS, _) => {
            return Err(Denial::broken(target, "it changed the protocol unasked"));
        }
        // It is for us, not for the client.
        (StatusCode::PROXY_AUTHENTICATION_REQUIRED, Some(upstream)) => {
            return Err(Denial::upstream(
                target,
                format_args!("({upstream}) wants other credentials"),
            ));
        }
        _ => {}
    }
    remove_hop_by_hop(answer.headers_mut());
    add_via(answer.headers_mut(), via);
    *answer.version_mut() = Version::HTTP_11;
    Ok(answer)
}
