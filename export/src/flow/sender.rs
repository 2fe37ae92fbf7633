//! Delivery of batches: several requests in flight, repeated until answered (wire contract,
//! section 3).
//!
//! Bounds: the queue's limits, plus `max_in_flight` batches on their way, and one more with a spool.
//! A batch that was answered 200 is never sent again. One that broke off before an answer may have
//! arrived and is sent again: the protocol cannot tell.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Response, Url};
use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};
use tracing::warn;

use super::backlog::Backlog;
use super::backoff::{Gate, Timing};
use super::queue::{Batch, Queue, QueueLimits, Stored};
use super::streak::Streak;
use crate::http::{Failure, Http, public_url, read_bounded};
use crate::spool::Spool;
use crate::stats::{Lost, OutputStats};

/// What is read of a 200 answer so that its connection can be used again, and for how long.
const DRAIN_BYTES: usize = 64 << 10;
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// What to do when the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenFull {
    /// Lose the oldest batch.
    DropOldest,
    /// Keep all: the caller stops making batches while the queue is full.
    Keep,
}

/// How one attempt ended.
#[derive(Debug)]
enum Outcome {
    Accepted,
    Repeat { failure: Failure, after: Option<Duration> },
    Refused(Failure),
}

pub(crate) struct Sender {
    http: Http,
    url: Url,
    timing: Timing,
    max_in_flight: usize,
    when_full: WhenFull,
    pub(super) queue: Queue,
    requests: JoinSet<Outcome>,
    pub(super) in_flight: HashMap<Id, Batch>,
    /// Of these, what was sent to another URL than the one in force.
    elsewhere: HashSet<Id>,
    pub(super) gate: Gate,
    streak: Streak,
    random: fastrand::Rng,
    made: u64,
    wake: Arc<Notify>,
    pub(super) backlog: Option<Backlog>,
    pub(super) stats: Arc<OutputStats>,
}

/// Where and how a [`Sender`] sends.
pub(crate) struct SenderConfig {
    pub http: Http,
    /// With the sender id in its query.
    pub url: Url,
    pub timing: Timing,
    pub limits: QueueLimits,
    pub max_in_flight: usize,
    pub when_full: WhenFull,
    /// Told when a request has ended.
    pub wake: Arc<Notify>,
    pub spool: Option<Spool>,
}

impl Sender {
    pub(crate) fn new(config: SenderConfig, stats: Arc<OutputStats>) -> Self {
        Self {
            streak: Streak::new(public_url(&config.url)),
            http: config.http,
            url: config.url,
            timing: config.timing,
            max_in_flight: config.max_in_flight.max(1),
            when_full: config.when_full,
            queue: Queue::new(config.limits),
            requests: JoinSet::new(),
            in_flight: HashMap::new(),
            elsewhere: HashSet::new(),
            gate: Gate::new(Instant::now()),
            random: fastrand::Rng::new(),
            made: config.spool.as_ref().map_or(0, |spool| spool.youngest),
            wake: config.wake,
            backlog: config.spool.map(Backlog::new),
            stats,
        }
    }

    /// Sends to this URL from now on, what waits included and at once. What is on its way gets its
    /// answer where it was sent to; if that is none, it is sent again, to the new URL.
    pub(crate) fn redirect(&mut self, http: Http, url: Url) {
        let now = Instant::now();
        self.streak = Streak::new(public_url(&url));
        (self.http, self.url) = (http, url);
        self.gate = Gate::new(now);
        self.elsewhere = self.in_flight.keys().copied().collect();
        for batch in self.queue.iter_mut() {
            batch.not_before = batch.not_before.min(now);
        }
        self.wake.notify_one();
    }

    /// Queues the compressed body of a batch.
    pub(crate) fn enqueue(&mut self, body: Bytes, records: u64) {
        self.made += 1;
        self.stats.batches.add(1);
        self.insert(Batch::new(self.made, records, body, Instant::now()));
    }

    /// Takes in what has been answered and starts what may start. Must run inside the runtime.
    pub(crate) fn pump(&mut self, now: Instant) {
        self.take_answers(now);
        self.hear_spool(now);
        self.store(now);
        self.start_due(now);
        self.show();
    }

