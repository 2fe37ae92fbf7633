//! Which decoder gets the datagrams of a UDP conversation.
//!
//! A conversation keeps one [`UdpState`], which starts as its default. For each packet with both
//! UDP ports known, the owner of the conversation asks [`UdpState::is_interesting`]; if so, it
//! calls [`datagram`] with the payload as captured (reassembled, when it was fragmented). Events
//! are appended to a list that the owner clears when it has handed them on. [`UdpState::app`] tells
//! the protocol at any time, and [`UdpState::facts`] what holds for the conversation when a record
//! is cut.
//!
//! Configured ports come before well-known ones, and the smaller port of the two before the larger
//! (spec 13.1). With [`Classify::Content`] a first payload that looks like another protocol, and
//! not like that of the ports, decides otherwise. Once a payload was recognised the decoder stays,
//! so that a damaged datagram ends nothing; a conversation of which the first 4 payloads were not
//! recognised gets no further look, nor does one of whose ports nothing is known after one payload
//! of each end.
//!
//! Before a conversation is dropped, [`UdpState::release`] gives its bytes back to the budget. For
//! a protocol that has to remember there may be no room: then its conversation is not decoded, and
//! counted in [`Budget::refused`].
//!
//! To add a protocol: a variant of `UdpApp` with its line in each function of it, in
//! `BY_CONTENT`, and in `UdpState::decode`. One that keeps a state gets a boxed field in
//! `UdpState`.

use super::quic::Quic;
use super::{App, Budget, Classify, Datagram, Events, Guess, Pending, Verdict};
use super::{dhcp, dhcpv6, dns, mdns, quic, radius, sip};

/// Payloads that nobody recognises before a conversation is given up.
const MAX_UNKNOWN: u8 = 4;
/// Both ends, as bits of [`UdpState::speakers`].
const BOTH: u8 = 3;

/// What the user says about UDP ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpPorts {
    /// Ports of DNS servers, instead of 53 (`--dns-port`).
    pub dns: Vec<u16>,
    /// Ports of RADIUS servers, instead of 1812 and 1813 (`--radius-port`).
    pub radius: Vec<u16>,
    /// What may decide besides ports.
    pub classify: Classify,
}

impl Default for UdpPorts {
    fn default() -> Self {
        Self { dns: vec![53], radius: radius::PORTS.to_vec(), classify: Classify::default() }
    }
}

/// A protocol over UDP that is decoded here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum UdpApp {
    Dns,
    Mdns,
    Dhcp,
    Dhcpv6,
    Radius,
    Sip,
    Quic,
}

/// In the order in which they are asked, the strictest first. Multicast DNS looks like DNS and is
/// told by its port alone.
const BY_CONTENT: [UdpApp; 6] =
    [UdpApp::Quic, UdpApp::Dhcp, UdpApp::Sip, UdpApp::Dns, UdpApp::Radius, UdpApp::Dhcpv6];

impl UdpApp {
    const ALL: [Self; 7] =
        [Self::Dns, Self::Mdns, Self::Dhcp, Self::Dhcpv6, Self::Radius, Self::Sip, Self::Quic];

    fn by_port(port: u16, ports: &UdpPorts) -> Option<Self> {
        Some(match port {
            _ if ports.dns.contains(&port) => Self::Dns,
            _ if ports.radius.contains(&port) => Self::Radius,
            _ if ports.classify == Classify::Ports && port != 67 && port != 68 => return None,
            67 | 68 => Self::Dhcp,
            443 => Self::Quic,
            5060 => Self::Sip,
            546 | 547 => Self::Dhcpv6,
            mdns::PORT => Self::Mdns,
            _ => return None,
        })
    }

    fn by_ports(datagram: &Datagram<'_>, ports: &UdpPorts) -> Option<Self> {
        let (src, dst) = (datagram.src_port, datagram.dst_port);
        Self::by_port(src.min(dst), ports).or_else(|| Self::by_port(src.max(dst), ports))
    }

