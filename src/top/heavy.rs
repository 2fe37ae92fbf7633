//! The heaviest conversations of the last half minute, kept on the exporter's thread from the
//! records that pass there: readers do nothing for it.
//!
//! Bounds: [`MOST`] conversations of some 400 bytes. When one more comes, the lighter half is
//! forgotten and counted, which costs a constant amount for each new conversation on average; a
//! forgotten one that goes on begins anew. A record tells of up to 15 s at once, so rates are
//! averages over the records of the last 15 to 30 s, and a conversation leaves [`KEEP_NS`] after
//! its last record.

use std::collections::HashMap;
use std::net::IpAddr;

use decode::app::{EventView, Face, Redaction, Value};
use flowtable::Cut;
#[cfg(test)]
use flowtable::Record;
use flowtable::tcp::Role;

use super::snapshot::{Conversation, Traffic, has_ports};

/// Conversations kept at once.
const MOST: usize = 4096;
/// A record of a busy conversation is cut after this time, ns.
const RECORD_NS: u64 = 15_000_000_000;
/// What has been silent for two records is over.
const KEEP_NS: u64 = 2 * RECORD_NS;
/// Rows for each order in which they can be shown.
const ROWS: usize = 100;
/// Longest name shown, characters.
const NAME_CHARS: usize = 64;

/// Endpoints in their order, protocol, VLAN: both directions are one.
type Key = ([(IpAddr, u16); 2], u8, u16);

/// The table.
#[derive(Debug, Default)]
pub struct Heavy {
    conversations: HashMap<Key, Entry>,
    /// Time of the first and of the latest record, ns since 1970.
    first_ns: Option<u64>,
    latest_ns: u64,
    /// Nothing is known of what was before, ns since 1970.
    began_ns: Option<u64>,
    forgotten: u64,
    sample_rate: u32,
}

/// Counters of one period.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    since_ns: u64,
    bytes: u64,
    packets: u64,
    retransmitted: u64,
}

#[derive(Debug, Default)]
struct Entry {
    before: Option<Sums>,
    now: Sums,
    latest_ns: u64,
    /// Latest round trip between capture point and each end, µs.
    rtt_us: [Option<u32>; 2],
    /// Number of the end that opened it.
    client: Option<usize>,
    app: &'static str,
    operation: String,
    name: String,
}

impl Heavy {
    /// A table that knows since when records are made, ns since 1970; `None` in replay.
    pub fn since(began_ns: Option<u64>) -> Self {
        Self { began_ns, ..Self::default() }
    }

    /// Takes a record.
    pub fn add(&mut self, cut: &Cut<'_>) {
        let record = cut.record;
        let from = (record.src, record.src_port);
        let to = (record.dst, record.dst_port);
        let ends = if from <= to { [from, to] } else { [to, from] };
        let key = (ends, record.protocol, record.vlan);
        self.latest_ns = self.latest_ns.max(record.time_ns);
        self.first_ns.get_or_insert(record.time_ns);
        self.sample_rate = record.sample_rate;
        if self.conversations.len() >= MOST && !self.conversations.contains_key(&key) {
            self.make_room();
        }
        let began_ns = self.began_ns.unwrap_or(0);
        let entry = self.conversations.entry(key).or_insert_with(|| {
            let since_ns = record.time_ns.saturating_sub(RECORD_NS).max(began_ns);
            // Without ports, whoever speaks first asks.
            let client = (!has_ports(record.protocol)).then_some(usize::from(from != ends[0]));
            Entry { now: Sums { since_ns, ..Sums::default() }, client, ..Entry::default() }
        });
        entry.count(cut, usize::from(from != ends[0]));
    }

