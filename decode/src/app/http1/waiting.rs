//! Requests that wait for their response: their texts and times, oldest first, in one buffer.

use super::head::{MAX_METHOD_BYTES, Request};
use crate::app::{App, Draft, Events, Field, Kind, MAX_TEXT_BYTES};

/// Requests that wait at most. Further ones are counted, so that responses still find theirs.
pub(super) const MAX_REQUESTS: u8 = 64;
/// Bytes of them at most.
pub(super) const MAX_BYTES: usize = 32 * 1024;
/// An empty buffer larger than this is given back.
const KEPT_BYTES: usize = 512;

const FIELDS: [Field; 5] =
    [Field::HttpMethod, Field::HttpUrl, Field::HttpHost, Field::HttpReferer, Field::HttpUserAgent];
/// Time, five lengths.
const HEADER_BYTES: usize = 8 + 2 * FIELDS.len();

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    bytes: Vec<u8>,
    /// Where the oldest and the newest begin.
    oldest: u32,
    newest: u32,
    requests: u8,
    /// Requests behind them of which nothing is known.
    unknown: u32,
}

/// A request that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter<'a> {
    pub(super) asked_us: u64,
    texts: [&'a [u8]; FIELDS.len()],
}

impl<'a> Waiter<'a> {
    pub(super) fn of(request: &Request<'a>, asked_us: u64) -> Self {
        let Request { method, target, host, referer, user_agent, .. } = *request;
        Self { asked_us, texts: [method, target, host, referer, user_agent] }
    }

    pub(super) fn method(&self) -> &'a [u8] {
        self.texts[0]
    }

    /// Begins an event with the texts; absent ones are empty (spec 13.3).
    pub(super) fn begin<'e>(&self, kind: Kind, events: &'e mut Events) -> Draft<'e> {
        let mut draft = events.begin(App::Http, kind);
        for (field, text) in FIELDS.into_iter().zip(self.texts) {
            draft.text(field, text);
        }
        draft
    }

    /// The request at the front of `bytes`, and its length.
    fn read(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let (time, rest) = bytes.split_first_chunk::<8>()?;
        let (lengths, mut rest) = rest.split_first_chunk::<{ 2 * FIELDS.len() }>()?;
        let mut texts: [&[u8]; FIELDS.len()] = [&[]; FIELDS.len()];
        for (text, length) in texts.iter_mut().zip(lengths.chunks_exact(2)) {
            let length = u16::from_le_bytes([length[0], length[1]]);
            (*text, rest) = rest.split_at_checked(length.into())?;
        }
        let asked_us = u64::from_le_bytes(*time);
        Some((Self { asked_us, texts }, bytes.len() - rest.len()))
    }
}

impl Waiting {
    /// Adds a request behind the others; false when only its number could be kept.
    pub(super) fn push(&mut self, waiter: &Waiter<'_>) -> bool {
        let mut cut = waiter.texts;
        for (text, field) in cut.iter_mut().zip(FIELDS) {
            let limit = if field == Field::HttpMethod { MAX_METHOD_BYTES } else { MAX_TEXT_BYTES };
            *text = text.get(..limit).unwrap_or(text);
        }
        let len = HEADER_BYTES + cut.iter().map(|text| text.len()).sum::<usize>();
        let kept = self.bytes.len() - self.oldest as usize;
        if self.unknown > 0 || self.requests == MAX_REQUESTS || kept + len > MAX_BYTES {
            self.unknown = self.unknown.saturating_add(1);
            return false;
        }
        if self.bytes.len() + len > MAX_BYTES {
            self.bytes.drain(..self.oldest as usize);
            self.oldest = 0;
        }
        self.newest = self.bytes.len() as u32;
        self.requests += 1;
        if self.bytes.is_empty() {
            self.bytes.reserve_exact(len);
        }
        self.bytes.extend(waiter.asked_us.to_le_bytes());
        for text in cut {
            self.bytes.extend((text.len() as u16).to_le_bytes());
        }
        for text in cut {
            self.bytes.extend(text);
        }
        true
    }

