//! The kflow output: resampling, batches, delivery, own metrics.

mod backlog;
mod backoff;
mod columns;
mod metrics;
mod pipeline;
mod prepared;
mod queue;
mod sample;
mod sender;
mod streak;
mod wire;

use std::sync::Arc;
use std::time::Instant;

use flowtable::Cut;
use kflow::api::{Device, SenderId};
use reqwest::Url;
use tokio::sync::Notify;
use tracing::{error, info};

pub use backoff::Timing;
pub use columns::decodable;
pub use pipeline::{Body, DeviceSettings, Pipeline, flow_limit};
pub use queue::QueueLimits;

use crate::exporter::StartError;
use crate::http::{Http, HttpConfig, HttpError};
use crate::spool::{Spool, SpoolConfig};
use crate::stats::{Lost, OutputStats};
pub(crate) use metrics::{Reporter, tags as metric_tags};
use pipeline::Dispatched;
use sample::Minute;
pub(crate) use sender::WhenFull;
use sender::{Sender, SenderConfig};

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
    /// When there are more records than the device may send: keep the largest for certain and
    /// others the rather, the more bytes they have, instead of each with the same probability.
    pub keep_heavy: bool,
    /// Where batches wait on disk when they cannot be sent; without it they wait in memory alone.
    pub spool: Option<SpoolConfig>,
}

/// Where records go from now on, for [`crate::ExporterControl::redirect`].
#[derive(Clone, Debug)]
pub struct Route {
    /// Flow URL.
    pub flow_url: Url,
    /// Where own metrics are reported.
    pub metrics_url: Url,
    /// Credentials, proxy, version.
    pub http: HttpConfig,
    /// Limits and waits of the new connections.
    pub timing: Timing,
}

/// A route whose clients have been made.
#[derive(Clone, Debug)]
pub(crate) struct ReadyRoute {
    http: Http,
    flow: Url,
    metrics: Url,
}

impl Route {
    pub(crate) fn ready(self) -> Result<ReadyRoute, HttpError> {
        let needs_tls = [&self.flow_url, &self.metrics_url].iter().any(|u| u.scheme() == "https");
        let http = Http::new(&self.http, &self.timing, needs_tls)?;
        Ok(ReadyRoute { http, flow: self.flow_url, metrics: self.metrics_url })
    }
}

/// The kflow output, driven by the exporter's loop.
pub(crate) struct KflowOutput {
    pipeline: Pipeline,
    settings: DeviceSettings,
    device: Device,
    minute: Minute,
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
    ) -> Result<Self, StartError> {
        let urls = [Some(&config.flow_url), config.metrics_url.as_ref()];
        let needs_tls = urls.iter().flatten().any(|url| url.scheme() == "https");
        let http = Http::new(&config.http, &config.timing, needs_tls)?;
        let settings = DeviceSettings::from(&config.device);
        let reporter = config.metrics_url.map(|url| {
            let tags = metrics::tags(&config.device, &config.host_name, &config.http.version);
            Reporter::new(http.clone(), url, tags, config.timing.metrics_interval)
        });
        let folder = format!("{}-{}", config.device.company_id, config.device.id);
        let open = |spool| Spool::start(&spool, &folder, Arc::clone(&wake), Arc::clone(&stats));
        let spool = config.spool.map(open).transpose()?;
        let sender = SenderConfig {
            http,
            url: with_sender_id(config.flow_url, &config.device),
            timing: config.timing,
            limits: config.queue,
            max_in_flight: config.max_in_flight,
            when_full,
            wake,
            spool,
        };
        let device_id = config.device.id as u32;
        Ok(Self {
            pipeline: Pipeline::new(device_id, &settings, config.keep_heavy, seed),
            settings,
            device: config.device,
            minute: Minute::default(),
            sender: Sender::new(sender, Arc::clone(&stats)),
            reporter,
            stats,
        })
    }

    /// Takes what the device is configured to now; says so when it is something else.
    pub(crate) fn apply(&mut self, settings: &DeviceSettings) {
        if self.settings == *settings {
            return;
        }
        let (old, new) = (&self.settings, settings);
        info!(
            "device settings: flow limit {}/s (was {}/s), {} columns (were {})",
            new.max_flow_rate,
            old.max_flow_rate,
            new.columns.len(),
            old.columns.len()
        );
        self.pipeline.apply(settings);
        self.settings = settings.clone();
    }

    /// Sends elsewhere from now on; nothing that waits is lost.
    pub(crate) fn redirect(&mut self, route: &ReadyRoute) {
        let ReadyRoute { http, flow, metrics } = route.clone();
        if let Some(reporter) = &mut self.reporter {
            reporter.redirect(http.clone(), metrics);
        }
        self.sender.redirect(http, with_sender_id(flow, &self.device));
    }

    /// Begins an interval that stands for `seconds`.
    pub(crate) fn begin(&mut self, seconds: u32) {
        self.pipeline.begin(seconds);
    }

    pub(crate) fn offer<'a>(&mut self, cuts: impl ExactSizeIterator<Item = Cut<'a>>) {
        self.stats.offered.add(cuts.len() as u64);
        for cut in cuts {
            self.pipeline.offer(&cut);
        }
    }

    /// Counts records that came too late to be sent.
    pub(crate) fn offer_late(&mut self, records: usize) {
        self.stats.offered.add(records as u64);
        self.stats.lose(Lost::Deadline, records as u64);
    }

    /// Ends the interval: samples, encodes and queues what was offered since [`Self::begin`].
    pub(crate) fn dispatch(&mut self) {
        let Self { pipeline, sender, stats, minute, .. } = self;
        let Dispatched { left_out, sums } = pipeline.dispatch_with(|body| match body {
            Ok(body) => {
                stats.encoded.add(body.records);
                sender.enqueue(body.bytes, body.records);
            }
            Err((records, error)) => {
                error!("cannot encode a batch of {records} records: {error}");
                stats.lose(Lost::Encode, records);
            }
        });
        stats.sampled_out.add(left_out);
        let last_minute = minute.add(sums);
        let error = &stats.sample_error;
        error.last_bytes.set(sums.bytes.relative_error());
        error.last_packets.set(sums.packets.relative_error());
        error.minute_bytes.set(last_minute.bytes.relative_error());
        error.minute_packets.set(last_minute.packets.relative_error());
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
