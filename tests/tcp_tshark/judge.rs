//! Has the program and tshark judge the same capture, packet by packet.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use benches::pcap_file::Writer;
use decode::{Frame, Link, Outcome, Packet};
use flowtable::Way;
use flowtable::tcp::{Details, Ending, Segment, TcpMetrics, TcpState};
use serde_json::Value;

use crate::common::recordings::ETHERNET;
use crate::common::{folder, records, replay};
use crate::wire;

/// What each frame may be called by tshark, beside figures.
const FIELDS: [&str; 13] = [
    "ip.src",
    "tcp.analysis.retransmission",
    "tcp.analysis.fast_retransmission",
    "tcp.analysis.spurious_retransmission",
    "tcp.analysis.out_of_order",
    "tcp.analysis.duplicate_ack",
    "tcp.analysis.zero_window",
    "tcp.analysis.keep_alive",
    "tcp.analysis.lost_segment",
    "tcp.analysis.ack_lost_segment",
    "tcp.analysis.initial_rtt",
    "tcp.analysis.ack_rtt",
    "ip.dst",
];

/// What a packet of data is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Ordinary,
    Again,
    Late,
    Copy,
    KeepAlive,
}

/// One conversation at the probe.
pub type Conversation = Vec<(Way, Segment)>;

/// What the program's own engine says of one packet.
#[derive(Clone, Copy, Debug)]
pub struct Own {
    pub way: Way,
    pub verdict: Verdict,
    pub fast: bool,
    pub needless: bool,
    pub gap: bool,
    pub dup_ack: bool,
    pub zero_window: bool,
    pub sack: bool,
    /// The other side has sent data beyond what this acknowledges.
    pub outstanding: bool,
}

impl Own {
    /// As [`Analysis::letters`].
    pub fn letters(&self) -> String {
        letters(self.verdict, [self.gap, self.dup_ack, self.zero_window, false])
    }
}

/// One packet in short: `again`, `late`, `copy` or `alive`, then `gap` before it, `dup` ACK, `zero`
/// window, ACK of something `unseen`; `-` for nothing of that.
fn letters(verdict: Verdict, more: [bool; 4]) -> String {
    let word = match verdict {
        Verdict::Ordinary => "",
        Verdict::Again => "again",
        Verdict::Late => "late",
        Verdict::Copy => "copy",
        Verdict::KeepAlive => "alive",
    };
    let words = ["gap", "dup", "zero", "unseen"].into_iter().zip(more);
    let words = words.filter(|(_, applies)| *applies).map(|(word, _)| word);
    let text: Vec<_> = [word].into_iter().filter(|word| !word.is_empty()).chain(words).collect();
    if text.is_empty() { "-".to_owned() } else { text.join("+") }
}

/// What tshark says of one frame.
#[derive(Clone, Debug, Default)]
pub struct Analysis(Vec<String>);

impl Analysis {
    pub fn has(&self, field: &str) -> bool {
        !self.text(field).is_empty()
    }

    fn text(&self, field: &str) -> &str {
        let at = FIELDS.iter().position(|name| name.ends_with(field)).unwrap();
        &self.0[at]
    }

    pub fn us(&self, field: &str) -> Option<u64> {
        let text = self.text(field);
        (!text.is_empty()).then(|| (text.parse::<f64>().unwrap() * 1e6).round() as u64)
    }

    /// The frame in short, as [`letters`] has it.
    pub fn letters(&self) -> String {
        let more = ["analysis.lost_segment", "duplicate_ack", "zero_window", "ack_lost_segment"];
        letters(self.verdict(), more.map(|field| self.has(field)))
    }

    pub fn verdict(&self) -> Verdict {
        let again = ["analysis.retransmission", "fast_retransmission", "spurious_retransmission"];
        if again.iter().any(|field| self.has(field)) {
            Verdict::Again
        } else if self.has("out_of_order") {
            Verdict::Late
        } else if self.has("keep_alive") {
            Verdict::KeepAlive
        } else {
            Verdict::Ordinary
        }
    }
}

/// All that was found out about some conversations.
pub struct Judged {
    /// By conversation and packet.
    pub ours: Vec<Vec<Own>>,
    pub theirs: Vec<Vec<Analysis>>,
    /// Sums of records by conversation and way.
    pub sums: Vec<[BTreeMap<String, u64>; 2]>,
}

/// Writes all conversations side by side into a capture, each frame cut to `snap` bytes, and has
/// both read it. `None` without tshark.
pub fn judge(conversations: &[Conversation], snap: usize) -> Option<Judged> {
    let folder = folder();
    let path = folder.path().join("generated.pcap");
    let mut order: Vec<_> = conversations
        .iter()
        .enumerate()
        .flat_map(|(n, packets)| (0..packets.len()).map(move |i| (n, i)))
        .collect();
    order.sort_by_key(|&(n, i)| conversations[n][i].1.time_ns);
    let mut writer = Writer::create(&path, ETHERNET).unwrap();
    let mut ours: Vec<_> = conversations.iter().map(|_| Follower::new()).collect();
    for &(n, i) in &order {
        let (way, segment) = &conversations[n][i];
        let frame = wire::frame(*way, segment, n as u8);
        let data = frame.get(..snap).unwrap_or(&frame);
        writer.write(segment.time_ns, data, frame.len() as u32).unwrap();
        ours[n].feed(*way, data, frame.len() as u32, segment.time_ns);
    }
    writer.finish().unwrap();
    let analyses = analyse(&path)?;
    assert_eq!(analyses.len(), order.len());
    let mut theirs: Vec<Vec<Analysis>> = conversations.iter().map(|_| Vec::new()).collect();
    for (&(n, _), analysis) in order.iter().zip(analyses) {
        theirs[n].push(analysis);
    }
    let sums = sums(&records(&replay(&path, &[]).stdout), conversations.len());
    for (sums, follower) in sums.iter().zip(&ours) {
        for (sum, counted) in sums.iter().zip(&follower.counted) {
            for (name, count) in counted {
                assert_eq!(sum.get(*name).copied().unwrap_or(0), *count, "{name}: {sum:?}");
            }
        }
    }
    Some(Judged { ours: ours.into_iter().map(|own| own.packets).collect(), theirs, sums })
}

