//! Where frames come from: TPACKET_V3 rings, fanout groups, filters, interfaces, capture files.
//!
//! A [`Source`] or a [`CaptureFile`] gives *blocks*; a block lends [`Frame`]s; dropping the block
//! gives it back to the kernel (design D1). A source is a ring, or plain reads where the kernel
//! has no ring to give. Knows nothing of protocols above the link type, nor of flows.
//!
//! `unsafe` lives in the private module `sys` alone.

mod block;
mod config;
mod error;
pub mod ethtool;
mod fanout;
mod file;
mod filter;
mod frame;
mod hardware;
mod interface;
mod plain;
mod ring;
mod source;
mod steering;
#[allow(unsafe_code, reason = "the one door to the kernel's packet interface")]
mod sys;
mod tap;
pub mod trial;

pub use block::{Block, Frames};
pub use config::{ConfigError, RingConfig};
pub use error::CaptureError;
pub use fanout::{Fanout, FanoutMode, GroupId, Joined};
pub use file::{CaptureFile, FileBlock, FileError, FileFrames};
pub use filter::{Filter, FilterError};
pub use frame::{Frame, Offload, PacketType, VlanTag};
pub use interface::{Interface, InterfaceError};
pub use plain::Plain;
pub use ring::Ring;
pub use source::Source;
pub use tap::{RingStats, Wait};

/// LINKTYPE_ETHERNET of the tcpdump registry, what most interfaces deliver.
pub const LINKTYPE_ETHERNET: u32 = 1;
/// LINKTYPE_RAW: IPv4 or IPv6 without a link header.
pub const LINKTYPE_RAW: u32 = 101;
/// Not in the registry: the interface `any` delivers frames of several link types, and
/// [`Frame::linktype`] tells that of each.
pub const LINKTYPE_PER_FRAME: u32 = u32::MAX - 1;
/// Not in the registry: a frame of `any` whose device has a link type this probe cannot read.
pub const LINKTYPE_UNKNOWN: u32 = u32::MAX;
