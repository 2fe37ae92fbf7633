//! A client's connection: its bytes, counted; its request heads, checked; its time, limited.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};

use crate::config::Limits;
use crate::counters::{Counters, Held};
use crate::head::{self, HeadError, MAX_HEAD_BYTES};

/// A connection without a request under way is kept for this long. Longer than the 90 s for which
/// common clients keep theirs, so that it is they who close, and no request meets a closing door.
const KEEP_TIME: Duration = Duration::from_secs(120);
const READ_BYTES: usize = 2048;
/// See [`Line::linger`].
const LINGER_TIME: Duration = Duration::from_secs(2);
/// Stands for "none" among milliseconds.
const NEVER: u64 = u64::MAX;
/// What the HTTP library gets to see in place of a head that was refused.
const REFUSED_HEAD: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\n\r\n";

/// Why a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// A request head took too long.
    Slow,
    /// Nothing moved.
    Idle,
    /// No further request came.
    Done,
}

/// What is known of a connection, shared by its stream, its requests and its watch.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) peer: SocketAddr,
    counters: Arc<Counters>,
    started: Instant,
    /// When a byte last moved, in ms since the start.
    moved_ms: AtomicU64,
    /// When the first byte of an unfinished head came, in ms since the start.
    head_ms: AtomicU64,
    /// Whether a request is under way, so that bytes belong to its body.
    busy: AtomicBool,
    /// Heads that passed and have not been taken.
    heads: AtomicU64,
    refused: Mutex<Option<HeadError>>,
    /// Whether the client may still be sending when the connection is closed.
    lingers: AtomicBool,
}

/// A request is under way for as long as somebody holds this.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Line>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.move_now();
        self.0.busy.store(false, Relaxed);
    }
}

impl Line {
    pub(crate) fn new(peer: SocketAddr, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self {
            peer,
            counters,
            started: Instant::now(),
            moved_ms: AtomicU64::new(0),
            // The first head is due from the start.
            head_ms: AtomicU64::new(0),
            busy: AtomicBool::new(false),
            heads: AtomicU64::new(0),
            refused: Mutex::new(None),
            lingers: AtomicBool::new(false),
        })
    }

    /// Takes the request that the library has read: its guard, or why it is refused.
    pub(crate) fn take_request(self: &Arc<Self>) -> (Busy, Result<(), HeadError>) {
        let busy = Busy(Arc::clone(self));
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner).take();
        let passed = match refused {
            Some(error) => Err(error),
            // Read from the bytes behind another request, so nobody has checked it.
            None if self.heads.swap(0, Relaxed) == 0 => Err(HeadError::Pipelined),
            None => Ok(()),
        };
        (busy, passed)
    }

    /// Closing is to leave the client time to read the answer: what it has sent and nobody has read
    /// would make the kernel reset the connection, and the answer be lost (RFC 9112, section 9.6).
    pub(crate) fn linger(&self) {
        self.lingers.store(true, Relaxed);
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn move_now(&self) {
        self.moved_ms.store(self.now_ms(), Relaxed);
    }

    fn begin_request(&self, refused: Option<HeadError>) {
        self.head_ms.store(NEVER, Relaxed);
        self.busy.store(true, Relaxed);
        self.heads.fetch_add(1, Relaxed);
        if let Some(error) = refused {
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    }

    /// When time will be up as things stand, and what for.
    fn deadline(&self, limits: &Limits) -> (Duration, Cut) {
        let moved = Duration::from_millis(self.moved_ms.load(Relaxed));
        if self.busy.load(Relaxed) {
            return (moved + limits.idle_time, Cut::Idle);
        }
        match self.head_ms.load(Relaxed) {
            NEVER => (moved + KEEP_TIME, Cut::Done),
            began => (Duration::from_millis(began) + limits.head_time, Cut::Slow),
        }
    }

    /// Waits until time is up.
    pub(crate) async fn cut(&self, limits: &Limits) -> Cut {
        loop {
            let (deadline, cut) = self.deadline(limits);
            let left = deadline.saturating_sub(self.started.elapsed());
            if left.is_zero() {
                return cut;
            }
            // A head or a request may begin meanwhile, with an earlier deadline.
            let look_again = limits.head_time.min(limits.idle_time);
            sleep(left.min(look_again).max(Duration::from_millis(1))).await;
        }
    }

    /// Waits until no byte has moved for `limit`.
    pub(crate) async fn silent(&self, limit: Duration) {
        loop {
            let moved = Duration::from_millis(self.moved_ms.load(Relaxed));
            let left = (moved + limit).saturating_sub(self.started.elapsed());
            if left.is_zero() {
                return;
            }
            sleep(left.max(Duration::from_millis(1))).await;
        }
    }
}

/// The stream of a [`Line`]. Between requests it keeps bytes back until a head is complete and
/// checked; in place of one that is refused it hands on a stand-in, and reads no more.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    line: Arc<Line>,
    /// Bytes that have been read: of a head that is not complete, or checked and to be handed on.
    kept: Vec<u8>,
    /// How much of `kept` may be handed on.
    passed: usize,
    closed: bool,
    /// Runs while the connection lingers.
    linger: Option<Pin<Box<Sleep>>>,
    _open: Held,
    _place: OwnedSemaphorePermit,
}

