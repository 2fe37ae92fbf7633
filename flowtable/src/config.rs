//! What a table is told: its size, its secrets, and the time.

use std::sync::Arc;

use crate::apps::AppConfig;
use crate::sampling::Sampling;
use crate::translate::Translations;

/// Settings of one table, fixed for its life.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Most conversations held at once, at least 1.
    pub capacity: usize,
    /// Key of the table's hash. Random per process in live capture, so that nobody can aim at one
    /// chain; fixed in replay, so that results repeat.
    pub hash_key: u64,
    /// MAC of the capture interface, which gives records their direction.
    pub local_mac: Option<[u8; 6]>,
    /// Which flows are exported.
    pub sampling: Sampling,
    /// Key of the connection ids, which leave the process; another one than `hash_key`.
    pub ids_key: u64,
    /// Application decoding; `None` for no decoders at all.
    pub apps: Option<AppConfig>,
    /// Addresses and ports to be reported as others.
    pub translations: Arc<Translations>,
}

/// A point in time, as the driver of the table sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// ns since the table's start. Never goes back: monotonic clock in live capture, running
    /// maximum of packet times in replay.
    pub elapsed_ns: u64,
    /// ns since the Unix epoch, for the records cut now.
    pub wall_ns: u64,
}

/// Timers count quarters of a second, kept in 16 bits per conversation.
const QUARTER_NS: u64 = 250_000_000;

impl Moment {
    /// Quarters of a second since the start. Wraps after 4.5 hours; differences between a
    /// conversation's times and now stay under two minutes, because sweeps remove what is idle.
    #[inline]
    pub(crate) fn quarter(self) -> u16 {
        (self.elapsed_ns / QUARTER_NS) as u16
    }
}
