//! A block of the ring as a guard: frames borrow from it, dropping it gives it back.

use crate::frame::{Frame, Offload, PacketType, VlanTag};
use crate::plain::Plain;
use crate::ring::Ring;
use crate::sys::{RawBlock, RawFrame};
use crate::{LINKTYPE_UNKNOWN, hardware};

/// VIRTIO_NET_HDR_GSO_NONE of `include/uapi/linux/virtio_net.h`.
const GSO_NONE: u8 = 0;
/// VIRTIO_NET_HDR_GSO_ECN, a flag on the type.
const GSO_ECN: u8 = 0x80;

/// How the frames of a source are to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) linktype: u32,
    /// 10 bytes of `virtio_net_hdr` stand before each frame.
    pub(crate) vnet_header: bool,
    /// Leave out what this host sends.
    pub(crate) skip_outgoing: bool,
    /// Frames of every device: link type by frame, and loopback's outgoing copies left out.
    pub(crate) any: bool,
}

/// One block of frames, on loan from the kernel until it is dropped.
pub struct Block<'a>(Held<'a>);

enum Held<'a> {
    Ring(&'a mut Ring, usize),
    Plain(&'a Plain),
}

impl<'a> Block<'a> {
    pub(crate) fn of_ring(ring: &'a mut Ring, index: usize) -> Self {
        Self(Held::Ring(ring, index))
    }

    pub(crate) fn of_plain(plain: &'a Plain) -> Self {
        Self(Held::Plain(plain))
    }

    /// Walks the block from its first frame.
    pub fn frames(&mut self) -> Frames<'_> {
        let (reading, raw) = match &mut self.0 {
            // None is unreachable while the guard exists: only its drop returns the block.
            Held::Ring(ring, index) => (ring.reading(), ring.raw_block(*index)),
            Held::Plain(plain) => (plain.reading(), Some(plain.raw_block())),
        };
        let (left, next) = raw.map_or((0, 0), RawBlock::first);
        let selective = reading.skip_outgoing || reading.any;
        Frames { raw, left, next, reading, selective, broken: false }
    }
}

impl Drop for Block<'_> {
    fn drop(&mut self) {
        match &mut self.0 {
            Held::Ring(ring, index) => ring.give_back(*index),
            Held::Plain(_) => {}
        }
    }
}

/// Iterator over the frames of a block.
pub struct Frames<'a> {
    raw: Option<RawBlock<'a>>,
    left: u32,
    next: usize,
    reading: Reading,
    /// One test per frame on the common path stands for both reasons to look closer.
    selective: bool,
    broken: bool,
}

impl Frames<'_> {
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
            let mut linktype = self.reading.linktype;
            if self.selective {
                let outgoing = raw.packet_type == libc::PACKET_OUTGOING;
                let skip = self.reading.skip_outgoing || raw.hardware_type == libc::ARPHRD_LOOPBACK;
                if outgoing && skip {
                    continue;
                }
                if self.reading.any {
                    linktype = hardware::linktype(raw.hardware_type).unwrap_or(LINKTYPE_UNKNOWN);
                }
            }
            return Some(frame(&raw, linktype, self.reading.vnet_header));
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
