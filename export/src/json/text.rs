//! Text forms of record values, without allocation. The same bytes as the standard library's, several
//! times faster than its formatter.

use std::net::{Ipv4Addr, Ipv6Addr};

const NS_PER_S: u64 = 1_000_000_000;
const S_PER_DAY: u64 = 86_400;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// `00` to `99`, as little-endian words.
static PAIRS: [u16; 100] = pairs();

const fn pairs() -> [u16; 100] {
    let mut pairs = [0; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = u16::from_le_bytes([b'0' + number as u8 / 10, b'0' + number as u8 % 10]);
        number += 1;
    }
    pairs
}

/// `0` to `99` without leading zeros, as little-endian words, and how long each is.
pub(super) static SHORT: [(u16, u16); 100] = {
    let mut short = [(0, 0); 100];
    let mut number = 0;
    while number < 100 {
        let pair = pairs()[number];
        short[number] = if number < 10 { (pair >> 8, 1) } else { (pair, 2) };
        number += 1;
    }
    short
};

/// `0.` to `255.`, as little-endian words, and how long each is.
static OCTETS: [(u32, u8); 256] = {
    let mut octets = [(0, 0); 256];
    let mut octet = 0;
    while octet < 256 {
        let (hundreds, tens, ones) =
            (b'0' + (octet / 100) as u8, b'0' + (octet / 10 % 10) as u8, b'0' + (octet % 10) as u8);
        let (text, len) = if octet >= 100 {
            ([hundreds, tens, ones, b'.'], 4)
        } else if octet >= 10 {
            ([tens, ones, b'.', 0], 3)
        } else {
            ([ones, b'.', 0, 0], 2)
        };
        octets[octet] = (u32::from_le_bytes(text), len);
        octet += 1;
    }
    octets
};

/// `00` to `ff`, as little-endian words.
static HEX_PAIRS: [u16; 256] = {
    let mut pairs = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = u16::from_le_bytes([HEX[byte >> 4], HEX[byte & 15]]);
        byte += 1;
    }
    pairs
};

/// Eight digits of a number below 10⁸, with leading zeros, as a little-endian word.
#[inline(always)]
fn eight_digits(number: u32) -> u64 {
    let pair = |number: u32| u64::from(PAIRS[(number % 100) as usize]);
    let (high, low) = (number / 10_000, number % 10_000);
    pair(high / 100) | pair(high) << 16 | pair(low / 100) << 32 | pair(low) << 48
}

/// A number below 10⁸ without leading zeros, as a little-endian word, and how long it is.
#[inline(never)]
pub(super) fn up_to_eight_digits(number: u32) -> (u64, usize) {
    let digits = eight_digits(number);
    // The low half of a digit is its value; the last digit stays whatever it is.
    let significant = digits & 0x0f0f_0f0f_0f0f_0f0f | 1 << 56;
    let zeros = significant.trailing_zeros() as usize / 8;
    (digits >> (8 * zeros), 8 - zeros)
}

