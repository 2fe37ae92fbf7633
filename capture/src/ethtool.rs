//! What a driver tells of its interface: ring sizes, channels, offloads, receive-side scaling.
//!
//! The same facts that ethtool(8) prints, read by the same system call (SIOCETHTOOL,
//! `include/uapi/linux/ethtool.h`), without any privilege. A driver that does not know a question
//! answers EOPNOTSUPP, which comes back as the error.

use std::io;

use crate::sys::ethtool as sys;

/// Descriptors of the receive ring (`ethtool -g`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveRing {
    /// Descriptors in use.
    pub size: u32,
    /// The most the device takes; 0 when it does not tell.
    pub max: u32,
}

/// Receive queues (`ethtool -l`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channels {
    /// Queues that only receive.
    pub receive: u32,
    /// The most of them.
    pub receive_max: u32,
    /// Queues that receive and send.
    pub combined: u32,
    /// The most of them.
    pub combined_max: u32,
}

/// How long the device gathers frames before it interrupts (`ethtool -c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coalescing {
    /// Longest wait, µs.
    pub receive_us: u32,
    /// Frames that end the wait; 0 is no such limit.
    pub receive_frames: u32,
    /// The device changes both with the load.
    pub adaptive: bool,
}

/// One offload feature by its kernel name (`ethtool -k`, long form).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Name, e.g. `rx-gro`.
    pub name: String,
    /// In force.
    pub active: bool,
    /// Cannot be changed.
    pub fixed: bool,
}

/// Receive-side scaling (`ethtool -x`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rss {
    /// The hash is Toeplitz's, the one the key belongs to.
    pub toeplitz: bool,
    /// The device makes the fields symmetric before hashing (RXH_XFRM_SYM_XOR or _SYM_OR_XOR).
    pub symmetric_transform: bool,
    /// The key; empty when the device does not tell it.
    pub key: Vec<u8>,
    /// Receive queue for each value of the hash's low bits.
    pub table: Vec<u32>,
}

/// Size of the receive ring.
///
/// # Errors
/// The kernel's word; EOPNOTSUPP where the device has no ring or its driver does not tell.
pub fn receive_ring(interface: &str) -> io::Result<ReceiveRing> {
    let words = sys::ring_parameters(interface)?;
    Ok(ReceiveRing { max: words[1], size: words[5] })
}

/// Number of receive queues.
///
/// # Errors
/// As [`receive_ring`].
pub fn channels(interface: &str) -> io::Result<Channels> {
    let words = sys::channels(interface)?;
    Ok(Channels {
        receive_max: words[1],
        combined_max: words[4],
        receive: words[5],
        combined: words[8],
    })
}

/// Interrupt coalescing on receive.
///
/// # Errors
/// As [`receive_ring`].
pub fn coalescing(interface: &str) -> io::Result<Coalescing> {
    let words = sys::coalescing(interface)?;
    Ok(Coalescing { receive_us: words[1], receive_frames: words[2], adaptive: words[10] != 0 })
}

/// Name of the driver, e.g. `ixgbe` or `veth`.
///
/// # Errors
/// As [`receive_ring`].
pub fn driver(interface: &str) -> io::Result<String> {
    let name = sys::driver(interface)?;
    let end = name.iter().position(|&b| b == 0).unwrap_or(name.len());
    Ok(String::from_utf8_lossy(&name[..end]).into_owned())
}

/// Every offload feature this kernel knows, with its state on the interface.
///
/// # Errors
/// As [`receive_ring`].
pub fn features(interface: &str) -> io::Result<Vec<Feature>> {
    let names = sys::feature_names(interface)?;
    let blocks = sys::features(interface, names.len())?;
    let named = names.into_iter().enumerate().filter(|(_, name)| !name.is_empty());
    Ok(named
        .map(|(bit, name)| {
            let [available, _, active, never_changed] =
                blocks.get(bit / 32).copied().unwrap_or_default();
            let mask = 1 << (bit % 32);
            let fixed = available & mask == 0 || never_changed & mask != 0;
            Feature { name, active: active & mask != 0, fixed }
        })
        .collect())
}

/// Hash key and indirection table.
///
/// # Errors
/// As [`receive_ring`].
pub fn rss(interface: &str) -> io::Result<Rss> {
    let words = sys::rss(interface)?;
    let head = words.get(..sys::RSS_HEAD).ok_or(io::ErrorKind::InvalidData)?;
    let table_len = head[2] as usize;
    let [function, transform, ..] = head[4].to_ne_bytes();
    let rest = &words[sys::RSS_HEAD..];
    let table: Vec<u32> = rest.iter().take(table_len).copied().collect();
    let key = rest.iter().skip(table_len).flat_map(|word| word.to_ne_bytes());
    Ok(Rss {
        toeplitz: function & 1 != 0,
        symmetric_transform: transform & 3 != 0,
        key: key.take(head[3] as usize).collect(),
        table,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_tells_its_features() {
        let features = features("lo").unwrap();
        let gso = features.iter().find(|f| f.name == "tx-generic-segmentation").unwrap();
        assert!(gso.active);
        let loopback = features.iter().find(|f| f.name == "loopback").unwrap();
        assert!(loopback.active && loopback.fixed);
    }

    #[test]
    fn loopback_has_no_receive_ring() {
        assert_eq!(receive_ring("lo").unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
        assert!(rss("lo").is_err());
    }

    #[test]
    fn an_unknown_or_overlong_name_is_an_error() {
        assert_eq!(channels("nope0").unwrap_err().raw_os_error(), Some(libc::ENODEV));
        assert!(driver("a-name-longer-than-fifteen").is_err());
    }
}
