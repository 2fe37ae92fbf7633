//! Which flows are exported: 1 of N directions, chosen by keyed hash (spec section 9).

use crate::key::{Way, mix};

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

    /// Which directions of the conversation with this hash are exported.
    pub(crate) fn exports(self, hash: u64) -> [bool; 2] {
        Way::BOTH.map(|way| self.rate == 1 || self.selects(hash, way))
    }

    /// True for one of `rate` values of the hash, independently for the two directions.
    #[inline(always)]
    fn selects(self, hash: u64, way: Way) -> bool {
        const SALT: [u64; 2] = [0x5851_f42d_4c95_7f2d, 0x1405_7b7e_f767_814f];
        let word = mix(hash ^ SALT[way.index()]);
        (u128::from(word) * u128::from(self.rate)) >> 64 == 0
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
