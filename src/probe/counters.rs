//! What became of the frames of one reader, for the log and the status.

use std::fmt;

use decode::fragments::ReassemblyStats;
use decode::{Ignored, Malformed};

/// Counters of one reader since its start.
#[derive(Clone, Debug, Default)]
pub(super) struct FrameStats {
    /// Frames taken from the source.
    pub(super) frames: u64,
    /// By [`Ignored::index`].
    pub(super) ignored: [u64; Ignored::ALL.len()],
    /// By [`Malformed::index`].
    pub(super) malformed: [u64; Malformed::ALL.len()],
    /// Frames of a link type the decoder does not know.
    pub(super) unsupported_link: u64,
    /// LINKTYPE number of the last frame.
    pub(super) linktype: u32,
    /// Fragments and datagrams.
    pub(super) reassembly: ReassemblyStats,
}

/// Only what is not zero, in one line.
impl fmt::Display for FrameStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} frames", self.frames)?;
        let ignored = Ignored::ALL.iter().map(|kind| ("ignored", kind.name()));
        let malformed = Malformed::ALL.iter().map(|kind| ("malformed", kind.name()));
        let counts = self.ignored.iter().chain(&self.malformed);
        for ((what, name), count) in ignored.chain(malformed).zip(counts) {
            if *count > 0 {
                write!(f, ", {what} {name} {count}")?;
            }
        }
        if self.unsupported_link > 0 {
            write!(f, ", unsupported link type {}", self.unsupported_link)?;
        }
        if self.reassembly != ReassemblyStats::default() {
            write!(f, ", {:?}", self.reassembly)?;
        }
        Ok(())
    }
}
