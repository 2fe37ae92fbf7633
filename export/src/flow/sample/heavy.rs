//! Priority sampling (Duffield, Lund, Thorup: "Priority sampling for estimation of arbitrary
//! subset sums", J. ACM 54(6), 2007): a record of weight w gets the priority w ÷ u, u uniform in
//! (0, 1]; those of highest priority stay. With τ the highest priority that was left out, a kept
//! record stands for max(w, τ): one above τ was certain to stay and stands for itself.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Which places are taken, by priority, and τ. Grows to the limit once and is used again.
#[derive(Debug, Default)]
pub(super) struct Heavy {
    lowest_first: BinaryHeap<Taken>,
    /// Highest priority that was left out.
    threshold: f64,
}

#[derive(Clone, Copy, Debug)]
struct Taken {
    priority: f64,
    place: usize,
}

impl Heavy {
    /// Takes a new place for a record of `weight`, above 0.
    pub(super) fn take(&mut self, weight: f64, place: usize, random: &mut fastrand::Rng) {
        self.lowest_first.push(Taken { priority: priority(weight, random), place });
    }

    /// All places are taken: the one that a record of `weight` gets, if it gets one.
    pub(super) fn replace(&mut self, weight: f64, random: &mut fastrand::Rng) -> Option<usize> {
        let priority = priority(weight, random);
        let mut lowest = self.lowest_first.peek_mut()?;
        if priority <= lowest.priority {
            self.threshold = self.threshold.max(priority);
            return None;
        }
        self.threshold = self.threshold.max(lowest.priority);
        let place = lowest.place;
        *lowest = Taken { priority, place };
        Some(place)
    }

    /// Probability, given τ, that a record of `weight` was kept.
    pub(super) fn probability(&self, weight: f64) -> f64 {
        if weight >= self.threshold { 1.0 } else { weight / self.threshold }
    }

    pub(super) fn clear(&mut self) {
        self.lowest_first.clear();
        self.threshold = 0.0;
    }
}

fn priority(weight: f64, random: &mut fastrand::Rng) -> f64 {
    weight / (1.0 - random.f64())
}

impl PartialEq for Taken {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Taken {}

impl PartialOrd for Taken {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The lowest priority is the greatest, so that it stands on top of the heap.
impl Ord for Taken {
    fn cmp(&self, other: &Self) -> Ordering {
        other.priority.total_cmp(&self.priority).then(other.place.cmp(&self.place))
    }
}
