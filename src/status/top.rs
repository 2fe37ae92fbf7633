//! `/v1/top`: the heaviest conversations, and what tells whether they can be believed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use export::{Observer, OutputSummary};

use super::Status;
use crate::top::{Heavy, Records, Ring, Snapshot};

/// However often it is asked for, the exporter is disturbed no more often than this.
const FRESH: Duration = Duration::from_millis(250);

/// The table of heavy conversations, between the exporter that fills it and those who ask.
#[derive(Debug)]
pub struct Top {
    heavy: Mutex<Heavy>,
    live: bool,
    latest: Mutex<Option<(Instant, Snapshot)>>,
}

impl Top {
    /// An empty one. In replay the records' own time counts.
    pub fn new(live: bool) -> Arc<Self> {
        let heavy = Heavy::since(live.then(now_ns));
        Arc::new(Self { heavy: Mutex::new(heavy), live, latest: Mutex::default() })
    }

    /// What fills it.
    pub fn observer(self: &Arc<Self>) -> Observer {
        let top = Arc::clone(self);
        Observer::new(move |cuts| {
            let mut heavy = top.heavy.lock().unwrap_or_else(PoisonError::into_inner);
            cuts.for_each(|cut| heavy.add(&cut));
        })
    }
}

impl Status {
    /// The state now, for the one screen of this process.
    pub fn snapshot_now(&self) -> Option<Snapshot> {
        self.top.as_ref().map(|top| self.fresh(top))
    }

    /// The state now, or of a moment ago; `None` where nobody collects it.
    pub fn snapshot(&self) -> Option<Snapshot> {
        let top = self.top.as_ref()?;
        let mut latest = top.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((taken, snapshot)) = &*latest
            && taken.elapsed() < FRESH
        {
            return Some(snapshot.clone());
        }
        let snapshot = self.fresh(top);
        *latest = Some((Instant::now(), snapshot.clone()));
        Some(snapshot)
    }

    fn fresh(&self, top: &Top) -> Snapshot {
        let total = self.total();
        let mut sources: Vec<(String, usize)> = Vec::new();
        for reader in &self.readers {
            match sources.iter_mut().find(|(name, _)| *name == reader.source) {
                Some((_, readers)) => *readers += 1,
                None => sources.push((reader.source.clone(), 1)),
            }
        }
        let now = top.live.then(now_ns);
        let (conversations, traffic) =
            top.heavy.lock().unwrap_or_else(PoisonError::into_inner).rows(now);
        let summary = self.exporter.summary();
        let outputs = &summary.outputs;
        Snapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: self.started.elapsed().as_secs(),
            sources,
            ring: Ring {
                received: if top.live { total.ring.packets } else { total.frames.frames },
                dropped: total.ring.drops,
                freezes: total.ring.freezes,
            },
            records: Records {
                conversations: total.table.conversations,
                sent: summary.received,
                lost_channel: summary.channel_full,
                lost_outputs: outputs.iter().map(OutputSummary::lost_total).sum(),
                sampled_out: outputs.iter().map(|output| output.sampled_out).sum(),
            },
            traffic,
            conversations,
        }
    }
}

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}
