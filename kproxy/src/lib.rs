//! kproxy, the flow proxy agent. Its first room is the HTTP forward proxy, through which probes
//! inside a private network reach the service, and nothing else.
//!
//! [`cli`] reads the flags (Go's syntax, one table), [`config`] gives them a meaning, and [`Agent`]
//! runs what they ask for: the forward proxy, and a health page that shows what it does. Whether a
//! request may pass is decided in four steps, each a module that does no I/O: the request head is
//! unambiguous ([`head`]), its target is a host and a port ([`target`]), the list has it
//! ([`allow`]), and the address the name resolved to may be reached ([`reach`]).
//!
//! The collector is to come beside the proxy: receiving and decoding flow, device look-up, rate
//! limiting, SNMP, syslog. It shares the flags, the health page and the life of the agent, and
//! uses [`upstream`] for its own requests.
#![forbid(unsafe_code)]

mod agent;
pub mod allow;
pub mod cli;
pub mod config;
mod counters;
pub mod descriptors;
pub mod head;
mod health;
mod proxy;
pub mod reach;
pub mod target;
pub mod upstream;

pub use agent::{Agent, StartError};
pub use config::Config;
