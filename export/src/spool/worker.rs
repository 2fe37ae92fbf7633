//! The thread that owns a spool's files, so that no write or sync ever holds up the exporter.
//!
//! Bounds: commands and reports that wait. The exporter never waits for this thread but at its end.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::SpoolConfig;
use super::store::{Gone, SpoolError, Store};
use crate::stats::{Lost, OutputStats};

/// How long what was written may be in the system's memory only.
const SYNC_EVERY: Duration = Duration::from_secs(1);
const MAX_COMMANDS: usize = 64;
const MAX_REPORTS: usize = 1024;

/// A batch to be written.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub number: u64,
    pub records: u64,
    pub made_ms: u64,
    pub body: Bytes,
}

enum Command {
    Write(Write),
    Done(u64),
    /// The oldest batch but these.
    Load(Vec<u64>),
}

/// What the thread has to say, in the order of the commands.
#[derive(Debug)]
pub(crate) enum Report {
    Written(u64),
    NotWritten {
        number: u64,
        records: u64,
    },
    /// These had to go.
    Dropped(Vec<Gone>),
    /// Needs no sending any more, as was told.
    Done(u64),
    Loaded {
        number: u64,
        records: u64,
        body: Bytes,
    },
    /// There is nothing to load, or it cannot be read now.
    Empty,
}

/// The exporter's side.
pub(crate) struct Spool {
    commands: Option<Sender<Command>>,
    reports: Receiver<Report>,
    thread: Option<JoinHandle<()>>,
    /// The youngest batch that was found.
    pub(crate) youngest: u64,
    pub(crate) limit_bytes: u64,
}

impl Spool {
    /// Opens the spool and starts its thread.
    pub(crate) fn start(
        config: &SpoolConfig,
        folder: &str,
        wake: Arc<Notify>,
        stats: Arc<OutputStats>,
    ) -> Result<Self, SpoolError> {
        let dir = config.dir.join(folder);
        let store = Store::open(&dir, config.max_bytes)?;
        if store.batches() > 0 {
            let (batches, records) = (store.batches(), store.records());
            info!("spool {}: {records} records in {batches} batches wait", dir.display());
        }
        stats.recovered.set(store.records());
        let youngest = store.youngest();
        let (commands, received) = bounded(MAX_COMMANDS);
        let (reports, reported) = bounded(MAX_REPORTS);
        let name = dir.display().to_string();
        let worker =
            Worker { store, name, commands: received, reports, wake, stats, failing: false };
        worker.show();
        let thread = std::thread::Builder::new().name("spool".into()).spawn(move || worker.run());
        let thread = thread.map_err(|source| SpoolError::Io { path: dir, source })?;
        Ok(Self {
            commands: Some(commands),
            reports: reported,
            thread: Some(thread),
            youngest,
            limit_bytes: config.max_bytes,
        })
    }

    /// False when the thread is busy: ask again later.
    pub(crate) fn write(&self, write: Write) -> bool {
        self.tell(Command::Write(write))
    }

    /// False when the thread is busy: tell again later.
    pub(crate) fn done(&self, number: u64) -> bool {
        self.tell(Command::Done(number))
    }

    /// False when the thread is busy: ask again later.
    pub(crate) fn load(&self, except: Vec<u64>) -> bool {
        self.tell(Command::Load(except))
    }

    pub(crate) fn report(&self) -> Option<Report> {
        self.reports.try_recv().ok()
    }

    /// The next report while closing; `None` when there is none any more or the time is over.
    pub(crate) fn report_until(&self, deadline: Instant) -> Option<Report> {
        self.reports.recv_deadline(deadline).ok()
    }

    /// Nothing more will be told; the thread syncs and ends.
    pub(crate) fn close(&mut self) {
        self.commands = None;
    }

    /// Whether the thread has ended by itself, which is a fault.
    pub(crate) fn has_failed(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn tell(&self, command: Command) -> bool {
        self.commands.as_ref().is_some_and(|commands| commands.try_send(command).is_ok())
    }
}

struct Worker {
    store: Store,
    name: String,
    commands: Receiver<Command>,
    reports: Sender<Report>,
    wake: Arc<Notify>,
    stats: Arc<OutputStats>,
    /// Writing fails; said once.
    failing: bool,
}

impl Worker {
    fn run(mut self) {
        let mut next_sync = Instant::now() + SYNC_EVERY;
        loop {
            let command = if self.store.needs_sync() {
                self.commands.recv_deadline(next_sync)
            } else {
                let command = self.commands.recv();
                next_sync = next_sync.max(Instant::now() + SYNC_EVERY);
                command.map_err(|_| RecvTimeoutError::Disconnected)
            };
            match command {
                Ok(command) => self.handle(command),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if Instant::now() >= next_sync {
                self.sync();
                next_sync = Instant::now() + SYNC_EVERY;
            }
            self.show();
        }
        self.sync();
        self.show();
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Write(write) => self.write(&write),
            Command::Done(number) => {
                if let Err(error) = self.store.done(number) {
                    warn!("spool {}: cannot mark a batch as sent: {error}", self.name);
                }
                self.show();
                self.say(Report::Done(number));
            }
            Command::Load(except) => {
                let (damaged, loaded) = self.store.oldest(&except);
                if !damaged.is_empty() {
                    let records = damaged.iter().map(|batch| batch.records).sum();
                    error!("spool {}: {} batches are damaged", self.name, damaged.len());
                    self.stats.lose(Lost::SpoolDamaged, records);
                    self.stats.batches_lost.add(damaged.len() as u64);
                    self.show();
                }
                self.say(match loaded {
                    Ok(Some(batch)) => Report::Loaded {
                        number: batch.number,
                        records: batch.records,
                        body: batch.body.into(),
                    },
                    Ok(None) => Report::Empty,
                    Err(error) => {
                        warn!("spool {}: cannot be read: {error}", self.name);
                        Report::Empty
                    }
                });
            }
        }
    }

    fn write(&mut self, write: &Write) {
        let Write { number, records, made_ms, body } = write;
        let (gone, written) = self.store.append(*number, *records, *made_ms, body);
        if !gone.is_empty() {
            self.say(Report::Dropped(gone));
        }
        match written {
            Ok(()) => {
                self.stats.spool_written.add(1);
                self.works();
                self.show();
                self.say(Report::Written(*number));
            }
            Err(error) => {
                self.fails(&error);
                self.show();
                self.say(Report::NotWritten { number: *number, records: *records });
            }
        }
    }

    fn sync(&mut self) {
        if let Err(error) = self.store.sync() {
            self.fails(&error);
        }
    }

    fn fails(&mut self, error: &std::io::Error) {
        if !std::mem::replace(&mut self.failing, true) {
            warn!("spool {}: {error}; batches stay in memory", self.name);
        }
        self.stats.spool_failing.set(1);
    }

    fn works(&mut self) {
        if std::mem::take(&mut self.failing) {
            info!("spool {} can be written again", self.name);
        }
        self.stats.spool_failing.set(0);
    }

    fn say(&self, report: Report) {
        // An exporter that has gone needs no report.
        let _ = self.reports.send(report);
        self.wake.notify_one();
    }

    fn show(&self) {
        self.stats.spool_batches.set(self.store.batches());
        self.stats.spool_records.set(self.store.records());
        self.stats.spool_bytes.set(self.store.bytes());
    }
}
