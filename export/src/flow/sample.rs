//! Resampling to the device's flow limit (wire contract AGG-0).
//!
//! When more records are offered than the limit allows, a uniform reservoir keeps a sample that
//! does not depend on the order of arrival, and each kept record's rate grows by the inverse of
//! its probability, rounded up or down by chance so that sums stay unbiased.

use decode::app::Events;
use flowtable::tcp::TcpMetrics;
use flowtable::{Cut, Record};

/// Wire rates are N × 100.
const WIRE_FACTOR: u64 = 100;

/// A record with what belongs to it, and the sample rate it travels with.
#[derive(Clone, Debug)]
pub(crate) struct Weighted {
    pub record: Record,
    extras: Option<Box<Extras>>,
    /// N × 100 × offered / kept; cut at 4,294,967,295, the most that the wire can say.
    pub wire_rate: u32,
}

/// What many records don't have.
#[derive(Clone, Debug, Default)]
struct Extras {
    tcp: Option<TcpMetrics>,
    /// One or none.
    event: Events,
}

impl Weighted {
    pub(crate) fn new(cut: &Cut<'_>) -> Self {
        let mut new = Self { record: cut.record.clone(), extras: None, wire_rate: 0 };
        new.set(cut);
        new
    }

    /// Takes the place of what was there; memory is used again.
    fn set(&mut self, cut: &Cut<'_>) {
        self.record.clone_from(cut.record);
        self.wire_rate = 0;
        if self.extras.is_none() && cut.tcp.is_none() && cut.event.is_none() {
            return;
        }
        let extras = self.extras.get_or_insert_default();
        extras.tcp = cut.tcp.copied();
        extras.event.clear();
        if let Some(event) = &cut.event {
            extras.event.push(event);
        }
    }

    pub(crate) fn cut(&self) -> Cut<'_> {
        let extras = self.extras.as_deref();
        Cut {
            record: &self.record,
            tcp: extras.and_then(|extras| extras.tcp.as_ref()),
            event: extras.and_then(|extras| extras.event.get(0)),
        }
    }
}

/// A uniform sample of at most `limit` records of one dispatch.
pub(crate) struct Reservoir {
    /// The first `used` of them are the sample; the others wait to be used again.
    kept: Vec<Weighted>,
    used: usize,
    offered: u64,
    limit: usize,
    random: fastrand::Rng,
}

impl Reservoir {
    /// `limit` is in records, at least 1. The same seed and records give the same sample.
    pub(crate) fn new(limit: usize, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { kept: Vec::new(), used: 0, offered: 0, limit: limit.max(1), random }
    }

    pub(crate) fn offer(&mut self, cut: &Cut<'_>) {
        self.offered += 1;
        let place = if self.used < self.limit {
            self.used += 1;
            self.used - 1
        } else {
            match usize::try_from(self.random.u64(0..self.offered)) {
                Ok(place) if place < self.used => place,
                _ => return,
            }
        };
        match self.kept.get_mut(place) {
            Some(kept) => kept.set(cut),
            None => self.kept.push(Weighted::new(cut)),
        }
    }

    /// How many offered records are not in the sample.
    pub(crate) fn left_out(&self) -> u64 {
        self.offered - self.used as u64
    }

    /// The sample with its weights.
    pub(crate) fn weigh(&mut self) -> &[Weighted] {
        let kept = self.used as u64;
        for weighted in &mut self.kept[..self.used] {
            let n = u64::from(weighted.record.sample_rate.max(1)) * WIRE_FACTOR;
            weighted.wire_rate = scale(n, self.offered, kept, &mut self.random);
        }
        &self.kept[..self.used]
    }

    /// Forgets the sample; the next one keeps at most `limit` records.
    pub(crate) fn restart(&mut self, limit: usize) {
        self.used = 0;
        self.offered = 0;
        self.limit = limit.max(1);
    }
}

