//! The unsafe island: socket options, the ring's mapping, the walk over a block, reading single
//! frames, and loading eBPF programs.
//!
//! Contracts come from packet(7), Linux `Documentation/networking/packet_mmap.rst` and
//! `include/uapi/linux/if_packet.h`; checked on Linux 6.18.

mod block;
mod bpf;
pub(crate) mod ethtool;
mod map;
mod receive;
mod socket;

pub(crate) use block::{FrameHead, HEAD_BYTES, RawBlock, RawFrame, put_block_head, put_frame_head};
pub(crate) use bpf::load_socket_filter;
pub(crate) use map::RingMap;
pub(crate) use receive::{Received, receive};
pub(crate) use socket::{PacketSocket, interface_address};
