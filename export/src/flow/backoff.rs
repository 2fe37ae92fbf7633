//! How long to wait before an attempt is repeated (wire contract POST-6).

use std::time::{Duration, Instant, SystemTime};

/// Time limits and waits of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Until a connection, with TLS, stands.
    pub connect_timeout: Duration,
    /// For a whole request.
    pub request_timeout: Duration,
    /// How long a connection is kept that carries nothing.
    pub idle_timeout: Duration,
    /// First wait; each further one is twice as long. The second half of a wait is random.
    pub backoff_min: Duration,
    /// Longest wait.
    pub backoff_max: Duration,
    /// The most that a server's `Retry-After` is heeded.
    pub retry_after_max: Duration,
    /// Between two metrics reports.
    pub metrics_interval: Duration,
}

impl Default for Timing {
    /// Connect 10 s, request 30 s, idle 90 s, waits from 0.5 s to 30 s, `Retry-After` up to 5 min, metrics
    /// each 60 s.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(90),
            backoff_min: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            retry_after_max: Duration::from_secs(300),
            metrics_interval: Duration::from_secs(60),
        }
    }
}

impl Timing {
    /// The wait after `failures` failures in a row, at least 1.
    pub(crate) fn backoff(&self, failures: u32, random: &mut fastrand::Rng) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let wait = self.backoff_min.saturating_mul(1 << doublings).min(self.backoff_max);
        wait / 2 + (wait / 2).mul_f64(random.f64())
    }

    /// The wait after `failures` failures in a row, at least 1: what the server asks for, though not
    /// less than the first wait, or else [`Self::backoff`].
    pub(crate) fn wait(
        &self,
        failures: u32,
        retry_after: Option<Duration>,
        random: &mut fastrand::Rng,
    ) -> Duration {
        match retry_after {
            Some(asked) => asked.max(self.backoff_min),
            None => self.backoff(failures, random),
        }
    }

    /// The wait that a `Retry-After` value asks for: seconds or an HTTP date (RFC 9110, 10.2.3).
    pub(crate) fn retry_after(&self, value: &str, now: SystemTime) -> Option<Duration> {
        let value = value.trim();
        let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
            Duration::from_secs(value.parse().unwrap_or(u64::MAX))
        } else {
            let date = httpdate::parse_http_date(value).ok()?;
            date.duration_since(now).unwrap_or_default()
        };
        Some(wait.min(self.retry_after_max))
    }
}

/// One server, one backoff: after a failure nothing is sent until the wait is over, then one
/// request at a time until one is answered.
#[derive(Debug)]
pub(crate) struct Gate {
    failures: u32,
    open_at: Instant,
    /// Until then the server asked for silence; an answer to an earlier request does not end it.
    asked_until: Instant,
}

impl Gate {
    pub(crate) fn new(now: Instant) -> Self {
        Self { failures: 0, open_at: now, asked_until: now }
    }

    /// How many requests may be in flight now, of `max`.
    pub(crate) fn allows(&self, now: Instant, max: usize) -> usize {
        match self.failures {
            _ if now < self.asked_until => 0,
            0 => max,
            _ if now < self.open_at => 0,
            _ => 1,
        }
    }

    /// Whether the last attempt failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    pub(crate) fn answered(&mut self) {
        self.failures = 0;
    }

    pub(crate) fn failed(
        &mut self,
        now: Instant,
        retry_after: Option<Duration>,
        timing: &Timing,
        random: &mut fastrand::Rng,
    ) {
        if let Some(asked) = retry_after {
            self.asked_until = self.asked_until.max(now + asked);
        }
        // Requests that fail together are one failure.
        if self.failures == 0 || now >= self.open_at {
            self.failures = self.failures.saturating_add(1);
            self.open_at = now + timing.wait(self.failures, retry_after, random);
        } else {
            self.open_at = self.open_at.max(self.asked_until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_from_half_a_second_to_thirty_with_a_random_half() {
        let mut random = fastrand::Rng::with_seed(1);
        for (failures, longest_ms) in
            [(1, 500), (2, 1000), (3, 2000), (6, 16_000), (7, 30_000), (u32::MAX, 30_000)]
        {
            let waits: Vec<_> =
                (0..200).map(|_| Timing::default().backoff(failures, &mut random)).collect();
            let longest = Duration::from_millis(longest_ms);
            assert!(waits.iter().all(|&wait| wait >= longest / 2 && wait <= longest));
            assert!(waits.iter().any(|&wait| wait > longest.mul_f64(0.9)));
            assert!(waits.iter().any(|&wait| wait < longest.mul_f64(0.6)));
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_at_most_five_minutes() {
        let now = SystemTime::UNIX_EPOCH + 784_111_777 * SECOND;
        let wait = |value| Timing::default().retry_after(value, now);
        assert_eq!(wait("7"), Some(7 * SECOND));
        assert_eq!(wait(" 0 "), Some(Duration::ZERO));
        assert_eq!(wait("3600"), Some(300 * SECOND));
        assert_eq!(wait("99999999999999999999999"), Some(300 * SECOND));
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:00 GMT"), Some(23 * SECOND));
        assert_eq!(wait("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("Mon, 07 Nov 1994 08:49:37 GMT"), Some(300 * SECOND));
        for value in ["", "-1", "1.5", "soon", "+3"] {
            assert_eq!(wait(value), None, "{value}");
        }
    }

    #[test]
    fn after_a_failure_one_request_at_a_time_is_sent_until_one_is_answered() {
        let (timing, mut random) = (Timing::default(), fastrand::Rng::with_seed(1));
        let start = Instant::now();
        let mut gate = Gate::new(start);
        assert_eq!(gate.allows(start, 3), 3);
        gate.failed(start, None, &timing, &mut random);
        gate.failed(start, None, &timing, &mut random);
        assert_eq!(gate.allows(start, 3), 0);
        assert_eq!(gate.failures, 1);
        assert_eq!(gate.allows(start + SECOND / 2, 3), 1);
        gate.answered();
        assert_eq!(gate.allows(start, 3), 3);
    }

    #[test]
    fn retry_after_keeps_the_gate_shut() {
        let (timing, mut random) = (Timing::default(), fastrand::Rng::with_seed(1));
        let start = Instant::now();
        let mut gate = Gate::new(start);
        gate.failed(start, Some(7 * SECOND), &timing, &mut random);
        assert_eq!(gate.allows(start + 6 * SECOND, 3), 0);
        assert_eq!(gate.allows(start + 7 * SECOND, 3), 1);
        // A request that was under way is answered: the server wants to be left alone all the same.
        gate.answered();
        assert_eq!(gate.allows(start + 6 * SECOND, 3), 0);
        assert_eq!(gate.allows(start + 7 * SECOND, 3), 3);
    }

    #[test]
    fn retry_after_takes_the_place_of_the_backoff_but_is_no_shorter_than_the_first() {
        let (timing, mut random) = (Timing::default(), fastrand::Rng::with_seed(1));
        let mut wait = |asked| timing.wait(9, Some(asked), &mut random);
        assert_eq!(wait(Duration::ZERO), SECOND / 2);
        assert_eq!(wait(SECOND), SECOND);
        assert_eq!(wait(90 * SECOND), 90 * SECOND);
        assert!(timing.wait(9, None, &mut random) >= 15 * SECOND);
    }

    proptest::proptest! {
        #[test]
        fn any_retry_after_is_ignored_or_at_most_five_minutes(value: String) {
            let wait = Timing::default().retry_after(&value, SystemTime::now());
            proptest::prop_assert!(wait.is_none_or(|wait| wait <= 300 * SECOND));
        }
    }
}
