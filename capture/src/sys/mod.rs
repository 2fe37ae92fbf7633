//! The unsafe island: socket options, the ring's mapping, and the walk over a block.
//!
//! Contracts come from packet(7), Linux `Documentation/networking/packet_mmap.rst` and
//! `include/uapi/linux/if_packet.h`; checked on Linux 6.18.

mod block;
pub(crate) mod ethtool;
mod map;
mod socket;

pub(crate) use block::{RawBlock, RawFrame};
pub(crate) use map::RingMap;
pub(crate) use socket::{PacketSocket, interface_address};
