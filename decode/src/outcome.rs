//! What became of a frame. Each kind of ending has a stable name, so that each gets a counter.

/// What [`parse`](crate::parse) made of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// A whole packet; all of `out` is valid.
    Packet,
    /// A fragment of a datagram. `out` has everything but transport fields, counts as one packet
    /// and one fragment, and its payload is what [`Reassembler`](crate::fragments::Reassembler)
    /// takes.
    Fragment(Fragment),
    /// Well-formed as far as looked at, but without IP. `out` means nothing.
    Ignored(Ignored),
    /// Not what its headers claim. `out` means nothing.
    Malformed(Malformed),
}

/// Place of a fragment in its datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// Identification: 16 bits in IPv4 (RFC 791), 32 in IPv6 (RFC 8200 section 4.5).
    pub id: u32,
    /// Where its payload belongs in the datagram: 0–65,528, a multiple of 8.
    pub offset_bytes: u16,
    /// More fragments follow this one.
    pub more: bool,
}

/// Why a frame makes no flow though nothing is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// Shorter than its link header.
    ShortFrame,
    /// Address resolution, EtherType 0x0806.
    Arp,
    /// An EtherType (or an 802.3 length) that isn't IP and carries none.
    EtherType,
    /// MPLS whose payload isn't IP: a pseudowire.
    MplsPayload,
    /// A PPPoE session frame with something else than IPv4 or IPv6, such as LCP.
    PppProtocol,
    /// An address family of a BSD loopback that isn't IP.
    Family,
    /// A device of a cooked capture whose frames have no EtherType, such as netlink.
    Device,
}

impl Ignored {
    /// Every kind, in the order of [`Self::index`].
    pub const ALL: [Self; 7] = [
        Self::ShortFrame,
        Self::Arp,
        Self::EtherType,
        Self::MplsPayload,
        Self::PppProtocol,
        Self::Family,
        Self::Device,
    ];

    /// Place in [`Self::ALL`], for an array of counters.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// Stable name for status and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ShortFrame => "short_frame",
            Self::Arp => "arp",
            Self::EtherType => "ether_type",
            Self::MplsPayload => "mpls_payload",
            Self::PppProtocol => "ppp_protocol",
            Self::Family => "family",
            Self::Device => "device",
        }
    }
}

/// How a frame breaks the format it claims. Damage behind an intact IP header is not here: such a
/// packet is counted, with ports 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A VLAN tag, MPLS label or PPPoE header that ends early.
    #[error("the frame ends within a VLAN tag, an MPLS label or a PPPoE header")]
    LinkTruncated,
    /// No bottom of stack among the first 8 MPLS labels.
    #[error("more than 8 MPLS labels")]
    MplsDepth,
    /// Fewer captured bytes than the fixed IP header: 20 for IPv4, 40 for IPv6.
    #[error("fewer bytes captured than the fixed IP header has")]
    IpTruncated,
    /// The version nibble isn't what the link layer announced.
    #[error("the IP version differs from the one the link layer announced")]
    IpVersion,
    /// An IPv4 header length below 20 bytes.
    #[error("the IPv4 header length is below 20 bytes")]
    IpHeaderLength,
    /// An IPv4 total length below the header length.
    #[error("the IPv4 total length is below the header length")]
    IpTotalLength,
}

impl Malformed {
    /// Every kind, in the order of [`Self::index`].
    pub const ALL: [Self; 6] = [
        Self::LinkTruncated,
        Self::MplsDepth,
        Self::IpTruncated,
        Self::IpVersion,
        Self::IpHeaderLength,
        Self::IpTotalLength,
    ];

    /// Place in [`Self::ALL`], for an array of counters.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// Stable name for status and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LinkTruncated => "link_truncated",
            Self::MplsDepth => "mpls_depth",
            Self::IpTruncated => "ip_truncated",
            Self::IpVersion => "ip_version",
            Self::IpHeaderLength => "ip_header_length",
            Self::IpTotalLength => "ip_total_length",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_index_and_name() {
        for (i, kind) in Ignored::ALL.iter().enumerate() {
            assert_eq!(kind.index(), i);
        }
        for (i, kind) in Malformed::ALL.iter().enumerate() {
            assert_eq!(kind.index(), i);
        }
        let names: Vec<&str> = Ignored::ALL
            .iter()
            .map(|kind| kind.name())
            .chain(Malformed::ALL.iter().map(|kind| kind.name()))
            .collect();
        let mut distinct = names.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), names.len());
    }
}
