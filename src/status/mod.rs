//! What the probe has seen, kept and lost, for whoever asks while it runs.
//!
//! A reader leaves a copy of its counters here a few times a second and never waits for a lock.

mod frames;
mod latency;
mod metrics;
mod modes;
mod page;
mod sampling;
mod server;
mod top;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI32, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use capture::RingStats;
use flowtable::{Latencies, TableStats};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::gettid;

pub use frames::FrameStats;
pub use modes::ModeCounters;
pub use sampling::{RateReason, SamplingStatus};
pub use server::start as serve;
pub use top::Top;

/// Everything there is to ask.
#[derive(Debug)]
pub struct Status {
    /// When the probe started.
    pub started: Instant,
    /// One per reader.
    pub readers: Vec<Arc<ReaderStatus>>,
    /// The exporter's counters.
    pub exporter: Arc<export::Stats>,
    /// `dns` or `radius`, in these modes.
    pub mode: Option<&'static str>,
    /// Heavy conversations, where somebody may ask for them.
    pub top: Option<Arc<Top>>,
    /// The sampling rate, in flow mode.
    pub sampling: Option<Arc<SamplingStatus>>,
}

/// Where one reader leaves its counters.
#[derive(Debug)]
pub struct ReaderStatus {
    /// Interface or file it reads.
    pub source: String,
    /// Number among the readers of its source.
    pub index: usize,
    counters: Mutex<Counters>,
    /// MAC of the interface in the low 48 bits; 0 for none.
    mac: AtomicU64,
    /// The thread that reads; 0 for none yet.
    thread: AtomicI32,
}

/// Counters of one reader at one time.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Of the kernel's ring; zero in replay.
    pub ring: RingStats,
    /// Frames by what became of them.
    pub frames: FrameStats,
    /// The flow table.
    pub table: TableStats,
    /// Latencies over all conversations.
    pub latencies: Latencies,
    /// DNS and RADIUS mode; zero in flow mode.
    pub mode: ModeCounters,
}

impl ReaderStatus {
    /// A place for reader `index` of `source`.
    pub fn new(source: &str, index: usize) -> Arc<Self> {
        let (source, counters) = (source.to_owned(), Mutex::default());
        let (mac, thread) = (AtomicU64::new(0), AtomicI32::new(0));
        Arc::new(Self { source, index, counters, mac, thread })
    }

    /// Says that this thread is the reader.
    pub fn is_this_thread(&self) {
        self.thread.store(gettid().as_raw(), Relaxed);
    }

    /// CPU time of the reader's thread so far; `None` before it runs and when it has ended.
    pub fn cpu_time(&self) -> Option<Duration> {
        let thread = self.thread.load(Relaxed);
        if thread == 0 {
            return None;
        }
        // A thread's clock by its number, as pthread_getcpuclockid(3) makes it (linux,
        // include/linux/posix-timers_types.h: CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED).
        let clock = ClockId::from_raw(!thread << 3 | 6);
        clock_gettime(clock).ok().map(Duration::from)
    }

    /// The interface's MAC, as last looked at.
    pub fn local_mac(&self) -> Option<[u8; 6]> {
        let [_, _, mac @ ..] = self.mac.load(Relaxed).to_be_bytes();
        (mac != [0; 6]).then_some(mac)
    }

    /// Tells the reader the interface's MAC.
    pub fn set_local_mac(&self, mac: Option<[u8; 6]>) {
        let [a, b, c, d, e, f] = mac.unwrap_or_default();
        self.mac.store(u64::from_be_bytes([0, 0, a, b, c, d, e, f]), Relaxed);
    }

    /// Leaves new counters, unless somebody is reading just now; then it is false.
    pub fn offer(&self, counters: impl FnOnce() -> Counters) -> bool {
        let Ok(mut place) = self.counters.try_lock() else { return false };
        *place = counters();
        true
    }

    /// Leaves the last counters, waiting for whoever reads.
    pub fn leave(&self, counters: Counters) {
        *self.counters.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = counters;
    }

    /// The counters as of the last offer.
    pub fn read(&self) -> Counters {
        self.counters.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl Status {
    /// A status without readers yet.
    pub fn new(exporter: Arc<export::Stats>, top: Option<Arc<Top>>) -> Self {
        Self {
            started: Instant::now(),
            readers: Vec::new(),
            exporter,
            mode: None,
            top,
            sampling: None,
        }
    }

    /// Sums over all readers.
    pub fn total(&self) -> Counters {
        let mut total = Counters::default();
        for reader in &self.readers {
            let counters = reader.read();
            total.ring += counters.ring;
            total.frames += &counters.frames;
            total.table += counters.table;
            total.latencies.add(&counters.latencies);
            total.mode += counters.mode;
        }
        total
    }
}
