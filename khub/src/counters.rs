//! Everything that is counted, declared once for the status and for Prometheus.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock;

/// A number that only grows.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($name:ident: $help:literal,)*) => {
        /// All counters since start.
        #[derive(Default)]
        pub(crate) struct Counters {
            $(#[doc = $help] pub(crate) $name: Counter,)*
            pub(crate) rate: Rate,
        }

        impl Counters {
            /// Name, help and value of each counter.
            pub(crate) fn table(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), $help, self.$name.value()),)*]
            }
        }
    };
}

counters! {
    records_in: "Flow records received and decoded.",
    records_evicted: "Records that left memory to make room for newer ones.",
    records_big: "Low-resolution copies received; they are not kept.",
    columns_cut: "Custom values left out of kept records because a record had too many.",
    batches_in: "Flow batches accepted.",
    bytes_in: "Bytes of accepted flow batches as received, usually compressed.",
    decode_errors: "Flow batches refused because they could not be unpacked or decoded.",
    unknown_senders: "Flow batches refused because their sender is unknown.",
    auth_failures: "Requests refused for wrong or missing credentials.",
    too_large: "Requests refused because their body is too large, packed or unpacked.",
    busy: "Requests refused because too many were being worked on.",
    slow_bodies: "Requests given up because their body did not arrive in time.",
    connections: "Connections accepted.",
    connections_waited: "Connections that had to wait because as many as allowed were open.",
    connections_idle: "Connections closed because nothing moved on them.",
    printed: "Records printed.",
    print_dropped: "Records not printed because standard output was too slow or closed.",
    devices_created: "Devices created.",
    devices_refused: "Device creations refused because the table is full.",
    interfaces_dropped: "Interfaces not stored because the device has too many.",
    dimension_upserts: "Tag values set.",
    dimension_deletes: "Tag values removed.",
    dimension_refused: "Tag values refused because the table is full.",
    dimension_criteria_ignored: "Tag criteria that khub cannot apply to flow.",
    dns_responses: "DNS responses received.",
    dns_evicted: "DNS responses that left memory to make room for newer ones.",
    dns_errors: "DNS batches refused because they could not be decoded.",
    metrics_in: "Agent metrics received.",
    metrics_dropped: "Agent metrics not kept because there are too many series.",
}

const WINDOW_S: u64 = 10;

/// Events per second over the last ten whole seconds.
#[derive(Default)]
pub(crate) struct Rate(Mutex<Seconds>);

#[derive(Default)]
struct Seconds {
    newest_s: u64,
    counts: [u64; WINDOW_S as usize + 1],
}

impl Rate {
    pub(crate) fn add(&self, amount: u64) {
        let mut seconds = crate::hub::locked(&self.0);
        seconds.advance(clock::now_ms() / 1000);
        seconds.counts[0] += amount;
    }

    pub(crate) fn per_second(&self) -> f64 {
        let mut seconds = crate::hub::locked(&self.0);
        seconds.advance(clock::now_ms() / 1000);
        seconds.counts[1..].iter().sum::<u64>() as f64 / WINDOW_S as f64
    }
}

impl Seconds {
    fn advance(&mut self, now_s: u64) {
        let passed = now_s.saturating_sub(self.newest_s).min(WINDOW_S + 1) as usize;
        self.counts.rotate_right(passed);
        self.counts[..passed].fill(0);
        self.newest_s = self.newest_s.max(now_s);
    }
}

#[cfg(test)]
mod tests {
    use super::Seconds;

    #[test]
    fn a_second_leaves_the_window_after_ten_more() {
        let mut seconds = Seconds::default();
        seconds.advance(100);
        seconds.counts[0] += 50;
        seconds.advance(101);
        assert_eq!(seconds.counts[1], 50);
        seconds.advance(110);
        assert_eq!(seconds.counts[10], 50);
        seconds.advance(111);
        assert_eq!(seconds.counts, [0; 11]);
    }

    #[test]
    fn a_clock_that_steps_back_counts_into_the_newest_second() {
        let mut seconds = Seconds::default();
        seconds.advance(100);
        seconds.advance(90);
        seconds.counts[0] += 1;
        assert_eq!((seconds.newest_s, seconds.counts[0]), (100, 1));
    }
}
