//! One TCP connection from its handshake to its events: the bytes of both sides in order, and the
//! decoder they are given to (spec 13.1).
//!
//! # How to call it
//!
//! A flow table holds one [`TcpConversation`] for each connection that is decoded.
//!
//! 1. For a packet with SYN of a connection without one, call [`TcpConversation::begin`]; who keeps
//!    what SYNs say anyway calls [`TcpConversation::open`] with the first payload instead. `None`
//!    means that nothing can be decoded here. Connections whose SYN and SYN+ACK were both missed
//!    are never decoded and cost nothing.
//! 2. Call [`TcpConversation::segment`] for this packet, and from then on for each packet with
//!    payload, SYN, FIN or RST. Its events belong to the record of the client's direction when
//!    they are requests, to the server's when they are responses; [`TcpConversation::client`] says
//!    which end is the client.
//! 3. Keep the [`Interest`] it returns with the connection, so that no state is touched for packets
//!    that nobody wants. `Wanted`: go on. `Finished`: no more packets, except those with SYN and
//!    without ACK (the ports may be used again), and ask for [`TcpConversation::facts`] as before.
//!    `Nothing`: the state holds nothing any more; note [`TcpConversation::app`] and drop it. A
//!    later SYN begins anew, at 1.
//! 4. For each record ask [`TcpConversation::facts`] and [`TcpConversation::app`].
//! 5. Before a conversation is dropped for any reason call [`TcpConversation::release`], so that
//!    its bytes are given back to the budget.
//!
//! # Bounds
//!
//! 128 KiB for what waits and what the decoder keeps, and the [`Budget`] over all. Ahead of a gap
//! nothing waits for which there is no room. When the decoder itself needs more, or more than it
//! may keep, its conversation is decoded no further and counted in [`Budget::refused`].

use super::ports::{Classify, PortOf, Ports};
use super::stream::{ACK, Assembler, Chunk, FIN, RST, SYN, Segment};
use super::talk::{self, Stage, Talk};
use super::{App, Budget, Events, Side};

/// Most that one conversation keeps, bytes.
pub const MAX_CONVERSATION_BYTES: usize = 128 * 1024;

/// An end of a connection, as the caller tells them apart: any two names that stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// One.
    A,
    /// The other.
    B,
}

impl Peer {
    /// The opposite end.
    #[must_use]
    pub fn other(self) -> Self {
        if self == Self::A { Self::B } else { Self::A }
    }
}

/// Whether more packets of a connection are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Interest {
    /// All packets with payload, SYN, FIN or RST.
    Wanted,
    /// Those with SYN alone. There are facts.
    Finished,
    /// None, and the state can be dropped. Only its protocol is still known.
    Nothing,
}

/// How a connection was opened, from its SYNs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The end that opened it.
    pub client: Peer,
    /// Sequence numbers of the first bytes of client and server, as far as they are known.
    pub starts: [Option<u32>; 2],
}

impl Opened {
    /// Which side an end is.
    #[must_use]
    pub fn side(&self, peer: Peer) -> Side {
        if peer == self.client { Side::Client } else { Side::Server }
    }

    /// Whether these are the first bytes of a side, and no protocol begins so. Then nothing needs
    /// to be kept of them but this.
    #[must_use]
    pub fn is_unknown(&self, side: Side, segment: &Segment<'_>) -> bool {
        let start = self.starts.get(side.index()).copied().flatten();
        segment.flags & SYN == 0
            && start == Some(segment.seq)
            && talk::is_unknown(segment.payload, side)
    }
}

/// What is known of one TCP connection that is decoded.
#[derive(Debug)]
pub struct TcpConversation {
    /// Client, server.
    streams: [Assembler; 2],
    talk: Talk,
    client: Peer,
    /// Sequence number of the client's first byte.
    client_start: u32,
    /// Bytes that the budget counts for this conversation.
    charged: u32,
}

impl TcpConversation {
    /// Begins with a segment that has SYN: without ACK its sender is the client, with it the
    /// receiver. `None` without SYN, and when no decoder can come into question. `ports` are those
    /// of both ends.
    ///
    /// The segment itself is still to be given to [`TcpConversation::segment`].
    #[must_use]
    pub fn begin(
        table: &Ports,
        classify: Classify,
        ports: [u16; 2],
        from: Peer,
        segment: &Segment<'_>,
    ) -> Option<Self> {
        if segment.flags & SYN == 0 || segment.flags & RST != 0 {
            return None;
        }
        let talk = Talk::new(table.find(PortOf::Tcp, ports, classify), classify)?;
        let is_answer = segment.flags & ACK != 0;
        Some(Self {
            streams: Default::default(),
            talk,
            client: if is_answer { from.other() } else { from },
            client_start: if is_answer { segment.ack } else { segment.seq.wrapping_add(1) },
            charged: 0,
        })
    }

    /// Begins with the first payload of a connection whose SYNs are behind. `unknown`: a side that
    /// has spoken before, in no way that is known ([`Opened::is_unknown`]).
    #[must_use]
    pub fn open(
        table: &Ports,
        classify: Classify,
        ports: [u16; 2],
        opened: &Opened,
        unknown: Option<Side>,
    ) -> Option<Self> {
        let mut talk = Talk::new(table.find(PortOf::Tcp, ports, classify), classify)?;
        let mut streams: [Assembler; 2] = Default::default();
        for (side, (stream, start)) in
            [Side::Client, Side::Server].into_iter().zip(streams.iter_mut().zip(opened.starts))
        {
            if unknown == Some(side) {
                talk.note_unknown(side);
            } else if let Some(start) = start {
                stream.start(start);
            }
        }
        let client_start = opened.starts[0].unwrap_or_default();
        Some(Self { streams, talk, client: opened.client, client_start, charged: 0 })
    }

