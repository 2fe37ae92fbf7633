//! Records to the bodies that are posted: resampling, encoding, compressing.
//!
//! Allocates nothing for a record once its buffers have grown; a body that leaves is an allocation
//! of its own, since it may wait and be sent several times.

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status};
use flowtable::Cut;
use kflow::api::CustomColumn;
use kflow::wire::{EncodeError, Encoder, MAX_UNPACKED_BYTES};
use tracing::warn;

use super::columns::Columns;
use super::prepared::Values;
use super::sample::{Sampler, Scheme, Sums};

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
/// gzip level, measured on records with TCP metrics and DNS: 42 bytes and 0.34 µs a record at level
/// 1, 37 and 0.64 at 2, 36 and 0.83 at 3, 34 and 1.55 at 6.
const GZIP_LEVEL: u32 = 2;
/// log2 of the window, the largest that gzip has.
const GZIP_WINDOW_BITS: u8 = 15;
/// Room that is made at once when a body needs more.
const GZIP_STEP_BYTES: usize = 256 << 10;

/// What a device is configured to, as far as batches depend on it. It may change while running.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceSettings {
    /// Records per second; 0 counts as 4,000, and 1,000,000 is the most.
    pub max_flow_rate: u64,
    /// Custom columns.
    pub columns: Vec<CustomColumn>,
}

impl From<&kflow::api::Device> for DeviceSettings {
    fn from(device: &kflow::api::Device) -> Self {
        let columns = device.custom_column_data.clone();
        Self { max_flow_rate: device.max_flow_rate, columns }
    }
}

/// A batch on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Compressed.
    pub bytes: Bytes,
    /// How many records are in it.
    pub records: u64,
}

/// Records in, bodies out; what the exporter does between the channel and the network.
pub struct Pipeline {
    device_id: u32,
    columns: Columns,
    /// Records per second.
    flow_limit: usize,
    sampler: Sampler,
    values: Values,
    encoder: Encoder,
    body: Vec<u8>,
    gzip: Gzip,
}

/// What one dispatch did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dispatched {
    /// Records left out by resampling.
    pub left_out: u64,
    /// Sums and their uncertainty.
    pub sums: Sums,
}

impl Pipeline {
    /// For a device; `keep_heavy` prefers large records when resampling. The same `seed` and
    /// records give the same bodies.
    #[must_use]
    pub fn new(device_id: u32, settings: &DeviceSettings, keep_heavy: bool, seed: u64) -> Self {
        let flow_limit = told_limit(settings.max_flow_rate);
        let scheme = if keep_heavy { Scheme::KeepHeavy } else { Scheme::Uniform };
        Self {
            device_id,
            columns: Columns::new(&settings.columns),
            flow_limit,
            sampler: Sampler::new(scheme, flow_limit, seed),
            values: Values::default(),
            encoder: Encoder::new(),
            body: Vec::new(),
            gzip: Gzip::new(),
        }
    }

    /// Takes new settings: columns at once, the limit from the next dispatch on. Nothing that was
    /// offered is lost.
    pub fn apply(&mut self, settings: &DeviceSettings) {
        self.flow_limit = told_limit(settings.max_flow_rate);
        self.columns = Columns::new(&settings.columns);
    }

    /// Begins an interval that stands for `seconds`, at least 1: the flow limit times that many
    /// records may leave at its end, a million at most.
    pub fn begin(&mut self, seconds: u32) {
        let limit = self.flow_limit.saturating_mul(seconds.max(1) as usize);
        self.sampler.restart(limit.min(MAX_SAMPLE_RECORDS));
    }

    /// Adds a record to the interval.
    pub fn offer(&mut self, cut: &Cut<'_>) {
        self.sampler.offer(cut);
    }

    /// Ends the interval and gives its bodies, or how many records could not be encoded. The next
    /// interval stands for a second.
    pub fn dispatch(&mut self, sink: impl FnMut(Result<Body, (u64, EncodeError)>)) {
        self.dispatch_with(sink);
    }

    pub(crate) fn dispatch_with(
        &mut self,
        mut sink: impl FnMut(Result<Body, (u64, EncodeError)>),
    ) -> Dispatched {
        let (left_out, sums) = (self.sampler.left_out(), self.sampler.weigh());
        let mut rest = self.sampler.sample();
        while !rest.is_empty() {
            let batch = self.values.prepare(rest, &self.columns, self.device_id, BATCH_BYTES);
            let records = batch.len();
            self.body.clear();
            let encoded = self.encoder.encode_sized(batch.records(), batch.bytes, &mut self.body);
            self.values.recycle(batch);
            let count = records as u64;
            sink(match encoded {
                Ok(()) => Ok(Body { bytes: self.gzip.compress(&self.body), records: count }),
                Err(error) => Err((count, error)),
            });
            rest = rest.get(records..).unwrap_or_default();
        }
        self.sampler.restart(self.flow_limit);
        Dispatched { left_out, sums }
    }
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { device_id, flow_limit, .. } = self;
        write!(f, "Pipeline {{ device_id: {device_id}, flow_limit: {flow_limit}, .. }}")
    }
}

