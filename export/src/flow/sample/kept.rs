//! A record that was kept, with what belongs to it and its weight.

use decode::app::Events;
use flowtable::tcp::TcpMetrics;
use flowtable::{Cut, Record};

/// A record with what belongs to it, and the sample rate it travels with.
#[derive(Clone, Debug)]
pub(crate) struct Weighted {
    pub record: Record,
    extras: Option<Box<Extras>>,
    /// N × 100 ÷ the probability that the record was kept; cut at 4,294,967,295, the most that the
    /// wire can say.
    pub wire_rate: u32,
}

/// What many records don't have.
#[derive(Clone, Debug, Default)]
struct Extras {
    tcp: Option<TcpMetrics>,
    /// One or none.
    event: Events,
}

impl Weighted {
    pub(crate) fn new(cut: &Cut<'_>) -> Self {
        let mut new = Self { record: cut.record.clone(), extras: None, wire_rate: 0 };
        new.set(cut);
        new
    }

    /// Takes the place of what was there; memory is used again.
    pub(super) fn set(&mut self, cut: &Cut<'_>) {
        self.record.clone_from(cut.record);
        self.wire_rate = 0;
        if self.extras.is_none() && cut.tcp.is_none() && cut.event.is_none() {
            return;
        }
        let extras = self.extras.get_or_insert_default();
        extras.tcp = cut.tcp.copied();
        extras.event.clear();
        if let Some(event) = &cut.event {
            extras.event.push(event);
        }
    }

    pub(crate) fn cut(&self) -> Cut<'_> {
        let extras = self.extras.as_deref();
        Cut {
            record: &self.record,
            tcp: extras.and_then(|extras| extras.tcp.as_ref()),
            event: extras.and_then(|extras| extras.event.get(0)),
        }
    }
}

/// Bytes that the record stands for, by its own sampling.
pub(super) fn bytes(record: &Record) -> f64 {
    record.bytes as f64 * f64::from(record.sample_rate.max(1))
}

/// Packets, likewise.
pub(super) fn packets(record: &Record) -> f64 {
    record.packets as f64 * f64::from(record.sample_rate.max(1))
}
