//! Records to the backend and to JSON lines, and the device they are reported as.
//!
//! [`channel`] makes the way in: one [`Feed`] per reader and an [`Intake`] for [`start`], which runs
//! every output on one thread. [`DeviceApi`] finds the device first, where the output is kflow.
//!
//! Bounds: the channel (messages), a sample of at most 15 s of the flow limit, the queue of encoded
//! batches ([`QueueLimits`]), and in replay 1.5 million records that wait for the slowest reader.
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
mod json;
mod meter;
mod order;
mod owners;
mod refresh;
mod stats;
mod tcp_fields;
#[cfg(test)]
mod testing;
mod urls;

pub use batch::Batch;
pub use device::{DeviceApi, DeviceError, Identity, MAX_ANSWER_BYTES, Selection, SetupError};
pub use exporter::{ExporterHandle, Output, StartError, start};
pub use feed::{Feed, Intake, Observer, Pace, channel};
pub use flow::{KflowConfig, QueueLimits, Timing, decodable};
pub use http::{Credentials, HttpConfig, HttpError, Proxy, Token, public_url};
pub use interface::Interface;
pub use json::{FIELDS, Field, Target};
pub use kflow::api::Device;
pub use meter::Meter;
pub use refresh::{DeviceChange, DeviceWatch, device_rate};
pub use reqwest::Url;
pub use stats::{Count, FeedStats, Lost, OutputStats, OutputSummary, Stats, Summary};
pub use tcp_fields::{TCP_FIELDS, TcpField, TcpValue};
pub use urls::{Region, RegionError, UrlError, Urls, parse_url};
