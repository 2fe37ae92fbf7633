//! What only unruly connections need, in a pool of fixed size.

use std::io;

use mem::Slab;

use super::holes::Holes;
use super::number::distance;

/// How long a period of capture loss is remembered after its end.
const LOSS_MEMORY_NS: u64 = 600_000_000_000;
/// Periods remembered. A ring that flaps between full and not full makes up to four while it is
/// read once round.
const LOSS_PERIODS: usize = 8;

/// Both ways of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Detail {
    pub(super) sides: [SideDetail; 2],
}

/// What is kept of one direction's stream, and what is counted of it until the next record.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SideDetail {
    pub(super) holes: Holes,
    /// At the last gap the IP identifications were numbers.
    pub(super) counts_ids: bool,
    /// Most payload of a segment at a gap, bytes.
    pub(super) largest: u16,
    /// Up to where the stream went when something was sent again, and the identification of the
    /// segment that had brought it there; 0 for none.
    pub(super) front_id: u16,
    pub(super) front: u32,
    pub(super) resent_ids: ResentIds,
    /// The sequence number last retransmitted, and how often in a row (spec 11.4.1).
    pub(super) run_seq: u32,
    pub(super) run_len: u8,
    pub(super) in_run: bool,
    /// The range last retransmitted, until it proved needless.
    pub(super) resent: Option<(u32, u32)>,
    /// What was sent before a retransmission timeout, until it is acknowledged.
    pub(super) recover_to: Option<u32>,
    /// Highest sequence number the peer reported by SACK.
    pub(super) sacked_to: Option<u32>,
    /// Since when this side's window is closed, µs.
    pub(super) zero_since_us: u32,
    pub(super) counts: Counts,
}

/// IP identifications of retransmissions, as runs without a gap. A burst makes one, and while it
/// waits in front of one CPU the next makes another.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ResentIds {
    /// First and last of each, that which grew last in front.
    runs: [(u16, u16); Self::RUNS],
    len: u8,
    /// Last of the run that had to make room.
    forgotten: Option<u16>,
}

impl ResentIds {
    const RUNS: usize = 6;
    /// What is farther from the latest run has nothing to do with it. Any backlog is shorter, and
    /// over all runs it is clear which identification comes first.
    const NEAR: u16 = 1 << 12;

    /// Takes the identification of a retransmission; 0 tells nothing.
    pub(super) fn note(&mut self, ip_id: u16) {
        if ip_id == 0 {
            return;
        }
        if !self.is_near(ip_id) {
            *self = Self::default();
        }
        let len = usize::from(self.len);
        let fits = |&(first, last): &(u16, u16)| {
            u32::from(ip_id.wrapping_sub(first).wrapping_add(1))
                <= u32::from(last.wrapping_sub(first)) + 2
        };
        let at = self.runs[..len].iter().position(fits).unwrap_or_else(|| {
            let at = len.min(Self::RUNS - 1);
            if len > at {
                self.forgotten = Some(self.runs[at].1);
            }
            self.len = at as u8 + 1;
            self.runs[at] = (ip_id, ip_id);
            at
        });
        let (first, last) = &mut self.runs[at];
        if ip_id == first.wrapping_sub(1) {
            *first = ip_id;
        } else if ip_id == last.wrapping_add(1) {
            *last = ip_id;
        }
        self.runs[..=at].rotate_right(1);
    }

    /// Whether it is certain that no retransmission had this identification, but for those of long
    /// ago.
    pub(super) fn lacks(&self, ip_id: u16) -> bool {
        let mut runs = self.runs[..usize::from(self.len)].iter();
        let has = runs.any(|(first, last)| ip_id.wrapping_sub(*first) <= last.wrapping_sub(*first));
        let is_later = |forgotten| ip_id.wrapping_sub(forgotten).cast_signed() > 0;
        !has && (!self.is_near(ip_id) || self.forgotten.is_none_or(is_later))
    }

    fn is_near(&self, ip_id: u16) -> bool {
        let (_, last) = self.runs[0];
        self.len > 0 && ip_id.wrapping_sub(last).cast_signed().unsigned_abs() <= Self::NEAR
    }
}

