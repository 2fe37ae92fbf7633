//! HTTP/2 with prior knowledge (RFC 9113), and the status of gRPC calls.
//!
//! Requests are reported when they are complete, or when their response begins; responses when
//! they are complete (that of a CONNECT with its headers), with the time from the first byte of the
//! request's headers. Only method,
//! path, authority, user agent, status and gRPC status are taken from headers; bodies are passed
//! over. An upgrade from HTTP/1.1 is not followed.
//!
//! Header compression needs every header block: after a gap outside of a body, a damaged block, or a
//! table of more than 64 KiB, that direction's headers are given up, since its strings could be
//! wrong ones. The other direction goes on as far as it makes sense. A header block is kept until
//! it is whole; one of more than 64 KiB, or for which the connection's 128 KiB leave no room, ends
//! decoding, and that is counted. 64 streams at once are remembered, and 12 KiB of their texts; the
//! oldest makes room and is counted.

mod frame;
mod hpack;
mod huffman;
mod name;
mod streams;
mod table;

use super::decoder::{Guess, Side, StreamDecoder, Verdict};
use super::event::Events;
use frame::{Frame, Frames, PREFACE, Payload};
use hpack::{Broken, Hpack, Scratch};
use streams::{Headers, Streams};

/// Dynamic tables of both directions together, bytes: one at its largest, or both at the default
/// and more.
const MAX_TABLES_BYTES: usize = 72 * 1024;
/// Header blocks that are not whole and tables, of both directions together, bytes.
const MAX_BLOCKS_BYTES: usize = 104 * 1024;
/// Room for split frames that stays with a connection, bytes.
const KEPT_ROOM_BYTES: usize = 1024;
const SETTINGS_HEADER_TABLE_SIZE: u16 = 1;

/// Whether the first bytes of one side look like HTTP/2: the client's preface, or the settings
/// that a server begins with. Decides within 24 bytes.
#[must_use]
pub fn guess(bytes: &[u8], from: Side) -> Guess {
    let fits = |fits, whole| match (fits, whole) {
        (false, _) => Guess::No,
        (true, false) => Guess::Maybe,
        (true, true) => Guess::Yes,
    };
    match from {
        Side::Client => {
            let start = &bytes[..bytes.len().min(PREFACE.len())];
            fits(PREFACE.starts_with(start), start.len() == PREFACE.len())
        }
        Side::Server => {
            // Missing bytes are taken for those that would fit.
            let mut header = [0, 0, 0, frame::SETTINGS, 0, 0, 0, 0, 0];
            let seen = bytes.len().min(header.len());
            header[..seen].copy_from_slice(&bytes[..seen]);
            let frame = Frame::parse(&header, 0);
            // A handful of settings is known; more than 64 are no settings.
            let is_settings = frame.length <= 6 * 64 && (seen < 3 || frame.is_first_settings());
            fits(is_settings, seen == header.len())
        }
    }
}

/// The decoder of one connection; at most 128 KiB on the heap.
#[derive(Debug)]
pub struct Http2 {
    halves: [Half; 2],
    streams: Streams,
    headers: Headers,
    scratch: Scratch,
}

/// One direction.
#[derive(Debug)]
struct Half {
    frames: Frames,
    /// `None` once header blocks cannot be read any more.
    hpack: Option<Hpack>,
    /// The header block that waits for its CONTINUATION; its parts are in `frames.kept`.
    open: Option<Block>,
    /// Whether the settings at the beginning came.
    has_begun: bool,
}

/// What the first frame of a header block says.
#[derive(Clone, Copy, Debug)]
struct Block {
    stream: u32,
    ends_stream: bool,
    /// A promise of the server, whose stream is not followed.
    is_promise: bool,
    began_us: u64,
}

impl Default for Http2 {
    fn default() -> Self {
        Self::new()
    }
}

impl Http2 {
    /// Before the first byte of either side.
    #[must_use]
    pub fn new() -> Self {
        Self {
            halves: [Half::new(Side::Client), Half::new(Side::Server)],
            streams: Streams::default(),
            headers: Headers::default(),
            scratch: Scratch::default(),
        }
    }