impl Client {
    pub(crate) fn new(stream: TcpStream, line: Arc<Line>, place: OwnedSemaphorePermit) -> Self {
        let open = line.counters.open.hold();
        Self {
            stream,
            line,
            kept: Vec::new(),
            passed: 0,
            closed: false,
            linger: None,
            _open: open,
            _place: place,
        }
    }

    /// Reads from the socket into `buffer`, counting; returns the number of bytes.
    fn poll_socket(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let count = buffer.filled().len() - before;
        if count > 0 {
            self.line.counters.bytes_up.add(count as u64);
            self.line.move_now();
        }
        Poll::Ready(Ok(count))
    }

    /// Reads until a head is complete; then all that is kept may be handed on. `false` at the end
    /// of the stream.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            let looked_at = self.kept.len();
            let mut bytes = [0; READ_BYTES];
            let mut buffer = ReadBuf::new(&mut bytes);
            if ready!(self.poll_socket(cx, &mut buffer))? == 0 {
                return Poll::Ready(Ok(false));
            }
            let mut new = buffer.filled();
            if looked_at == 0 {
                // Empty lines before a request are nothing (RFC 9112, section 2.2).
                let start = new.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
                new = start.and_then(|start| new.get(start..)).unwrap_or_default();
                if new.is_empty() {
                    continue;
                }
                if self.line.head_ms.load(Relaxed) == NEVER {
                    self.line.head_ms.store(self.line.now_ms(), Relaxed);
                }
            }
            self.kept.extend_from_slice(new);
            let verdict = match head::end(&self.kept, looked_at) {
                Some(end) => head::check(self.kept.get(..end).unwrap_or_default()),
                None if self.kept.len() > MAX_HEAD_BYTES => Err(HeadError::TooLong),
                None => continue,
            };
            if verdict.is_err() {
                self.kept = REFUSED_HEAD.to_vec();
                self.closed = true;
            }
            self.passed = self.kept.len();
            self.line.begin_request(verdict.err());
            return Poll::Ready(Ok(true));
        }
    }

    /// Reads and forgets until the client has closed.
    fn poll_forget(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; READ_BYTES];
        loop {
            let mut scratch = ReadBuf::new(&mut bytes);
            if ready!(self.poll_socket(cx, &mut scratch))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Hands on what may be, from the front.
    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) {
        let count = self.passed.min(buffer.remaining());
        buffer.put_slice(self.kept.get(..count).unwrap_or_default());
        self.kept.drain(..count);
        self.passed -= count;
        if self.kept.is_empty() {
            self.kept = Vec::new();
        }
    }
}

impl AsyncRead for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.passed > 0 {
            this.hand_on(buffer);
            return Poll::Ready(Ok(()));
        }
        if this.closed {
            return this.poll_forget(cx);
        }
        if this.line.busy.load(Relaxed) {
            return this.poll_socket(cx, buffer).map_ok(drop);
        }
        if ready!(this.poll_head(cx))? {
            this.hand_on(buffer);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.line.counters.bytes_down.add(count as u64);
        self.line.move_now();
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bytes))?;
        self.line.counters.bytes_down.add(count as u64);
        self.line.move_now();
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        if !self.line.lingers.load(Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let linger = self.linger.get_or_insert_with(|| Box::pin(sleep(LINGER_TIME)));
        if linger.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        self.poll_forget(cx)
    }
}
