//! Application decoding of the table's conversations: which decoder follows which, and what their
//! messages become.

use decode::Packet;
use decode::app::datagram::{self, UdpPorts, UdpState};
use decode::app::stream::{FIN, RST, SYN, Segment};
use decode::app::{
    App, Budget, Classify, Datagram, Events, Interest, Kind, Opened, Peer, Pending, PortLists,
    PortOf, Ports, Redactor, Side, TcpConversation,
};

use crate::group::Origin;
use crate::key::{Key, Way};
use crate::pool::Pool;

const TCP: u8 = 6;
/// Questions over UDP that wait for their answers, 1 MiB.
const PENDING: usize = 1 << 16;
/// One of so many conversations of the table may be a TCP connection that is decoded.
const TCP_SHARE: usize = 4;
/// In place of a slot: nothing is kept of the conversation but its protocol, whose number stands in
/// the low byte.
const APP_ONLY: u32 = 0xffff_ff00;
/// In place of a slot: what is known of the conversation so far stands in the low 16 bits. Most
/// conversations carry nothing known and never need more.
const PACKED: u32 = 0xff00_0000;
const PACKED_END: u32 = PACKED | 0xffff;
/// Payloads in no known way that one side of a TCP connection may send while the other is silent.
const MAX_UNKNOWN: u16 = 16;

/// Settings of application decoding.
#[derive(Clone, Debug)]
pub struct AppConfig {
    /// What the user says about ports.
    pub ports: PortLists,
    /// Whether content decides, too.
    pub classify: Classify,
    /// Most that all decoders of one table keep on the heap, bytes.
    pub budget_bytes: usize,
    /// Protocols whose messages are reported, by [`App::index`].
    pub enabled: [bool; App::ALL.len()],
    /// What must not leave as it is.
    pub redactor: Option<Redactor>,
}

impl Default for AppConfig {
    fn default() -> Self {
        Self {
            ports: PortLists::default(),
            classify: Classify::default(),
            budget_bytes: 64 << 20,
            enabled: [true; App::ALL.len()],
            redactor: None,
        }
    }
}

/// Counters of application decoding since the start, and what it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppStats {
    /// Messages reported, by [`App::index`]: requests, responses.
    pub messages: [[u64; 2]; App::ALL.len()],
    /// Conversations for which a decoder keeps anything.
    pub conversations: u64,
    /// Conversations not decoded because there was no room for one more.
    pub refused: u64,
    /// Conversations whose decoding ended because of the ceiling over all, or that of each.
    pub over_budget: u64,
    /// Bytes that decoders keep.
    pub heap_bytes: u64,
    /// Questions over UDP that were forgotten because there were too many.
    pub forgotten: u64,
}

impl std::ops::AddAssign for AppStats {
    fn add_assign(&mut self, other: Self) {
        for (sum, part) in self.messages.iter_mut().zip(other.messages) {
            sum[0] += part[0];
            sum[1] += part[1];
        }
        self.conversations += other.conversations;
        self.refused += other.refused;
        self.over_budget += other.over_budget;
        self.heap_bytes += other.heap_bytes;
        self.forgotten += other.forgotten;
    }
}

/// What a decoder wants after a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// More payload of the conversation.
    More,
    /// No more.
    Enough,
}

/// The decoders of one table. A conversation holds the number of its state, 0 for none.
pub(crate) struct Apps {
    config: AppConfig,
    ports: Ports,
    udp_ports: UdpPorts,
    tcp: Pool<TcpConversation>,
    udp: Pool<UdpState>,
    pending: Pending,
    budget: Budget,
    /// What the packet at hand has completed.
    events: Events,
    redacted: Events,
    /// What holds for the conversation at hand.
    facts: Events,
    /// Client of the connection at hand, when it is followed no further.
    client: Option<Peer>,
    refused: u64,
    messages: [[u64; 2]; App::ALL.len()],
}

impl Apps {
    pub(crate) fn new(capacity: usize, config: AppConfig) -> Self {
        let (ports, udp_ports) = (Ports::new(&config.ports), udp_ports(&config));
        Self {
            ports,
            udp_ports,
            tcp: Pool::new(Self::tcp(capacity)),
            udp: Pool::new(capacity),
            pending: Pending::new(PENDING),
            budget: Budget::new(config.budget_bytes),
            events: Events::default(),
            redacted: Events::default(),
            facts: Events::default(),
            client: None,
            refused: 0,
            messages: Default::default(),
            config,
        }
    }