    /// Streams that made room for others before their response was complete.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.streams.forgotten()
    }

    /// Reads all frames that are complete; `Wrong` if this is no HTTP/2.
    fn read(&mut self, from: Side, mut input: &[u8], now_us: u64, events: &mut Events) -> Verdict {
        loop {
            let room_bytes = self.block_room(from);
            let half = &mut self.halves[from.index()];
            let (frame, payload) = match half.frames.next(&mut input, room_bytes, now_us) {
                Ok(Some(next)) => next,
                Ok(None) => return self.verdict(),
                Err(_) => return Verdict::Wrong,
            };
            if !half.has_begun && !frame.is_first_settings() {
                return Verdict::Wrong;
            }
            half.has_begun = true;
            if frame.is_block() && half.hpack.is_some() && matches!(payload, Payload::Skipped) {
                return Verdict::Over;
            }
            if self.frame(from, &frame, payload, now_us, events).is_err() {
                self.lose_headers(from);
            }
        }
    }

    fn frame(
        &mut self,
        from: Side,
        frame: &Frame,
        payload: Payload<'_>,
        now_us: u64,
        events: &mut Events,
    ) -> Result<(), Broken> {
        let half = &mut self.halves[from.index()];
        let is_block = frame.is_block();
        if is_block && half.hpack.is_none() {
            half.frames.kept = Vec::new();
            self.end_of_stream(from, frame, now_us, events);
            return Ok(());
        }
        // Nothing may come between the frames of a header block (section 6.10).
        let continues = frame.kind == frame::CONTINUATION;
        if half.open.map(|block| block.stream) != continues.then_some(frame.stream) {
            half.frames.kept.clear();
            return Err(Broken);
        }
        match frame.kind {
            frame::SETTINGS => {
                let kept = std::mem::take(&mut half.frames.kept);
                self.settings(from, if let Payload::Here(bytes) = payload { bytes } else { &kept });
            }
            frame::DATA => self.end_of_stream(from, frame, now_us, events),
            frame::RST_STREAM => self.streams.reset(frame.stream),
            _ if is_block => {
                let result = self.block(from, frame, payload, now_us, events);
                if result.is_err() {
                    self.end_of_stream(from, frame, now_us, events);
                }
                return result;
            }
            _ => {}
        }
        Ok(())
    }

    /// What one side says of its own reading holds for what the other may write.
    fn settings(&mut self, from: Side, settings: &[u8]) {
        let Some(hpack) = &mut self.halves[from.other().index()].hpack else { return };
        for setting in settings.chunks_exact(6) {
            if setting.starts_with(&SETTINGS_HEADER_TABLE_SIZE.to_be_bytes())
                && let Some(value) = setting.last_chunk()
            {
                hpack.allow(u32::from_be_bytes(*value));
            }
        }
    }

    /// A part of a header block; the last one makes it be read.
    fn block(
        &mut self,
        from: Side,
        frame: &Frame,
        payload: Payload<'_>,
        now_us: u64,
        events: &mut Events,
    ) -> Result<(), Broken> {
        let half = &mut self.halves[from.index()];
        let mut kept = std::mem::take(&mut half.frames.kept);
        let block = half.open.take().unwrap_or_else(|| Block::of(frame));
        let bytes = match payload {
            Payload::Here(bytes) => bytes,
            Payload::Kept => &kept,
            Payload::Skipped => return Err(Broken),
        };
        // A CONTINUATION is neither padded nor anything else, so what is kept needs no joining.
        let range = fragment(frame, bytes).ok_or(Broken)?;
        let bytes = bytes.get(range.clone()).ok_or(Broken)?;
        if frame.has(frame::END_HEADERS) {
            let result = self.headers(from, block, bytes, now_us, events);
            kept.clear();
            kept.shrink_to(KEPT_ROOM_BYTES);
            self.halves[from.index()].frames.kept = kept;
            return result;
        }
        if matches!(payload, Payload::Here(_)) {
            half.frames.keep(bytes, bytes.len());
        } else {
            kept.truncate(range.end);
            kept.drain(..range.start);
            half.frames.kept = kept;
        }
        half.open = Some(block);
        Ok(())
    }

    /// A whole header block.
    fn headers(
        &mut self,
        from: Side,
        block: Block,
        bytes: &[u8],
        now_us: u64,
        events: &mut Events,
    ) -> Result<(), Broken> {
        let other = &self.halves[from.other().index()];
        let tables = MAX_TABLES_BYTES.min(MAX_BLOCKS_BYTES - other.frames.block_bytes());
        let others = other.table_bytes();
        let Some(hpack) = &mut self.halves[from.index()].hpack else { return Ok(()) };
        self.headers.clear();
        let headers = &mut self.headers;
        let room = tables.saturating_sub(others);
        let result = hpack.decode(bytes, room, &mut self.scratch, |name, value| {
            headers.take(name, value);
        });
        self.scratch.shrink();
        result?;
        if block.is_promise {
            return Ok(());
        }
        match from {
            Side::Client => self.streams.request(block.stream, block.began_us, &self.headers),
            Side::Server => self.streams.response(block.stream, &self.headers, now_us, events),
        }
        if block.ends_stream {
            self.stream_ends(from, block.stream, now_us, events);
        }
        Ok(())
    }

    /// What may be kept of a side's header block, beside tables that are full and the other side's
    /// block.
    fn block_room(&self, from: Side) -> usize {
        let tables: usize = self.halves.iter().map(Half::table_bytes).sum();
        let other = self.halves[from.other().index()].frames.block_bytes();
        MAX_BLOCKS_BYTES.saturating_sub(tables + other)
    }

    fn end_of_stream(&mut self, from: Side, frame: &Frame, now_us: u64, events: &mut Events) {
        if frame.has(frame::END_STREAM) && frame.kind != frame::PUSH_PROMISE {
            self.stream_ends(from, frame.stream, now_us, events);
        }
    }

    fn stream_ends(&mut self, from: Side, stream: u32, now_us: u64, events: &mut Events) {
        match from {
            Side::Client => {
                let is_last = self.halves[Side::Server.index()].hpack.is_none();
                self.streams.request_end(stream, is_last, events);
            }
            Side::Server => self.streams.response_end(stream, now_us, events),
        }
    }

    /// Header blocks of one side cannot be read any more.
    fn lose_headers(&mut self, from: Side) {
        let half = &mut self.halves[from.index()];
        half.hpack = None;
        half.open = None;
        half.frames.kept = Vec::new();
        if from == Side::Server {
            self.streams.without_responses();
        }
    }

    /// Whether anything can still be told: requests, or responses to those that are open.
    fn verdict(&self) -> Verdict {
        let [client, server] = &self.halves;
        let requests = client.hpack.is_some();
        let responses = server.hpack.is_some() && !self.streams.is_empty();
        if requests || responses { Verdict::More } else { Verdict::Done }
    }
}

