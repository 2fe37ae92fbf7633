//! The handshake bytes of one side, put together from CRYPTO frames (RFC 9000 section 19.6) in any
//! order.

use super::packet::varint;

/// Handshake bytes that are kept; a ClientHello has 300 to 2,000, and certificates are no part of
/// it.
pub const MAX_STREAM_BYTES: usize = 8 * 1024;
/// Separate stretches that are kept; a frame that would make one more is passed over.
const MAX_STRETCHES: usize = 64;

/// The bytes from offset 0 on, with holes.
#[derive(Debug, Default)]
pub struct CryptoStream {
    bytes: Vec<u8>,
    /// What is there: begin and end, ascending, without touching each other.
    stretches: Vec<(u16, u16)>,
}

impl CryptoStream {
    /// Takes what a decrypted Initial packet carries, as far as its frames are well-formed.
    pub fn frames(&mut self, mut payload: &[u8]) {
        while let Some((&kind, rest)) = payload.split_first() {
            payload = rest;
            let passed = match kind {
                // PADDING and PING.
                0 | 1 => Some(()),
                2 | 3 => acknowledgement(&mut payload, kind == 3),
                6 => self.frame(&mut payload),
                // Nothing of interest follows CONNECTION_CLOSE, and nothing else may be here
                // (section 17.2.2).
                _ => None,
            };
            if passed.is_none() {
                return;
            }
        }
    }

    /// The first handshake message, when all of it is there.
    pub fn message(&self) -> Option<&[u8]> {
        let end = 4 + self.message_len()?;
        let &(0, stretch_end) = self.stretches.first()? else { return None };
        (usize::from(stretch_end) >= end).then(|| self.bytes.get(..end)).flatten()
    }

    /// Whether the first message is known to be other than a ClientHello that can be kept.
    pub fn is_hopeless(&self) -> bool {
        let is_hello = |kind: &u8| *kind == crate::app::tls::client_hello::CLIENT_HELLO;
        let begins = self.stretches.first().is_some_and(|&(begin, _)| begin == 0);
        begins
            && (!self.bytes.first().is_some_and(is_hello)
                || self.message_len().is_some_and(|len| len > MAX_STREAM_BYTES - 4))
    }

    pub fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.stretches.capacity() * size_of::<(u16, u16)>()
    }

    /// Length of the first message without its 4 bytes of header, when these are there.
    fn message_len(&self) -> Option<usize> {
        let &(0, 4..) = self.stretches.first()? else { return None };
        let [_, length @ ..] = self.bytes.first_chunk::<4>()?;
        Some(length.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)))
    }

    fn frame(&mut self, payload: &mut &[u8]) -> Option<()> {
        let offset = varint(payload)?;
        let length = usize::try_from(varint(payload)?).ok()?;
        let (data, rest) = payload.split_at_checked(length)?;
        *payload = rest;
        self.insert(usize::try_from(offset).ok()?, data);
        Some(())
    }

    /// Takes what lies within the bound.
    fn insert(&mut self, begin: usize, data: &[u8]) {
        let room = MAX_STREAM_BYTES.saturating_sub(begin);
        let data = &data[..data.len().min(room)];
        if data.is_empty() {
            return;
        }
        let end = begin + data.len();
        // Stretches that touch the new one become one with it.
        let first = self.stretches.partition_point(|&(_, stop)| usize::from(stop) < begin);
        let after = self.stretches.partition_point(|&(start, _)| usize::from(start) <= end);
        if first == after && self.stretches.len() >= MAX_STRETCHES {
            return;
        }
        let mut joined = (begin as u16, end as u16);
        for &(start, stop) in self.stretches.get(first..after).unwrap_or_default() {
            joined = (joined.0.min(start), joined.1.max(stop));
        }
        self.stretches.splice(first..after, [joined]);
        if self.bytes.len() < end {
            self.bytes.reserve_exact(end - self.bytes.len());
            self.bytes.resize(end, 0);
        }
        if let Some(place) = self.bytes.get_mut(begin..end) {
            place.copy_from_slice(data);
        }
    }
}

