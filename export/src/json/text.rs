//! Text forms of record values, written without allocation. The same bytes as the standard
//! library's, several times faster than its formatter.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const NS_PER_S: u64 = 1_000_000_000;
const S_PER_DAY: u64 = 86_400;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// `00` to `99`.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + number as u8 / 10, b'0' + number as u8 % 10];
        number += 1;
    }
    pairs
};

/// `0.` to `255.`, and how long each is.
const OCTETS: [([u8; 4], u8); 256] = {
    let mut octets = [([0; 4], 0); 256];
    let mut octet = 0;
    while octet < 256 {
        let (hundreds, tens, ones) =
            (b'0' + (octet / 100) as u8, b'0' + (octet / 10 % 10) as u8, b'0' + (octet % 10) as u8);
        octets[octet] = if octet >= 100 {
            ([hundreds, tens, ones, b'.'], 4)
        } else if octet >= 10 {
            ([tens, ones, b'.', 0], 3)
        } else {
            ([ones, b'.', 0, 0], 2)
        };
        octet += 1;
    }
    octets
};

/// An unsigned number, decimal.
#[inline]
pub(super) fn write_number(out: &mut Vec<u8>, number: u64) {
    match number {
        0..10 => out.push(b'0' + number as u8),
        10..100 => out.extend_from_slice(&PAIRS[number as usize]),
        _ => write_large(out, number),
    }
}

fn write_large(out: &mut Vec<u8>, mut number: u64) {
    // As long as the longest, of which the front is kept: a copy of known length needs no call.
    let mut text = [0; 20];
    let len = number.ilog10() as usize + 1;
    let mut at = len;
    while number >= 100 {
        at -= 2;
        text[at..at + 2].copy_from_slice(&PAIRS[(number % 100) as usize]);
        number /= 100;
    }
    if number >= 10 {
        text[..2].copy_from_slice(&PAIRS[number as usize]);
    } else {
        text[0] = b'0' + number as u8;
    }
    let start = out.len();
    out.extend_from_slice(&text);
    out.truncate(start + len);
}

/// A text in quotes, with the escapes that RFC 8259 section 7 asks for.
pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
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
                let [high, low] = [byte >> 4, byte & 15].map(|digit| HEX[usize::from(digit)]);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        }
        rest = special.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Where the first byte stands that needs an escape. Most texts have none, and eight bytes are
/// looked at at a time.
fn special_at(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = u64::from_ne_bytes([0x80; 8]);
    let below = |word: u64, least: u64| word.wrapping_sub(ONES * least) & !word & TOPS;
    let is_special = |&byte: &u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    let mut at = 0;
    for chunk in bytes.chunks_exact(8) {
        let Some(chunk) = chunk.first_chunk() else { break };
        let word = u64::from_ne_bytes(*chunk);
        let quotes = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslashes = below(word ^ (ONES * u64::from(b'\\')), 1);
        if below(word, 0x20) | quotes | backslashes != 0 {
            break;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    rest.iter().position(is_special).map(|place| at + place)
}

/// Dotted quad, or RFC 5952.
pub(super) fn write_addr(out: &mut Vec<u8>, addr: IpAddr) {
    match addr {
        IpAddr::V4(addr) => write_v4(out, addr),
        IpAddr::V6(addr) => write_v6(out, addr),
    }
}

/// `00:1c:42:60:bb:37`.
pub(super) fn write_mac(out: &mut Vec<u8>, mac: [u8; 6]) {
    let mut text = [b':'; 17];
    for (pair, byte) in text.chunks_mut(3).zip(mac) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 15)];
    }
    out.extend_from_slice(&text);
}

fn write_v4(out: &mut Vec<u8>, addr: Ipv4Addr) {
    let mut text = [0; 16];
    let mut end = 0;
    for octet in addr.octets() {
        let (octet, len) = &OCTETS[usize::from(octet)];
        text[end..end + 4].copy_from_slice(octet);
        end += usize::from(*len);
    }
    let start = out.len();
    out.extend_from_slice(&text);
    // Without the last dot.
    out.truncate(start + end - 1);
}

