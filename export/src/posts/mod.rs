//! Small messages to the backend, instead of flow records: DNS responses to the DNS endpoint (wire
//! contract, section 9) and users to the tag API (section 8).
//!
//! Readers hand parcels over ([`PostFeed::send`]) and never wait for the network; one thread makes
//! POSTs of them. Bounds: [`MAX_WAITING_BYTES`] and [`MAX_WAITING_PARCELS`] between the two, beyond which live the oldest parcel is lost, counted, and a replay waits; besides, the
//! endpoint's number of POSTs on their way, each at most one parcel longer than the endpoint's
//! limit. A POST that failed is repeated as often as the contract says and then lost, counted.
//! Per output, offered = accepted + lost + waiting.

mod deliver;
mod feed;
mod parcel;
mod worker;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use kflow::api::Device;
use reqwest::Url;
use tracing::error;

use crate::exporter::StartError;
use crate::feed::Pace;
use crate::flow::{Reporter, Timing, metric_tags};
use crate::http::{Http, HttpConfig, HttpError};
use crate::stats::{Count, FeedStats, OutputStats, Stats, Summary};

pub use feed::PostFeed;
pub use parcel::{Parcel, UserEvent};

use deliver::{Target, Targets};
use feed::Shared;
use worker::Worker;

/// Bytes that wait between readers and network (DNSW-3).
pub const MAX_WAITING_BYTES: usize = 64 << 20;
/// Hand-overs that wait between readers and network.
pub const MAX_WAITING_PARCELS: usize = 100_000;
/// Column of the tag API that has the user names (RAD-6).
const USER_COLUMN: &str = "kt_user";
/// How soon a finish notices that it should hurry.
const HURRY_CHECK: Duration = Duration::from_millis(50);
/// What a finish waits beyond its deadline.
const GRACE: Duration = Duration::from_secs(1);

/// Where messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// DNS responses to this DNS URL; `/dns` where it has no path.
    Dns(Url),
    /// Users to the tag API beside this device API.
    Tags(Url),
}

/// Where and as whom messages are sent.
#[derive(Clone, Debug)]
pub struct PostsConfig {
    /// Kind and place.
    pub endpoint: Endpoint,
    /// Where own metrics are reported, if anywhere.
    pub metrics_url: Option<Url>,
    /// Credentials, proxy, version.
    pub http: HttpConfig,
    /// The device, for the metrics' tags.
    pub device: Device,
    /// Full host name, for the metrics' tags.
    pub host_name: String,
    /// Live or replay.
    pub pace: Pace,
    /// Limits and waits; the default is what the wire contract asks for.
    pub timing: Timing,
    /// Most bytes that wait; [`MAX_WAITING_BYTES`].
    pub max_waiting_bytes: usize,
}

/// Limits of an endpoint.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Live: a POST is made of what has waited so long.
    gather: Duration,
    /// A POST is made at once when so many bytes wait.
    full_bytes: usize,
    /// A POST may be longer than `full_bytes` by its last parcel.
    may_exceed: bool,
    max_in_flight: usize,
    max_attempts: u32,
}

impl Endpoint {
    /// `dns` or `radius`, as the output is called in the status.
    fn name(&self) -> &'static str {
        match self {
            Self::Dns(_) => "dns",
            Self::Tags(_) => "radius",
        }
    }

    fn limits(&self) -> Limits {
        let gather = Duration::from_secs(1);
        match self {
            Self::Dns(_) => Limits {
                gather,
                full_bytes: 10_000_000,
                may_exceed: true,
                max_in_flight: 4,
                max_attempts: 4,
            },
            Self::Tags(_) => Limits {
                gather,
                full_bytes: 3_000_000,
                may_exceed: false,
                // Of a user's events the last must arrive last.
                max_in_flight: 1,
                max_attempts: 3,
            },
        }
    }

    /// The URL that is posted to.
    fn url(&self) -> Url {
        match self {
            Self::Dns(url) => {
                let mut url = url.clone();
                if matches!(url.path(), "" | "/") {
                    url.set_path("/dns");
                }
                url
            }
            Self::Tags(api) => {
                let mut url = api.clone();
                url.set_query(None);
                url.set_fragment(None);
                let base = url.path().trim_end_matches('/');
                let base = if base.ends_with("/api/internal") { base } else { "/api/internal" };
                let path = format!("{base}/batch/customdimensions/{USER_COLUMN}/populators");
                url.set_path(&path);
                url
            }
        }
    }
}

