//! Where readers run: each on a CPU of its own, near the interface.

use std::fs;

use core_affinity::CoreId;
use tracing::{debug, warn};

use crate::config::Readers;

/// More readers than this gain nothing on any interface seen.
const MOST_READERS: usize = 16;

/// How many readers an interface gets.
pub(super) fn readers(wanted: Readers, interface: &str) -> usize {
    match wanted {
        Readers::Exactly(n) => n,
        Readers::Auto => {
            let cpus = core_affinity::get_core_ids().map_or(1, |cpus| cpus.len());
            receive_queues(interface).min(cpus).clamp(1, MOST_READERS)
        }
    }
}

/// The CPUs for readers, in the order in which readers take them. Empty when nobody can tell.
///
/// `wanted` as given with `--cpus`, else those allowed to the process, those on the interface's
/// NUMA node first, and starting at another one in each process, so that several probes spread.
pub(super) fn cpus(wanted: &[usize], interface: &str) -> Vec<CoreId> {
    let allowed = core_affinity::get_core_ids().unwrap_or_default();
    if !wanted.is_empty() {
        let (known, unknown): (Vec<usize>, Vec<usize>) =
            wanted.iter().partition(|cpu| allowed.iter().any(|core| core.id == **cpu));
        if !unknown.is_empty() {
            warn!("--cpus: this process may not run on {unknown:?}");
        }
        return known.into_iter().map(|id| CoreId { id }).collect();
    }
    let near = local_cpus(interface);
    let (mut cpus, mut far): (Vec<CoreId>, Vec<CoreId>) = allowed
        .into_iter()
        .partition(|core| near.as_ref().is_none_or(|near| near.contains(&core.id)));
    if !cpus.is_empty() {
        let start = std::process::id() as usize % cpus.len();
        cpus.rotate_left(start);
    }
    cpus.append(&mut far);
    cpus
}

/// Pins this thread to its place among `cpus`.
pub(super) fn pin(cpus: &[CoreId], reader: usize) {
    let Some(core) = cpus.get(reader % cpus.len().max(1)) else { return };
    if core_affinity::set_for_current(*core) {
        debug!("reader {reader} pinned to CPU {}", core.id);
    } else {
        warn!("reader {reader} could not be pinned to CPU {} and runs where it may", core.id);
    }
}

/// Receive queues of the interface, at least 1.
fn receive_queues(interface: &str) -> usize {
    let queues = fs::read_dir(format!("/sys/class/net/{interface}/queues"));
    let names = queues.into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter(|name| name.to_string_lossy().starts_with("rx-")).count().max(1)
}

/// CPUs of the interface's NUMA node; `None` where there is only one node or no device behind it.
fn local_cpus(interface: &str) -> Option<Vec<usize>> {
    let node = fs::read_to_string(format!("/sys/class/net/{interface}/device/numa_node")).ok()?;
    let node: u32 = node.trim().parse().ok()?;
    let list = fs::read_to_string(format!("/sys/devices/system/node/node{node}/cpulist")).ok()?;
    crate::config::parse_cpus(list.trim()).ok()
}
