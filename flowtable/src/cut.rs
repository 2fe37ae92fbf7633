//! What the table hands out at a time: a record and what belongs to it.

use decode::app::EventView;

use crate::record::Record;
use crate::tcp::TcpMetrics;

/// One record with what only some records have. Borrowed: who keeps it copies what it needs.
#[derive(Clone, Copy, Debug)]
pub struct Cut<'a> {
    /// The record.
    pub record: &'a Record,
    /// TCP metrics of the record's direction; `None` for other protocols, and for TCP of which not
    /// even a whole header was captured.
    pub tcp: Option<&'a TcpMetrics>,
    /// What an application decoder reports with this record: the message that caused it, or what
    /// holds for the whole conversation.
    pub event: Option<EventView<'a>>,
}
