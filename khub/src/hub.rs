//! The state behind all requests, and what happens to a batch of records.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use kflow::Flow;
use kflow::api::NewDevice;
use kflow::tsdb::Metric;
use kflow::wire::ValueRef;
use tokio::sync::Semaphore;

use crate::clock;
use crate::columns::{Columns, Names};
use crate::config::Config;
use crate::counters::Counters;
use crate::dimension::Dimensions;
use crate::directory::Directory;
use crate::print::Printer;
use crate::ring::Ring;
use crate::row::Row;

/// Bodies read and worked on at the same time.
const INTAKE_SLOTS: usize = 16;
/// Bodies unpacked, and queries answered, at the same time.
const WORK_SLOTS: usize = 2;
const MAX_DNS: usize = 10_000;
const MAX_SERIES: usize = 10_000;

/// A DNS response with the time of its arrival in milliseconds since the epoch.
pub(crate) type TimedResponse = (u64, kflow::dns::Response);

/// Everything a running hub knows. Share it with [`crate::serve`] or [`crate::router`].
pub struct Hub {
    pub(crate) config: Config,
    pub(crate) counters: Arc<Counters>,
    pub(crate) columns: Columns,
    pub(crate) started: Instant,
    pub(crate) directory: RwLock<Directory>,
    pub(crate) dimensions: RwLock<Dimensions>,
    pub(crate) ring: Mutex<Ring>,
    pub(crate) dns: Mutex<VecDeque<TimedResponse>>,
    pub(crate) series: Mutex<HashMap<String, Metric>>,
    pub(crate) printer: Option<Printer>,
    pub(crate) intake_slots: Arc<Semaphore>,
    pub(crate) decode_slots: Arc<Semaphore>,
    pub(crate) query_slots: Arc<Semaphore>,
    names: RwLock<Arc<Names>>,
}

impl Hub {
    /// A hub without records. Records are printed to `output` by a thread of its own when
    /// `config.print` is set; a slow or closed output costs lines, never records.
    ///
    /// # Errors
    /// The printer's thread cannot be started.
    pub fn new(config: Config, output: impl Write + Send + 'static) -> std::io::Result<Arc<Self>> {
        let columns = if config.dev { Columns::reference() } else { Columns::hosted() };
        let mut directory = Directory::new(config.max_flow_rate);
        if config.dev {
            let mut first = NewDevice::probe("dev1", [127, 0, 0, 1].into(), 0, 0);
            first.device_sample_rate = config.sample_rate.into();
            directory.create(first, None).map_err(|_| std::io::Error::other("no room for dev1"))?;
        }
        let counters = Arc::new(Counters::default());
        let printer = match config.print {
            true => Some(Printer::start(output, counters.clone())?),
            false => None,
        };
        Ok(Arc::new(Self {
            counters,
            names: RwLock::new(Arc::new(columns.names())),
            columns,
            started: Instant::now(),
            directory: RwLock::new(directory),
            dimensions: RwLock::default(),
            ring: Mutex::new(Ring::new(config.keep)),
            dns: Mutex::default(),
            series: Mutex::default(),
            printer,
            intake_slots: Arc::new(Semaphore::new(INTAKE_SLOTS)),
            decode_slots: Arc::new(Semaphore::new(WORK_SLOTS)),
            query_slots: Arc::new(Semaphore::new(WORK_SLOTS)),
            config,
        }))
    }

    /// Takes a decoded batch of one sender.
    pub(crate) fn absorb(&self, flows: &[Flow], sender_device: u32) {
        let now_ms = clock::now_ms();
        self.counters.records_in.add(flows.len() as u64);
        self.counters.rate.add(flows.len() as u64);
        let rows = self.rows(flows, sender_device, now_ms);
        self.print(&rows);
        // Locked record by record: queries get in between, and no batch holds up another.
        for row in rows {
            let evicted = locked(&self.ring).push(row);
            self.counters.records_evicted.add(evicted);
        }
    }