    /// The protocol that the payload looks like; that of the ports, when it can be that as well.
    fn by_content(payload: &[u8], by_ports: Option<Self>) -> Option<Self> {
        by_ports.into_iter().chain(BY_CONTENT).find(|app| app.guess(payload) == Guess::Yes)
    }

    fn guess(self, payload: &[u8]) -> Guess {
        match self {
            Self::Dns => dns::guess(payload),
            Self::Mdns => mdns::guess(payload),
            Self::Dhcp => dhcp::guess(payload),
            Self::Dhcpv6 => dhcpv6::guess(payload),
            Self::Radius => radius::guess(payload),
            Self::Sip => sip::guess(payload),
            Self::Quic => quic::guess(payload),
        }
    }

    fn app(self) -> App {
        match self {
            Self::Dns => App::Dns,
            Self::Mdns => App::Mdns,
            Self::Dhcp => App::Dhcp,
            Self::Dhcpv6 => App::Dhcpv6,
            Self::Radius => App::Radius,
            Self::Sip => App::Sip,
            Self::Quic => App::Quic,
        }
    }
}

/// What is known of the protocol of a UDP conversation; the default for a new one. At most 16
/// bytes.
#[derive(Debug, Default)]
pub struct UdpState {
    app: Option<UdpApp>,
    stage: Stage,
    /// Payloads that nobody recognised, while none was.
    unknown: u8,
    /// Which ends have sent such payloads, by the greater of their ports.
    speakers: u8,
    /// Bytes that the budget counts for this conversation.
    charged: u32,
    memory: Option<Box<Memory>>,
}

/// What a protocol remembers of a conversation.
#[derive(Debug, Default)]
struct Memory {
    /// Until the hello is known.
    quic: Quic,
    /// What holds for the conversation.
    facts: Events,
}

/// What is charged for a QUIC conversation whose hello is whole: a bound of what it takes.
const QUIC_FACTS_BYTES: usize = 2 * 1024;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
enum Stage {
    /// Not even the ports were looked at.
    #[default]
    New,
    /// No payload was recognised so far.
    Trying,
    /// The decoder has recognised a payload.
    Settled,
    /// No payload is wanted any more: all is known, or nobody knows it.
    Over,
}

impl UdpState {
    /// The state as a number below 2¹², so that it needs no place of its own; `None` while it has
    /// memory.
    #[must_use]
    pub fn packed(&self) -> Option<u16> {
        if self.memory.is_some() || self.charged != 0 {
            return None;
        }
        let app = self.app.map_or(0, |app| app as u16 + 1);
        let (unknown, speakers) = (u16::from(self.unknown), u16::from(self.speakers));
        Some(app | (self.stage as u16) << 4 | (unknown & 7) << 6 | (speakers & 3) << 9)
    }

    /// What [`UdpState::packed`] made of a state.
    #[must_use]
    pub fn unpack(packed: u16) -> Self {
        let app = usize::from(packed & 15).checked_sub(1);
        let stage = match packed >> 4 & 3 {
            0 => Stage::New,
            1 => Stage::Trying,
            2 => Stage::Settled,
            _ => Stage::Over,
        };
        Self {
            app: app.and_then(|app| UdpApp::ALL.get(app).copied()),
            stage,
            unknown: (packed >> 6 & 7) as u8,
            speakers: (packed >> 9 & 3) as u8,
            ..Self::default()
        }
    }

    /// Whether payloads are still wanted.
    #[must_use]
    pub fn is_interesting(&self) -> bool {
        self.stage != Stage::Over
    }

    /// The protocol: by the ports from the first packet on, until the content says otherwise. With
    /// [`Classify::Content`] a protocol that the ports promise and no payload keeps is taken back.
    #[must_use]
    pub fn app(&self) -> Option<App> {
        self.app.map(UdpApp::app)
    }

