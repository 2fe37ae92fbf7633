//! Watches a live capture for `--sample auto`: once a second, from the thread that waits for the
//! readers. Readers are asked nothing: their CPU time is the kernel's to tell, and their counters are
//! the copies that the status page shows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::info;

use super::auto::{Auto, Budget, Second};
use super::settings::{LiveSettings, Values};
use crate::status::Status;

const SECOND: Duration = Duration::from_secs(1);
/// At most one line about changes in this time.
const QUIET: Duration = Duration::from_secs(10);

/// Keeps the rate within the budgets while `--sample auto` holds.
pub(super) struct Governor {
    status: Arc<Status>,
    /// `None` while another rate is given.
    auto: Option<Auto>,
    /// As of the last look.
    before: Option<Totals>,
    /// The rate that the log told last, and when; what it has not told yet.
    told: (u32, Option<Instant>),
    untold: Option<String>,
}

/// What has come together since the start.
struct Totals {
    at: Instant,
    cpu: Vec<Duration>,
    dropped: u64,
    lost: u64,
    records: u64,
}

impl Governor {
    pub(super) fn new(status: Arc<Status>) -> Self {
        Self { status, auto: None, before: None, told: (1, None), untold: None }
    }

    /// Call it now and then.
    pub(super) fn poll(&mut self, live: &LiveSettings) {
        if self.before.as_ref().is_some_and(|before| before.at.elapsed() < SECOND) {
            return;
        }
        let values = live.values();
        let Some(cpu_percent) = values.auto_cpu_percent else {
            (self.auto, self.before) = (None, None);
            return;
        };
        let now = Totals::of(&self.status);
        let second = self.before.as_ref().map(|before| now.since(before));
        self.before = Some(now);
        let Some(second) = second else { return };
        if self.auto.as_ref().is_some_and(|auto| auto.rate() != values.rate) {
            // Somebody has set another rate meanwhile.
            self.auto = None;
        }
        let auto = self.auto.get_or_insert_with(|| {
            let auto = Auto::new(values.rate);
            self.told = (auto.rate(), None);
            // A rate that was given before need not be a power of two.
            live.change(|values| values.rate = auto.rate());
            auto
        });
        let budget = Budget { cpu: f64::from(cpu_percent) / 100.0, records: records(&values) };
        if let Some(choice) = auto.step(&second, &budget) {
            live.change(|values| {
                // A reload between the two counts for more.
                if values.auto_cpu_percent.is_some() {
                    (values.rate, values.reason) = (choice.rate, choice.reason);
                }
            });
            self.untold = Some(choice.text);
        }
        self.tell();
    }

    fn tell(&mut self) {
        let Some(rate) = self.auto.as_ref().map(Auto::rate) else { return };
        let (before, at) = self.told;
        if at.is_some_and(|at| at.elapsed() < QUIET) {
            return;
        }
        if let Some(why) = self.untold.take() {
            info!("sampling 1:{rate}, it was 1:{before}: {why}");
            self.told = (rate, Some(Instant::now()));
        }
    }
}

/// The device's flow limit.
fn records(values: &Values) -> Option<u64> {
    values.device.as_deref().map(export::flow_limit)
}

impl Totals {
    fn of(status: &Status) -> Self {
        let feed = &status.exporter.feed;
        Self {
            at: Instant::now(),
            cpu: status
                .readers
                .iter()
                .map(|reader| reader.cpu_time().unwrap_or_default())
                .collect(),
            dropped: status.readers.iter().map(|reader| reader.read().ring.drops).sum(),
            lost: feed.channel_full.get(),
            records: feed.sent.get(),
        }
    }

    fn since(&self, before: &Self) -> Second {
        let elapsed = (self.at - before.at).as_secs_f64();
        let busiest = self.cpu.iter().zip(&before.cpu).map(|(now, then)| now.saturating_sub(*then));
        Second {
            cpu: busiest.max().unwrap_or_default().as_secs_f64() / elapsed,
            dropped: self.dropped.saturating_sub(before.dropped),
            lost: self.lost.saturating_sub(before.lost),
            records: ((self.records - before.records) as f64 / elapsed).round() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::RateReason;

    fn auto(rate: u32) -> Values {
        Values {
            rate,
            reason: RateReason::Given,
            auto_cpu_percent: Some(50),
            follows_device: false,
            filter: None,
            translations: Arc::default(),
            device: None,
        }
    }

    /// Two looks, of which the second one is a second after the one before.
    fn look(governor: &mut Governor, live: &LiveSettings) {
        governor.poll(live);
        std::thread::sleep(SECOND + Duration::from_millis(10));
        governor.poll(live);
    }

    #[test]
    fn it_begins_anew_with_a_rate_that_was_given_between_two_looks() {
        let (feeds, intake) = export::channel(1, 1, export::Pace::Live);
        let exporter = export::start(Vec::new(), intake).expect("it starts");
        let mut governor = Governor::new(Arc::new(Status::new(exporter.stats(), None)));
        let live = LiveSettings::new(auto(5));
        look(&mut governor, &live);
        assert_eq!(live.values().rate, 8, "a power of two");
        // Two reloads within the second, of which it sees the last one alone.
        live.change(|values| (values.auto_cpu_percent, values.rate) = (None, 100));
        live.change(|values| values.auto_cpu_percent = Some(50));
        look(&mut governor, &live);
        assert_eq!(live.values().rate, 128);
        assert_eq!(governor.auto.as_ref().map(Auto::rate), Some(128));
        // Without it a given rate stays as it is.
        live.change(|values| (values.auto_cpu_percent, values.rate) = (None, 100));
        look(&mut governor, &live);
        assert_eq!(live.values().rate, 100);
        assert!(governor.auto.is_none());
        drop(feeds);
        exporter.finish(SECOND);
    }
}
