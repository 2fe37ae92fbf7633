//! What a table has done, for the status page.

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
    /// Records cut.
    pub records: u64,
}