    fn rows(&self, flows: &[Flow], sender_device: u32, now_ms: u64) -> Vec<Row> {
        let dimensions = read(&self.dimensions);
        let mut rows = Vec::with_capacity(flows.len().min(self.config.keep));
        for flow in flows {
            if flow.big {
                self.counters.records_big.add(1);
                continue;
            }
            let tags = dimensions.tags(flow.src, flow.dst, now_ms);
            let tags = tags.iter().map(|(id, value)| (*id, ValueRef::Text(value)));
            let (row, left_out) = Row::new(flow, sender_device, now_ms, tags);
            self.counters.columns_cut.add(left_out);
            rows.push(row);
        }
        rows
    }

    fn print(&self, rows: &[Row]) {
        let Some(printer) = &self.printer else { return };
        let (names, devices) = (self.names(), self.device_names());
        printer.print(rows.iter().map(|row| row.json(devices.name(row), &names)));
    }

    /// Keeps a DNS response; the oldest leaves when there are 10,000.
    pub(crate) fn keep_dns(&self, response: kflow::dns::Response) {
        let mut kept = locked(&self.dns);
        if kept.len() == MAX_DNS {
            kept.pop_front();
            self.counters.dns_evicted.add(1);
        }
        kept.push_back((clock::now_ms(), response));
    }

    /// Keeps the newest value of a series; further series beyond 10,000 are dropped and counted.
    pub(crate) fn keep_metric(&self, metric: Metric) {
        let mut key = metric.metric.clone();
        for (tag, value) in &metric.tags {
            key.extend(["\0", tag, "\0", value]);
        }
        let mut series = locked(&self.series);
        if series.len() >= MAX_SERIES && !series.contains_key(&key) {
            self.counters.metrics_dropped.add(1);
        } else {
            series.insert(key, metric);
        }
    }

    /// The names of all columns that records may carry now.
    pub(crate) fn names(&self) -> Arc<Names> {
        read(&self.names).clone()
    }

    /// Takes the columns of the dimensions into the names.
    pub(crate) fn refresh_names(&self, dimensions: &Dimensions) {
        let mut names = self.columns.names();
        for (id, name) in dimensions.record_columns() {
            names.add(id, name);
        }
        *self.names.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(names);
    }

    /// A snapshot of the device names, for showing records.
    pub(crate) fn device_names(&self) -> DeviceNames {
        let directory = read(&self.directory);
        DeviceNames(directory.all().map(|d| (d.id as u32, d.device_name.clone())).collect())
    }

    /// The id for which a look-up of `key` makes up a device (`--dev`), if it does.
    pub(crate) fn adopt(&self, key: &str, peer: Option<IpAddr>) -> Option<u64> {
        if !self.config.dev {
            return None;
        }
        let mut directory = self.directory.write().unwrap_or_else(PoisonError::into_inner);
        match directory.adopt(key, peer, self.config.sample_rate)? {
            Ok(device) => {
                self.counters.devices_created.add(1);
                tracing::info!(id = device.id, name = device.device_name, "device created");
                Some(device.id)
            }
            Err(_) => {
                self.counters.devices_refused.add(1);
                None
            }
        }
    }

    /// Prints what is still queued and ends the printer; waits a second at most, since the output
    /// may be blocked.
    pub fn finish(&self) {
        if let Some(printer) = &self.printer {
            printer.finish(std::time::Duration::from_secs(1));
        }
    }
}

/// Names by the device id that records carry.
pub(crate) struct DeviceNames(HashMap<u32, String>);

impl DeviceNames {
    /// The name of the row's device, empty for a device unknown here.
    pub(crate) fn name(&self, row: &Row) -> &str {
        self.0.get(&row.device_id).map_or("", String::as_str)
    }
}

/// Locks, also after a panic of another holder: every critical section leaves whole state.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As [`locked`], for reading.
pub(crate) fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// As [`locked`], for writing.
pub(crate) fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
