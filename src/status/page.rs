//! `/v1/status`: the two members of the original, then ours (spec 16.1).

use std::collections::BTreeMap;

use decode::app::App;
use export::{Lost, Meter, OutputStats};
use flowtable::AppStats;
use serde::Serialize;

use super::latency::LatencyPage;
use super::modes::ModePage;
use super::{Counters, ReaderStatus, SamplingStatus, Status};

/// The whole page. The names of the first two members are a contract with existing monitors.
#[derive(Debug, Serialize)]
pub struct Page {
    #[serde(rename = "flows-in")]
    flows_in: Rates,
    #[serde(rename = "flows-out")]
    flows_out: Rates,
    version: &'static str,
    build: Build,
    uptime_s: u64,
    readers: Vec<Reader>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sampling: Option<Sampling>,
    table: Table,
    decoders: Decoders,
    latency_us: LatencyPage,
    fragments: Fragments,
    channel: Channel,
    outputs: Vec<Output>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<ModePage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    radius: Option<ModePage>,
}

#[derive(Debug, Default, Serialize)]
struct Rates {
    count: u64,
    #[serde(rename = "1m.rate")]
    one_minute: f64,
    #[serde(rename = "5m.rate")]
    five_minutes: f64,
}

/// Frames of one reader: `received` of the kernel = `frames` + `dropped` + those still in the ring.
#[derive(Debug, Serialize)]
struct Reader {
    source: String,
    reader: usize,
    received: u64,
    dropped: u64,
    freezes: u64,
    frames: u64,
    uncounted: BTreeMap<String, u64>,
    packets: u64,
    packets_unsampled: u64,
    conversations: u64,
    /// CPU time of its thread, seconds.
    cpu_s: f64,
}

/// 1:`rate`, and why.
#[derive(Debug, Serialize)]
struct Sampling {
    rate: u32,
    reason: &'static str,
    changes: u64,
}

#[derive(Debug, Serialize)]
struct Table {
    packets: u64,
    packets_unsampled: u64,
    conversations: u64,
    created: u64,
    closed: u64,
    expired: u64,
    evicted: u64,
    one_sided: u64,
    records: u64,
    tcp_details: u64,
    tcp_details_refused: u64,
}

/// Application decoding; the budget is that of `--max-memory`.
#[derive(Debug, Serialize)]
struct Decoders {
    conversations: u64,
    refused: u64,
    over_budget: u64,
    heap_bytes: u64,
    forgotten: u64,
    messages: BTreeMap<&'static str, Messages>,
}

#[derive(Debug, Serialize)]
struct Messages {
    requests: u64,
    responses: u64,
}

/// What this program was built for and how.
#[derive(Debug, Serialize)]
struct Build {
    arch: &'static str,
    os: &'static str,
    profile: &'static str,
}

const BUILD: Build = Build {
    arch: std::env::consts::ARCH,
    os: std::env::consts::OS,
    profile: if cfg!(debug_assertions) { "debug" } else { "release" },
};

#[derive(Debug, Serialize)]
struct Fragments {
    used: u64,
    duplicates: u64,
    out_of_range: u64,
    datagrams_completed: u64,
    datagrams_expired: u64,
    datagrams_evicted: u64,
}

#[derive(Debug, Serialize)]
struct Channel {
    records: u64,
    lost_full: u64,
    lost_exporter_gone: u64,
    foreign_records: u64,
    foreign_packets: u64,
    messages_waiting: u64,
}

#[derive(Debug, Serialize)]
struct Output {
    name: &'static str,
    offered: u64,
    accepted: u64,
    sampled_out: u64,
    lost: BTreeMap<&'static str, u64>,
    batches: u64,
    batches_sent: u64,
    batches_lost: u64,
    retries: u64,
    queue_batches: u64,
    queue_bytes: u64,
    bytes_sent: u64,
    last_success_ms: u64,
    sample_error: SampleErrors,
    spool: Spool,
}

/// Relative standard errors of the sums of what is sent, because of the flow limit; 0.01 is 1 %.
#[derive(Debug, Serialize)]
struct SampleErrors {
    last_bytes: f64,
    last_packets: f64,
    minute_bytes: f64,
    minute_packets: f64,
}

/// Batches on disk; zero without a spool.
#[derive(Debug, Serialize)]
struct Spool {
    /// Records found at the start.
    recovered: u64,
    records: u64,
    batches: u64,
    bytes: u64,
    /// The disk does not take batches now.
    failing: bool,
}

