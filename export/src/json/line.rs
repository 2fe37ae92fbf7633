//! A line of JSON while it is written.
//!
//! Most of a line are keys and short values. They are put into a buffer of fixed size as copies of
//! fixed length, of which as much is kept as there is to say: each costs a few instructions and no
//! call. Nothing here that is not inlined takes a [`Line`] by reference, so that the place where
//! the next byte goes stays in a register.

use std::net::IpAddr;

use super::text::{self, TimeText};

/// Most lines fit; a longer one goes to the output in pieces.
const BUFFER_BYTES: usize = 8192;
/// Room that is left for what has no texts of its own: all fields, or all metrics.
const PART_BYTES: usize = 4096;
/// Longest text that is brought to the buffer; most are far shorter.
const TEXT_BYTES: usize = 512;

/// The buffer of a [`Line`], used again and again.
pub(super) type Buffer = [u8; BUFFER_BYTES];

/// An empty [`Buffer`].
pub(super) fn buffer() -> Box<Buffer> {
    Box::new([0; BUFFER_BYTES])
}

/// The end of `out`, while it is written. [`Line::finish`] brings all of it there.
pub(super) struct Line<'a> {
    out: &'a mut Vec<u8>,
    buffer: &'a mut Buffer,
    /// Bytes of the buffer that are written.
    at: usize,
}

impl<'a> Line<'a> {
    #[inline(always)]
    pub(super) fn new(out: &'a mut Vec<u8>, buffer: &'a mut Buffer) -> Self {
        Self { out, buffer, at: 0 }
    }

    /// All of it is in the output.
    #[inline(always)]
    pub(super) fn finish(self) {
        self.out.extend_from_slice(&self.buffer[..self.at]);
    }

    /// Makes room for a part of at most [`PART_BYTES`] in all, before each such part.
    #[inline(always)]
    pub(super) fn begin_part(&mut self) {
        if self.at > BUFFER_BYTES - PART_BYTES {
            spill(self.out, self.buffer, self.at);
            self.at = 0;
        }
    }

    /// A text as it is.
    #[inline(always)]
    pub(super) fn plain(&mut self, text: &[u8]) {
        self.buffer[self.at..self.at + text.len()].copy_from_slice(text);
        self.at += text.len();
    }

    /// As many of the bytes as `len` says, as they are.
    #[inline(always)]
    pub(super) fn front<const N: usize>(&mut self, bytes: [u8; N], len: usize) {
        self.buffer[self.at..self.at + N].copy_from_slice(&bytes);
        self.at += len;
    }

    /// A number, decimal.
    #[inline(always)]
    pub(super) fn number(&mut self, number: u64) {
        if number < 100 {
            let (digits, len) = text::SHORT[number as usize];
            self.front(digits.to_le_bytes(), usize::from(len));
        } else if number < 100_000_000 {
            let (digits, len) = text::up_to_eight_digits(number as u32);
            self.front(digits.to_le_bytes(), len);
        } else {
            self.at = text::put_many_digits(self.buffer, self.at, number);
        }
    }

    /// An address in quotes: dotted quad, or RFC 5952.
    #[inline(always)]
    pub(super) fn address(&mut self, address: IpAddr) {
        self.plain(b"\"");
        match address {
            IpAddr::V4(address) => {
                let (digits, len) = text::v4(address);
                self.front(digits, len);
            }
            IpAddr::V6(address) => self.at = text::put_v6(self.buffer, self.at, address),
        }
        self.plain(b"\"");
    }

    /// A MAC address in quotes.
    #[inline(always)]
    pub(super) fn mac(&mut self, mac: [u8; 6]) {
        self.plain(b"\"");
        self.plain(&text::mac(mac));
        self.plain(b"\"");
    }

    /// A time in quotes, RFC 3339.
    #[inline(always)]
    pub(super) fn time(&mut self, times: &mut TimeText, time_ns: u64) {
        self.plain(b"\"");
        self.plain(times.of(time_ns));
        self.plain(b"\"");
    }

