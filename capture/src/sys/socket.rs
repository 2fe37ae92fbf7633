//! An AF_PACKET socket and its options, as an owned value.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use afpacket::sync::RawPacketStream;
use libc::{c_int, c_uint, c_void, sock_filter, socklen_t};

/// A packet socket. Closed when dropped; the kernel then leaves groups and memberships.
pub(crate) struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Opens a raw socket that receives nothing until it is bound: protocol 0 (packet(7)).
    pub(crate) fn open() -> io::Result<Self> {
        Self::open_kind(libc::SOCK_RAW)
    }

    /// The same, for frames without their link header.
    pub(crate) fn open_cooked() -> io::Result<Self> {
        Self::open_kind(libc::SOCK_DGRAM)
    }

    fn open_kind(kind: c_int) -> io::Result<Self> {
        // SAFETY: socket(2) takes no pointers; the result is checked before use.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` is a fresh descriptor (>= 0) that nobody else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// A second handle of the stream's socket; it lives on when the stream is dropped.
    pub(crate) fn of_stream(stream: &RawPacketStream) -> io::Result<Self> {
        // SAFETY: the stream owns its descriptor and outlives this call.
        let fd = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
        Ok(Self(fd.try_clone_to_owned()?))
    }

    /// Sets a plain-data socket option.
    pub(crate) fn set<T: Copy>(&self, level: c_int, option: c_int, value: &T) -> io::Result<()> {
        // SAFETY: pointer and length describe `value`, which outlives the call; the kernel only
        // reads it (setsockopt(2)).
        let rc = unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                level,
                option,
                std::ptr::from_ref(value).cast::<c_void>(),
                size_of::<T>() as socklen_t,
            )
        };
        check(rc)
    }

    /// Sets one `int` option at SOL_PACKET.
    pub(crate) fn set_packet_int(&self, option: c_int, value: c_int) -> io::Result<()> {
        self.set(libc::SOL_PACKET, option, &value)
    }

    /// Reads an option of plain data; `value` is left as it is beyond what the kernel writes.
    fn get<T: Copy>(&self, level: c_int, option: c_int, mut value: T) -> io::Result<T> {
        let mut len = size_of::<T>() as socklen_t;
        // SAFETY: the buffer is `len` bytes, and callers pass integers or structures of integers,
        // for which any bytes are valid (getsockopt(2)).
        let rc = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                level,
                option,
                (&raw mut value).cast::<c_void>(),
                &raw mut len,
            )
        };
        check(rc).map(|()| value)
    }

    /// Reads one 32-bit option at SOL_PACKET.
    pub(crate) fn packet_number(&self, option: c_int) -> io::Result<u32> {
        self.get(libc::SOL_PACKET, option, 0u32)
    }

    /// Index of the interface the socket is bound to: 0 for all, -1 once it was deleted or left
    /// the namespace (net/packet/af_packet.c, packet_notifier).
    pub(crate) fn bound_interface(&self) -> io::Result<c_int> {
        // SAFETY: a sockaddr_ll is plain data for which all zero bytes are valid.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        let mut len = size_of::<libc::sockaddr_ll>() as socklen_t;
        // SAFETY: the buffer is `len` bytes of plain data that any bytes may fill.
        let rc = unsafe {
            libc::getsockname(
                self.0.as_raw_fd(),
                (&raw mut address).cast::<libc::sockaddr>(),
                &raw mut len,
            )
        };
        check(rc).map(|()| address.sll_ifindex)
    }

    /// Reads and thereby resets the ring's statistics (packet(7), PACKET_STATISTICS).
    pub(crate) fn take_statistics(&self) -> io::Result<libc::tpacket_stats_v3> {
        let zero = libc::tpacket_stats_v3 { tp_packets: 0, tp_drops: 0, tp_freeze_q_cnt: 0 };
        // Without TPACKET_V3 the kernel writes the first two.
        self.get(libc::SOL_PACKET, libc::PACKET_STATISTICS, zero)
    }

    /// Takes the socket's pending error (SO_ERROR), e.g. ENETDOWN after the interface went down.
    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        let code: c_int = self.get(libc::SOL_SOCKET, libc::SO_ERROR, 0)?;
        Ok((code != 0).then(|| io::Error::from_raw_os_error(code)))
    }

    /// Attaches a classic BPF program, replacing the one before (socket(7), SO_ATTACH_FILTER).
    pub(crate) fn attach_filter(&self, program: &[sock_filter]) -> io::Result<()> {
        let len = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        // The kernel copies the program and does not write through the pointer.
        let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
        self.set(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
    }

    /// Binds to one interface for every protocol; 0 means all interfaces.
    pub(crate) fn bind(&self, interface_index: c_uint) -> io::Result<()> {
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
            sll_ifindex: c_int::try_from(interface_index)
                .map_err(|_| io::ErrorKind::InvalidInput)?,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        // SAFETY: pointer and length describe `address`, which outlives the call.
        let rc = unsafe {
            libc::bind(
                self.0.as_raw_fd(),
                (&raw const address).cast::<libc::sockaddr>(),
                size_of::<libc::sockaddr_ll>() as socklen_t,
            )
        };
        check(rc)
    }

    /// Joins promiscuous mode for the socket's life: counted by the kernel, gone when it closes.
    pub(crate) fn join_promiscuous(&self, interface_index: c_uint) -> io::Result<()> {
        let request = libc::packet_mreq {
            mr_ifindex: c_int::try_from(interface_index)
                .map_err(|_| io::ErrorKind::InvalidInput)?,
            mr_type: libc::PACKET_MR_PROMISC as u16,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        self.set(libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Hardware type (ARPHRD_*) and MAC of an interface in this network namespace (netdevice(7)).
pub(crate) fn interface_address(name: &str) -> io::Result<(u16, [u8; 6])> {
    // SAFETY: an ifreq is plain data for which all zero bytes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    // SAFETY: socket(2) takes no pointers; the result is checked before use.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` is a fresh descriptor (>= 0) that nobody else owns.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: SIOCGIFHWADDR reads and writes one ifreq, which `request` is; the name is
    // NUL-terminated because it is shorter than the zeroed field.
    let rc = unsafe { libc::ioctl(fd.as_raw_fd(), libc::SIOCGIFHWADDR, &raw mut request) };
    check(rc)?;
    // SAFETY: the ioctl succeeded, so the union holds `ifr_hwaddr`; it is plain data in any case.
    let address = unsafe { request.ifr_ifru.ifru_hwaddr };
    let mut mac = [0u8; 6];
    for (to, from) in mac.iter_mut().zip(address.sa_data) {
        *to = from.cast_unsigned();
    }
    Ok((address.sa_family, mac))
}

fn check(rc: c_int) -> io::Result<()> {
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
