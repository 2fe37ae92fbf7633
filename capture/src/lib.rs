//! Where frames come from: TPACKET_V3 rings, fanout groups, filters, interfaces, capture files.
//!
//! A ring or a file gives *blocks*; a block lends [`Frame`]s; dropping the block gives it back to
//! the kernel (design D1). Knows nothing of protocols above the link type, nor of flows.
//!
//! `unsafe` lives in the private module `sys` alone.

mod block;
pub mod ethtool;
mod fanout;
mod file;
mod filter;
mod frame;
mod interface;
mod ring;
#[allow(unsafe_code, reason = "the one door to the kernel's packet interface")]
mod sys;
pub mod trial;

pub use block::{Block, Frames};
pub use fanout::{Fanout, FanoutMode};
pub use file::{CaptureFile, FileBlock, FileError, FileFrames};
pub use filter::{Filter, FilterError};
pub use frame::{Frame, Offload, PacketType, VlanTag};
pub use interface::{Interface, InterfaceError};
pub use ring::{CaptureError, Ring, RingConfig, RingStats, Wait};

/// LINKTYPE_ETHERNET of the tcpdump registry, what most interfaces deliver.
pub const LINKTYPE_ETHERNET: u32 = 1;
/// LINKTYPE_RAW: IPv4 or IPv6 without a link header.
pub const LINKTYPE_RAW: u32 = 101;