    /// A word in quotes that needs no escapes.
    #[inline(always)]
    pub(super) fn word(&mut self, word: &str) {
        self.plain(b"\"");
        self.plain(word.as_bytes());
        self.plain(b"\"");
    }

    /// A text of any length in quotes, with the escapes that RFC 8259 section 7 asks for. Another
    /// part begins behind it.
    #[inline(always)]
    pub(super) fn string(&mut self, string: &str) {
        if string.len() <= TEXT_BYTES
            && let Some(at) = text::put_without_escapes(self.buffer, self.at, string)
        {
            self.at = at;
        } else {
            spill(self.out, self.buffer, self.at);
            self.at = 0;
            text::write_escaped(self.out, string);
        }
        self.begin_part();
    }
}

/// What is written so far goes to the output.
#[cold]
fn spill(out: &mut Vec<u8>, buffer: &Buffer, at: usize) {
    out.extend_from_slice(&buffer[..at]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Line<'_>)) -> String {
        let (mut out, mut buffer) = (Vec::new(), buffer());
        let mut line = Line::new(&mut out, &mut buffer);
        write(&mut line);
        line.finish();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn any_text_is_read_back_from_its_json_form() {
        let long = "x".repeat(TEXT_BYTES + 1);
        for text in [
            "",
            "a",
            "ab",
            "abc",
            "plain",
            "1234567",
            "12345678",
            "123456789",
            "12345678\"",
            "1234567\\x",
            "ä234567\u{1f}",
            "a\"b\\c\n\r\t\u{1}\u{1f}é\u{1f600}",
            "\"",
            "x\u{0}",
            &long,
        ] {
            let back: String = serde_json::from_str(&written(|line| line.string(text))).unwrap();
            assert_eq!(back, text);
        }
    }

    #[test]
    fn a_line_longer_than_the_buffer_is_complete_and_in_order() {
        let text = "0123456789\\".repeat(40);
        let line = written(|line| {
            line.plain(b"[");
            for number in 0..500 {
                line.number(number);
                line.plain(b",");
                line.string(&text);
                line.plain(b",");
            }
            line.begin_part();
            line.word("end");
            line.plain(b"]");
        });
        let list: Vec<serde_json::Value> = serde_json::from_str(&line).unwrap();
        assert_eq!(list.len(), 1001);
        assert!((0..500).all(|number| list[2 * number] == number && list[2 * number + 1] == *text));
        assert_eq!(list[1000], "end");
    }

    #[test]
    fn numbers_of_every_length_are_written_in_full() {
        let powers = (0..20).map(|power| 10_u64.pow(power));
        for number in powers.flat_map(|power| [power - 1, power, power + 1]).chain([u64::MAX]) {
            assert_eq!(written(|line| line.number(number)), number.to_string());
        }
    }

    proptest::proptest! {
        #[test]
        fn any_number_is_written_as_the_standard_library_writes_it(number: u64, shift in 0..64) {
            let number = number >> shift;
            proptest::prop_assert_eq!(written(|line| line.number(number)), number.to_string());
        }

        #[test]
        fn any_text_is_what_it_was(text: String) {
            let back: String = serde_json::from_str(&written(|line| line.string(&text))).unwrap();
            proptest::prop_assert_eq!(back, text);
        }

        #[test]
        fn any_address_is_written_as_the_standard_library_writes_it(
            groups: [u16; 8], keep: u8, v4: u32,
        ) {
            // Random groups are hardly ever zero.
            let mut groups = groups;
            for (bit, group) in groups.iter_mut().enumerate() {
                *group *= u16::from(keep >> bit & 1);
            }
            let v4 = std::net::Ipv4Addr::from_bits(v4);
            for address in [IpAddr::from(groups), IpAddr::from(v4)] {
                let expected = format!("\"{address}\"");
                proptest::prop_assert_eq!(written(|line| line.address(address)), expected);
            }
        }
    }
}
