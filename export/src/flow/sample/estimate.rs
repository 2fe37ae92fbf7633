//! How far the sums of a sample may be from the truth.

use std::collections::VecDeque;

/// Dispatches that make a minute.
const DISPATCHES: usize = 60;

/// A sum as the sample gives it, and the estimated variance of that.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Estimate {
    pub total: f64,
    pub variance: f64,
}

impl Estimate {
    /// Relative standard error; 0 for nothing, and when nothing was left out.
    pub(crate) fn relative_error(self) -> f64 {
        if self.total > 0.0 { self.variance.max(0.0).sqrt() / self.total } else { 0.0 }
    }

    fn plus(self, other: Self) -> Self {
        Self { total: self.total + other.total, variance: self.variance + other.variance }
    }
}

/// Sums over the values of a sample, for the estimate of its total.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moments {
    count: f64,
    sum: f64,
    squares: f64,
    /// Σ x² (1 − p) ÷ p².
    variance: f64,
    /// Σ x ÷ p.
    weighted: f64,
}

impl Moments {
    /// Adds a value that was kept with this probability.
    pub(super) fn add(&mut self, value: f64, probability: f64) {
        self.count += 1.0;
        self.sum += value;
        self.squares += value * value;
        self.weighted += value / probability;
        self.variance += value * value * (1.0 - probability) / (probability * probability);
    }

    /// A simple random sample of fixed size out of `offered` (Cochran, "Sampling Techniques",
    /// 2.24): N² (1 − n/N) s²/n.
    pub(super) fn uniform(&self, offered: f64) -> Estimate {
        let n = self.count;
        if n == 0.0 || offered <= n {
            return Estimate { total: self.sum, variance: 0.0 };
        }
        let total = self.sum * offered / n;
        if n < 2.0 {
            // One value says nothing about the spread.
            return Estimate { total, variance: total * total };
        }
        let spread = ((self.squares - self.sum * self.sum / n) / (n - 1.0)).max(0.0);
        let variance = offered * offered * (1.0 - n / offered) * spread / n;
        Estimate { total, variance }
    }

    /// Priority sampling: estimates of different records are uncorrelated.
    pub(super) fn threshold(&self) -> Estimate {
        Estimate { total: self.weighted, variance: self.variance }
    }
}

/// Bytes and packets of one dispatch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sums {
    pub bytes: Estimate,
    pub packets: Estimate,
}

/// The last minute's dispatches; those of different seconds are independent.
#[derive(Debug, Default)]
pub(crate) struct Minute(VecDeque<Sums>);

impl Minute {
    /// Adds a dispatch and gives the sums over the minute.
    pub(crate) fn add(&mut self, sums: Sums) -> Sums {
        if self.0.len() >= DISPATCHES {
            self.0.pop_front();
        }
        self.0.push_back(sums);
        self.0.iter().fold(Sums::default(), |all, sums| Sums {
            bytes: all.bytes.plus(sums.bytes),
            packets: all.packets.plus(sums.packets),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uniform_sample_has_the_variance_of_the_textbook() {
        let mut moments = Moments::default();
        [2.0, 4.0, 6.0].into_iter().for_each(|value| moments.add(value, 0.5));
        // N = 6, n = 3, s² = 4: 36 · ½ · 4 ÷ 3.
        assert_eq!(moments.uniform(6.0), Estimate { total: 24.0, variance: 24.0 });
        assert_eq!(moments.uniform(3.0), Estimate { total: 12.0, variance: 0.0 });
    }

    #[test]
    fn a_certain_record_adds_no_variance() {
        let mut moments = Moments::default();
        moments.add(100.0, 1.0);
        moments.add(3.0, 0.5);
        // 9 · ½ ÷ ¼.
        assert_eq!(moments.threshold(), Estimate { total: 106.0, variance: 18.0 });
    }

    #[test]
    fn a_minute_has_sixty_dispatches() {
        let mut minute = Minute::default();
        let one = Estimate { total: 1.0, variance: 4.0 };
        let sums = Sums { bytes: one, packets: one };
        (0..100).for_each(|_| _ = minute.add(sums));
        assert_eq!(minute.add(sums).bytes, Estimate { total: 60.0, variance: 240.0 });
        assert_eq!(Estimate { total: 60.0, variance: 36.0 }.relative_error(), 0.1);
        assert_eq!(Estimate::default().relative_error(), 0.0);
    }
}
