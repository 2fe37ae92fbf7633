//! Generated traffic and the tools that write, damage and send it.
//!
//! Everything here is driven by a seed: the same arguments give the same frames, byte for byte.
//! The command over it is `trafficgen`; the stage benchmarks feed on the same generator.
#![forbid(unsafe_code)]

pub mod corrupt;
pub mod measure;
pub mod mix;
pub mod pcap_file;
pub mod send;
pub mod traffic;
pub mod transactions;
