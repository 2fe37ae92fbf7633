//! Samples against the truth they stand for, with fixed seeds.

use flowtable::Record;

use super::*;
use crate::testing::record;

fn offer(sampler: &mut Sampler, record: &Record) {
    sampler.offer(&Cut { record, tcp: None, event: None });
}

fn numbered(bytes: u64) -> Record {
    Record { bytes, ..record(1) }
}

#[test]
fn below_the_limit_nothing_is_dropped_or_rewritten() {
    let mut sampler = Sampler::new(Scheme::Uniform, 3, 1);
    for rate in [1, 256, 0] {
        offer(&mut sampler, &Record { sample_rate: rate, ..record(1) });
    }
    let rates: Vec<u32> = weigh(&mut sampler).iter().map(|kept| kept.wire_rate).collect();
    assert_eq!(rates, [100, 25_600, 100]);
    assert_eq!(sampler.left_out(), 0);
}

#[test]
fn above_the_limit_the_rate_grows_by_the_inverse_of_the_probability() {
    let mut sampler = Sampler::new(Scheme::Uniform, 100, 1);
    (0..1000).for_each(|n| offer(&mut sampler, &numbered(n)));
    assert_eq!(sampler.left_out(), 900);
    let kept = weigh(&mut sampler);
    assert_eq!(kept.len(), 100);
    assert!(kept.iter().all(|kept| kept.wire_rate == 1000));
}

#[test]
fn a_rate_that_is_no_whole_number_is_rounded_both_ways() {
    let mut sampler = Sampler::new(Scheme::Uniform, 3, 1);
    (0..4).for_each(|n| offer(&mut sampler, &numbered(n)));
    // 100 × 4 / 3 = 133.33.
    assert!(weigh(&mut sampler).iter().all(|kept| [133, 134].contains(&kept.wire_rate)));
    let mut random = fastrand::Rng::with_seed(7);
    let sum: u64 = (0..30_000).map(|_| u64::from(scale(100, 4, 3, &mut random))).sum();
    // 4,000,000 with a standard deviation of 82.
    assert!(sum.abs_diff(4_000_000) < 410, "{sum}");
}

#[test]
fn sums_are_unbiased_even_when_size_depends_on_the_order_of_arrival() {
    // The last records are the largest: keeping the first or the last would be far off.
    let truth: u64 = (0..1000_u64).map(|n| n * n).sum();
    let (mut sum, runs) = (0.0, 2000);
    for seed in 0..runs {
        let mut sampler = Sampler::new(Scheme::Uniform, 70, mixed(seed));
        (0..1000).for_each(|n| offer(&mut sampler, &numbered(n * n)));
        sum += weigh(&mut sampler)
            .iter()
            .map(|kept| kept.record.bytes as f64 * f64::from(kept.wire_rate) / 100.0)
            .sum::<f64>();
    }
    let mean = sum / runs as f64;
    // One run's standard deviation is 10 % of the sum, the mean's 0.23 %.
    assert!((mean / truth as f64 - 1.0).abs() < 0.01, "{mean} against {truth}");
}

#[test]
fn every_record_is_kept_with_the_same_probability() {
    let mut kept = [0_u32; 20];
    for seed in 0..10_000 {
        let mut sampler = Sampler::new(Scheme::Uniform, 5, mixed(seed));
        (0..20).for_each(|n| offer(&mut sampler, &numbered(n)));
        for weighted in weigh(&mut sampler) {
            kept[weighted.record.bytes as usize] += 1;
        }
    }
    // 2,500 each, standard deviation 43.
    assert!(kept.iter().all(|count| count.abs_diff(2500) < 220), "{kept:?}");
}

#[test]
fn the_same_seed_keeps_the_same_records() {
    let sample = || {
        let mut sampler = Sampler::new(Scheme::Uniform, 10, 42);
        (0..500).for_each(|n| offer(&mut sampler, &numbered(n)));
        let kept = weigh(&mut sampler).iter();
        kept.map(|kept| (kept.record.clone(), kept.wire_rate)).collect::<Vec<_>>()
    };
    assert_eq!(sample(), sample());
}

#[test]
fn a_rate_beyond_the_wire_is_cut() {
    assert_eq!(scale(4_294_967_200, 1000, 1, &mut fastrand::Rng::with_seed(1)), u32::MAX);
}

