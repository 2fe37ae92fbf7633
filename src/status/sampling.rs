//! The sampling rate in force, and why it is what it is.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

/// Why the sampling rate is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateReason {
    /// `--sample N`, or nothing said and no device with a rate.
    Given,
    /// The device's rate.
    Device,
    /// `--sample auto` has seen nothing to change it for.
    Start,
    /// The ring dropped packets.
    Drops,
    /// The exporter was late, and records were lost.
    Exporter,
    /// A reader took more of its CPU than allowed.
    Cpu,
    /// More records than the device's flow limit.
    Records,
    /// All was quiet for long: it came down.
    Calm,
}

impl RateReason {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Given,
        Self::Device,
        Self::Start,
        Self::Drops,
        Self::Exporter,
        Self::Cpu,
        Self::Records,
        Self::Calm,
    ];

    /// One word for status and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Device => "device",
            Self::Start => "start",
            Self::Drops => "drops",
            Self::Exporter => "exporter",
            Self::Cpu => "cpu",
            Self::Records => "records",
            Self::Calm => "calm",
        }
    }
}

/// What the status tells of sampling.
#[derive(Debug)]
pub struct SamplingStatus {
    rate: AtomicU32,
    reason: AtomicU8,
    changes: [AtomicU64; RateReason::ALL.len()],
}

impl SamplingStatus {
    /// Begins with this rate.
    pub fn new(rate: u32, reason: RateReason) -> Self {
        let changes = Default::default();
        Self { rate: AtomicU32::new(rate), reason: AtomicU8::new(reason as u8), changes }
    }

    /// Another rate, or the same for another reason.
    pub fn show(&self, rate: u32, reason: RateReason) {
        let old = self.rate.swap(rate, Relaxed);
        self.reason.store(reason as u8, Relaxed);
        if old != rate {
            self.changes[reason as usize].fetch_add(1, Relaxed);
        }
    }

    /// N of 1:N.
    pub fn rate(&self) -> u32 {
        self.rate.load(Relaxed)
    }

    /// Why it is what it is.
    pub fn reason(&self) -> RateReason {
        let number = usize::from(self.reason.load(Relaxed));
        RateReason::ALL.get(number).copied().unwrap_or(RateReason::Given)
    }

    /// Changes since the start, by the reason they had.
    pub fn changes(&self) -> impl Iterator<Item = (RateReason, u64)> {
        RateReason::ALL
            .into_iter()
            .zip(&self.changes)
            .map(|(why, count)| (why, count.load(Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_counted_by_reason_and_the_same_rate_is_none() {
        for (number, reason) in RateReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number, "{reason:?}");
        }
        let status = SamplingStatus::new(1, RateReason::Start);
        status.show(2, RateReason::Cpu);
        status.show(4, RateReason::Cpu);
        status.show(4, RateReason::Given);
        assert_eq!((status.rate(), status.reason()), (4, RateReason::Given));
        let counted: Vec<_> = status.changes().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [(RateReason::Cpu, 2)]);
    }
}
