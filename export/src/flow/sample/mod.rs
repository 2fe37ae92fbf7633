//! Resampling to the device's flow limit (wire contract AGG-0).
//!
//! When more records are offered than the limit allows, a sample stays that does not depend on the
//! order of arrival, and each kept record's rate grows by the inverse of its probability, rounded
//! up or down by chance so that sums stay unbiased. The sample is uniform, or prefers the largest
//! records ([`Scheme`]).

mod estimate;
mod heavy;
mod kept;
#[cfg(test)]
mod tests;

use flowtable::Cut;

pub(crate) use estimate::{Minute, Sums};
pub(crate) use kept::Weighted;

use estimate::Moments;
use heavy::Heavy;

/// Wire rates are N × 100.
const WIRE_FACTOR: u64 = 100;

/// Which records stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Each with the same probability.
    #[default]
    Uniform,
    /// The largest for certain, the others with a probability that grows with their bytes.
    KeepHeavy,
}

/// A sample of at most `limit` records of one dispatch.
pub(crate) struct Sampler {
    /// The first `used` of them are the sample; the others wait to be used again.
    kept: Vec<Weighted>,
    used: usize,
    offered: u64,
    limit: usize,
    /// With [`Scheme::KeepHeavy`].
    heavy: Option<Heavy>,
    random: fastrand::Rng,
}

impl Sampler {
    /// `limit` is in records, at least 1. The same seed and records give the same sample.
    pub(crate) fn new(scheme: Scheme, limit: usize, seed: u64) -> Self {
        Self {
            kept: Vec::new(),
            used: 0,
            offered: 0,
            limit: limit.max(1),
            heavy: (scheme == Scheme::KeepHeavy).then(Heavy::default),
            random: fastrand::Rng::with_seed(seed),
        }
    }

    pub(crate) fn offer(&mut self, cut: &Cut<'_>) {
        self.offered += 1;
        let Some(place) = self.place(cut) else { return };
        match self.kept.get_mut(place) {
            Some(kept) => kept.set(cut),
            None => self.kept.push(Weighted::new(cut)),
        }
    }

    /// Where the record goes, if it stays.
    fn place(&mut self, cut: &Cut<'_>) -> Option<usize> {
        let has_room = self.used < self.limit;
        let next = self.used;
        self.used += usize::from(has_room);
        match &mut self.heavy {
            None if has_room => Some(next),
            None => {
                let place = usize::try_from(self.random.u64(0..self.offered)).ok()?;
                (place < self.used).then_some(place)
            }
            Some(heavy) if has_room => {
                heavy.take(weight(cut.record), next, &mut self.random);
                Some(next)
            }
            Some(heavy) => heavy.replace(weight(cut.record), &mut self.random),
        }
    }

    /// How many offered records are not in the sample.
    pub(crate) fn left_out(&self) -> u64 {
        self.offered - self.used as u64
    }

    /// Gives each record of the sample its weight; then [`Self::sample`] may be sent. Tells what
    /// the sample says about the sums of all records, before their rates are rounded.
    pub(crate) fn weigh(&mut self) -> Sums {
        let (mut bytes, mut packets) = (Moments::default(), Moments::default());
        let (offered, kept) = (self.offered, self.used as u64);
        for weighted in self.kept.iter_mut().take(self.used) {
            let n = u64::from(weighted.record.sample_rate.max(1)) * WIRE_FACTOR;
            let probability = match &self.heavy {
                None => {
                    weighted.wire_rate = scale(n, offered, kept, &mut self.random);
                    kept as f64 / offered as f64
                }
                Some(heavy) => {
                    let probability = heavy.probability(weight(&weighted.record));
                    weighted.wire_rate = divide(n, probability, &mut self.random);
                    probability
                }
            };
            bytes.add(kept::bytes(&weighted.record), probability);
            packets.add(kept::packets(&weighted.record), probability);
        }
        if self.heavy.is_some() {
            Sums { bytes: bytes.threshold(), packets: packets.threshold() }
        } else {
            let offered = offered as f64;
            Sums { bytes: bytes.uniform(offered), packets: packets.uniform(offered) }
        }
    }

    /// The sample.
    pub(crate) fn sample(&self) -> &[Weighted] {
        self.kept.get(..self.used).unwrap_or_default()
    }

    /// Forgets the sample; the next one keeps at most `limit` records.
    pub(crate) fn restart(&mut self, limit: usize) {
        self.used = 0;
        self.offered = 0;
        self.limit = limit.max(1);
        if let Some(heavy) = &mut self.heavy {
            heavy.clear();
        }
    }
}

/// Never 0, so that a record without bytes can be kept.
fn weight(record: &flowtable::Record) -> f64 {
    kept::bytes(record).max(1.0)
}

/// `n × offered / kept`, rounded up with the probability of its fraction.
fn scale(n: u64, offered: u64, kept: u64, random: &mut fastrand::Rng) -> u32 {
    let product = u128::from(n) * u128::from(offered);
    let (whole, rest) = (product / u128::from(kept), product % u128::from(kept));
    let up = rest > 0 && u128::from(random.u64(0..kept)) < rest;
    u32::try_from(whole + u128::from(up)).unwrap_or(u32::MAX)
}

/// `n ÷ probability`, rounded up with the probability of its fraction.
fn divide(n: u64, probability: f64, random: &mut fastrand::Rng) -> u32 {
    if probability >= 1.0 {
        return u32::try_from(n).unwrap_or(u32::MAX);
    }
    let exact = n as f64 / probability;
    let whole = exact.floor();
    // A float that is too large becomes the largest number.
    let up = u32::from(random.f64() < exact - whole);
    (whole as u32).saturating_add(up)
}
