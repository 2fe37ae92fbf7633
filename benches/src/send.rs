//! Sends frames onto an interface at a steady rate, and counts exactly what went out.
//!
//! A plain packet socket and `sendmmsg` in batches of up to 64: measured as fast as larger
//! batches, and faster than a transmit ring. Open loop: the schedule does not wait for the
//! receiver. Needs CAP_NET_RAW.

use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use afpacket::sync::RawPacketStream;
use etherparse::{Ipv6Header, LaxNetSlice, LaxSlicedPacket};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, LinkAddr, MsgFlags, MultiHeaders, sendmmsg};

/// Most frames handed to the kernel in one call.
pub const BATCH_FRAMES: usize = 64;

/// How long a full device queue is waited for.
pub const QUEUE_FULL_LIMIT: Duration = Duration::from_secs(10);

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sent {
    /// Frames the kernel accepted.
    pub packets: u64,
    /// IP bytes of those frames.
    pub ip_bytes: u64,
    /// From the first call to the end of the last.
    pub seconds: f64,
    /// How often the device queue was full and the frame was offered again.
    pub retries: u64,
}

impl Sent {
    /// Packets per second over the whole run; 0 when nothing was sent.
    pub fn rate_pps(&self) -> f64 {
        if self.seconds > 0.0 { self.packets as f64 / self.seconds } else { 0.0 }
    }
}

