//! A TPACKET_V3 receive ring, set up in the one order the kernel accepts.
//!
//! Open → version and vnet header → ring → map → bind under a drop-all filter → join a group →
//! real filter. Each step consumes the value of the step before, so no other order compiles.

use std::io;
use std::ops::AddAssign;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use thiserror::Error;

use crate::LINKTYPE_ETHERNET;
use crate::block::Block;
use crate::fanout::{self, Fanout};
use crate::filter::Filter;
use crate::interface::Interface;
use crate::sys::{PacketSocket, RawBlock, RingMap};

/// Sizes and behaviour of a ring (design, "Ring parameters").
#[derive(Clone, Debug)]
pub struct RingConfig {
    /// Bytes of one block; a power of two of at least 64 KiB. A frame larger than a block is cut.
    pub block_bytes: usize,
    /// Number of blocks.
    pub blocks: usize,
    /// After this time the kernel hands over a block that is not full, ms.
    pub retire_ms: u32,
    /// Receive frames for other hosts too.
    pub promiscuous: bool,
    /// Bytes captured of each frame (the filter's return value).
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

/// Why a capture could not be opened or failed while running.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// The process may not open packet sockets.
    #[error(
        "opening a packet socket needs CAP_NET_RAW (run as root, or: setcap cap_net_raw+ep): {0}"
    )]
    Privilege(#[source] io::Error),
    /// The ring could not be had in this size.
    #[error("a ring of {blocks} blocks of {block_bytes} bytes was refused: {source}")]
    Ring {
        /// Blocks asked for.
        blocks: usize,
        /// Bytes of each.
        block_bytes: usize,
        /// The kernel's word.
        #[source]
        source: io::Error,
    },
    /// The fanout group refused the socket.
    #[error("{0}")]
    Fanout(String),
    /// Any other step of setting up or running.
    #[error("{step}: {source}")]
    Step {
        /// What was being done.
        step: &'static str,
        /// The kernel's word.
        #[source]
        source: io::Error,
    },
}

fn step(step: &'static str) -> impl Fn(io::Error) -> CaptureError {
    move |source| CaptureError::Step { step, source }
}

/// Result of waiting for a block.
#[derive(Debug)]
pub enum Wait {
    /// A block may be ready.
    Ready,
    /// The time is over.
    Timeout,
    /// The interface is down or gone; frames may come again when it is back.
    Down(io::Error),
}

/// Counters of one ring since it was opened (packet(7), PACKET_STATISTICS).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingStats {
    /// Frames that passed the filter, dropped ones included.
    pub packets: u64,
    /// Frames the kernel dropped because every block was full.
    pub drops: u64,
    /// Times the ring stood frozen because every block was full.
    pub freezes: u64,
}

impl AddAssign for RingStats {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.drops += other.drops;
        self.freezes += other.freezes;
    }
}

/// An open ring on one interface. Closing it unmaps the ring and leaves the group.
pub struct Ring {
    map: RingMap,
    socket: PacketSocket,
    next: usize,
    linktype: u32,
    vnet_header: bool,
    skip_outgoing: bool,
    stats: RingStats,
}

impl Ring {
    /// Opens a ring on `interface` and starts to receive.
    ///
    /// # Errors
    /// The first step the kernel refused, in words.
    pub fn open(interface: &Interface, config: &RingConfig) -> Result<Self, CaptureError> {
        Opened::new()?.with_ring(config)?.bind(interface, config)?.join(interface, config)
    }

