//! The probe's own metrics, reported each minute (wire contract, section 10).

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kflow::api::Device;
use kflow::tsdb::Metric;
use reqwest::Url;
use reqwest::header::CONTENT_TYPE;
use tokio::task::JoinSet;
use tracing::debug;

use crate::http::{Http, public_url};
use crate::stats::OutputStats;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const TRIES: u32 = 2;
/// Reports on their way; a newer one is dropped.
const MAX_REPORTS: usize = 3;

/// Sends reports. What fails is only worth a debug line.
pub(crate) struct Reporter {
    http: Http,
    url: Url,
    tags: BTreeMap<String, String>,
    interval: Duration,
    next: Instant,
    reports: JoinSet<()>,
}

impl Reporter {
    pub(crate) fn new(
        http: Http,
        url: Url,
        tags: BTreeMap<String, String>,
        interval: Duration,
    ) -> Self {
        let next = Instant::now() + interval;
        Self { http, url, tags, interval, next, reports: JoinSet::new() }
    }

    /// Reports to this URL from now on.
    pub(crate) fn redirect(&mut self, http: Http, url: Url) {
        (self.http, self.url) = (http, url);
    }

    /// Starts a report when it is time. Must run inside the runtime.
    pub(crate) fn pump(&mut self, now: Instant, stats: &OutputStats) {
        while self.reports.try_join_next().is_some() {}
        if now < self.next {
            return;
        }
        self.next = now + self.interval;
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let report = report(stats, &self.tags, time.as_secs() as i64);
        if report.is_empty() {
            return;
        }
        if self.reports.len() >= MAX_REPORTS {
            debug!("metrics report dropped, {MAX_REPORTS} are waiting");
            return;
        }
        match serde_json::to_vec(&report) {
            Ok(body) => {
                self.reports.spawn(post(self.http.clone(), self.url.clone(), body));
            }
            Err(error) => debug!("cannot write a metrics report: {error}"),
        }
    }
}

/// The tags of every metric, without `type`.
pub(crate) fn tags(device: &Device, host_name: &str, version: &str) -> BTreeMap<String, String> {
    let tags = [
        ("host", host_name.to_owned()),
        ("ver", format!("kprobe-{version}")),
        ("ft", "kprobe".into()),
        ("dt", "libkflow".into()),
        ("level", "primary".into()),
        ("cid", device.company_id.to_string()),
        ("did", device.id.to_string()),
    ];
    tags.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Two entries per metric, those without a positive value left out.
fn report(stats: &OutputStats, tags: &BTreeMap<String, String>, timestamp: i64) -> Vec<Metric> {
    let meters = [
        ("chf.client_Total", &stats.offered),
        ("chf.client_DownsampleFPS", &stats.encoded),
        ("chf.client_RateLimitDrops", &stats.sampled_out),
        ("chf.client_BytesSent", &stats.bytes_sent),
    ];
    let mut report = Vec::new();
    for (name, meter) in meters {
        let rate = meter.one_minute_rate() as u64;
        for (kind, value) in [("count", meter.total()), ("one-minute", rate)] {
            if value > 0 {
                let mut tags = tags.clone();
                tags.insert("type".into(), kind.into());
                report.push(Metric { metric: name.into(), timestamp, value: value.into(), tags });
            }
        }
    }
    report
}

async fn post(http: Http, url: Url, body: Vec<u8>) {
    for attempt in 1..=TRIES {
        let request = http.send.post(url.clone()).timeout(REQUEST_TIMEOUT);
        let request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
        match request.send().await {
            // Whatever the answer says.
            Ok(_) => return,
            Err(error) => debug!(
                "POST {} failed (attempt {attempt}): {}",
                public_url(&url),
                http.transport_failure(error)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_every_tag_and_leaves_out_what_is_not_positive() {
        let device = Device { id: 9623, company_id: 1289, ..Device::default() };
        let stats = OutputStats::new("kflow");
        stats.offered.add(13_889);
        stats.encoded.add(600);
        stats.encoded.tick();
        let report = report(&stats, &tags(&device, "pd-host", "2.1.0"), 1_700_000_000);
        let json = |metric: &str, value: u64, kind: &str| {
            serde_json::json!({
                "metric": metric, "timestamp": 1_700_000_000, "value": value,
                "tags": { "host": "pd-host", "ver": "kprobe-2.1.0", "ft": "kprobe",
                    "dt": "libkflow", "level": "primary", "cid": "1289", "did": "9623",
                    "type": kind }
            })
        };
        let expected = serde_json::json!([
            json("chf.client_Total", 13_889, "count"),
            json("chf.client_DownsampleFPS", 600, "count"),
            json("chf.client_DownsampleFPS", 120, "one-minute"),
        ]);
        assert_eq!(serde_json::to_value(report).unwrap(), expected);
    }

    #[test]
    fn nothing_is_reported_before_there_is_something() {
        assert!(report(&OutputStats::new("kflow"), &BTreeMap::new(), 1).is_empty());
    }
}