impl Page {
    /// The page as of now.
    pub fn new(status: &Status) -> Self {
        let total = status.total();
        let first = status.exporter.outputs.first();
        let rates = |meter: fn(&OutputStats) -> &Meter| {
            first.map(|output| Rates::of(meter(output))).unwrap_or_default()
        };
        let feed = &status.exporter.feed;
        let mode = |name| {
            let output = first.filter(|_| status.mode == Some(name))?;
            Some(ModePage::new(total.mode, output))
        };
        Self {
            flows_in: rates(|output| &output.offered),
            flows_out: rates(|output| &output.encoded),
            version: env!("CARGO_PKG_VERSION"),
            build: BUILD,
            uptime_s: status.started.elapsed().as_secs(),
            readers: status
                .readers
                .iter()
                .map(|reader| Reader::new(reader, &reader.read()))
                .collect(),
            sampling: status.sampling.as_deref().map(Sampling::of),
            table: Table::new(&total),
            decoders: Decoders::new(&total),
            latency_us: LatencyPage::new(&total.latencies),
            fragments: Fragments::new(&total),
            channel: Channel {
                records: feed.sent.get(),
                lost_full: feed.channel_full.get(),
                lost_exporter_gone: feed.exporter_gone.get(),
                foreign_records: feed.foreign_records.get(),
                foreign_packets: feed.foreign_packets.get(),
                messages_waiting: status.exporter.channel_messages.get(),
            },
            outputs: status.exporter.outputs.iter().map(|output| Output::new(output)).collect(),
            dns: mode("dns"),
            radius: mode("radius"),
        }
    }
}

impl Rates {
    fn of(meter: &Meter) -> Self {
        Self {
            count: meter.total(),
            one_minute: meter.one_minute_rate(),
            five_minutes: meter.five_minute_rate(),
        }
    }
}

impl Reader {
    fn new(reader: &ReaderStatus, counters: &Counters) -> Self {
        let Counters { ring, frames, table, .. } = counters;
        let uncounted = frames.uncounted().filter(|(_, _, count)| *count > 0);
        Self {
            source: reader.source.clone(),
            reader: reader.index,
            received: ring.packets,
            dropped: ring.drops,
            freezes: ring.freezes,
            frames: frames.frames,
            uncounted: uncounted
                .map(|(what, name, count)| (format!("{what}_{name}"), count))
                .collect(),
            packets: table.packets,
            packets_unsampled: table.packets_unsampled,
            conversations: table.conversations,
            cpu_s: reader.cpu_time().unwrap_or_default().as_secs_f64(),
        }
    }
}

impl Sampling {
    fn of(status: &SamplingStatus) -> Self {
        let changes = status.changes().map(|(_, count)| count).sum();
        Self { rate: status.rate(), reason: status.reason().name(), changes }
    }
}

impl Table {
    fn new(Counters { table, .. }: &Counters) -> Self {
        Self {
            packets: table.packets,
            packets_unsampled: table.packets_unsampled,
            conversations: table.conversations,
            created: table.created,
            closed: table.closed,
            expired: table.expired,
            evicted: table.evicted,
            one_sided: table.one_sided,
            records: table.records,
            tcp_details: table.tcp_details,
            tcp_details_refused: table.tcp_details_refused,
        }
    }
}

impl Decoders {
    fn new(Counters { table, .. }: &Counters) -> Self {
        let AppStats { messages, conversations, refused, over_budget, heap_bytes, forgotten } =
            table.apps;
        let messages = App::ALL
            .iter()
            .zip(messages)
            .map(|(app, [requests, responses])| (app.name(), Messages { requests, responses }));
        let messages = messages.collect();
        Self { conversations, refused, over_budget, heap_bytes, forgotten, messages }
    }
}

impl Fragments {
    fn new(counters: &Counters) -> Self {
        let stats = counters.frames.reassembly;
        Self {
            used: stats.used,
            duplicates: stats.duplicates,
            out_of_range: stats.out_of_range,
            datagrams_completed: stats.completed,
            datagrams_expired: stats.expired,
            datagrams_evicted: stats.evicted_for_count + stats.evicted_for_memory,
        }
    }
}

impl Output {
    fn new(stats: &OutputStats) -> Self {
        Self {
            name: stats.name,
            offered: stats.offered.total(),
            accepted: stats.accepted.get(),
            sampled_out: stats.sampled_out.total(),
            lost: Lost::ALL.iter().map(|&reason| (reason.name(), stats.lost(reason))).collect(),
            batches: stats.batches.get(),
            batches_sent: stats.batches_sent.get(),
            batches_lost: stats.batches_lost.get(),
            retries: stats.retries.get(),
            queue_batches: stats.queue_batches.get(),
            queue_bytes: stats.queue_bytes.get(),
            bytes_sent: stats.bytes_sent.total(),
            last_success_ms: stats.last_success_ms.get(),
            sample_error: SampleErrors {
                last_bytes: stats.sample_error.last_bytes.get(),
                last_packets: stats.sample_error.last_packets.get(),
                minute_bytes: stats.sample_error.minute_bytes.get(),
                minute_packets: stats.sample_error.minute_packets.get(),
            },
            spool: Spool {
                recovered: stats.recovered.get(),
                records: stats.spool_records.get(),
                batches: stats.spool_batches.get(),
                bytes: stats.spool_bytes.get(),
                failing: stats.spool_failing.get() != 0,
            },
        }
    }
}
