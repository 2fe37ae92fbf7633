//! Conversations with known truth: a sender, a receiver and the probe between them, event by
//! event, from a seed.
//!
//! The sender retransmits after three duplicate ACKs (with SACK: the holes; without: NewReno) and
//! on timeout; the receiver delays ACKs. Links lose, delay and duplicate on either side of the
//! probe. What comes out is what the probe sees, each packet with what it really is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use flowtable::Way;
use flowtable::tcp::{SackBlock, SackBlocks, Segment, SynOptions, Timestamps};

use crate::wire::{ACK, FIN, MS, PSH, START_NS, SYN};

/// How a conversation is made. Probabilities are in 1/1000.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub segments: u32,
    pub mss: u32,
    pub window: u32,
    /// One-way delay between sender and probe, and between probe and receiver.
    pub near_ns: u64,
    pub far_ns: u64,
    pub spacing_ns: u64,
    pub loss_before: u32,
    pub loss_after: u32,
    pub ack_loss: u32,
    pub reorder: u32,
    /// The same for what is sent again.
    pub reorder_again: u32,
    pub duplicate: u32,
    pub sack: bool,
    pub timestamps: bool,
    /// Packets carry counting IP identifications.
    pub ip_ids: bool,
    pub delayed_acks: bool,
    /// The data sender opened the connection.
    pub sender_opens: bool,
    /// The probe started after the handshake.
    pub half_open: bool,
    pub isn: u32,
}

/// What a packet of data really is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// Sent once, and nothing behind it was seen earlier.
    Ordinary,
    /// Overtaken before the probe by something sent later.
    Reordered,
    /// Sent again, and the probe saw as much or more already.
    Retransmission,
    /// Another copy of a packet, made by the network.
    Copy,
    /// An ACK, or a packet of which the probe can't know what it is.
    Other,
}

/// A packet at the probe.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub way: Way,
    pub segment: Segment,
    pub truth: Truth,
    /// For an ACK: when the probe saw the transmissions that it acknowledges without having waited
    /// for others. Bounds in `answers` of [`Capture`].
    pub answers: (usize, usize),
}

/// All that the probe saw, in order of time.
pub struct Capture {
    pub seen: Vec<Seen>,
    pub answers: Vec<u64>,
}

/// The xorshift64* generator.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn one_in_thousand(&mut self, times: u32) -> bool {
        self.below(1000) < u64::from(times)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    DataAtProbe { index: u32, transmission: u32, order: u64, copy: bool, sent_ns: u64 },
    DataAtReceiver { index: u32, probe_ns: u64, tsval: u32 },
    AckAtProbe { number: usize },
    AckAtSender { number: usize },
    Timeout { generation: u32 },
    DelayedAck { generation: u32 },
}

/// An ACK on its way.
struct Ack {
    segment: Segment,
    index: u32,
    sacked: Vec<u32>,
    answers: (usize, usize),
}

struct World {
    plan: Plan,
    random: Random,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    event_number: u64,
    now_ns: u64,
    capture: Capture,
    acks: Vec<Ack>,
    // Sender.
    acked: u32,
    next: u32,
    transmissions: Vec<u32>,
    sacked: Vec<bool>,
    resent: Vec<bool>,
    recover: Option<u32>,
    duplicates: u32,
    link_free_ns: u64,
    order: u64,
    generation: u32,
    timeout_ns: u64,
    // Probe.
    seen_to: u32,
    seen_order: u64,
    seen_once: Vec<bool>,
    // Receiver.
    received: Vec<Option<(u64, u64)>>,
    received_to: u32,
    ack_sent: u32,
    recent: u32,
    pending: u32,
    delayed: u32,
}

const DATA: Way = Way::Up;
const PEER_ISN: u32 = 77_000;