fn weigh(sampler: &mut Sampler) -> &[Weighted] {
    sampler.weigh();
    sampler.sample()
}

/// Bytes from 40 to some gigabytes as traffic has them: most records small, a few huge (Pareto
/// with the exponent 1.2), and packets that go with them.
fn heavy_tailed(random: &mut fastrand::Rng) -> Record {
    let bytes = (40.0 * (1.0 - random.f64()).powf(-1.0 / 1.2)).min(4e9) as u64;
    Record { bytes, packets: 1 + bytes / 800, ..record(1) }
}

/// A log-normal size with a standard deviation of 1.3 times the mean.
fn moderate(random: &mut fastrand::Rng) -> Record {
    let normal = (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
    let bytes = (1000.0 * normal.exp()) as u64 + 40;
    Record { bytes, packets: 1 + bytes / 800, ..record(1) }
}

struct Totals {
    bytes: f64,
    packets: f64,
    records: f64,
}

impl Totals {
    fn add(&mut self, record: &Record, weight: f64) {
        self.bytes += record.bytes as f64 * weight;
        self.packets += record.packets as f64 * weight;
        self.records += weight;
    }
}

/// Seeds far from each other: streams of neighbours resemble each other.
fn mixed(seed: u64) -> u64 {
    (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Traffic against the limit of 4,000 records a second that a device has by default.
struct Load {
    seconds: u64,
    per_second: fn(u64) -> u64,
    /// Relative error that sums may have.
    allowed: f64,
}

/// Twice and twenty times the limit, evenly and with everything in every other second.
const LOADS: [Load; 4] = [
    Load { seconds: 60, per_second: |_| 8000, allowed: 0.01 },
    Load { seconds: 60, per_second: |second| second % 2 * 16_000, allowed: 0.01 },
    Load { seconds: 20, per_second: |_| 80_000, allowed: 0.02 },
    Load { seconds: 20, per_second: |second| second % 2 * 160_000, allowed: 0.02 },
];

/// Relative errors of bytes, packets and records as sent, and the sums with their error bar.
fn run(scheme: Scheme, size: fn(&mut fastrand::Rng) -> Record, load: &Load) -> ([f64; 3], Sums) {
    const LIMIT: usize = 4000;
    let mut random = fastrand::Rng::with_seed(mixed(1));
    let mut sampler = Sampler::new(scheme, LIMIT, mixed(2));
    let mut truth = Totals { bytes: 0.0, packets: 0.0, records: 0.0 };
    let mut sent = Totals { bytes: 0.0, packets: 0.0, records: 0.0 };
    let (mut minute, mut sums) = (Minute::default(), Sums::default());
    for second in 0..load.seconds {
        for _ in 0..(load.per_second)(second) {
            let record = size(&mut random);
            truth.add(&record, 1.0);
            offer(&mut sampler, &record);
        }
        sums = minute.add(sampler.weigh());
        for kept in sampler.sample() {
            sent.add(&kept.record, f64::from(kept.wire_rate) / 100.0);
        }
        assert!(sampler.sample().len() <= LIMIT);
        sampler.restart(LIMIT);
    }
    let error = |sent: f64, truth: f64| sent / truth - 1.0;
    let errors = [
        error(sent.bytes, truth.bytes),
        error(sent.packets, truth.packets),
        error(sent.records, truth.records),
    ];
    (errors, sums)
}

#[test]
fn sums_stay_within_one_percent_at_twice_and_two_at_twenty_times_the_limit() {
    for load in &LOADS {
        let ([bytes, packets, records], sums) = run(Scheme::Uniform, moderate, load);
        let (what, allowed) = (format!("{bytes} {packets} {records}"), load.allowed);
        assert!(bytes.abs() < allowed && packets.abs() < allowed, "{what}");
        assert!(records.abs() < 0.001, "{what}");
        let estimated = sums.bytes.relative_error();
        assert!(estimated > 0.001 && estimated < allowed, "{what}, estimated {estimated}");
    }
}

#[test]
fn keeping_heavy_records_holds_sums_of_a_heavy_tail_within_the_same_bounds() {
    for load in &LOADS {
        let ([bytes, packets, records], sums) = run(Scheme::KeepHeavy, heavy_tailed, load);
        let (what, allowed) = (format!("{bytes} {packets} {records}"), load.allowed);
        assert!(bytes.abs() < allowed && packets.abs() < allowed, "{what}");
        // Small records are rarely kept, so their number is what is known least.
        assert!(records.abs() < 0.05, "{what}");
        let uniform = run(Scheme::Uniform, heavy_tailed, load).1.bytes.relative_error();
        let heavy = sums.bytes.relative_error();
        assert!(heavy < allowed && heavy < uniform / 3.0, "{heavy} against {uniform}");
    }
}

#[test]
fn the_error_bar_is_the_error_that_is_found() {
    for (scheme, size) in
        [(Scheme::Uniform, moderate as fn(&mut _) -> _), (Scheme::KeepHeavy, heavy_tailed)]
    {
        let (mut squares, mut estimated, runs) = (0.0, 0.0, 400);
        let mut random = fastrand::Rng::with_seed(5);
        let all: Vec<Record> = (0..2000).map(|_| size(&mut random)).collect();
        let truth: f64 = all.iter().map(|record| record.bytes as f64).sum();
        for seed in 0..runs {
            let mut sampler = Sampler::new(scheme, 200, mixed(seed));
            all.iter().for_each(|record| offer(&mut sampler, record));
            let bytes = sampler.weigh().bytes;
            squares += (bytes.total - truth).powi(2);
            estimated += bytes.variance;
        }
        let (found, estimated) = ((squares / runs as f64).sqrt(), (estimated / runs as f64).sqrt());
        let ratio = estimated / found;
        assert!((0.8..1.25).contains(&ratio), "{scheme:?}: {estimated} against {found}");
    }
}

#[test]
fn the_largest_records_are_always_kept_and_stand_for_themselves() {
    for seed in 0..50 {
        let mut sampler = Sampler::new(Scheme::KeepHeavy, 10, mixed(seed));
        for n in 0..1000_u64 {
            let bytes = if n % 250 == 0 { 1_000_000 } else { 100 };
            offer(&mut sampler, &numbered(bytes));
        }
        let kept = weigh(&mut sampler);
        let heavy: Vec<u32> =
            kept.iter().filter(|k| k.record.bytes > 100).map(|k| k.wire_rate).collect();
        assert_eq!(heavy, [100; 4]);
        assert_eq!(kept.len(), 10);
    }
}

#[test]
fn sums_of_a_threshold_sample_are_unbiased_after_rounding() {
    let mut random = fastrand::Rng::with_seed(9);
    let all: Vec<Record> = (0..300).map(|_| heavy_tailed(&mut random)).collect();
    let truth: f64 = all.iter().map(|record| record.packets as f64).sum();
    let (mut sum, runs) = (0.0, 4000);
    for seed in 0..runs {
        let mut sampler = Sampler::new(Scheme::KeepHeavy, 30, mixed(seed));
        all.iter().for_each(|record| offer(&mut sampler, record));
        let weights = weigh(&mut sampler).iter();
        sum +=
            weights.map(|k| k.record.packets as f64 * f64::from(k.wire_rate) / 100.0).sum::<f64>();
    }
    let mean = sum / runs as f64;
    assert!((mean / truth - 1.0).abs() < 0.01, "{mean} against {truth}");
}

#[test]
fn below_the_limit_heavy_records_are_not_rewritten_either() {
    let mut sampler = Sampler::new(Scheme::KeepHeavy, 3, 1);
    for rate in [1, 256, 0] {
        offer(&mut sampler, &Record { sample_rate: rate, bytes: 0, ..record(1) });
    }
    let rates: Vec<u32> = weigh(&mut sampler).iter().map(|kept| kept.wire_rate).collect();
    assert_eq!(rates, [100, 25_600, 100]);
    // The next dispatch knows nothing of this one.
    sampler.restart(1);
    offer(&mut sampler, &numbered(7));
    assert_eq!(weigh(&mut sampler)[0].wire_rate, 100);
}

#[test]
fn a_probability_divides_the_rate_and_rounds_by_chance() {
    let mut random = fastrand::Rng::with_seed(3);
    assert_eq!(divide(100, 1.0, &mut random), 100);
    assert_eq!(divide(100, 0.25, &mut random), 400);
    assert_eq!(divide(100, 1e-12, &mut random), u32::MAX);
    let sum: u64 = (0..30_000).map(|_| u64::from(divide(100, 0.75, &mut random))).sum();
    // 4,000,000 with a standard deviation of 82.
    assert!(sum.abs_diff(4_000_000) < 410, "{sum}");
}