    /// Adds what holds for the conversation as a whole, as at most one event of kind
    /// [`Facts`](super::Kind::Facts). The protocols of single messages have none. A conversation
    /// may end with its hello half told: what is known by now goes with each of its records.
    pub fn facts(&self, events: &mut Events) {
        let Some(memory) = &self.memory else { return };
        match memory.facts.get(0) {
            Some(facts) => drop(events.push(&facts)),
            None => memory.quic.facts(events),
        }
    }

    /// Gives all bytes back; nothing is decoded any more.
    pub fn release(&mut self, budget: &mut Budget) {
        self.memory = None;
        self.stage = Stage::Over;
        budget.recharge(&mut self.charged, 0);
    }

    /// Goes on with QUIC, if there is room for what it has to remember.
    fn quic(&mut self, datagram: &Datagram<'_>, budget: &mut Budget) -> Verdict {
        let memory = self.memory.get_or_insert_default();
        let verdict = memory.quic.datagram(datagram, &mut memory.facts);
        let bytes = match verdict {
            Verdict::More => size_of::<Memory>() + memory.quic.heap_bytes(),
            Verdict::Done | Verdict::Over => {
                memory.quic = Quic::new();
                QUIC_FACTS_BYTES
            }
            Verdict::Wrong => {
                // Its first datagrams said nothing and were let through: no later one will.
                self.release(budget);
                self.app = None;
                return verdict;
            }
        };
        if !budget.recharge(&mut self.charged, bytes) {
            self.release(budget);
            budget.refuse();
            return Verdict::Done;
        }
        verdict
    }

    fn decode(
        &mut self,
        app: UdpApp,
        datagram: &Datagram<'_>,
        ports: &UdpPorts,
        pending: &mut Pending,
        budget: &mut Budget,
        events: &mut Events,
    ) -> Verdict {
        match app {
            UdpApp::Dns => dns::datagram(datagram, &ports.dns, pending, events),
            UdpApp::Mdns => mdns::datagram(datagram, events),
            UdpApp::Dhcp => dhcp::datagram(datagram, pending, events),
            UdpApp::Dhcpv6 => dhcpv6::datagram(datagram, pending, events),
            UdpApp::Radius => radius::datagram(datagram, pending, events),
            UdpApp::Sip => sip::datagram(datagram, pending, events),
            UdpApp::Quic => self.quic(datagram, budget),
        }
    }

    /// Notes what a decoder said; true when it knew the payload.
    fn settle(&mut self, app: UdpApp, verdict: Verdict) -> bool {
        self.stage = match verdict {
            Verdict::More => Stage::Settled,
            Verdict::Done | Verdict::Over => Stage::Over,
            Verdict::Wrong => return false,
        };
        self.app = Some(app);
        true
    }
}

