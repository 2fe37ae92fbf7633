//! One frame by recvmsg(2), with what a ring would have said of it.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};

use libc::{c_void, cmsghdr, sockaddr_ll, timespec, tpacket_auxdata};

use super::socket::PacketSocket;

/// A frame's bytes are in the caller's buffer; this is the rest.
#[derive(Clone, Copy, Default)]
pub(crate) struct Received {
    /// Bytes written to the buffer.
    pub(crate) bytes: usize,
    /// ns since the epoch; 0 without SO_TIMESTAMPNS.
    pub(crate) time_ns: u64,
    /// Original length and tag, with PACKET_AUXDATA.
    pub(crate) auxiliary: Option<Auxiliary>,
    pub(crate) packet_type: u8,
    pub(crate) hardware_type: u16,
}

/// `struct tpacket_auxdata` (packet(7)).
#[derive(Clone, Copy)]
pub(crate) struct Auxiliary {
    /// TP_STATUS_* bits.
    pub(crate) status: u32,
    pub(crate) wire_len: u32,
    pub(crate) vlan_tci: u16,
    pub(crate) vlan_tpid: u16,
}

/// Room for two control messages and more; of u64 for their alignment.
const CONTROL_WORDS: usize = 32;

/// Takes the next frame without waiting; the part that does not fit is lost.
pub(crate) fn receive(socket: &PacketSocket, buffer: &mut [u8]) -> io::Result<Received> {
    // SAFETY: a sockaddr_ll is plain data for which all zero bytes are valid.
    let mut address: sockaddr_ll = unsafe { std::mem::zeroed() };
    let mut control = [0u64; CONTROL_WORDS];
    let mut vector =
        libc::iovec { iov_base: buffer.as_mut_ptr().cast::<c_void>(), iov_len: buffer.len() };
    // SAFETY: a msghdr is plain data for which all zero bytes are valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = (&raw mut address).cast::<c_void>();
    message.msg_namelen = size_of::<sockaddr_ll>() as libc::socklen_t;
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast::<c_void>();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: every pointer in `message` describes a live local or the caller's buffer with its
    // own length; the kernel writes within them (recvmsg(2)).
    let got =
        unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    if got < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut received = Received {
        bytes: (got as usize).min(buffer.len()),
        packet_type: address.sll_pkttype,
        hardware_type: address.sll_hatype,
        ..Received::default()
    };
    // SAFETY: `message` was filled by the kernel and its control buffer is still in place.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !next.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give only headers inside `control`, which is
        // aligned for them.
        let header = unsafe { *next };
        control_message(&mut received, &header, next);
        // SAFETY: as for CMSG_FIRSTHDR; `next` came from it.
        next = unsafe { libc::CMSG_NXTHDR(&raw const message, next) };
    }
    Ok(received)
}

/// Reads a control message of the two kinds that were asked for; `at` is where `header` stands.
fn control_message(received: &mut Received, header: &cmsghdr, at: *const cmsghdr) {
    let holds = |bytes: usize| {
        // SAFETY: CMSG_LEN is arithmetic.
        header.cmsg_len >= unsafe { libc::CMSG_LEN(bytes as u32) } as usize
    };
    match (header.cmsg_level, header.cmsg_type) {
        (libc::SOL_PACKET, libc::PACKET_AUXDATA) if holds(size_of::<tpacket_auxdata>()) => {
            // SAFETY: the message's length was checked; the structure is plain integers.
            let data = unsafe { libc::CMSG_DATA(at).cast::<tpacket_auxdata>().read_unaligned() };
            received.auxiliary = Some(Auxiliary {
                status: data.tp_status,
                wire_len: data.tp_len,
                vlan_tci: data.tp_vlan_tci,
                vlan_tpid: data.tp_vlan_tpid,
            });
        }
        (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) if holds(size_of::<timespec>()) => {
            // SAFETY: the message's length was checked; the structure is plain integers.
            let time = unsafe { libc::CMSG_DATA(at).cast::<timespec>().read_unaligned() };
            let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
            received.time_ns = seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0);
        }
        _ => {}
    }
}