/// The program's own engine, asked after each packet; its sums have to be those of the records.
struct Follower {
    state: TcpState,
    details: Details,
    packets: Vec<Own>,
    /// The end of what each way has sent, in order of sequence.
    ends: [Option<u32>; 2],
    counted: [BTreeMap<&'static str, u64>; 2],
}

impl Follower {
    fn new() -> Self {
        let details = Details::with_capacity(1).unwrap();
        let counted = [BTreeMap::new(), BTreeMap::new()];
        Self { state: TcpState::default(), details, packets: Vec::new(), ends: [None; 2], counted }
    }

    fn feed(&mut self, way: Way, data: &[u8], wire_len: u32, time_ns: u64) {
        let mut packet = Packet::default();
        let frame = Frame { data, wire_len, ..Frame::default() };
        assert_eq!(decode::parse(Link::Ethernet, &frame, &mut packet), Outcome::Packet);
        let segment = Segment::new(&packet, data, time_ns, 0).unwrap();
        if self.state.starts_anew(way, &segment) {
            self.state.release(&mut self.details);
            self.state = TcpState::default();
        }
        self.state.update(way, &segment, &mut self.details);
        let metrics = self.state.take(way, time_ns, Ending::Open, &mut self.details);
        let end = segment.seq.wrapping_add(segment.len);
        let own_end = &mut self.ends[way.index()];
        let is_newer = |end: u32, than: u32| end.wrapping_sub(than).cast_signed() > 0;
        if segment.len > 0 && own_end.is_none_or(|own_end| is_newer(end, own_end)) {
            *own_end = Some(end);
        }
        self.packets.push(Own {
            way,
            verdict: verdict(&metrics),
            fast: metrics.retransmitted_fast > 0,
            needless: metrics.retransmitted_needless > 0,
            gap: metrics.gaps > 0,
            dup_ack: metrics.dup_acks > 0,
            zero_window: metrics.zero_windows > 0,
            sack: segment.sack.is_some(),
            outstanding: self.ends[way.other().index()]
                .is_some_and(|end| is_newer(end, segment.ack)),
        });
        for (name, count) in [
            ("retransmitted", metrics.retransmitted),
            ("out_of_order", metrics.out_of_order),
            ("duplicates", metrics.duplicates),
            ("dup_acks", metrics.dup_acks),
            ("zero_windows", metrics.zero_windows),
            ("gaps", metrics.gaps),
        ] {
            *self.counted[way.index()].entry(name).or_default() += u64::from(count);
        }
    }
}

fn verdict(metrics: &TcpMetrics) -> Verdict {
    match (metrics.retransmitted, metrics.out_of_order, metrics.duplicates) {
        (0, 0, 0) => Verdict::Ordinary,
        (1, 0, 0) => Verdict::Again,
        (0, 1, 0) => Verdict::Late,
        (0, 0, 1) => Verdict::Copy,
        other => panic!("one packet, several verdicts: {other:?}"),
    }
}

/// tshark's view of each frame.
fn analyse(path: &Path) -> Option<Vec<Analysis>> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(path).args(["-n", "-T", "fields", "-E", "occurrence=f"]);
    for field in FIELDS {
        command.args(["-e", field]);
    }
    let Ok(output) = command.output() else {
        eprintln!("skipped: no tshark to compare with");
        return None;
    };
    assert!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| Analysis(line.split('\t').map(str::to_owned).collect()));
    Some(lines.collect())
}

/// Numbers of the records' `tcp` objects by conversation and way: counters added up, the others
/// from the last.
fn sums(records: &[Value], conversations: usize) -> Vec<[BTreeMap<String, u64>; 2]> {
    let mut sums = vec![[BTreeMap::new(), BTreeMap::new()]; conversations];
    for record in records {
        let octets: std::net::Ipv4Addr = record["src"].as_str().unwrap().parse().unwrap();
        let [_, _, number, host] = octets.octets();
        let sum = &mut sums[usize::from(number)][usize::from(host != 1)];
        for (name, value) in record["tcp"].as_object().unwrap() {
            let Some(value) = value.as_u64() else { continue };
            let lasts = ["_us", "_ms", "_window"].iter().any(|end| name.ends_with(end));
            let before = sum.entry(name.clone()).or_insert(0);
            *before = match &**name {
                "rtt_min_us" if *before > 0 => value.min(*before),
                _ if lasts => value,
                _ => *before + value,
            };
        }
    }
    sums
}
