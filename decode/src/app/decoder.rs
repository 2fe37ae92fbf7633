//! What stream and datagram decoders have in common.

use super::event::Events;

/// Which end of a conversation speaks. The client is the one that opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The end that opened the conversation.
    Client,
    /// The end that was called.
    Server,
}

impl Side {
    /// Client 0, server 1.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// The opposite end.
    #[must_use]
    pub fn other(self) -> Self {
        if self == Self::Client { Self::Server } else { Self::Client }
    }
}

/// What a decoder thinks of the bytes it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Go on.
    More,
    /// Everything of interest was seen (or the rest is encrypted): what is known stays, no more
    /// bytes are wanted from either side.
    Done,
    /// Like `Done`, but because more would have to be kept than may be; it is counted.
    Over,
    /// This is another protocol. Nothing of it was reported.
    Wrong,
}

/// Whether the first bytes of one side look like a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guess {
    /// They can be nothing else that is known here.
    Yes,
    /// They fit so far; more of them would tell.
    Maybe,
    /// They are something else.
    No,
}

/// A stream protocol: bytes of both sides, each side's in order and without repetition.
///
/// `now_us` is the packet time in µs since the Unix epoch at which the bytes became available in
/// order. Times may step back; latencies are then 0.
pub trait StreamDecoder {
    /// The next bytes of one side, never empty. Keeps at most a bounded part of them.
    fn data(&mut self, from: Side, bytes: &[u8], now_us: u64, events: &mut Events) -> Verdict;

    /// So many bytes of one side were not captured and will never come. The decoder resynchronises
    /// on what follows, or gives up.
    fn gap(&mut self, from: Side, lost_bytes: u64, now_us: u64, events: &mut Events) -> Verdict;

    /// One side sends no more (FIN), or the connection was reset.
    fn end(&mut self, from: Side, now_us: u64, events: &mut Events);

    /// Adds what holds for the whole conversation (server name, version), as at most one event of
    /// kind [`Kind::Facts`](super::Kind::Facts); nothing when there is nothing to say yet.
    fn facts(&self, events: &mut Events);

    /// Whether [`StreamDecoder::facts`] would add an event.
    fn has_facts(&self) -> bool {
        let mut facts = Events::default();
        self.facts(&mut facts);
        !facts.is_empty()
    }

    /// Bytes held on the heap now, for the ceiling over all conversations.
    fn heap_bytes(&self) -> usize;
}

/// One datagram of a conversation, as the datagram decoders see it.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// The payload, as far as captured.
    pub payload: &'a [u8],
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Identifies the conversation (addresses and ports, either direction) with 64 well-mixed
    /// bits.
    pub conversation: u64,
    /// Packet time in µs since the Unix epoch.
    pub now_us: u64,
}