/// Passes over an ACK frame (section 19.3).
fn acknowledgement(payload: &mut &[u8], has_ecn: bool) -> Option<()> {
    let _largest = varint(payload)?;
    let _delay = varint(payload)?;
    let ranges = varint(payload)?;
    let _first = varint(payload)?;
    // Each takes at least a byte, so the payload bounds the loops.
    for _ in 0..ranges {
        varint(payload)?;
        varint(payload)?;
    }
    for _ in 0..if has_ecn { 3 } else { 0 } {
        varint(payload)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message() -> Vec<u8> {
        let mut message = vec![1, 0, 1, 0];
        message.extend((0..=255).rev());
        message
    }

    fn frame(begin: usize, data: &[u8]) -> Vec<u8> {
        let word = |number: usize| (0x4000 | number as u16).to_be_bytes();
        [&[6][..], &word(begin), &word(data.len()), data].concat()
    }

    #[test]
    fn frames_of_other_kinds_are_passed_over() {
        let ack = [2, 5, 0, 1, 0, 1, 2];
        let ack_ecn = [3, 5, 0, 0, 0, 1, 2, 3];
        let mut stream = CryptoStream::default();
        stream.frames(&[&[0, 0, 1][..], &ack, &ack_ecn, &frame(0, &message())].concat());
        assert_eq!(stream.message(), Some(&message()[..]));
        let mut stream = CryptoStream::default();
        stream.frames(&[&[0x1c, 0, 0, 0][..], &frame(0, &message())].concat());
        assert_eq!(stream.message(), None);
        assert!(!stream.is_hopeless());
    }

    #[test]
    fn what_lies_beyond_the_bound_is_left_out() {
        let mut stream = CryptoStream::default();
        stream.insert(MAX_STREAM_BYTES - 1, &[1, 2]);
        stream.insert(MAX_STREAM_BYTES, &[1]);
        stream.insert(usize::MAX, &[1]);
        assert_eq!(stream.bytes.len(), MAX_STREAM_BYTES);
        for begin in 0..200 {
            stream.insert(2 * begin + 10, &[1]);
        }
        assert_eq!(stream.stretches.len(), MAX_STRETCHES);
        assert!(stream.heap_bytes() <= MAX_STREAM_BYTES + 4 * MAX_STRETCHES);
        // What joins stretches is taken even so.
        stream.insert(10, &[1; 100]);
        assert_eq!(stream.stretches[0], (10, 111));
    }

    #[test]
    fn another_message_and_one_too_long_are_hopeless() {
        for bytes in [&[2, 0, 0, 4][..], &[1, 0, 0x1f, 0xfd], &[11]] {
            let mut stream = CryptoStream::default();
            stream.insert(0, bytes);
            assert!(stream.is_hopeless());
        }
        let mut stream = CryptoStream::default();
        stream.insert(0, &[1, 0, 0x1f, 0xfc]);
        assert!(!stream.is_hopeless());
    }

    proptest! {
        #[test]
        fn any_order_and_overlap_give_the_same_message(
            pieces in prop::collection::vec((0..260_usize, 1..60_usize), 0..60))
        {
            let message = message();
            let mut stream = CryptoStream::default();
            for (begin, len) in &pieces {
                let end = (begin + len).min(message.len());
                stream.frames(&frame(*begin, &message[*begin..end]));
            }
            let covered = |at| pieces.iter().any(|(begin, len)| (*begin..begin + len).contains(&at));
            let whole = (0..message.len()).all(covered);
            prop_assert_eq!(stream.message(), whole.then_some(&message[..]));
            stream.frames(&frame(0, &message));
            prop_assert_eq!(stream.message(), Some(&message[..]));
        }

        #[test]
        fn any_bytes_are_taken(payload in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut stream = CryptoStream::default();
            stream.frames(&payload);
            stream.frames(&[&[6][..], &payload].concat());
            prop_assert!(stream.heap_bytes() <= MAX_STREAM_BYTES + 8 * MAX_STRETCHES);
        }
    }
}