/// Puts a number of at least 10⁸; gives where it ends.
#[inline(never)]
pub(super) fn put_many_digits(to: &mut [u8], at: usize, number: u64) -> usize {
    let mut put = |at: usize, digits: u64| {
        to[at..at + 8].copy_from_slice(&digits.to_le_bytes());
    };
    let (high, low) = (number / 100_000_000, (number % 100_000_000) as u32);
    let at = if high < 100_000_000 {
        let (digits, len) = up_to_eight_digits(high as u32);
        put(at, digits);
        at + len
    } else {
        let (digits, len) = up_to_eight_digits((high / 100_000_000) as u32);
        put(at, digits);
        put(at + len, eight_digits((high % 100_000_000) as u32));
        at + len + 8
    };
    put(at, eight_digits(low));
    at + 8
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const TOPS: u64 = u64::from_ne_bytes([0x80; 8]);

/// Not 0 if a byte of the word needs an escape.
#[inline(always)]
fn specials(word: u64) -> u64 {
    let below = |word: u64, least: u64| word.wrapping_sub(ONES * least) & !word & TOPS;
    let quotes = below(word ^ (ONES * u64::from(b'"')), 1);
    let backslashes = below(word ^ (ONES * u64::from(b'\\')), 1);
    below(word, 0x20) | quotes | backslashes
}

fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Puts a text in quotes and gives where it ends; `None` when it needs escapes.
#[inline(never)]
pub(super) fn put_without_escapes(to: &mut [u8], at: usize, text: &str) -> Option<usize> {
    let end = at + text.len() + 2;
    let [before, to @ .., after] = &mut to[at..end] else { return None };
    (*before, *after) = (b'"', b'"');
    let text = text.as_bytes();
    let Some(last) = text.last_chunk::<8>() else {
        let mut plain = true;
        for (to, &byte) in to.iter_mut().zip(text) {
            *to = byte;
            plain &= !is_special(byte);
        }
        return plain.then_some(end);
    };
    let mut found = 0;
    for (to, from) in to.as_chunks_mut::<8>().0.iter_mut().zip(text.as_chunks::<8>().0) {
        found |= specials(u64::from_ne_bytes(*from));
        *to = *from;
    }
    // What is left, and some bytes again.
    found |= specials(u64::from_ne_bytes(*last));
    if let Some(to) = to.last_chunk_mut::<8>() {
        *to = *last;
    }
    (found == 0).then_some(end)
}

/// Appends a text in quotes with its escapes.
pub(super) fn write_escaped(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = special_at(rest) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        let byte = special.first().copied().unwrap_or_default();
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                let [high, low] = HEX_PAIRS[usize::from(byte)].to_le_bytes();
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        }
        rest = special.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Where the first byte stands that needs an escape.
fn special_at(bytes: &[u8]) -> Option<usize> {
    let is_plain = |chunk: &&[u8; 8]| specials(u64::from_ne_bytes(**chunk)) == 0;
    let at = 8 * bytes.as_chunks::<8>().0.iter().take_while(is_plain).count();
    let rest = bytes.get(at..).unwrap_or_default();
    rest.iter().position(|&byte| is_special(byte)).map(|place| at + place)
}

/// `00:1c:42:60:bb:37`.
#[inline(always)]
pub(super) fn mac(mac: [u8; 6]) -> [u8; 17] {
    let colon = u64::from(b':');
    let three = |bytes: [u8; 3]| {
        let [first, second, third] = bytes.map(|byte| u64::from(HEX_PAIRS[usize::from(byte)]));
        (first | colon << 16 | second << 24 | colon << 40 | third << 48).to_le_bytes()
    };
    let mut text = [b':'; 17];
    text[..8].copy_from_slice(&three([mac[0], mac[1], mac[2]]));
    text[9..].copy_from_slice(&three([mac[3], mac[4], mac[5]]));
    text
}

/// Dotted quad, and how long it is.
#[inline(always)]
pub(super) fn v4(addr: Ipv4Addr) -> ([u8; 16], usize) {
    let [(a, a_len), (b, b_len), (c, c_len), (d, d_len)] =
        addr.octets().map(|octet| OCTETS[usize::from(octet)]);
    let front = u64::from(a) | u64::from(b) << (8 * a_len);
    let back = u64::from(c) | u64::from(d) << (8 * c_len);
    let front_len = a_len + b_len;
    let text = u128::from(front) | u128::from(back) << (8 * front_len);
    // Without the last dot.
    (text.to_le_bytes(), usize::from(front_len + c_len + d_len) - 1)
}

/// Puts an address as RFC 5952 says; gives where it ends.
#[inline(never)]
pub(super) fn put_v6(to: &mut [u8], at: usize, addr: Ipv6Addr) -> usize {
    let mut text = Groups { to, at };
    if let Some(addr) = addr.to_ipv4_mapped() {
        let (quad, len) = v4(addr);
        text.push(b"::ffff:");
        text.push(&quad[..len]);
        return text.at;
    }
    let groups = addr.segments();
    let (start, len) = longest_zero_run(&groups);
    if len < 2 {
        text.groups(&groups);
    } else {
        text.groups(&groups[..start]);
        text.push(b"::");
        text.groups(&groups[start + len..]);
    }
    text.at
}

/// An IPv6 address while it is written.
struct Groups<'a> {
    to: &'a mut [u8],
    at: usize,
}

