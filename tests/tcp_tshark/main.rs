//! Conversations with known truth, judged by the program and by tshark's `tcp.analysis`: each packet
//! on which they differ belongs to a class that `docs/tcp-metrics.md` lists.
//!
//! Without tshark each test says so and passes.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../../flowtable/tests/tcp/generator.rs"]
#[allow(dead_code, reason = "each test program uses a part")]
mod generator;
mod judge;
mod scripts;
#[path = "../../flowtable/tests/tcp/wire.rs"]
#[allow(dead_code, reason = "each test program uses a part")]
mod wire;

use std::collections::BTreeMap;

use benches::pcap_file::Writer;
use common::recordings::{self, ETHERNET};
use common::{folder, records, replay};
use flowtable::Way::{self, Down, Up};
use generator::{Plan, Random, Truth, play};
use judge::{Analysis, Conversation, Judged, Own, Verdict, judge};
use scripts::{Script, classes, scripts};
use wire::MS;

/// Like the plans of the engine's own tests, with everything by chance.
fn plan(seed: u64) -> Plan {
    let mut random = Random::new(seed ^ 0x5eed);
    Plan {
        seed,
        segments: 250,
        mss: 1448,
        window: 10 + random.below(40) as u32,
        near_ns: 2 * MS + random.below(20 * MS),
        far_ns: 2 * MS + random.below(60 * MS),
        spacing_ns: 20_000 + random.below(100_000),
        loss_before: 10,
        loss_after: 10,
        ack_loss: 10,
        reorder: 20,
        reorder_again: 0,
        duplicate: if seed % 4 == 3 { 10 } else { 0 },
        sack: random.below(2) == 0,
        timestamps: random.below(2) == 0,
        ip_ids: seed % 4 == 3 || random.below(2) == 0,
        delayed_acks: random.below(2) == 0,
        sender_opens: random.below(2) == 0,
        half_open: seed % 10 == 9,
        isn: if random.below(4) == 0 { u32::MAX - 100_000 } else { random.next() as u32 },
    }
}

#[test]
fn generated_conversations_differ_in_listed_classes_only() {
    for (seeds, snap) in [(0..60, 128), (100..130, 65_535), (200..230, 64)] {
        // What is cut off at 64 bytes would be options.
        let bare = snap == 64;
        let cut = |plan: Plan| Plan {
            sack: plan.sack && !bare,
            timestamps: plan.timestamps && !bare,
            ..plan
        };
        let plans: Vec<_> = seeds.map(plan).map(cut).collect();
        let captures: Vec<_> = plans.iter().map(|plan| play(*plan)).collect();
        let conversations: Vec<Conversation> = captures
            .iter()
            .map(|capture| capture.seen.iter().map(|seen| (seen.way, seen.segment)).collect())
            .collect();
        let Some(judged) = judge(&conversations, snap) else { return };
        let mut counts = Counts::default();
        for (n, capture) in captures.iter().enumerate() {
            let packets = judged.ours[n].iter().zip(&judged.theirs[n]);
            for (seen, (ours, theirs)) in capture.seen.iter().zip(packets) {
                let all = (ours.verdict, theirs.verdict(), seen.truth);
                counts.note(all, &format!("{seen:?}, {:?}", plans[n]));
                counts.note_cause(ours, theirs);
                counts.note_dup_ack(ours, theirs, &format!("{seen:?}, {:?}", plans[n]));
            }
            assert_figures(&judged, n, &plans[n]);
        }
        counts.assert_bounds();
    }
}

/// How often each class of the documentation occurred.
#[derive(Debug, Default)]
struct Counts {
    agreed_again: u32,
    agreed_late: u32,
    /// Class 1.
    again_called_late: u32,
    /// Class 2.
    copies: u32,
    /// Not what happened: ours, theirs or both.
    wrong: u32,
    dup_acks: u32,
    /// Class 3.
    dup_acks_of_nothing: u32,
    /// Class 4.
    dup_acks_with_sack: u32,
    agreed_needless: u32,
    needless_differ: u32,
    agreed_fast: u32,
    /// Class 10.
    fast_differ: u32,
}

