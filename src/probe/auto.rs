//! `--sample auto`: which rate keeps readers and records within their budgets (design D9).
//!
//! Told once a second what the last second was like. Rates are powers of two, so that what a higher
//! one selects was selected before. It goes up at once when packets or records are lost or a budget is
//! exceeded, and comes down by half after a minute in which twice the work would have fitted; one
//! that had to go up again soon after waits twice as long the next time. Knows no clock and no thread.

use crate::status::RateReason;

/// Highest rate for want of CPU: beyond it nearly all that is left is looking at each packet, which
/// sampling does not save.
const MOST_FOR_LOAD: u32 = 256;
/// Highest rate at all.
const MOST: u32 = 1 << 16;
/// For so long after a change the table still cuts what was pending; seconds like these tell nothing.
const SETTLE_S: u32 = 3;
/// Records are judged by their mean over so many seconds at most: conversations that began together
/// are due together.
const RECORDS_OVER_S: usize = 15;
/// Seconds of records that are enough for a judgement.
const RECORDS_ENOUGH: usize = 3;
/// Quiet seconds before it comes down: longer than the table remembers an idle conversation, so
/// that none goes on after a gap that sampling has made.
const HOLD_S: u32 = 65;
/// The longest wait after attempts that did not last.
const LONGEST_HOLD_S: u32 = 3600;
/// How much of a budget the expected work may take when the rate comes down.
const MARGIN: f64 = 0.9;
/// Work for a packet that is looked at and left out, as part of the work for one that is counted.
const LOOKING: f64 = 0.25;

/// What a second was like.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Second {
    /// Of its CPU, what the busiest reader took, 0 to 1.
    pub(super) cpu: f64,
    /// Packets that rings dropped.
    pub(super) dropped: u64,
    /// Records that the exporter was too late for.
    pub(super) lost: u64,
    /// Records cut.
    pub(super) records: u64,
}

/// What may be taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Budget {
    /// Of its CPU by each reader, 0 to 1.
    pub(super) cpu: f64,
    /// Records a second, where there is a limit.
    pub(super) records: Option<u64>,
}

/// A new rate and why.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Choice {
    pub(super) rate: u32,
    pub(super) reason: RateReason,
    /// For the log.
    pub(super) text: String,
}

/// The rate in force, and what is remembered to judge it.
#[derive(Debug)]
pub(super) struct Auto {
    rate: u32,
    /// Seconds since the last change.
    age_s: u32,
    /// Records of the last seconds, since the last change has settled.
    records: Vec<u64>,
    calm_s: u32,
    hold_s: u32,
    came_down: bool,
}

impl Auto {
    /// Begins with the power of two that is not below this rate.
    pub(super) fn new(rate: u32) -> Self {
        Self {
            rate: rate.clamp(1, MOST).next_power_of_two(),
            age_s: SETTLE_S,
            records: Vec::with_capacity(RECORDS_OVER_S),
            calm_s: 0,
            hold_s: HOLD_S,
            came_down: false,
        }
    }

    /// N of 1:N.
    pub(super) fn rate(&self) -> u32 {
        self.rate
    }

    /// Takes a second's figures; gives another rate if there should be one.
    pub(super) fn step(&mut self, second: &Second, budget: &Budget) -> Option<Choice> {
        self.age_s = self.age_s.saturating_add(1);
        if self.age_s <= SETTLE_S {
            return None;
        }
        if self.records.len() == RECORDS_OVER_S {
            self.records.remove(0);
        }
        self.records.push(second.records);
        let mean = self.records.iter().sum::<u64>() as f64 / self.records.len() as f64;
        if let Some(choice) = self.too_much(second, mean, budget) {
            self.calm_s = 0;
            return self.go_up(choice);
        }
        let cpu = second.cpu * growth(self.rate);
        let is_calm = cpu <= budget.cpu * MARGIN
            && budget.records.is_none_or(|limit| mean * 2.0 <= limit as f64 * MARGIN);
        self.calm_s = if is_calm { self.calm_s + 1 } else { 0 };
        (self.calm_s >= self.hold_s && self.rate > 1).then(|| self.come_down())
    }

