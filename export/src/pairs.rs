//! Live: questions and answers that different readers saw. An answer that was sent to another
//! address than its question came from (DHCP) may reach another reader; its decoder then has no
//! question to it, but here both pass.
//!
//! Readers hand over each at its own time, so that an answer may come before its question. It waits
//! for half a second, with 256 others at most; then it leaves without a latency. Questions are
//! remembered for a minute, about a thousand of them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use decode::app::{Kind, Pair, Pending};

use crate::batch::Batch;

/// Questions that are remembered.
const ASKED: usize = 1 << 10;
/// Answers that wait for their question.
const MAX_WAITING: usize = 256;
/// A reader hands over after 100 ms at the latest, and the ring gives it its packets within some
/// 10 ms.
const PATIENCE: Duration = Duration::from_millis(500);

pub(crate) struct Pairs {
    asked: Pending,
    /// Oldest first.
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    until: Instant,
    pair: Pair,
    /// One record.
    answer: Batch,
}

impl Pairs {
    pub(crate) fn new() -> Self {
        Self { asked: Pending::new(ASKED), waiting: VecDeque::new() }
    }

    /// Looks at what one reader has sent: answers get their latency, or are taken out to wait.
    pub(crate) fn see(&mut self, records: &mut Batch, now: Instant) {
        if !records.has_pairs() {
            return;
        }
        let mut index = 0;
        while let Some(cut) = records.get(index) {
            let event = cut.event.and_then(|event| Some((event.kind, *event.pair?)));
            index += 1;
            match event {
                Some((Kind::Request, pair)) => self.asked.ask(pair.key, pair.at_us),
                Some((Kind::Response, pair)) => match self.latency_us(pair) {
                    Some(latency_us) => records.set_latency_us(index - 1, latency_us),
                    None if self.waiting.len() >= MAX_WAITING => {}
                    None => {
                        index -= 1;
                        let answer = records.take(index).unwrap_or_default();
                        self.waiting.push_back(Waiting { until: now + PATIENCE, pair, answer });
                    }
                },
                Some((Kind::Facts, _)) | None => {}
            }
        }
    }

    /// The next answer that waits no longer: its question has come, or will not come.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Batch> {
        for place in 0..self.waiting.len() {
            let &Waiting { until, pair, .. } = self.waiting.get(place)?;
            let latency_us = self.latency_us(pair);
            if latency_us.is_none() && now < until {
                continue;
            }
            let mut answer = self.waiting.remove(place)?.answer;
            if let Some(latency_us) = latency_us {
                answer.set_latency_us(0, latency_us);
            }
            return Some(answer);
        }
        None
    }

    /// Nothing more comes: the next answer that waits.
    pub(crate) fn last(&mut self) -> Option<Batch> {
        let until = self.waiting.front()?.until;
        self.next(until)
    }

    fn latency_us(&mut self, pair: Pair) -> Option<u64> {
        self.asked.one_answer(pair.key, pair.at_us)
    }
}

#[cfg(test)]
mod tests {
    use decode::app::{App, Events};
    use flowtable::Cut;

    use super::*;
    use crate::testing::record;

    fn message(kind: Kind, key: u64, at_us: u64) -> Batch {
        let (mut events, mut batch) = (Events::default(), Batch::default());
        events.begin(App::Dhcp, kind).pair(Pair { key, at_us });
        batch.push(&Cut { record: &record(1), tcp: None, event: None });
        batch.push(&Cut { record: &record(2), tcp: None, event: events.get(0) });
        batch.push(&Cut { record: &record(3), tcp: None, event: None });
        batch
    }

    fn latency_us(batch: &Batch, index: usize) -> Option<u64> {
        batch.get(index).unwrap().event.unwrap().latency_us
    }

    #[test]
    fn an_answer_behind_its_question_gets_its_latency_at_once() {
        let (mut pairs, now) = (Pairs::new(), Instant::now());
        let mut question = message(Kind::Request, 7, 1_000);
        pairs.see(&mut question, now);
        assert_eq!((question.len(), latency_us(&question, 1)), (3, None));
        // Of two servers.
        for at_us in [3_500, 4_000] {
            let mut answer = message(Kind::Response, 7, at_us);
            pairs.see(&mut answer, now);
            assert_eq!((answer.len(), latency_us(&answer, 1)), (3, Some(at_us - 1_000)));
        }
        assert!(pairs.next(now + PATIENCE).is_none());
    }

    #[test]
    fn an_answer_before_its_question_waits_for_it() {
        let (mut pairs, now) = (Pairs::new(), Instant::now());
        let mut answer = message(Kind::Response, 7, 3_500);
        pairs.see(&mut answer, now);
        let ports: Vec<u16> = answer.iter().map(|cut| cut.record.src_port).collect();
        assert_eq!(ports, [1, 3], "what has nothing to do with it goes on");
        pairs.see(&mut message(Kind::Request, 8, 900), now);
        assert!(pairs.next(now).is_none());
        pairs.see(&mut message(Kind::Request, 7, 1_000), now);
        let answer = pairs.next(now).unwrap();
        assert_eq!((answer.len(), latency_us(&answer, 0)), (1, Some(2_500)));
        assert!(pairs.next(now + PATIENCE).is_none());
    }

    #[test]
    fn an_answer_whose_question_does_not_come_leaves_without_a_latency() {
        let (mut pairs, now) = (Pairs::new(), Instant::now());
        pairs.see(&mut message(Kind::Response, 7, 1), now);
        assert!(pairs.next(now + PATIENCE / 2).is_none());
        assert_eq!(latency_us(&pairs.next(now + PATIENCE).unwrap(), 0), None);
        pairs.see(&mut message(Kind::Response, 7, 1), now);
        assert_eq!(latency_us(&pairs.last().unwrap(), 0), None);
        assert!(pairs.last().is_none());
    }

    #[test]
    fn no_more_than_a_few_answers_wait() {
        let (mut pairs, now) = (Pairs::new(), Instant::now());
        for key in 0..1_000 {
            let mut answer = message(Kind::Response, key, 1);
            pairs.see(&mut answer, now);
            assert_eq!(answer.len(), if key < MAX_WAITING as u64 { 2 } else { 3 });
        }
        assert_eq!(std::iter::from_fn(|| pairs.last()).count(), MAX_WAITING);
    }
}
