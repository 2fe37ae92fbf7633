//! What live capture and replay set up alike: outputs, exporter, tables.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, anyhow, bail};
use capture::Interface;
use export::{ExporterHandle, Feed, Output, Pace, Target};
use flowtable::{AppConfig, FlowTable, Sampling, Translations};
use tracing::{info, warn};

use super::backend::{self, Connected};
use super::{apps, memory};
use crate::config::{Config, OutputChoice, Rotation};
use crate::status::{Status, Top};
use crate::top::{Running, Screen};

/// Batches between each reader of a replay and the exporter. It may wait, and what is used again soon
/// is still in the cache.
const REPLAY_BATCHES: usize = 16;

/// Outputs that are open or looked up, and what the device says.
pub(super) struct Outputs {
    pub(super) outputs: Vec<Output>,
    /// N of 1:N in force.
    pub(super) sample: u32,
    /// The account's side, for what is asked of it later.
    pub(super) connected: Option<Connected>,
}

/// Opens the outputs, and looks the device up when one needs it.
pub(super) fn outputs(config: &Config, interface: Option<&Interface>) -> anyhow::Result<Outputs> {
    let mut outputs = Vec::new();
    let mut connected = None;
    for choice in &config.outputs {
        outputs.push(match (choice, &config.backend) {
            (OutputChoice::Json(None), _) => Output::Json(Target::Stdout),
            (OutputChoice::Json(Some(path)), _) => Output::Json(file(path, config.rotation)),
            (OutputChoice::Kflow, Some(backend)) => {
                let found = backend::connect(backend, interface)?;
                let output = found.output(backend, &config.delivery);
                connected = Some(found);
                output
            }
            (OutputChoice::Kflow, None) => bail!("Error: kflow output without a backend"),
            (OutputChoice::Ipfix(collector), _) => Output::Ipfix(collector.clone()),
        });
    }
    let sample = config.sample.at_start(connected.as_ref().and_then(Connected::rate));
    Ok(Outputs { outputs, sample, connected })
}

fn file(path: &Path, rotation: Option<Rotation>) -> Target {
    match rotation {
        None => Target::File(path.to_owned()),
        Some(Rotation { bytes, files }) => {
            let rotation = export::Rotation { max_bytes: bytes, max_files: files };
            Target::Rotated(path.to_owned(), rotation)
        }
    }
}

/// Starts the exporter and gives a feed to each reader; `links` has the number of the interface
/// that each one reads.
pub(super) fn exporter(
    outputs: Vec<Output>,
    links: Vec<usize>,
    pace: Pace,
    top: Option<&Arc<Top>>,
) -> anyhow::Result<(Vec<Feed>, ExporterHandle)> {
    let readers = links.len();
    let batches = match pace {
        Pace::Live => memory::channel_batches(readers),
        Pace::Replay => REPLAY_BATCHES * readers,
    };
    let (feeds, intake) = export::channel(readers, batches, pace);
    let mut intake = intake.with_links(links);
    if let Some(top) = top {
        intake = intake.with_observer(top.observer());
    }
    let exporter = export::start(outputs, intake).map_err(|error| anyhow!("Error: {error}"))?;
    Ok((feeds, exporter))
}

/// Collects the heaviest conversations where somebody may ask for them: the status server or a
/// screen.
pub(super) fn top(config: &Config, pace: Pace) -> Option<Arc<Top>> {
    (config.status.is_some() || config.top).then(|| Top::new(pace == Pace::Live))
}

/// Takes the terminal over where the command is `top`. Before system calls are restricted.
pub(super) fn screen(config: &Config) -> anyhow::Result<Option<Screen>> {
    config.top.then(Screen::take).transpose().context("Error")
}

/// Shows the status on it.
pub(super) fn show(
    screen: Option<Screen>,
    status: &Arc<Status>,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<Option<Running>> {
    let Some(screen) = screen else { return Ok(None) };
    let status = Arc::clone(status);
    let state = move || status.snapshot_now().ok_or_else(|| "nothing is collected".to_owned());
    screen.start(state, stop).context("Error: cannot start the screen").map(Some)
}

/// Binds the status server's socket, where one is wanted. The probe's work does not depend on it.
pub(super) fn status_socket(config: &Config) -> Option<TcpListener> {
    let address = config.status?;
    let bound = TcpListener::bind(address);
    bound.inspect_err(|error| warn!("no status server: {address}: {error}")).ok()
}

/// Shares the status, and serves it where that is wanted.
pub(super) fn status(socket: Option<TcpListener>, status: Status) -> Arc<Status> {
    let status = Arc::new(status);
    let Some(socket) = socket else { return status };
    let address = socket.local_addr().map_or_else(|_| String::new(), |place| place.to_string());
    match crate::status::serve(socket, Arc::clone(&status)) {
        Ok(()) => info!("status at http://{address}/v1/status"),
        Err(error) => warn!("no status server: {address}: {error}"),
    }
    status
}

/// What the tables of all readers are told.
pub(super) struct TableSettings {
    pub(super) capacity: usize,
    pub(super) hash_key: u64,
    pub(super) sample: u32,
    pub(super) apps: Option<AppConfig>,
    pub(super) translations: Arc<Translations>,
}

impl TableSettings {
    /// `key` is one of the process's own, unless a secret is shared for sampling.
    pub(super) fn new(
        config: &Config,
        outputs: &Outputs,
        readers: usize,
        ring_bytes: usize,
        key: u64,
    ) -> anyhow::Result<Self> {
        let decoder_bytes = memory::decoder_bytes(config.max_memory_mib, readers);
        let hash_key =
            config.sample_secret.as_ref().map_or(key, |secret| key_of(secret.as_bytes()));
        let apps = apps::config(config, outputs, decoder_bytes, hash_key);
        let capacity = memory::capacity(
            config.max_flows,
            config.max_memory_mib,
            readers,
            ring_bytes,
            config.delivery.queue_bytes as usize,
            apps.as_ref().map(|apps| apps.budget_bytes),
        )
        .map_err(|text| anyhow!("Error: {text}"))?;
        let translations = Arc::new(config.translations.clone());
        Ok(Self { capacity, hash_key, sample: outputs.sample, apps, translations })
    }

    /// One reader's table.
    pub(super) fn table(&self, local_mac: Option<[u8; 6]>) -> anyhow::Result<FlowTable> {
        let Self { capacity, hash_key, .. } = *self;
        let config = flowtable::Config {
            capacity,
            hash_key,
            local_mac,
            sampling: Sampling::new(self.sample),
            // Connection ids leave the process; they must not tell the key of the table.
            ids_key: key_of(&hash_key.to_le_bytes()),
            apps: self.apps.clone(),
            translations: Arc::clone(&self.translations),
        };
        FlowTable::new(config)
            .with_context(|| format!("Error: no memory for {capacity} conversations"))
    }
}

/// 64 bits that follow from a secret and do not tell it.
fn key_of(secret: &[u8]) -> u64 {
    let digest = ring::digest::digest(&ring::digest::SHA256, secret);
    let bytes = digest.as_ref().first_chunk().copied().unwrap_or_default();
    u64::from_le_bytes(bytes)
}
