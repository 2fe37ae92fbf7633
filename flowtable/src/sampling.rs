//! Which flows are exported: 1 of N directions, chosen by keyed hash (spec section 9).
//!
//! What a higher rate selects, every lower one selects too. When the rate changes, each packet is
//! judged by the new one at once, and each record carries the one under which it was counted: what
//! is pending of a conversation is cut before its next packet is counted, or when a hand that goes
//! round once in two seconds comes by, whichever is first. So sums stay unbiased, and a change floods
//! nobody.

use crate::config::Moment;
use crate::cut::Cut;
use crate::entry::state;
use crate::key::{Way, mix};
use crate::table::FlowTable;
use crate::tcp::Ending;

/// 1:N flow sampling. The choice depends on the flow and the table's hash key alone, so it holds
/// for the flow's whole life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    rate: u32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self::new(1)
    }
}

/// What to do with a conversation's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Neither direction is of interest: the packet touches no table.
    Ignore,
    /// Track the conversation and export the directions marked.
    Track {
        /// By [`Way`].
        export: [bool; 2],
    },
}

impl Sampling {
    /// Exports 1 of `rate` directions; 0 and 1 both mean all.
    pub fn new(rate: u32) -> Self {
        Self { rate: rate.max(1) }
    }

    /// N of 1:N.
    pub fn rate(self) -> u32 {
        self.rate
    }

    /// The decision for a packet of direction `way` in the conversation with this hash.
    #[inline(always)]
    pub(crate) fn decide(self, hash: u64, way: Way, protocol: u8) -> Decision {
        if self.rate == 1 {
            return Decision::Track { export: [true; 2] };
        }
        let export = Way::BOTH.map(|way| self.selects(hash, way));
        // TCP and UDP need the other direction for their metrics; the rest stands alone.
        let wanted = match protocol {
            6 | 17 => export[0] || export[1],
            _ => export[way.index()],
        };
        if wanted { Decision::Track { export } } else { Decision::Ignore }
    }

    /// True for one of `rate` values of the hash, independently for the two directions.
    #[inline(always)]
    fn selects(self, hash: u64, way: Way) -> bool {
        const SALT: [u64; 2] = [0x5851_f42d_4c95_7f2d, 0x1405_7b7e_f767_814f];
        let word = mix(hash ^ SALT[way.index()]);
        (u128::from(word) * u128::from(self.rate)) >> 64 == 0
    }
}

/// A change of rate that has not reached every conversation yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Change {
    /// N until the change.
    old_rate: u32,
    /// Kind of the rate in force: [`state::RATE`] or 0.
    pub(crate) kind: u64,
    /// Where the hand stands, and where it ends: what came later is counted under the new rate.
    next: usize,
    end: usize,
}

impl FlowTable {
    /// Samples 1 of `rate` from now on, running conversations included (spec 4.6). What is pending
    /// under the old rate is cut over the next two seconds of sweeps, or at the next tick. Looks at
    /// every conversation only when the change before is not through yet.
    pub fn set_sampling(
        &mut self,
        sampling: Sampling,
        now: Moment,
        sink: &mut impl FnMut(Cut<'_>),
    ) {
        if sampling == self.config.sampling {
            return;
        }
        self.settle(usize::MAX, now, sink);
        self.change = Change {
            old_rate: self.config.sampling.rate(),
            kind: self.change.kind ^ state::RATE,
            next: 0,
            end: self.store.hot.len(),
        };
        self.config.sampling = sampling;
    }

    /// Lets the hand of a change visit so many entries more.
    pub(crate) fn settle(&mut self, most: usize, now: Moment, sink: &mut impl FnMut(Cut<'_>)) {
        // Replay may have given entries out from the first again.
        let end = self.change.end.min(self.store.hot.len());
        let stop = end.min(self.change.next.saturating_add(most));
        for entry in self.change.next..stop {
            if self.store.is_used(entry)
                && !self.store.hot[entry].is_counted_under(self.change.kind)
            {
                self.renew(entry, now, sink);
            }
        }
        self.change.next = self.change.next.max(stop);
    }

    /// Cuts what an entry has pending under the old rate.
    #[cold]
    pub(crate) fn renew(&mut self, entry: usize, now: Moment, sink: &mut impl FnMut(Cut<'_>)) {
        self.cut(entry, now, Ending::Open, sink);
        let hot = &mut self.store.hot[entry];
        hot.clear(state::RATE);
        hot.set(self.change.kind);
    }

    /// N of 1:N under which an entry's pending packets were counted.
    pub(crate) fn rate_of(&self, entry: usize) -> u32 {
        if self.store.hot[entry].is_counted_under(self.change.kind) {
            self.config.sampling.rate()
        } else {
            self.change.old_rate
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(rate: u32, protocol: u8, way: Way) -> Vec<Decision> {
        let mut state = 1;
        let sampling = Sampling::new(rate);
        (0..100_000)
            .map(|_| sampling.decide(crate::key::splitmix(&mut state), way, protocol))
            .collect()
    }

    #[test]
    fn rates_of_zero_and_one_export_everything() {
        for rate in [0, 1] {
            let all = outcomes(rate, 6, Way::Up);
            assert!(all.iter().all(|&d| d == Decision::Track { export: [true; 2] }));
        }
    }

    #[test]
    fn one_direction_in_n_is_exported() {
        let exported = outcomes(10, 17, Way::Up)
            .iter()
            .map(|d| match d {
                Decision::Track { export } => export.iter().filter(|&&e| e).count(),
                Decision::Ignore => 0,
            })
            .sum::<usize>();
        // 200,000 directions, standard deviation 134.
        assert!((19_400..20_600).contains(&exported), "{exported}");
    }

    #[test]
    fn only_tcp_and_udp_track_a_direction_that_is_not_exported() {
        assert!(outcomes(2, 6, Way::Up).contains(&Decision::Track { export: [false, true] }));
        let icmp = outcomes(2, 1, Way::Up);
        assert!(!icmp.contains(&Decision::Track { export: [false, true] }));
    }
}
