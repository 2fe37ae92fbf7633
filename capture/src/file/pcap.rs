//! Classic pcap: a 24-byte header, then records of 16 bytes and the frame
//! (pcap-savefile(5), draft-ietf-opsawg-pcap).

use super::Step;
use crate::frame::{Frame, PacketType};

/// Bytes of the file header.
pub(super) const HEADER_BYTES: usize = 24;
const RECORD_BYTES: usize = 16;
const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;

/// Byte order, time unit and link type of one file.
pub(super) struct Pcap {
    big_endian: bool,
    ns_per_unit: u64,
    linktype: u32,
}

impl Pcap {
    pub(super) fn from_header(header: &[u8]) -> Option<Self> {
        let header = header.get(..HEADER_BYTES)?;
        let magic: [u8; 4] = header[..4].try_into().ok()?;
        let (big_endian, ns_per_unit) = match (u32::from_le_bytes(magic), u32::from_be_bytes(magic))
        {
            (MICROSECONDS, _) => (false, 1000),
            (NANOSECONDS, _) => (false, 1),
            (_, MICROSECONDS) => (true, 1000),
            (_, NANOSECONDS) => (true, 1),
            _ => return None,
        };
        let mut pcap = Self { big_endian, ns_per_unit, linktype: 0 };
        // The upper bits hold the frame check sequence length, not the type.
        pcap.linktype = pcap.word(&header[20..24]) & 0x03ff_ffff;
        Some(pcap)
    }

    #[inline]
    pub(super) fn step<'a>(&mut self, bytes: &'a [u8]) -> Step<'a> {
        let Some((record, rest)) = bytes.split_at_checked(RECORD_BYTES) else {
            return Step::Need(RECORD_BYTES);
        };
        let captured = self.word(&record[8..12]) as usize;
        let Some(data) = rest.get(..captured) else {
            return Step::Need(RECORD_BYTES.saturating_add(captured));
        };
        let seconds = u64::from(self.word(&record[..4]));
        let fraction = u64::from(self.word(&record[4..8]));
        let wire_len = self.word(&record[12..16]).max(captured as u32);
        let frame = Frame {
            time_ns: seconds * 1_000_000_000 + fraction * self.ns_per_unit,
            data,
            wire_len,
            linktype: self.linktype,
            vlan: None,
            packet_type: PacketType::Unknown,
            offload: None,
        };
        Step::Frame(frame, RECORD_BYTES + captured)
    }

    #[inline]
    fn word(&self, bytes: &[u8]) -> u32 {
        let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }
}
