//! Trying out what the kernel can do for a capture, and how a group would spread the traffic.
//!
//! Versions tell little, because distributions carry features back; so each is asked for on a
//! socket of its own that takes no frame out of anybody's way. Needs CAP_NET_RAW.

use std::io;

use crate::filter::Filter;
use crate::sys::{PacketSocket, ethtool::fanout_word};

/// PACKET_FANOUT_FLAG_UNIQUEID: the kernel chooses a group number that nobody uses.
const UNIQUE_ID: u32 = 0x2000;
/// PACKET_FANOUT_FLAG_IGNORE_OUTGOING (Linux 6.2); not in older headers.
const IGNORE_OUTGOING: u32 = 0x4000;
/// The legacy form of the option takes no more (packet(7)).
const MAX_MEMBERS: usize = 256;

/// What this kernel accepted on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// TPACKET_V3 rings (Linux 3.2).
    pub tpacket_v3: bool,
    /// PACKET_VNET_HDR on such a socket: segment sizes of merged frames are told.
    pub offload_header: bool,
    /// PACKET_IGNORE_OUTGOING on a socket outside any group (Linux 4.20).
    pub ignore_outgoing: bool,
    /// The same as flag of a group, where the socket's option is lost (Linux 6.2).
    pub group_ignore_outgoing: bool,
    /// Groups steered by an eBPF program (Linux 4.3).
    pub ebpf_groups: bool,
}

/// Asks the kernel for each ability on sockets bound to the interface of this index.
///
/// # Errors
/// No packet socket could be opened (EPERM without CAP_NET_RAW) or bound.
pub fn abilities(interface_index: u32) -> io::Result<Abilities> {
    let ring = PacketSocket::open()?;
    let version = libc::tpacket_versions::TPACKET_V3 as i32;
    let tpacket_v3 = ring.set_packet_int(libc::PACKET_VERSION, version).is_ok();
    let offload_header = ring.set_packet_int(libc::PACKET_VNET_HDR, 1).is_ok();
    let ignore_outgoing = ring.set_packet_int(libc::PACKET_IGNORE_OUTGOING, 1).is_ok();
    let joins = |word: u32| {
        let socket = deaf(interface_index)?;
        io::Result::Ok(socket.set(libc::SOL_PACKET, libc::PACKET_FANOUT, &word).is_ok())
    };
    Ok(Abilities {
        tpacket_v3,
        offload_header,
        ignore_outgoing,
        group_ignore_outgoing: joins((UNIQUE_ID | IGNORE_OUTGOING) << 16)?,
        ebpf_groups: joins((UNIQUE_ID | libc::PACKET_FANOUT_EBPF) << 16)?,
    })
}

/// A group of our own with mode `hash` that only counts its members' frames.
pub struct Spread {
    members: Vec<PacketSocket>,
}

impl Spread {
    /// Opens `members` sockets (at most 256) on the interface and joins them; counting begins.
    ///
    /// The sockets are never read: once their small buffers are full the kernel counts a frame
    /// without copying it.
    ///
    /// # Errors
    /// The first step the kernel refused.
    pub fn open(interface_index: u32, members: usize) -> io::Result<Self> {
        let mut group = UNIQUE_ID << 16 | libc::PACKET_FANOUT_HASH << 16;
        let mut sockets = Vec::new();
        for _ in 0..members.min(MAX_MEMBERS) {
            let socket = deaf(interface_index)?;
            // The kernel raises 1 byte to its minimum (SOCK_MIN_RCVBUF).
            socket.set(libc::SOL_SOCKET, libc::SO_RCVBUF, &1i32)?;
            socket.set(libc::SOL_PACKET, libc::PACKET_FANOUT, &group)?;
            if sockets.is_empty() {
                // The others join by number, without the flag; 0 is a number like any other.
                group = fanout_word(&socket)? & 0xffff | libc::PACKET_FANOUT_HASH << 16;
            }
            sockets.push(socket);
        }
        for socket in &sockets {
            socket.attach_filter(Filter::accept(1).instructions())?;
        }
        Ok(Self { members: sockets })
    }

    /// Frames that came to each member since the last call, in order of joining.
    ///
    /// # Errors
    /// The kernel's refusal, which open sockets do not see.
    pub fn take(&self) -> io::Result<Vec<u64>> {
        // `tp_packets` includes what did not fit the buffer.
        self.members.iter().map(|s| Ok(u64::from(s.take_statistics()?.tp_packets))).collect()
    }
}

/// A bound socket behind a filter that drops everything.
fn deaf(interface_index: u32) -> io::Result<PacketSocket> {
    let socket = PacketSocket::open()?;
    socket.attach_filter(Filter::drop_all().instructions())?;
    socket.bind(interface_index)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    fn may_capture() -> bool {
        let root = nix::unistd::geteuid().is_root();
        if !root {
            eprintln!("skipped: needs root for packet sockets");
        }
        root
    }

    #[test]
    fn the_kernel_says_what_it_can_do() {
        if may_capture() {
            let loopback = nix::net::if_::if_nametoindex("lo").unwrap();
            let abilities = abilities(loopback).unwrap();
            assert!(abilities.tpacket_v3 && abilities.ignore_outgoing);
        }
    }

    #[test]
    fn members_share_the_datagrams_of_many_sockets() {
        if !may_capture() {
            return;
        }
        let loopback = nix::net::if_::if_nametoindex("lo").unwrap();
        let spread = Spread::open(loopback, 2).unwrap();
        spread.take().unwrap();
        for _ in 0..64 {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.send_to(b"x", "127.0.0.1:9").unwrap();
        }
        let counts = spread.take().unwrap();
        assert_eq!(counts.len(), 2);
        // Each passes loopback twice, outgoing and incoming.
        assert!(counts.iter().sum::<u64>() >= 128, "{counts:?}");
        assert!(counts.iter().all(|&count| count > 0), "{counts:?}");
    }
}
