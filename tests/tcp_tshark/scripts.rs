//! A few packets each that show in what the program and tshark differ, and in what they agree.

use flowtable::Way::{self, Down, Up};
use flowtable::tcp::{SackBlock, SackBlocks, Segment, SynOptions, Timestamps};

use crate::judge::Conversation;
use crate::wire::{ACK, MS, PSH, RST, START_NS, SYN};

/// Packets of a script: time in ms, then the segment.
pub struct Script(pub Conversation);

impl Script {
    /// The client opens: 20 ms between probe and server, 4 between probe and client. Sequence
    /// numbers go on with 1,000 and 7,000.
    pub fn opened() -> Self {
        let syn = SynOptions { window_scale: Some(7), sack_permitted: true, mss: None };
        let opening = Segment { window: 60_000, syn, ..Segment::default() };
        let mut script = Self(Vec::new());
        script.at(0, Up, Segment { seq: 999, flags: SYN, ..opening });
        script.at(20, Down, Segment { seq: 6_999, ack: 1_000, flags: SYN | ACK, ..opening });
        script.ack_up(24);
        script
    }

    fn at(&mut self, ms: u64, way: Way, segment: Segment) -> &mut Self {
        self.0.push((way, Segment { time_ns: START_NS + ms * MS, ..segment }));
        self
    }

    fn ack_up(&mut self, ms: u64) -> &mut Self {
        let segment =
            Segment { seq: 1_000, ack: 7_000, window: 500, flags: ACK, ..Segment::default() };
        self.at(ms, Up, segment)
    }

    /// The client sends.
    pub fn data(&mut self, ms: u64, seq: u32, len: u32, ip_id: u16) -> &mut Self {
        self.at(ms, Up, data(seq, len, ip_id))
    }

    /// The server acknowledges.
    pub fn ack(&mut self, ms: u64, ack: u32, window: u16) -> &mut Self {
        self.at(ms, Down, ack_of(ack, window))
    }
}

fn data(seq: u32, len: u32, ip_id: u16) -> Segment {
    let flags = ACK | PSH;
    Segment { seq, ack: 7_000, len, window: 500, flags, ip_id: Some(ip_id), ..Segment::default() }
}

fn ack_of(ack: u32, window: u16) -> Segment {
    Segment { seq: 7_000, ack, window, flags: ACK, ..Segment::default() }
}

fn clocked(segment: Segment, value: u32) -> Segment {
    Segment { timestamps: Some(Timestamps { value, echo: 1 }), ..segment }
}

fn sacking(ack: u32, window: u16, left: u32, right: u32) -> Segment {
    let sack = SackBlocks::new(&[SackBlock { left, right }]);
    Segment { sack, ..ack_of(ack, window) }
}

/// Packets, and what of each is said: by the program, by tshark.
pub struct Case {
    pub name: &'static str,
    pub packets: Conversation,
    pub expected: (&'static str, &'static str),
}

pub fn scripts() -> Vec<Case> {
    let mut cases = agreements();
    cases.extend(classes());
    cases
}

/// A case whose connection is opened in full view; nothing is said of that.
fn case(
    name: &'static str,
    make: impl Fn(&mut Script),
    expected: (&'static str, &'static str),
) -> Case {
    let mut script = Script::opened();
    make(&mut script);
    Case { name, packets: script.0, expected }
}

const OPENING: Segment = Segment {
    time_ns: 0,
    seq: 999,
    ack: 0,
    len: 0,
    piece_bytes: 0,
    window: 60_000,
    flags: SYN,
    ip_id: None,
    timestamps: None,
    sack: None,
    syn: SynOptions { window_scale: None, sack_permitted: false, mss: None },
};

/// Both say the same.
fn agreements() -> Vec<Case> {
    let mut syn_again = Script(Vec::new());
    syn_again.at(0, Up, OPENING).at(1_000, Up, OPENING);
    let answer = Segment { seq: 6_999, ack: 1_000, flags: SYN | ACK, ..OPENING };
    syn_again.at(1_020, Down, answer).at(2_020, Down, answer).ack_up(2_024);
    let packets = syn_again.0;
    let expected = ("- again - again -", "- again - again -");
    vec![
        Case { name: "opening sent again", packets, expected },
        case(
            "overtaken",
            |s| {
                s.data(30, 1_000, 100, 0).data(31, 1_200, 100, 0).data(33, 1_100, 100, 0);
                s.ack(53, 1_300, 500);
            },
            ("- - - - gap late -", "- - - - gap late -"),
        ),
        case(
            "sent again after a timeout",
            |s| {
                s.data(30, 1_000, 100, 0).data(330, 1_000, 100, 0).ack(350, 1_100, 500);
            },
            ("- - - - again -", "- - - - again -"),
        ),
        case(
            "window probes",
            |s| {
                s.data(30, 1_000, 100, 0).ack(50, 1_100, 0);
                s.data(300, 1_100, 1, 0).ack(320, 1_100, 0);
                s.data(800, 1_100, 1, 0).ack(820, 1_100, 0).ack(900, 1_100, 500);
                s.data(910, 1_100, 100, 0).ack(930, 1_200, 500);
            },
            ("- - - - zero - zero - zero - - -", "- - - - zero - zero - zero - - -"),
        ),
        case(
            "ports used again",
            |s| {
                s.data(30, 1_000, 100, 0).ack(50, 1_100, 500);
                s.at(90, Up, Segment { seq: 500_000, ..OPENING });
                let answer = Segment { seq: 90_000, ack: 500_001, flags: SYN | ACK, ..OPENING };
                s.at(110, Down, answer);
                s.at(114, Up, Segment { ack: 90_001, ..data(500_001, 100, 0) });
            },
            ("- - - - - - - -", "- - - - - - - -"),
        ),
        case(
            "reset with a closed window",
            |s| {
                s.data(30, 1_000, 100, 0);
                s.at(50, Down, Segment { flags: RST | ACK, ..ack_of(1_000, 0) });
            },
            ("- - - - -", "- - - - -"),
        ),
    ]
}

