//! Latencies over all conversations of one reader, for the status page.

use hdrhistogram::Histogram;

use crate::tcp::Role;

/// Highest latency that is told apart, µs: a minute.
const MAX_US: u64 = 60_000_000;
/// Significant decimal digits.
const DIGITS: u8 = 2;

/// Histograms in µs, 1 to 60,000,000, within 1 %: about 25 KiB each, no growth.
#[derive(Clone, Debug)]
pub struct Latencies {
    /// Full handshake round trip between capture point and client, one sample a connection.
    pub client: Histogram<u64>,
    /// The same between capture point and server.
    pub server: Histogram<u64>,
    /// From request to response of what was decoded, one sample a response; of other conversations
    /// from the first payload to the first of the other side, one sample each.
    pub application: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        // The bounds are constants within the crate's limits.
        let empty = Histogram::new_with_bounds(1, MAX_US, DIGITS).expect("valid bounds");
        Self { client: empty.clone(), server: empty.clone(), application: empty }
    }
}

impl Latencies {
    /// One connection's handshake interval; `role` is that of the side that answered.
    pub(crate) fn handshake(&mut self, role: Option<Role>, us: u32) {
        let histogram = match role {
            Some(Role::Client) => &mut self.client,
            Some(Role::Server) => &mut self.server,
            None => return,
        };
        histogram.saturating_record(u64::from(us).max(1));
    }

    /// One answer of an application.
    pub(crate) fn application(&mut self, us: u64) {
        self.application.saturating_record(us.max(1));
    }

    /// Adds the samples of another reader.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.client, &other.client),
            (&mut self.server, &other.server),
            (&mut self.application, &other.application),
        ];
        for (sum, part) in pairs {
            // Equal bounds: nothing can be out of range.
            let _ = sum.add(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_go_where_their_side_is() {
        let mut latencies = Latencies::default();
        latencies.handshake(Some(Role::Client), 30);
        latencies.handshake(Some(Role::Server), 7_000);
        latencies.handshake(None, 1);
        latencies.application(0);
        assert_eq!((latencies.client.len(), latencies.server.len()), (1, 1));
        assert_eq!(latencies.client.max(), 30);
        assert!(latencies.server.max().abs_diff(7_000) <= 70);
        assert_eq!(latencies.application.max(), 1);
    }

    #[test]
    fn readers_add_up_and_what_is_longer_than_a_minute_is_a_minute() {
        let (mut one, mut other) = (Latencies::default(), Latencies::default());
        one.application(1_000);
        other.application(u64::MAX);
        one.add(&other);
        assert_eq!(one.application.len(), 2);
        assert!(one.application.max() >= 59_000_000);
    }
}
