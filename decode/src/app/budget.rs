//! The ceiling over what all conversations of a reader buffer together.

/// Counts heap bytes against a limit. Whoever holds bytes charges them here and gives them back;
/// beyond the limit nothing more is kept, and [`Budget::refused`] counts who had to go without.
#[derive(Clone, Debug)]
pub struct Budget {
    limit: usize,
    used: usize,
    refused: u64,
}

impl Budget {
    /// A budget of `limit_bytes`.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self { limit: limit_bytes, used: 0, refused: 0 }
    }

    /// Bytes held now, at most the limit between two calls of whoever charges.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used
    }

    /// The ceiling, bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Conversations whose decoding ended because there was no room for what it needed, or because
    /// it needed more than a conversation may keep.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Bytes that may still be taken.
    #[must_use]
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.used)
    }

    /// Replaces a charge by another; false when that is beyond the limit, in which case the charge
    /// holds all the same until it is replaced again.
    pub(super) fn recharge(&mut self, old: &mut u32, new: usize) -> bool {
        let charge = u32::try_from(new).unwrap_or(u32::MAX);
        self.used = self.used.saturating_sub(*old as usize).saturating_add(charge as usize);
        *old = charge;
        self.used <= self.limit
    }

    pub(super) fn refuse(&mut self) {
        self.refused += 1;
    }
}
