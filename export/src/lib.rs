//! Records to the backend, to JSON lines and to IPFIX collectors, and the device they are reported
//! as.
//!
//! [`channel`] makes the way in: one [`Feed`] per reader and an [`Intake`] for [`start`], which runs
//! every output on one thread. [`DeviceApi`] finds the device first, where the output is kflow.
//!
//! Bounds: the channel (messages), a sample of at most 15 s of the flow limit, the queue of encoded
//! batches ([`QueueLimits`]), the spool on disk ([`SpoolConfig`]), and in replay 1.5 million records that wait for the slowest reader.
//! What is lost at a bound is counted with its reason ([`Lost`]); per output, offered = accepted +
//! sampled out + lost. Knows nothing of packets.
#![forbid(unsafe_code)]

mod batch;
mod device;
mod exporter;
mod feed;
mod flow;
mod http;
mod interface;
mod ipfix;
mod json;
mod meter;
mod order;
mod owners;
mod pairs;
pub mod posts;
mod proxy_answer;
mod refresh;
mod schema;
pub mod spool;
mod stats;
mod tcp_fields;
#[cfg(test)]
mod testing;
mod urls;

pub use batch::Batch;
pub use device::{DeviceApi, DeviceError, Identity, MAX_ANSWER_BYTES, Selection, SetupError};
pub use exporter::{ExporterControl, ExporterHandle, Output, StartError, start};
pub use feed::{Feed, Intake, MAX_KEPT_BYTES, Observer, Pace, channel};
pub use flow::{
    Body, DeviceSettings, KflowConfig, Pipeline, QueueLimits, Route, Timing, decodable, flow_limit,
};
pub use http::{Credentials, HttpConfig, HttpError, Proxy, Token, public_url};
pub use interface::Interface;
pub use ipfix::{IpfixConfig, Transport};
pub use json::{Rotation, Target};
pub use kflow::api::Device;
pub use meter::Meter;
pub use refresh::{DeviceChange, DeviceWatch, device_rate};
pub use reqwest::Url;
pub use schema::{Element, FIELDS, Field, FieldValue};
pub use spool::{SpoolConfig, SpoolError};
pub use stats::{
    Count, FeedStats, Lost, OutputStats, OutputSummary, Ratio, SampleError, Stats, Summary,
};
pub use tcp_fields::{TCP_FIELDS, TcpField, TcpValue};
pub use urls::{Region, RegionError, UrlError, Urls, parse_url};
