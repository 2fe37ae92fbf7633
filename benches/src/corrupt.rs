//! Damages frames the way a broken link, a short snap length or an attacker would.
//!
//! Works on one frame at a time and keeps the length on the wire as it was. Half of the frames
//! pass untouched, so that a probe under test has conversations to lose track of.

/// What was done to one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Nothing.
    None,
    /// One to eight bits anywhere were inverted.
    Flipped,
    /// The end was cut off; 0 bytes may be left.
    Truncated,
    /// A byte of the first 64 got an extreme value: 0, 0x7f, 0x80 or 0xff. These are the bytes
    /// that hold lengths and offsets.
    Extreme,
}

/// A seeded source of damage.
pub struct Corruptor {
    rng: fastrand::Rng,
}

impl Corruptor {
    /// Same seed and same frames, same damage.
    pub fn new(seed: u64) -> Corruptor {
        Corruptor { rng: fastrand::Rng::with_seed(seed) }
    }

    /// Damages `frame` in place, or not. An empty frame stays empty.
    pub fn damage(&mut self, frame: &mut Vec<u8>) -> Damage {
        if frame.is_empty() {
            return Damage::None;
        }
        match self.rng.u8(0..6) {
            0 => {
                for _ in 0..self.rng.u8(1..=8) {
                    let at = self.rng.usize(0..frame.len());
                    frame[at] ^= 1 << self.rng.u8(0..8);
                }
                Damage::Flipped
            }
            1 => {
                frame.truncate(self.rng.usize(0..frame.len()));
                Damage::Truncated
            }
            2 => {
                let at = self.rng.usize(0..frame.len().min(64));
                frame[at] = [0, 0x7f, 0x80, 0xff][self.rng.usize(0..4)];
                Damage::Extreme
            }
            _ => Damage::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_frames_pass_and_the_rest_is_shared_evenly() {
        let mut corruptor = Corruptor::new(3);
        let original = vec![0x55; 100];
        let mut counts = [0u32; 4];
        for _ in 0..6000 {
            let mut frame = original.clone();
            let damage = corruptor.damage(&mut frame);
            match damage {
                Damage::None => assert_eq!(frame, original),
                Damage::Truncated => assert!(frame.len() < 100),
                Damage::Flipped => assert_eq!(frame.len(), 100),
                Damage::Extreme => assert_ne!(frame, original),
            }
            counts[damage as usize] += 1;
        }
        assert!((2800..3200).contains(&counts[0]), "{counts:?}");
        assert!(counts[1..].iter().all(|n| (850..1150).contains(n)), "{counts:?}");
    }

    #[test]
    fn short_frames_are_safe() {
        let mut corruptor = Corruptor::new(4);
        for length in 0..4 {
            for _ in 0..100 {
                let mut frame = vec![1; length];
                corruptor.damage(&mut frame);
                assert!(frame.len() <= length);
            }
        }
    }
}
