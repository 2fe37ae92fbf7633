//! The walk over one block that the kernel has handed over, and blocks of the same shape made here.

use std::mem::{offset_of, size_of};

use libc::{sockaddr_ll, tpacket_hdr_v1, tpacket_hdr_variant1, tpacket3_hdr};

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
    /// ARPHRD_* of the device.
    pub(crate) hardware_type: u16,
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
        let at = SLL_OFFSET + offset_of!(sockaddr_ll, sll_hatype);
        let hardware_type = u16::from_ne_bytes([rest[at], rest[at + 1]]);
        let start = usize::from(header.tp_mac);
        let data = rest.get(start..start + header.tp_snaplen as usize)?;
        let before = rest.get(start.wrapping_sub(10)..start).and_then(|b| b.try_into().ok());
        Some(RawFrame { header, packet_type, hardware_type, data, before })
    }

    #[inline]
    fn word(self, at: usize) -> u32 {
        match self.bytes.get(at..at + 4) {
            Some(b) => u32::from_ne_bytes([b[0], b[1], b[2], b[3]]),
            None => 0,
        }
    }
}

/// Bytes at the start of a block that [`put_block_head`] fills.
pub(crate) const HEAD_BYTES: usize = DESC_HEADER + size_of::<tpacket_hdr_v1>();

/// From the start of one of our frames to its bytes: header, address, room for a vnet header.
const DATA_OFFSET: usize = (SLL_OFFSET + size_of::<sockaddr_ll>() + 10).next_multiple_of(16);

/// What [`put_frame_head`] writes before a frame's bytes.
pub(crate) struct FrameHead {
    /// ns since the epoch.
    pub(crate) time_ns: u64,
    /// Bytes that stand at [`FrameHead::DATA_OFFSET`].
    pub(crate) captured: u32,
    pub(crate) wire_len: u32,
    /// TP_STATUS_* bits.
    pub(crate) status: u32,
    pub(crate) vlan_tci: u16,
    pub(crate) vlan_tpid: u16,
    pub(crate) packet_type: u8,
    pub(crate) hardware_type: u16,
}

impl FrameHead {
    /// Where a frame's bytes begin, from its start; the vnet header stands in the 10 bytes before.
    pub(crate) const DATA_OFFSET: usize = DATA_OFFSET;
}

/// Makes `block` one of `frames` frames, the first behind the head.
pub(crate) fn put_block_head(block: &mut [u8], frames: u32) {
    let first = HEAD_BYTES.next_multiple_of(16) as u32;
    let count_at = DESC_HEADER + offset_of!(tpacket_hdr_v1, num_pkts);
    let first_at = DESC_HEADER + offset_of!(tpacket_hdr_v1, offset_to_first_pkt);
    put(block, count_at, &frames.to_ne_bytes());
    put(block, first_at, &first.to_ne_bytes());
}

/// Writes the header of the frame at `at`, whose bytes stand behind it; gives the next offset.
pub(crate) fn put_frame_head(block: &mut [u8], at: usize, head: &FrameHead) -> usize {
    let length = (DATA_OFFSET + head.captured as usize).next_multiple_of(16);
    let seconds = (head.time_ns / 1_000_000_000) as u32;
    let nanoseconds = (head.time_ns % 1_000_000_000) as u32;
    let variant = offset_of!(tpacket3_hdr, hv1);
    let tci = u32::from(head.vlan_tci);
    let words: [(usize, u32); 7] = [
        (offset_of!(tpacket3_hdr, tp_next_offset), length as u32),
        (offset_of!(tpacket3_hdr, tp_sec), seconds),
        (offset_of!(tpacket3_hdr, tp_nsec), nanoseconds),
        (offset_of!(tpacket3_hdr, tp_snaplen), head.captured),
        (offset_of!(tpacket3_hdr, tp_len), head.wire_len),
        (offset_of!(tpacket3_hdr, tp_status), head.status),
        (variant + offset_of!(tpacket_hdr_variant1, tp_vlan_tci), tci),
    ];
    for (offset, word) in words {
        put(block, at + offset, &word.to_ne_bytes());
    }
    let halves: [(usize, u16); 3] = [
        (offset_of!(tpacket3_hdr, tp_mac), DATA_OFFSET as u16),
        (variant + offset_of!(tpacket_hdr_variant1, tp_vlan_tpid), head.vlan_tpid),
        (SLL_OFFSET + offset_of!(sockaddr_ll, sll_hatype), head.hardware_type),
    ];
    for (offset, half) in halves {
        put(block, at + offset, &half.to_ne_bytes());
    }
    put(block, at + SLL_OFFSET + offset_of!(sockaddr_ll, sll_pkttype), &[head.packet_type]);
    at + length
}

/// Writes nothing where there is no room; callers have made it.
fn put(block: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = block.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A block of frames whose bytes are all `n`, `n` of them.
    fn block(lengths: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 1 << 16];
        let mut at = HEAD_BYTES.next_multiple_of(16);
        for &n in lengths {
            let start = at + FrameHead::DATA_OFFSET;
            bytes[start..start + usize::from(n)].fill(n);
            let head = FrameHead {
                time_ns: 1_700_000_000_000_000_001,
                captured: n.into(),
                wire_len: 2 * u32::from(n),
                status: libc::TP_STATUS_VLAN_VALID,
                vlan_tci: 0x6064,
                vlan_tpid: 0x88a8,
                packet_type: libc::PACKET_OUTGOING,
                hardware_type: libc::ARPHRD_ETHER,
            };
            at = put_frame_head(&mut bytes, at, &head);
        }
        put_block_head(&mut bytes, lengths.len() as u32);
        bytes
    }

    /// Walks as [`crate::Frames`] does; gives the bytes of each frame.
    fn walk(bytes: &[u8]) -> Vec<RawFrame<'_>> {
        let block = RawBlock::new(bytes);
        let (count, mut next) = block.first();
        let mut frames = Vec::new();
        for _ in 0..count.min(1000) {
            let Some(frame) = block.frame(next) else { break };
            next = next.wrapping_add(frame.header.tp_next_offset as usize);
            frames.push(frame);
        }
        frames
    }

    #[test]
    fn a_block_made_here_is_walked_like_one_of_the_kernels() {
        let bytes = block(&[60, 1, 0, 255]);
        let frames = walk(&bytes);
        assert_eq!(
            frames.iter().map(|frame| frame.data.len()).collect::<Vec<_>>(),
            [60, 1, 0, 255]
        );
        assert_eq!(frames[3].data, [255; 255]);
        let header = &frames[0].header;
        assert_eq!((header.tp_sec, header.tp_nsec, header.tp_len), (1_700_000_000, 1, 120));
        assert_eq!((header.hv1.tp_vlan_tci, header.hv1.tp_vlan_tpid), (0x6064, 0x88a8));
        assert_eq!((frames[0].packet_type, frames[0].hardware_type), (4, 1));
    }

    proptest! {
        #[test]
        fn numbers_that_do_not_fit_the_block_end_the_walk(
            lengths in proptest::collection::vec(any::<u8>(), 0..8),
            damage in proptest::collection::vec((0usize..2000, any::<u8>()), 0..20),
            cut in 0usize..3000,
        ) {
            let mut bytes = block(&lengths);
            for (at, byte) in damage {
                bytes[at] = byte;
            }
            bytes.truncate(cut);
            walk(&bytes);
        }
    }
}