    /// The request whose turn it is.
    pub(super) fn oldest(&self) -> Option<Waiter<'_>> {
        let bytes = self.bytes.get(self.oldest as usize..).filter(|_| self.requests > 0)?;
        Waiter::read(bytes).map(|(waiter, _)| waiter)
    }

    /// The request that came last, unless nothing is known of it.
    pub(super) fn newest(&self) -> Option<Waiter<'_>> {
        let is_known = self.requests > 0 && self.unknown == 0;
        let bytes = self.bytes.get(self.newest as usize..).filter(|_| is_known)?;
        Waiter::read(bytes).map(|(waiter, _)| waiter)
    }

    /// Removes the request whose turn it was.
    pub(super) fn pop(&mut self) {
        if self.requests == 0 {
            self.unknown = self.unknown.saturating_sub(1);
            return;
        }
        let bytes = self.bytes.get(self.oldest as usize..).unwrap_or_default();
        self.oldest += Waiter::read(bytes).map_or(0, |(_, len)| len as u32);
        self.requests -= 1;
        if self.requests == 0 {
            self.forget_known();
        }
    }

    /// Removes all but the last.
    pub(super) fn keep_newest(&mut self) {
        if self.unknown > 0 {
            self.unknown = 1;
            self.forget_known();
        } else if self.requests > 1 {
            self.oldest = self.newest;
            self.requests = 1;
        }
    }

    /// Removes all.
    pub(super) fn forget(&mut self) {
        self.unknown = 0;
        self.forget_known();
    }

    /// Requests without response.
    pub(super) fn len(&self) -> usize {
        usize::from(self.requests) + self.unknown as usize
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    fn forget_known(&mut self) {
        self.bytes.clear();
        self.requests = 0;
        (self.oldest, self.newest) = (0, 0);
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiter(target: &[u8], asked_us: u64) -> Waiter<'_> {
        Waiter { asked_us, texts: [b"GET", target, b"", b"", b"agent"] }
    }

    fn oldest(waiting: &Waiting) -> Option<(&[u8], u64)> {
        waiting.oldest().map(|waiter| (waiter.texts[1], waiter.asked_us))
    }

    #[test]
    fn requests_leave_in_the_order_they_came() {
        let mut waiting = Waiting::default();
        assert!(waiting.push(&waiter(b"/a", 1)) && waiting.push(&waiter(b"/b", 2)));
        assert_eq!(waiting.newest().map(|waiter| waiter.asked_us), Some(2));
        assert_eq!(oldest(&waiting), Some((&b"/a"[..], 1)));
        waiting.pop();
        assert!(waiting.push(&waiter(b"/c", 3)));
        assert_eq!(oldest(&waiting), Some((&b"/b"[..], 2)));
        waiting.pop();
        assert_eq!(oldest(&waiting), Some((&b"/c"[..], 3)));
        waiting.pop();
        waiting.pop();
        assert_eq!((oldest(&waiting), waiting.len()), (None, 0));
    }

    #[test]
    fn after_64_requests_they_are_counted_only_and_answers_still_find_theirs() {
        let mut waiting = Waiting::default();
        for asked_us in 0..64 {
            assert!(waiting.push(&waiter(b"/", asked_us)));
        }
        assert!(!waiting.push(&waiter(b"/", 64)));
        waiting.pop();
        // Behind one of which nothing is known, nothing is kept, or the order would be lost.
        assert!(!waiting.push(&waiter(b"/", 65)));
        for asked_us in 1..64 {
            assert_eq!(waiting.oldest().map(|waiter| waiter.asked_us), Some(asked_us));
            waiting.pop();
        }
        assert_eq!((oldest(&waiting), waiting.len()), (None, 2));
        waiting.pop();
        waiting.pop();
        assert!(waiting.push(&waiter(b"/d", 70)));
        assert_eq!(oldest(&waiting), Some((&b"/d"[..], 70)));
    }

    #[test]
    fn long_texts_are_bounded_and_their_memory_is_given_back() {
        let mut waiting = Waiting::default();
        let long = [b'x'; 5_000];
        while waiting.push(&waiter(&long, 0)) {}
        assert_eq!(waiting.len(), 32);
        assert!(waiting.heap_bytes() <= 2 * MAX_BYTES);
        for _ in 0..32 {
            waiting.pop();
        }
        assert_eq!((waiting.heap_bytes(), waiting.len()), (0, 0));
    }

    #[test]
    fn a_long_queue_that_never_empties_stays_within_its_bytes() {
        let mut waiting = Waiting::default();
        let long = [b'x'; 1_000];
        for asked_us in 0..1_000 {
            assert!(waiting.push(&waiter(&long, asked_us)));
            if asked_us >= 20 {
                waiting.pop();
                assert_eq!(waiting.oldest().map(|waiter| waiter.asked_us), Some(asked_us - 19));
            }
        }
        assert!(waiting.heap_bytes() <= 2 * MAX_BYTES);
    }
}
