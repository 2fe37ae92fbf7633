//! The sender and its spool: what is written, what is read back, and who owns a batch meanwhile.
//!
//! A batch in memory alone is the sender's to count. Once the spool has it, memory keeps it only
//! while it is on its way.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::queue::{Batch, Stored};
use super::sender::Sender;
use crate::spool::{Report, Spool, Write};
use crate::stats::Lost;

/// A batch without an answer after this time is written to the spool; at once after a failure.
const STORE_AFTER: Duration = Duration::from_millis(250);
/// Between two tries of a spool that cannot be written.
const RETRY: Duration = Duration::from_secs(10);
/// Between two looks into a spool that had nothing.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// What the last writes may take, within the time that a finish waits beyond its deadline.
const LAST_WRITES: Duration = Duration::from_millis(800);

pub(super) struct Backlog {
    spool: Spool,
    /// Read back, to be sent.
    loaded: Option<Batch>,
    loading: bool,
    look_at: Instant,
    write_at: Instant,
    /// Needs no sending any more, and the spool has not confirmed that it knows.
    done: HashSet<u64>,
    /// Of these, what it could not be told yet.
    untold: VecDeque<u64>,
}

impl Backlog {
    pub(super) fn new(spool: Spool) -> Self {
        let now = Instant::now();
        Self {
            spool,
            loaded: None,
            loading: false,
            look_at: now,
            write_at: now,
            done: HashSet::new(),
            untold: VecDeque::new(),
        }
    }

    fn tell_done(&mut self) {
        while let Some(&number) = self.untold.front()
            && self.spool.done(number)
        {
            self.untold.pop_front();
        }
    }
}

impl Sender {
    /// Learns what became of what the spool was told.
    pub(super) fn hear_spool(&mut self, now: Instant) {
        while let Some(report) = self.backlog.as_ref().and_then(|backlog| backlog.spool.report()) {
            self.heard(report, now);
        }
        if let Some(backlog) = &mut self.backlog {
            backlog.tell_done();
        }
    }

    fn heard(&mut self, report: Report, now: Instant) {
        match report {
            Report::Written(number) => {
                // Memory is for what only memory has.
                if self.queue.take(number).is_none()
                    && let Some(batch) = self.on_its_way(number)
                {
                    batch.stored = Stored::Yes;
                }
            }
            Report::NotWritten { number, records } => self.not_written(number, records, now),
            Report::Dropped(gone) => {
                for batch in gone {
                    self.dropped(batch.number, batch.records);
                }
            }
            Report::Done(number) => {
                self.backlog.as_mut().map(|backlog| backlog.done.remove(&number));
            }
            Report::Loaded { number, records, body } => {
                let is_on_its_way = self.on_its_way(number).is_some();
                let Some(backlog) = &mut self.backlog else { return };
                backlog.loading = false;
                if !is_on_its_way && !backlog.done.contains(&number) {
                    let batch = Batch::new(number, records, body, now);
                    backlog.loaded = Some(Batch { stored: Stored::Yes, from_spool: true, ..batch });
                }
            }
            Report::Empty => {
                let Some(backlog) = &mut self.backlog else { return };
                backlog.loading = false;
                backlog.look_at = now + LOOK_AGAIN;
            }
        }
    }

    fn not_written(&mut self, number: u64, records: u64, now: Instant) {
        let Some(backlog) = &mut self.backlog else { return };
        backlog.write_at = now + RETRY;
        if backlog.done.contains(&number) {
            return;
        }
        match self.queue.find(number) {
            Some(batch) => batch.stored = Stored::No,
            None => match self.on_its_way(number) {
                Some(batch) => batch.stored = Stored::No,
                // Memory had no room for it either.
                None => self.lose(records, Lost::QueueFull),
            },
        }
    }

    /// The spool had no room for it any more.
    fn dropped(&mut self, number: u64, records: u64) {
        if let Some(batch) = self.on_its_way(number) {
            batch.stored = Stored::No;
            return;
        }
        let Some(backlog) = &mut self.backlog else { return };
        match &mut backlog.loaded {
            Some(batch) if batch.number == number => batch.stored = Stored::No,
            _ if backlog.done.contains(&number) => {}
            _ => self.lose(records, Lost::SpoolFull),
        }
    }

    fn on_its_way(&mut self, number: u64) -> Option<&mut Batch> {
        self.in_flight.values_mut().find(|batch| batch.number == number)
    }

    /// Asks for what should not be in memory alone any longer to be written.
    pub(super) fn store(&mut self, now: Instant) {
        let Some(backlog) = &self.backlog else { return };
        if now < backlog.write_at {
            return;
        }
        let is_failing = self.gate.is_failing();
        for batch in self.queue.iter_mut().chain(self.in_flight.values_mut()) {
            let is_due = is_failing || now.duration_since(batch.made) >= STORE_AFTER;
            if batch.stored == Stored::No && !batch.from_spool && is_due {
                if !backlog.spool.write(write(batch, now)) {
                    break;
                }
                batch.stored = Stored::Asked;
            }
        }
    }

