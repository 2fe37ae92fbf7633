//! Frames by plain reads, where the kernel has no ring to give (design D16).
//!
//! The socket is that of the `afpacket` crate. Frames are read into a block of the ring's shape, so
//! the walk over it is the ring's. About a hundred times dearer per packet than a ring, and the
//! socket's buffer is all there is between the kernel and the reader.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use afpacket::sync::RawPacketStream;

use crate::block::{Block, Reading};
use crate::config::RingConfig;
use crate::error::{CaptureError, opening};
use crate::fanout::Joined;
use crate::filter::Filter;
use crate::interface::Interface;
use crate::ring::vnet_header;
use crate::sys::{
    FrameHead, HEAD_BYTES, PacketSocket, RawBlock, Received, put_block_head, put_frame_head,
    receive,
};
use crate::tap::{self, RingStats, Tap, Wait};

/// Of `struct virtio_net_hdr`.
const VNET_BYTES: usize = 10;
/// Room for the largest frame Linux delivers (BIG TCP, about 200 KB).
const FRAME_BYTES: usize = 256 << 10;
const BLOCK_BYTES: usize = 1 << 20;
/// Linux may be asked for less than a gigabyte of socket buffer.
const MOST_BUFFER_BYTES: usize = 512 << 20;

/// A packet socket without a ring. Closing it leaves the group.
pub struct Plain {
    tap: Tap,
    block: Vec<u8>,
}

impl Plain {
    /// Opens a socket on `interface` and starts to receive. Of the ring's sizes only their product
    /// counts: the socket buffer is that large, as far as the kernel allows.
    ///
    /// # Errors
    /// The first step the kernel refused, in words.
    pub fn open(interface: &Interface, config: &RingConfig) -> Result<Self, CaptureError> {
        config.validate()?;
        let (linktype, cooked) = tap::readable(interface)?;
        let socket = if cooked { PacketSocket::open_cooked() } else { every_frame() };
        let socket = socket.map_err(opening)?;
        let mut notes = Vec::new();
        let bytes = config.block_bytes.saturating_mul(config.blocks).min(MOST_BUFFER_BYTES);
        // The kernel doubles it and needs CAP_NET_ADMIN beyond net.core.rmem_max.
        let bytes = i32::try_from(bytes / 2).unwrap_or(i32::MAX);
        if socket.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &bytes).is_err() {
            let _ = socket.set(libc::SOL_SOCKET, libc::SO_RCVBUF, &bytes);
            notes.push("the socket buffer is limited to net.core.rmem_max".to_owned());
        }
        if let Err(error) = socket.set_packet_int(libc::PACKET_AUXDATA, 1) {
            notes.push(format!("VLAN tags and lengths of cut frames are unknown ({error})"));
        }
        if socket.set(libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &1i32).is_err() {
            notes.push("frames bear the time they were read at, not received".to_owned());
        }
        let vnet = !cooked && vnet_header(&socket, &mut notes);
        let mut tap = Tap::new(socket, interface, config, linktype, vnet)?;
        tap.notes.splice(0..0, notes);
        Ok(Self { tap, block: vec![0; BLOCK_BYTES] })
    }

    /// Reads the frames at hand into a block; `None` when there are none.
    pub fn next_block(&mut self) -> Option<Block<'_>> {
        let mut at = HEAD_BYTES.next_multiple_of(16);
        let mut frames = 0;
        while at + FrameHead::DATA_OFFSET + FRAME_BYTES <= self.block.len() {
            match self.read(at) {
                Ok(Some(next)) => {
                    at = next;
                    frames += 1;
                }
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    self.tap.pending = Some(error);
                    break;
                }
            }
        }
        put_block_head(&mut self.block, frames);
        (frames > 0).then(|| Block::of_plain(self))
    }

    /// Waits until frames may be ready, at most `timeout` (rounded down to ms).
    ///
    /// # Errors
    /// A poll that failed for another reason than a signal or the interface's state.
    pub fn wait(&mut self, timeout: Duration) -> Result<Wait, CaptureError> {
        self.tap.wait(timeout)
    }

    /// Replaces the filter; `None` accepts everything.
    ///
    /// # Errors
    /// The kernel's refusal; the old filter stays then.
    pub fn set_filter(&mut self, filter: Option<&Filter>) -> Result<(), CaptureError> {
        self.tap.set_filter(filter)
    }

    /// Takes no further frames in. What the kernel has taken can be read at once.
    ///
    /// # Errors
    /// The kernel's refusal, which open sockets do not see.
    pub fn silence(&mut self) -> Result<(), CaptureError> {
        self.tap.silence()
    }

    /// Reads the kernel's counters and returns the sums since the socket was opened. It never
    /// freezes.
    ///
    /// # Errors
    /// The kernel's refusal, which open sockets do not see.
    pub fn stats(&mut self) -> Result<RingStats, CaptureError> {
        self.tap.stats()
    }

    /// LINKTYPE number of the frames.
    pub fn linktype(&self) -> u32 {
        self.tap.reading.linktype
    }

    /// Whether the kernel tells segmentation offload (PACKET_VNET_HDR).
    pub fn has_vnet_header(&self) -> bool {
        self.tap.reading.vnet_header
    }

    /// The fanout group the socket is a member of.
    pub fn fanout(&self) -> Option<&Joined> {
        self.tap.fanout.as_ref()
    }

    /// What is not as it was asked for or as it should be, one line each, for the log.
    pub fn notes(&self) -> &[String] {
        &self.tap.notes
    }

    pub(crate) fn reading(&self) -> Reading {
        self.tap.reading
    }

    pub(crate) fn raw_block(&self) -> RawBlock<'_> {
        RawBlock::new(&self.block)
    }

    /// Reads one frame to the place at `at`; gives the next place, or `None` for a frame without
    /// its vnet header, which the kernel does not send.
    fn read(&mut self, at: usize) -> io::Result<Option<usize>> {
        let header = if self.tap.reading.vnet_header { VNET_BYTES } else { 0 };
        let data = at + FrameHead::DATA_OFFSET;
        let buffer = self
            .block
            .get_mut(data - header..data + FRAME_BYTES)
            .ok_or(io::ErrorKind::WouldBlock)?;
        let received = receive(&self.tap.socket, buffer)?;
        let Some(captured) = received.bytes.checked_sub(header) else { return Ok(None) };
        let head = head(&received, captured as u32);
        Ok(Some(put_frame_head(&mut self.block, at, &head)))
    }
}

fn head(received: &Received, captured: u32) -> FrameHead {
    let time_ns = match received.time_ns {
        0 => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64,
        time_ns => time_ns,
    };
    let auxiliary = received.auxiliary;
    FrameHead {
        time_ns,
        captured,
        wire_len: auxiliary.map_or(captured, |auxiliary| auxiliary.wire_len),
        status: auxiliary.map_or(0, |auxiliary| auxiliary.status),
        vlan_tci: auxiliary.map_or(0, |auxiliary| auxiliary.vlan_tci),
        vlan_tpid: auxiliary.map_or(0, |auxiliary| auxiliary.vlan_tpid),
        packet_type: received.packet_type,
        hardware_type: received.hardware_type,
    }
}

/// A raw socket, silenced: the crate's receives from every interface as soon as it is open.
fn every_frame() -> io::Result<PacketSocket> {
    let mut stream = RawPacketStream::new()?;
    let silence = Filter::drop_all();
    let program = silence.instructions().iter().map(|i| (i.code, i.jt, i.jf, i.k));
    stream.set_bpf_filter(program.collect())?;
    stream.drain();
    PacketSocket::of_stream(&stream)
}
