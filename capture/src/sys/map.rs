//! The ring's mapping: blocks that the kernel and the reader pass to and fro.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU32, Ordering, fence};

use memmap2::{MmapMut, MmapOptions};

use super::block::RawBlock;
use super::socket::PacketSocket;

/// Offset of `block_status` in a block: after `version` and `offset_to_priv` (if_packet.h,
/// `struct tpacket_block_desc`).
const STATUS_OFFSET: usize = 8;

/// The mapped receive ring of one socket; unmapped when dropped.
///
/// Must be dropped before or after its socket alike: the kernel keeps the pages until both are
/// gone.
pub(crate) struct RingMap {
    map: MmapMut,
    block_bytes: usize,
    blocks: usize,
}

impl RingMap {
    /// Maps the ring that PACKET_RX_RING has just set up with these sizes.
    pub(crate) fn new(
        socket: &PacketSocket,
        block_bytes: usize,
        blocks: usize,
    ) -> io::Result<Self> {
        // SAFETY: the mapping is shared with the kernel alone, which hands over whole blocks by
        // the status word; no Rust reference to a block exists while the kernel owns it (see
        // `block`). A packet ring cannot be truncated while it is mapped (EBUSY).
        let map = unsafe {
            MmapOptions::new()
                .len(block_bytes * blocks)
                .populate()
                .map_mut(socket.as_fd().as_raw_fd())?
        };
        Ok(Self { map, block_bytes, blocks })
    }

    /// Number of blocks.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks
    }

    /// The block at `index` if the kernel has handed it over.
    ///
    /// The borrow of `self` is exclusive: one block at a time is out.
    #[inline]
    pub(crate) fn block(&mut self, index: usize) -> Option<RawBlock<'_>> {
        assert!(index < self.blocks, "block index within the ring");
        if self.status(index).load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return None;
        }
        let start = index * self.block_bytes;
        // SAFETY: index < blocks was asserted, so the range lies inside the mapping. The kernel
        // does not write to a block whose status has TP_STATUS_USER set (packet_mmap.rst); the
        // Acquire load orders our reads after its writes, and `release` needs `&mut self`, so the
        // slice is gone before the block is given back.
        let bytes =
            unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(start), self.block_bytes) };
        Some(RawBlock::new(bytes))
    }

    /// Gives the block back to the kernel.
    #[inline]
    pub(crate) fn release(&mut self, index: usize) {
        assert!(index < self.blocks, "block index within the ring");
        fence(Ordering::Release);
        self.status(index).store(libc::TP_STATUS_KERNEL, Ordering::Release);
    }

    #[inline]
    fn status(&self, index: usize) -> &AtomicU32 {
        let at = index * self.block_bytes + STATUS_OFFSET;
        // SAFETY: index < blocks was asserted by the callers, so the word lies inside the mapping;
        // blocks are page-aligned, so it is aligned; kernel and reader both access it atomically.
        unsafe { AtomicU32::from_ptr(self.map.as_ptr().add(at).cast_mut().cast::<u32>()) }
    }
}