fn write_v6(out: &mut Vec<u8>, addr: Ipv6Addr) {
    if let Some(v4) = addr.to_ipv4_mapped() {
        out.extend_from_slice(b"::ffff:");
        return write_v4(out, v4);
    }
    let groups = addr.segments();
    let (start, len) = longest_zero_run(&groups);
    if len < 2 {
        return write_groups(out, &groups);
    }
    write_groups(out, &groups[..start]);
    out.extend_from_slice(b"::");
    write_groups(out, &groups[start + len..]);
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

/// Groups without leading zeros, separated by colons.
fn write_groups(out: &mut Vec<u8>, groups: &[u16]) {
    let mut text = [0; 8 * "ffff:".len()];
    let mut end = 0;
    for &group in groups {
        let digits = (16 - group.leading_zeros()).div_ceil(4).max(1);
        for digit in (0..digits).rev() {
            text[end] = HEX[usize::from(group >> (4 * digit) & 15)];
            end += 1;
        }
        text[end] = b':';
        end += 1;
    }
    out.extend_from_slice(&text[..end.saturating_sub(1)]);
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
    #[inline]
    pub(super) fn write(&mut self, out: &mut Vec<u8>, time_ns: u64) {
        if self.time_ns != time_ns {
            self.change(time_ns);
        }
        out.extend_from_slice(&self.text);
    }

    fn change(&mut self, time_ns: u64) {
        let second = time_ns / NS_PER_S;
        if second != self.time_ns / NS_PER_S {
            self.text[..19].copy_from_slice(&second_text(second));
        }
        let mut fraction = time_ns % NS_PER_S;
        self.text[28] = b'0' + (fraction % 10) as u8;
        fraction /= 10;
        for at in [26, 24, 22, 20] {
            self.text[at..at + 2].copy_from_slice(&PAIRS[(fraction % 100) as usize]);
            fraction /= 100;
        }
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

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn any_text_is_read_back_from_its_json_form() {
        for text in [
            "",
            "plain",
            "12345678\"",
            "1234567\\x",
            "ä234567\u{1f}",
            "a\"b\\c\n\r\t\u{1}\u{1f}é\u{1f600}",
            "\"",
            "x\u{0}",
        ] {
            let mut out = Vec::new();
            write_string(&mut out, text);
            let back: String = serde_json::from_slice(&out).unwrap();
            assert_eq!(back, text);
        }
    }

    #[test]
    fn times_are_written_with_nine_digits_in_utc() {
        let mut times = TimeText::default();
        for (time_ns, expected) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (1_767_323_045_123_456_789, "2026-01-02T03:04:05.123456789Z"),
            (1_767_323_045_000_000_001, "2026-01-02T03:04:05.000000001Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00.000000000Z"),
            (1_709_251_199_999_999_999, "2024-02-29T23:59:59.999999999Z"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000000Z"),
            (u64::MAX, "2554-07-21T23:34:33.709551615Z"),
        ] {
            assert_eq!(text(|out| times.write(out, time_ns)), expected);
        }
    }

    #[test]
    fn macs_are_lower_case_pairs() {
        let mac = [0x00, 0x1c, 0x42, 0x60, 0xbb, 0x37];
        assert_eq!(text(|out| write_mac(out, mac)), "00:1c:42:60:bb:37");
    }

    #[test]
    fn addresses_are_written_in_their_canonical_form() {
        for addr in [
            "0.0.0.0",
            "192.0.2.255",
            "::",
            "::1",
            "1::",
            "2001:db8::53",
            "2001:db8:0:1:1:1:1:1",
            "1:0:0:2::3",
            "::ffff:192.0.2.1",
            "fe80::1:0:0:abcd",
        ] {
            assert_eq!(text(|out| write_addr(out, addr.parse().unwrap())), addr);
        }
    }

    #[test]
    fn numbers_of_every_length_are_written_in_full() {
        let powers = (0..20).map(|power| 10_u64.pow(power));
        for number in powers.flat_map(|power| [power - 1, power, power + 1]).chain([u64::MAX]) {
            assert_eq!(text(|out| write_number(out, number)), number.to_string());
        }
    }

    proptest::proptest! {
        #[test]
        fn any_number_is_written_as_the_standard_library_writes_it(number: u64, shift in 0..64) {
            let number = number >> shift;
            let written = text(|out| write_number(out, number));
            proptest::prop_assert_eq!(written, number.to_string());
        }

        #[test]
        fn a_time_is_written_the_same_whatever_was_written_before(before: u64, time_ns: u64) {
            let mut times = TimeText::default();
            text(|out| times.write(out, before));
            for time_ns in [time_ns, before ^ 1, before.saturating_add(1)] {
                let fresh = text(|out| TimeText::default().write(out, time_ns));
                proptest::prop_assert_eq!(text(|out| times.write(out, time_ns)), fresh);
            }
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
            let v6 = IpAddr::from(groups);
            proptest::prop_assert_eq!(text(|out| write_addr(out, v6)), v6.to_string());
            let v4 = IpAddr::from(Ipv4Addr::from_bits(v4));
            proptest::prop_assert_eq!(text(|out| write_addr(out, v4)), v4.to_string());
        }
    }
}
