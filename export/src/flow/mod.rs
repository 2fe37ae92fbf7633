//! The kflow output: resampling, batches, delivery, own metrics.

mod backoff;
mod columns;
mod metrics;
mod queue;
mod sample;
mod sender;
mod streak;
mod wire;

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use flowtable::Cut;
use kflow::api::{Device, SenderId};
use kflow::wire::{Encoder, MAX_UNPACKED_BYTES, MESSAGE_OVERHEAD_BYTES, unpacked_size};
use reqwest::Url;
use tokio::sync::Notify;
use tracing::{error, warn};

pub use backoff::Timing;
pub use columns::decodable;
pub use queue::QueueLimits;

pub(crate) use metrics::{Reporter, tags as metric_tags};

use crate::http::{Http, HttpConfig, HttpError};
use crate::stats::{Lost, OutputStats};
use columns::Columns;
use sample::{Reservoir, Weighted};
pub(crate) use sender::WhenFull;
use sender::{Sender, SenderConfig};
use wire::WireRecord;

/// Flow limit of a device that has none (AGG-9).
const DEFAULT_FLOW_LIMIT: u64 = 4000;
/// Highest flow limit that is used.
const MAX_FLOW_LIMIT: u64 = 1_000_000;
/// Records that one dispatch holds at most, whatever time it stands for; about 250 MB.
const MAX_SAMPLE_RECORDS: usize = 1_000_000;
/// Unpacked bytes of one batch. Well below the wire's limit, so that encoding holds up requests
/// for milliseconds only and several batches travel at once.
const BATCH_BYTES: usize = 4 << 20;
const _: () = assert!(BATCH_BYTES <= MAX_UNPACKED_BYTES);
/// gzip level: packing has taken out most of the redundancy, more effort gains little.
const GZIP_LEVEL: u32 = 1;

/// Where and as whom flow records are sent.
#[derive(Clone, Debug)]
pub struct KflowConfig {
    /// Flow URL; parameters in its query are kept.
    pub flow_url: Url,
    /// Where own metrics are reported, if anywhere.
    pub metrics_url: Option<Url>,
    /// Credentials, proxy, version.
    pub http: HttpConfig,
    /// The device, as [`crate::DeviceApi`] found it.
    pub device: Device,
    /// Full host name, for the metrics' tags.
    pub host_name: String,
    /// Bounds of the queue of encoded batches.
    pub queue: QueueLimits,
    /// Requests in flight at most, at least 1; 3 is a good number.
    pub max_in_flight: usize,
    /// Limits and waits; the default is what the wire contract asks for.
    pub timing: Timing,
}

/// The kflow output, driven by the exporter's loop.
pub(crate) struct KflowOutput {
    device_id: u32,
    columns: Columns,
    /// Records per second.
    flow_limit: usize,
    reservoir: Reservoir,
    encoder: Encoder,
    body: Vec<u8>,
    sender: Sender,
    reporter: Option<Reporter>,
    stats: Arc<OutputStats>,
}

impl KflowOutput {
    pub(crate) fn new(
        config: KflowConfig,
        when_full: WhenFull,
        seed: u64,
        wake: Arc<Notify>,
        stats: Arc<OutputStats>,
    ) -> Result<Self, HttpError> {
        let urls = [Some(&config.flow_url), config.metrics_url.as_ref()];
        let needs_tls = urls.iter().flatten().any(|url| url.scheme() == "https");
        let http = Http::new(&config.http, &config.timing, needs_tls)?;
        let flow_limit = flow_limit(&config.device);
        let reporter = config.metrics_url.map(|url| {
            let tags = metrics::tags(&config.device, &config.host_name, &config.http.version);
            Reporter::new(http.clone(), url, tags, config.timing.metrics_interval)
        });
        let sender = SenderConfig {
            http,
            url: with_sender_id(config.flow_url, &config.device),
            timing: config.timing,
            limits: config.queue,
            max_in_flight: config.max_in_flight,
            when_full,
            wake,
        };
        Ok(Self {
            device_id: config.device.id as u32,
            columns: Columns::new(&config.device.custom_column_data),
            flow_limit,
            reservoir: Reservoir::new(flow_limit, seed),
            encoder: Encoder::new(),
            body: Vec::new(),
            sender: Sender::new(sender, Arc::clone(&stats)),
            reporter,
            stats,
        })
    }

    /// Begins an interval that stands for `seconds`, at least 1: the flow limit times that many
    /// records may leave at its end, [`MAX_SAMPLE_RECORDS`] at most.
    pub(crate) fn begin(&mut self, seconds: u32) {
        let limit = self.flow_limit.saturating_mul(seconds.max(1) as usize);
        self.reservoir.restart(limit.min(MAX_SAMPLE_RECORDS));
    }