/// One for each class of `docs/tcp-metrics.md`.
pub fn classes() -> Vec<Case> {
    let mut crossing = Script(Vec::new());
    crossing.at(0, Up, OPENING).at(2, Down, Segment { seq: 6_999, ..OPENING });
    crossing.at(10, Up, Segment { ack: 7_000, flags: SYN | ACK, ..OPENING });
    let answer = Segment { seq: 6_999, ack: 1_000, flags: SYN | ACK, ..OPENING };
    crossing.at(12, Down, answer).ack_up(14);
    vec![
        case(
            "sent again while newer data goes on",
            |s| {
                s.data(30, 1_000, 100, 0).data(31, 1_200, 100, 0).ack(50, 1_100, 500);
                s.data(54, 1_300, 100, 0).data(56, 1_100, 100, 0).ack(76, 1_400, 500);
            },
            ("- - - - gap - - again -", "- - - - gap - - late -"),
        ),
        case(
            "sent again, as its timestamp shows",
            |s| {
                s.at(30, Up, clocked(data(1_000, 100, 0), 30));
                s.at(31, Up, clocked(data(1_200, 100, 0), 31));
                s.at(33, Up, clocked(data(1_100, 100, 0), 33)).ack(53, 1_300, 500);
            },
            ("- - - - gap again -", "- - - - gap late -"),
        ),
        case(
            "the same packet twice",
            |s| {
                s.data(30, 1_000, 100, 7).data(30, 1_000, 100, 7).data(31, 1_100, 100, 8);
                s.data(40, 1_000, 100, 7).ack(51, 1_200, 500);
            },
            ("- - - - copy - copy -", "- - - - again - late -"),
        ),
        case(
            "needless",
            |s| {
                s.data(30, 1_000, 100, 0).ack(50, 1_100, 500).data(400, 1_000, 100, 0);
                s.at(420, Down, sacking(1_100, 500, 1_000, 1_100));
            },
            ("- - - - - again -", "- - - - - again dup"),
        ),
        case(
            "duplicate acknowledgments while the window moves",
            |s| {
                s.data(30, 1_000, 100, 0).ack(50, 1_100, 500);
                s.data(60, 1_200, 100, 0).data(61, 1_300, 100, 0);
                s.at(80, Down, sacking(1_100, 499, 1_200, 1_300));
                s.at(81, Down, sacking(1_100, 498, 1_200, 1_400));
            },
            ("- - - - - gap - dup dup", "- - - - - gap - - -"),
        ),
        case(
            "answered after it was sent again",
            |s| {
                s.data(30, 1_000, 100, 0).data(245, 1_000, 100, 0).ack(250, 1_100, 500);
            },
            ("- - - - again -", "- - - - again -"),
        ),
        case(
            "acknowledged, never seen",
            |s| {
                s.data(30, 1_000, 100, 0).ack(50, 1_300, 500);
                s.data(60, 1_300, 100, 0).ack(80, 1_400, 500);
            },
            ("- - - - - gap -", "- - - - unseen gap unseen"),
        ),
        case(
            "missing in the middle",
            |s| {
                s.data(30, 1_000, 100, 0).data(31, 1_300, 100, 0).ack(50, 1_400, 500);
            },
            ("- - - - gap -", "- - - - gap unseen"),
        ),
        case(
            "joined when sent again",
            |s| {
                s.data(30, 1_000, 100, 0).data(31, 1_100, 100, 0).ack(51, 1_100, 500);
                s.data(331, 1_100, 200, 0).ack(351, 1_300, 500);
            },
            ("- - - - - - again -", "- - - - - - again unseen"),
        ),
        case(
            "keep-alives",
            |s| {
                s.data(30, 1_000, 100, 0).ack(50, 1_100, 500);
                s.data(10_000, 1_099, 0, 0).ack(10_020, 1_100, 500);
                s.data(20_000, 1_099, 1, 0).ack(20_020, 1_100, 500);
            },
            ("- - - - - - - - -", "- - - - - alive - alive -"),
        ),
        case(
            "fast, but not at once",
            |s| {
                for (ms, seq) in [(30, 1_000), (31, 1_100), (32, 1_200), (33, 1_300), (34, 1_400)] {
                    s.data(ms, seq, 100, 0);
                }
                s.ack(50, 1_100, 500).ack(52, 1_100, 500).ack(53, 1_100, 500).ack(54, 1_100, 500);
                s.data(80, 1_100, 100, 0).ack(100, 1_500, 500);
            },
            ("- - - - - - - - - dup dup dup again -", "- - - - - - - - - dup dup dup again -"),
        ),
        Case {
            name: "both open at once",
            packets: crossing.0,
            expected: ("- - - - -", "- - again again -"),
        },
    ]
}
