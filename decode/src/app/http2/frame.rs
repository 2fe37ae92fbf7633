//! HTTP/2 frames (RFC 9113 section 4) of one direction. Payloads that matter come whole, the others
//! are passed over without being kept.

/// What a client says first (section 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Longest payload that is read, and the longest header block, bytes.
pub const MAX_BLOCK_BYTES: usize = 64 * 1024;
const HEADER_BYTES: usize = 9;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const CONTINUATION: u8 = 9;

/// END_STREAM of DATA and HEADERS, ACK of SETTINGS.
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const PRIORITY: u8 = 32;

/// A frame's header.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    pub length: usize,
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    /// When its first byte came, µs.
    pub began_us: u64,
}

impl Frame {
    /// Reads a frame header.
    pub fn parse(header: &[u8; HEADER_BYTES], began_us: u64) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = *header;
        Self {
            length: u32::from_be_bytes([0, a, b, c]) as usize,
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
            began_us,
        }
    }

    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether this can be the first frame of a direction: settings of the connection.
    pub fn is_first_settings(&self) -> bool {
        self.kind == SETTINGS
            && self.flags == 0
            && self.stream == 0
            && self.length.is_multiple_of(6)
    }

    /// Whether it is part of a header block.
    pub fn is_block(&self) -> bool {
        matches!(self.kind, HEADERS | PUSH_PROMISE | CONTINUATION)
    }

    /// Whether its payload is read, and so has to be whole.
    fn is_read(&self) -> bool {
        self.is_block() || self.kind == SETTINGS
    }
}

/// Where a frame's payload is.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// Whole, in the bytes given.
    Here(&'a [u8]),
    /// Whole, at the end of [`Frames::kept`].
    Kept,
    /// Passed over.
    Skipped,
}

/// The frames of one direction.
#[derive(Debug)]
pub struct Frames {
    state: State,
    /// Parts of a header block that wait for the rest, by the owner; then the payload of the
    /// current frame as far as it came.
    pub kept: Vec<u8>,
    /// The part of a frame header that came.
    header: [u8; HEADER_BYTES],
    header_len: usize,
    began_us: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// So many bytes of the preface came.
    Preface(usize),
    Header,
    /// Payload that is kept, and how much of it is missing.
    Keep(Frame, usize),
    /// Payload that is passed over, and how much of it is missing.
    Skip(Frame, usize),
    Lost,
}

/// The preface is not that of HTTP/2.
#[derive(Debug)]
pub struct NoPreface;

impl Frames {
    pub fn new(has_preface: bool) -> Self {
        Self {
            state: if has_preface { State::Preface(0) } else { State::Header },
            kept: Vec::new(),
            header: [0; HEADER_BYTES],
            header_len: 0,
            began_us: 0,
        }
    }

    /// Goes on in `input` to the end of the next frame. A payload for which there is no room in
    /// what is kept is passed over.
    pub fn next<'a>(
        &mut self,
        input: &mut &'a [u8],
        room_bytes: usize,
        now_us: u64,
    ) -> Result<Option<(Frame, Payload<'a>)>, NoPreface> {
        loop {
            match self.state {
                State::Preface(seen) => {
                    let wanted = &PREFACE[seen.min(PREFACE.len())..];
                    let part = take(input, wanted.len());
                    if !wanted.starts_with(part) {
                        return Err(NoPreface);
                    }
                    if part.len() < wanted.len() {
                        self.state = State::Preface(seen + part.len());
                        return Ok(None);
                    }
                    self.state = State::Header;
                }
                State::Header => {
                    let Some(frame) = self.header(input, now_us) else { return Ok(None) };
                    let block = self.kept.len().saturating_add(frame.length);
                    if !frame.is_read() || block > room_bytes.min(MAX_BLOCK_BYTES) {
                        self.state = State::Skip(frame, frame.length);
                    } else if self.kept.is_empty() && input.len() >= frame.length {
                        return Ok(Some((frame, Payload::Here(take(input, frame.length)))));
                    } else {
                        self.state = State::Keep(frame, frame.length);
                    }
                }
                State::Keep(frame, missing) => {
                    let part = take(input, missing);
                    self.keep(part, missing);
                    if part.len() == missing {
                        self.state = State::Header;
                        return Ok(Some((frame, Payload::Kept)));
                    }
                    self.state = State::Keep(frame, missing - part.len());
                    return Ok(None);
                }
                State::Skip(frame, missing) => {
                    let part = take(input, missing);
                    if part.len() == missing {
                        self.state = State::Header;
                        return Ok(Some((frame, Payload::Skipped)));
                    }
                    self.state = State::Skip(frame, missing - part.len());
                    return Ok(None);
                }
                State::Lost => {
                    *input = &[];
                    return Ok(None);
                }
            }
        }
    }

    /// Passes over bytes that never came; false if that loses the frames' borders for good.
    pub fn gap(&mut self, lost_bytes: u64) -> bool {
        if let State::Skip(frame, missing) = self.state
            && lost_bytes <= missing as u64
        {
            self.state = State::Skip(frame, missing - lost_bytes as usize);
            return true;
        }
        self.lose();
        false
    }

    /// What is kept, and what is still to come of a payload that is kept, bytes: the capacity stays
    /// within it.
    pub fn block_bytes(&self) -> usize {
        let missing = if let State::Keep(_, missing) = self.state { missing } else { 0 };
        self.kept.len() + missing
    }

    /// Reads no more.
    pub fn lose(&mut self) {
        self.state = State::Lost;
        self.kept = Vec::new();
    }

    /// Appends to what is kept; `expected` bytes, these among them, are known to come.
    pub fn keep(&mut self, part: &[u8], expected: usize) {
        let (len, capacity) = (self.kept.len(), self.kept.capacity());
        if len + part.len() > capacity {
            let wanted = (2 * capacity).clamp(len + part.len(), len + expected);
            self.kept.reserve_exact(wanted - len);
        }
        self.kept.extend_from_slice(part);
    }

    fn header(&mut self, input: &mut &[u8], now_us: u64) -> Option<Frame> {
        if self.header_len == 0 {
            if input.is_empty() {
                return None;
            }
            self.began_us = now_us;
        }
        let part = take(input, HEADER_BYTES - self.header_len);
        self.header[self.header_len..self.header_len + part.len()].copy_from_slice(part);
        self.header_len += part.len();
        if self.header_len < HEADER_BYTES {
            return None;
        }
        self.header_len = 0;
        Some(Frame::parse(&self.header, self.began_us))
    }
}

/// The next so many bytes, or what there is of them.
fn take<'a>(input: &mut &'a [u8], bytes: usize) -> &'a [u8] {
    let (part, rest) = input.split_at(bytes.min(input.len()));
    *input = rest;
    part
}