    /// Memory when the table is full and every decoder takes what it may.
    pub(crate) fn bytes(capacity: usize, budget_bytes: usize) -> usize {
        let tcp = Self::tcp(capacity).saturating_mul(Pool::<TcpConversation>::BYTES_EACH);
        let udp = capacity.saturating_mul(Pool::<UdpState>::BYTES_EACH);
        // A conversation is TCP or UDP.
        tcp.max(udp).saturating_add(budget_bytes)
    }

    fn tcp(capacity: usize) -> usize {
        capacity.div_ceil(TCP_SHARE)
    }

    /// What begins with this packet: the slot, and whether payload is wanted. Until the first
    /// payload its ports alone tell the protocol of a connection, and for good when its beginning
    /// was not seen: no decoder follows it then.
    pub(crate) fn begin(&self, packet: &Packet, key: &Key) -> (u32, bool) {
        if packet.protocol != TCP {
            return (0, true);
        }
        let found = self.ports.find(PortOf::Tcp, key.ports(), self.config.classify);
        (app_only(found.map(|found| found.app)), packet.tcp_flags & SYN != 0)
    }

    /// Takes a packet of a conversation. What it completes is then in [`Apps::next_event`].
    /// `opening` says how a TCP connection was opened, its opener first.
    #[expect(clippy::too_many_arguments, reason = "all that there is to a packet")]
    pub(crate) fn packet(
        &mut self,
        slot: &mut u32,
        way: Way,
        packet: &Packet,
        data: &[u8],
        origin: &Origin,
        conversation: u64,
        opening: impl FnOnce() -> Option<(Way, [Option<u32>; 2])>,
    ) -> Wish {
        self.events.clear();
        self.client = None;
        let wish = if packet.protocol == TCP {
            self.segment(slot, way, packet, data, origin, opening)
        } else {
            self.datagrams(slot, packet, data, origin, conversation)
        };
        if !self.events.is_empty() {
            self.finish_events();
        }
        wish
    }

    /// The message under this number that the last packet has completed, and the direction it
    /// belongs to.
    pub(crate) fn event(
        &self,
        number: usize,
        slot: u32,
        way: Way,
        protocol: u8,
    ) -> Option<(Way, decode::app::EventView<'_>)> {
        let event = self.events.get(number)?;
        let followed = self.tcp.get(slot).filter(|_| protocol == TCP);
        let client = match followed.map(TcpConversation::client).or(self.client) {
            Some(client) => way_of(client),
            // A datagram belongs to its own direction.
            None => return Some((way, event)),
        };
        let way = match event.kind {
            Kind::Request => client,
            Kind::Response => client.other(),
            Kind::Facts => way,
        };
        Some((way, event))
    }

    /// What holds for the conversation, for the records that are cut next.
    pub(crate) fn learn_facts(&mut self, slot: u32, protocol: u8) {
        self.facts.clear();
        if protocol == TCP {
            if let Some(conversation) = self.tcp.get(slot) {
                conversation.facts(&mut self.facts);
            }
        } else if let Some(state) = self.udp.get(slot) {
            // One without memory has none.
            state.facts(&mut self.facts);
        }
        let Some(event) = self.facts.get(0) else { return };
        if !self.config.enabled[event.app.index()] {
            self.facts.clear();
        } else if let Some(redactor) = &self.config.redactor {
            self.redacted.clear();
            redactor.copy(&event, &mut self.redacted);
            std::mem::swap(&mut self.facts, &mut self.redacted);
        }
    }

