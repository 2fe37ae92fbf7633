//! What a table has done, for the status page.

use std::ops::AddAssign;

use crate::apps::AppStats;

/// Counters of one table since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableStats {
    /// Wire packets counted in some conversation.
    pub packets: u64,
    /// Wire packets of flows that sampling leaves out, or of a tracked direction not exported.
    pub packets_unsampled: u64,
    /// Conversations held now.
    pub conversations: u64,
    /// Conversations begun.
    pub created: u64,
    /// Conversations ended by FIN in both directions or RST.
    pub closed: u64,
    /// Conversations removed after their idle time.
    pub expired: u64,
    /// Conversations removed early because the table was full; their counters were exported.
    pub evicted: u64,
    /// TCP and UDP conversations that ended with packets of one direction only: scans, one-way
    /// traffic, or a capture that sees half of it (asymmetric steering, one leg of a path).
    pub one_sided: u64,
    /// Records cut.
    pub records: u64,
    /// TCP conversations that are not in order now and have details kept of them.
    pub tcp_details: u64,
    /// Times that a TCP conversation found no room for details: its records say that they lack
    /// them.
    pub tcp_details_refused: u64,
    /// Application decoding.
    pub apps: AppStats,
}

impl AddAssign for TableStats {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.packets_unsampled += other.packets_unsampled;
        self.conversations += other.conversations;
        self.created += other.created;
        self.closed += other.closed;
        self.expired += other.expired;
        self.evicted += other.evicted;
        self.one_sided += other.one_sided;
        self.records += other.records;
        self.tcp_details += other.tcp_details;
        self.tcp_details_refused += other.tcp_details_refused;
        self.apps += other.apps;
    }
}
