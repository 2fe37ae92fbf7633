//! One POST, repeated as often as the contract allows (sections 8 and 9).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Response, Url};

use super::Endpoint;
use crate::flow::Timing;
use crate::http::{Failure, Http, read_bounded};

/// What is read of an answer so that its connection can be used again, and for how long.
const DRAIN_BYTES: usize = 64 << 10;
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// Where and how POSTs are sent.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) http: Http,
    pub(super) url: Url,
    pub(super) timing: Timing,
    pub(super) endpoint: Endpoint,
}

/// Where to send now; it may change while requests are on their way.
#[derive(Debug)]
pub(super) struct Targets {
    now: Mutex<Arc<Target>>,
    /// Where to report metrics, once it has changed.
    metrics: Mutex<Option<Url>>,
}

impl Targets {
    pub(super) fn new(target: Target) -> Arc<Self> {
        Arc::new(Self { now: Mutex::new(Arc::new(target)), metrics: Mutex::default() })
    }

    pub(super) fn now(&self) -> Arc<Target> {
        Arc::clone(&self.now.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set(&self, target: Target, metrics: Url) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(target);
        *self.metrics.lock().unwrap_or_else(PoisonError::into_inner) = Some(metrics);
    }

    /// The new URL for metrics, once.
    pub(super) fn take_metrics(&self) -> Option<Url> {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// How one attempt ended.
pub(super) enum Attempt {
    Accepted,
    /// It may help to repeat it, after this time where the server has said so.
    Failed(Failure, Option<Duration>),
    /// It does not help.
    Refused(Failure),
}

impl Target {
    /// Sends one body once.
    pub(super) async fn attempt(&self, body: Bytes) -> Attempt {
        let content_type = match self.endpoint {
            Endpoint::Dns(_) => kflow::dns::CONTENT_TYPE,
            Endpoint::Tags(_) => "application/json",
        };
        let request = self.http.send.post(self.url.clone()).header(CONTENT_TYPE, content_type);
        match request.body(body).send().await {
            Ok(answer) => self.judge(answer).await,
            Err(error) if error.is_builder() => {
                Attempt::Refused(self.http.transport_failure(error))
            }
            Err(error) => {
                Attempt::Failed(self.http.explained_failure(error, &self.url).await, None)
            }
        }
    }

    /// Any 2xx is success, whatever its body (DNSW-2); 300 to 499 are final.
    async fn judge(&self, answer: Response) -> Attempt {
        let status = answer.status().as_u16();
        if answer.status().is_success() {
            // Whatever becomes of the body: the batch has arrived.
            let _ = tokio::time::timeout(DRAIN_TIME, read_bounded(answer, DRAIN_BYTES)).await;
            return Attempt::Accepted;
        }
        let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = after.and_then(|value| self.timing.retry_after(value, SystemTime::now()));
        let failure = self.http.refusal(answer).await;
        match status {
            300..=499 => Attempt::Refused(failure),
            _ => Attempt::Failed(failure, after),
        }
    }

    /// The wait after `failures` failures, at least 1: the first wait, half as much again for each
    /// further failure, ±50 %; or what the server asks for, if that is more.
    pub(super) fn wait(
        &self,
        failures: u32,
        asked: Option<Duration>,
        random: &mut fastrand::Rng,
    ) -> Duration {
        let growth = 1.5_f64.powi(failures.clamp(1, 16) as i32 - 1);
        let wait = self.timing.backoff_min.mul_f64(growth * (0.5 + random.f64()));
        wait.min(self.timing.backoff_max).max(asked.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Credentials, HttpConfig, Token};

    #[test]
    fn waits_begin_at_half_a_second_and_grow_by_half_give_or_take_half() {
        let credentials = Credentials { email: "a".into(), token: Token::new("t") };
        let config = HttpConfig { credentials, proxy: None, version: "0".into(), ca_file: None };
        let url = Url::parse("http://h/dns").expect("a URL");
        let timing = Timing::default();
        let http = Http::new(&config, &timing, false).expect("a client");
        let target = Target { http, url: url.clone(), timing, endpoint: Endpoint::Dns(url) };
        let mut random = fastrand::Rng::with_seed(1);
        for (failures, middle_ms) in [(1, 500.0), (2, 750.0), (3, 1125.0)] {
            for _ in 0..100 {
                let wait_ms = target.wait(failures, None, &mut random).as_secs_f64() * 1e3;
                assert!(wait_ms >= middle_ms * 0.5 && wait_ms <= middle_ms * 1.5, "{wait_ms}");
            }
        }
        let asked = Some(Duration::from_secs(7));
        assert_eq!(target.wait(1, asked, &mut random), Duration::from_secs(7));
    }
}