    /// What [`Apps::learn_facts`] found.
    pub(crate) fn facts(&self) -> Option<decode::app::EventView<'_>> {
        self.facts.get(0)
    }

    /// The protocol of a conversation.
    pub(crate) fn app(&self, slot: u32, protocol: u8) -> Option<App> {
        let app = match (slot, protocol) {
            (0, _) => None,
            (APP_ONLY.., _) => App::ALL.get((slot - APP_ONLY) as usize).copied(),
            (PACKED..=PACKED_END, TCP) => None,
            (PACKED..=PACKED_END, _) => UdpState::unpack(slot as u16).app(),
            (_, TCP) => self.tcp.get(slot).and_then(TcpConversation::app),
            _ => self.udp.get(slot).and_then(UdpState::app),
        };
        app.filter(|app| self.config.enabled[app.index()])
    }

    /// Forgets a conversation.
    pub(crate) fn release(&mut self, slot: &mut u32, protocol: u8) {
        let number = std::mem::take(slot);
        if protocol == TCP {
            if let Some(mut conversation) = self.tcp.take(number) {
                conversation.release(&mut self.budget);
            }
        } else if let Some(mut state) = self.udp.take(number) {
            state.release(&mut self.budget);
        }
    }

    pub(crate) fn stats(&self) -> AppStats {
        AppStats {
            messages: self.messages,
            conversations: (self.tcp.len() + self.udp.len()) as u64,
            refused: self.refused,
            over_budget: self.budget.refused(),
            heap_bytes: self.budget.used() as u64,
            forgotten: self.pending.forgotten(),
        }
    }

    fn segment(
        &mut self,
        slot: &mut u32,
        way: Way,
        packet: &Packet,
        data: &[u8],
        origin: &Origin,
        opening: impl FnOnce() -> Option<(Way, [Option<u32>; 2])>,
    ) -> Wish {
        let from = peer_of(way);
        let segment = Segment {
            seq: packet.tcp_seq,
            ack: packet.tcp_ack,
            flags: packet.tcp_flags,
            payload: packet.payload(data),
            payload_len: packet.payload_len,
        };
        if packet.l4_header_len == 0 {
            return Wish::More;
        }
        if matches!(*slot, 0 | PACKED..=PACKED_END | APP_ONLY..)
            && let Some(wish) = self.opening(slot, from, packet, &segment, opening)
        {
            return wish;
        }
        let Some(conversation) = self.tcp.get_mut(*slot) else { return Wish::Enough };
        let (budget, events) = (&mut self.budget, &mut self.events);
        match conversation.segment(from, &segment, origin.time_ns / 1000, budget, events) {
            Interest::Wanted => Wish::More,
            Interest::Finished => Wish::Enough,
            Interest::Nothing => {
                let (client, app) = (conversation.client(), conversation.app());
                self.client = Some(client);
                self.release(slot, TCP);
                *slot = app_only(app);
                Wish::Enough
            }
        }
    }

    /// What is said before anything known: a decoder comes with the first payload that may be
    /// more, or that goes to a port of which something is known. `None` when there is one.
    fn opening(
        &mut self,
        slot: &mut u32,
        from: Peer,
        packet: &Packet,
        segment: &Segment<'_>,
        opening: impl FnOnce() -> Option<(Way, [Option<u32>; 2])>,
    ) -> Option<Wish> {
        let is_silent = packet.payload_len == 0;
        if is_silent && packet.tcp_flags & RST != 0 {
            *slot = if *slot >= APP_ONLY { *slot } else { 0 };
            return Some(Wish::Enough);
        }
        // A side that ends without a word leaves the other one to speak: that is the decoder's.
        if is_silent && packet.tcp_flags & FIN == 0 {
            return Some(Wish::More);
        }
        let Some((client, starts)) = opening() else { return Some(Wish::Enough) };
        let opened = Opened { client: peer_of(client), starts };
        let side = opened.side(from);
        let unknown = unpack(*slot);
        if !is_silent && unknown.is_some_and(|(other, _)| other == side) {
            // No first bytes any more, and nothing to tell them by.
            let (_, payloads) = unknown.unwrap_or((side, 0));
            *slot = pack(side, payloads + 1);
            return Some(if payloads < MAX_UNKNOWN { Wish::More } else { Wish::Enough });
        }
        let (ports, classify) = ([packet.src_port, packet.dst_port], self.config.classify);
        let is_hinted = *slot >= APP_ONLY;
        if !is_hinted && classify == Classify::Content && opened.is_unknown(side, segment) {
            *slot = if unknown.is_some() { 0 } else { pack(side, 1) };
            return Some(if unknown.is_some() { Wish::Enough } else { Wish::More });
        }
        let unknown = unknown.map(|(side, _)| side);
        *slot = 0;
        let begun = TcpConversation::open(&self.ports, classify, ports, &opened, unknown);
        let Some(begun) = begun else { return Some(Wish::Enough) };
        match self.tcp.add(begun) {
            Ok(number) => *slot = number,
            Err(begun) => {
                self.refused += 1;
                *slot = app_only(begun.app());
                return Some(Wish::Enough);
            }
        }
        None
    }

    fn datagrams(
        &mut self,
        slot: &mut u32,
        packet: &Packet,
        data: &[u8],
        origin: &Origin,
        conversation: u64,
    ) -> Wish {
        // A state is brought to a place of its own when it gets memory.
        let mut small = match *slot {
            0 => Some(UdpState::default()),
            PACKED..=PACKED_END => Some(UdpState::unpack(*slot as u16)),
            _ => None,
        };
        let payload = packet.payload(data);
        let size = match (packet.packets, packet.fragments, origin.gso_size) {
            (2.., 0, 1..) => usize::from(origin.gso_size),
            _ => payload.len().max(1),
        };
        for payload in payload.chunks(size) {
            let datagram = Datagram {
                payload,
                src_port: packet.src_port,
                dst_port: packet.dst_port,
                conversation,
                now_us: origin.time_ns / 1000,
            };
            let Self { udp, udp_ports, pending, budget, events, .. } = self;
            let Some(state) = small.as_mut().or_else(|| udp.get_mut(*slot)) else { break };
            datagram::datagram(state, &datagram, udp_ports, pending, budget, events);
        }
        if let Some(state) = small
            && !self.put(slot, state)
        {
            return Wish::Enough;
        }
        let (is_interesting, app) = match *slot {
            PACKED..=PACKED_END => {
                let state = UdpState::unpack(*slot as u16);
                (state.is_interesting(), state.app())
            }
            _ => self
                .udp
                .get(*slot)
                .map_or((false, None), |state| (state.is_interesting(), state.app())),
        };
        if is_interesting {
            return Wish::More;
        }
        if app.is_none() {
            self.release(slot, packet.protocol);
        }
        Wish::Enough
    }

    /// Keeps the state of a UDP conversation; false when there is no room for it.
    fn put(&mut self, slot: &mut u32, state: UdpState) -> bool {
        if let Some(packed) = state.packed() {
            *slot = PACKED | u32::from(packed);
            return true;
        }
        let app = state.app();
        match self.udp.add(state) {
            Ok(number) => *slot = number,
            Err(mut state) => {
                self.refused += 1;
                state.release(&mut self.budget);
                *slot = app_only(app);
                return false;
            }
        }
        true
    }

    /// Leaves out what nobody wants to know and hides what must not be known.
    #[cold]
    fn finish_events(&mut self) {
        let all_enabled = self.events.iter().all(|event| self.config.enabled[event.app.index()]);
        if self.config.redactor.is_some() || !all_enabled {
            self.redacted.clear();
            for event in self.events.iter() {
                if !self.config.enabled[event.app.index()] {
                    continue;
                }
                match &self.config.redactor {
                    Some(redactor) => redactor.copy(&event, &mut self.redacted),
                    None => drop(self.redacted.push(&event)),
                }
            }
            std::mem::swap(&mut self.events, &mut self.redacted);
        }
        for event in self.events.iter() {
            let kind = usize::from(event.kind == Kind::Response);
            self.messages[event.app.index()][kind] += 1;
        }
    }
}