impl Groups<'_> {
    fn push(&mut self, bytes: &[u8]) {
        self.to[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    /// Groups without leading zeros, separated by colons.
    fn groups(&mut self, groups: &[u16]) {
        for (number, &group) in groups.iter().enumerate() {
            if number > 0 {
                self.push(b":");
            }
            let digits = (16 - group.leading_zeros()).div_ceil(4).max(1);
            for digit in (0..digits).rev() {
                self.push(&[HEX[usize::from(group >> (4 * digit) & 15)]]);
            }
        }
    }
}

/// Start and length of the first longest run of zero groups.
fn longest_zero_run(groups: &[u16; 8]) -> (usize, usize) {
    let (mut longest, mut run) = ((0, 0), (0, 0));
    for (index, &group) in groups.iter().enumerate() {
        run = match (group, run.1) {
            (0, 0) => (index, 1),
            (0, len) => (run.0, len + 1),
            _ => (0, 0),
        };
        if run.1 > longest.1 {
            longest = run;
        }
    }
    longest
}

/// Writes times as `2026-01-02T03:04:05.123456789Z` (RFC 3339, UTC, always nine digits).
///
/// Keeps the last text, since records come in order of time and many share it.
pub(super) struct TimeText {
    time_ns: u64,
    text: [u8; 30],
}

impl Default for TimeText {
    fn default() -> Self {
        Self { time_ns: 0, text: *b"1970-01-01T00:00:00.000000000Z" }
    }
}

impl TimeText {
    /// The text of a time.
    #[inline]
    pub(super) fn of(&mut self, time_ns: u64) -> &[u8; 30] {
        if self.time_ns != time_ns {
            self.change(time_ns);
        }
        &self.text
    }

    fn change(&mut self, time_ns: u64) {
        let second = time_ns / NS_PER_S;
        if second != self.time_ns / NS_PER_S {
            self.text[..19].copy_from_slice(&second_text(second));
        }
        let fraction = (time_ns % NS_PER_S) as u32;
        self.text[20..28].copy_from_slice(&eight_digits(fraction / 10).to_le_bytes());
        self.text[28] = b'0' + (fraction % 10) as u8;
        self.time_ns = time_ns;
    }
}

fn second_text(second: u64) -> [u8; 19] {
    let (year, month, day) = date(second / S_PER_DAY);
    let of_day = second % S_PER_DAY;
    let mut text = *b"0000-00-00T00:00:00";
    put_digits(&mut text[0..4], year);
    put_digits(&mut text[5..7], month);
    put_digits(&mut text[8..10], day);
    put_digits(&mut text[11..13], of_day / 3600);
    put_digits(&mut text[14..16], of_day / 60 % 60);
    put_digits(&mut text[17..19], of_day % 60);
    text
}

/// Year, month and day of a day since 1970-01-01, in the Gregorian calendar: eras of 400 years
/// that begin in March, so that the leap day comes last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

fn put_digits(text: &mut [u8], mut number: u64) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_nine_digits_in_utc() {
        let mut times = TimeText::default();
        for (time_ns, expected) in [
            (0, b"1970-01-01T00:00:00.000000000Z"),
            (1_767_323_045_123_456_789, b"2026-01-02T03:04:05.123456789Z"),
            (1_767_323_045_000_000_001, b"2026-01-02T03:04:05.000000001Z"),
            (951_782_400_000_000_000, b"2000-02-29T00:00:00.000000000Z"),
            (1_709_251_199_999_999_999, b"2024-02-29T23:59:59.999999999Z"),
            (4_107_542_400_000_000_000, b"2100-03-01T00:00:00.000000000Z"),
            (u64::MAX, b"2554-07-21T23:34:33.709551615Z"),
        ] {
            assert_eq!(times.of(time_ns), expected);
        }
    }

    #[test]
    fn macs_are_lower_case_pairs() {
        assert_eq!(&mac([0x00, 0x1c, 0x42, 0x60, 0xbb, 0x37]), b"00:1c:42:60:bb:37");
    }

    #[test]
    fn addresses_are_written_in_their_canonical_form() {
        for addr in [
            "::",
            "::1",
            "1::",
            "2001:db8::53",
            "2001:db8:0:1:1:1:1:1",
            "1:0:0:2::3",
            "::ffff:192.0.2.1",
            "::ffff:255.255.255.255",
            "fe80::1:0:0:abcd",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            let mut text = [0; 50];
            let end = put_v6(&mut text, 1, addr.parse().unwrap());
            assert_eq!(&text[1..end], addr.as_bytes());
        }
        for addr in ["0.0.0.0", "192.0.2.255", "255.255.255.255"] {
            let (text, len) = v4(addr.parse().unwrap());
            assert_eq!(&text[..len], addr.as_bytes());
        }
    }

    proptest::proptest! {
        #[test]
        fn a_time_is_written_the_same_whatever_was_written_before(before: u64, time_ns: u64) {
            let mut times = TimeText::default();
            times.of(before);
            for time_ns in [time_ns, before ^ 1, before.saturating_add(1)] {
                let mut fresh = TimeText::default();
                proptest::prop_assert_eq!(times.of(time_ns), fresh.of(time_ns));
            }
        }

        #[test]
        fn a_copy_is_made_if_no_byte_needs_an_escape(text in "[a-z\"\\\\\u{1}\u{1f} ä\u{7f}]{0,40}") {
            let mut copy = [0; 200];
            let end = put_without_escapes(&mut copy, 1, &text);
            let plain = !text.bytes().any(is_special);
            proptest::prop_assert_eq!(end.is_some(), plain);
            if let Some(end) = end {
                let expected = format!("\"{text}\"");
                proptest::prop_assert_eq!(&copy[1..end], expected.as_bytes());
            }
        }
    }
}