/// Since the last record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) repeats: u32,
    pub(super) more_out_of_order: u32,
    pub(super) fast: u32,
    pub(super) timeout: u32,
    pub(super) tail_probe: u32,
    pub(super) needless: u32,
    pub(super) late_fills: u32,
    pub(super) duplicates: u32,
    pub(super) gaps: u32,
    pub(super) suspect_gaps: u32,
    pub(super) suspect_fills: u32,
    pub(super) holes_dropped: u32,
    pub(super) sacks: u32,
    pub(super) dsacks: u32,
    pub(super) zero_transitions: u32,
    pub(super) zero_us: u32,
    pub(super) unseen_bytes: u64,
}

impl SideDetail {
    /// Nothing in it matters any more once its counts are taken. `acked` is what the peer
    /// acknowledged of this side.
    fn is_idle(&self, acked: u32) -> bool {
        self.holes.is_empty()
            && self.counts == Counts::default()
            && (!self.in_run || distance(acked, self.run_seq) > 0)
            && self.recover_to.is_none_or(|recover_to| distance(acked, recover_to) >= 0)
            && self.sacked_to.is_none_or(|sacked_to| distance(acked, sacked_to) >= 0)
    }
}

/// The details of all unruly connections of one table, and what is known of the capture's own loss.
pub struct Details {
    slab: Slab<Detail>,
    free: Vec<u32>,
    refused: u64,
    /// Start and end of the latest periods in which the capture lost packets, ns, newest first.
    loss_ns: [Option<(u64, u64)>; LOSS_PERIODS],
}

impl Details {
    /// Bytes of memory per connection that needs details.
    pub const BYTES_EACH: usize = size_of::<Detail>() + size_of::<u32>();

