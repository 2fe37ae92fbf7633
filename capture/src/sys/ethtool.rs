//! SIOCETHTOOL: what a driver tells of its interface (`include/uapi/linux/ethtool.h`).
//!
//! Read-only commands that need no privilege. Only those are used whose answer has a length fixed
//! by the ABI or bounded by the request: the kernel writes ETHTOOL_GSTATS and the driver's own
//! string sets as long as it likes.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::socket::PacketSocket;

const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GCOALESCE: u32 = 0x0e;
const ETHTOOL_GRINGPARAM: u32 = 0x10;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
const ETHTOOL_GRSSH: u32 = 0x46;
const ETH_SS_FEATURES: u32 = 4;
const ETH_GSTRING_LEN: usize = 32;

/// More than any kernel has; today's have about 60.
const MAX_FEATURES: usize = 1024;
/// Words of `struct ethtool_rxfh` before the table.
pub(crate) const RSS_HEAD: usize = 6;
/// More than any NIC has.
const MAX_INDIRECTION: u32 = 1 << 16;
const MAX_KEY_BYTES: u32 = 1 << 12;

/// `struct ethtool_ringparam`.
pub(crate) fn ring_parameters(interface: &str) -> io::Result<[u32; 9]> {
    let mut words = [0; 9];
    words[0] = ETHTOOL_GRINGPARAM;
    // SAFETY: the structure of this command is nine words.
    unsafe { ask(interface, words.as_mut_ptr().cast()) }?;
    Ok(words)
}

/// `struct ethtool_channels`.
pub(crate) fn channels(interface: &str) -> io::Result<[u32; 9]> {
    let mut words = [0; 9];
    words[0] = ETHTOOL_GCHANNELS;
    // SAFETY: the structure of this command is nine words.
    unsafe { ask(interface, words.as_mut_ptr().cast()) }?;
    Ok(words)
}

/// `struct ethtool_coalesce`.
pub(crate) fn coalescing(interface: &str) -> io::Result<[u32; 23]> {
    let mut words = [0; 23];
    words[0] = ETHTOOL_GCOALESCE;
    // SAFETY: the structure of this command is 23 words.
    unsafe { ask(interface, words.as_mut_ptr().cast()) }?;
    Ok(words)
}

/// The field `driver` of `struct ethtool_drvinfo`, NUL-padded.
pub(crate) fn driver(interface: &str) -> io::Result<[u8; 32]> {
    // Five texts of 32 bytes, 12 reserved bytes and five counts behind the command.
    let mut words = [0u32; 1 + 5 * 8 + 3 + 5];
    words[0] = ETHTOOL_GDRVINFO;
    // SAFETY: the structure of this command is 196 bytes, which is what `words` has.
    unsafe { ask(interface, words.as_mut_ptr().cast()) }?;
    let mut name = [0; 32];
    for (to, word) in name.chunks_exact_mut(4).zip(&words[1..9]) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    Ok(name)
}

/// Names of the kernel's offload features, in bit order; a bit without a name is empty.
pub(crate) fn feature_names(interface: &str) -> io::Result<Vec<String>> {
    let mut info = [ETHTOOL_GSSET_INFO, 0, 0, 0, 0];
    let mask = (1u64 << ETH_SS_FEATURES).to_ne_bytes();
    info[2] = u32::from_ne_bytes([mask[0], mask[1], mask[2], mask[3]]);
    info[3] = u32::from_ne_bytes([mask[4], mask[5], mask[6], mask[7]]);
    // SAFETY: command, reserved, a 64-bit mask and one word for the one bit set in it.
    unsafe { ask(interface, info.as_mut_ptr().cast()) }?;
    let count = info[4] as usize;
    if count > MAX_FEATURES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut answer = vec![0u8; 12 + count * ETH_GSTRING_LEN];
    for (to, word) in answer.chunks_exact_mut(4).zip([ETHTOOL_GSTRINGS, ETH_SS_FEATURES]) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    // SAFETY: three words and `count` strings; the number of features is a constant of the running
    // kernel (`NETDEV_FEATURE_COUNT`), so it is what the call above has told.
    unsafe { ask(interface, answer.as_mut_ptr().cast()) }?;
    let texts = answer.get(12..).unwrap_or_default();
    Ok(texts.chunks_exact(ETH_GSTRING_LEN).map(text).collect())
}

/// Four words for each 32 features: available, requested, active, never changed.
pub(crate) fn features(interface: &str, count: usize) -> io::Result<Vec<[u32; 4]>> {
    let blocks = count.min(MAX_FEATURES).div_ceil(32);
    let mut words = vec![0u32; 2 + 4 * blocks];
    words[0] = ETHTOOL_GFEATURES;
    words[1] = blocks as u32;
    // SAFETY: the kernel copies at most as many blocks as the second word allows, and `words` has
    // room for them.
    unsafe { ask(interface, words.as_mut_ptr().cast()) }?;
    Ok(words[2..].chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]).collect())
}

/// `struct ethtool_rxfh` with its indirection table and, behind it, the key.
pub(crate) fn rss(interface: &str) -> io::Result<Vec<u32>> {
    let mut head = [0u32; RSS_HEAD];
    head[0] = ETHTOOL_GRSSH;
    // SAFETY: with both sizes zero the kernel writes the head alone, six words.
    unsafe { ask(interface, head.as_mut_ptr().cast()) }?;
    let (table, key_bytes) = (head[2], head[3]);
    if table > MAX_INDIRECTION || key_bytes > MAX_KEY_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut words = vec![0u32; RSS_HEAD + table as usize + (key_bytes as usize).div_ceil(4)];
    words[0] = ETHTOOL_GRSSH;
    words[2] = table;
    words[3] = key_bytes;
    // SAFETY: the kernel answers only when both sizes are those of the device, and `words` has
    // room for a table and a key of these sizes behind the head.
    unsafe { ask(interface, words.as_mut_ptr().cast()) }?;
    Ok(words)
}

/// `PACKET_FANOUT` as the kernel tells it: group number, mode and flags of a member's group.
pub(crate) fn fanout_word(socket: &PacketSocket) -> io::Result<u32> {
    use std::os::fd::AsFd;
    let mut word = 0u32;
    let mut len = size_of::<u32>() as libc::socklen_t;
    // SAFETY: the buffer is `len` bytes of plain data that any bytes may fill.
    let rc = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_FANOUT,
            (&raw mut word).cast(),
            &raw mut len,
        )
    };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(word) }
}

/// Hands the structure behind `request` to the driver of `interface` and lets it write the answer.
///
/// # Safety
/// `request` must begin with a command and be as long as the kernel takes the structure of this
/// command to be.
unsafe fn ask(interface: &str, request: *mut libc::c_char) -> io::Result<()> {
    // SAFETY: an ifreq is plain data for which all zero bytes are valid.
    let mut ifreq: libc::ifreq = unsafe { std::mem::zeroed() };
    if interface.len() >= ifreq.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in ifreq.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    ifreq.ifr_ifru.ifru_data = request;
    // SAFETY: socket(2) takes no pointers; the result is checked before use.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` is a fresh descriptor (>= 0) that nobody else owns.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: the name is NUL-terminated because it is shorter than the zeroed field; what
    // `request` points to is long enough by this function's contract and outlives the call.
    let rc = unsafe { libc::ioctl(fd.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut ifreq) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The text before the first NUL.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
