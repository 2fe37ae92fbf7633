//! Application decoding of the table's conversations: which decoder follows which, and what their
//! messages become.

use decode::Packet;
use decode::app::datagram::{self, UdpPorts, UdpState};
use decode::app::stream::{SYN, Segment};
use decode::app::{
    App, Budget, Classify, Datagram, Events, Interest, Kind, Peer, Pending, PortLists, PortOf,
    Ports, Redactor, TcpConversation,
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
    /// Conversations that have a decoder or look for one.
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

    /// What begins with this packet: the slot, and whether payload is wanted. No decoder follows a
    /// connection whose beginning was not seen; its ports alone tell the protocol.
    pub(crate) fn begin(&self, packet: &Packet, key: &Key) -> (u32, bool) {
        if packet.protocol != TCP || packet.tcp_flags & SYN != 0 {
            return (0, true);
        }
        let found = self.ports.find(PortOf::Tcp, key.ports(), self.config.classify);
        (app_only(found.map(|found| found.app)), false)
    }

    /// Takes a packet of a conversation. What it completes is then in [`Apps::next_event`].
    pub(crate) fn packet(
        &mut self,
        slot: &mut u32,
        way: Way,
        packet: &Packet,
        data: &[u8],
        origin: &Origin,
        conversation: u64,
    ) -> Wish {
        self.events.clear();
        self.client = None;
        let wish = if packet.protocol == TCP {
            self.segment(slot, way, packet, data, origin)
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
        if *slot == 0 {
            let ports = [packet.src_port, packet.dst_port];
            let classify = self.config.classify;
            let begun = TcpConversation::begin(&self.ports, classify, ports, from, &segment);
            let Some(begun) = begun else { return Wish::Enough };
            match self.tcp.add(begun) {
                Some(number) => *slot = number,
                None => {
                    self.refused += 1;
                    return Wish::Enough;
                }
            }
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

    fn datagrams(
        &mut self,
        slot: &mut u32,
        packet: &Packet,
        data: &[u8],
        origin: &Origin,
        conversation: u64,
    ) -> Wish {
        if *slot == 0 {
            match self.udp.add(UdpState::default()) {
                Some(number) => *slot = number,
                None => {
                    self.refused += 1;
                    return Wish::Enough;
                }
            }
        }
        let Some(state) = self.udp.get_mut(*slot) else { return Wish::Enough };
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
            let Self { udp_ports, pending, budget, events, .. } = self;
            datagram::datagram(state, &datagram, udp_ports, pending, budget, events);
        }
        if state.is_interesting() {
            return Wish::More;
        }
        if state.app().is_none() {
            self.release(slot, packet.protocol);
        }
        Wish::Enough
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
