//! What the proxy has done, as numbers; one table serves the page, its JSON and Prometheus.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Hosts that are counted by name; further ones are counted together.
const MOST_HOSTS: usize = 64;
/// A host is logged once in this time.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// The name for all hosts beyond the bound. No host is called so.
pub const OTHER_HOSTS: &str = "(others)";

/// A number that goes up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// The number now.
    pub fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// One more for as long as the guard lives.
    pub fn hold(self: &std::sync::Arc<Self>) -> Held {
        self.add(1);
        Held(std::sync::Arc::clone(self))
    }
}

/// See [`Counter::hold`].
#[derive(Debug)]
pub struct Held(std::sync::Arc<Counter>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

/// Why a request got an answer of the proxy's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The name is not in the allow list.
    Host,
    /// An address that is not in the allow list.
    Address,
    /// A port that is not open.
    Port,
    /// An allowed name at a private, loopback or link-local address.
    Reach,
    /// A user name before the host, or an address in disguise.
    Disguise,
    /// The way leads back to this proxy.
    Loop,
    /// A request that is none, or is ambiguous.
    Malformed,
    /// Neither CONNECT nor `http://`.
    Form,
    /// As many connections as there may be.
    Full,
    /// No address for the name.
    Resolve,
    /// No connection.
    Connect,
    /// No connection in time.
    Timeout,
    /// The proxy behind this one refused.
    Upstream,
    /// The host broke off before it answered.
    Answer,
}

impl Cause {
    /// All, in the order of the declaration.
    pub const ALL: [Self; 14] = [
        Self::Host,
        Self::Address,
        Self::Port,
        Self::Reach,
        Self::Disguise,
        Self::Loop,
        Self::Malformed,
        Self::Form,
        Self::Full,
        Self::Resolve,
        Self::Connect,
        Self::Timeout,
        Self::Upstream,
        Self::Answer,
    ];

    /// The label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Address => "address",
            Self::Port => "port",
            Self::Reach => "reach",
            Self::Disguise => "disguise",
            Self::Loop => "loop",
            Self::Malformed => "malformed",
            Self::Form => "form",
            Self::Full => "full",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Upstream => "upstream",
            Self::Answer => "answer",
        }
    }

    /// Whether the request was in order and the network was not.
    pub fn is_failure(self) -> bool {
        matches!(
            self,
            Self::Resolve | Self::Connect | Self::Timeout | Self::Upstream | Self::Answer
        )
    }
}

/// All counters.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that were accepted, those beyond the limit included.
    pub connections: Counter,
    /// Client connections and tunnels now.
    pub open: std::sync::Arc<Counter>,
    /// Connections beyond the limit that were closed without a 503, which would have cost too much.
    pub dropped: Counter,
    /// Requests, CONNECT included.
    pub requests: Counter,
    /// Requests that were passed on.
    pub forwarded: Counter,
    /// Tunnels that were opened.
    pub tunnels: Counter,
    /// Tunnels now.
    pub open_tunnels: std::sync::Arc<Counter>,
    /// Bytes from clients.
    pub bytes_up: Counter,
    /// Bytes to clients.
    pub bytes_down: Counter,
    /// Connections closed because a request head took too long.
    pub cut_slow: Counter,
    /// Connections and tunnels closed because nothing moved.
    pub cut_idle: Counter,
    /// Connections that could not be accepted.
    pub accept_errors: Counter,
    denied: [Counter; Cause::ALL.len()],
    /// Hosts of refused requests.
    pub refused_hosts: Hosts,
    /// Hosts that could not be reached.
    pub failed_hosts: Hosts,
}

