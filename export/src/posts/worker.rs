//! The sending thread: takes parcels, keeps POSTs on their way, counts what becomes of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, TryRecvError};
use tokio::task::{Id, JoinError, JoinSet};
use tracing::{debug, error, warn};

use super::deliver::{Attempt, Target, Targets};
use super::feed::Shared;
use super::{Endpoint, Limits, parcel};
use crate::flow::Reporter;
use crate::http::{Failure, public_url};
use crate::meter::TICK_S;
use crate::stats::{Lost, OutputStats, Stats};

/// The longest time between two looks at what waits.
const LOOK: Duration = Duration::from_millis(100);
/// At most one line about the same trouble in this time (spec 16.4).
const QUIET: Duration = Duration::from_secs(10);

pub(super) struct Worker {
    shared: Arc<Shared>,
    targets: Arc<Targets>,
    limits: Limits,
    reporter: Option<Reporter>,
    output: Option<Arc<OutputStats>>,
    finish: Receiver<Instant>,
    deadline: Option<Instant>,
    posts: JoinSet<Outcome>,
    /// Records and bytes of each.
    in_flight: HashMap<Id, (u64, u64)>,
    troubles: Troubles,
    next_tick: Instant,
}

/// How a POST ended.
enum Outcome {
    Accepted,
    Lost(Lost),
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        targets: Arc<Targets>,
        limits: Limits,
        reporter: Option<Reporter>,
        stats: &Stats,
        finish: Receiver<Instant>,
    ) -> Self {
        let troubles = Troubles::new(&targets.now().endpoint);
        Self {
            shared,
            targets,
            limits,
            reporter,
            output: stats.outputs.first().cloned(),
            finish,
            deadline: None,
            posts: JoinSet::new(),
            in_flight: HashMap::new(),
            troubles,
            next_tick: Instant::now() + tick(),
        }
    }

    pub(super) async fn run(mut self) {
        let Some(output) = self.output.clone() else { return };
        loop {
            self.hear_finish();
            let now = Instant::now();
            while let Some(ended) = self.posts.try_join_next_with_id() {
                self.ended(ended, &output);
            }
            self.start_posts(now, &output);
            self.troubles.overflow(output.lost(Lost::QueueFull), now);
            output.in_flight.set(self.posts.len() as u64);
            if now >= self.next_tick {
                self.next_tick = now + tick();
                output.tick();
            }
            if let Some(reporter) = &mut self.reporter {
                if let Some(url) = self.targets.take_metrics() {
                    reporter.redirect(self.targets.now().http.clone(), url);
                }
                reporter.pump(now, &output);
            }
            if let Some(deadline) = self.deadline {
                let idle = self.posts.is_empty() && self.shared.is_empty();
                if idle || now >= deadline {
                    break;
                }
            }
            self.shared.rest(LOOK).await;
        }
        self.end(&output);
    }

    /// Learns that it is time to finish, also from a handle that was dropped.
    fn hear_finish(&mut self) {
        match self.finish.try_recv() {
            Ok(deadline) => {
                self.deadline = Some(self.deadline.map_or(deadline, |d| d.min(deadline)));
            }
            Err(TryRecvError::Disconnected) if self.deadline.is_none() => {
                self.deadline = Some(Instant::now() + QUIET);
            }
            Err(_) => {}
        }
    }

    /// Parcels leave the queue only when their POST can start, so that nothing waits twice.
    fn start_posts(&mut self, now: Instant, output: &Arc<OutputStats>) {
        while self.posts.len() < self.limits.max_in_flight {
            let parcels = self.shared.take(&self.limits, now, self.deadline.is_some());
            if parcels.is_empty() {
                return;
            }
            let offered = parcels.iter().map(parcel::Parcel::records).sum();
            let (body, records) = match parcel::body(parcels) {
                Ok(made) => made,
                Err(error) => {
                    error!("a batch cannot be written: {error}");
                    output.lose(Lost::Encode, offered);
                    continue;
                }
            };
            output.encoded.add(records);
            output.batches.add(1);
            let bytes = body.len() as u64;
            let post = Post {
                targets: Arc::clone(&self.targets),
                shared: Arc::clone(&self.shared),
                output: Arc::clone(output),
                troubles: self.troubles.clone(),
                records,
                max_attempts: self.limits.max_attempts,
            };
            let task = self.posts.spawn(post.deliver(body.into()));
            self.in_flight.insert(task.id(), (records, bytes));
        }
    }

    fn ended(&mut self, ended: Result<(Id, Outcome), JoinError>, output: &OutputStats) {
        let (id, outcome) =
            ended.unwrap_or_else(|error| (error.id(), Outcome::Lost(Lost::Deadline)));
        let Some((records, bytes)) = self.in_flight.remove(&id) else { return };
        match outcome {
            Outcome::Accepted => {
                debug!("{} batch sent: {records}", self.troubles.what);
                output.accepted.add(records);
                output.batches_sent.add(1);
                output.bytes_sent.add(bytes);
                output.succeeded_now();
            }
            Outcome::Lost(reason) => {
                output.lose(reason, records);
                output.batches_lost.add(1);
            }
        }
    }

    /// Gives up on everything that has not been answered.
    fn end(&mut self, output: &OutputStats) {
        while let Some(ended) = self.posts.try_join_next_with_id() {
            self.ended(ended, output);
        }
        self.posts.abort_all();
        let in_flight = self.in_flight.values().map(|(records, _)| *records);
        let left = self.shared.close();
        let lost: u64 = in_flight.chain(left.iter().map(parcel::Parcel::records)).sum();
        output.batches_lost.add(self.in_flight.len() as u64);
        output.in_flight.set(0);
        if lost > 0 {
            output.lose(Lost::Deadline, lost);
            warn!("{lost} records were not delivered in time");
        }
        output.closed.store(true, Relaxed);
    }
}

