//! The IPFIX output (RFC 7011) over UDP or TCP, with both directions of a conversation as one
//! biflow (RFC 5103) and the sampling rate as options (RFC 5477).
//!
//! Fields are those of [`crate::FIELDS`] that have a registered element. Over UDP nothing tells
//! whether a datagram arrived: what has left counts as accepted. Bounds: messages that wait for a
//! connection ([`MAX_WAITING_BYTES`]); beyond it the oldest are lost, counted, and the sequence
//! numbers show the gap.

mod link;
mod message;
mod pair;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use flowtable::Cut;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use crate::flow::Timing;
use crate::stats::{Lost, OutputStats};
use crate::urls::UrlError;
use link::{Link, Shared, now_s};
use message::{Message, Writer};
use pair::{Biflow, Pairing};

/// What may wait for the collector, bytes.
const MAX_WAITING_BYTES: usize = 16 << 20;
/// Messages handed to the connection at once.
const MAX_UNDER_WAY: usize = 64;
const DEFAULT_PORT: u16 = 4739;

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A datagram a message; templates are repeated each minute.
    Udp,
    /// One connection, opened again when it breaks.
    Tcp,
}

/// A collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpfixConfig {
    /// How to reach it.
    pub transport: Transport,
    /// Name or address, IPv6 without brackets.
    pub host: String,
    /// Port, 4739 by default.
    pub port: u16,
    /// Observation domain id, which tells probes behind one address apart.
    pub domain: u32,
}

impl IpfixConfig {
    /// Reads `ipfix://HOST[:PORT]` (UDP), `ipfix+udp://…` or `ipfix+tcp://…`, and as the only
    /// parameter `?domain=N`.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let refused = |why: &str| UrlError { what: "IPFIX", why: why.to_owned() };
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| refused("expected ipfix://HOST[:PORT]"))?;
        let transport = match scheme {
            "ipfix" | "ipfix+udp" => Transport::Udp,
            "ipfix+tcp" => Transport::Tcp,
            _ => return Err(refused("the scheme must be ipfix, ipfix+udp or ipfix+tcp")),
        };
        // The rules of http for host and port are ours, too.
        let url = reqwest::Url::parse(&format!("http://{rest}"));
        let url = url.map_err(|error| refused(&error.to_string()))?;
        let is_plain = url.username().is_empty() && url.password().is_none() && url.path() == "/";
        let host = url.host_str().filter(|_| is_plain && url.fragment().is_none());
        let host = host.ok_or_else(|| refused("only host, port and domain can be given"))?;
        let domain = match url.query() {
            None => 0,
            Some(query) => query
                .strip_prefix("domain=")
                .and_then(|number| number.parse().ok())
                .ok_or_else(|| refused("the only parameter is domain=NUMBER"))?,
        };
        // Port 80 is the default of http and then not reported.
        let has_80 = rest.split(['/', '?']).next().is_some_and(|place| place.ends_with(":80"));
        let port = url.port().unwrap_or(if has_80 { 80 } else { DEFAULT_PORT });
        let host = host.trim_matches(['[', ']']).to_owned();
        Ok(Self { transport, host, port, domain })
    }
}

impl fmt::Display for IpfixConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.transport {
            Transport::Udp => "ipfix",
            Transport::Tcp => "ipfix+tcp",
        };
        let Self { host, port, .. } = self;
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

/// The IPFIX output, driven by the exporter's loop.
pub(crate) struct IpfixOutput {
    pairing: Pairing,
    writer: Writer,
    waiting: VecDeque<Message>,
    waiting_bytes: usize,
    messages: Option<mpsc::Sender<Message>>,
    /// Runs once the exporter's runtime does.
    link: Option<Link>,
    task: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    last_rate: u32,
    stats: Arc<OutputStats>,
}

impl IpfixOutput {
    pub(crate) fn new(
        config: IpfixConfig,
        timing: Timing,
        wake: Arc<Notify>,
        stats: Arc<OutputStats>,
    ) -> Self {
        let (messages, received) = mpsc::channel(MAX_UNDER_WAY);
        let shared = Arc::new(Shared::default());
        let writer = Writer::new(config.domain);
        let link = Link {
            config,
            timing,
            messages: received,
            shared: Arc::clone(&shared),
            stats: Arc::clone(&stats),
            wake,
            failures: 0,
        };
        Self {
            pairing: Pairing::default(),
            writer,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            messages: Some(messages),
            link: Some(link),
            task: None,
            shared,
            last_rate: 0,
            stats,
        }
    }

    pub(crate) fn offer<'a>(&mut self, cuts: impl ExactSizeIterator<Item = Cut<'a>>) {
        self.stats.offered.add(cuts.len() as u64);
        let time_s = now_s();
        for cut in cuts {
            if cut.record.sample_rate != self.last_rate {
                self.last_rate = cut.record.sample_rate;
                self.shared.know_rate(self.last_rate);
            }
            let Self { pairing, writer, waiting, .. } = self;
            pairing.push(&cut, |biflow| waiting.extend(writer.push(&biflow, time_s)));
        }
        self.bound();
    }

    /// Counts records that came too late to be sent.
    pub(crate) fn offer_late(&mut self, records: usize) {
        self.stats.offered.add(records as u64);
        self.stats.lose(Lost::Deadline, records as u64);
    }

    /// Sends what is there, also in a message that is not full.
    pub(crate) fn flush(&mut self) {
        let time_s = now_s();
        let Self { pairing, writer, waiting, .. } = self;
        pairing.flush(|biflow: Biflow<'_>| waiting.extend(writer.push(&biflow, time_s)));
        waiting.extend(writer.finish(time_s));
        self.bound();
    }

    /// Hands messages to the connection. Must run inside the runtime.
    pub(crate) fn pump(&mut self) {
        if let Some(link) = self.link.take() {
            self.task = Some(tokio::spawn(link.run()));
        }
        while let Some(messages) = &self.messages
            && let Ok(place) = messages.try_reserve()
            && let Some(message) = self.waiting.pop_front()
        {
            self.waiting_bytes -= message.bytes.len();
            self.stats.encoded.add(message.records);
            self.stats.batches.add(1);
            self.shared.under_way.fetch_add(1, Relaxed);
            place.send(message);
        }
        self.stats.queue_batches.set(self.waiting.len() as u64);
        self.stats.queue_bytes.set(self.waiting_bytes as u64);
        self.stats.in_flight.set(self.shared.under_way.load(Relaxed));
    }

    pub(crate) fn is_full(&self) -> bool {
        self.waiting_bytes > MAX_WAITING_BYTES / 2
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.shared.under_way.load(Relaxed) == 0
    }

    /// Counts what has not left as lost.
    pub(crate) fn end(&mut self) {
        self.messages = None;
        if let Some(task) = self.task.take()
            && !self.is_idle()
        {
            task.abort();
        }
        let accounted = self.stats.accepted.get() + self.stats.lost_total();
        let left = self.stats.offered.total().saturating_sub(accounted);
        self.stats.lose(Lost::Deadline, left);
    }

    /// Drops the oldest messages beyond the bound.
    fn bound(&mut self) {
        self.waiting_bytes = self.waiting.iter().map(|message| message.bytes.len()).sum();
        while self.waiting_bytes > MAX_WAITING_BYTES
            && let Some(oldest) = self.waiting.pop_front()
        {
            self.waiting_bytes -= oldest.bytes.len();
            self.shared.skipped.fetch_add(oldest.data_records, Relaxed);
            self.stats.lose(Lost::QueueFull, oldest.records);
            self.stats.batches_lost.add(1);
        }
    }
}
