//! Packet time for replay: turns frame times into [`Moment`]s and says when export ticks are due.

use crate::config::Moment;
use crate::expiry::TICK_NS;

/// The clock of a replay. Starts at the first frame and never goes back.
#[derive(Clone, Debug, Default)]
pub struct Ticks {
    start_ns: Option<u64>,
    now: Moment,
    next_ns: u64,
}

impl Ticks {
    /// Sets the clock to a frame's time, or leaves it where it is if the frame is older.
    #[inline]
    pub fn advance(&mut self, frame_ns: u64) -> Moment {
        let start = *self.start_ns.get_or_insert_with(|| {
            self.next_ns = TICK_NS;
            frame_ns
        });
        if frame_ns > self.now.wall_ns {
            self.now = Moment { elapsed_ns: frame_ns - start, wall_ns: frame_ns };
        }
        self.now
    }

    /// Whether a tick is due now; one comparison.
    #[inline]
    pub fn is_due(&self) -> bool {
        self.now.elapsed_ns >= self.next_ns && self.start_ns.is_some()
    }

    /// The next tick that is due. An empty table has nothing to wait for: pass `idle` to go on to
    /// the last one at once.
    pub fn take(&mut self, idle: bool) -> Option<Moment> {
        if !self.is_due() {
            return None;
        }
        if idle {
            self.next_ns = self.now.elapsed_ns / TICK_NS * TICK_NS;
        }
        let elapsed_ns = self.next_ns;
        self.next_ns += TICK_NS;
        Some(Moment { elapsed_ns, wall_ns: self.start_ns? + elapsed_ns })
    }

    /// The time of the latest frame.
    pub fn now(&self) -> Moment {
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn ticks_fall_every_two_seconds_from_the_first_frame() {
        let mut ticks = Ticks::default();
        ticks.advance(100 * S);
        assert_eq!(ticks.take(false), None);
        ticks.advance(101 * S);
        assert_eq!(ticks.take(false), None);
        ticks.advance(105 * S);
        let at = |seconds| Moment { elapsed_ns: seconds * S, wall_ns: (100 + seconds) * S };
        assert_eq!(ticks.take(false), Some(at(2)));
        assert_eq!(ticks.take(false), Some(at(4)));
        assert_eq!(ticks.take(false), None);
    }

    #[test]
    fn a_long_silence_is_crossed_in_one_step_when_nothing_waits() {
        let mut ticks = Ticks::default();
        ticks.advance(0);
        ticks.advance(86_401 * S);
        assert_eq!(ticks.take(true).unwrap().elapsed_ns, 86_400 * S);
        assert_eq!(ticks.take(true), None);
    }

    #[test]
    fn time_never_goes_back() {
        let mut ticks = Ticks::default();
        ticks.advance(10 * S);
        assert_eq!(ticks.advance(9 * S), Moment { elapsed_ns: 0, wall_ns: 10 * S });
    }
}
