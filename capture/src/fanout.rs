//! Sharing an interface: PACKET_FANOUT groups (packet(7)).

use std::fmt;
use std::io;
use std::str::FromStr;

use crate::sys::PacketSocket;

/// A group of sockets among which the kernel spreads the frames of one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fanout {
    /// Group number in the network namespace.
    pub group: u16,
    /// How frames are spread. All members must agree.
    pub mode: FanoutMode,
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
}

impl FanoutMode {
    fn number(self) -> u32 {
        match self {
            Self::Hash => libc::PACKET_FANOUT_HASH,
            Self::LoadBalance => libc::PACKET_FANOUT_LB,
            Self::Cpu => libc::PACKET_FANOUT_CPU,
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
        })
    }
}

/// Joins the group, or says what the kernel's bare errno may mean.
///
/// The flags word is plain: DEFRAG would deliver reassembled packets, whose counts are not the
/// wire's (design D12).
pub(crate) fn join(socket: &PacketSocket, fanout: Fanout, interface: &str) -> Result<(), String> {
    let word = u32::from(fanout.group) | fanout.mode.number() << 16;
    socket
        .set(libc::SOL_PACKET, libc::PACKET_FANOUT, &word)
        .map_err(|error| explain(&error, fanout, interface))
}

fn explain(error: &io::Error, fanout: Fanout, interface: &str) -> String {
    let Fanout { group, mode } = fanout;
    let why = match error.raw_os_error() {
        Some(libc::EINVAL) => format!(
            "its other members use another mode than {mode}, other flags, or another interface than \
             {interface}; choose another --fanout-group or the same --fanout-mode"
        ),
        Some(libc::ENOSPC) => "it is full (256 members)".to_owned(),
        Some(libc::EALREADY) => "this socket is a member already".to_owned(),
        _ => error.to_string(),
    };
    format!("fanout group {group} refused this probe: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_read_as_they_are_written() {
        for text in ["hash", "lb", "cpu"] {
            assert_eq!(text.parse::<FanoutMode>().unwrap().to_string(), text);
        }
        assert_eq!("random".parse::<FanoutMode>(), Err("invalid fanout mode"));
    }
}
