//! Sharing an interface: PACKET_FANOUT groups (packet(7)).
//!
//! The flags word never has DEFRAG: it would deliver reassembled packets, whose counts are not the
//! wire's (design D12).

mod members;
mod refusal;

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::str::FromStr;

use crate::LINKTYPE_RAW;
use crate::interface::Interface;
use crate::steering::{Steering, SteeringError};
use crate::sys::PacketSocket;

/// PACKET_FANOUT_FLAG_UNIQUEID: the kernel chooses an unused number (Linux 4.12).
const FLAG_UNIQUE_ID: u32 = 0x2000;
/// PACKET_FANOUT_FLAG_IGNORE_OUTGOING (Linux 6.2). Older kernels take it and do nothing. The
/// option of the socket is lost on joining a group, hence the flag.
const FLAG_IGNORE_OUTGOING: u32 = 0x4000;

/// A group of sockets among which the kernel spreads the frames of one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fanout {
    /// Which group.
    pub group: GroupId,
    /// How frames are spread. All members must agree.
    pub mode: FanoutMode,
    /// Do not receive the frames this host sends. All members must agree. On loopback they are
    /// never received, since they come in again.
    pub ignore_outgoing: bool,
}

/// The number of a group in its network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupId {
    /// A new group of a number that the kernel chooses (it may be 0): for the first member. The
    /// others join by the number in [`Joined`].
    Unique,
    /// This group, made if there is none.
    Number(u16),
}

/// How the kernel chooses the member for a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FanoutMode {
    /// By symmetric flow hash: both directions of a conversation meet in one member.
    #[default]
    Hash,
    /// Round robin: splits conversations.
    LoadBalance,
    /// By the CPU that took the frame.
    Cpu,
    /// By the receive queue of the interface.
    QueueMapping,
    /// By a program over the IP addresses, tunnels looked through: both directions and all
    /// fragments of a conversation meet in one member. Needs CAP_BPF; without it [`Self::Hash`]
    /// is used and [`Joined`] says so.
    Ebpf,
}

/// The group a ring has joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Its number.
    pub group: u16,
    /// The mode in force.
    pub mode: FanoutMode,
    /// What is not as it was asked for, and why, in words.
    pub note: Option<String>,
}

impl FanoutMode {
    /// Number in `include/uapi/linux/if_packet.h`.
    fn number(self) -> u32 {
        match self {
            Self::Hash => libc::PACKET_FANOUT_HASH,
            Self::LoadBalance => libc::PACKET_FANOUT_LB,
            Self::Cpu => libc::PACKET_FANOUT_CPU,
            Self::QueueMapping => libc::PACKET_FANOUT_QM,
            Self::Ebpf => libc::PACKET_FANOUT_EBPF,
        }
    }
}

impl FromStr for FanoutMode {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "hash" => Ok(Self::Hash),
            "lb" => Ok(Self::LoadBalance),
            "cpu" => Ok(Self::Cpu),
            "qm" => Ok(Self::QueueMapping),
            "ebpf" => Ok(Self::Ebpf),
            _ => Err("invalid fanout mode"),
        }
    }
}

impl fmt::Display for FanoutMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hash => "hash",
            Self::LoadBalance => "lb",
            Self::Cpu => "cpu",
            Self::QueueMapping => "qm",
            Self::Ebpf => "ebpf",
        })
    }
}

/// Joins the group, or says in words why not.
///
/// The socket is bound. A group whose members cannot have what was asked (eBPF, outgoing frames
/// ignored by the kernel) is joined with what it can have, and the note tells.
pub(crate) fn join(
    socket: &PacketSocket,
    fanout: Fanout,
    interface: &Interface,
) -> Result<Joined, String> {
    let ignore = fanout.ignore_outgoing || interface.loopback;
    let explain = |error: io::Error| refusal::explain(&error, fanout, interface);
    if fanout.mode != FanoutMode::Ebpf {
        let (group, note) = enter(socket, fanout.group, fanout.mode, ignore).map_err(explain)?;
        return Ok(Joined { group, mode: fanout.mode, note });
    }
    let why = match Steering::load(interface.linktype.unwrap_or(LINKTYPE_RAW)) {
        Ok(steering) => match enter(socket, fanout.group, fanout.mode, ignore) {
            Ok((group, note)) => {
                attach(socket, &steering).map_err(|error| {
                    format!("fanout group {group} refused the steering program: {error}")
                })?;
                return Ok(Joined { group, mode: fanout.mode, note });
            }
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                // Its members may have fallen back to hash, or the kernel knows no ebpf.
                "the group takes no member in this mode".to_owned()
            }
            Err(error) => return Err(explain(error)),
        },
        Err(error @ SteeringError::Privilege(_)) => error.to_string(),
        Err(error @ SteeringError::Refused { .. }) => error.to_string(),
    };
    let (group, note) = enter(socket, fanout.group, FanoutMode::Hash, ignore).map_err(explain)?;
    let mut text = format!("fanout mode hash is used instead of ebpf: {why}");
    if let Some(note) = note {
        text = format!("{text}; {note}");
    }
    Ok(Joined { group, mode: FanoutMode::Hash, note: Some(text) })
}

/// Sets PACKET_FANOUT and reads the group's number back.
fn enter(
    socket: &PacketSocket,
    group: GroupId,
    mode: FanoutMode,
    ignore_outgoing: bool,
) -> io::Result<(u16, Option<String>)> {
    let (number, unique) = match group {
        GroupId::Unique => (0, FLAG_UNIQUE_ID),
        GroupId::Number(number) => (u32::from(number), 0),
    };
    let set = |flags: u32| {
        let word = number | (mode.number() | unique | flags) << 16;
        socket.set(libc::SOL_PACKET, libc::PACKET_FANOUT, &word)
    };
    let mut note = None;
    if ignore_outgoing {
        match set(FLAG_IGNORE_OUTGOING) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && set(0).is_ok() => {
                note = Some(
                    "the fanout group receives outgoing frames too; they are skipped after the \
                     ring"
                        .to_owned(),
                );
            }
            result => result?,
        }
    } else {
        set(0)?;
    }
    // Number in the low half, mode and flags above (net/packet/af_packet.c, packet_getsockopt).
    let word: u32 = socket.packet_number(libc::PACKET_FANOUT)?;
    Ok(((word & 0xffff) as u16, note))
}

/// PACKET_FANOUT_DATA takes the program's descriptor; the group keeps the program.
fn attach(socket: &PacketSocket, steering: &Steering) -> io::Result<()> {
    socket.set(libc::SOL_PACKET, libc::PACKET_FANOUT_DATA, &steering.0.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_read_as_they_are_written() {
        for text in ["hash", "lb", "cpu", "qm", "ebpf"] {
            assert_eq!(text.parse::<FanoutMode>().unwrap().to_string(), text);
        }
        assert_eq!("random".parse::<FanoutMode>(), Err("invalid fanout mode"));
    }
}
