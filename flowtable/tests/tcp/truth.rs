//! Metrics against the truth of generated conversations.

use flowtable::Way;
use flowtable::tcp::{Close, Details, Ending, TcpState};

use crate::conversation::MS;
use crate::generator::*;

/// Verdicts on packets: rightly counted, wrongly counted, missed.
#[derive(Clone, Copy, Debug, Default)]
struct Score {
    right: u32,
    wrong: u32,
    missed: u32,
}

impl Score {
    fn note(&mut self, counted: bool, truth: bool) {
        self.right += u32::from(counted && truth);
        self.wrong += u32::from(counted && !truth);
        self.missed += u32::from(!counted && truth);
    }

    /// At least 99 % precision and recall, on enough packets to tell.
    fn is_good(&self, least: u32) -> bool {
        self.right >= least
            && self.wrong * 100 <= self.right + self.wrong
            && self.missed * 100 <= self.right + self.missed
    }
}

#[derive(Debug, Default)]
struct Scores {
    retransmission: Score,
    reordering: Score,
    copies: Score,
    samples: u32,
    wrong_samples: u32,
}

/// A plan with everything by chance, but for what the caller changes.
fn plan(seed: u64) -> Plan {
    let mut random = Random::new(seed ^ 0x5eed);
    Plan {
        seed,
        segments: 400,
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
        duplicate: 0,
        sack: random.below(2) == 0,
        timestamps: random.below(2) == 0,
        ip_ids: random.below(2) == 0,
        delayed_acks: random.below(2) == 0,
        sender_opens: random.below(2) == 0,
        half_open: false,
        isn: if random.below(4) == 0 { u32::MAX - 100_000 } else { random.next() as u32 },
    }
}

/// Feeds a capture and judges each packet by the record that is cut right after it.
fn judge(plan: Plan, scores: &mut Scores) {
    let capture = play(plan);
    let mut details = Details::with_capacity(1).unwrap();
    let mut state = TcpState::default();
    for seen in &capture.seen {
        state.update(seen.way, &seen.segment, &mut details);
        let time_ns = seen.segment.time_ns;
        let metrics = state.take(Way::Up, time_ns, Ending::Open, &mut details);
        let samples = state.take(Way::Down, time_ns, Ending::Open, &mut details).rtt;
        if seen.way == Way::Up && seen.truth != Truth::Other {
            let truth = seen.truth;
            scores.retransmission.note(metrics.retransmitted > 0, truth == Truth::Retransmission);
            scores.reordering.note(metrics.out_of_order > 0, truth == Truth::Reordered);
            scores.copies.note(metrics.duplicates > 0, truth == Truth::Copy);
        }
        if samples.count > 0 && seen.segment.ack != plan.isn.wrapping_add(1) {
            let true_rtts = &capture.answers[seen.answers.0..seen.answers.1];
            let close = |&probe_ns: &u64| {
                let true_us = (time_ns - probe_ns) / 1000;
                true_us.abs_diff(u64::from(samples.last_us)) <= (true_us / 100).max(50)
            };
            scores.samples += 1;
            scores.wrong_samples += u32::from(!true_rtts.iter().any(close));
        }
    }
}

fn judge_all(seeds: std::ops::Range<u64>, change: impl Fn(&mut Plan)) -> Scores {
    let mut scores = Scores::default();
    for seed in seeds {
        let mut plan = plan(seed);
        change(&mut plan);
        judge(plan, &mut scores);
    }
    scores
}

fn assert_true(scores: &Scores) {
    assert!(scores.retransmission.is_good(100), "{scores:?}");
    assert!(scores.reordering.is_good(100), "{scores:?}");
    assert!(scores.samples > 200, "{scores:?}");
    assert!(scores.wrong_samples * 100 <= scores.samples, "{scores:?}");
}

#[test]
fn loss_and_reordering_are_told_apart_on_any_path() {
    assert_true(&judge_all(0..60, |_| {}));
}

#[test]
fn loss_and_reordering_are_told_apart_without_any_option() {
    let bare = |plan: &mut Plan| {
        (plan.sack, plan.timestamps, plan.ip_ids) = (false, false, false);
    };
    assert_true(&judge_all(100..140, bare));
}

