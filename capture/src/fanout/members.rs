//! Who is in a fanout group: sock_diag(7) for packet sockets, and /proc for the processes.
//!
//! Only asked when a join was refused. Bounded: [`MOST_REPLIES`], [`MOST_MEMBERS`], [`MOST_LINKS`].

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;

const MOST_REPLIES: usize = 4096;
const MOST_MEMBERS: usize = 65_536;
/// Descriptors of other processes looked at.
const MOST_LINKS: usize = 1_000_000;
const REPLY_BYTES: usize = 64 << 10;

/// SOCK_DIAG_BY_FAMILY (include/uapi/linux/sock_diag.h).
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// PACKET_SHOW_INFO | PACKET_SHOW_FANOUT (include/uapi/linux/packet_diag.h).
const SHOW: u32 = 0x01 | 0x08;
const ATTRIBUTE_INFO: u16 = 0;
const ATTRIBUTE_FANOUT: u16 = 4;
/// `struct nlmsghdr`, `struct packet_diag_msg`, `struct nlattr`.
const HEADER_BYTES: usize = 16;
const MESSAGE_BYTES: usize = 16;
const ATTRIBUTE_BYTES: usize = 4;

/// One packet socket of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// PACKET_FANOUT_*.
    pub(super) mode: u8,
    /// Index of the interface it is bound to.
    pub(super) interface: u32,
    /// EtherType it receives, host order.
    pub(super) protocol: u16,
    pub(super) inode: u32,
}

/// The members of a group in this network namespace.
///
/// Fails where the kernel has no packet_diag.
pub(super) fn of_group(group: u16) -> io::Result<Vec<Member>> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(1, 0))?;
    send(socket.as_raw_fd(), &request(), MsgFlags::empty())?;
    let mut members = Vec::new();
    let mut buffer = vec![0; REPLY_BYTES];
    for _ in 0..MOST_REPLIES {
        let got = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let reply = buffer.get(..got).unwrap_or_default();
        if !collect(reply, group, &mut members)? || members.len() >= MOST_MEMBERS {
            break;
        }
    }
    Ok(members)
}

/// Process id and command of those that hold one of the sockets, as far as /proc shows them.
pub(super) fn processes(members: &[Member]) -> Vec<(u32, String)> {
    let wanted: HashSet<String> =
        members.iter().map(|member| format!("socket:[{}]", member.inode)).collect();
    let mut found = Vec::new();
    let mut links = 0;
    let Ok(entries) = fs::read_dir("/proc") else { return found };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(descriptors) = fs::read_dir(entry.path().join("fd")) else { continue };
        let holds = descriptors.flatten().any(|descriptor| {
            links += 1;
            fs::read_link(descriptor.path())
                .is_ok_and(|target| target.to_str().is_some_and(|text| wanted.contains(text)))
        });
        if holds {
            let command = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            found.push((pid, command.trim_end().to_owned()));
        }
        if links >= MOST_LINKS {
            break;
        }
    }
    found
}

/// A dump request: `struct nlmsghdr`, `struct packet_diag_req`.
fn request() -> [u8; 36] {
    let mut bytes = [0; 36];
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    bytes[..4].copy_from_slice(&36u32.to_ne_bytes());
    bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
    bytes[16] = libc::AF_PACKET as u8;
    bytes[24..28].copy_from_slice(&SHOW.to_ne_bytes());
    bytes
}

/// Takes the members of `group` out of one reply; false after the last.
fn collect(mut reply: &[u8], group: u16, members: &mut Vec<Member>) -> io::Result<bool> {
    while let (Some(length), Some(kind)) = (number_32(reply, 0), number_16(reply, 4)) {
        match i32::from(kind) {
            libc::NLMSG_DONE => return Ok(false),
            libc::NLMSG_ERROR => {
                let errno = number_32(reply, HEADER_BYTES).unwrap_or(0).cast_signed();
                return Err(io::Error::from_raw_os_error(errno.wrapping_neg()));
            }
            _ => {}
        }
        let length = length as usize;
        let Some(message) = reply.get(HEADER_BYTES..length) else { break };
        members.extend(member(message, group));
        reply = reply.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(true)
}

fn member(message: &[u8], group: u16) -> Option<Member> {
    let protocol = number_16(message, 2)?;
    let inode = number_32(message, 4)?;
    let mut attributes = message.get(MESSAGE_BYTES..)?;
    let (mut interface, mut fanout) = (0, None);
    while let (Some(length), Some(kind)) = (number_16(attributes, 0), number_16(attributes, 2)) {
        let length = usize::from(length);
        if length < ATTRIBUTE_BYTES {
            break;
        }
        match kind {
            ATTRIBUTE_INFO => interface = number_32(attributes, ATTRIBUTE_BYTES)?,
            ATTRIBUTE_FANOUT => fanout = number_32(attributes, ATTRIBUTE_BYTES),
            _ => {}
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    let fanout = fanout?;
    let mode = (fanout >> 16) as u8;
    (fanout & 0xffff == u32::from(group)).then_some(Member { mode, interface, protocol, inode })
}

fn number_16(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*bytes))
}

fn number_32(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn a_member_is_read_out_of_a_reply() {
        let mut reply = vec![56, 0, 0, 0, 20, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        reply.extend([17, 3, 3, 0, 0x39, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        reply.extend([16, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        reply.extend([8, 0, 4, 0, 7, 0, 1, 0]);
        reply.extend([20, 0, 0, 0, 3, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let mut members = Vec::new();
        assert!(!collect(&reply, 7, &mut members).unwrap());
        let expected = Member { mode: 1, interface: 4, protocol: 3, inode: 1337 };
        assert_eq!(members, [expected]);
        members.clear();
        assert!(!collect(&reply, 8, &mut members).unwrap());
        assert_eq!(members, []);
    }

    #[test]
    fn any_bytes_give_a_clean_result() {
        proptest::proptest!(|(reply in proptest::collection::vec(0u8.., 0..200))| {
            let _ = collect(&reply, 0, &mut Vec::new());
        });
    }
}
