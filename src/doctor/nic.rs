//! What is known of one interface before it is judged: its driver's answers and its place in sysfs.

use std::collections::BTreeSet;
use std::io;

use capture::Interface;
use capture::ethtool::{self, Channels, Coalescing, Feature, ReceiveRing, Rss};

use super::facts::Facts;
use super::finding::shell_word;

/// An interface and the answers of its driver.
#[derive(Debug)]
pub struct Nic {
    /// Name.
    pub name: String,
    /// Kernel index in this network namespace.
    pub index: u32,
    /// Every frame passes twice.
    pub loopback: bool,
    /// Its directory below `/`, if sysfs shows this network namespace.
    pub folder: Option<String>,
    /// A device stands behind it, not just the kernel.
    pub hardware: bool,
    /// Driver's name.
    pub driver: io::Result<String>,
    /// Receive descriptors.
    pub ring: io::Result<ReceiveRing>,
    /// Receive queues that can be had.
    pub channels: io::Result<Channels>,
    /// Interrupt coalescing.
    pub coalescing: io::Result<Coalescing>,
    /// Offloads.
    pub features: io::Result<Vec<Feature>>,
    /// Receive-side scaling.
    pub rss: io::Result<Rss>,
}

impl Nic {
    /// Asks the driver of `interface`.
    pub fn read(facts: &Facts, interface: &Interface) -> Self {
        let name = interface.name.clone();
        let folder = format!("sys/class/net/{name}");
        let same = facts.number(&format!("{folder}/ifindex")).ok() == Some(interface.index.into())
            && sysfs_is_ours(facts);
        Self {
            index: interface.index,
            loopback: interface.loopback,
            hardware: same && facts.has(&format!("{folder}/device")),
            folder: same.then_some(folder),
            driver: ethtool::driver(&name),
            ring: ethtool::receive_ring(&name),
            channels: ethtool::channels(&name),
            coalescing: ethtool::coalescing(&name),
            features: ethtool::features(&name),
            rss: ethtool::rss(&name),
            name,
        }
    }

    /// Driver's name, or what there is instead.
    pub fn driver_name(&self) -> &str {
        let otherwise = if self.loopback { "loopback" } else { "unknown" };
        self.driver.as_deref().unwrap_or(otherwise)
    }

    /// Its name as a word of a shell's command.
    pub fn word(&self) -> String {
        shell_word(&self.name)
    }

    /// A feature's state, if this kernel knows it.
    pub fn feature(&self, name: &str) -> Option<&Feature> {
        self.features.as_ref().ok()?.iter().find(|feature| feature.name == name)
    }
}

/// Whether sysfs and this thread have the same interfaces.
///
/// sysfs shows the network namespace it was mounted from, and every namespace has a `lo` with
/// index 1. Two namespaces with interfaces of equal names are not told apart.
fn sysfs_is_ours(facts: &Facts) -> bool {
    let table = facts.text("proc/thread-self/net/dev").unwrap_or_default();
    let ours: BTreeSet<&str> =
        table.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    let shown = facts.names("sys/class/net").unwrap_or_default();
    // Plain files (bonding_masters) stand among the interfaces.
    let shown: BTreeSet<&str> = shown
        .iter()
        .map(String::as_str)
        .filter(|name| facts.has(&format!("sys/class/net/{name}/ifindex")))
        .collect();
    ours == shown
}

#[cfg(test)]
pub mod tests {
    use super::super::testing::host;
    use super::*;

    #[test]
    fn sysfs_of_another_namespace_is_recognised_by_its_interfaces() {
        let table = "Inter-|   Receive\n face |bytes\n    lo: 0 0\n  eth0: 5 1\n";
        let both = host(&[
            ("proc/thread-self/net/dev", table),
            ("sys/class/net/lo/ifindex", "1\n"),
            ("sys/class/net/eth0/ifindex", "2\n"),
            ("sys/class/net/bonding_masters", "\n"),
        ]);
        assert!(sysfs_is_ours(&both.facts));
        let less =
            host(&[("proc/thread-self/net/dev", table), ("sys/class/net/lo/ifindex", "1\n")]);
        assert!(!sysfs_is_ours(&less.facts));
    }

    fn unsupported<T>() -> io::Result<T> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// An interface `eth0` of which nothing is known.
    pub fn silent() -> Nic {
        Nic {
            name: "eth0".into(),
            index: 2,
            loopback: false,
            folder: Some("sys/class/net/eth0".into()),
            hardware: true,
            driver: Ok("ixgbe".into()),
            ring: unsupported(),
            channels: unsupported(),
            coalescing: unsupported(),
            features: unsupported(),
            rss: unsupported(),
        }
    }

    /// These features, all changeable.
    pub fn features(states: &[(&str, bool)]) -> io::Result<Vec<Feature>> {
        let feature =
            |&(name, active): &(&str, bool)| Feature { name: name.into(), active, fixed: false };
        Ok(states.iter().map(feature).collect())
    }
}