#[test]
fn a_probe_that_came_late_tells_them_apart_too() {
    let late = |plan: &mut Plan| {
        plan.half_open = true;
        // Without handshake the threshold is 3 ms.
        plan.spacing_ns = plan.spacing_ns.min(150_000);
    };
    assert_true(&judge_all(200..240, late));
}

#[test]
fn copies_are_not_retransmissions_where_packets_are_numbered() {
    let copies = |plan: &mut Plan| {
        plan.ip_ids = true;
        plan.duplicate = 30;
    };
    let scores = judge_all(300..340, copies);
    assert_true(&scores);
    assert!(scores.copies.is_good(100), "{scores:?}");
}

#[test]
fn what_is_sent_again_is_counted_though_it_is_overtaken_where_packets_are_numbered() {
    let mut scores = Scores::default();
    for seed in 600..640 {
        let change = Plan { ip_ids: true, reorder_again: 500, duplicate: 10, ..plan(seed) };
        let capture = play(change);
        let mut details = Details::with_capacity(1).unwrap();
        let mut state = TcpState::default();
        for seen in &capture.seen {
            state.update(seen.way, &seen.segment, &mut details);
        }
        // All in one record: what is learnt of the sender lasts until one is cut.
        let metrics = state.take(Way::Up, 0, Ending::Open, &mut details);
        let number = |truth| capture.seen.iter().filter(|seen| seen.truth == truth).count() as u32;
        let pairs = [
            (&mut scores.retransmission, metrics.retransmitted, number(Truth::Retransmission)),
            (&mut scores.reordering, metrics.out_of_order, number(Truth::Reordered)),
            (&mut scores.copies, metrics.duplicates, number(Truth::Copy)),
        ];
        for (score, counted, truth) in pairs {
            score.right += counted.min(truth);
            score.wrong += counted.saturating_sub(truth);
            score.missed += truth.saturating_sub(counted);
        }
    }
    assert!(scores.retransmission.is_good(100), "{scores:?}");
    assert!(scores.reordering.is_good(100), "{scores:?}");
    assert!(scores.copies.is_good(100), "{scores:?}");
}

#[test]
fn heavy_loss_before_and_after_the_probe_is_counted() {
    for seeds in [400..420, 420..440] {
        let before = seeds.start == 400;
        let scores = judge_all(seeds, |plan| {
            plan.loss_before = if before { 60 } else { 0 };
            plan.loss_after = if before { 0 } else { 60 };
            plan.reorder = 10;
        });
        assert!(scores.retransmission.is_good(100), "{scores:?}");
    }
}

#[test]
fn a_clean_path_has_nothing_to_count_and_exact_round_trips() {
    for seed in 500..540 {
        let plan = Plan {
            loss_before: 0,
            loss_after: 0,
            ack_loss: 0,
            reorder: 0,
            delayed_acks: false,
            ..plan(seed)
        };
        let capture = play(plan);
        let mut details = Details::with_capacity(1).unwrap();
        let mut state = TcpState::default();
        for seen in capture.seen.iter().chain(&fin(&capture, 2 * plan.far_ns)) {
            state.update(seen.way, &seen.segment, &mut details);
        }
        let [up, down] = Way::BOTH.map(|way| state.take(way, 0, Ending::Open, &mut details));
        let (near_us, far_us) = (plan.near_ns / 500, plan.far_ns / 500);
        assert_eq!((up.retransmitted, up.out_of_order, up.gaps), (0, 0, 0));
        assert_eq!((up.unseen_bytes, down.dup_acks, up.lacking), (0, 0, false));
        assert_eq!(up.close, Some(Close::Fin));
        for (rtt_us, truth_us) in [
            (u64::from(up.handshake_rtt_us.unwrap()), near_us),
            (u64::from(down.handshake_rtt_us.unwrap()), far_us),
            (u64::from(down.rtt.min_us), far_us),
            (u64::from(down.rtt.mean_us().unwrap()), far_us),
            (u64::from(down.rtt.max_us), far_us),
        ] {
            assert!(rtt_us.abs_diff(truth_us) <= 2, "{rtt_us} {truth_us} {down:?} {plan:?}");
        }
        assert!(down.rtt.count >= 8, "{down:?}");
    }
}