    /// The rows to show, the heaviest by each measure among them, and all together. Live, `now_ns`
    /// is the time; in replay the latest record's is.
    pub fn rows(&mut self, now_ns: Option<u64>) -> (Vec<Conversation>, Traffic) {
        let now_ns = now_ns.unwrap_or(self.latest_ns);
        self.conversations.retain(|_, entry| entry.latest_ns.saturating_add(KEEP_NS) >= now_ns);
        let mut all: Vec<Conversation> =
            self.conversations.iter().map(|(key, entry)| entry.row(key)).collect();
        let traffic = Traffic {
            bits_per_s: all.iter().map(|row| row.bits_per_s).sum(),
            packets_per_s: all.iter().map(|row| row.packets_per_s).sum(),
            conversations: all.len() as u64,
            forgotten: self.forgotten,
            sample_rate: self.sample_rate.max(1),
            error_percent: error_percent(&all, self.sample_rate),
        };
        // Ties must not depend on the order of a hash map.
        all.sort_by_key(Conversation::names);
        let mut chosen = vec![false; all.len()];
        let measures: [fn(&Conversation) -> f64; 4] = [
            |row| row.bits_per_s,
            |row| row.packets_per_s,
            |row| row.retransmitted as f64,
            |row| row.rtt_us.unwrap_or(0) as f64,
        ];
        let mut order: Vec<usize> = (0..all.len()).collect();
        for measure in measures {
            let value = |&index: &usize| all.get(index).map_or(0.0, measure);
            order.sort_by(|a, b| value(b).total_cmp(&value(a)));
            for index in order.iter().take(ROWS) {
                if let Some(choice) = chosen.get_mut(*index) {
                    *choice = true;
                }
            }
        }
        let rows = all.into_iter().zip(chosen).filter_map(|(row, chosen)| chosen.then_some(row));
        (rows.collect(), traffic)
    }

    /// Forgets what is over, and if that is too little, the lighter half.
    fn make_room(&mut self) {
        let latest_ns = self.latest_ns;
        self.conversations.retain(|_, entry| entry.latest_ns.saturating_add(KEEP_NS) >= latest_ns);
        if self.conversations.len() <= MOST / 2 {
            return;
        }
        let mut weights: Vec<u64> = self.conversations.values().map(Entry::bytes).collect();
        let middle = weights.len() / 2;
        let (_, &mut median, _) = weights.select_nth_unstable(middle);
        let lighter = self.conversations.values().filter(|entry| entry.bytes() < median).count();
        let mut equals = middle - lighter;
        let before = self.conversations.len();
        self.conversations.retain(|_, entry| match entry.bytes().cmp(&median) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal if equals > 0 => {
                equals -= 1;
                false
            }
            _ => true,
        });
        self.forgotten += (before - self.conversations.len()) as u64;
    }
}

/// One standard error of the estimated traffic, in percent: conversations of `b` bytes, each chosen
/// with probability 1/N, estimate the sum with a variance of (1 − 1/N) × N² × Σ b².
fn error_percent(rows: &[Conversation], sample_rate: u32) -> Option<f64> {
    let sum: f64 = rows.iter().map(|row| row.bits_per_s).sum();
    let squares: f64 = rows.iter().map(|row| row.bits_per_s * row.bits_per_s).sum();
    let share = 1.0 - 1.0 / f64::from(sample_rate.max(1));
    (sample_rate > 1 && sum > 0.0).then(|| 100.0 * (share * squares).sqrt() / sum)
}

impl Entry {
    fn count(&mut self, cut: &Cut<'_>, end: usize) {
        let Cut { record, tcp, event } = cut;
        if record.time_ns.saturating_sub(self.now.since_ns) > KEEP_NS
            || self.latest_ns.saturating_sub(self.now.since_ns) >= RECORD_NS
        {
            let since_ns = self.latest_ns.max(record.time_ns.saturating_sub(RECORD_NS));
            self.before =
                Some(std::mem::replace(&mut self.now, Sums { since_ns, ..Sums::default() }))
                    .filter(|before| {
                        before.since_ns.saturating_add(KEEP_NS + RECORD_NS) > since_ns
                    });
        }
        self.latest_ns = self.latest_ns.max(record.time_ns);
        self.now.bytes += record.bytes;
        self.now.packets += record.packets;
        self.app = record.app.map_or(self.app, |app| app.name());
        if let Some(tcp) = tcp {
            self.now.retransmitted += u64::from(tcp.retransmitted);
            if let (Some(us), Some(place)) =
                (tcp.rtt.mean_us().or(tcp.handshake_rtt_us), self.rtt_us.get_mut(end))
            {
                *place = Some(us);
            }
            self.client = match tcp.role {
                Some(Role::Client) => Some(end),
                Some(Role::Server) => Some(1 - end),
                None => self.client,
            };
        }
        if let Some(event) = event {
            self.app = event.app.name();
            self.describe(event);
        }
    }

