//! A conversation under test: segments written by hand go in, metrics come out.

use flowtable::Way;
use flowtable::tcp::{Details, Ending, FirstPayload, Segment, TcpMetrics, TcpState};

pub use crate::wire::{ACK, FIN, MS, PSH, RST, START_NS, SYN};

pub struct Conversation {
    pub state: TcpState,
    pub details: Details,
    pub payload: FirstPayload,
    pub now_ns: u64,
}

impl Default for Conversation {
    fn default() -> Self {
        let details = Details::with_capacity(4).unwrap();
        let payload = FirstPayload::default();
        Self { state: TcpState::default(), details, payload, now_ns: START_NS }
    }
}

impl Conversation {
    pub fn wait(&mut self, ns: u64) -> &mut Self {
        self.now_ns += ns;
        self
    }

    pub fn feed(&mut self, way: Way, segment: Segment) -> &mut Self {
        let segment = Segment { time_ns: self.now_ns, ..segment };
        self.state.update(way, &segment, &mut self.details);
        if segment.len > 0 {
            self.payload.note(way, segment.time_ns);
        }
        self
    }

    /// Data upwards, acknowledging nothing.
    pub fn data(&mut self, seq: u32, len: u32) -> &mut Self {
        self.feed(Way::Up, data(seq, len))
    }

    /// An acknowledgment of the data sent upwards.
    pub fn ack(&mut self, ack: u32) -> &mut Self {
        self.feed(Way::Down, ack_of(ack))
    }

    pub fn take(&mut self, way: Way) -> TcpMetrics {
        self.state.take(way, self.now_ns, Ending::Open, &mut self.details)
    }

    /// Metrics of what went upwards.
    pub fn up(&mut self) -> TcpMetrics {
        self.take(Way::Up)
    }

    pub fn down(&mut self) -> TcpMetrics {
        self.take(Way::Down)
    }
}

pub fn data(seq: u32, len: u32) -> Segment {
    Segment { seq, len, ack: 7_000, window: 500, flags: ACK | PSH, ..Segment::default() }
}

pub fn ack_of(ack: u32) -> Segment {
    Segment { seq: 7_000, ack, window: 500, flags: ACK, ..Segment::default() }
}
