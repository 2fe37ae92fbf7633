//! Questions without an answer yet: a bounded table of their times, shared by the datagram
//! protocols of one reader.

/// A question older than this is forgotten, µs (spec 13.7).
pub const MAX_PENDING_AGE_US: u64 = 60_000_000;

/// The part of a key that tells a question from others; the rest can hold its sign.
const WITHOUT_SIGN: u64 = u64::MAX >> 16;

/// Slots of one bucket: the oldest of a full bucket gives way.
const WAYS: usize = 8;

/// Fixed memory: 16 bytes a question, no growth, no rehash. When a bucket is full its oldest
/// question is forgotten and counted in [`Pending::forgotten`].
pub struct Pending {
    slots: Box<[Slot]>,
    mask: usize,
    forgotten: u64,
}

/// A key of 0 marks a free slot.
#[derive(Clone, Copy, Default)]
struct Slot {
    key: u64,
    asked_us: u64,
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pending({} slots)", self.slots.len())
    }
}

impl Pending {
    /// Room for about `capacity` questions, rounded up to a power of two of at least 8.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let slots = capacity.clamp(WAYS, 1 << 24).next_power_of_two();
        Self {
            slots: vec![Slot::default(); slots].into_boxed_slice(),
            mask: slots / WAYS - 1,
            forgotten: 0,
        }
    }

    /// Notes a question; the same key again replaces its time. `key` must be well mixed
    /// ([`Pending::key`]).
    pub fn ask(&mut self, key: u64, now_us: u64) {
        let key = key.max(1);
        let bucket = self.bucket(key);
        let free = |slot: &Slot| slot.key == 0 || is_stale(slot.asked_us, now_us);
        let place = match bucket.iter().position(|slot| slot.key == key) {
            Some(place) => place,
            None => match bucket.iter().position(free) {
                Some(place) => place,
                None => {
                    let oldest = bucket.iter().enumerate().min_by_key(|(_, slot)| slot.asked_us);
                    let place = oldest.map_or(0, |(place, _)| place);
                    self.forgotten += 1;
                    place
                }
            },
        };
        self.bucket(key)[place] = Slot { key, asked_us: now_us };
    }

    /// Takes the question out; gives the µs since it was asked, 0 if time went back.
    pub fn answer(&mut self, key: u64, now_us: u64) -> Option<u64> {
        let key = key.max(1);
        let slot = self.bucket(key).iter_mut().find(|slot| slot.key == key)?;
        let asked_us = std::mem::take(slot).asked_us;
        (!is_stale(asked_us, now_us)).then(|| now_us.saturating_sub(asked_us))
    }

    /// Like [`Pending::answer`], but the question stays: it may have several answers.
    pub fn one_answer(&mut self, key: u64, now_us: u64) -> Option<u64> {
        let latency_us = self.answer(key, now_us)?;
        self.ask(key, now_us - latency_us);
        Some(latency_us)
    }

    /// Notes a question of which `sign` tells whether it is the same as before, sent again: then it
    /// keeps its time. [`Pending::answer_signed`] answers it.
    pub fn ask_signed(&mut self, key: u64, sign: u16, now_us: u64) {
        let key = unsigned(key) | u64::from(sign) << 48;
        let known = self.find_signed(key);
        match known {
            Some(slot) if slot.key == key && !is_stale(slot.asked_us, now_us) => {}
            Some(slot) => *slot = Slot { key, asked_us: now_us },
            None => self.ask(key, now_us),
        }
    }

    /// Like [`Pending::answer`], whatever the sign of the question.
    pub fn answer_signed(&mut self, key: u64, now_us: u64) -> Option<u64> {
        let key = self.find_signed(unsigned(key))?.key;
        self.answer(key, now_us)
    }

    /// Mixes a conversation and a number within it (and a protocol's own salt) into a key.
    #[must_use]
    pub fn key(conversation: u64, salt: u64, id: u64) -> u64 {
        let mut word = conversation ^ id.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt.rotate_left(32);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Questions that had to make room before they were answered or a minute old.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Bytes that the table takes, whatever happens.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }

    fn find_signed(&mut self, key: u64) -> Option<&mut Slot> {
        self.bucket(key).iter_mut().find(|slot| slot.key & WITHOUT_SIGN == key & WITHOUT_SIGN)
    }

    fn bucket(&mut self, key: u64) -> &mut [Slot] {
        let start = (key as usize & self.mask) * WAYS;
        &mut self.slots[start..start + WAYS]
    }
}

fn unsigned(key: u64) -> u64 {
    // 0 marks a free slot.
    (key & WITHOUT_SIGN).max(1)
}

fn is_stale(asked_us: u64, now_us: u64) -> bool {
    now_us.saturating_sub(asked_us) > MAX_PENDING_AGE_US
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_gives_the_time_since_its_question_once() {
        let mut pending = Pending::new(64);
        pending.ask(7, 1_000);
        assert_eq!(pending.answer(7, 45_000), Some(44_000));
        assert_eq!(pending.answer(7, 46_000), None);
        pending.ask(8, 1_000);
        assert_eq!(pending.answer(8, 500), Some(0));
    }

    #[test]
    fn a_question_may_have_several_answers() {
        let mut pending = Pending::new(64);
        pending.ask(7, 1_000);
        assert_eq!(pending.one_answer(7, 45_000), Some(44_000));
        assert_eq!(pending.one_answer(7, 46_000), Some(45_000));
        assert_eq!(pending.one_answer(8, 46_000), None);
    }

    #[test]
    fn a_question_sent_again_keeps_its_time_and_another_in_its_place_does_not() {
        let mut pending = Pending::new(64);
        for key in [7, 0, u64::MAX, 7 << 48] {
            pending.ask_signed(key, 0xffff, 1_000);
            pending.ask_signed(key, 0xffff, 3_000);
            assert_eq!(pending.answer_signed(key, 4_000), Some(3_000));
            assert_eq!(pending.answer_signed(key, 4_000), None);
            pending.ask_signed(key, 1, 5_000);
            pending.ask_signed(key, 0, 6_000);
            assert_eq!(pending.answer_signed(key, 6_500), Some(500));
            // A minute later it is another one.
            pending.ask_signed(key, 1, 0);
            pending.ask_signed(key, 1, MAX_PENDING_AGE_US + 1);
            assert_eq!(pending.answer_signed(key, MAX_PENDING_AGE_US + 2), Some(1));
        }
        assert_eq!(pending.forgotten(), 0);
    }

    #[test]
    fn questions_older_than_a_minute_are_forgotten() {
        let mut pending = Pending::new(64);
        pending.ask(7, 0);
        assert_eq!(pending.answer(7, MAX_PENDING_AGE_US + 1), None);
    }

    #[test]
    fn a_flood_of_questions_keeps_its_memory_and_is_counted() {
        let mut pending = Pending::new(1 << 10);
        let bytes = pending.bytes();
        for id in 0..100_000 {
            pending.ask(Pending::key(1, 2, id), id);
        }
        assert_eq!(pending.bytes(), bytes);
        assert!(pending.forgotten() >= 100_000 - 1024, "{}", pending.forgotten());
        assert_eq!(pending.answer(Pending::key(1, 2, 99_999), 100_000), Some(1));
    }

    #[test]
    fn the_key_of_zero_is_a_key_like_others() {
        let mut pending = Pending::new(8);
        assert_eq!(pending.answer(0, 5), None);
        pending.ask(0, 5);
        assert_eq!(pending.answer(0, 6), Some(1));
    }
}