    /// Takes a segment; what it completes is added to `events`. `now_us` is the packet's time, µs
    /// since the Unix epoch.
    pub fn segment(
        &mut self,
        from: Peer,
        segment: &Segment<'_>,
        now_us: u64,
        budget: &mut Budget,
        events: &mut Events,
    ) -> Interest {
        if segment.flags & (SYN | ACK | RST) == SYN && self.is_new(from, segment) {
            self.restart(from, segment);
        }
        if !matches!(self.talk.stage, Stage::Guessing(_) | Stage::Decoding(_)) {
            return self.settle(budget);
        }
        let side = if from == self.client { Side::Client } else { Side::Server };
        if segment.flags & (SYN | FIN | RST) == SYN
            && segment.payload_len == 0
            && matches!(self.talk.stage, Stage::Guessing(None))
            && self.charged == 0
            && self.heap_bytes() == 0
        {
            // A plain handshake says where both sides begin, and nothing more.
            self.greet(side, segment);
            return Interest::Wanted;
        }
        let room = self.room(side, budget);
        let Self { streams, talk, .. } = self;
        let [client, server] = streams;
        let (own, other) = match side {
            Side::Client => (client, server),
            Side::Server => (server, client),
        };
        let mut heard = |chunk: Chunk<'_>| talk.take(side.other(), chunk, now_us, events);
        if segment.flags & ACK != 0 {
            if segment.flags & SYN != 0 {
                other.start(segment.ack);
            }
            other.acknowledge(segment.ack, &mut heard);
        }
        other.expire(now_us, &mut heard);
        if segment.flags & RST == 0 {
            own.push(segment, now_us, room, &mut |chunk| talk.take(side, chunk, now_us, events));
        } else {
            for (side, stream) in [Side::Client, Side::Server].into_iter().zip(streams) {
                stream.finish(&mut |chunk| talk.take(side, chunk, now_us, events));
            }
        }
        if self.streams.iter().all(Assembler::is_ended) {
            self.talk.finish();
        }
        self.settle(budget)
    }

    /// Which end has opened the connection.
    #[must_use]
    pub fn client(&self) -> Peer {
        self.client
    }

    /// The protocol: that of the decoder, and as long as content has not decided, that of the port.
    #[must_use]
    pub fn app(&self) -> Option<App> {
        self.talk.app
    }

    /// Adds what holds for the whole connection, as at most one event.
    pub fn facts(&self, events: &mut Events) {
        self.talk.facts(events);
    }

    /// Gives all bytes back; nothing is decoded any more. What was begun and not completed is not
    /// reported.
    pub fn release(&mut self, budget: &mut Budget) {
        self.talk.stage = Stage::Over;
        self.streams.iter_mut().for_each(Assembler::forget_waiting);
        budget.recharge(&mut self.charged, 0);
    }

    /// Bytes on the heap now.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let waiting: usize = self.streams.iter().map(Assembler::heap_bytes).sum();
        waiting + self.talk.heap_bytes()
    }

    /// Notes the sequence numbers of a SYN without anything else.
    fn greet(&mut self, side: Side, segment: &Segment<'_>) {
        let [client, server] = &mut self.streams;
        let (own, other) = match side {
            Side::Client => (client, server),
            Side::Server => (server, client),
        };
        if segment.flags & ACK != 0 {
            other.start(segment.ack);
        }
        own.start(segment.seq.wrapping_add(1));
    }

    /// Whether a SYN opens another connection between the same ports.
    fn is_new(&self, from: Peer, segment: &Segment<'_>) -> bool {
        let is_repeated = from == self.client && segment.seq.wrapping_add(1) == self.client_start;
        !is_repeated || self.streams.iter().any(Assembler::is_ended)
    }

    fn restart(&mut self, from: Peer, segment: &Segment<'_>) {
        self.streams = Default::default();
        self.talk.restart();
        self.client = from;
        self.client_start = segment.seq.wrapping_add(1);
    }

    /// Bytes that may wait in the direction of `side`.
    fn room(&self, side: Side, budget: &Budget) -> usize {
        let other = self.streams.get(side.other().index()).map_or(0, Assembler::heap_bytes);
        let kept = other + self.talk.heap_bytes();
        let ceiling = budget.room() + self.charged as usize;
        MAX_CONVERSATION_BYTES.min(ceiling).saturating_sub(kept)
    }

    /// Brings the budget up to date, and gives up what is beyond a bound.
    fn settle(&mut self, budget: &mut Budget) -> Interest {
        if !matches!(self.talk.stage, Stage::Guessing(_) | Stage::Decoding(_)) {
            self.streams.iter_mut().for_each(Assembler::forget_waiting);
        }
        if std::mem::take(&mut self.talk.is_over_bound) {
            budget.refuse();
        }
        let bytes = self.heap_bytes();
        let fits = budget.recharge(&mut self.charged, bytes);
        if bytes > 0 && (!fits || bytes > MAX_CONVERSATION_BYTES) {
            self.release(budget);
            budget.refuse();
        }
        match self.talk.stage {
            Stage::Guessing(_) | Stage::Decoding(_) => Interest::Wanted,
            Stage::Finished(_) => Interest::Finished,
            Stage::Over => Interest::Nothing,
        }
    }
}

#[cfg(test)]
mod tests;
