//! What a source of frames is asked for, and which sizes the kernel can take.

use thiserror::Error;

use crate::fanout::Fanout;
use crate::filter::Filter;

/// Frame slots exist in name only with TPACKET_V3, but the kernel checks the arithmetic.
const SLOT_BYTES: usize = 2048;
/// Block × timeout below this loses packets at low rates when the reader stalls (limits.md 2.4).
const DEPTH_MS: u64 = 1000;

/// Sizes and behaviour of a ring (design, "Ring parameters").
#[derive(Clone, Debug)]
pub struct RingConfig {
    /// Bytes of one block: a power of two, 64 KiB to 1 GiB. The kernel cuts a frame larger than a
    /// block; its wire length stays right.
    pub block_bytes: usize,
    /// Number of blocks, at least 1.
    pub blocks: usize,
    /// After this time the kernel hands over a block that is not full, 1–60,000 ms.
    pub retire_ms: u32,
    /// Receive frames for other hosts too.
    pub promiscuous: bool,
    /// Bytes captured of each frame (the filter's return value), at least 1.
    pub snap_bytes: u32,
    /// What is captured; `None` is everything.
    pub filter: Option<Filter>,
    /// The group to share the interface with.
    pub fanout: Option<Fanout>,
}

impl Default for RingConfig {
    fn default() -> Self {
        Self {
            block_bytes: 1 << 20,
            blocks: 128,
            retire_ms: 10,
            promiscuous: false,
            snap_bytes: 262_144,
            filter: None,
            fanout: None,
        }
    }
}

/// A ring that the kernel could not make, or that would be of no use.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// Block size out of range or no power of two.
    #[error("a block of {0} bytes: expected a power of two from 65536 to 1073741824")]
    BlockBytes(usize),
    /// No blocks, or more than the kernel's 32-bit arithmetic takes.
    #[error("{blocks} blocks of {block_bytes} bytes: expected 1 to {most}")]
    Blocks {
        /// Blocks asked for.
        blocks: usize,
        /// Bytes of each.
        block_bytes: usize,
        /// Most blocks of this size.
        most: usize,
    },
    /// Retire timeout out of range.
    #[error("a retire timeout of {0} ms: expected 1 to 60000")]
    RetireMs(u32),
    /// A snap length of 0 would drop everything.
    #[error("a snap length of 0 bytes captures nothing")]
    SnapBytes,
    /// libpcap accepts longer programs, and loops; the kernel does not (linux/filter.h).
    #[error("the filter cannot run in the kernel: {0}")]
    Filter(&'static str),
}

impl RingConfig {
    /// Checks every number against the range its field names.
    ///
    /// # Errors
    /// The first field out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let bytes = self.block_bytes;
        if !(1 << 16..=1 << 30).contains(&bytes) || !bytes.is_power_of_two() {
            return Err(ConfigError::BlockBytes(bytes));
        }
        let most = (u32::MAX as usize) / (bytes / SLOT_BYTES);
        if !(1..=most).contains(&self.blocks) {
            return Err(ConfigError::Blocks { blocks: self.blocks, block_bytes: bytes, most });
        }
        if !(1..=60_000).contains(&self.retire_ms) {
            return Err(ConfigError::RetireMs(self.retire_ms));
        }
        if self.snap_bytes == 0 {
            return Err(ConfigError::SnapBytes);
        }
        self.filter
            .as_ref()
            .map_or(Ok(()), |filter| filter.check_kernel().map_err(ConfigError::Filter))
    }

    /// The kernel's form of a valid configuration.
    pub(crate) fn request(&self) -> Result<libc::tpacket_req3, ConfigError> {
        self.validate()?;
        let slots = self.block_bytes / SLOT_BYTES * self.blocks;
        Ok(libc::tpacket_req3 {
            tp_block_size: self.block_bytes as u32,
            tp_block_nr: self.blocks as u32,
            tp_frame_size: SLOT_BYTES as u32,
            tp_frame_nr: slots as u32,
            tp_retire_blk_tov: self.retire_ms,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        })
    }

    /// A warning when the ring's blocks are used up, one per timeout, in less than a second.
    pub(crate) fn depth_note(&self) -> Option<String> {
        let depth_ms = self.blocks as u64 * u64::from(self.retire_ms);
        (depth_ms < DEPTH_MS).then(|| {
            format!(
                "the ring of {} blocks retired after {} ms lasts {depth_ms} ms at the lowest rate; \
                 at least {DEPTH_MS} ms is advised",
                self.blocks, self.retire_ms
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_lasts_a_second() {
        assert_eq!(RingConfig::default().validate(), Ok(()));
        assert_eq!(RingConfig::default().depth_note(), None);
    }

    #[test]
    fn each_number_out_of_range_is_named() {
        let with = |change: fn(&mut RingConfig)| {
            let mut config = RingConfig::default();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert_eq!(
            with(|c| c.block_bytes = 100_000),
            "a block of 100000 bytes: expected a power of two from 65536 to 1073741824"
        );
        assert_eq!(with(|c| c.blocks = 0), "0 blocks of 1048576 bytes: expected 1 to 8388607");
        assert_eq!(with(|c| c.retire_ms = 0), "a retire timeout of 0 ms: expected 1 to 60000");
        assert_eq!(with(|c| c.snap_bytes = 0), "a snap length of 0 bytes captures nothing");
    }

    #[test]
    fn a_shallow_ring_is_remarked_upon() {
        let config = RingConfig { blocks: 64, retire_ms: 1, ..RingConfig::default() };
        assert!(config.depth_note().unwrap().contains("lasts 64 ms"));
    }
}
