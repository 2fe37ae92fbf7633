//! Packets to flow records: keys, the conversation table, counters and expiry.
//!
//! Sans-IO: time and packets are arguments, records are the result. No clock, no thread, no
//! socket. One table belongs to one reader; nothing is shared. All memory is reserved at start
//! and bounded by [`Config::capacity`]; when it is full, the longest idle of a few conversations
//! is exported and evicted, and counted.
#![forbid(unsafe_code)]

mod apps;
mod config;
mod cut;
mod entry;
mod expiry;
mod group;
mod index;
mod key;
mod latency;
mod performance;
mod pool;
mod record;
mod sampling;
mod stats;
mod store;
mod table;
pub mod tcp;
mod ticks;
mod translate;

pub use apps::{AppConfig, AppStats};
pub use config::{Config, Moment};
pub use cut::Cut;
pub use group::{GROUP, Group, Origin};
pub use key::Way;
pub use latency::Latencies;
pub use record::{Direction, Record};
pub use sampling::Sampling;
pub use stats::TableStats;
pub use table::FlowTable;
pub use ticks::Ticks;
pub use translate::{Translation, TranslationError, Translations};

#[cfg(test)]
mod tests;
