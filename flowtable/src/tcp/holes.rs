//! Parts of a stream that were jumped over, at most eight of them.

use super::number::distance;

/// Holes remembered per direction (spec 11.4).
pub(super) const MAX_HOLES: usize = 8;

/// A range of sequence numbers not seen yet, and what was known of the segment behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hole {
    pub(super) start: u32,
    pub(super) end: u32,
    /// When it was noticed, µs.
    pub(super) at_us: u32,
    /// Low half of the timestamp of the segment behind it.
    pub(super) tsval: u16,
    /// IP identification of that segment; 0 tells nothing.
    pub(super) ip_id: u16,
    /// The peer acknowledged all of it: it did pass, but wasn't captured.
    pub(super) acked: bool,
    /// It appeared while the capture lost packets.
    pub(super) suspect: bool,
    /// When the peer first acknowledged anything since, µs: news of the hole on its way to the
    /// sender. 0 for not yet.
    pub(super) told_us: u32,
}

/// The holes of one direction, oldest first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Holes {
    list: [Hole; MAX_HOLES],
    len: u8,
}

impl Holes {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [Hole] {
        self.list.get_mut(..usize::from(self.len)).unwrap_or_default()
    }

    /// The peer has sent an acknowledgment, which tells of all holes there are.
    pub(super) fn told(&mut self, now_us: u32) {
        for hole in self.as_mut_slice().iter_mut().filter(|hole| hole.told_us == 0) {
            hole.told_us = now_us.max(1);
        }
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// Remembers a hole; true when the oldest had to make room.
    pub(super) fn push(&mut self, hole: Hole) -> bool {
        let full = usize::from(self.len) == MAX_HOLES;
        if full {
            self.remove(0);
        }
        if let Some(slot) = self.list.get_mut(usize::from(self.len)) {
            *slot = hole;
            self.len += 1;
        }
        full
    }

    /// The hole that has all of `start`…`end`.
    pub(super) fn containing(&self, start: u32, end: u32) -> Option<Hole> {
        let holes = self.list.get(..usize::from(self.len)).unwrap_or_default();
        let inside =
            |hole: &&Hole| distance(start, hole.start) >= 0 && distance(end, hole.end) <= 0;
        holes.iter().find(inside).copied()
    }

    /// Closes what lies within `start`…`end`. A hole that falls in two needs a place; true when the
    /// oldest had to make room for it.
    pub(super) fn fill(&mut self, start: u32, end: u32) -> bool {
        let mut dropped = false;
        let mut at = 0;
        while let Some(hole) = self.as_mut_slice().get_mut(at) {
            let from_left = distance(start, hole.start) <= 0;
            let to_right = distance(end, hole.end) >= 0;
            let apart = distance(end, hole.start) <= 0 || distance(start, hole.end) >= 0;
            match (apart, from_left, to_right) {
                (true, ..) => {}
                (_, true, true) => {
                    self.remove(at);
                    continue;
                }
                (_, true, false) => hole.start = end,
                (_, false, true) => hole.end = start,
                (_, false, false) => {
                    let rest = Hole { start: end, ..*hole };
                    hole.end = start;
                    dropped |= self.push(rest);
                    // No other hole overlaps: they are disjoint.
                    break;
                }
            }
            at += 1;
        }
        dropped
    }

    fn remove(&mut self, at: usize) {
        let holes = self.as_mut_slice();
        if at < holes.len() {
            holes.copy_within(at + 1.., at);
            self.len -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hole(start: u32, end: u32) -> Hole {
        Hole { start, end, ..Hole::default() }
    }

    fn ranges(holes: &Holes) -> Vec<(u32, u32)> {
        let mut copy = *holes;
        copy.as_mut_slice().iter().map(|hole| (hole.start, hole.end)).collect()
    }

    #[test]
    fn a_fill_in_the_middle_leaves_both_ends() {
        let mut holes = Holes::default();
        holes.push(hole(100, 400));
        assert!(!holes.fill(200, 300));
        assert_eq!(ranges(&holes), [(100, 200), (300, 400)]);
        holes.fill(50, 150);
        assert_eq!(ranges(&holes), [(150, 200), (300, 400)]);
        holes.fill(150, 400);
        assert!(holes.is_empty());
    }

    #[test]
    fn the_ninth_hole_drops_the_oldest() {
        let mut holes = Holes::default();
        for i in 0..8 {
            assert!(!holes.push(hole(i * 100, i * 100 + 10)));
        }
        assert!(holes.push(hole(900, 910)));
        assert_eq!(holes.containing(0, 10), None);
        assert_eq!(holes.containing(100, 110), Some(hole(100, 110)));
        assert_eq!(holes.containing(902, 908), Some(hole(900, 910)));
    }

    #[test]
    fn holes_may_cross_the_wrap() {
        let mut holes = Holes::default();
        holes.push(hole(u32::MAX - 99, 100));
        assert!(holes.containing(u32::MAX, 1).is_some());
        holes.fill(u32::MAX, 1);
        assert_eq!(ranges(&holes), [(u32::MAX - 99, u32::MAX), (1, 100)]);
    }

    proptest! {
        #[test]
        fn filled_bytes_are_in_no_hole(
            pushes in prop::collection::vec((0u32..50, 1u32..20), 1..12),
            fills in prop::collection::vec((0u32..1000, 1u32..200), 0..20),
        ) {
            let mut holes = Holes::default();
            let mut at = 0;
            for (gap, len) in pushes {
                holes.push(hole(at + gap, at + gap + len));
                at += gap + len + 1;
            }
            for (start, len) in fills {
                holes.fill(start, start + len);
                for (from, to) in ranges(&holes) {
                    prop_assert!(to <= start || from >= start + len);
                    prop_assert!(from < to);
                }
            }
        }
    }
}