impl StreamDecoder for Http2 {
    fn data(&mut self, from: Side, bytes: &[u8], now_us: u64, events: &mut Events) -> Verdict {
        match self.read(from, bytes, now_us, events) {
            // A server that answers in another protocol, after requests were reported.
            Verdict::Wrong if !self.streams.is_untouched() => Verdict::Done,
            verdict => verdict,
        }
    }

    fn gap(&mut self, from: Side, lost: u64, now_us: u64, events: &mut Events) -> Verdict {
        if self.halves[from.index()].frames.gap(lost) {
            // The frame may end with what was lost.
            return self.data(from, &[], now_us, events);
        }
        self.lose_headers(from);
        self.verdict()
    }

    fn end(&mut self, from: Side, _now_us: u64, _events: &mut Events) {
        self.halves[from.index()].frames.lose();
    }

    fn facts(&self, _events: &mut Events) {}

    fn heap_bytes(&self) -> usize {
        let halves: usize = self.halves.iter().map(Half::heap_bytes).sum();
        halves + self.streams.heap_bytes() + self.headers.heap_bytes() + self.scratch.heap_bytes()
    }
}

impl Half {
    fn new(side: Side) -> Self {
        Self {
            frames: Frames::new(side == Side::Client),
            hpack: Some(Hpack::new()),
            open: None,
            has_begun: false,
        }
    }

    /// What its table may take.
    fn table_bytes(&self) -> usize {
        self.hpack.as_ref().map_or(0, Hpack::table_bytes)
    }

    fn heap_bytes(&self) -> usize {
        self.frames.kept.capacity() + self.hpack.as_ref().map_or(0, Hpack::heap_bytes)
    }
}

impl Block {
    fn of(frame: &Frame) -> Self {
        let is_promise = frame.kind == frame::PUSH_PROMISE;
        Self {
            stream: frame.stream,
            ends_stream: !is_promise && frame.has(frame::END_STREAM),
            is_promise,
            began_us: frame.began_us,
        }
    }
}

/// Where the part of a header block is in a frame's payload (sections 6.2, 6.6 and 6.10).
fn fragment(frame: &Frame, payload: &[u8]) -> Option<std::ops::Range<usize>> {
    if frame.kind == frame::CONTINUATION {
        return Some(0..payload.len());
    }
    let (mut start, mut padding) = (0, 0);
    if frame.has(frame::PADDED) {
        (start, padding) = (1, usize::from(*payload.first()?));
    }
    if frame.kind == frame::PUSH_PROMISE {
        start += 4;
    } else if frame.has(frame::PRIORITY) {
        start += 5;
    }
    let end = payload.len().checked_sub(padding)?;
    (start <= end).then_some(start..end)
}

#[cfg(test)]
mod tests;