/// Plays `plan` to its end.
pub fn play(plan: Plan) -> Capture {
    let count = plan.segments as usize;
    let mut world = World {
        plan,
        random: Random::new(plan.seed),
        events: BinaryHeap::new(),
        event_number: 0,
        now_ns: START_NS,
        capture: Capture { seen: Vec::new(), answers: Vec::new() },
        acks: Vec::new(),
        acked: 0,
        next: 0,
        transmissions: vec![0; count],
        sacked: vec![false; count],
        resent: vec![false; count],
        recover: None,
        duplicates: 0,
        link_free_ns: 0,
        order: 0,
        generation: 0,
        timeout_ns: 200 * MS + 3 * (plan.near_ns + plan.far_ns),
        seen_to: 0,
        seen_order: 0,
        seen_once: vec![false; count],
        received: vec![None; count],
        received_to: 0,
        ack_sent: 0,
        recent: 0,
        pending: 0,
        delayed: 0,
    };
    world.handshake();
    world.send_new();
    while let Some(Reverse((now_ns, _, event))) = world.events.pop() {
        world.now_ns = now_ns;
        world.step(event);
    }
    assert_eq!(world.acked, plan.segments, "the sender got through");
    world.capture
}

impl World {
    fn at(&mut self, time_ns: u64, event: Event) {
        self.event_number += 1;
        self.events.push(Reverse((time_ns, self.event_number, event)));
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::DataAtProbe { index, transmission, order, copy, sent_ns } => {
                self.probe_data(index, transmission, order, copy, sent_ns);
            }
            Event::DataAtReceiver { index, probe_ns, tsval } => {
                self.receive(index, probe_ns, tsval);
            }
            Event::AckAtProbe { number } => {
                let ack = &self.acks[number];
                let segment = Segment { time_ns: self.now_ns, ..ack.segment };
                let (way, truth) = (DATA.other(), Truth::Other);
                self.capture.seen.push(Seen { way, segment, truth, answers: ack.answers });
                if !self.random.one_in_thousand(self.plan.ack_loss) {
                    self.at(self.now_ns + self.plan.near_ns, Event::AckAtSender { number });
                }
            }
            Event::AckAtSender { number } => self.acknowledged(number),
            Event::Timeout { generation } => self.timeout(generation),
            Event::DelayedAck { generation } => {
                if generation == self.delayed && self.pending > 0 {
                    self.send_ack(None);
                }
            }
        }
    }

    fn handshake(&mut self) {
        let Plan { near_ns, far_ns, isn, .. } = self.plan;
        let (opener, open_ns, answer_ns) = if self.plan.sender_opens {
            (DATA, near_ns, far_ns)
        } else {
            (DATA.other(), far_ns, near_ns)
        };
        let (own, peer) = if opener == DATA { (isn, PEER_ISN) } else { (PEER_ISN, isn) };
        let syn = SynOptions { window_scale: Some(7), ..SynOptions::default() };
        let times = [open_ns, open_ns + 2 * answer_ns, 3 * open_ns + 2 * answer_ns];
        let segments = [
            Segment { seq: own, flags: SYN, window: 60_000, syn, ..Segment::default() },
            Segment {
                seq: peer,
                ack: own.wrapping_add(1),
                flags: SYN | ACK,
                window: 60_000,
                syn,
                ..Segment::default()
            },
            Segment {
                seq: own.wrapping_add(1),
                ack: peer.wrapping_add(1),
                flags: ACK,
                window: 500,
                ..Segment::default()
            },
        ];
        let ways = [opener, opener.other(), opener];
        for ((segment, time_ns), way) in segments.into_iter().zip(times).zip(ways) {
            let segment = Segment { time_ns: START_NS + time_ns, ..segment };
            if !self.plan.half_open {
                let truth = Truth::Other;
                self.capture.seen.push(Seen { way, segment, truth, answers: (0, 0) });
            }
        }
        self.now_ns = START_NS + 4 * (near_ns + far_ns);
    }

    fn clock(&self, time_ns: u64) -> u32 {
        ((time_ns - START_NS) / MS) as u32 + 900
    }

    fn send_new(&mut self) {
        while self.next < self.plan.segments && self.next < self.acked + self.plan.window {
            self.next += 1;
            self.send(self.next - 1);
        }
        self.restart_timer();
    }

    fn send(&mut self, index: u32) {
        let plan = self.plan;
        let transmission = &mut self.transmissions[index as usize];
        *transmission += 1;
        let transmission = *transmission;
        self.order += 1;
        let order = self.order;
        let sent_ns = self.now_ns.max(self.link_free_ns);
        self.link_free_ns = sent_ns + plan.spacing_ns;
        // The last segments always pass, so that every hole shows.
        let last = index + 20 > plan.segments;
        if !last && self.random.one_in_thousand(plan.loss_before) {
            return;
        }
        let mut at_ns = sent_ns + plan.near_ns;
        let reorder = if transmission == 1 { plan.reorder } else { plan.reorder_again };
        if !last && self.random.one_in_thousand(reorder) {
            at_ns += plan.spacing_ns * (1 + self.random.below(10)) + plan.spacing_ns / 2;
        }
        let event = |copy| Event::DataAtProbe { index, transmission, order, copy, sent_ns };
        self.at(at_ns, event(false));
        if self.random.one_in_thousand(plan.duplicate) {
            let later_ns = at_ns + self.random.below(3) * plan.spacing_ns + 1_000;
            self.at(later_ns, event(true));
        }
    }

    fn probe_data(&mut self, index: u32, transmission: u32, order: u64, copy: bool, sent_ns: u64) {
        let plan = self.plan;
        let tsval = self.clock(sent_ns);
        let truth = if copy {
            Truth::Copy
        } else if transmission > 1 {
            if index < self.seen_to { Truth::Retransmission } else { Truth::Other }
        } else if order > self.seen_order || index >= self.seen_to {
            Truth::Ordinary
        } else if self.seen_once[index as usize] {
            Truth::Other
        } else {
            Truth::Reordered
        };
        self.seen_to = self.seen_to.max(index + 1);
        self.seen_order = self.seen_order.max(order);
        self.seen_once[index as usize] = true;
        let segment = Segment {
            time_ns: self.now_ns,
            seq: plan.isn.wrapping_add(1).wrapping_add(index.wrapping_mul(plan.mss)),
            ack: PEER_ISN + 1,
            len: plan.mss,
            window: 500,
            flags: ACK | PSH,
            ip_id: plan.ip_ids.then_some(order as u16),
            timestamps: plan.timestamps.then_some(Timestamps { value: tsval, echo: 5 }),
            ..Segment::default()
        };
        self.capture.seen.push(Seen { way: DATA, segment, truth, answers: (0, 0) });
        let last = index + 20 > plan.segments;
        if last || !self.random.one_in_thousand(plan.loss_after) {
            let probe_ns = self.now_ns;
            let at = self.now_ns + plan.far_ns;
            self.at(at, Event::DataAtReceiver { index, probe_ns, tsval });
        }
    }

    fn receive(&mut self, index: u32, probe_ns: u64, tsval: u32) {
        if index <= self.ack_sent {
            self.recent = self.recent.max(tsval);
        }
        let again = self.received[index as usize].is_some();
        if !again {
            self.received[index as usize] = Some((probe_ns, self.now_ns));
        }
        let in_order = index == self.received_to;
        while self.received.get(self.received_to as usize).is_some_and(Option::is_some) {
            self.received_to += 1;
        }
        let after = self.received.iter().skip(self.received_to as usize);
        let gap = after.clone().any(Option::is_some);
        self.pending += 1;
        if again || !in_order || gap || !self.plan.delayed_acks || self.pending >= 2 {
            self.send_ack(again.then_some(index));
        } else {
            self.delayed += 1;
            let generation = self.delayed;
            self.at(self.now_ns + 40 * MS, Event::DelayedAck { generation });
        }
    }

    fn send_ack(&mut self, again: Option<u32>) {
        let plan = self.plan;
        self.pending = 0;
        self.delayed += 1;
        let number_at =
            |index: u32| plan.isn.wrapping_add(1).wrapping_add(index.wrapping_mul(plan.mss));
        let from = self.capture.answers.len();
        for index in self.ack_sent..self.received_to {
            let (probe_ns, received_ns) = self.received[index as usize].unwrap();
            if self.now_ns - received_ns <= 41 * MS {
                self.capture.answers.push(probe_ns);
            }
        }
        let answers = (from, self.capture.answers.len());
        self.ack_sent = self.received_to;
        let beyond = self.received_to..plan.segments;
        let sacked: Vec<u32> =
            beyond.filter(|&index| self.received[index as usize].is_some()).collect();
        let block = |index| SackBlock { left: number_at(index), right: number_at(index + 1) };
        let blocks: Vec<_> = again.into_iter().chain(sacked.iter().copied()).map(block).collect();
        let segment = Segment {
            seq: PEER_ISN + 1,
            ack: number_at(self.received_to),
            window: 400,
            flags: ACK,
            sack: if plan.sack { SackBlocks::new(&blocks) } else { None },
            timestamps: plan
                .timestamps
                .then_some(Timestamps { value: self.clock(self.now_ns), echo: self.recent }),
            ..Segment::default()
        };
        let number = self.acks.len();
        self.acks.push(Ack { segment, index: self.received_to, sacked, answers });
        self.at(self.now_ns + plan.far_ns, Event::AckAtProbe { number });
    }

    fn acknowledged(&mut self, number: usize) {
        let (index, has_sack) = (self.acks[number].index, self.plan.sack);
        for &sacked in &self.acks[number].sacked {
            self.sacked[sacked as usize] = true;
        }
        if index > self.acked {
            self.acked = index;
            self.duplicates = 0;
            if self.recover.is_some_and(|recover| self.acked >= recover) {
                self.recover = None;
            }
            if self.recover.is_some() && !self.resent[self.acked as usize] {
                self.send_again(self.acked);
            }
            self.send_new();
        } else if index == self.acked && self.acked < self.next {
            self.duplicates += 1;
            if self.duplicates == 3 && self.recover.is_none() {
                self.recover = Some(self.next);
                self.resent.fill(false);
                self.send_again(self.acked);
            } else if self.recover.is_some() && has_sack {
                let highest = self.sacked.iter().rposition(|&sacked| sacked).unwrap_or(0) as u32;
                let hole = (self.acked..highest)
                    .find(|&i| !self.sacked[i as usize] && !self.resent[i as usize]);
                if let Some(hole) = hole {
                    self.send_again(hole);
                }
            }
        }
    }

    fn send_again(&mut self, index: u32) {
        self.resent[index as usize] = true;
        self.send(index);
        self.restart_timer();
    }

    fn restart_timer(&mut self) {
        self.generation += 1;
        let generation = self.generation;
        if self.acked < self.plan.segments {
            let sent_ns = self.now_ns.max(self.link_free_ns);
            self.at(sent_ns + self.timeout_ns, Event::Timeout { generation });
        }
    }

    fn timeout(&mut self, generation: u32) {
        if generation == self.generation && self.acked < self.next {
            self.recover = Some(self.next);
            self.resent.fill(false);
            self.send_again(self.acked);
        }
    }
}

/// The end of both directions, for a capture that ended in order: the peer's FIN after `rtt_ns`.
pub fn fin(capture: &Capture, rtt_ns: u64) -> [Seen; 2] {
    let last = |way| capture.seen.iter().rfind(|seen| seen.way == way).unwrap().segment;
    let time_ns = capture.seen.last().unwrap().segment.time_ns + MS;
    let up = Segment {
        time_ns,
        seq: last(DATA.other()).ack,
        len: 0,
        flags: FIN | ACK,
        timestamps: None,
        ..last(DATA)
    };
    let down = Segment {
        time_ns: time_ns + rtt_ns,
        ack: up.seq.wrapping_add(1),
        flags: FIN | ACK,
        ..last(DATA.other())
    };
    [(DATA, up), (DATA.other(), down)].map(|(way, segment)| Seen {
        way,
        segment,
        truth: Truth::Other,
        answers: (0, 0),
    })
}
