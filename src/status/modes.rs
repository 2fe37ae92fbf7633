//! What DNS and RADIUS mode have seen, for status and metrics.

use std::ops::AddAssign;

use export::OutputStats;
use serde::Serialize;

/// What became of messages in a mode.
/// `messages` = `malformed` + `other` + `without_address` + `taken`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ModeCounters {
    /// DNS messages or RADIUS packets looked at.
    pub messages: u64,
    /// That are none.
    pub malformed: u64,
    /// Queries and other operations; other codes and states than start, stop and interim.
    pub other: u64,
    /// DNS: responses without an address. RADIUS: without name, or a start without address.
    pub without_address: u64,
    /// Responses, or events of users.
    pub taken: u64,
    /// Juniper mirror: envelopes without an IP packet in them.
    pub envelopes_malformed: u64,
}

impl AddAssign for ModeCounters {
    fn add_assign(&mut self, more: Self) {
        self.messages += more.messages;
        self.malformed += more.malformed;
        self.other += more.other;
        self.without_address += more.without_address;
        self.taken += more.taken;
        self.envelopes_malformed += more.envelopes_malformed;
    }
}

impl ModeCounters {
    /// Names, help and values.
    pub(super) fn table(&self) -> [(&'static str, &'static str, u64); 6] {
        [
            ("messages_total", "Messages looked at", self.messages),
            ("malformed_messages_total", "Messages that are none", self.malformed),
            ("other_messages_total", "Messages that the mode is not about", self.other),
            (
                "addressless_messages_total",
                "Messages without what is reported",
                self.without_address,
            ),
            ("taken_messages_total", "Messages that are reported", self.taken),
            (
                "malformed_envelopes_total",
                "Packets of a mirror without a packet in them",
                self.envelopes_malformed,
            ),
        ]
    }
}

/// The member of the status page. `taken` = `accepted` + `lost` + what waits.
#[derive(Debug, Serialize)]
pub(super) struct ModePage {
    #[serde(flatten)]
    counters: ModeCounters,
    accepted: u64,
    lost: u64,
    waiting_bytes: u64,
    posts: u64,
    posts_accepted: u64,
    posts_lost: u64,
    retries: u64,
}

impl ModePage {
    pub(super) fn new(counters: ModeCounters, output: &OutputStats) -> Self {
        Self {
            counters,
            accepted: output.accepted.get(),
            lost: export::Lost::ALL.iter().map(|&reason| output.lost(reason)).sum(),
            waiting_bytes: output.queue_bytes.get(),
            posts: output.batches.get(),
            posts_accepted: output.batches_sent.get(),
            posts_lost: output.batches_lost.get(),
            retries: output.retries.get(),
        }
    }
}