/// Starts the sending thread. Its feed may be cloned for any number of readers.
///
/// # Errors
/// The HTTP client or the thread; nothing runs then.
pub fn start(config: PostsConfig) -> Result<(PostFeed, PostsHandle), StartError> {
    let url = config.endpoint.url();
    let needs_tls =
        [Some(&url), config.metrics_url.as_ref()].iter().flatten().any(|u| u.scheme() == "https");
    let http = Http::new(&config.http, &config.timing, needs_tls)?;
    let output = Arc::new(OutputStats::new(config.endpoint.name()));
    let stats = Arc::new(Stats {
        feed: Arc::new(FeedStats::default()),
        channel_messages: Count::default(),
        early_releases: Count::default(),
        outputs: vec![Arc::clone(&output)],
    });
    let limits = config.endpoint.limits();
    let shared =
        Shared::new(config.pace, config.max_waiting_bytes, MAX_WAITING_PARCELS, Arc::clone(&stats));
    let reporter = config.metrics_url.map(|url| {
        let tags = metric_tags(&config.device, &config.host_name, &config.http.version);
        Reporter::new(http.clone(), url, tags, config.timing.metrics_interval)
    });
    let timing = config.timing;
    let target = Target { http, url, timing, endpoint: config.endpoint };
    let targets = Targets::new(target);
    // The deadline, and one that comes sooner.
    let (control, finish) = bounded(2);
    let (ended, done) = bounded(1);
    let worker =
        Worker::new(Arc::clone(&shared), Arc::clone(&targets), limits, reporter, &stats, finish);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Thread)?;
    let body = move || {
        runtime.block_on(worker.run());
        // A name look-up may still be running and cannot be stopped.
        runtime.shutdown_background();
        // Nobody listens when the deadline has passed.
        let _ = ended.send(());
    };
    let thread = std::thread::Builder::new().name("posts".into()).spawn(body);
    let thread = thread.map_err(StartError::Thread)?;
    let handle = PostsHandle { stats, control, done, thread, shared: Arc::clone(&shared), targets };
    Ok((PostFeed::new(shared), handle))
}

/// The running thread. Without [`Self::finish_unless`] it ends with the process.
#[derive(Debug)]
pub struct PostsHandle {
    stats: Arc<Stats>,
    control: Sender<Instant>,
    done: Receiver<()>,
    thread: JoinHandle<()>,
    shared: Arc<Shared>,
    targets: Arc<Targets>,
}

/// Changes where messages go while the thread runs.
#[derive(Clone, Debug)]
pub struct PostsControl {
    targets: Arc<Targets>,
}

impl PostsControl {
    /// Sends everything elsewhere from now on, what waits and what is to be repeated included. The
    /// endpoint must be of the same kind.
    ///
    /// # Errors
    /// No HTTP client can be made for it; everything stays as it is.
    pub fn redirect(
        &self,
        endpoint: Endpoint,
        metrics_url: Url,
        http: &HttpConfig,
    ) -> Result<(), HttpError> {
        let url = endpoint.url();
        let timing = self.targets.now().timing;
        let needs_tls = [&url, &metrics_url].iter().any(|url| url.scheme() == "https");
        let http = Http::new(http, &timing, needs_tls)?;
        self.targets.set(Target { http, url, timing, endpoint }, metrics_url);
        Ok(())
    }
}

impl PostsHandle {
    /// A way to change where messages go.
    pub fn control(&self) -> PostsControl {
        PostsControl { targets: Arc::clone(&self.targets) }
    }

    /// Counters, to be read at any time; one output.
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// Sends everything that was handed over, and ends. What is not accepted `within` this time is
    /// counted as lost; as soon as `hurry` is true, only `hurry_within` more is waited. Readers
    /// should have ended before.
    pub fn finish_unless(
        self,
        within: Duration,
        hurry: impl Fn() -> bool,
        hurry_within: Duration,
    ) -> Summary {
        let mut deadline = self.set_deadline(within);
        let mut hurried = false;
        loop {
            if !hurried && hurry() {
                hurried = true;
                deadline = deadline.min(self.set_deadline(hurry_within));
            }
            match self.done.recv_timeout(HURRY_CHECK) {
                Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                    if self.thread.join().is_err() {
                        error!("the sender has failed");
                    }
                    break;
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() > deadline + GRACE => {
                    error!("the sender hangs");
                    break;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        let mut summary = self.stats.summary();
        summary.settle();
        summary
    }

    fn set_deadline(&self, within: Duration) -> Instant {
        let deadline = Instant::now() + within;
        // The thread may have ended after a fault.
        let _ = self.control.send(deadline);
        self.shared.wake();
        deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(endpoint: fn(Url) -> Endpoint, text: &str) -> String {
        endpoint(Url::parse(text).expect("a URL")).url().into()
    }

    #[test]
    fn the_dns_url_has_its_path_or_else_slash_dns() {
        for (text, expected) in [
            ("https://flow.kentik.com/dns", "https://flow.kentik.com/dns"),
            ("http://127.0.0.1:8999", "http://127.0.0.1:8999/dns"),
            ("http://127.0.0.1:8999/", "http://127.0.0.1:8999/dns"),
            ("http://127.0.0.1:8999/a/b?key=1", "http://127.0.0.1:8999/a/b?key=1"),
        ] {
            assert_eq!(url(Endpoint::Dns, text), expected);
        }
    }

    #[test]
    fn the_tag_url_is_beside_the_device_api() {
        let end = "/batch/customdimensions/kt_user/populators";
        for (text, base) in [
            ("https://api.kentik.com/api/internal", "https://api.kentik.com/api/internal"),
            ("http://h:1/x/api/internal/?a=b", "http://h:1/x/api/internal"),
            ("http://h:1/api/v5", "http://h:1/api/internal"),
            ("http://h:1", "http://h:1/api/internal"),
        ] {
            assert_eq!(url(Endpoint::Tags, text), format!("{base}{end}"));
        }
    }
}