    /// Fresh batches first. The spool has a request of its own beside them, so that neither waits
    /// for the other; after a failure there is one request at a time, whatever it carries.
    fn start_due(&mut self, now: Instant) {
        let allowed = self.gate.allows(now, self.max_in_flight);
        let here = || self.in_flight.iter().filter(|(id, _)| !self.elsewhere.contains(id));
        let has_backlog = here().any(|(_, batch)| batch.from_spool);
        let beside = usize::from(has_backlog && !self.gate.is_failing());
        while self.in_flight.len() - self.elsewhere.len() < allowed + beside
            && let Some(batch) = self.queue.take_due(now)
        {
            self.start(batch);
        }
        let is_free = self.in_flight.len() == self.elsewhere.len();
        let room = allowed > 0 && (!self.gate.is_failing() || is_free);
        if room && !has_backlog {
            self.start_backlog(now);
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.queue.len() == 0 && self.is_backlog_settled()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.queue.is_full() || self.is_spool_nearly_full()
    }

    /// Gives up on everything that has not been answered, but for what the spool takes.
    pub(crate) fn abandon(&mut self) {
        self.take_answers(Instant::now());
        self.requests.abort_all();
        self.elsewhere.clear();
        let in_flight = std::mem::take(&mut self.in_flight).into_values();
        let waiting = std::iter::from_fn(|| self.queue.take_any());
        let left: Vec<Batch> = in_flight.chain(waiting).collect();
        let left = self.store_for_later(left);
        for batch in &left {
            self.lose(batch.records, Lost::Deadline);
        }
        if !left.is_empty() {
            let records: u64 = left.iter().map(|batch| batch.records).sum();
            warn!("{records} records in {} batches were not delivered in time", left.len());
        }
        self.show();
    }

    fn take_answers(&mut self, now: Instant) {
        while let Some(ended) = self.requests.try_join_next_with_id() {
            self.ended(ended, now);
        }
    }

    pub(super) fn start(&mut self, mut batch: Batch) {
        batch.attempts = batch.attempts.saturating_add(1);
        if batch.attempts > 1 {
            self.stats.retries.add(1);
        }
        let (http, url) = (self.http.clone(), self.url.clone());
        let (timing, wake, body) = (self.timing, Arc::clone(&self.wake), batch.body.clone());
        let request = self.requests.spawn(async move {
            let outcome = attempt(&http, url, body, &timing).await;
            wake.notify_one();
            outcome
        });
        self.in_flight.insert(request.id(), batch);
    }

    fn ended(&mut self, ended: Result<(Id, Outcome), JoinError>, now: Instant) {
        let (id, outcome) = ended.unwrap_or_else(|error| {
            let failure = Failure { status: None, text: Some(error.to_string()) };
            (error.id(), Outcome::Repeat { failure, after: None })
        });
        let Some(mut batch) = self.in_flight.remove(&id) else { return };
        // Of the server that is asked now it says nothing.
        let is_elsewhere = self.elsewhere.remove(&id);
        match outcome {
            Outcome::Repeat { .. } if is_elsewhere => {
                self.stats.attempts_failed.add(1);
                (batch.attempts, batch.not_before) = (0, now);
                self.take_back(batch);
            }
            Outcome::Accepted => {
                if !is_elsewhere {
                    self.gate.answered();
                    self.streak.succeeded();
                }
                self.stats.accepted.add(batch.records);
                self.stats.batches_sent.add(1);
                self.stats.bytes_sent.add(batch.body.len() as u64);
                self.stats.succeeded_now();
                self.settled(&batch);
            }
            Outcome::Refused(failure) => {
                if is_elsewhere {
                    warn!("{} records were refused at the old place: {failure}", batch.records);
                } else {
                    self.gate.answered();
                    self.streak.refused(&failure, batch.records);
                }
                self.lose(batch.records, Lost::Rejected);
                self.settled(&batch);
            }
            Outcome::Repeat { failure, after } => {
                self.stats.attempts_failed.add(1);
                self.streak.failed(&failure, batch.attempts, now);
                self.gate.failed(now, after, &self.timing, &mut self.random);
                batch.not_before = now + self.timing.wait(batch.attempts, after, &mut self.random);
                self.take_back(batch);
            }
        }
    }

    pub(super) fn insert(&mut self, batch: Batch) {
        self.queue.insert(batch);
        if self.when_full == WhenFull::DropOldest {
            while let Some(oldest) = self.queue.drop_oldest() {
                if oldest.stored != Stored::No {
                    // The spool says whether it has it.
                    continue;
                }
                self.streak.overflowed(oldest.records, Instant::now());
                self.lose(oldest.records, Lost::QueueFull);
            }
        }
    }

    /// Counts a batch as lost.
    pub(super) fn lose(&self, records: u64, reason: Lost) {
        self.stats.lose(reason, records);
        self.stats.batches_lost.add(1);
    }

    fn show(&self) {
        self.stats.queue_batches.set(self.queue.len() as u64);
        self.stats.queue_bytes.set(self.queue.bytes() as u64);
        self.stats.in_flight.set(self.in_flight.len() as u64);
    }
}

async fn attempt(http: &Http, url: Url, body: Bytes, timing: &Timing) -> Outcome {
    let request = http
        .send
        .post(url.clone())
        .header(CONTENT_TYPE, "application/binary")
        .header(CONTENT_ENCODING, "gzip")
        .body(body);
    match request.send().await {
        Ok(answer) => judge(http, answer, timing).await,
        Err(error) if error.is_builder() => Outcome::Refused(http.transport_failure(error)),
        Err(error) => {
            let failure = http.explained_failure(error, &url).await;
            Outcome::Repeat { failure, after: None }
        }
    }
}

/// POST-4 and POST-6: 200 is success and nothing else is.
async fn judge(http: &Http, answer: Response, timing: &Timing) -> Outcome {
    let status = answer.status().as_u16();
    if status == 200 {
        // Whatever becomes of the body: the batch has arrived.
        let _ = tokio::time::timeout(DRAIN_TIME, read_bounded(answer, DRAIN_BYTES)).await;
        return Outcome::Accepted;
    }
    let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let after = after.and_then(|value| timing.retry_after(value, SystemTime::now()));
    let failure = http.refusal(answer).await;
    if matches!(status, 429 | 500 | 502 | 503 | 504) {
        Outcome::Repeat { failure, after }
    } else {
        Outcome::Refused(failure)
    }
}
