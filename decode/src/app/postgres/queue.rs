//! What the client asked and the server has not answered yet, in order.

use std::collections::VecDeque;

use crate::app::statement::Statement;

/// Messages waiting for an answer at most.
const MAX_WAITING: usize = 256;
/// Room for them that an idle connection keeps.
const MAX_IDLE_CAPACITY: usize = 16;
/// Text that they hold at most, bytes; those beyond keep the first word only.
const MAX_TEXT_BYTES: usize = 24 << 10;

/// Kind of a message that is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Until the session is ready.
    Startup,
    /// Several statements, or a function; ends with ReadyForQuery.
    Query,
    /// ParseComplete, or the error that the statement has.
    Parse,
    /// One result.
    Execute,
    /// ReadyForQuery.
    Sync,
}

#[derive(Debug)]
pub(super) struct Waiting {
    pub ask: Ask,
    pub start_us: u64,
    pub statement: Statement,
    /// Where in the text the statement begins that is answered next.
    pub at: u16,
}

impl Waiting {
    /// All statements of the text had their answers; it may have been cut.
    pub(super) fn is_told(&self) -> bool {
        self.at > 0 && usize::from(self.at) >= self.statement.text.len()
    }
}

/// The oldest 256 are kept. Of what is asked beyond only the number of ReadyForQuery is counted,
/// until the server has caught up: answers to those are not matched.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    text_bytes: usize,
    overrun: bool,
    overrun_syncs: u64,
}

impl Queue {
    pub(super) fn push(&mut self, ask: Ask, start_us: u64, statement: &Statement) {
        if self.overrun || self.waiting.len() >= MAX_WAITING {
            self.overrun = true;
            self.overrun_syncs += u64::from(matches!(ask, Ask::Query | Ask::Sync));
            return;
        }
        let fits = self.text_bytes + statement.text.len() <= MAX_TEXT_BYTES;
        let statement = if fits { statement.clone() } else { statement.without_text() };
        self.text_bytes += statement.text.len();
        self.waiting.push_back(Waiting { ask, start_us, statement, at: 0 });
    }

    pub(super) fn front(&mut self) -> Option<&mut Waiting> {
        self.waiting.front_mut()
    }

    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.waiting.pop_front()?;
        self.text_bytes -= waiting.statement.text.len();
        // What a burst took is given back.
        if self.waiting.is_empty() && self.waiting.capacity() > MAX_IDLE_CAPACITY {
            self.waiting = VecDeque::new();
        }
        Some(waiting)
    }

    /// Takes the oldest if it is of this kind.
    pub(super) fn pop_if(&mut self, ask: Ask) -> Option<Waiting> {
        self.waiting.front().is_some_and(|waiting| waiting.ask == ask).then(|| self.pop())?
    }

    /// An error ends all up to the next Sync: takes that out and gives the one that it is for, the
    /// first Execute, or else the first Parse.
    pub(super) fn fail_group(&mut self) -> Option<Waiting> {
        let mut failed: Option<Waiting> = None;
        while let Some(next) = self.waiting.front()
            && matches!(next.ask, Ask::Parse | Ask::Execute)
        {
            let next = self.pop()?;
            if failed.as_ref().is_none_or(|failed| failed.ask == Ask::Parse) {
                // The time is that of the first either way.
                let start_us = failed.as_ref().map_or(next.start_us, |failed| failed.start_us);
                let executes = next.ask == Ask::Execute;
                failed = match failed {
                    Some(first) if !executes => Some(first),
                    _ => Some(Waiting { start_us, ..next }),
                };
            }
        }
        failed
    }

    /// While data are copied in, the server ignores Sync.
    pub(super) fn drop_syncs_after_front(&mut self) {
        while self.waiting.get(1).is_some_and(|waiting| waiting.ask == Ask::Sync) {
            self.waiting.remove(1);
        }
    }

    /// The server is ready: everything up to the message that this answers is done.
    pub(super) fn ready(&mut self) {
        while let Some(done) = self.pop() {
            if matches!(done.ask, Ask::Query | Ask::Sync) {
                return;
            }
        }
        self.overrun_syncs = self.overrun_syncs.saturating_sub(1);
        self.overrun &= self.overrun_syncs > 0;
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.waiting.capacity() * size_of::<Waiting>() + self.text_bytes
    }
}
