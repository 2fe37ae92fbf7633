//! What the parser is given: a link type and a captured frame.

/// Link layer of a frame. Numbers are those of the tcpdump LINKTYPE registry
/// (<https://www.tcpdump.org/linktypes.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Ethernet II with any stack of VLAN tags, MPLS labels or a PPPoE session. Linktype 1.
    Ethernet,
    /// Linux "cooked" capture of the `any` device, 16-byte header. Linktype 113.
    CookedV1,
    /// Linux "cooked" capture version 2, 20-byte header. Linktype 276.
    CookedV2,
    /// IPv4 or IPv6 with nothing before it; the version nibble decides.
    /// Linktypes 101, 228 and 229, and 12 and 14, the DLT_RAW of the BSDs.
    RawIp,
    /// A 4-byte address family in either byte order, then IP. Linktypes 0 and 108.
    BsdLoopback,
}

impl Link {
    /// The link layer with this LINKTYPE number; `None` when it isn't one that carries IP in a way
    /// known here.
    #[must_use]
    pub fn from_linktype(n: u32) -> Option<Self> {
        match n {
            1 => Some(Self::Ethernet),
            113 => Some(Self::CookedV1),
            276 => Some(Self::CookedV2),
            12 | 14 | 101 | 228 | 229 => Some(Self::RawIp),
            0 | 108 => Some(Self::BsdLoopback),
            _ => None,
        }
    }
}

/// A captured frame and what the kernel said about it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Frame<'a> {
    /// Captured bytes from the link header on. Bytes past the first GiB are not looked at.
    pub data: &'a [u8],
    /// Bytes on the wire, link header included, a tag stripped by the kernel not. A value below
    /// the captured length is taken as the captured length.
    pub wire_len: u32,
    /// VLAN id of a tag that the kernel stripped, 0–4095; it stands outside of tags in `data`.
    pub vlan: Option<u16>,
    /// Transport payload bytes of each wire packet that this frame stands for (`gso_size` of
    /// `virtio_net_hdr`); 0 when the frame is one wire packet.
    pub gso_size: u16,
    /// `hdr_len` of `virtio_net_hdr`: bytes from the link header to the payload. The kernel gives
    /// the length of the linear part there, so it is a hint, used when headers can't tell.
    pub gso_hdr_len: u16,
}
