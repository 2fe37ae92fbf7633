//! pcapng: sections, interfaces and packet blocks (draft-ietf-opsawg-pcapng).
//!
//! Frames come from enhanced, simple and the obsolete packet blocks; every other block is passed
//! over. At most [`MAX_INTERFACES`] interfaces a section are remembered.

use super::Step;
use crate::frame::{Frame, PacketType};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
/// Block type, total length, and total length again at the end.
const FRAMING_BYTES: usize = 12;
/// A section that announces more is damaged: no recorder has so many interfaces.
const MAX_INTERFACES: usize = 4096;

/// if_tsresol and if_tsoffset options of an interface block.
const OPTION_TSRESOL: u16 = 9;
const OPTION_TSOFFSET: u16 = 14;

#[derive(Clone, Copy)]
struct Interface {
    linktype: u32,
    snap_bytes: u32,
    /// Time units in one second.
    units_per_second: u64,
    offset_seconds: i64,
}

/// State of the section being read.
#[derive(Default)]
pub(super) struct Pcapng {
    big_endian: bool,
    interfaces: Vec<Interface>,
}

impl Pcapng {
    /// Whether a file starts with a section header.
    pub(super) fn starts(header: &[u8]) -> bool {
        header.get(..4) == Some(&SECTION_HEADER.to_be_bytes())
    }

    pub(super) fn step<'a>(&mut self, bytes: &'a [u8]) -> Step<'a> {
        let Some(head) = bytes.get(..FRAMING_BYTES) else {
            return Step::Need(FRAMING_BYTES);
        };
        // A section header's type reads the same in both orders; its magic tells the order.
        if head[..4] == SECTION_HEADER.to_be_bytes() {
            let magic = [head[8], head[9], head[10], head[11]];
            self.big_endian = match BYTE_ORDER_MAGIC {
                m if m == u32::from_le_bytes(magic) => false,
                m if m == u32::from_be_bytes(magic) => true,
                _ => return Step::Damaged("a section header without its byte-order magic".into()),
            };
            self.interfaces.clear();
        }
        let kind = self.word(head, 0);
        let total = self.word(head, 4) as usize;
        if total < FRAMING_BYTES || !total.is_multiple_of(4) {
            return Step::Damaged(format!("a block of {total} bytes"));
        }
        let Some(block) = bytes.get(..total) else {
            return Step::Need(total);
        };
        if self.word(block, total - 4) as usize != total {
            return Step::Damaged("a block whose two lengths differ".into());
        }
        self.block(kind, &block[8..total - 4], total)
    }

    fn block<'a>(&mut self, kind: u32, body: &'a [u8], total: usize) -> Step<'a> {
        let frame = match kind {
            INTERFACE => return self.interface(body, total),
            ENHANCED_PACKET if body.len() >= 20 => self.packet(body, self.word(body, 0)),
            OBSOLETE_PACKET if body.len() >= 20 => self.packet(body, u32::from(self.half(body, 0))),
            SIMPLE_PACKET if body.len() >= 4 => self.simple(body),
            ENHANCED_PACKET | OBSOLETE_PACKET | SIMPLE_PACKET => Err("a packet block cut short"),
            _ => return Step::Skip(total),
        };
        match frame {
            Ok(frame) => Step::Frame(frame, total),
            Err(what) => Step::Damaged(what.into()),
        }
    }

    fn interface<'a>(&mut self, body: &[u8], total: usize) -> Step<'a> {
        if body.len() < 8 || self.interfaces.len() == MAX_INTERFACES {
            return Step::Damaged("an interface block cut short, or too many of them".into());
        }
        let mut interface = Interface {
            linktype: u32::from(self.half(body, 0)),
            snap_bytes: self.word(body, 4),
            units_per_second: 1_000_000,
            offset_seconds: 0,
        };
        let mut options = &body[8..];
        while options.len() >= 4 {
            let (code, length) = (self.half(options, 0), usize::from(self.half(options, 2)));
            let Some(value) = options.get(4..4 + length) else { break };
            match (code, value) {
                (0, _) => break,
                (OPTION_TSRESOL, &[resolution]) => {
                    let Some(units) = units_per_second(resolution) else {
                        return Step::Damaged(format!("time resolution {resolution:#04x}"));
                    };
                    interface.units_per_second = units;
                }
                (OPTION_TSOFFSET, value) if length == 8 => {
                    interface.offset_seconds = self.long(value).cast_signed();
                }
                _ => {}
            }
            let Some(next) = options.get(4 + length.next_multiple_of(4)..) else { break };
            options = next;
        }
        self.interfaces.push(interface);
        Step::Skip(total)
    }

    /// Enhanced and obsolete blocks agree from byte 4 on: time high, time low, captured, original.
    fn packet<'a>(&self, body: &'a [u8], interface: u32) -> Result<Frame<'a>, &'static str> {
        let interface =
            self.interfaces.get(interface as usize).ok_or("a packet of an unknown interface")?;
        let units = u64::from(self.word(body, 4)) << 32 | u64::from(self.word(body, 8));
        let captured = self.word(body, 12);
        let data = body.get(20..).and_then(|rest| rest.get(..captured as usize));
        let data = data.ok_or("a packet longer than its block")?;
        Ok(Frame {
            time_ns: interface.time_ns(units),
            data,
            wire_len: self.word(body, 16).max(captured),
            linktype: interface.linktype,
            vlan: None,
            packet_type: PacketType::Unknown,
            offload: None,
        })
    }

    /// A simple block has neither time nor captured length.
    fn simple<'a>(&self, body: &'a [u8]) -> Result<Frame<'a>, &'static str> {
        let interface = self.interfaces.first().ok_or("a packet of an unknown interface")?;
        let wire_len = self.word(body, 0);
        let limit = if interface.snap_bytes == 0 { u32::MAX } else { interface.snap_bytes };
        let captured = (wire_len.min(limit) as usize).min(body.len() - 4);
        Ok(Frame {
            time_ns: 0,
            data: &body[4..4 + captured],
            wire_len,
            linktype: interface.linktype,
            vlan: None,
            packet_type: PacketType::Unknown,
            offload: None,
        })
    }

    fn half(&self, bytes: &[u8], at: usize) -> u16 {
        let bytes = [bytes[at], bytes[at + 1]];
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    #[inline]
    fn word(&self, bytes: &[u8], at: usize) -> u32 {
        let bytes = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    fn long(&self, bytes: &[u8]) -> u64 {
        let (first, second) = (self.word(bytes, 0), self.word(bytes, 4));
        let (high, low) = if self.big_endian { (first, second) } else { (second, first) };
        u64::from(high) << 32 | u64::from(low)
    }
}

impl Interface {
    fn time_ns(&self, units: u64) -> u64 {
        let ns = u128::from(units) * 1_000_000_000 / u128::from(self.units_per_second);
        let offset = i128::from(self.offset_seconds) * 1_000_000_000;
        u64::try_from((ns as i128).saturating_add(offset).max(0)).unwrap_or(u64::MAX)
    }
}

/// if_tsresol: a negative power of 10, or of 2 when the top bit is set.
fn units_per_second(resolution: u8) -> Option<u64> {
    let exponent = u32::from(resolution & 0x7f);
    let base: u64 = if resolution & 0x80 == 0 { 10 } else { 2 };
    base.checked_pow(exponent)
}
