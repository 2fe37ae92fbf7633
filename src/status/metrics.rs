//! `/metrics`: the same counters in the Prometheus text format 0.0.4.

use std::fmt::{Display, Write};

use decode::app::App;
use export::{Lost, OutputStats};
use flowtable::TableStats;

use super::latency;
use super::{Counters, ReaderStatus, Status};

/// One metric of each reader.
type OfReader = (&'static str, &'static str, &'static str, fn(&Counters) -> u64);
/// One metric of all tables together.
type OfTable = (&'static str, &'static str, &'static str, fn(&TableStats) -> u64);
/// One metric of each output.
type OfOutput = (&'static str, &'static str, &'static str, fn(&OutputStats) -> u64);

const READERS: &[OfReader] = &[
    (
        "ring_received_packets_total",
        "counter",
        "Packets that passed the filter, drops included",
        |c| c.ring.packets,
    ),
    ("ring_dropped_packets_total", "counter", "Packets the kernel dropped for want of room", |c| {
        c.ring.drops
    }),
    ("ring_freezes_total", "counter", "Times the ring stood full", |c| c.ring.freezes),
    ("frames_total", "counter", "Frames taken from the source", |c| c.frames.frames),
    ("packets_total", "counter", "Wire packets counted in some flow", |c| c.table.packets),
    ("unsampled_packets_total", "counter", "Wire packets that sampling leaves out", |c| {
        c.table.packets_unsampled
    }),
    ("conversations", "gauge", "Conversations held", |c| c.table.conversations),
];

const TABLE: &[OfTable] = &[
    ("conversations_created_total", "counter", "Conversations begun", |t| t.created),
    ("conversations_closed_total", "counter", "Conversations ended by FIN or RST", |t| t.closed),
    ("conversations_expired_total", "counter", "Conversations ended by silence", |t| t.expired),
    ("conversations_evicted_total", "counter", "Conversations exported early: table full", |t| {
        t.evicted
    }),
    ("conversations_one_sided_total", "counter", "Conversations seen in one direction only", |t| {
        t.one_sided
    }),
    ("records_total", "counter", "Records cut", |t| t.records),
    (
        "tcp_details",
        "gauge",
        "TCP conversations with holes, retransmissions or closed windows",
        |t| t.tcp_details,
    ),
    (
        "tcp_details_refused_total",
        "counter",
        "Times that there was no room for such details",
        |t| t.tcp_details_refused,
    ),
    ("decoder_conversations", "gauge", "Conversations that have a decoder or look for one", |t| {
        t.apps.conversations
    }),
    (
        "decoder_conversations_refused_total",
        "counter",
        "Conversations not decoded: no room for one more",
        |t| t.apps.refused,
    ),
    (
        "decoder_conversations_over_budget_total",
        "counter",
        "Conversations whose decoding ended because of the memory ceiling, that over all or that of each",
        |t| t.apps.over_budget,
    ),
    ("decoder_heap_bytes", "gauge", "Bytes that decoders keep", |t| t.apps.heap_bytes),
    (
        "decoder_questions_forgotten_total",
        "counter",
        "Questions over UDP forgotten because there were too many",
        |t| t.apps.forgotten,
    ),
];

const OUTPUTS: &[OfOutput] = &[
    ("output_offered_records_total", "counter", "Records given to the output", |o| {
        o.offered.total()
    }),
    ("output_accepted_records_total", "counter", "Records that arrived", |o| o.accepted.get()),
    ("output_sampled_out_records_total", "counter", "Records over the flow limit", |o| {
        o.sampled_out.total()
    }),
    ("output_batches_sent_total", "counter", "Batches answered with 200", |o| o.batches_sent.get()),
    ("output_batches_lost_total", "counter", "Batches given up", |o| o.batches_lost.get()),
    ("output_retries_total", "counter", "Attempts that repeat an earlier one", |o| o.retries.get()),
    (
        "output_recovered_records_total",
        "counter",
        "Records that the spool held at the start",
        |o| o.recovered.get(),
    ),
    ("output_spool_records", "gauge", "Records that wait on disk", |o| o.spool_records.get()),
    ("output_spool_bytes", "gauge", "Bytes that wait on disk", |o| o.spool_bytes.get()),
    ("output_spool_failing", "gauge", "1 while the disk takes no batches", |o| {
        o.spool_failing.get()
    }),
    ("output_queue_bytes", "gauge", "Encoded bytes that wait", |o| o.queue_bytes.get()),
    ("output_bytes_sent_total", "counter", "Bytes that arrived", |o| o.bytes_sent.total()),
];

/// The page as of now.
pub fn page(status: &Status) -> String {
    let mut page = Text(String::with_capacity(8192));
    page.head("build_info", "gauge", "1, with what this program is as labels");
    let (version, arch) = (env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    page.line("build_info", &format!("version=\"{version}\",arch=\"{arch}\""), 1);
    page.head("uptime_seconds", "gauge", "Seconds since the start");
    page.line("uptime_seconds", "", status.started.elapsed().as_secs());
    let readers: Vec<(String, Counters)> =
        status.readers.iter().map(|reader| (labels(reader), reader.read())).collect();
    for (name, kind, help, value) in READERS {
        page.head(name, kind, help);
        for (labels, counters) in &readers {
            page.line(name, labels, value(counters));
        }
    }
    page.head("reader_cpu_seconds_total", "counter", "CPU time of the reader's thread");
    for (reader, (labels, _)) in status.readers.iter().zip(&readers) {
        let cpu = reader.cpu_time().unwrap_or_default();
        page.line("reader_cpu_seconds_total", labels, cpu.as_secs_f64());
    }
    if let Some(sampling) = &status.sampling {
        page.head("sample_rate", "gauge", "N of 1:N flow sampling");
        page.line("sample_rate", "", sampling.rate());
        page.head("sample_rate_changes_total", "counter", "Changes of that rate, by reason");
        for (reason, count) in sampling.changes() {
            let labels = format!("reason=\"{}\"", reason.name());
            page.line("sample_rate_changes_total", &labels, count);
        }
    }
    page.head("uncounted_frames_total", "counter", "Frames that make no packet, by reason");
    for (labels, counters) in &readers {
        for (what, name, count) in counters.frames.uncounted() {
            let labels = format!("{labels},reason=\"{what}_{name}\"");
            page.line("uncounted_frames_total", &labels, count);
        }
    }
    let total = status.total();
    for (name, kind, help, value) in TABLE {
        page.head(name, kind, help);
        page.line(name, "", value(&total.table));
    }
    messages(&mut page, &total.table);
    latency::metrics(&mut page, &total.latencies);
    let fragments = total.frames.reassembly;
    page.head("datagrams_lost_total", "counter", "Fragmented datagrams that were never whole");
    let lost = fragments.expired + fragments.evicted_for_count + fragments.evicted_for_memory;
    page.line("datagrams_lost_total", "", lost);
    page.head(
        "channel_lost_records_total",
        "counter",
        "Records lost because the exporter was late",
    );
    page.line("channel_lost_records_total", "", status.exporter.feed.channel_full.get());
    let help = "Packets seen by a reader to whom the conversation does not belong";
    page.head("foreign_packets_total", "counter", help);
    page.line("foreign_packets_total", "", status.exporter.feed.foreign_packets.get());
    if let Some(mode) = status.mode {
        for (name, help, value) in total.mode.table() {
            let name = format!("{mode}_{name}");
            page.head(&name, "counter", help);
            page.line(&name, "", value);
        }
    }
    outputs(&mut page, status);
    page.into_text()
}

fn messages(page: &mut Text, table: &TableStats) {
    page.head("application_messages_total", "counter", "Messages that decoders have reported");
    for (app, [requests, responses]) in App::ALL.iter().zip(table.apps.messages) {
        for (kind, count) in [("request", requests), ("response", responses)] {
            let labels = format!("app=\"{}\",kind=\"{kind}\"", app.name());
            page.line("application_messages_total", &labels, count);
        }
    }
}

fn outputs(page: &mut Text, status: &Status) {
    for (name, kind, help, value) in OUTPUTS {
        page.head(name, kind, help);
        for output in &status.exporter.outputs {
            page.line(name, &format!("output=\"{}\"", output.name), value(output));
        }
    }
    page.head(
        "output_sample_error_ratio",
        "gauge",
        "Relative standard error of sums over the last minute, because of the flow limit",
    );
    for output in &status.exporter.outputs {
        for (what, ratio) in [
            ("bytes", output.sample_error.minute_bytes.get()),
            ("packets", output.sample_error.minute_packets.get()),
        ] {
            let labels = format!("output=\"{}\",of=\"{what}\"", output.name);
            page.line("output_sample_error_ratio", &labels, ratio);
        }
    }
    page.head("output_lost_records_total", "counter", "Records lost, by reason");
    for output in &status.exporter.outputs {
        for reason in Lost::ALL {
            let labels = format!("output=\"{}\",reason=\"{}\"", output.name, reason.name());
            page.line("output_lost_records_total", &labels, output.lost(reason));
        }
    }
}

/// Interface names may hold anything but a slash and white space.
fn labels(reader: &ReaderStatus) -> String {
    let source = reader.source.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("source=\"{source}\",reader=\"{}\"", reader.index)
}

/// The page while it is written.
#[derive(Default)]
pub(super) struct Text(String);

impl Text {
    pub(super) fn into_text(self) -> String {
        self.0
    }

    pub(super) fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "# HELP kprobe_{name} {help}\n# TYPE kprobe_{name} {kind}\n");
    }

    pub(super) fn line(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = if labels.is_empty() {
            writeln!(self.0, "kprobe_{name} {value}")
        } else {
            writeln!(self.0, "kprobe_{name}{{{labels}}} {value}")
        };
    }
}