    fn describe(&mut self, event: &EventView<'_>) {
        let mut name: Option<(u8, &str)> = None;
        for (field, value) in event.attributes() {
            let info = field.info();
            let Value::Text(text) = value else { continue };
            if info.face == Face::Operation {
                set(&mut self.operation, text);
            }
            // A host says more than a path, and either more than a user.
            let rank = match (info.face, info.redaction) {
                (Face::Detail, Redaction::Name) => 3,
                (Face::Detail, Redaction::Query) => 2,
                (Face::Detail, Redaction::Url) => 1,
                _ => 0,
            };
            if rank > name.map_or(0, |(rank, _)| rank) && !text.is_empty() {
                name = Some((rank, text));
            }
        }
        if let Some((_, text)) = name {
            set(&mut self.name, text);
        }
    }

    fn bytes(&self) -> u64 {
        self.now.bytes + self.before.map_or(0, |before| before.bytes)
    }

    fn row(&self, (ends, protocol, vlan): &Key) -> Conversation {
        let before = self.before.unwrap_or(Sums { since_ns: self.now.since_ns, ..Sums::default() });
        let seconds = self.latest_ns.saturating_sub(before.since_ns) as f64 / 1e9;
        // What a single record tells at once happened within a second at most.
        let rate = |sum: u64| sum as f64 / seconds.max(1.0);
        let client = self.client.unwrap_or_else(|| guess_client(ends));
        let [a, b] = ends;
        let (client, server) = if client == 0 { (a, b) } else { (b, a) };
        let known = self.rtt_us.iter().flatten();
        Conversation {
            client: client.0,
            client_port: client.1,
            server: server.0,
            server_port: server.1,
            protocol: *protocol,
            vlan: *vlan,
            bits_per_s: rate(8 * self.bytes()),
            packets_per_s: rate(self.now.packets + before.packets),
            retransmitted: self.now.retransmitted + before.retransmitted,
            rtt_us: known.clone().next().map(|_| known.map(|us| u64::from(*us)).sum()),
            app: self.app.to_owned(),
            operation: self.operation.clone(),
            name: self.name.clone(),
        }
    }
}

/// Well-known ports are small.
fn guess_client([a, b]: &[(IpAddr, u16); 2]) -> usize {
    usize::from(a.1 < b.1)
}

fn set(place: &mut String, text: &str) {
    place.clear();
    place.extend(text.chars().filter(|c| !c.is_control()).take(NAME_CHARS));
}

/// Where a record has its place in time, for tests of others.
#[cfg(test)]
pub(super) fn record(number: u16, time_ns: u64) -> Record {
    Record {
        time_ns,
        first_frame: 1,
        src: IpAddr::from([10, 0, 0, 1]),
        dst: IpAddr::from([10, 0, 0, 2]),
        src_port: number,
        dst_port: 443,
        protocol: 6,
        tos: 0,
        tcp_flags: 0,
        direction: flowtable::Direction::Out,
        vlan: 0,
        src_mac: [0; 6],
        dst_mac: [0; 6],
        packets: 10,
        bytes: 15_000,
        fragments: 0,
        sample_rate: 1,
        app: None,
        connection_id: 1,
        first_payload_us: None,
    }
}

#[cfg(test)]
mod tests {
    use decode::app::{App, Events, Field, Kind};
    use flowtable::tcp::TcpMetrics;

    use super::*;

    const START: u64 = 1_800_000_000_000_000_000;
    const SECOND: u64 = 1_000_000_000;

