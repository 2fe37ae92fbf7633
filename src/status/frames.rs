//! What became of the frames of one reader, for the log and the status.

use std::fmt;
use std::ops::AddAssign;

use decode::fragments::ReassemblyStats;
use decode::{Ignored, Malformed};

/// Counters of one reader since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameStats {
    /// Frames taken from the source.
    pub frames: u64,
    /// By [`Ignored::index`].
    pub ignored: [u64; Ignored::ALL.len()],
    /// By [`Malformed::index`].
    pub malformed: [u64; Malformed::ALL.len()],
    /// Frames of a link type the decoder does not know.
    pub unsupported_link: u64,
    /// LINKTYPE number of the last of these.
    pub unsupported_linktype: u32,
    /// Frames the kernel announced in a block but which did not fit it; 0 unless the kernel errs.
    pub broken: u64,
    /// Fragments and datagrams.
    pub reassembly: ReassemblyStats,
}

impl FrameStats {
    /// Names and counts of the frames that make no packet, also those that are zero.
    pub fn uncounted(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let ignored = Ignored::ALL.iter().map(|kind| ("ignored", kind.name()));
        let malformed = Malformed::ALL.iter().map(|kind| ("malformed", kind.name()));
        let counts = self.ignored.iter().chain(&self.malformed);
        let kinds = ignored.chain(malformed).zip(counts).map(|((what, name), n)| (what, name, *n));
        kinds.chain([
            ("unsupported", "link_type", self.unsupported_link),
            ("broken", "block", self.broken),
        ])
    }
}

impl AddAssign<&FrameStats> for FrameStats {
    fn add_assign(&mut self, other: &FrameStats) {
        self.frames += other.frames;
        for (sum, n) in self.ignored.iter_mut().zip(other.ignored) {
            *sum += n;
        }
        for (sum, n) in self.malformed.iter_mut().zip(other.malformed) {
            *sum += n;
        }
        self.unsupported_link += other.unsupported_link;
        self.unsupported_linktype = self.unsupported_linktype.max(other.unsupported_linktype);
        self.broken += other.broken;
        let (sum, more) = (&mut self.reassembly, &other.reassembly);
        sum.used += more.used;
        sum.duplicates += more.duplicates;
        sum.out_of_range += more.out_of_range;
        sum.completed += more.completed;
        sum.expired += more.expired;
        sum.evicted_for_count += more.evicted_for_count;
        sum.evicted_for_memory += more.evicted_for_memory;
    }
}

/// Only what is not zero, in one line.
impl fmt::Display for FrameStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} frames", self.frames)?;
        for (what, name, count) in self.uncounted() {
            if count > 0 {
                write!(f, ", {what} {name} {count}")?;
            }
        }
        if self.reassembly != ReassemblyStats::default() {
            write!(f, ", {:?}", self.reassembly)?;
        }
        Ok(())
    }
}