impl Counts {
    fn note(&mut self, all: (Verdict, Verdict, Truth), what: &str) {
        use Verdict::{Again, Copy, Late, Ordinary};
        let place = match all {
            (Ordinary, Ordinary, Truth::Ordinary | Truth::Other) => return,
            (Again, Again, Truth::Retransmission) => &mut self.agreed_again,
            (Late, Late, Truth::Reordered) => &mut self.agreed_late,
            (Again, Late, Truth::Retransmission) => &mut self.again_called_late,
            (Copy, Again | Late, Truth::Copy) => &mut self.copies,
            // Late by more than a round trip, or again so fast that it looks late.
            (Again, Again | Late, Truth::Reordered) | (Late, Again | Late, Truth::Retransmission)
            // A transmission whose first one was never seen, or a copy that was overtaken.
            | (Again | Late, Again | Late, Truth::Other | Truth::Copy) => &mut self.wrong,
            _ => panic!("{all:?} is in no class: {what}"),
        };
        *place += 1;
    }

    /// Of what both take for sent again: why.
    fn note_cause(&mut self, ours: &Own, theirs: &Analysis) {
        let differ = |agreed: &mut u32, differ: &mut u32, ours: bool, theirs: bool| {
            *agreed += u32::from(ours && theirs);
            *differ += u32::from(ours != theirs);
        };
        if ours.verdict == Verdict::Again && theirs.verdict() == Verdict::Again {
            let spurious = theirs.has("spurious_retransmission");
            differ(&mut self.agreed_needless, &mut self.needless_differ, ours.needless, spurious);
            // What is spurious is not called fast as well.
            let fast = theirs.has("fast_retransmission");
            let own_fast = ours.fast && !ours.needless;
            differ(&mut self.agreed_fast, &mut self.fast_differ, own_fast, fast);
        }
    }

    fn note_dup_ack(&mut self, ours: &Own, theirs: &Analysis, what: &str) {
        match (ours.dup_ack, theirs.has("duplicate_ack")) {
            (false, false) => {}
            (true, true) => self.dup_acks += 1,
            (false, true) if !ours.outstanding => self.dup_acks_of_nothing += 1,
            (true, false) if ours.sack => self.dup_acks_with_sack += 1,
            differ => panic!("duplicate ACK {differ:?} is in no class: {what}"),
        }
    }

    fn assert_bounds(&self) {
        let again = self.agreed_again + self.again_called_late;
        assert!(self.agreed_again > 200 && self.agreed_late > 60, "{self:?}");
        assert!(self.again_called_late * 3 < again, "{self:?}");
        assert!(self.copies < 100, "{self:?}");
        assert!(self.needless_differ * 100 <= self.agreed_needless, "{self:?}");
        assert!(self.fast_differ * 5 < self.agreed_fast.max(10), "{self:?}");
        assert!(self.wrong * 100 < again + self.agreed_late, "{self:?}");
        assert!(self.dup_acks > 2000 && self.dup_acks_of_nothing * 10 < self.dup_acks, "{self:?}");
        assert!(self.dup_acks_with_sack * 100 < self.dup_acks, "{self:?}");
    }
}

/// Figures of a whole conversation: gaps, unseen data, handshake, round trips.
fn assert_figures(judged: &Judged, n: usize, plan: &Plan) {
    let [up, down] = &judged.sums[n];
    let sum = |sums: &BTreeMap<String, u64>, name: &str| sums.get(name).copied();
    let packets = || judged.ours[n].iter().zip(&judged.theirs[n]);
    let flagged = |way: Way, field: &str| {
        packets().filter(|(own, theirs)| own.way == way && theirs.has(field)).count() as u64
    };
    let what = format!("{plan:?}: {up:?} {down:?}");
    assert_eq!(sum(up, "gaps").unwrap_or(0), flagged(Up, "analysis.lost_segment"), "{what}");
    assert_eq!(sum(up, "unseen_bytes"), None, "{what}");
    assert_eq!(flagged(Down, "ack_lost_segment"), 0, "{what}");
    let initial_us = judged.theirs[n].iter().find_map(|theirs| theirs.us("initial_rtt"));
    let handshakes_us = [up, down].map(|side| sum(side, "handshake_rtt_us"));
    if let (Some(initial_us), [Some(client_us), Some(server_us)]) = (initial_us, handshakes_us) {
        assert!((client_us + server_us).abs_diff(initial_us) <= 2, "{initial_us}: {what}");
    } else {
        assert!(plan.half_open, "{initial_us:?}: {what}");
    }
    // Class 5: theirs takes any acknowledgment for an answer.
    let answers_us = packets().filter(|(own, _)| own.way == Down);
    let least_us = answers_us.filter_map(|(_, theirs)| theirs.us("ack_rtt")).min().unwrap();
    let own_us = sum(down, "rtt_min_us").unwrap();
    assert!(own_us + 1 >= least_us, "{least_us}: {what}");
    assert!(own_us + 50 >= 2 * plan.far_ns / 1000, "no faster than the path: {what}");
}