    pub(crate) fn offer<'a>(&mut self, cuts: impl ExactSizeIterator<Item = Cut<'a>>) {
        self.stats.offered.add(cuts.len() as u64);
        for cut in cuts {
            self.reservoir.offer(&cut);
        }
    }

    /// Counts records that came too late to be sent.
    pub(crate) fn offer_late(&mut self, records: usize) {
        self.stats.offered.add(records as u64);
        self.stats.lose(Lost::Deadline, records as u64);
    }

    /// Ends the interval: samples, encodes and queues what was offered since [`Self::begin`].
    pub(crate) fn dispatch(&mut self) {
        self.stats.sampled_out.add(self.reservoir.left_out());
        let Self { reservoir, columns, device_id, encoder, body, sender, stats, .. } = self;
        let wire = |weighted| WireRecord { weighted, columns, device_id: *device_id };
        let mut rest = reservoir.weigh();
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(batch_len(rest, wire));
            rest = later;
            body.clear();
            if let Err(error) = encoder.encode_records(batch.iter().map(wire), body) {
                error!("cannot encode a batch of {} records: {error}", batch.len());
                stats.lose(Lost::Encode, batch.len() as u64);
                continue;
            }
            stats.encoded.add(batch.len() as u64);
            sender.enqueue(compress(body), batch.len() as u64);
        }
        self.reservoir.restart(self.flow_limit);
    }

    /// Takes in answers and starts requests. Must run inside the runtime.
    pub(crate) fn pump(&mut self, now: Instant) {
        self.sender.pump(now);
        if let Some(reporter) = &mut self.reporter {
            reporter.pump(now, &self.stats);
        }
    }

    /// Whether every batch has been answered or lost.
    pub(crate) fn is_idle(&self) -> bool {
        self.sender.is_idle()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.sender.is_full()
    }

    /// Counts everything that has not been answered as lost.
    pub(crate) fn abandon(&mut self) {
        self.sender.abandon();
    }
}

fn flow_limit(device: &Device) -> usize {
    let limit = match device.max_flow_rate {
        0 => {
            warn!("device {} has no flow limit, using {DEFAULT_FLOW_LIMIT}/s", device.device_name);
            DEFAULT_FLOW_LIMIT
        }
        limit if limit > MAX_FLOW_LIMIT => {
            warn!("flow limit {limit}/s is beyond {MAX_FLOW_LIMIT}/s, using the latter");
            MAX_FLOW_LIMIT
        }
        limit => limit,
    };
    limit as usize
}

/// POST-1.
fn with_sender_id(mut url: Url, device: &Device) -> Url {
    let sender_id = SenderId {
        company_id: device.company_id,
        device_name: device.device_name.clone(),
        device_id: device.id,
    };
    url.query_pairs_mut().append_pair("sender_id", &sender_id.to_string()).append_pair("sid", "0");
    url
}

/// How many records, at least one, fit the next batch.
fn batch_len<'a>(records: &'a [Weighted], wire: impl Fn(&'a Weighted) -> WireRecord<'a>) -> usize {
    let mut bytes = MESSAGE_OVERHEAD_BYTES;
    let too_many = records.iter().position(|weighted| {
        bytes += unpacked_size(&wire(weighted));
        bytes > BATCH_BYTES
    });
    too_many.unwrap_or(records.len()).max(1)
}

fn compress(body: &[u8]) -> Bytes {
    let mut gzip = GzEncoder::new(Vec::with_capacity(body.len() / 2), Compression::new(GZIP_LEVEL));
    gzip.write_all(body).expect("writing to a Vec does not fail");
    gzip.finish().expect("writing to a Vec does not fail").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::record;

    fn weighted(record: &flowtable::Record) -> Weighted {
        Weighted::new(&Cut { record, tcp: None, event: None })
    }

    fn device(name: &str, max_flow_rate: u64) -> Device {
        let name = name.to_owned();
        Device { id: 9623, company_id: 1289, device_name: name, max_flow_rate, ..Device::default() }
    }

    #[test]
    fn the_sender_id_is_encoded_and_parameters_of_the_url_are_kept() {
        let url = |text, name| {
            with_sender_id(Url::parse(text).unwrap(), &device(name, 1)).as_str().to_owned()
        };
        assert_eq!(
            url("https://flow.kentik.com/chf", "pd_host"),
            "https://flow.kentik.com/chf?sender_id=1289%3Apd_host%3A9623&sid=0"
        );
        assert_eq!(
            url("http://127.0.0.1:8999/chf?key=a%20b&x", "a b&c"),
            "http://127.0.0.1:8999/chf?key=a%20b&x&sender_id=1289%3Aa+b%26c%3A9623&sid=0"
        );
    }

    #[test]
    fn a_missing_flow_limit_is_4000_and_a_huge_one_is_bounded() {
        assert_eq!(flow_limit(&device("a", 0)), 4000);
        assert_eq!(flow_limit(&device("a", 100)), 100);
        assert_eq!(flow_limit(&device("a", u64::MAX)), 1_000_000);
    }

    #[test]
    fn batches_are_split_below_the_limit_of_a_message() {
        let columns = Columns::default();
        let weighted: Vec<Weighted> = (0..20_000).map(|port| weighted(&record(port))).collect();
        let wire = |weighted| WireRecord { weighted, columns: &columns, device_id: 1 };
        // (4,194,304 − 32) / 344 = 12,192.6.
        assert_eq!(batch_len(&weighted, wire), 12_192);
        assert_eq!(batch_len(&weighted[12_192..], wire), 7_808);
    }
}