/// Gives one datagram of a conversation to the decoder that it belongs to. Costs next to nothing
/// when the conversation [is not interesting](UdpState::is_interesting).
pub fn datagram(
    state: &mut UdpState,
    datagram: &Datagram<'_>,
    ports: &UdpPorts,
    pending: &mut Pending,
    budget: &mut Budget,
    events: &mut Events,
) {
    if state.stage == Stage::New {
        state.app = UdpApp::by_ports(datagram, ports);
        let is_hopeless = state.app.is_none() && ports.classify == Classify::Ports;
        state.stage = if is_hopeless { Stage::Over } else { Stage::Trying };
    }
    if state.stage == Stage::Over || datagram.payload.is_empty() {
        return;
    }
    let is_open = state.stage == Stage::Trying && ports.classify == Classify::Content;
    let by_content = match is_open {
        true => UdpApp::by_content(datagram.payload, state.app),
        false => None,
    };
    if let Some(app) = by_content.or(state.app) {
        let verdict = state.decode(app, datagram, ports, pending, budget, events);
        if state.settle(app, verdict) || state.stage == Stage::Settled {
            return;
        }
    }
    state.unknown += 1;
    state.speakers |= if datagram.src_port > datagram.dst_port { 1 } else { 2 };
    let is_hopeless = state.app.is_none() && state.speakers == BOTH;
    if state.unknown >= MAX_UNKNOWN || is_hopeless {
        state.stage = Stage::Over;
        if ports.classify == Classify::Content {
            state.app = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{Field, Kind, Value};

    /// A query for example.org, type A.
    const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\x01\0\x01";

    struct Fixture {
        state: UdpState,
        ports: UdpPorts,
        pending: Pending,
        budget: Budget,
        events: Events,
    }

    impl Fixture {
        fn new(classify: Classify) -> Self {
            Self {
                state: UdpState::default(),
                ports: UdpPorts { classify, ..UdpPorts::default() },
                pending: Pending::new(64),
                budget: Budget::new(1 << 20),
                events: Events::default(),
            }
        }

        fn send(&mut self, src_port: u16, dst_port: u16, payload: &[u8]) -> Option<App> {
            let packet =
                Datagram { payload, src_port, dst_port, conversation: 0x1234, now_us: 1_000 };
            let Self { state, ports, pending, budget, events } = self;
            datagram(state, &packet, ports, pending, budget, events);
            self.state.app()
        }
    }

    #[test]
    fn the_state_of_a_conversation_is_small() {
        assert!(size_of::<UdpState>() <= 16);
        assert!(UdpState::default().is_interesting());
        assert_eq!(UdpState::default().app(), None);
    }

    #[test]
    fn the_smaller_port_comes_before_the_larger() {
        for (src, dst, expected) in [
            (53, 0, Some(App::Dns)),
            (0, 33, None),
            (53, 1812, Some(App::Dns)),
            (1813, 53, Some(App::Dns)),
            (40_000, 1813, Some(App::Radius)),
            (68, 67, Some(App::Dhcp)),
        ] {
            for classify in [Classify::Ports, Classify::Content] {
                assert_eq!(Fixture::new(classify).send(src, dst, b""), expected, "{src} {dst}");
            }
        }
        // Protocols that the original did not know.
        for (src, dst, expected) in [
            (547, 546, App::Dhcpv6),
            (5353, 5353, App::Mdns),
            (80, 5353, App::Mdns),
            (50_000, 443, App::Quic),
            (5060, 5060, App::Sip),
        ] {
            let send = |classify| Fixture::new(classify).send(src, dst, b"");
            assert_eq!(send(Classify::Content), Some(expected), "{src} {dst}");
            assert_eq!(send(Classify::Ports), None, "{src} {dst}");
        }
    }

    #[test]
    fn configured_ports_come_before_well_known_ones() {
        let mut fixture = Fixture::new(Classify::Ports);
        fixture.ports = UdpPorts { dns: vec![5353], radius: vec![67], classify: Classify::Ports };
        assert_eq!(fixture.send(5353, 40_000, b""), Some(App::Dns));
        fixture.state = UdpState::default();
        assert_eq!(fixture.send(67, 40_000, b""), Some(App::Radius));
        fixture.state = UdpState::default();
        assert_eq!(fixture.send(53, 40_000, b""), None);
        assert!(!fixture.state.is_interesting());
    }

    #[test]
    fn a_state_without_memory_is_a_number_and_back() {
        for (number, app) in UdpApp::ALL.into_iter().enumerate() {
            assert_eq!(app as usize, number);
        }
        let apps = UdpApp::ALL.into_iter().map(Some).chain([None]);
        let stages = [Stage::New, Stage::Trying, Stage::Settled, Stage::Over];
        for (app, stage) in apps.flat_map(|app| stages.map(|stage| (app, stage))) {
            for (unknown, speakers) in
                (0..=MAX_UNKNOWN).flat_map(|n| [0, 1, 2, BOTH].map(|s| (n, s)))
            {
                let state = UdpState { app, stage, unknown, speakers, ..UdpState::default() };
                let packed = state.packed().unwrap();
                assert!(packed < 1 << 12);
                assert_eq!(format!("{:?}", UdpState::unpack(packed)), format!("{state:?}"));
            }
        }
        let memory = Some(Box::default());
        assert_eq!(UdpState { memory, ..UdpState::default() }.packed(), None);
    }

    #[test]
    fn dns_is_found_on_any_port_by_its_content() {
        let mut fixture = Fixture::new(Classify::Content);
        assert_eq!(fixture.send(40_000, 9_953, b"something else"), None);
        assert_eq!(fixture.send(40_000, 9_953, QUERY), Some(App::Dns));
        let event = fixture.events.get(0).unwrap();
        assert_eq!((event.app, event.kind), (App::Dns, Kind::Request));
        assert_eq!(event.get(Field::DnsQuery), Some(Value::Text("example.org")));

        let mut fixture = Fixture::new(Classify::Ports);
        assert_eq!(fixture.send(40_000, 9_953, QUERY), None);
        assert!(fixture.events.is_empty());
    }

    #[test]
    fn content_corrects_a_wrong_port() {
        let mut fixture = Fixture::new(Classify::Content);
        assert_eq!(fixture.send(40_000, 1812, QUERY), Some(App::Dns));
        assert_eq!(fixture.events.len(), 1);
    }

    #[test]
    fn what_nobody_recognises_is_given_up_after_four_payloads() {
        let mut fixture = Fixture::new(Classify::Content);
        for number in 1..=4 {
            assert!(fixture.state.is_interesting());
            let expected = (number < 4).then_some(App::Dns);
            assert_eq!(fixture.send(40_000, 53, b"no DNS"), expected);
        }
        assert!(!fixture.state.is_interesting());
        assert_eq!(fixture.send(40_000, 53, QUERY), None);
        assert!(fixture.events.is_empty());
    }

    #[test]
    fn with_ports_alone_the_protocol_of_the_port_stays() {
        let mut fixture = Fixture::new(Classify::Ports);
        for _ in 0..9 {
            assert_eq!(fixture.send(40_000, 53, b"no DNS"), Some(App::Dns));
        }
        assert!(!fixture.state.is_interesting());
    }

    #[test]
    fn damaged_datagrams_end_nothing_once_one_was_recognised() {
        let mut fixture = Fixture::new(Classify::Content);
        fixture.send(40_000, 53, QUERY);
        for _ in 0..100 {
            fixture.send(40_000, 53, b"no DNS");
        }
        assert_eq!(fixture.send(40_000, 53, QUERY), Some(App::Dns));
        assert_eq!(fixture.events.len(), 2);
    }

    #[test]
    fn quic_is_charged_for_what_it_keeps() {
        let mut fixture = Fixture::new(Classify::Content);
        fixture.send(50_000, 443, &[0x5b; 40]);
        let used = fixture.budget.used();
        assert!((1..1024).contains(&used), "{used}");
        let Fixture { state, budget, .. } = &mut fixture;
        state.release(budget);
        assert_eq!(fixture.budget.used(), 0);
        // Without room nothing is kept, and that is counted.
        fixture.state = UdpState::default();
        fixture.budget = Budget::new(100);
        assert_eq!(fixture.send(50_000, 443, &[0x5b; 40]), Some(App::Quic));
        assert!(!fixture.state.is_interesting());
        assert_eq!((fixture.budget.used(), fixture.budget.refused()), (0, 1));
    }

    #[test]
    fn quic_without_a_beginning_is_let_go() {
        let mut fixture = Fixture::new(Classify::Content);
        for _ in 0..9 {
            fixture.send(50_000, 443, &[0x5b; 40]);
        }
        assert!(!fixture.state.is_interesting());
        assert_eq!((fixture.state.app(), fixture.budget.used()), (None, 0));
    }

    #[test]
    fn packets_without_payload_do_not_count() {
        let mut fixture = Fixture::new(Classify::Content);
        for _ in 0..9 {
            fixture.send(40_000, 9_953, b"");
        }
        assert_eq!(fixture.send(40_000, 9_953, QUERY), Some(App::Dns));
    }
}
