//! The TCP metrics of a record: one table from which JSON members, kflow columns and documentation
//! follow.

use flowtable::tcp::{Close, Role, TcpMetrics};

/// A value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpValue {
    /// A number.
    Number(u64),
    /// One of a few words.
    Word(&'static str),
}

/// One metric.
pub struct TcpField {
    /// Member of the `tcp` object of a JSON line.
    pub name: &'static str,
    /// Custom column of a device; the first ones are those of the original.
    pub column: &'static str,
    /// What it means, with unit.
    pub doc: &'static str,
    /// `None` when there is nothing to say: absent in JSON, not sent as a column.
    pub value: fn(&TcpMetrics) -> Option<TcpValue>,
}

impl std::fmt::Debug for TcpField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.name, self.doc)
    }
}

/// Takes the metrics of a record. Its method is to be inlined.
pub(crate) trait EachMetric {
    fn metric(&mut self, key: &'static str, value: TcpValue);
}

/// A counter of which 0 says nothing.
fn count(n: impl Into<u64>) -> Option<TcpValue> {
    let n = n.into();
    (n > 0).then_some(TcpValue::Number(n))
}

fn number<N: Into<u64>>(n: Option<N>) -> Option<TcpValue> {
    n.map(|n| TcpValue::Number(n.into()))
}

/// A statistic of the round trips; nothing without samples.
fn sample(m: &TcpMetrics, us: u32) -> Option<TcpValue> {
    (m.rtt.count > 0).then_some(TcpValue::Number(us.into()))
}

macro_rules! fields {
    ($($name:literal $column:literal $doc:literal => $value:expr;)*) => {
        /// Every TCP metric, in the order of output.
        pub const TCP_FIELDS: &[TcpField] = &[$(TcpField {
            name: $name,
            column: $column,
            doc: $doc,
            value: $value,
        }),*];

        /// Gives `,"name":` and what there is to say, metric after metric.
        #[inline(always)]
        pub(crate) fn for_each_metric(metrics: &TcpMetrics, each: &mut impl EachMetric) {
            $(
                let value: fn(&TcpMetrics) -> Option<TcpValue> = $value;
                if let Some(value) = value(metrics) {
                    each.metric(concat!(",\"", $name, "\":"), value);
                }
            )*
        }
    };
}

fields! {
    "client_nw_latency_ms" "CLIENT_NW_LATENCY_MS"
        "half of SYN+ACK to ACK, ms, 1–20,000; records of the client, while the connection lives" =>
        |m| number(m.client_nw_latency_ms);
    "server_nw_latency_ms" "SERVER_NW_LATENCY_MS"
        "half of SYN to SYN+ACK, ms, 1–20,000; records of the server, likewise" =>
        |m| number(m.server_nw_latency_ms);
    "retransmitted" "RETRANSMITTED_OUT_PKTS" "segments sent again" =>
        |m| count(m.retransmitted);
    "repeated_retransmits" "REPEATED_RETRANSMITS"
        "times that one sequence number was sent again the fourth time" =>
        |m| count(m.repeated_retransmits);
    "out_of_order" "OOORDER_IN_PKTS" "segments that others overtook" => |m| count(m.out_of_order);
    "receive_window" "RECEIVE_WINDOW" "last advertised window, bytes; needs the sender's SYN" =>
        |m| number(m.receive_window);
    "zero_windows" "ZERO_WINDOWS" "segments that advertise no window" => |m| count(m.zero_windows);
    "role" "TCP_ROLE" "client or server: which end the sender is" => |m| {
        m.role.map(|role| TcpValue::Word(match role {
            Role::Client => "client",
            Role::Server => "server",
        }))
    };
    "close" "TCP_CLOSE"
        "how the connection ended: fin, reset_by_sender, reset_by_receiver, timeout" => |m| {
        m.close.map(|close| TcpValue::Word(match close {
            Close::Fin => "fin",
            Close::ResetBySender => "reset_by_sender",
            Close::ResetByReceiver => "reset_by_receiver",
            Close::Timeout => "timeout",
        }))
    };
    "handshake_rtt_us" "TCP_HANDSHAKE_RTT_US"
        "full handshake round trip between capture point and sender, µs, not halved" =>
        |m| number(m.handshake_rtt_us);
    "rtt_min_us" "TCP_RTT_MIN_US"
        "how long the sender took to acknowledge, smallest sample, µs" =>
        |m| sample(m, m.rtt.min_us);
    "rtt_mean_us" "TCP_RTT_MEAN_US" "the same, mean" => |m| number(m.rtt.mean_us());
    "rtt_max_us" "TCP_RTT_MAX_US" "the same, largest" => |m| sample(m, m.rtt.max_us);
    "rtt_last_us" "TCP_RTT_LAST_US" "the same, latest" => |m| sample(m, m.rtt.last_us);
    "rtt_samples" "TCP_RTT_SAMPLES" "number of samples" => |m| count(m.rtt.count);
    "retransmitted_fast" "TCP_RETRANSMITTED_FAST"
        "of retransmitted: after duplicate ACKs or SACK" => |m| count(m.retransmitted_fast);
    "retransmitted_timeout" "TCP_RETRANSMITTED_TIMEOUT"
        "of retransmitted: after a timeout" => |m| count(m.retransmitted_timeout);
    "retransmitted_tail_probe" "TCP_RETRANSMITTED_TAIL"
        "of retransmitted: tail loss probes" => |m| count(m.retransmitted_tail_probe);
    "retransmitted_needless" "TCP_RETRANSMITTED_NEEDLESS"
        "of retransmitted: the peer had it already" => |m| count(m.retransmitted_needless);
    "lost_upstream" "TCP_LOST_UPSTREAM"
        "of retransmitted: the original was lost before the capture point" =>
        |m| count(m.lost_upstream);
    "duplicates" "TCP_DUPLICATES" "packets that came twice: copied by the network or the capture, or overtaken by their retransmission" =>
        |m| count(m.duplicates);
    "dup_acks" "TCP_DUP_ACKS" "duplicate ACKs sent" => |m| count(m.dup_acks);
    "sacks" "TCP_SACKS" "segments with SACK blocks sent" => |m| count(m.sacks);
    "dsacks" "TCP_DSACKS" "of sacks: reported data that came twice" => |m| count(m.dsacks);
    "zero_window_transitions" "TCP_ZERO_WINDOW_TRANSITIONS" "times that the window closed" =>
        |m| count(m.zero_window_transitions);
    "zero_window_us" "TCP_ZERO_WINDOW_US" "how long the window was closed, µs" =>
        |m| count(m.zero_window_us);
    "initial_window" "TCP_INITIAL_WINDOW" "window of the SYN, bytes" =>
        |m| number(m.initial_window);
    "min_window" "TCP_MIN_WINDOW" "smallest window after the SYN, bytes" => |m| number(m.min_window);
    "unseen_bytes" "TCP_UNSEEN_BYTES"
        "bytes acknowledged but never captured: the probe's own loss, or another path" =>
        |m| count(m.unseen_bytes);
    "gaps" "TCP_GAPS" "forward jumps in the sequence" => |m| count(m.gaps);
    "capture_loss_gaps" "TCP_CAPTURE_LOSS_GAPS"
        "the same while the capture lost packets; not the network's" => |m| count(m.suspect_gaps);
    "capture_loss_fills" "TCP_CAPTURE_LOSS_FILLS"
        "segments that filled such gaps; neither retransmitted nor out of order" =>
        |m| count(m.suspect_fills);
    "holes_dropped" "TCP_HOLES_DROPPED" "holes forgotten because there were more than eight" =>
        |m| count(m.holes_dropped);
    "lacking" "TCP_LACKING" "1: there was no room to follow holes, causes and closed windows" =>
        |m| count(m.lacking);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_and_columns_are_unique() {
        let names: HashSet<_> = TCP_FIELDS.iter().map(|field| field.name).collect();
        let columns: HashSet<_> = TCP_FIELDS.iter().map(|field| field.column).collect();
        assert_eq!((names.len(), columns.len()), (TCP_FIELDS.len(), TCP_FIELDS.len()));
    }

    #[test]
    fn a_connection_without_incidents_says_only_what_is_always_there() {
        let metrics = TcpMetrics {
            client_nw_latency_ms: Some(1),
            receive_window: Some(29_312),
            role: Some(Role::Client),
            ..TcpMetrics::default()
        };
        let said: Vec<_> = TCP_FIELDS
            .iter()
            .filter_map(|field| Some((field.name, (field.value)(&metrics)?)))
            .collect();
        assert_eq!(
            said,
            [
                ("client_nw_latency_ms", TcpValue::Number(1)),
                ("receive_window", TcpValue::Number(29_312)),
                ("role", TcpValue::Word("client")),
            ]
        );
    }
}
