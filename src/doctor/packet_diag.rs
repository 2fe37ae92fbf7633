//! Every packet socket of this network namespace, by NETLINK_SOCK_DIAG (sock_diag(7),
//! `include/uapi/linux/packet_diag.h`). Needs no privilege.

use std::io;
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
    sockopt::ReceiveTimeout,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// More sockets than this are not listed.
const MAX_SOCKETS: usize = 1 << 16;
const MAX_MESSAGES: usize = 1 << 16;
const TIMEOUT_SECONDS: i64 = 2;

const AF_PACKET: u8 = 17;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// NLM_F_REQUEST and NLM_F_DUMP.
const REQUEST_ALL: u16 = 0x301;
/// PACKET_SHOW_INFO, _RING_CFG and _FANOUT.
const SHOW: u32 = 0x01 | 0x04 | 0x08;
const DIAG_INFO: u16 = 0;
const DIAG_RX_RING: u16 = 2;
const DIAG_FANOUT: u16 = 4;
const HEADER_BYTES: usize = 16;
const MESSAGE_BYTES: usize = 16;

/// A packet socket of some process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketSocket {
    /// Inode, by which its owner is found.
    pub inode: u32,
    /// Interface it is bound to; 0 is every interface.
    pub interface: u32,
    /// Protocol it receives, host order; 3 is everything (ETH_P_ALL), 0 nothing.
    pub protocol: u16,
    /// Bytes of its receive ring, if it has one.
    pub ring_bytes: Option<u64>,
    /// Its fanout group and mode (PACKET_FANOUT_*).
    pub group: Option<(u16, u8)>,
}

/// Asks the kernel for all packet sockets of this network namespace.
///
/// # Errors
/// The kernel's word; ENOENT where it was built without packet_diag.
pub fn sockets() -> io::Result<Vec<PacketSocket>> {
    let fd = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    setsockopt(&fd, ReceiveTimeout, &TimeVal::seconds(TIMEOUT_SECONDS))?;
    send(fd.as_raw_fd(), &request(), MsgFlags::empty())?;
    let mut found = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    for _ in 0..MAX_MESSAGES {
        let length = recv(fd.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let done = take(buffer.get(..length).unwrap_or_default(), &mut found)?;
        if done || found.len() >= MAX_SOCKETS {
            break;
        }
    }
    Ok(found)
}

fn request() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(36);
    bytes.extend(36u32.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(REQUEST_ALL.to_ne_bytes());
    // Sequence and port number, then `struct packet_diag_req`.
    bytes.extend([0; 8]);
    bytes.extend([AF_PACKET, 0, 0, 0]);
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend(SHOW.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes
}

/// Adds the sockets of one datagram; true when the answer is complete.
pub fn take(mut datagram: &[u8], found: &mut Vec<PacketSocket>) -> io::Result<bool> {
    while let Some((length, kind, body)) = message(datagram) {
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let code = body.get(..4).and_then(|b| b.try_into().ok()).map(i32::from_ne_bytes);
                return Err(io::Error::from_raw_os_error(code.unwrap_or(0).saturating_neg()));
            }
            SOCK_DIAG_BY_FAMILY => found.extend(packet_socket(body)),
            _ => {}
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// Length, type and body of the first message.
fn message(bytes: &[u8]) -> Option<(usize, u16, &[u8])> {
    let length = u32_at(bytes, 0)? as usize;
    let kind = u16_at(bytes, 4)?;
    Some((length, kind, bytes.get(HEADER_BYTES..length)?))
}

fn packet_socket(body: &[u8]) -> Option<PacketSocket> {
    let mut socket = PacketSocket {
        protocol: u16_at(body, 2)?,
        inode: u32_at(body, 4)?,
        ..PacketSocket::default()
    };
    let mut attributes = body.get(MESSAGE_BYTES..)?;
    while let (Some(length), Some(kind)) = (u16_at(attributes, 0), u16_at(attributes, 2)) {
        let length = usize::from(length);
        let Some(value) = attributes.get(4..length) else { break };
        match kind {
            DIAG_INFO => socket.interface = u32_at(value, 0)?,
            DIAG_RX_RING => {
                let (block, count) = (u32_at(value, 0)?, u32_at(value, 4)?);
                socket.ring_bytes = Some(u64::from(block) * u64::from(count));
            }
            DIAG_FANOUT => {
                let word = u32_at(value, 0)?;
                socket.group = Some((word as u16, (word >> 16) as u8));
            }
            _ => {}
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(socket)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        [&length.to_ne_bytes(), &kind.to_ne_bytes(), value].concat()
    }

    fn framed(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(16 + body.len()).unwrap();
        [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], body].concat()
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn a_ring_in_a_group_is_read_with_its_interface() {
        let head = [&[17, 3][..], &3u16.to_ne_bytes(), &words(&[4711, 0, 0])].concat();
        let body = [
            head,
            attribute(0, &words(&[2, 2, 0, 0, 0, 9])),
            attribute(2, &words(&[1 << 20, 128, 2048, 65536, 10, 0, 0])),
            attribute(4, &words(&[7 | 6 << 16])),
        ]
        .concat();
        let datagram = [framed(20, &body), framed(3, &[0; 4])].concat();
        let mut found = Vec::new();
        assert!(take(&datagram, &mut found).unwrap());
        let expected = PacketSocket {
            inode: 4711,
            interface: 2,
            protocol: 3,
            ring_bytes: Some(128 << 20),
            group: Some((7, 6)),
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn a_refusal_is_the_kernel_s_error() {
        let refusal = framed(2, &(-2i32).to_ne_bytes());
        let error = take(&refusal, &mut Vec::new()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(2));
    }

    #[test]
    fn this_kernel_answers() {
        // ENOENT: built without packet_diag.
        if let Err(error) = sockets() {
            assert_eq!(error.raw_os_error(), Some(2));
        }
    }
}