/// What stands in place of a slot when one side has sent so many payloads in no known way.
fn pack(side: Side, payloads: u16) -> u32 {
    PACKED | u32::from(payloads) << 1 | side.index() as u32
}

/// What [`pack`] made of it; `None` for another slot.
fn unpack(slot: u32) -> Option<(Side, u16)> {
    let side = if slot & 1 == 0 { Side::Client } else { Side::Server };
    matches!(slot, PACKED..=PACKED_END).then_some((side, (slot as u16) >> 1))
}

/// What stands in place of a slot when nothing but the protocol is kept.
fn app_only(app: Option<App>) -> u32 {
    app.map_or(0, |app| APP_ONLY + app.index() as u32)
}

fn udp_ports(config: &AppConfig) -> UdpPorts {
    let usual = UdpPorts::default();
    let or = |given: &Vec<u16>, usual| if given.is_empty() { usual } else { given.clone() };
    UdpPorts {
        dns: or(&config.ports.dns, usual.dns),
        radius: or(&config.ports.radius, usual.radius),
        classify: config.classify,
    }
}

fn peer_of(way: Way) -> Peer {
    match way {
        Way::Up => Peer::A,
        Way::Down => Peer::B,
    }
}

fn way_of(peer: Peer) -> Way {
    match peer {
        Peer::A => Way::Up,
        Peer::B => Way::Down,
    }
}

/// Whether a packet can matter to a decoder.
#[inline(always)]
pub(crate) fn matters(packet: &Packet) -> bool {
    const FIN_RST: u8 = 0x05;
    packet.payload_len > 0 || packet.protocol == TCP && packet.tcp_flags & (SYN | FIN_RST) != 0
}