/// `n × offered / kept`, rounded up with the probability of its fraction.
fn scale(n: u64, offered: u64, kept: u64, random: &mut fastrand::Rng) -> u32 {
    let product = u128::from(n) * u128::from(offered);
    let (whole, rest) = (product / u128::from(kept), product % u128::from(kept));
    let up = rest > 0 && u128::from(random.u64(0..kept)) < rest;
    u32::try_from(whole + u128::from(up)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::record;

    fn offer(reservoir: &mut Reservoir, record: &Record) {
        reservoir.offer(&Cut { record, tcp: None, event: None });
    }

    fn numbered(bytes: u64) -> Record {
        Record { bytes, ..record(1) }
    }

    #[test]
    fn below_the_limit_nothing_is_dropped_or_rewritten() {
        let mut reservoir = Reservoir::new(3, 1);
        for rate in [1, 256, 0] {
            offer(&mut reservoir, &Record { sample_rate: rate, ..record(1) });
        }
        let rates: Vec<u32> = reservoir.weigh().iter().map(|kept| kept.wire_rate).collect();
        assert_eq!(rates, [100, 25_600, 100]);
        assert_eq!(reservoir.left_out(), 0);
    }

    #[test]
    fn above_the_limit_the_rate_grows_by_the_inverse_of_the_probability() {
        let mut reservoir = Reservoir::new(100, 1);
        (0..1000).for_each(|n| offer(&mut reservoir, &numbered(n)));
        assert_eq!(reservoir.left_out(), 900);
        let kept = reservoir.weigh();
        assert_eq!(kept.len(), 100);
        assert!(kept.iter().all(|kept| kept.wire_rate == 1000));
    }

    #[test]
    fn a_rate_that_is_no_whole_number_is_rounded_both_ways() {
        let mut reservoir = Reservoir::new(3, 1);
        (0..4).for_each(|n| offer(&mut reservoir, &numbered(n)));
        // 100 × 4 / 3 = 133.33.
        assert!(reservoir.weigh().iter().all(|kept| [133, 134].contains(&kept.wire_rate)));
        let mut random = fastrand::Rng::with_seed(7);
        let sum: u64 = (0..30_000).map(|_| u64::from(scale(100, 4, 3, &mut random))).sum();
        // 4,000,000 with a standard deviation of 82.
        assert!(sum.abs_diff(4_000_000) < 410, "{sum}");
    }

    #[test]
    fn sums_are_unbiased_even_when_size_depends_on_the_order_of_arrival() {
        // The last records are the largest: keeping the first or the last would be far off.
        let truth: u64 = (0..1000_u64).map(|n| n * n).sum();
        let (mut sum, runs) = (0.0, 2000);
        for seed in 0..runs {
            let mut reservoir = Reservoir::new(70, seed);
            (0..1000).for_each(|n| offer(&mut reservoir, &numbered(n * n)));
            sum += reservoir
                .weigh()
                .iter()
                .map(|kept| kept.record.bytes as f64 * f64::from(kept.wire_rate) / 100.0)
                .sum::<f64>();
        }
        let mean = sum / runs as f64;
        // One run's standard deviation is 10 % of the sum, the mean's 0.23 %.
        assert!((mean / truth as f64 - 1.0).abs() < 0.01, "{mean} against {truth}");
    }

    #[test]
    fn every_record_is_kept_with_the_same_probability() {
        let mut kept = [0_u32; 20];
        for seed in 0..10_000 {
            let mut reservoir = Reservoir::new(5, seed);
            (0..20).for_each(|n| offer(&mut reservoir, &numbered(n)));
            for weighted in reservoir.weigh() {
                kept[weighted.record.bytes as usize] += 1;
            }
        }
        // 2,500 each, standard deviation 43.
        assert!(kept.iter().all(|count| count.abs_diff(2500) < 220), "{kept:?}");
    }

    #[test]
    fn the_same_seed_keeps_the_same_records() {
        let sample = || {
            let mut reservoir = Reservoir::new(10, 42);
            (0..500).for_each(|n| offer(&mut reservoir, &numbered(n)));
            let kept = reservoir.weigh().iter();
            kept.map(|kept| (kept.record.clone(), kept.wire_rate)).collect::<Vec<_>>()
        };
        assert_eq!(sample(), sample());
    }

    #[test]
    fn a_rate_beyond_the_wire_is_cut() {
        assert_eq!(scale(4_294_967_200, 1000, 1, &mut fastrand::Rng::with_seed(1)), u32::MAX);
    }
}