    /// The next block, if the kernel has one ready.
    #[inline]
    pub fn next_block(&mut self) -> Option<Block<'_>> {
        let index = self.next;
        self.map.block(index)?;
        Some(Block::new(self, index))
    }

    /// Waits until a block may be ready, at most `timeout` (rounded down to ms).
    ///
    /// # Errors
    /// A poll that failed for another reason than a signal or the interface's state.
    pub fn wait(&mut self, timeout: Duration) -> Result<Wait, CaptureError> {
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) | Err(Errno::EINTR) => return Ok(Wait::Timeout),
            Ok(_) => {}
            Err(errno) => return Err(step("waiting for frames")(errno.into())),
        }
        let events = fds[0].revents().unwrap_or(PollFlags::empty());
        if events.contains(PollFlags::POLLERR) {
            // packet(7): ENETDOWN is reported once when the interface goes down.
            if let Some(error) = self.socket.take_error().map_err(step("reading SO_ERROR"))? {
                return Ok(Wait::Down(error));
            }
        }
        Ok(Wait::Ready)
    }

    /// Reads the kernel's counters and returns the sums since the ring was opened.
    ///
    /// # Errors
    /// The kernel's refusal, which open rings do not see.
    pub fn stats(&mut self) -> Result<RingStats, CaptureError> {
        let now = self.socket.take_statistics().map_err(step("reading PACKET_STATISTICS"))?;
        self.stats.packets += u64::from(now.tp_packets);
        self.stats.drops += u64::from(now.tp_drops);
        self.stats.freezes += u64::from(now.tp_freeze_q_cnt);
        Ok(self.stats)
    }

    /// Number of blocks in the ring.
    pub fn blocks(&self) -> usize {
        self.map.blocks()
    }

    /// LINKTYPE number of the frames.
    pub fn linktype(&self) -> u32 {
        self.linktype
    }

    /// Whether the kernel tells segmentation offload (PACKET_VNET_HDR).
    pub fn has_vnet_header(&self) -> bool {
        self.vnet_header
    }

    pub(crate) fn skips_outgoing(&self) -> bool {
        self.skip_outgoing
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
struct Opened(PacketSocket);

/// A socket with its mapped ring.
struct Mapped {
    socket: PacketSocket,
    map: RingMap,
    vnet_header: bool,
}

/// Bound, but under a filter that drops everything.
struct Bound(Mapped);

impl Opened {
    fn new() -> Result<Self, CaptureError> {
        let socket = PacketSocket::open().map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => CaptureError::Privilege(error),
            _ => step("opening a packet socket")(error),
        })?;
        Ok(Self(socket))
    }

    fn with_ring(self, config: &RingConfig) -> Result<Mapped, CaptureError> {
        let Self(socket) = self;
        socket
            .set_packet_int(libc::PACKET_VERSION, libc::tpacket_versions::TPACKET_V3 as i32)
            .map_err(step("asking for TPACKET_V3"))?;
        // Must precede the ring (EBUSY after). Old kernels refuse it together with a ring; counts
        // then fall back to ring entries.
        let vnet_header = socket.set_packet_int(libc::PACKET_VNET_HDR, 1).is_ok();
        let refused = |source| CaptureError::Ring {
            blocks: config.blocks,
            block_bytes: config.block_bytes,
            source,
        };
        let request = ring_request(config).map_err(refused)?;
        socket.set(libc::SOL_PACKET, libc::PACKET_RX_RING, &request).map_err(refused)?;
        let map = RingMap::new(&socket, config.block_bytes, config.blocks).map_err(refused)?;
        Ok(Mapped { socket, map, vnet_header })
    }
}

impl Mapped {
    fn bind(self, interface: &Interface, config: &RingConfig) -> Result<Bound, CaptureError> {
        // Between bind and the join a socket gets every frame, also those of other members.
        self.socket
            .attach_filter(Filter::drop_all().instructions())
            .map_err(step("attaching the drop-all filter"))?;
        self.socket.bind(interface.index).map_err(step("binding to the interface"))?;
        if config.promiscuous {
            self.socket
                .join_promiscuous(interface.index)
                .map_err(step("entering promiscuous mode"))?;
        }
        Ok(Bound(self))
    }
}

impl Bound {
    fn join(self, interface: &Interface, config: &RingConfig) -> Result<Ring, CaptureError> {
        let Self(Mapped { socket, map, vnet_header }) = self;
        // On loopback the kernel delivers every frame twice, once as outgoing.
        let skip_outgoing = interface.loopback;
        if let Some(group) = config.fanout {
            fanout::join(&socket, group, &interface.name).map_err(CaptureError::Fanout)?;
        } else if skip_outgoing {
            // Older kernels lack it; the walk over the block skips them all the same.
            let _ = socket.set_packet_int(libc::PACKET_IGNORE_OUTGOING, 1);
        }
        let accept_all = Filter::accept(config.snap_bytes);
        let filter = match &config.filter {
            Some(filter) => filter.with_snap_length(config.snap_bytes),
            None => accept_all,
        };
        socket.attach_filter(filter.instructions()).map_err(step("attaching the filter"))?;
        Ok(Ring {
            map,
            socket,
            next: 0,
            linktype: interface.linktype.unwrap_or(LINKTYPE_ETHERNET),
            vnet_header,
            skip_outgoing,
            stats: RingStats::default(),
        })
    }
}

/// Frame slots exist in name only with TPACKET_V3, but the kernel checks the arithmetic.
fn ring_request(config: &RingConfig) -> io::Result<libc::tpacket_req3> {
    const FRAME_BYTES: usize = 2048;
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    if config.block_bytes < 1 << 16 || !config.block_bytes.is_power_of_two() || config.blocks == 0 {
        return Err(invalid());
    }
    let number = |n: usize| u32::try_from(n).map_err(|_| invalid());
    let frames = (config.block_bytes / FRAME_BYTES).checked_mul(config.blocks).ok_or(invalid())?;
    Ok(libc::tpacket_req3 {
        tp_block_size: number(config.block_bytes)?,
        tp_block_nr: number(config.blocks)?,
        tp_frame_size: number(FRAME_BYTES)?,
        tp_frame_nr: number(frames)?,
        tp_retire_blk_tov: config.retire_ms,
        tp_sizeof_priv: 0,
        tp_feature_req_word: 0,
    })
}
