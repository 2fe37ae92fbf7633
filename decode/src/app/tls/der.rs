//! Just enough DER to walk a certificate (X.690 section 8).

/// Tags that occur on the way.
pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_ID: u8 = 0x06;
pub(super) const BMP_STRING: u8 = 0x1e;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// A run of elements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Der<'a> {
    left: &'a [u8],
}

impl<'a> Der<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    /// The next element: tag and content. Nothing when it is cut, or longer than 16 MiB.
    pub(super) fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.left.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, left) = rest.split_at_checked(len)?;
        self.left = left;
        Some((tag, content))
    }

    /// The content of the next element, if it has this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }

    /// The elements within the next one, if it has this tag.
    pub(super) fn enter(&mut self, tag: u8) -> Option<Self> {
        self.expect(tag).map(Self::new)
    }

    /// Passes over the next element if it has this tag.
    pub(super) fn skip(&mut self, tag: u8) {
        if self.left.first() == Some(&tag) {
            self.next();
        }
    }
}

/// Seconds since 1970 of a time as certificates have it (RFC 5280 section 4.1.2.5), 0 before.
pub(super) fn unix_seconds(tag: u8, text: &[u8]) -> Option<u64> {
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |digits: &[u8]| digits.iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0'));
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year = number(year);
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (number(year), rest)
        }
        _ => return None,
    };
    if rest.len() != 10 {
        return None;
    }
    let mut parts = rest.chunks_exact(2).map(number);
    let mut part =
        |range: std::ops::RangeInclusive<i64>| parts.next().filter(|number| range.contains(number));
    let (month, day) = (part(1..=12)?, part(1..=31)?);
    let (hour, minute, second) = (part(0..=23)?, part(0..=59)?, part(0..=60)?);
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(u64::try_from(seconds).unwrap_or(0))
}

/// Days of the Gregorian calendar, with years that begin in March so that the leap day is last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let days_before_month = (153 * ((month + 9) % 12) + 2) / 5;
    365 * year + year / 4 - year / 100 + year / 400 + days_before_month + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_walked() {
        let bytes = [0x30, 5, 0x02, 1, 7, 0x05, 0, 0x04, 0x81, 2, 8, 9];
        let mut der = Der::new(&bytes);
        let mut inner = der.enter(SEQUENCE).unwrap();
        assert_eq!(inner.expect(INTEGER), Some(&[7][..]));
        inner.skip(OCTET_STRING);
        assert_eq!(inner.next(), Some((5, &[][..])));
        assert_eq!(inner.next(), None);
        assert_eq!(der.expect(OCTET_STRING), Some(&[8, 9][..]));
        assert_eq!(Der::new(&[0x30, 0x82, 1]).next(), None);
        assert_eq!(Der::new(&[0x30, 0x84, 0, 0, 0, 0]).next(), None);
        assert_eq!(Der::new(&[0x30, 3, 0]).next(), None);
    }

    #[test]
    fn times_are_seconds_since_1970() {
        // Values of date -u -d … +%s.
        assert_eq!(unix_seconds(UTC_TIME, b"700101000000Z"), Some(0));
        assert_eq!(unix_seconds(UTC_TIME, b"491231235959Z"), Some(2_524_607_999));
        assert_eq!(unix_seconds(UTC_TIME, b"500101000000Z"), Some(0));
        assert_eq!(unix_seconds(UTC_TIME, b"240229120000Z"), Some(1_709_208_000));
        assert_eq!(unix_seconds(GENERALIZED_TIME, b"20500301000000Z"), Some(2_529_705_600));
        assert_eq!(unix_seconds(GENERALIZED_TIME, b"99991231235959Z"), Some(253_402_300_799));
        for text in ["7001010000Z", "700101000000", "701301000000Z", "7a0101000000Z", "Z", ""] {
            assert_eq!(unix_seconds(UTC_TIME, text.as_bytes()), None, "{text}");
        }
    }
}
