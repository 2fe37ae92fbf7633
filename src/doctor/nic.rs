//! What is known of one interface before it is judged: its driver's answers and its place in sysfs.

use std::io;

use capture::Interface;
use capture::ethtool::{self, Channels, Coalescing, Feature, ReceiveRing, Rss};

use super::facts::Facts;

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
        // sysfs shows the network namespace it was mounted from, which need not be this one.
        let same = facts
            .number(&format!("{folder}/ifindex"))
            .is_ok_and(|index| u32::try_from(index) == Ok(interface.index));
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

    /// A feature's state, if this kernel knows it.
    pub fn feature(&self, name: &str) -> Option<&Feature> {
        self.features.as_ref().ok()?.iter().find(|feature| feature.name == name)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

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
