//! A TPACKET_V3 receive ring, set up in the one order the kernel accepts.
//!
//! Open → version and vnet header → ring → map → bind, join and filter (see `tap`). Each step
//! consumes the value of the step before, so no other order compiles.

use std::time::Duration;

use crate::block::{Block, Reading};
use crate::config::RingConfig;
use crate::error::{CaptureError, opening};
use crate::fanout::Joined;
use crate::filter::Filter;
use crate::interface::Interface;
use crate::sys::{PacketSocket, RawBlock, RingMap};
use crate::tap::{self, RingStats, Tap, Wait};

/// How late the kernel's timer may be: it counts in jiffies, of 10 ms at most.
const TIMER_SLACK: Duration = Duration::from_millis(20);

/// An open ring on one interface. Closing it unmaps the ring and leaves the group.
pub struct Ring {
    map: RingMap,
    tap: Tap,
    next: usize,
    retire: Duration,
}

impl Ring {
    /// Opens a ring on `interface` and starts to receive.
    ///
    /// # Errors
    /// The first step the kernel refused, in words.
    pub fn open(interface: &Interface, config: &RingConfig) -> Result<Self, CaptureError> {
        let (linktype, cooked) = tap::readable(interface)?;
        Opened::new(cooked)?.with_ring(config)?.start(interface, config, linktype)
    }

    /// The next block, if the kernel has one ready.
    #[inline]
    pub fn next_block(&mut self) -> Option<Block<'_>> {
        let index = self.next;
        self.map.block(index)?;
        Some(Block::of_ring(self, index))
    }

    /// Waits until a block may be ready, at most `timeout` (rounded down to ms).
    ///
    /// # Errors
    /// A poll that failed for another reason than a signal or the interface's state.
    pub fn wait(&mut self, timeout: Duration) -> Result<Wait, CaptureError> {
        self.tap.wait(timeout)
    }

    /// Replaces the filter; `None` accepts everything.
    ///
    /// # Errors
    /// The kernel's refusal; the old filter stays then.
    pub fn set_filter(&mut self, filter: Option<&Filter>) -> Result<(), CaptureError> {
        self.tap.set_filter(filter)
    }

    /// Takes no further frames in. What the kernel has taken, it hands over within the time that is
    /// returned: the block it is filling retires at the second tick of its timer at the latest.
    ///
    /// # Errors
    /// The kernel's refusal, which open rings do not see.
    pub fn silence(&mut self) -> Result<Duration, CaptureError> {
        self.tap.silence().map(|()| 2 * self.retire + TIMER_SLACK)
    }

    /// Reads the kernel's counters and returns the sums since the ring was opened.
    ///
    /// # Errors
    /// The kernel's refusal, which open rings do not see.
    pub fn stats(&mut self) -> Result<RingStats, CaptureError> {
        self.tap.stats()
    }

    /// Number of blocks in the ring.
    pub fn blocks(&self) -> usize {
        self.map.blocks()
    }

    /// LINKTYPE number of the frames.
    pub fn linktype(&self) -> u32 {
        self.tap.reading.linktype
    }

    /// Whether the kernel tells segmentation offload (PACKET_VNET_HDR).
    pub fn has_vnet_header(&self) -> bool {
        self.tap.reading.vnet_header
    }

    /// The fanout group the ring is a member of.
    pub fn fanout(&self) -> Option<&Joined> {
        self.tap.fanout.as_ref()
    }

    /// What is not as it was asked for or as it should be, one line each, for the log.
    pub fn notes(&self) -> &[String] {
        &self.tap.notes
    }

    #[inline]
    pub(crate) fn reading(&self) -> Reading {
        self.tap.reading
    }

    pub(crate) fn raw_block(&mut self, index: usize) -> Option<RawBlock<'_>> {
        self.map.block(index)
    }

    #[inline]
    pub(crate) fn give_back(&mut self, index: usize) {
        self.map.release(index);
        self.next = if index + 1 == self.map.blocks() { 0 } else { index + 1 };
    }
}

/// A socket that receives nothing yet.
struct Opened {
    socket: PacketSocket,
    cooked: bool,
}

/// A socket with its mapped ring.
struct Mapped {
    socket: PacketSocket,
    map: RingMap,
    vnet_header: bool,
    notes: Vec<String>,
}

impl Opened {
    fn new(cooked: bool) -> Result<Self, CaptureError> {
        let socket = if cooked { PacketSocket::open_cooked() } else { PacketSocket::open() };
        let socket = socket.map_err(opening)?;
        Ok(Self { socket, cooked })
    }

    fn with_ring(self, config: &RingConfig) -> Result<Mapped, CaptureError> {
        let Self { socket, cooked } = self;
        let request = config.request()?;
        let mut notes: Vec<String> = config.depth_note().into_iter().collect();
        socket
            .set_packet_int(libc::PACKET_VERSION, libc::tpacket_versions::TPACKET_V3 as i32)
            .map_err(CaptureError::Version)?;
        // Must precede the ring (EBUSY after). Old kernels refuse it together with a ring, and
        // cooked frames never have it; counts then fall back to ring entries.
        let vnet_header = !cooked && vnet_header(&socket, &mut notes);
        let refused = |source| CaptureError::Ring {
            blocks: config.blocks,
            block_bytes: config.block_bytes,
            source,
        };
        socket.set(libc::SOL_PACKET, libc::PACKET_RX_RING, &request).map_err(refused)?;
        let map = RingMap::new(&socket, config.block_bytes, config.blocks).map_err(refused)?;
        Ok(Mapped { socket, map, vnet_header, notes })
    }
}

impl Mapped {
    fn start(
        self,
        interface: &Interface,
        config: &RingConfig,
        linktype: u32,
    ) -> Result<Ring, CaptureError> {
        let Self { socket, map, vnet_header, notes } = self;
        let mut tap = Tap::new(socket, interface, config, linktype, vnet_header)?;
        tap.notes.splice(0..0, notes);
        let retire = Duration::from_millis(config.retire_ms.into());
        Ok(Ring { map, tap, next: 0, retire })
    }
}

/// Asks for the offload metadata; says in a note when there is none.
pub(crate) fn vnet_header(socket: &PacketSocket, notes: &mut Vec<String>) -> bool {
    match socket.set_packet_int(libc::PACKET_VNET_HDR, 1) {
        Ok(()) => true,
        Err(error) => {
            notes.push(format!(
                "the kernel tells no segmentation offload (PACKET_VNET_HDR: {error}); packets that \
                 it merged are counted as one"
            ));
            false
        }
    }
}
