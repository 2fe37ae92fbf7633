//! Counters with moving rates, as the status page and the metrics report show them (spec 16.1).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// How often [`Meter::tick`] must be called, in seconds.
pub(crate) const TICK_S: u64 = 5;

/// A counter with exponentially weighted rates over one and five minutes.
///
/// Written by the exporter thread, readable from any thread.
#[derive(Debug, Default)]
pub struct Meter {
    total: AtomicU64,
    since_tick: AtomicU64,
    // Bits of f64.
    one_minute: AtomicU64,
    five_minutes: AtomicU64,
    ticked: AtomicBool,
}

impl Meter {
    /// Events since start.
    pub fn total(&self) -> u64 {
        self.total.load(Relaxed)
    }

    /// Events per second, weighted over one minute; 0 during the first five seconds.
    pub fn one_minute_rate(&self) -> f64 {
        f64::from_bits(self.one_minute.load(Relaxed))
    }

    /// Events per second, weighted over five minutes; 0 during the first five seconds.
    pub fn five_minute_rate(&self) -> f64 {
        f64::from_bits(self.five_minutes.load(Relaxed))
    }

    pub(crate) fn add(&self, events: u64) {
        self.total.fetch_add(events, Relaxed);
        self.since_tick.fetch_add(events, Relaxed);
    }

    /// Closes an interval of [`TICK_S`] seconds.
    pub(crate) fn tick(&self) {
        let interval_s = TICK_S as f64;
        let now = self.since_tick.swap(0, Relaxed) as f64 / interval_s;
        let first = !self.ticked.swap(true, Relaxed);
        for (rate, window_s) in [(&self.one_minute, 60.0), (&self.five_minutes, 300.0)] {
            let old = f64::from_bits(rate.load(Relaxed));
            let weight = 1.0 - (-interval_s / window_s).exp();
            let new = if first { now } else { old + weight * (now - old) };
            rate.store(new.to_bits(), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_tick_sets_both_rates_to_the_mean_of_its_interval() {
        let meter = Meter::default();
        meter.add(50);
        assert_eq!((meter.total(), meter.one_minute_rate()), (50, 0.0));
        meter.tick();
        assert_eq!((meter.one_minute_rate(), meter.five_minute_rate()), (10.0, 10.0));
    }

    #[test]
    fn later_ticks_move_the_rates_by_their_weights() {
        let meter = Meter::default();
        meter.add(50);
        meter.tick();
        meter.tick();
        // 10 · e^(−5/60) and 10 · e^(−5/300).
        assert!((meter.one_minute_rate() - 9.200_444_147).abs() < 1e-6);
        assert!((meter.five_minute_rate() - 9.834_714_538).abs() < 1e-6);
        assert_eq!(meter.total(), 50);
    }
}
