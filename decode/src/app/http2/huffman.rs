//! The Huffman code of HPACK (RFC 7541 Appendix B).
//!
//! The code is canonical: codes of one length are consecutive in the order of their symbols, and
//! the first of a length follows the last of the length before. So the lengths alone define it.

/// Length of each symbol's code in bits; 256 is the end of string.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];
const MAX_LENGTH: usize = 30;

/// The code, by length: where its codes begin and end, and their symbols.
struct Code {
    /// First code of the length.
    first: [u32; MAX_LENGTH + 1],
    /// One more than the last code of the length, moved up to 30 bits: what is below has at most
    /// this length.
    end: [u32; MAX_LENGTH + 1],
    /// Where the symbols of the length begin in `symbols`.
    place: [usize; MAX_LENGTH + 1],
    /// All symbols by length, then value.
    symbols: [u16; 257],
    /// Symbol and length for the next 8 bits; length 0 where the code is longer.
    short: [(u8, u8); 256],
}

static CODE: Code = Code::new();

impl Code {
    const fn new() -> Self {
        let mut code = Self {
            first: [0; MAX_LENGTH + 1],
            end: [0; MAX_LENGTH + 1],
            place: [0; MAX_LENGTH + 1],
            symbols: [0; 257],
            short: [(0, 0); 256],
        };
        let (mut next, mut place, mut length) = (0_u32, 0, 1);
        while length <= MAX_LENGTH {
            next <<= 1;
            code.first[length] = next;
            code.place[length] = place;
            let mut symbol = 0;
            while symbol < 257 {
                if LENGTHS[symbol] as usize == length {
                    code.symbols[place] = symbol as u16;
                    let mut fill = 0;
                    while length <= 8 && fill < 1 << (8 - length) {
                        code.short[((next as usize) << (8 - length)) + fill] =
                            (symbol as u8, length as u8);
                        fill += 1;
                    }
                    next += 1;
                    place += 1;
                }
                symbol += 1;
            }
            code.end[length] = next << (MAX_LENGTH - length);
            length += 1;
        }
        code
    }

    /// Symbol and length of a code of more than 8 bits at the top of 30 bits.
    fn long(&self, bits: u32) -> Option<(u16, usize)> {
        let length = (9..=MAX_LENGTH).find(|&length| bits < self.end[length])?;
        let nth = (bits >> (MAX_LENGTH - length)).checked_sub(self.first[length])? as usize;
        Some((*self.symbols.get(self.place[length] + nth)?, length))
    }
}

/// Appends what the bytes stand for; at most 8/5 of their number. `None` when they hold the end of
/// string, or end in more than 7 bits or in other bits than ones (section 5.2).
pub fn decode(bytes: &[u8], text: &mut Vec<u8>) -> Option<()> {
    let mut bytes = bytes.iter();
    // The next bits, at the top; zeros below.
    let (mut window, mut count) = (0_u64, 0);
    loop {
        while count <= 56
            && let Some(&byte) = bytes.next()
        {
            window |= u64::from(byte) << (56 - count);
            count += 8;
        }
        let (symbol, length) = match CODE.short[(window >> 56) as usize] {
            (_, 0) => CODE.long((window >> (64 - MAX_LENGTH)) as u32)?,
            (symbol, length) => (u16::from(symbol), usize::from(length)),
        };
        if length > count {
            break;
        }
        text.push(u8::try_from(symbol).ok()?);
        window <<= length;
        count -= length;
    }
    let ones = (!window).leading_zeros() as usize;
    (ones == count && count < 8).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Option<String> {
        let mut text = Vec::new();
        decode(bytes, &mut text)?;
        Some(String::from_utf8(text).unwrap())
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let name = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(text(&name).unwrap(), "www.example.com");
        assert_eq!(text(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]).unwrap(), "no-cache");
        assert_eq!(text(&[0x64, 0x02]).unwrap(), "302");
        assert_eq!(text(&[]).unwrap(), "");
    }

    #[test]
    fn the_ends_of_the_code_are_where_the_rfc_has_them() {
        assert_eq!(CODE.first[5], 0);
        assert_eq!(CODE.end[5], 10 << 25);
        assert_eq!(CODE.long(0x3fff_ffff), Some((256, 30)));
        assert_eq!(CODE.long(0x3fff_fffc), Some((10, 30)));
        assert_eq!(CODE.long(0x3f8 << 20), Some((u16::from(b'!'), 10)));
    }

    #[test]
    fn padding_is_of_at_most_seven_ones_and_the_end_of_string_is_an_error() {
        // "0" is 00000.
        assert_eq!(text(&[0b0000_0111]).unwrap(), "0");
        assert_eq!(text(&[0b0000_0110]), None);
        assert_eq!(text(&[0b0000_0111, 0xff]), None);
        assert_eq!(text(&[0xff, 0xff, 0xff, 0xfc]), None);
    }
}
