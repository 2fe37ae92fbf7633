//! A sampling rate that changes while conversations run.

use super::*;

const FLOWS: u32 = 20_000;

/// `rounds` of one packet from each conversation, each round under a rate of its own.
struct Traffic {
    table: FlowTable,
    records: Vec<Record>,
    second: u64,
    packets: u64,
}

impl Traffic {
    fn new(translations: &str) -> Self {
        let translations = translations.split_whitespace().map(|rule| rule.parse().unwrap());
        let mut table = table(50_000);
        table.set_translations(std::sync::Arc::new(translations.collect()));
        Self { table, records: Vec::new(), second: 0, packets: 0 }
    }

    fn rate(&mut self, rate: u32) {
        let records = &mut self.records;
        let now = at(self.second);
        self.table
            .set_sampling(Sampling::new(rate), now, &mut |cut| records.push(cut.record.clone()));
    }

    /// Each conversation sends one packet.
    fn round(&mut self) {
        let packets: Vec<Packet> = (2..FLOWS + 2).map(|to| out(to, 17, 0)).collect();
        self.packets += u64::from(FLOWS);
        self.records.extend(feed(&mut self.table, at(self.second), &packets));
    }

    /// `seconds` of nothing but sweeps.
    fn sweeps(&mut self, seconds: u64) {
        for step in self.second * 10..(self.second + seconds) * 10 {
            let elapsed_ns = (step + 1) * S / 10;
            let now = Moment { elapsed_ns, wall_ns: elapsed_ns };
            let records = &mut self.records;
            self.table.sweep(now, &mut |cut| records.push(cut.record.clone()));
        }
        self.second += seconds;
    }

    fn end(mut self) -> (Vec<Record>, u64, TableStats) {
        let now = at(self.second);
        self.records.extend(flush(&mut self.table, now));
        (self.records, self.packets, self.table.stats())
    }
}

fn estimate(records: &[Record]) -> u64 {
    records.iter().map(|record| record.packets * u64::from(record.sample_rate)).sum()
}

/// Packets in the records of this rate.
fn under(records: &[Record], rate: u32) -> u64 {
    records.iter().filter(|r| r.sample_rate == rate).map(|r| r.packets).sum()
}

#[test]
fn each_packet_weighs_what_the_rate_was_when_it_came() {
    let mut traffic = Traffic::new("");
    for rate in [1, 2, 8, 4, 1] {
        traffic.rate(rate);
        traffic.round();
        traffic.round();
        traffic.sweeps(3);
    }
    let (records, packets, stats) = traffic.end();
    assert_eq!(under(&records, 1), 4 * u64::from(FLOWS));
    for rate in [2, 4, 8] {
        let share = under(&records, rate) * u64::from(rate);
        let expected = 2 * u64::from(FLOWS);
        // Four standard deviations of 1 in 8 of 20,000 conversations.
        assert!(share.abs_diff(expected) < expected * 75 / 1000, "1:{rate}: {share}");
    }
    let estimate = estimate(&records);
    assert!(estimate.abs_diff(packets) < packets * 3 / 100, "{estimate} of {packets}");
    assert_eq!(stats.packets + stats.packets_unsampled, packets);
    assert_eq!(stats.packets, records.iter().map(|record| record.packets).sum::<u64>());
}

#[test]
fn a_change_cuts_nothing_at_once_and_everything_within_two_seconds() {
    let mut traffic = Traffic::new("");
    traffic.round();
    traffic.rate(64);
    assert_eq!(traffic.records.len(), 0);
    traffic.sweeps(1);
    let half = traffic.records.len();
    assert!(half > 0 && half < FLOWS as usize, "{half}");
    traffic.sweeps(2);
    assert_eq!(traffic.records.len(), FLOWS as usize);
    assert!(traffic.records.iter().all(|record| record.sample_rate == 1));
}

#[test]
fn a_change_that_follows_at_once_loses_no_rate() {
    let mut traffic = Traffic::new("");
    for rate in [1, 4, 2, 4, 1, 16] {
        traffic.rate(rate);
        traffic.round();
    }
    let (records, packets, _) = traffic.end();
    assert_eq!(under(&records, 1), 2 * u64::from(FLOWS));
    let estimate = estimate(&records);
    assert!(estimate.abs_diff(packets) < packets * 3 / 100, "{estimate} of {packets}");
}

#[test]
fn translated_conversations_follow_a_change_like_the_others() {
    let mut traffic = Traffic::new("10.0.0.1,192.0.2.77");
    traffic.round();
    traffic.rate(4);
    traffic.round();
    let (records, _, _) = traffic.end();
    assert_eq!(under(&records, 1), u64::from(FLOWS));
    let share = under(&records, 4) * 4;
    assert!(share.abs_diff(FLOWS.into()) < u64::from(FLOWS) * 5 / 100, "{share}");
}

#[test]
fn a_higher_rate_selects_of_what_a_lower_one_has_selected() {
    let mut traffic = Traffic::new("");
    for rate in [2, 4, 8, 16] {
        traffic.rate(rate);
        traffic.round();
    }
    let (records, _, _) = traffic.end();
    let flows = |rate| -> std::collections::HashSet<_> {
        records.iter().filter(|r| r.sample_rate == rate).map(|r| r.dst).collect()
    };
    for rate in [4, 8, 16] {
        assert!(flows(rate).is_subset(&flows(rate / 2)), "1:{rate}");
    }
}
