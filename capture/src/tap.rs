//! What ring and plain source share: the socket from bind to close.
//!
//! The order is the one the kernel accepts without doubles: drop-all filter → bind → promiscuous →
//! join a group → real filter.

use std::io;
use std::ops::AddAssign;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::block::Reading;
use crate::config::RingConfig;
use crate::error::{CaptureError, step};
use crate::fanout::{self, Joined};
use crate::filter::Filter;
use crate::hardware;
use crate::interface::Interface;
use crate::sys::PacketSocket;

/// Result of waiting for a block.
#[derive(Debug)]
pub enum Wait {
    /// A block may be ready.
    Ready,
    /// The time is over.
    Timeout,
    /// The interface went down, reported once; frames may come again when it is back.
    Down(io::Error),
    /// The interface was deleted or moved to another namespace; nothing will come any more, even
    /// if one of the same name appears. Reported by every wait from then on.
    Gone,
}

/// Counters of one source since it was opened (packet(7), PACKET_STATISTICS).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingStats {
    /// Frames that passed the filter, dropped ones included.
    pub packets: u64,
    /// Frames the kernel dropped because every block was full.
    pub drops: u64,
    /// Times the ring stood frozen because every block was full.
    pub freezes: u64,
}

impl AddAssign for RingStats {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.drops += other.drops;
        self.freezes += other.freezes;
    }
}

/// A socket that receives what was asked for.
pub(crate) struct Tap {
    /// Bytes taken of a frame, which the filter says.
    snap_bytes: u32,
    pub(crate) socket: PacketSocket,
    pub(crate) reading: Reading,
    pub(crate) fanout: Option<Joined>,
    pub(crate) notes: Vec<String>,
    stats: RingStats,
    /// An error that a read has met, for the next wait to report.
    pub(crate) pending: Option<io::Error>,
    /// The interface went down once, so it may have vanished since: deletion is no second error.
    went_down: bool,
}

/// LINKTYPE of what sockets on this interface deliver, and whether they must be cooked.
pub(crate) fn readable(interface: &Interface) -> Result<(u32, bool), CaptureError> {
    let Some(linktype) = interface.linktype else {
        return Err(CaptureError::LinkType {
            interface: interface.name.clone(),
            number: interface.hardware_type,
            name: interface.hardware_name(),
        });
    };
    Ok((linktype, hardware::is_cooked(interface.hardware_type)))
}

impl Tap {
    /// Binds the socket and starts to receive.
    pub(crate) fn new(
        socket: PacketSocket,
        interface: &Interface,
        config: &RingConfig,
        linktype: u32,
        vnet_header: bool,
    ) -> Result<Self, CaptureError> {
        let mut notes = Vec::new();
        // Between bind and the join a socket gets every frame, also those of other members.
        socket
            .attach_filter(Filter::drop_all().instructions())
            .map_err(step("attaching the drop-all filter"))?;
        socket.bind(interface.index).map_err(step("binding to the interface"))?;
        let any = interface.index == 0;
        if config.promiscuous && any {
            notes.push("promiscuous mode has no meaning for every interface at once".to_owned());
        } else if config.promiscuous {
            socket.join_promiscuous(interface.index).map_err(step("entering promiscuous mode"))?;
        }
        // On loopback the kernel delivers every frame twice, once as outgoing.
        let skip_outgoing =
            interface.loopback || config.fanout.is_some_and(|fanout| fanout.ignore_outgoing);
        let mut joined = None;
        if let Some(group) = config.fanout {
            let group = fanout::join(&socket, group, interface).map_err(CaptureError::Fanout)?;
            notes.extend(group.note.clone());
            joined = Some(group);
        } else if skip_outgoing {
            // Older kernels lack it; the walk over the block skips them all the same.
            let _ = socket.set_packet_int(libc::PACKET_IGNORE_OUTGOING, 1);
        }
        notes.extend(config.filter.as_ref().and_then(Filter::note).map(str::to_owned));
        let filter = real_filter(config.filter.as_ref(), config.snap_bytes);
        socket.attach_filter(filter.instructions()).map_err(step("attaching the filter"))?;
        Ok(Self {
            socket,
            snap_bytes: config.snap_bytes,
            reading: Reading { linktype, vnet_header, skip_outgoing, any },
            fanout: joined,
            notes,
            stats: RingStats::default(),
            pending: None,
            went_down: false,
        })
    }

    /// Replaces the filter; the kernel goes from one to the other between two frames.
    pub(crate) fn set_filter(&self, filter: Option<&Filter>) -> Result<(), CaptureError> {
        let filter = real_filter(filter, self.snap_bytes);
        self.socket.attach_filter(filter.instructions()).map_err(step("replacing the filter"))
    }

    /// Takes no further frames in.
    pub(crate) fn silence(&self) -> Result<(), CaptureError> {
        let silence = Filter::drop_all();
        self.socket.attach_filter(silence.instructions()).map_err(step("closing the filter"))
    }

    /// Waits until frames may be ready, at most `timeout` (rounded down to ms).
    pub(crate) fn wait(&mut self, timeout: Duration) -> Result<Wait, CaptureError> {
        if let Some(error) = self.pending.take() {
            return Ok(self.down(error));
        }
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) if self.is_gone() => return Ok(Wait::Gone),
            Ok(0) | Err(Errno::EINTR) => return Ok(Wait::Timeout),
            Ok(_) => {}
            Err(errno) => return Err(step("waiting for frames")(errno.into())),
        }
        let events = fds[0].revents().unwrap_or(PollFlags::empty());
        if events.contains(PollFlags::POLLERR) {
            // packet(7): ENETDOWN is reported once when the interface goes down.
            if let Some(error) = self.socket.take_error().map_err(step("reading SO_ERROR"))? {
                return Ok(self.down(error));
            }
        }
        Ok(Wait::Ready)
    }

    /// Reads the kernel's counters and returns the sums since the socket was opened.
    pub(crate) fn stats(&mut self) -> Result<RingStats, CaptureError> {
        let now = self.socket.take_statistics().map_err(step("reading PACKET_STATISTICS"))?;
        self.stats.packets += u64::from(now.tp_packets);
        self.stats.drops += u64::from(now.tp_drops);
        self.stats.freezes += u64::from(now.tp_freeze_q_cnt);
        Ok(self.stats)
    }

    fn down(&mut self, error: io::Error) -> Wait {
        self.went_down = true;
        if self.is_gone() { Wait::Gone } else { Wait::Down(error) }
    }

    /// Asks the kernel only when there was a sign of it.
    fn is_gone(&self) -> bool {
        self.went_down && self.socket.bound_interface().is_ok_and(|index| index < 0)
    }
}

/// What the kernel is to run: the filter, which also says how much of a frame is taken.
fn real_filter(filter: Option<&Filter>, snap_bytes: u32) -> Filter {
    match filter {
        Some(filter) => filter.with_snap_length(snap_bytes),
        None => Filter::accept(snap_bytes),
    }
}