    /// The rate that would be enough, if this one is not.
    fn too_much(&self, second: &Second, mean: f64, budget: &Budget) -> Option<Choice> {
        let (twice, load) = (self.rate * 2, self.rate.max(MOST_FOR_LOAD));
        let choice = |rate, reason, text| Some(Choice { rate, reason, text });
        if second.dropped > 0 {
            let text = format!("the ring dropped {} packets", second.dropped);
            return choice(twice.min(load), RateReason::Drops, text);
        }
        if second.lost > 0 {
            let text = format!("{} records were lost because the exporter was late", second.lost);
            return choice(twice.min(load), RateReason::Exporter, text);
        }
        if second.cpu > budget.cpu {
            let (is, may) = (second.cpu * 100.0, budget.cpu * 100.0);
            let text = format!("a reader took {is:.0} % of a CPU, {may:.0} % are allowed");
            return choice(twice.min(load), RateReason::Cpu, text);
        }
        let limit = budget.records?.max(1);
        if self.records.len() >= RECORDS_ENOUGH && mean > limit as f64 {
            let times = ((mean / limit as f64).ceil() as u32).clamp(2, MOST).next_power_of_two();
            let text = format!("{mean:.0} records a second, the device's limit is {limit}");
            return choice(self.rate.saturating_mul(times).min(MOST), RateReason::Records, text);
        }
        None
    }

    fn go_up(&mut self, choice: Choice) -> Option<Choice> {
        if choice.rate == self.rate {
            return None;
        }
        let too_soon = self.came_down && self.age_s < self.hold_s;
        self.hold_s = if too_soon { (self.hold_s * 2).min(LONGEST_HOLD_S) } else { HOLD_S };
        self.came_down = false;
        self.change(choice.rate);
        Some(choice)
    }

    fn come_down(&mut self) -> Choice {
        let text = format!("twice the work would have fitted for {} s", self.calm_s);
        // The attempt before has lasted.
        if self.came_down {
            self.hold_s = HOLD_S;
        }
        self.came_down = true;
        self.change(self.rate / 2);
        Choice { rate: self.rate, reason: RateReason::Calm, text }
    }

    fn change(&mut self, rate: u32) {
        self.rate = rate;
        self.age_s = 0;
        self.calm_s = 0;
        self.records.clear();
    }
}

