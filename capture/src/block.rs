//! A block of the ring as a guard: frames borrow from it, dropping it gives it back.

use crate::frame::{Frame, Offload, PacketType, VlanTag};
use crate::ring::Ring;
use crate::sys::{RawBlock, RawFrame};

/// VIRTIO_NET_HDR_GSO_NONE of `include/uapi/linux/virtio_net.h`.
const GSO_NONE: u8 = 0;
/// VIRTIO_NET_HDR_GSO_ECN, a flag on the type.
const GSO_ECN: u8 = 0x80;

/// One block of frames, on loan from the kernel until it is dropped.
pub struct Block<'ring> {
    ring: &'ring mut Ring,
    index: usize,
}

impl<'ring> Block<'ring> {
    pub(crate) fn new(ring: &'ring mut Ring, index: usize) -> Self {
        Self { ring, index }
    }

    /// Walks the block from its first frame.
    pub fn frames(&mut self) -> Frames<'_> {
        let (linktype, vnet_header) = (self.ring.linktype(), self.ring.has_vnet_header());
        let skip_outgoing = self.ring.skips_outgoing();
        let Some(raw) = self.ring.raw_block(self.index) else {
            // Unreachable while the guard exists: only its drop returns the block.
            return Frames::empty();
        };
        let (left, next) = raw.first();
        Frames { raw: Some(raw), left, next, linktype, vnet_header, skip_outgoing, broken: false }
    }
}

impl Drop for Block<'_> {
    fn drop(&mut self) {
        self.ring.give_back(self.index);
    }
}

/// Iterator over the frames of a block.
pub struct Frames<'a> {
    raw: Option<RawBlock<'a>>,
    left: u32,
    next: usize,
    linktype: u32,
    vnet_header: bool,
    skip_outgoing: bool,
    broken: bool,
}

impl Frames<'_> {
    fn empty() -> Self {
        Self {
            raw: None,
            left: 0,
            next: 0,
            linktype: 0,
            vnet_header: false,
            skip_outgoing: false,
            broken: false,
        }
    }

    /// Frames the block announced but whose numbers did not fit it; 0 unless the kernel errs.
    pub fn lost(&self) -> u32 {
        if self.broken { self.left } else { 0 }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    #[inline]
    fn next(&mut self) -> Option<Frame<'a>> {
        loop {
            if self.left == 0 || self.broken {
                return None;
            }
            let Some(raw) = self.raw.and_then(|block| block.frame(self.next)) else {
                self.broken = true;
                return None;
            };
            self.left -= 1;
            self.next = self.next.wrapping_add(raw.header.tp_next_offset as usize);
            if self.skip_outgoing && raw.packet_type == libc::PACKET_OUTGOING {
                continue;
            }
            return Some(frame(&raw, self.linktype, self.vnet_header));
        }
    }
}

#[inline]
fn frame<'a>(raw: &RawFrame<'a>, linktype: u32, vnet_header: bool) -> Frame<'a> {
    let header = &raw.header;
    // The bit decides, not the value: a TCI of 0 with the bit set is a priority tag.
    let vlan = (header.tp_status & libc::TP_STATUS_VLAN_VALID != 0).then_some(VlanTag {
        tpid: if header.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0 {
            header.hv1.tp_vlan_tpid
        } else {
            libc::ETH_P_8021Q as u16
        },
        tci: header.hv1.tp_vlan_tci as u16,
    });
    Frame {
        time_ns: u64::from(header.tp_sec) * 1_000_000_000 + u64::from(header.tp_nsec),
        data: raw.data,
        wire_len: header.tp_len,
        linktype,
        vlan,
        packet_type: PacketType::from_sll(raw.packet_type),
        offload: if vnet_header { raw.before.and_then(offload) } else { None },
    }
}

/// Reads `struct virtio_net_hdr`: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, in
/// host order for packet sockets.
#[inline]
fn offload(header: &[u8; 10]) -> Option<Offload> {
    if header[1] & !GSO_ECN == GSO_NONE {
        return None;
    }
    let segment_bytes = u16::from_ne_bytes([header[4], header[5]]);
    let header_bytes = u16::from_ne_bytes([header[2], header[3]]);
    (segment_bytes != 0).then_some(Offload { segment_bytes, header_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_without_segmentation_gives_no_offload() {
        assert_eq!(offload(&[0, 0, 66, 0, 0xa8, 5, 0, 0, 0, 0]), None);
        assert_eq!(offload(&[0, GSO_ECN, 66, 0, 0xa8, 5, 0, 0, 0, 0]), None);
    }

    #[test]
    fn a_tcp_super_segment_tells_its_segment_size() {
        let header = [1, 1, 66, 0, 0xa8, 5, 0, 0, 0, 0];
        let expected = Offload { segment_bytes: 1448, header_bytes: 66 };
        assert_eq!(offload(&header), Some(expected));
    }
}