/// A compressor whose state, 300 KB, is used again.
struct Gzip {
    state: Compress,
    out: Vec<u8>,
}

impl Gzip {
    fn new() -> Self {
        let level = Compression::new(GZIP_LEVEL);
        Self { state: Compress::new_gzip(level, GZIP_WINDOW_BITS), out: Vec::new() }
    }

    /// One gzip member.
    fn compress(&mut self, body: &[u8]) -> Bytes {
        self.state.reset();
        self.out.clear();
        loop {
            let done = self.state.total_in() as usize;
            let rest = body.get(done..).unwrap_or_default();
            self.out.reserve(GZIP_STEP_BYTES.min(rest.len()).max(1 << 10));
            let status = self.state.compress_vec(rest, &mut self.out, FlushCompress::Finish);
            match status.expect("the state was reset before") {
                Status::StreamEnd => return Bytes::copy_from_slice(&self.out),
                Status::Ok | Status::BufError => {}
            }
        }
    }
}

/// Records that a device may send a second, as they are limited.
#[must_use]
pub fn flow_limit(device: &kflow::api::Device) -> u64 {
    limit_of(device.max_flow_rate)
}

fn limit_of(max_flow_rate: u64) -> u64 {
    match max_flow_rate {
        0 => DEFAULT_FLOW_LIMIT,
        limit => limit.min(MAX_FLOW_LIMIT),
    }
}

fn told_limit(max_flow_rate: u64) -> usize {
    let limit = limit_of(max_flow_rate);
    if max_flow_rate == 0 {
        warn!("the device has no flow limit, using {limit}/s");
    } else if limit < max_flow_rate {
        warn!("flow limit {max_flow_rate}/s is beyond {limit}/s, using the latter");
    }
    limit as usize
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::testing::record;

    fn offer(pipeline: &mut Pipeline, records: std::ops::Range<u16>) {
        for port in records {
            pipeline.offer(&Cut { record: &record(port), tcp: None, event: None });
        }
    }

    fn settings(max_flow_rate: u64) -> DeviceSettings {
        DeviceSettings { max_flow_rate, ..DeviceSettings::default() }
    }

    fn gunzip(bytes: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        flate2::read::GzDecoder::new(bytes).read_to_end(&mut body).unwrap();
        body
    }

    #[test]
    fn a_missing_flow_limit_is_4000_and_a_huge_one_is_bounded() {
        assert_eq!(limit_of(0), 4000);
        assert_eq!(limit_of(100), 100);
        assert_eq!(limit_of(u64::MAX), 1_000_000);
    }

    #[test]
    fn a_body_is_one_gzip_member_whatever_was_compressed_before() {
        let mut gzip = Gzip::new();
        let mut random = fastrand::Rng::with_seed(1);
        let noise: Vec<u8> = (0..3_000_000).map(|_| random.u8(..)).collect();
        for body in [&b""[..], b"abc", &noise, b"abc"] {
            assert_eq!(gunzip(&gzip.compress(body)), body);
        }
    }

    #[test]
    fn new_settings_keep_what_was_offered_and_limit_the_next_dispatch() {
        let mut pipeline = Pipeline::new(7, &settings(100), false, 1);
        let mut bodies = Vec::new();
        offer(&mut pipeline, 0..100);
        let columns = vec![CustomColumn {
            field_id: 3,
            col_name: "CONNECTION_ID".into(),
            col_type: "uint32".into(),
        }];
        pipeline.apply(&DeviceSettings { max_flow_rate: 10, columns });
        pipeline.dispatch(|body| bodies.push(body.unwrap()));
        offer(&mut pipeline, 0..100);
        pipeline.dispatch(|body| bodies.push(body.unwrap()));
        assert_eq!(bodies.iter().map(|body| body.records).collect::<Vec<_>>(), [100, 10]);
        let flows = kflow::wire::decode_body(&gunzip(&bodies[1].bytes)).unwrap();
        assert!(flows.iter().all(|flow| flow.sample_rate == 1000 && flow.device_id == 7));
    }

    #[test]
    fn a_million_records_are_the_most_of_one_dispatch() {
        let mut pipeline = Pipeline::new(7, &settings(1_000_000), false, 1);
        pipeline.begin(u32::MAX);
        offer(&mut pipeline, 0..10);
        let mut records = 0;
        pipeline.dispatch(|body| records += body.unwrap().records);
        assert_eq!(records, 10);
    }
}