/// How many times the work at this rate half the rate will be, where one packet in `rate` is
/// counted and the others are looked at.
fn growth(rate: u32) -> f64 {
    let counted = 1.0 / f64::from(rate);
    (LOOKING + 2.0 * counted) / (LOOKING + counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget { cpu: 0.8, records: None };

    /// A machine whose readers take `cpu` of a CPU unsampled, a fifth of it for looking, and that
    /// would cut `records` a second; it drops when a CPU is not enough.
    struct Machine {
        auto: Auto,
        budget: Budget,
        cpu: f64,
        records: f64,
        rates: Vec<u32>,
        reasons: Vec<RateReason>,
        drops: u32,
    }

    impl Machine {
        fn new(budget: Budget) -> Self {
            let (rates, reasons) = (vec![1], Vec::new());
            Self { auto: Auto::new(1), budget, cpu: 0.1, records: 10.0, rates, reasons, drops: 0 }
        }

        fn run(&mut self, seconds: u32) {
            for _ in 0..seconds {
                let rate = f64::from(self.auto.rate());
                let wanted = self.cpu * (0.2 + 0.8 / rate);
                let dropped = ((wanted - 1.0).max(0.0) * 1e6) as u64;
                self.drops += u32::from(dropped > 0);
                let records = (self.records / rate) as u64;
                let second = Second { cpu: wanted.min(1.0), dropped, lost: 0, records };
                if let Some(choice) = self.auto.step(&second, &self.budget) {
                    self.rates.push(choice.rate);
                    self.reasons.push(choice.reason);
                }
            }
        }
    }

    #[test]
    fn a_quiet_machine_samples_nothing_out() {
        let mut machine = Machine::new(BUDGET);
        machine.run(10_000);
        assert_eq!(machine.rates, [1]);
    }

    #[test]
    fn it_goes_up_at_once_by_steps_that_settle_until_the_budget_holds() {
        let mut machine = Machine::new(BUDGET);
        // At 1:2 a reader wants 1.2 CPUs, at 1:4 0.8.
        machine.cpu = 2.0;
        machine.run(1);
        assert_eq!(machine.rates, [1, 2]);
        machine.run(9);
        assert_eq!((&machine.rates[..], machine.drops), (&[1, 2, 4][..], 5));
        assert_eq!(machine.reasons, [RateReason::Drops, RateReason::Drops]);
        machine.run(10_000);
        assert_eq!(machine.rates, [1, 2, 4]);
    }

    #[test]
    fn it_comes_down_slowly_when_the_load_is_gone() {
        let mut machine = Machine::new(BUDGET);
        machine.cpu = 2.0;
        machine.run(20);
        machine.cpu = 0.3;
        machine.run(64);
        assert_eq!(machine.rates, [1, 2, 4]);
        machine.run(HOLD_S + SETTLE_S);
        assert_eq!(machine.rates, [1, 2, 4, 2]);
        machine.run(HOLD_S + SETTLE_S);
        assert_eq!(machine.rates, [1, 2, 4, 2, 1]);
        machine.run(10_000);
        assert_eq!(machine.rates, [1, 2, 4, 2, 1]);
    }

    #[test]
    fn looking_alone_over_the_budget_does_not_sample_everything_away() {
        let mut machine = Machine::new(Budget { cpu: 0.1, records: None });
        machine.cpu = 0.9;
        machine.run(1000);
        assert_eq!(machine.auto.rate(), MOST_FOR_LOAD);
    }

    #[test]
    fn records_over_the_limit_give_the_rate_in_one_step() {
        let mut machine = Machine::new(Budget { records: Some(1000), ..BUDGET });
        machine.records = 5200.0;
        machine.run(RECORDS_ENOUGH as u32);
        assert_eq!(
            (&machine.rates[..], &machine.reasons[..]),
            (&[1, 8][..], &[RateReason::Records][..])
        );
        machine.run(1000);
        assert_eq!(machine.rates, [1, 8]);
        // 850 fit at 1:2, with little to spare; 950 would fit, too, and may not be tried.
        machine.records = 1700.0;
        machine.run(1000);
        assert_eq!(machine.rates, [1, 8, 4, 2]);
        machine.records = 950.0;
        machine.run(1000);
        assert_eq!(machine.rates, [1, 8, 4, 2]);
        machine.records = 400.0;
        machine.run(1000);
        assert_eq!(machine.rates, [1, 8, 4, 2, 1]);
    }

    #[test]
    fn one_second_of_many_records_is_none_too_many() {
        let mut machine = Machine::new(Budget { records: Some(1000), ..BUDGET });
        machine.records = 100.0;
        machine.run(14);
        machine.records = 9000.0;
        machine.run(1);
        machine.records = 100.0;
        machine.run(100);
        assert_eq!(machine.rates, [1]);
    }

    #[test]
    fn attempts_that_do_not_last_become_rare() {
        let mut auto = Auto::new(2);
        let (mut ups, mut downs) = (0, 0);
        // Fits at 1:2 by far, and not at all at 1:1.
        for _ in 0..20_000 {
            let cpu = if auto.rate() == 1 { 0.95 } else { 0.2 };
            let second = Second { cpu, ..Second::default() };
            match auto.step(&second, &BUDGET).map(|choice| choice.reason) {
                Some(RateReason::Calm) => downs += 1,
                Some(_) => ups += 1,
                None => {}
            }
        }
        // 65 s, 130 s, and so on to an hour.
        assert!((6..=10).contains(&ups) && downs - ups <= 1, "{ups} {downs}");
    }

    #[test]
    fn an_exporter_that_is_late_is_a_reason_too() {
        let mut auto = Auto::new(3);
        assert_eq!(auto.rate(), 4);
        let choice = auto.step(&Second { lost: 512, ..Second::default() }, &BUDGET).unwrap();
        assert_eq!((choice.rate, choice.reason), (8, RateReason::Exporter));
        assert!(choice.text.contains("512 records"), "{}", choice.text);
    }

    proptest::proptest! {
        #[test]
        fn whatever_happens_rates_are_powers_of_two_within_bounds(
            seconds in proptest::collection::vec((0.0..1.0f64, 0u64..3, 0u64..100_000), 1..400),
            limit in 0u64..1000,
        ) {
            let mut auto = Auto::new(1);
            let budget = Budget { records: Some(limit), ..BUDGET };
            for (cpu, dropped, records) in seconds {
                let before = auto.rate();
                let second = Second { cpu, dropped, lost: 0, records };
                if let Some(choice) = auto.step(&second, &budget) {
                    assert_eq!(choice.rate, auto.rate());
                    assert_ne!(choice.rate, before);
                }
                assert!(auto.rate().is_power_of_two() && auto.rate() <= MOST);
            }
        }
    }
}
