//! Replay with several readers: one thread reads the file and deals the frames out.
//!
//! Frames go to readers by a symmetric hash of their addresses, as the kernel's groups do, so that
//! both directions of a conversation and all fragments meet in one reader. Times and frame numbers
//! are those of the file: what is exported does not depend on the number of readers.

use capture::{Frame, PacketType};
use crossbeam_channel::{Receiver, Sender, bounded};
use decode::{Link, Outcome, Packet};
use flowtable::Moment;

use super::reader::Reader;

/// Frames in a parcel.
const FRAMES: usize = 1024;
/// Bytes in a parcel, roughly.
const BYTES: usize = 1 << 18;
/// Parcels that wait for one reader.
const WAITING: usize = 8;

/// What the dealing thread hands to a reader.
enum Parcel {
    Frames(Batch),
    Tick(Moment),
    End(Moment),
}

/// Frames copied out of the file's buffer.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    frames: Vec<Copied>,
}

struct Copied {
    time_ns: u64,
    now: Moment,
    number: u64,
    end: usize,
    wire_len: u32,
    linktype: u32,
}

/// The dealing end: one lane per reader.
pub(super) struct Dealer {
    lanes: Vec<Lane>,
    scratch: Packet,
}

struct Lane {
    open: Batch,
    parcels: Sender<Parcel>,
    used: Receiver<Batch>,
}

/// A reader's end of its lane.
pub(super) struct Hand {
    parcels: Receiver<Parcel>,
    used: Sender<Batch>,
}

/// Makes lanes for `readers` readers.
pub(super) fn lanes(readers: usize) -> (Dealer, Vec<Hand>) {
    let (lanes, hands) = (0..readers)
        .map(|_| {
            let (parcels, taken) = bounded(WAITING);
            let (give_back, used) = bounded(WAITING + 1);
            let lane = Lane { open: Batch::default(), parcels, used };
            (lane, Hand { parcels: taken, used: give_back })
        })
        .unzip();
    (Dealer { lanes, scratch: Packet::default() }, hands)
}

impl Dealer {
    /// Deals one frame. False when a reader has ended.
    pub(super) fn frame(&mut self, frame: &Frame<'_>, number: u64, now: Moment) -> bool {
        let lane = self.owner(frame);
        let batch = &mut self.lanes[lane].open;
        batch.bytes.extend_from_slice(frame.data);
        let Frame { time_ns, wire_len, linktype, .. } = *frame;
        let end = batch.bytes.len();
        batch.frames.push(Copied { time_ns, now, number, end, wire_len, linktype });
        if batch.frames.len() < FRAMES && batch.bytes.len() < BYTES {
            return true;
        }
        self.lanes[lane].send_open()
    }

    /// Tells every reader of an export tick, behind the frames before it.
    pub(super) fn tick(&mut self, now: Moment) -> bool {
        self.lanes.iter_mut().all(|lane| lane.send_open() && lane.send(Parcel::Tick(now)))
    }

    /// Tells every reader that the file has ended.
    pub(super) fn end(mut self, now: Moment) {
        for lane in &mut self.lanes {
            // A reader that has ended needs no word.
            let _ = lane.send_open() && lane.send(Parcel::End(now));
        }
    }

    /// The reader that owns the frame's conversation; frames without IP all go to the first.
    fn owner(&mut self, frame: &Frame<'_>) -> usize {
        let Some(link) = Link::from_linktype(frame.linktype) else { return 0 };
        let input = decode::Frame {
            data: frame.data,
            wire_len: frame.wire_len,
            vlan: None,
            gso_size: 0,
            gso_hdr_len: 0,
        };
        match decode::parse(link, &input, &mut self.scratch) {
            // An answer goes to another address than its question came from.
            Outcome::Packet if is_dhcp(&self.scratch) => 0,
            Outcome::Packet | Outcome::Fragment(_) => {
                let both =
                    u128::from_be_bytes(self.scratch.src) ^ u128::from_be_bytes(self.scratch.dst);
                let mixed = ((both >> 64) as u64 ^ both as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                ((u128::from(mixed) * self.lanes.len() as u128) >> 64) as usize
            }
            Outcome::Ignored(_) | Outcome::Malformed(_) => 0,
        }
    }
}

/// DHCP of either family: question and answer belong together and share no address.
fn is_dhcp(packet: &Packet) -> bool {
    let dhcp = |port| matches!(port, 67 | 68 | 546 | 547);
    packet.protocol == 17 && dhcp(packet.src_port) && dhcp(packet.dst_port)
}

impl Lane {
    fn send_open(&mut self) -> bool {
        if self.open.frames.is_empty() {
            return true;
        }
        let mut next = self.used.try_recv().unwrap_or_default();
        next.bytes.clear();
        next.frames.clear();
        let full = std::mem::replace(&mut self.open, next);
        self.send(Parcel::Frames(full))
    }

    fn send(&self, parcel: Parcel) -> bool {
        self.parcels.send(parcel).is_ok()
    }
}

impl Hand {
    /// Feeds the reader until the file ends.
    pub(super) fn play(&self, reader: &mut Reader) {
        let mut last = Moment::default();
        while let Ok(parcel) = self.parcels.recv() {
            match parcel {
                Parcel::Frames(batch) => {
                    last = batch.feed(reader).unwrap_or(last);
                    // The dealer has enough when the channel is full.
                    let _ = self.used.try_send(batch);
                }
                Parcel::Tick(now) => {
                    reader.tick(now);
                }
                Parcel::End(now) => last = now,
            }
            if !reader.is_heard() {
                break;
            }
        }
        reader.flush(last);
    }
}

impl Batch {
    fn feed(&self, reader: &mut Reader) -> Option<Moment> {
        let mut start = 0;
        let mut feeder = reader.feeder();
        for copied in &self.frames {
            let frame = Frame {
                time_ns: copied.time_ns,
                data: &self.bytes[start..copied.end],
                wire_len: copied.wire_len,
                linktype: copied.linktype,
                vlan: None,
                packet_type: PacketType::Unknown,
                offload: None,
            };
            start = copied.end;
            feeder.frame(&frame, copied.number, copied.now);
        }
        self.frames.last().map(|copied| copied.now)
    }
}