    /// Room for the details of `capacity` connections, committed as they come.
    ///
    /// # Errors
    /// The kernel's refusal to map, or a capacity of 2³² or more.
    pub fn with_capacity(capacity: usize) -> io::Result<Self> {
        if u32::try_from(capacity).is_err() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Self {
            slab: Slab::with_capacity(capacity)?,
            free: Vec::with_capacity(capacity),
            refused: 0,
            loss_ns: [None; LOSS_PERIODS],
        })
    }

    /// Connections that have details now.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.slab.len() - self.free.len()
    }

    /// Times that a connection left the ordinary path and found no room.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Says that the capture lost packets between two packet times in ns. Gaps that appear in that
    /// time are marked, and whatever fills them is not held against the network (design D7).
    ///
    /// Losses are usually learnt of about a second late; while they go on, `to_ns` may lie ahead.
    pub fn note_capture_loss(&mut self, from_ns: u64, to_ns: u64) {
        match &mut self.loss_ns[0] {
            Some((from, to)) if *from <= to_ns && from_ns <= *to => {
                (*from, *to) = ((*from).min(from_ns), (*to).max(to_ns));
            }
            _ => {
                self.loss_ns.rotate_right(1);
                self.loss_ns[0] = Some((from_ns, to_ns));
            }
        }
    }

    /// Whether the capture was losing at some time from `since_us` to `at_us`, packet times shortly
    /// before `now_ns`.
    pub(super) fn was_losing(&self, since_us: u32, at_us: u32, now_ns: u64) -> bool {
        self.loss_ns.iter().flatten().any(|&(from_ns, to_ns)| {
            now_ns.saturating_sub(to_ns) < LOSS_MEMORY_NS
                && distance(at_us, (from_ns / 1000) as u32) >= 0
                && distance(since_us, (to_ns / 1000) as u32) <= 0
        })
    }

    /// The details under `slot`, if it has any.
    pub(super) fn get(&mut self, slot: u32) -> Option<&mut Detail> {
        let index = slot.checked_sub(1)? as usize;
        self.slab.as_mut_slice().get_mut(index)
    }

    /// The details under `slot`, which is filled when it was empty. `None` when there is no room.
    pub(super) fn obtain(&mut self, slot: &mut u32) -> Option<&mut Detail> {
        if *slot == 0 {
            if let Some(free) = self.free.pop() {
                *slot = free;
                *self.get(free)? = Detail::default();
            } else if let Some(index) = self.slab.push(Detail::default()) {
                *slot = index as u32 + 1;
            } else {
                self.refused += 1;
                return None;
            }
        }
        self.get(*slot)
    }

    /// Gives the details under `slot` back and empties it.
    pub(super) fn release(&mut self, slot: &mut u32) {
        if *slot != 0 {
            self.free.push(std::mem::take(slot));
        }
    }

    /// Gives them back if nothing in them matters any more. `acked`: what was acknowledged of
    /// either side.
    pub(super) fn release_idle(&mut self, slot: &mut u32, acked: [u32; 2]) {
        let idle = self.get(*slot).is_some_and(|detail| {
            detail.sides.iter().zip(acked).all(|(side, acked)| side.is_idle(acked))
        });
        if idle {
            self.release(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_pool_refuses_and_counts_until_one_is_given_back() {
        let mut details = Details::with_capacity(2).unwrap();
        let mut slots = [0; 3];
        assert!(details.obtain(&mut slots[0]).is_some());
        assert!(details.obtain(&mut slots[1]).is_some());
        assert!(details.obtain(&mut slots[2]).is_none());
        assert_eq!((details.in_use(), details.refused()), (2, 1));
        details.release(&mut slots[0]);
        assert_eq!((slots[0], details.in_use()), (0, 1));
        assert!(details.obtain(&mut slots[2]).is_some());
    }

    #[test]
    fn what_is_given_out_again_is_empty() {
        let mut details = Details::with_capacity(1).unwrap();
        let mut slot = 0;
        details.obtain(&mut slot).unwrap().sides[0].counts.gaps = 5;
        details.release(&mut slot);
        assert_eq!(details.obtain(&mut slot).unwrap().sides[0].counts, Counts::default());
    }

    #[test]
    fn identifications_of_retransmissions_are_known_in_bursts_and_for_a_while() {
        let mut ids = ResentIds::default();
        assert!(ids.lacks(7) && ids.lacks(65_000), "none was seen");
        ids.note(0);
        assert!(ids.lacks(65_535), "0 is none");
        // Two bursts, the later one ahead of the earlier, which goes over the wrap; and one backwards.
        let bursts = (0..400).flat_map(|n| [n + 300, n + 65_400]).map(|n: u32| n as u16);
        let noted: Vec<u16> = bursts.chain((900..950).rev()).filter(|&id| id != 0).collect();
        for &ip_id in &noted {
            assert!(ids.lacks(ip_id), "{ip_id}");
            ids.note(ip_id);
            ids.note(ip_id);
        }
        assert!(noted.iter().all(|&ip_id| !ids.lacks(ip_id)));
        assert!([950, 899, 700, 299, 65_399].into_iter().all(|ip_id| ids.lacks(ip_id)));
        // The seventh run takes the place of the one that grew longest ago. All up to its end may have
        // been sent again.
        for ip_id in [1_200, 1_100, 1_000] {
            assert!(ids.lacks(65_399));
            ids.note(ip_id);
        }
        assert!(!ids.lacks(65_400) && !ids.lacks(65_535) && !ids.lacks(65_399));
        assert!(ids.lacks(280) && ids.lacks(1_050) && !ids.lacks(500));
        ids.note(9_000);
        assert!(!ids.lacks(9_000) && ids.lacks(1_000) && ids.lacks(8_999), "too long ago");
    }

    #[test]
    fn periods_of_loss_that_touch_are_one() {
        let mut details = Details::with_capacity(1).unwrap();
        details.note_capture_loss(1_000_000, 2_000_000);
        details.note_capture_loss(2_000_000, 3_000_000);
        let was_losing = |at_us| details.was_losing(at_us, at_us, 4_000_000);
        assert!(was_losing(1_500) && was_losing(3_000));
        assert!(!was_losing(3_001) && !was_losing(999));
    }

    #[test]
    fn a_loss_between_two_packets_counts_and_older_periods_are_not_forgotten_at_once() {
        let mut details = Details::with_capacity(1).unwrap();
        for period in 0..9 {
            let from_ns = 1_000_000 + period * 10_000_000;
            details.note_capture_loss(from_ns, from_ns + 1_000_000);
        }
        assert!(details.was_losing(10_500, 12_500, 99_000_000));
        assert!(!details.was_losing(12_500, 13_000, 99_000_000));
        assert!(!details.was_losing(1_000, 2_000, 99_000_000), "the ninth but last");
    }
}
