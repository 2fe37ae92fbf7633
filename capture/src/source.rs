//! A live source of frames: the ring that was asked for, a smaller one, or plain reads.

use std::time::Duration;

use crate::block::Block;
use crate::config::RingConfig;
use crate::error::CaptureError;
use crate::fanout::Joined;
use crate::filter::Filter;
use crate::interface::Interface;
use crate::plain::Plain;
use crate::ring::Ring;
use crate::tap::{RingStats, Wait};

/// A ring of fewer blocks is not better than plain reads.
const FEWEST_BLOCKS: usize = 4;

/// Frames of one interface, by the best means the kernel gives.
pub enum Source {
    /// A TPACKET_V3 ring.
    Ring(Ring),
    /// Plain reads, much slower.
    Plain(Plain),
}

impl Source {
    /// Opens a ring; where memory is short, one of half the blocks, and so on down to 4; where
    /// there is no ring at all, a plain socket. The notes say, one line each, what is not as it
    /// was asked for or as it should be.
    ///
    /// # Errors
    /// The first step the kernel refused, in words; a missing ring is none.
    pub fn open(
        interface: &Interface,
        config: &RingConfig,
    ) -> Result<(Self, Vec<String>), CaptureError> {
        let mut smaller = config.clone();
        let (reason, first) = loop {
            match Ring::open(interface, &smaller) {
                Ok(ring) => {
                    let mut notes = ring.notes().to_vec();
                    if smaller.blocks != config.blocks {
                        notes.push(format!(
                            "memory for {} of {} blocks of the ring only",
                            smaller.blocks, config.blocks
                        ));
                    }
                    return Ok((Self::Ring(ring), notes));
                }
                Err(CaptureError::Ring { source, .. })
                    if source.raw_os_error() == Some(libc::ENOMEM)
                        && smaller.blocks / 2 >= FEWEST_BLOCKS =>
                {
                    smaller.blocks /= 2;
                }
                Err(error @ (CaptureError::Ring { .. } | CaptureError::Version(_))) => {
                    break (
                        error,
                        "plain reads are used instead of a ring, which loses packets at \
                                   much lower rates",
                    );
                }
                Err(error) => return Err(error),
            }
        };
        let plain = Plain::open(interface, config)?;
        let mut notes = vec![format!("{reason}; {first}")];
        notes.extend_from_slice(plain.notes());
        Ok((Self::Plain(plain), notes))
    }

    /// The next block, if frames are at hand.
    #[inline]
    pub fn next_block(&mut self) -> Option<Block<'_>> {
        match self {
            Self::Ring(ring) => ring.next_block(),
            Self::Plain(plain) => plain.next_block(),
        }
    }

    /// Waits until a block may be ready, at most `timeout` (rounded down to ms).
    ///
    /// # Errors
    /// A poll that failed for another reason than a signal or the interface's state.
    pub fn wait(&mut self, timeout: Duration) -> Result<Wait, CaptureError> {
        match self {
            Self::Ring(ring) => ring.wait(timeout),
            Self::Plain(plain) => plain.wait(timeout),
        }
    }

    /// Replaces the filter of a running capture; `None` accepts everything.
    ///
    /// # Errors
    /// The kernel's refusal; the old filter stays then.
    pub fn set_filter(&mut self, filter: Option<&Filter>) -> Result<(), CaptureError> {
        match self {
            Self::Ring(ring) => ring.set_filter(filter),
            Self::Plain(plain) => plain.set_filter(filter),
        }
    }

    /// Takes no further frames in; what the kernel has taken, it hands over within the time that is
    /// returned.
    ///
    /// # Errors
    /// The kernel's refusal, which open sockets do not see.
    pub fn silence(&mut self) -> Result<Duration, CaptureError> {
        match self {
            Self::Ring(ring) => ring.silence(),
            Self::Plain(plain) => plain.silence().map(|()| Duration::ZERO),
        }
    }

    /// Reads the kernel's counters and returns the sums since the source was opened.
    ///
    /// # Errors
    /// The kernel's refusal, which open sockets do not see.
    pub fn stats(&mut self) -> Result<RingStats, CaptureError> {
        match self {
            Self::Ring(ring) => ring.stats(),
            Self::Plain(plain) => plain.stats(),
        }
    }

    /// Blocks to take before looking at anything else: one round of the ring.
    pub fn blocks(&self) -> usize {
        match self {
            Self::Ring(ring) => ring.blocks(),
            Self::Plain(_) => FEWEST_BLOCKS,
        }
    }

    /// LINKTYPE number of the frames.
    pub fn linktype(&self) -> u32 {
        match self {
            Self::Ring(ring) => ring.linktype(),
            Self::Plain(plain) => plain.linktype(),
        }
    }

    /// Whether the kernel tells segmentation offload (PACKET_VNET_HDR).
    pub fn has_vnet_header(&self) -> bool {
        match self {
            Self::Ring(ring) => ring.has_vnet_header(),
            Self::Plain(plain) => plain.has_vnet_header(),
        }
    }

    /// The fanout group the source is a member of.
    pub fn fanout(&self) -> Option<&Joined> {
        match self {
            Self::Ring(ring) => ring.fanout(),
            Self::Plain(plain) => plain.fanout(),
        }
    }
}
