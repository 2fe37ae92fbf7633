//! Round-trip times of one side: how long that side took to answer, seen from the capture point.

/// Samples since the last record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
// No padding behind it: there are two in each TCP state.
#[repr(C, packed(4))]
pub struct Rtt {
    /// Sum of all samples, µs.
    pub sum_us: u64,
    /// Smallest sample, µs; 0 without samples.
    pub min_us: u32,
    /// Largest sample, µs; 0 without samples.
    pub max_us: u32,
    /// Latest sample, µs, possibly of an earlier record.
    pub last_us: u32,
    /// Number of samples; 0 means that nothing was measured.
    pub count: u32,
}

impl Rtt {
    /// Mean of the samples in µs, rounded down; `None` without samples.
    #[must_use]
    pub fn mean_us(&self) -> Option<u32> {
        let mean = self.sum_us.checked_div(u64::from(self.count))?;
        Some(u32::try_from(mean).unwrap_or(u32::MAX))
    }

    pub(super) fn add(&mut self, sample_us: u32) {
        self.min_us = if self.count == 0 { sample_us } else { self.min_us.min(sample_us) };
        self.max_us = self.max_us.max(sample_us);
        self.last_us = sample_us;
        self.sum_us = self.sum_us.saturating_add(u64::from(sample_us));
        self.count = self.count.saturating_add(1);
    }

    /// Empties it, but remembers the latest sample, which thresholds are made from.
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self { last_us: self.last_us, ..Self::default() })
    }
}
