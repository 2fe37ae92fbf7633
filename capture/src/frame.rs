//! What a source lends: one frame with everything the kernel said about it.

/// One captured frame, borrowed from its block.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Kernel receive time, ns since the Unix epoch.
    pub time_ns: u64,
    /// The bytes captured, from the link header on; at most the snap length.
    pub data: &'a [u8],
    /// Length on the wire in bytes, without a tag the kernel stripped; with offload, of the whole
    /// super-segment. May exceed 65,535 (BIG TCP).
    pub wire_len: u32,
    /// LINKTYPE number of the tcpdump registry.
    pub linktype: u32,
    /// The outer VLAN tag, when the kernel took it out of the frame.
    pub vlan: Option<VlanTag>,
    /// To whom the frame was addressed, as the kernel saw it.
    pub packet_type: PacketType,
    /// Segmentation offload, when one frame stands for several on the wire.
    pub offload: Option<Offload>,
}

/// A tag that `tp_vlan_tci` and `tp_vlan_tpid` carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanTag {
    /// 0x8100, 0x88a8, …
    pub tpid: u16,
    /// Priority (3 bits), drop eligible (1), id (12).
    pub tci: u16,
}

impl VlanTag {
    /// The VLAN id, 0–4095; priority bits removed.
    #[inline]
    pub fn id(self) -> u16 {
        self.tci & 0x0fff
    }
}

/// `sll_pkttype` (packet(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketType {
    /// To this host.
    Host,
    /// Link-layer broadcast.
    Broadcast,
    /// Link-layer multicast.
    Multicast,
    /// To another host, seen in promiscuous mode.
    OtherHost,
    /// Sent by this host.
    Outgoing,
    /// The source cannot tell: a capture file.
    Unknown,
}

impl PacketType {
    /// From the number in `sockaddr_ll`.
    #[inline]
    pub(crate) fn from_sll(number: u8) -> Self {
        match number {
            libc::PACKET_HOST => Self::Host,
            libc::PACKET_BROADCAST => Self::Broadcast,
            libc::PACKET_MULTICAST => Self::Multicast,
            libc::PACKET_OTHERHOST => Self::OtherHost,
            libc::PACKET_OUTGOING => Self::Outgoing,
            _ => Self::Unknown,
        }
    }
}

/// What the virtio-net header says of a super-segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offload {
    /// Payload bytes of each wire segment but the last; never 0.
    pub segment_bytes: u16,
    /// Link to transport header length in bytes, tunnels included. A hint: it is the linear length
    /// of the kernel's buffer.
    pub header_bytes: u16,
}