    /// Sends the oldest batch of the spool, or has it read.
    pub(super) fn start_backlog(&mut self, now: Instant) {
        let on_their_way = || self.in_flight.values().filter(|batch| batch.stored != Stored::No);
        let Some(backlog) = &mut self.backlog else { return };
        if let Some(batch) = backlog.loaded.take_if(|batch| batch.not_before <= now) {
            self.start(batch);
        } else if backlog.loaded.is_none()
            && !backlog.loading
            && now >= backlog.look_at
            && self.stats.spool_batches.get() > 0
        {
            // What was answered but is not marked yet is not to be read either.
            let done = backlog.done.iter().copied();
            let except = on_their_way().map(|batch| batch.number).chain(done).collect();
            backlog.loading = backlog.spool.load(except);
        }
    }

    /// An attempt failed and will be repeated.
    pub(super) fn take_back(&mut self, batch: Batch) {
        match (&mut self.backlog, batch.stored) {
            (Some(backlog), _) if batch.from_spool => backlog.loaded = Some(batch),
            // The spool has it.
            (Some(_), Stored::Yes) => {}
            _ => self.insert(batch),
        }
    }

    /// The batch needs no sending any more.
    pub(super) fn settled(&mut self, batch: &Batch) {
        if batch.stored != Stored::No
            && let Some(backlog) = &mut self.backlog
        {
            backlog.done.insert(batch.number);
            backlog.untold.push_back(batch.number);
            backlog.tell_done();
        }
    }

    /// Whether nothing of the spool is to be waited for: it is empty, or the server does not take
    /// it now.
    pub(super) fn is_backlog_settled(&self) -> bool {
        let Some(backlog) = &self.backlog else { return true };
        let is_told = backlog.done.is_empty();
        let is_sent = self.stats.spool_batches.get() == 0 && backlog.loaded.is_none();
        backlog.spool.has_failed() || is_told && (is_sent || self.gate.is_failing())
    }

    pub(super) fn is_spool_nearly_full(&self) -> bool {
        let limit = self.backlog.as_ref().map(|backlog| backlog.spool.limit_bytes);
        limit.is_some_and(|limit| self.stats.spool_bytes.get() > limit / 4 * 3)
    }

    /// The last thing: gives the spool what it does not have yet, and gives back what it could not
    /// take.
    pub(super) fn store_for_later(&mut self, mut left: Vec<Batch>) -> Vec<Batch> {
        let Some(backlog) = &mut self.backlog else { return left };
        left.extend(backlog.loaded.take());
        left.sort_by_key(|batch| batch.number);
        let deadline = Instant::now() + LAST_WRITES;
        let mut waiting: HashMap<u64, Batch> = HashMap::new();
        for batch in left {
            let write = (batch.stored == Stored::No).then(|| write(&batch, Instant::now()));
            if batch.stored != Stored::Yes {
                waiting.insert(batch.number, batch);
            }
            if let Some(write) = write {
                self.write_before(&write, deadline, &mut waiting);
            }
        }
        while self.backlog.as_ref().is_some_and(|backlog| !backlog.untold.is_empty())
            && Instant::now() < deadline
        {
            self.hear_last(deadline, &mut waiting);
        }
        if let Some(backlog) = &mut self.backlog {
            backlog.spool.close();
        }
        while self.hear_last(deadline, &mut waiting) {}
        waiting.into_values().collect()
    }

    fn write_before(
        &mut self,
        write: &Write,
        deadline: Instant,
        waiting: &mut HashMap<u64, Batch>,
    ) {
        while let Some(backlog) = &self.backlog
            && !backlog.spool.write(write.clone())
        {
            if !self.hear_last(deadline, waiting) {
                return;
            }
        }
    }

    /// Waits for one report; false when none comes any more.
    fn hear_last(&mut self, deadline: Instant, waiting: &mut HashMap<u64, Batch>) -> bool {
        let report = self.backlog.as_ref().and_then(|backlog| backlog.spool.report_until(deadline));
        match report {
            None => return false,
            Some(Report::Written(number)) => _ = waiting.remove(&number),
            // Stays among those that wait.
            Some(Report::NotWritten { number, .. }) if waiting.contains_key(&number) => {}
            Some(report) => self.heard(report, Instant::now()),
        }
        if let Some(backlog) = &mut self.backlog {
            backlog.tell_done();
        }
        true
    }
}

fn write(batch: &Batch, now: Instant) -> Write {
    let age = now.duration_since(batch.made);
    let made =
        SystemTime::now().checked_sub(age).and_then(|made| made.duration_since(UNIX_EPOCH).ok());
    let made_ms = made.map_or(0, |made| made.as_millis() as u64);
    let (number, records, body) = (batch.number, batch.records, batch.body.clone());
    Write { number, records, made_ms, body }
}
