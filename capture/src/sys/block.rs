//! The walk over one block that the kernel has handed over.

use std::mem::{offset_of, size_of};

use libc::{sockaddr_ll, tpacket_hdr_v1, tpacket3_hdr};

/// `struct tpacket_block_desc` begins with two words, then the header union.
const DESC_HEADER: usize = 8;
/// TPACKET_ALIGN(sizeof(struct tpacket3_hdr)): where `sockaddr_ll` begins.
const SLL_OFFSET: usize = size_of::<tpacket3_hdr>().next_multiple_of(16);

/// A block in user space's hands: plain bytes nobody writes to.
#[derive(Clone, Copy)]
pub(crate) struct RawBlock<'a> {
    bytes: &'a [u8],
}

/// One frame's header fields and where its bytes are.
#[derive(Clone, Copy)]
pub(crate) struct RawFrame<'a> {
    pub(crate) header: tpacket3_hdr,
    pub(crate) packet_type: u8,
    /// The captured bytes.
    pub(crate) data: &'a [u8],
    /// The 10 bytes before the frame, where `virtio_net_hdr` stands when it was asked for.
    pub(crate) before: Option<&'a [u8; 10]>,
}

impl<'a> RawBlock<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Number of frames and the offset of the first.
    #[inline]
    pub(crate) fn first(self) -> (u32, usize) {
        let count = self.word(DESC_HEADER + offset_of!(tpacket_hdr_v1, num_pkts));
        let first = self.word(DESC_HEADER + offset_of!(tpacket_hdr_v1, offset_to_first_pkt));
        (count, first as usize)
    }

    /// The frame at `offset`, or `None` if the kernel's numbers do not fit the block.
    #[inline]
    pub(crate) fn frame(self, offset: usize) -> Option<RawFrame<'a>> {
        let rest = self.bytes.get(offset..)?;
        if rest.len() < SLL_OFFSET + size_of::<sockaddr_ll>() {
            return None;
        }
        // SAFETY: at least size_of::<tpacket3_hdr>() bytes follow `offset` (checked above);
        // the structure is plain integers, so any bytes are valid, and read_unaligned needs no
        // alignment.
        let header = unsafe { rest.as_ptr().cast::<tpacket3_hdr>().read_unaligned() };
        let packet_type = rest[SLL_OFFSET + offset_of!(sockaddr_ll, sll_pkttype)];
        let start = usize::from(header.tp_mac);
        let data = rest.get(start..start + header.tp_snaplen as usize)?;
        let before = rest.get(start.wrapping_sub(10)..start).and_then(|b| b.try_into().ok());
        Some(RawFrame { header, packet_type, data, before })
    }

    #[inline]
    fn word(self, at: usize) -> u32 {
        match self.bytes.get(at..at + 4) {
            Some(b) => u32::from_ne_bytes([b[0], b[1], b[2], b[3]]),
            None => 0,
        }
    }
}
