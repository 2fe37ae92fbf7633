//! What a capture feeds: a reader that counts flows, or one that collects for a mode.

use std::sync::Arc;

use capture::{Frame, RingStats};
use flowtable::Moment;

use super::reader::Reader;
use super::settings::Values;
use crate::mode::{Collect, ModeReader};
use crate::status::Counters;

/// The frames of a source, block by block, and the time that passes between them.
pub(super) trait Consume {
    /// The frames of a block.
    fn block<'f>(&mut self, frames: &mut impl Iterator<Item = Frame<'f>>, now: Moment);
    /// Frames that the ring announced but could not give.
    fn lost_in_block(&mut self, frames: u32);
    /// Frames taken so far.
    fn frames(&self) -> u64;
    /// Brings changed settings into force, between blocks, and gives them.
    fn heed(&mut self, _now: Moment) -> Option<Arc<Values>> {
        None
    }
    /// The capture filter in force at the start, where it may change.
    fn filter(&self) -> Option<String> {
        None
    }
    /// Lets time pass.
    fn sweep(&mut self, now: Moment);
    /// What is at hand should go on.
    fn hand_over(&mut self) {}
    /// The end: nothing stays.
    fn flush(&mut self, now: Moment);
    /// False when nobody takes the results any more.
    fn is_heard(&self) -> bool;
    /// The interface's MAC.
    fn set_local_mac(&mut self, _mac: Option<[u8; 6]>) {}
    /// The capture lost packets between two packet times, ns since the Unix epoch.
    fn note_capture_loss(&mut self, _from_ns: u64, _to_ns: u64) {}
    /// Counters as of now.
    fn counters(&self, ring: RingStats) -> Counters;
}

impl Consume for Reader {
    #[inline]
    fn block<'f>(&mut self, frames: &mut impl Iterator<Item = Frame<'f>>, now: Moment) {
        let numbers = self.frames()..;
        let mut feeder = self.feeder();
        for (frame, number) in frames.zip(numbers) {
            feeder.frame(&frame, number, now);
        }
    }

    fn lost_in_block(&mut self, frames: u32) {
        self.lost_in_block(frames);
    }

    fn frames(&self) -> u64 {
        self.frames()
    }

    #[inline]
    fn heed(&mut self, now: Moment) -> Option<Arc<Values>> {
        self.heed(now)
    }

    fn filter(&self) -> Option<String> {
        self.filter()
    }

    fn sweep(&mut self, now: Moment) {
        self.sweep(now);
    }

    fn hand_over(&mut self) {
        self.hand_over();
    }

    fn flush(&mut self, now: Moment) {
        self.flush(now);
    }

    fn is_heard(&self) -> bool {
        self.is_heard()
    }

    fn set_local_mac(&mut self, mac: Option<[u8; 6]>) {
        self.set_local_mac(mac);
    }

    fn note_capture_loss(&mut self, from_ns: u64, to_ns: u64) {
        self.note_capture_loss(from_ns, to_ns);
    }

    fn counters(&self, ring: RingStats) -> Counters {
        self.counters(ring)
    }
}

impl<C: Collect> Consume for ModeReader<C> {
    fn block<'f>(&mut self, frames: &mut impl Iterator<Item = Frame<'f>>, now: Moment) {
        for frame in frames {
            self.frame(&frame, now);
        }
    }

    fn lost_in_block(&mut self, frames: u32) {
        self.lost_in_block(frames);
    }

    fn frames(&self) -> u64 {
        self.frames()
    }

    fn sweep(&mut self, now: Moment) {
        self.sweep(now);
    }

    fn flush(&mut self, now: Moment) {
        self.flush(now);
    }

    fn is_heard(&self) -> bool {
        self.is_heard()
    }

    fn counters(&self, ring: RingStats) -> Counters {
        self.counters(ring)
    }
}
