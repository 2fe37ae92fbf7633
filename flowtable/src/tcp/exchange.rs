//! First payload of either side: the legacy application latency, for TCP and UDP.

use crate::Way;

const MAX_MS: u64 = 20_000;

/// When payload first went each way (spec 11.2, `FPEX_LATENCY_MS`). One word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FirstPayload(u64);

/// Low bits: payload seen of each way, and which way it came first. Above them µs: when the first
/// came, once both did how much later the second was.
const SEEN: u64 = 1;
const FIRST_WAS_DOWN: u64 = 4;
const SHIFT: u32 = 3;

impl FirstPayload {
    /// Notes a packet with payload; only the first of each way matters. Time in ns, up to the year
    /// 2043 if counted from 1970.
    #[inline]
    pub fn note(&mut self, way: Way, time_ns: u64) {
        let mine = SEEN << way.index();
        if self.0 & mine != 0 {
            return;
        }
        let time_us = time_ns / 1000;
        self.0 = if self.0 == 0 {
            let first = if way == Way::Down { FIRST_WAS_DOWN } else { 0 };
            time_us << SHIFT | first | mine
        } else {
            let then_us = self.0 >> SHIFT;
            time_us.saturating_sub(then_us) << SHIFT | self.0 & FIRST_WAS_DOWN | 3
        };
    }

    /// Milliseconds from the peer's first payload to the first of `way`, clamped to 1–20,000;
    /// `None` unless the peer's came before.
    #[must_use]
    pub fn latency_ms(&self, way: Way) -> Option<u16> {
        self.latency_us(way).map(clamped_ms)
    }

    /// The same in µs, neither rounded nor clamped.
    #[must_use]
    pub fn latency_us(&self, way: Way) -> Option<u64> {
        let second = if self.0 & FIRST_WAS_DOWN == 0 { Way::Down } else { Way::Up };
        (self.0 & 3 == 3 && way == second).then_some(self.0 >> SHIFT)
    }
}

/// The clamp of all legacy latencies: whole milliseconds, 1–20,000 (spec 11.1).
#[must_use]
pub fn clamped_ms(us: u64) -> u16 {
    (us / 1000).clamp(1, MAX_MS) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_clamped_to_whole_milliseconds() {
        assert_eq!(clamped_ms(1_000_000), 1000);
        assert_eq!(clamped_ms(60_000_000), 20_000);
        assert_eq!(clamped_ms(0), 1);
        assert_eq!(clamped_ms(7_867), 7);
    }

    #[test]
    fn the_way_that_answered_has_the_latency() {
        let mut exchange = FirstPayload::default();
        exchange.note(Way::Down, 1_764_000_000_000_000_000);
        assert_eq!(exchange.latency_ms(Way::Up), None);
        exchange.note(Way::Down, 1_764_000_000_010_000_000);
        exchange.note(Way::Up, 1_764_000_000_044_900_000);
        exchange.note(Way::Up, 1_764_000_009_000_000_000);
        assert_eq!(exchange.latency_ms(Way::Up), Some(44));
        assert_eq!(exchange.latency_us(Way::Up), Some(44_900));
        assert_eq!(exchange.latency_ms(Way::Down), None);
    }

    #[test]
    fn a_clock_that_stepped_back_gives_one_millisecond() {
        let mut exchange = FirstPayload::default();
        exchange.note(Way::Up, 2_000_000_000);
        exchange.note(Way::Down, 1_000_000_000);
        assert_eq!(exchange.latency_ms(Way::Down), Some(1));
    }
}
