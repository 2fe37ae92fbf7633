//! What one record of one direction says.

use super::details::{Counts, Details};
use super::exchange::clamped_ms;
use super::number::{FAR, distance, elapsed_us};
use super::rtt::Rtt;
use super::state::{TcpState, bit};
use crate::Way;

/// A probe older than this is given up when a record is taken.
const MAX_PROBE_AGE_US: u32 = 60_000_000;

/// Which end of the connection a direction's sender is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It sent the first SYN.
    Client,
    /// It did not.
    Server,
}

/// How a connection ended, from the view of one direction's sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// FIN in both directions.
    Fin,
    /// The sender of this direction reset it.
    ResetBySender,
    /// The peer reset it.
    ResetByReceiver,
    /// It fell silent.
    Timeout,
}

/// Why metrics are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The conversation stays, or goes for reasons of the table alone.
    Open,
    /// It was idle for too long.
    Idle,
}

/// TCP metrics of one direction since its last record; what is said to stay is in every record
/// while the state lives. `None` and 0 mean that there is nothing to emit (spec 11.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpMetrics {
    /// `CLIENT_NW_LATENCY_MS`: half of SYN+ACK to ACK, 1–20,000. Stays.
    pub client_nw_latency_ms: Option<u16>,
    /// `SERVER_NW_LATENCY_MS`: half of SYN to SYN+ACK, 1–20,000. Stays.
    pub server_nw_latency_ms: Option<u16>,
    /// `RETRANSMITTED_OUT_PKTS`: segments sent again.
    pub retransmitted: u32,
    /// `REPEATED_RETRANSMITS`: times that one sequence number was sent again the fourth time.
    pub repeated_retransmits: u32,
    /// `OOORDER_IN_PKTS`: segments that others overtook.
    pub out_of_order: u32,
    /// `RECEIVE_WINDOW`: last advertised window in bytes; needs this direction's SYN. Stays.
    pub receive_window: Option<u32>,
    /// `ZERO_WINDOWS`: segments that advertise no window; 65,535 stands for that or more.
    pub zero_windows: u32,

    /// Which end the sender is, if the opening was seen. Stays.
    pub role: Option<Role>,
    /// How the connection ended, if it did.
    pub close: Option<Close>,
    /// The peer's SYN or SYN+ACK to this side's answer, µs, not halved; `None` too when either was
    /// sent again and nothing tells which was answered. Stays.
    pub handshake_rtt_us: Option<u32>,
    /// How long this side took to acknowledge, handshake included: the network between capture
    /// point and this side, and its delayed ACKs.
    pub rtt: Rtt,
    /// Of `retransmitted`: after three duplicate ACKs, or SACK for what was sent later.
    pub retransmitted_fast: u32,
    /// Of `retransmitted`: after a silence of at least 200 ms and two round trips, and what
    /// followed until all was acknowledged.
    pub retransmitted_timeout: u32,
    /// Of `retransmitted`: the last segment, after about two round trips.
    pub retransmitted_tail_probe: u32,
    /// Of `retransmitted`, whatever the cause: the peer had it already, by ACK or DSACK.
    pub retransmitted_needless: u32,
    /// Of `retransmitted`: filled a hole, so the original was lost before the capture point.
    pub lost_upstream: u32,
    /// The same packet once more, by timestamp or IP identification; not a retransmission.
    pub duplicates: u32,
    /// Duplicate ACKs sent (RFC 5681); 65,535 stands for that or more.
    pub dup_acks: u32,
    /// Segments with SACK blocks sent.
    pub sacks: u32,
    /// Of `sacks`: reported that data came twice (RFC 2883).
    pub dsacks: u32,
    /// Times that the window closed.
    pub zero_window_transitions: u32,
    /// Time that the window was closed, µs.
    pub zero_window_us: u32,
    /// Window of the SYN, bytes. Stays.
    pub initial_window: Option<u32>,
    /// Smallest window advertised after the SYN, bytes; needs this direction's SYN.
    pub min_window: Option<u32>,
    /// Bytes that the peer acknowledged and that were never captured: the probe's own loss, or
    /// another path.
    pub unseen_bytes: u64,
    /// Forward jumps in the sequence.
    pub gaps: u32,
    /// The same while the capture was losing packets, as far as that was known.
    pub suspect_gaps: u32,
    /// Fills of suspect gaps, and of gaps whose bytes were acknowledged before; counted as neither
    /// retransmission nor reordering.
    pub suspect_fills: u32,
    /// Holes forgotten because there were more than eight.
    pub holes_dropped: u32,
    /// There was no room for details: causes, holes and window times are missing.
    pub lacking: bool,
}

impl TcpMetrics {
    /// Retransmissions whose cause the packets don't tell.
    #[must_use]
    pub fn retransmitted_unknown(&self) -> u32 {
        let known = [self.retransmitted_fast, self.retransmitted_timeout];
        let known = known.iter().fold(self.retransmitted_tail_probe, |a, b| a.saturating_add(*b));
        self.retransmitted.saturating_sub(known)
    }
}

impl TcpState {
    /// What the next record of direction `way` says; counters begin anew. `time_ns` is the packet
    /// time at which the record is cut. Give `details` those of every update.
    pub fn take(
        &mut self,
        way: Way,
        time_ns: u64,
        ending: Ending,
        details: &mut Details,
    ) -> TcpMetrics {
        let now_us = (time_ns / 1000) as u32;
        let mut metrics = self.lasting(way);
        self.take_ledger(way, &mut metrics);
        let unseen_tail = self.take_unseen_tail(way);
        self.take_details(way, now_us, details, &mut metrics);
        metrics.unseen_bytes = metrics.unseen_bytes.saturating_add(unseen_tail);
        metrics.close = match (self.close(way), ending) {
            (None, Ending::Idle) => Some(Close::Timeout),
            (close, _) => close,
        };
        let side = &mut self.sides[way.index()];
        if elapsed_us(now_us, side.probe_us) > MAX_PROBE_AGE_US {
            side.bits &= !bit::PROBE;
        }
        metrics
    }