/// Name, Prometheus kind, help, value.
pub type Row = (&'static str, &'static str, &'static str, fn(&Counters) -> u64);

/// The counters without labels.
pub const ROWS: &[Row] = &[
    ("connections", "gauge", "Client connections now, tunnels included", |c| c.open.read()),
    ("connections_total", "counter", "Client connections, refused ones included", |c| {
        c.connections.read()
    }),
    (
        "connections_dropped_total",
        "counter",
        "Connections beyond the limit closed without an answer",
        |c| c.dropped.read(),
    ),
    ("requests_total", "counter", "Requests, CONNECT included", |c| c.requests.read()),
    ("forwarded_total", "counter", "Plain requests passed on", |c| c.forwarded.read()),
    ("tunnels", "gauge", "Tunnels now", |c| c.open_tunnels.read()),
    ("tunnels_total", "counter", "Tunnels opened", |c| c.tunnels.read()),
    ("received_bytes_total", "counter", "Bytes from clients", |c| c.bytes_up.read()),
    ("sent_bytes_total", "counter", "Bytes to clients", |c| c.bytes_down.read()),
    ("slow_heads_total", "counter", "Connections cut in the middle of a request head", |c| {
        c.cut_slow.read()
    }),
    ("idle_total", "counter", "Connections and tunnels cut because nothing moved", |c| {
        c.cut_idle.read()
    }),
    ("accept_errors_total", "counter", "Connections that could not be accepted", |c| {
        c.accept_errors.read()
    }),
];

impl Counters {
    /// Counts an answer of the proxy's own.
    pub fn deny(&self, cause: Cause) {
        if let Some(counter) = self.denied.get(cause as usize) {
            counter.add(1);
        }
    }

    /// How often there was this cause.
    pub fn denied(&self, cause: Cause) -> u64 {
        self.denied.get(cause as usize).map_or(0, Counter::read)
    }
}

/// Counts by host: 64 hosts by name, the rest together. Also says when to log one.
#[derive(Debug, Default)]
pub struct Hosts(Mutex<HashMap<String, Seen>>);

#[derive(Debug)]
struct Seen {
    count: u64,
    logged: Instant,
    unlogged: u64,
}

impl Hosts {
    /// Counts one; returns how many were not logged, this one included, when it is time to log.
    pub fn note(&self, host: &str, now: Instant) -> Option<u64> {
        let mut hosts = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_known = hosts.contains_key(host);
        let name = if is_known || hosts.len() < MOST_HOSTS { host } else { OTHER_HOSTS };
        let Some(seen) = hosts.get_mut(name) else {
            hosts.insert(name.to_owned(), Seen { count: 1, logged: now, unlogged: 0 });
            return Some(1);
        };
        seen.count += 1;
        seen.unlogged += 1;
        if now.duration_since(seen.logged) < LOG_EVERY {
            return None;
        }
        seen.logged = now;
        Some(std::mem::take(&mut seen.unlogged))
    }

    /// Hosts and counts, by name.
    pub fn list(&self) -> Vec<(String, u64)> {
        let hosts = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut list: Vec<_> =
            hosts.iter().map(|(host, seen)| (host.clone(), seen.count)).collect();
        list.sort();
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_numbered_as_they_stand() {
        for (at, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, at);
        }
    }

    #[test]
    fn a_host_is_logged_once_a_minute_with_a_count() {
        let hosts = Hosts::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(hosts.note("a", start), Some(1));
        assert_eq!(hosts.note("a", after(1)), None);
        assert_eq!(hosts.note("b", after(1)), Some(1));
        assert_eq!(hosts.note("a", after(59)), None);
        assert_eq!(hosts.note("a", after(60)), Some(3));
        assert_eq!(hosts.note("a", after(61)), None);
        assert_eq!(hosts.list(), [("a".to_owned(), 5), ("b".to_owned(), 1)]);
    }

    #[test]
    fn hosts_beyond_64_are_counted_together() {
        let hosts = Hosts::default();
        for number in 0..200 {
            hosts.note(&format!("{number}.example"), Instant::now());
        }
        let list = hosts.list();
        assert_eq!(list.len(), 65);
        assert_eq!(list[0], ("(others)".to_owned(), 136));
    }
}
