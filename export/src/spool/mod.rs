//! Batches that wait on disk: what an outage would else cost, kept over restarts and crashes.
//!
//! A batch that has no answer after a moment is appended to a segment, synced once a second, and
//! marked when it was answered; a segment without waiting batches is removed. After a kill at any
//! point what was written is found again, after a loss of power what was synced. Bounds: bytes and
//! number of batches; beyond them the oldest go first, counted. One process owns a spool.

mod format;
mod store;
mod worker;

use std::path::PathBuf;

pub use format::{ENTRY_BYTES, Entry, MAGIC, MAX_BODY_BYTES, Scan, scan};
pub use store::SpoolError;
pub(crate) use worker::{Report, Spool, Write};

/// Where batches wait, and how much of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolConfig {
    /// Each device has a directory of its own in this one; both are made when missing.
    pub dir: PathBuf,
    /// Bytes on disk; at least 1 MiB makes sense, since a batch takes up to some hundred KiB.
    pub max_bytes: u64,
}