    /// The full handshake interval of a side in µs, once in the connection's life: a sample for
    /// statistics over connections.
    pub fn handshake_sample(&mut self, way: Way) -> Option<u32> {
        let side = &mut self.sides[way.index()];
        if side.bits & (bit::HANDSHAKE | bit::CLEAN | bit::REPORTED) != bit::HANDSHAKE | bit::CLEAN
        {
            return None;
        }
        side.bits |= bit::REPORTED;
        Some(self.ledgers[way.index()].handshake_us)
    }

    /// What is in every record.
    fn lasting(&self, way: Way) -> TcpMetrics {
        let (side, ledger) = (&self.sides[way.index()], &self.ledgers[way.index()]);
        let has = |bits| side.bits & bits == bits;
        let latency_ms =
            has(bit::HANDSHAKE).then(|| clamped_ms(u64::from(ledger.handshake_us / 2)));
        let is_server = has(bit::SYN_ACK);
        let role = |opener| if opener == way { Role::Client } else { Role::Server };
        TcpMetrics {
            client_nw_latency_ms: latency_ms.filter(|_| !is_server),
            server_nw_latency_ms: latency_ms.filter(|_| is_server),
            receive_window: has(bit::SYN).then(|| self.scaled(way, side.window)),
            role: self.opener.map(role),
            handshake_rtt_us: has(bit::HANDSHAKE | bit::CLEAN).then_some(ledger.handshake_us),
            initial_window: has(bit::SYN).then_some(u32::from(ledger.initial_window)),
            min_window: has(bit::SYN | bit::PLAIN).then(|| self.scaled(way, ledger.min_window)),
            lacking: self.lacking,
            ..TcpMetrics::default()
        }
    }

    /// Window in bytes: scaled unless it stood in a SYN, and only if neither observed SYN lacks
    /// the option (RFC 7323 section 2.2).
    fn scaled(&self, way: Way, window: u16) -> u32 {
        let peer = &self.sides[way.other().index()];
        let refused = peer.bits & (bit::SYN | bit::SCALES) == bit::SYN;
        let applies = self.has(way, bit::PLAIN | bit::SCALES) && !refused;
        let scale = if applies { self.ledgers[way.index()].scale.min(14) } else { 0 };
        u32::from(window) << scale
    }

    fn take_ledger(&mut self, way: Way, metrics: &mut TcpMetrics) {
        let window = self.sides[way.index()].window;
        let ledger = &mut self.ledgers[way.index()];
        metrics.rtt = ledger.rtt.take();
        metrics.retransmitted = std::mem::take(&mut ledger.retransmitted);
        metrics.out_of_order = std::mem::take(&mut ledger.out_of_order).into();
        metrics.zero_windows = std::mem::take(&mut ledger.zero_windows).into();
        metrics.dup_acks = std::mem::take(&mut ledger.dup_acks).into();
        ledger.min_window = window;
    }

    /// Bytes at the end of the stream that were acknowledged but not captured. The stream goes on
    /// behind them.
    fn take_unseen_tail(&mut self, way: Way) -> u64 {
        let (side, peer) = self.pair(way);
        let ahead = distance(peer.acked, side.expected);
        if side.bits & bit::SEEN == 0 || peer.bits & bit::ACKED == 0 || !(1..FAR).contains(&ahead) {
            return 0;
        }
        side.expected = peer.acked;
        // What it was sent against a closed window did pass.
        let probed = side.bits & bit::WINDOW_PROBE != 0;
        side.bits &= !bit::WINDOW_PROBE;
        u64::from(ahead.unsigned_abs()) - u64::from(probed)
    }

    fn take_details(
        &mut self,
        way: Way,
        now_us: u32,
        details: &mut Details,
        metrics: &mut TcpMetrics,
    ) {
        let zero = self.has(way, bit::ZERO);
        let Some(detail) = details.get(self.detail) else { return };
        let own = &mut detail.sides[way.index()];
        let counts: Counts = std::mem::take(&mut own.counts);
        metrics.repeated_retransmits = counts.repeats;
        metrics.out_of_order = metrics.out_of_order.saturating_add(counts.more_out_of_order);
        metrics.retransmitted_fast = counts.fast;
        metrics.retransmitted_timeout = counts.timeout;
        metrics.retransmitted_tail_probe = counts.tail_probe;
        metrics.retransmitted_needless = counts.needless;
        metrics.lost_upstream = counts.late_fills;
        metrics.duplicates = counts.duplicates;
        metrics.sacks = counts.sacks;
        metrics.dsacks = counts.dsacks;
        metrics.zero_window_transitions = counts.zero_transitions;
        metrics.zero_window_us = counts.zero_us;
        metrics.unseen_bytes = counts.unseen_bytes;
        metrics.gaps = counts.gaps;
        metrics.suspect_gaps = counts.suspect_gaps;
        metrics.suspect_fills = counts.suspect_fills;
        metrics.holes_dropped = counts.holes_dropped;
        if zero {
            let closed_us = elapsed_us(now_us, own.zero_since_us);
            metrics.zero_window_us = metrics.zero_window_us.saturating_add(closed_us);
            own.zero_since_us = now_us;
        } else if !self.has(way.other(), bit::ZERO) {
            let acked = [self.sides[1].acked, self.sides[0].acked];
            details.release_idle(&mut self.detail, acked);
        }
    }
}
