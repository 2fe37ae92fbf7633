//! Counters at one moment; two snapshots a second apart show what happens now.

use std::collections::BTreeMap;

use super::cpu::Times;
use super::drops::Counters;
use super::facts::Facts;
use super::interrupts::{self, Line};
use super::nic::Nic;
use super::softnet::{self, Cpu};

/// What is read twice.
#[derive(Debug)]
pub struct Snapshot {
    /// The kernel's receive queues; empty when unread.
    pub softnet: Vec<Cpu>,
    /// Interrupts by number; empty when unread.
    pub interrupts: BTreeMap<u32, Line>,
    /// CPU time.
    pub times: Option<Times>,
    /// Counters by interface index.
    pub counters: BTreeMap<u32, Counters>,
}

impl Snapshot {
    /// Reads all counters.
    pub fn take(facts: &Facts, nics: &[Nic]) -> Self {
        let text = |path| facts.text(path).unwrap_or_default();
        let counters = |nic: &Nic| Some((nic.index, Counters::read(facts, nic.folder.as_ref()?)?));
        Self {
            softnet: softnet::parse(&text("proc/thread-self/net/softnet_stat")),
            interrupts: interrupts::parse(&text("proc/interrupts")),
            times: Times::parse(&text("proc/stat")),
            counters: nics.iter().filter_map(counters).collect(),
        }
    }
}