    fn alone(record: &Record) -> Cut<'_> {
        Cut { record, tcp: None, event: None }
    }

    #[test]
    fn a_steady_conversation_has_its_rate_whatever_the_time() {
        let mut heavy = Heavy::since(Some(START));
        for tick in 1..=8 {
            heavy.add(&alone(&record(5000, START + tick * RECORD_NS)));
            let (rows, traffic) = heavy.rows(Some(START + tick * RECORD_NS + SECOND));
            assert_eq!(rows.len(), 1);
            // 15,000 bytes in 15 s.
            assert_eq!((rows[0].bits_per_s, traffic.bits_per_s), (8000.0, 8000.0), "{tick}");
        }
    }

    #[test]
    fn both_directions_are_one_conversation_from_client_to_server() {
        let mut heavy = Heavy::default();
        let there = record(5000, START);
        let back = Record {
            src: there.dst,
            dst: there.src,
            src_port: 443,
            dst_port: 5000,
            ..there.clone()
        };
        heavy.add(&alone(&there));
        heavy.add(&alone(&back));
        let (rows, _) = heavy.rows(None);
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].client_port, rows[0].server_port), (5000, 443));
        assert_eq!(rows[0].bits_per_s, 16_000.0);
    }

    #[test]
    fn round_trips_of_both_sides_add_up_and_retransmissions_too() {
        let mut heavy = Heavy::default();
        let there = record(5000, START);
        let back = Record {
            src: there.dst,
            dst: there.src,
            src_port: 443,
            dst_port: 5000,
            ..there.clone()
        };
        let tcp = |us| TcpMetrics {
            retransmitted: 2,
            handshake_rtt_us: Some(us),
            ..TcpMetrics::default()
        };
        heavy.add(&Cut { record: &there, tcp: Some(&tcp(100)), event: None });
        heavy.add(&Cut { record: &back, tcp: Some(&tcp(20_000)), event: None });
        let (rows, _) = heavy.rows(None);
        assert_eq!((rows[0].rtt_us, rows[0].retransmitted), (Some(20_100), 4));
    }

    #[test]
    fn an_application_is_told_by_operation_and_name_without_control_characters() {
        let mut events = Events::default();
        let mut draft = events.begin(App::Http, Kind::Request);
        draft.text(Field::HttpMethod, b"GET").text(Field::HttpUrl, b"/a");
        draft.text(Field::HttpHost, b"exa\x1b[2Jmple.org");
        let mut heavy = Heavy::default();
        heavy.add(&Cut { record: &record(1, START), tcp: None, event: events.get(0) });
        let (rows, _) = heavy.rows(None);
        assert_eq!((rows[0].app.as_str(), rows[0].operation.as_str()), ("http", "GET"));
        assert_eq!(rows[0].name, "exa[2Jmple.org");
    }

    #[test]
    fn silent_conversations_leave_after_two_records() {
        let mut heavy = Heavy::default();
        heavy.add(&alone(&record(1, START)));
        assert_eq!(heavy.rows(Some(START + 30 * SECOND)).0.len(), 1);
        assert_eq!(heavy.rows(Some(START + 31 * SECOND)).0.len(), 0);
    }

    #[test]
    fn when_the_table_is_full_the_lighter_half_is_forgotten_and_counted() {
        let mut heavy = Heavy::default();
        for number in 0..4096_u16 {
            let bytes = 1000 + u64::from(number);
            heavy.add(&alone(&Record { bytes, ..record(number, START) }));
        }
        heavy.add(&alone(&record(50_000, START)));
        let (rows, traffic) = heavy.rows(None);
        assert_eq!((traffic.conversations, traffic.forgotten), (2049, 2048));
        assert!(rows.iter().any(|row| row.client_port == 4095));
        // Also when all weigh the same.
        let mut heavy = Heavy::default();
        for number in 0..60_000 {
            heavy.add(&alone(&record(number, START)));
        }
        assert!(heavy.conversations.len() <= 4096);
    }

    #[test]
    fn the_error_of_one_sampled_conversation_among_equals_falls_with_their_number() {
        let mut heavy = Heavy::default();
        for number in 0..100 {
            heavy.add(&alone(&Record { sample_rate: 4, ..record(number, START) }));
        }
        // sqrt(3/4 / 100) = 8.66 %.
        let (_, traffic) = heavy.rows(None);
        assert!((traffic.error_percent.unwrap() - 8.66).abs() < 0.01, "{traffic:?}");
        assert_eq!(traffic.sample_rate, 4);
    }
}