/// Each class of the documentation, and the cases in which both agree, on a few packets.
#[test]
fn a_few_packets_show_who_is_right() {
    let scripts = scripts();
    let conversations: Vec<_> = scripts.iter().map(|script| script.packets.clone()).collect();
    for snap in [65_535, 94] {
        let Some(judged) = judge(&conversations, snap) else { return };
        for (n, script) in scripts.iter().enumerate() {
            let ours: Vec<_> = judged.ours[n].iter().map(Own::letters).collect();
            let theirs: Vec<_> = judged.theirs[n].iter().map(Analysis::letters).collect();
            let (expected_ours, expected_theirs) = script.expected;
            assert_eq!(ours.join(" "), expected_ours, "ours, {}", script.name);
            assert_eq!(theirs.join(" "), expected_theirs, "tshark's, {}", script.name);
        }
        let sum = |name: &str, way: Way, field: &str| {
            let n = scripts.iter().position(|script| script.name == name).unwrap();
            judged.sums[n][way.index()].get(field).copied().unwrap_or(0)
        };
        // Their figures: 220 ms from the first transmission, 5 ms from the second.
        assert_eq!(sum("answered after it was sent again", Down, "rtt_samples"), 1, "the SYN's");
        assert_eq!(sum("acknowledged, never seen", Up, "unseen_bytes"), 200);
        assert_eq!(sum("missing in the middle", Up, "unseen_bytes"), 200);
        assert_eq!(sum("joined when sent again", Up, "unseen_bytes"), 0);
        assert_eq!(sum("sent again after a timeout", Up, "retransmitted_timeout"), 1);
        assert_eq!(sum("fast, but not at once", Up, "retransmitted_fast"), 1);
        let mut theirs = judged.theirs.iter().flatten();
        assert!(!theirs.any(|theirs| theirs.has("fast_retransmission")));
        assert_eq!(sum("needless", Up, "retransmitted_needless"), 1);
        assert_eq!(sum("window probes", Down, "zero_window_us"), 850_000);
        assert_eq!(sum("ports used again", Down, "server_nw_latency_ms"), 10);
    }
}

#[test]
fn every_metric_and_every_class_is_in_the_documentation() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/tcp-metrics.md");
    let text = std::fs::read_to_string(path).unwrap();
    for field in export::TCP_FIELDS {
        let row = format!("| `{}` | `{}` | ", field.name, field.column);
        assert!(text.contains(&row), "{row}");
    }
    let headings = text.lines().filter(|line| line.starts_with("### ")).count();
    // Two classes have two cases each.
    assert_eq!(headings, classes().len() - 2);
}

#[test]
fn merged_segments_are_judged_like_their_parts() {
    let mut script = Script::opened();
    script.data(30, 1_000, 14_480, 1).data(31, 15_480, 14_480, 11).ack(51, 29_960, 500);
    script.data(52, 44_440, 1_448, 31).data(52, 29_960, 14_480, 21).ack(72, 45_888, 500);
    let Some(judged) = judge(&[script.0], 128) else { return };
    let verdicts: Vec<_> = judged.ours[0].iter().map(|own| own.verdict).collect();
    assert_eq!(verdicts.iter().filter(|&&verdict| verdict == Verdict::Late).count(), 1);
    assert!(verdicts.iter().all(|&verdict| verdict != Verdict::Again));
    let theirs: Vec<_> = judged.theirs[0].iter().map(Analysis::verdict).collect();
    assert_eq!(verdicts, theirs);
}

#[test]
fn a_vlan_tag_changes_no_metric() {
    let capture = play(plan(3));
    let folder = folder();
    let [plain, tagged] = ["plain", "tagged"].map(|name| {
        let path = folder.path().join(name);
        let mut writer = Writer::create(&path, ETHERNET).unwrap();
        for seen in &capture.seen {
            let mut frame = wire::frame(seen.way, &seen.segment, 0);
            if name == "tagged" {
                frame = recordings::tagged(frame, &[(0x8100, 7)]);
            }
            let data = frame.get(..100).unwrap_or(&frame);
            writer.write(seen.segment.time_ns, data, frame.len() as u32).unwrap();
        }
        writer.finish().unwrap();
        let records = records(&replay(&path, &[]).stdout);
        records.iter().map(|record| record["tcp"].clone()).collect::<Vec<_>>()
    });
    assert!(plain.iter().any(|tcp| tcp["retransmitted"].as_u64() > Some(0)), "{plain:?}");
    assert_eq!(plain, tagged);
}
