//! Log lines about delivery: one when trouble begins, at most one per ten seconds while it lasts,
//! one when it ends (spec 16.4).

use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::http::Failure;

const QUIET: Duration = Duration::from_secs(10);

/// Failures in a row towards one URL.
pub(crate) struct Streak {
    url: String,
    failures: u64,
    refusals: u64,
    last_refusal: Option<Failure>,
    failed: Limited,
    overflowed: Limited,
}

impl Streak {
    pub(crate) fn new(url: String) -> Self {
        Self {
            url,
            failures: 0,
            refusals: 0,
            last_refusal: None,
            failed: Limited::default(),
            overflowed: Limited::default(),
        }
    }

    /// An attempt failed and will be repeated.
    pub(crate) fn failed(&mut self, failure: &Failure, attempts: u32, now: Instant) {
        self.failures += 1;
        if let Some(suppressed) = self.failed.pass(now) {
            warn!(
                "POST {} failed, will be repeated: {failure} (attempt {attempts}, {suppressed} \
                 more failures not shown)",
                self.url
            );
        }
    }

    /// The server refused a batch for good. Shown once per streak, and when the reason changes.
    pub(crate) fn refused(&mut self, failure: &Failure, records: u64) {
        self.refusals += 1;
        if self.last_refusal.as_ref() != Some(failure) {
            warn!("POST {} refused, {records} records lost: {failure}", self.url);
            self.last_refusal = Some(failure.clone());
        }
    }

    /// The queue was full and lost its oldest batch.
    pub(crate) fn overflowed(&mut self, records: u64, now: Instant) {
        if let Some(suppressed) = self.overflowed.pass(now) {
            warn!(
                "queue to {} is full, oldest batch of {records} records lost ({suppressed} more \
                 not shown)",
                self.url
            );
        }
    }

    pub(crate) fn succeeded(&mut self) {
        if self.failures + self.refusals > 0 {
            info!(
                "POST {} works again after {} failures and {} refused batches",
                self.url, self.failures, self.refusals
            );
        }
        (self.failures, self.refusals, self.last_refusal) = (0, 0, None);
    }
}

/// Lets one event pass per [`QUIET`] and counts the others.
#[derive(Default)]
struct Limited {
    last: Option<Instant>,
    suppressed: u64,
}

impl Limited {
    /// How many were suppressed before this one, or `None` when this one is too.
    fn pass(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.duration_since(last) < QUIET) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_passes_per_ten_seconds_and_tells_how_many_did_not() {
        let start = Instant::now();
        let mut limited = Limited::default();
        let at = |s| start + Duration::from_secs(s);
        assert_eq!(limited.pass(at(0)), Some(0));
        assert_eq!(limited.pass(at(1)), None);
        assert_eq!(limited.pass(at(9)), None);
        assert_eq!(limited.pass(at(10)), Some(2));
        assert_eq!(limited.pass(at(20)), Some(0));
    }
}
