//! Both directions of a conversation as one biflow (RFC 5103).
//!
//! A conversation's two records are cut at the same time and follow each other, so that one held
//! back is enough to find them.

use flowtable::tcp::Role;
use flowtable::{Cut, Record};

/// One conversation, or one direction of it when the other has no record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Biflow<'a> {
    pub forward: &'a Record,
    pub reverse: Option<&'a Record>,
    /// Whether the forward direction is known to be that of the initiator.
    pub from_initiator: bool,
}

/// The record that waits for its other half.
#[derive(Debug, Default)]
pub(super) struct Pairing(Option<Held>);

#[derive(Debug)]
struct Held {
    record: Record,
    role: Option<Role>,
}

impl Pairing {
    /// Takes a record and gives what is complete.
    pub(super) fn push(&mut self, cut: &Cut<'_>, mut emit: impl FnMut(Biflow<'_>)) {
        let role = cut.tcp.and_then(|tcp| tcp.role);
        if let Some(held) = &self.0 {
            if is_reverse(&held.record, cut.record) {
                emit(joined(held, cut.record, role));
                self.0 = None;
                return;
            }
            emit(alone(held));
        }
        // The memory of the one before is used again.
        match &mut self.0 {
            Some(held) => {
                held.record.clone_from(cut.record);
                held.role = role;
            }
            None => self.0 = Some(Held { record: cut.record.clone(), role }),
        }
    }

    /// Gives the one that waits.
    pub(super) fn flush(&mut self, mut emit: impl FnMut(Biflow<'_>)) {
        if let Some(held) = self.0.take() {
            emit(alone(&held));
        }
    }
}

fn alone(held: &Held) -> Biflow<'_> {
    let from_initiator = held.role == Some(Role::Client);
    Biflow { forward: &held.record, reverse: None, from_initiator }
}

fn joined<'a>(first: &'a Held, second: &'a Record, role: Option<Role>) -> Biflow<'a> {
    let second_initiates = role == Some(Role::Client) || first.role == Some(Role::Server);
    let from_initiator = second_initiates || first.role == Some(Role::Client);
    let (forward, reverse) =
        if second_initiates { (second, &first.record) } else { (&first.record, second) };
    Biflow { forward, reverse: Some(reverse), from_initiator }
}

fn is_reverse(a: &Record, b: &Record) -> bool {
    (a.src, a.src_port) == (b.dst, b.dst_port)
        && (a.dst, a.dst_port) == (b.src, b.src_port)
        && (a.protocol, a.vlan) == (b.protocol, b.vlan)
        && (a.time_ns, a.connection_id) == (b.time_ns, b.connection_id)
        && a.sample_rate == b.sample_rate
}

#[cfg(test)]
mod tests {
    use flowtable::tcp::TcpMetrics;

    use super::*;
    use crate::testing::record;

    fn reverse(record: &Record) -> Record {
        Record {
            src: record.dst,
            dst: record.src,
            src_port: record.dst_port,
            dst_port: record.src_port,
            bytes: 7,
            ..record.clone()
        }
    }

    /// Source port and bytes of the reverse direction of each biflow.
    fn pair(records: &[(Record, Option<Role>)]) -> Vec<(u16, Option<u64>, bool)> {
        let (mut pairing, mut found) = (Pairing::default(), Vec::new());
        let mut emit = |biflow: Biflow<'_>| {
            let reverse = biflow.reverse.map(|record| record.bytes);
            found.push((biflow.forward.src_port, reverse, biflow.from_initiator));
        };
        for (record, role) in records {
            let tcp = TcpMetrics { role: *role, ..TcpMetrics::default() };
            pairing.push(&Cut { record, tcp: Some(&tcp), event: None }, &mut emit);
        }
        pairing.flush(&mut emit);
        pairing.flush(&mut emit);
        found
    }

    #[test]
    fn records_that_follow_each_other_and_mirror_each_other_are_one() {
        let (a, b) = (record(1000), record(2000));
        let found = pair(&[(a.clone(), None), (reverse(&a), None), (b.clone(), None)]);
        assert_eq!(found, [(1000, Some(7), false), (2000, None, false)]);
        // Something between them, or another time, makes two of them.
        let found = pair(&[(a.clone(), None), (b, None), (reverse(&a), None)]);
        assert_eq!(found, [(1000, None, false), (2000, None, false), (53, None, false)]);
        let later = Record { time_ns: 2_000_000_000, ..reverse(&a) };
        assert_eq!(pair(&[(a, None), (later, None)]).len(), 2);
    }

    #[test]
    fn the_initiator_is_forward_where_it_is_known() {
        let a = record(1000);
        let client = Some(Role::Client);
        let found = pair(&[(reverse(&a), Some(Role::Server)), (a.clone(), client)]);
        assert_eq!(found, [(1000, Some(56), true)].map(|(p, _, i)| (p, Some(7), i)));
        assert_eq!(pair(&[(a, client)]), [(1000, None, true)]);
    }
}