/// Why sending stopped.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The socket could not be opened.
    #[error("cannot open a packet socket (it needs root or CAP_NET_RAW)")]
    Open(#[source] io::Error),
    /// The interface is not there, or not usable.
    #[error("cannot use interface {interface}")]
    Interface {
        /// The name given.
        interface: String,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// The kernel refused a frame.
    #[error("frame {frame} ({frame_bytes} bytes) was refused")]
    Refused {
        /// Number of the frame, from 0.
        frame: u64,
        /// Its length; compare with the MTU plus 14.
        frame_bytes: usize,
        /// What the kernel says.
        #[source]
        source: Errno,
    },
}

/// A socket bound to one interface, for sending only.
pub struct Sender {
    socket: RawPacketStream,
    headers: MultiHeaders<LinkAddr>,
    rate_pps: u64,
    batch_frames: usize,
    frames: Vec<Vec<u8>>,
    ip_bytes: [u32; BATCH_FRAMES],
    filled: usize,
    started: Option<Instant>,
    sent: Sent,
}

impl Sender {
    /// Opens a socket on `interface`; `rate_pps` 0 sends as fast as the kernel takes it.
    ///
    /// # Errors
    /// Without the capability, or when the interface does not exist or is down.
    pub fn open(interface: &str, rate_pps: u64) -> Result<Sender, SendError> {
        let mut socket = RawPacketStream::new().map_err(SendError::Open)?;
        // One instruction, "return 0": the socket would otherwise also queue all it could receive.
        socket.set_bpf_filter(vec![(0x06, 0, 0, 0)]).map_err(SendError::Open)?;
        socket
            .bind(interface)
            .map_err(|source| SendError::Interface { interface: interface.to_owned(), source })?;
        Ok(Sender {
            socket,
            headers: MultiHeaders::preallocate(BATCH_FRAMES, None),
            rate_pps,
            batch_frames: batch_frames(rate_pps),
            frames: vec![Vec::new(); BATCH_FRAMES],
            ip_bytes: [0; BATCH_FRAMES],
            filled: 0,
            started: None,
            sent: Sent::default(),
        })
    }

    /// Takes one frame, and sends when a batch is complete and due. A schedule that fell behind
    /// is caught up with.
    ///
    /// # Errors
    /// When the kernel refuses a frame for another reason than a full queue, or the queue stays
    /// full for [`QUEUE_FULL_LIMIT`].
    pub fn push(&mut self, frame: &[u8], ip_bytes: u32) -> Result<(), SendError> {
        let slot = &mut self.frames[self.filled];
        slot.clear();
        slot.extend_from_slice(frame);
        self.ip_bytes[self.filled] = ip_bytes;
        self.filled += 1;
        if self.filled == self.batch_frames { self.flush() } else { Ok(()) }
    }

    /// Sends what is left and says what was sent in all.
    ///
    /// # Errors
    /// As [`Sender::push`].
    pub fn finish(mut self) -> Result<Sent, SendError> {
        self.flush()?;
        let seconds = self.started.map_or(0.0, |started| started.elapsed().as_secs_f64());
        Ok(Sent { seconds, ..self.sent })
    }

    fn flush(&mut self) -> Result<(), SendError> {
        let filled = std::mem::take(&mut self.filled);
        let started = *self.started.get_or_insert_with(Instant::now);
        if self.rate_pps > 0 {
            wait_until(started + due(self.sent.packets, self.rate_pps));
        }
        let mut done = 0;
        let mut full_since: Option<Instant> = None;
        while done < filled {
            match self.offer(done, filled) {
                Ok(accepted) => {
                    let ip_bytes = &self.ip_bytes[done..done + accepted];
                    self.sent.packets += accepted as u64;
                    self.sent.ip_bytes += ip_bytes.iter().copied().map(u64::from).sum::<u64>();
                    done += accepted;
                    full_since = None;
                }
                Err(Errno::EINTR) => {}
                // What is in the device's queue leaves at the speed of the link.
                Err(Errno::ENOBUFS | Errno::EAGAIN)
                    if full_since.get_or_insert_with(Instant::now).elapsed() < QUEUE_FULL_LIMIT =>
                {
                    self.sent.retries += 1;
                    thread::sleep(Duration::from_micros(100));
                }
                Err(source) => {
                    let (frame, frame_bytes) = (self.sent.packets, self.frames[done].len());
                    return Err(SendError::Refused { frame, frame_bytes, source });
                }
            }
        }
        Ok(())
    }

    /// Offers frames `from..to` of the batch to the kernel; says how many it took.
    fn offer(&mut self, from: usize, to: usize) -> Result<usize, Errno> {
        let slices: Vec<[IoSlice<'_>; 1]> =
            self.frames[from..to].iter().map(|frame| [IoSlice::new(frame)]).collect();
        let no_addresses = [None; BATCH_FRAMES];
        let no_control: [ControlMessage<'_>; 0] = [];
        let socket = self.socket.as_raw_fd();
        sendmmsg(socket, &mut self.headers, &slices, no_addresses, no_control, MsgFlags::empty())
            .map(Iterator::count)
    }
}

/// IP bytes of an Ethernet frame as its IP header states them; 0 when it carries no IP.
///
/// By etherparse and not by our own parser: what was sent should be counted by someone else than
/// the probe that is held against it.
pub fn ip_bytes(frame: &[u8]) -> u32 {
    let Ok(packet) = LaxSlicedPacket::from_ethernet(frame) else { return 0 };
    match packet.net {
        Some(LaxNetSlice::Ipv4(ip)) => u32::from(ip.header().total_len()),
        Some(LaxNetSlice::Ipv6(ip)) => {
            Ipv6Header::LEN as u32 + u32::from(ip.header().payload_length())
        }
        _ => 0,
    }
}

/// A batch covers at most a millisecond of the schedule, so that slow rates are not bursts.
fn batch_frames(rate_pps: u64) -> usize {
    if rate_pps == 0 {
        return BATCH_FRAMES;
    }
    (rate_pps / 1000).clamp(1, BATCH_FRAMES as u64) as usize
}

/// When packet number `packets` is due after the start.
fn due(packets: u64, rate_pps: u64) -> Duration {
    let ns = u128::from(packets) * 1_000_000_000 / u128::from(rate_pps);
    Duration::from_nanos(ns as u64)
}

fn wait_until(when: Instant) {
    // Timers are late by their slack of 50 µs and a wake-up; the rest is waited for awake.
    const SLEEP_MARGIN: Duration = Duration::from_micros(120);
    loop {
        let left = when.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        if left > SLEEP_MARGIN {
            thread::sleep(left - SLEEP_MARGIN);
        } else {
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    #[test]
    fn slow_rates_go_one_by_one_and_fast_ones_in_full_batches() {
        assert_eq!(batch_frames(1), 1);
        assert_eq!(batch_frames(1999), 1);
        assert_eq!(batch_frames(32_000), 32);
        assert_eq!(batch_frames(1_000_000), 64);
        assert_eq!(batch_frames(0), 64);
    }

    #[test]
    fn the_schedule_does_not_drift() {
        assert_eq!(due(0, 3), Duration::ZERO);
        assert_eq!(due(1, 3), Duration::from_nanos(333_333_333));
        assert_eq!(due(3_000_000_000, 3), Duration::from_secs(1_000_000_000));
    }

    #[test]
    fn ip_bytes_come_from_the_header_and_not_from_the_frame() {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .udp(1, 2)
            .write_to_vec(&mut frame, b"abc")
            .unwrap();
        frame.resize(60, 0);
        assert_eq!(ip_bytes(&frame), 20 + 8 + 3);
        frame.clear();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv6([1; 16], [2; 16], 64)
            .udp(1, 2)
            .write_to_vec(&mut frame, &[0; 100])
            .unwrap();
        assert_eq!(ip_bytes(&frame), 40 + 8 + 100);
        assert_eq!(ip_bytes(b"short"), 0);
        assert_eq!(ip_bytes(&[0; 60]), 0);
    }

    #[test]
    fn an_interface_that_is_not_there_is_named() {
        match Sender::open("nosuch0", 0).err() {
            Some(SendError::Interface { interface, .. }) => assert_eq!(interface, "nosuch0"),
            Some(SendError::Open(_)) => eprintln!("skipped: no right to open packet sockets"),
            other => panic!("{other:?}"),
        }
    }
}