/// One POST on its way, its waits between attempts included.
struct Post {
    targets: Arc<Targets>,
    shared: Arc<Shared>,
    output: Arc<OutputStats>,
    troubles: Troubles,
    records: u64,
    max_attempts: u32,
}

impl Post {
    async fn deliver(self, body: Bytes) -> Outcome {
        let outcome = self.attempts(body).await;
        self.shared.wake();
        outcome
    }

    async fn attempts(&self, body: Bytes) -> Outcome {
        let mut random = fastrand::Rng::new();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let target = self.targets.now();
            let (failure, asked) = match target.attempt(body.clone()).await {
                Attempt::Accepted => return Outcome::Accepted,
                Attempt::Refused(failure) => {
                    self.troubles.failed(&target, &failure, Some(self.records));
                    return Outcome::Lost(Lost::Rejected);
                }
                Attempt::Failed(failure, asked) => (failure, asked),
            };
            self.output.attempts_failed.add(1);
            if attempt >= self.max_attempts {
                self.troubles.failed(&target, &failure, Some(self.records));
                return Outcome::Lost(Lost::GaveUp);
            }
            self.troubles.failed(&target, &failure, None);
            tokio::time::sleep(target.wait(attempt, asked, &mut random)).await;
            self.output.retries.add(1);
        }
    }
}

/// Log lines about what goes wrong (spec 14.6), rarely.
#[derive(Clone)]
struct Troubles {
    /// What is sent: `DNS` or `tag`.
    what: &'static str,
    failed: Arc<std::sync::Mutex<(Option<Instant>, u64)>>,
    overflowed: Option<Instant>,
    overflow_seen: u64,
}

impl Troubles {
    fn new(endpoint: &Endpoint) -> Self {
        let what = match endpoint {
            Endpoint::Dns(_) => "DNS",
            Endpoint::Tags(_) => "tag",
        };
        Self { what, failed: Arc::default(), overflowed: None, overflow_seen: 0 }
    }

    /// An attempt has failed; with a number, so many records are lost by it.
    fn failed(&self, target: &Target, failure: &Failure, lost: Option<u64>) {
        let mut state = self.failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = Instant::now();
        if state.0.is_some_and(|last| now.duration_since(last) < QUIET) {
            state.1 += 1;
            return;
        }
        let suppressed = std::mem::replace(&mut *state, (Some(now), 0)).1;
        let url = public_url(&target.url);
        let next = lost.map_or_else(
            || "will be repeated".to_owned(),
            |records| format!("{records} records lost"),
        );
        let kind = match failure.status {
            Some(_) => format!("{} API error", self.what),
            None => "request error".to_owned(),
        };
        error!("{kind} {failure} (POST {url}; {next}; {suppressed} more not shown)");
    }

    /// So many records have been lost for want of room until now.
    fn overflow(&mut self, lost: u64, now: Instant) {
        let is_quiet = self.overflowed.is_some_and(|last| now.duration_since(last) < QUIET);
        if lost > self.overflow_seen && !is_quiet {
            let more = lost - self.overflow_seen;
            warn!("{} queue full: {more} of the oldest records lost, {lost} in all", self.what);
            (self.overflowed, self.overflow_seen) = (Some(now), lost);
        }
    }
}

fn tick() -> Duration {
    Duration::from_secs(TICK_S)
}
