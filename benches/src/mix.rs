//! What a packet stream is made of: frame sizes and the popularity of conversations.
//!
//! Both parse from the words of the command line, so that a value that exists is valid.

use std::str::FromStr;

/// Smallest frame, without FCS: what Ethernet pads to.
pub const MIN_FRAME_BYTES: u16 = 60;
/// Largest frame, without FCS: a 9,000-byte MTU and an Ethernet header.
pub const MAX_FRAME_BYTES: u16 = 9014;

/// Frame sizes in bytes, link header included and FCS excluded.
///
/// A frame is never smaller than its headers, so an IPv6 TCP segment of size 60 has 74 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Every frame has this size, [`MIN_FRAME_BYTES`] to [`MAX_FRAME_BYTES`].
    Fixed(u16),
    /// 60, 570 and 1500 bytes in the ratio 7:4:1, the usual Internet mix; mean 350 bytes.
    Imix,
}

impl Size {
    /// Draws the size of one frame.
    pub fn draw(self, rng: &mut fastrand::Rng) -> u16 {
        match self {
            Size::Fixed(bytes) => bytes,
            Size::Imix => match rng.u8(0..12) {
                0..=6 => 60,
                7..=10 => 570,
                _ => 1500,
            },
        }
    }
}

/// How packets spread over conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Every conversation is equally likely: the worst case for caches.
    Uniform,
    /// Rank r is drawn with a probability close to 1/r, as Zipf's law with exponent 1 has it.
    Zipf,
}

impl Profile {
    /// Draws a conversation number below `conversations`.
    ///
    /// `conversations` must not be 0.
    pub fn draw(self, rng: &mut fastrand::Rng, conversations: u32) -> u32 {
        match self {
            Profile::Uniform => rng.u32(0..conversations),
            Profile::Zipf => {
                // The inverse of the integral of 1/x: one exp() a packet, and no table whose
                // size grows with the number of conversations.
                let rank = (rng.f64() * (f64::from(conversations) + 1.0).ln()).exp();
                (rank as u32).saturating_sub(1).min(conversations - 1)
            }
        }
    }
}

/// A word of the command line that names no size or profile.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseError {
    /// Neither `imix` nor a number in range.
    #[error("size must be `imix` or {MIN_FRAME_BYTES} to {MAX_FRAME_BYTES} bytes, not `{0}`")]
    Size(String),
    /// Neither `uniform` nor `zipf`.
    #[error("profile must be `uniform` or `zipf`, not `{0}`")]
    Profile(String),
}

impl FromStr for Size {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Size, ParseError> {
        if text == "imix" {
            return Ok(Size::Imix);
        }
        match text.parse() {
            Ok(bytes) if (MIN_FRAME_BYTES..=MAX_FRAME_BYTES).contains(&bytes) => {
                Ok(Size::Fixed(bytes))
            }
            _ => Err(ParseError::Size(text.to_owned())),
        }
    }
}

impl FromStr for Profile {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Profile, ParseError> {
        match text {
            "uniform" => Ok(Profile::Uniform),
            "zipf" => Ok(Profile::Zipf),
            _ => Err(ParseError::Profile(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_outside_the_range_are_refused() {
        assert_eq!("59".parse::<Size>(), Err(ParseError::Size("59".to_owned())));
        assert_eq!("60".parse::<Size>(), Ok(Size::Fixed(60)));
        assert_eq!("9014".parse::<Size>(), Ok(Size::Fixed(9014)));
        assert_eq!("9015".parse::<Size>(), Err(ParseError::Size("9015".to_owned())));
        assert_eq!("imix".parse::<Size>(), Ok(Size::Imix));
    }

    #[test]
    fn imix_keeps_its_ratio() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut counts = [0u32; 3];
        for _ in 0..120_000 {
            match Size::Imix.draw(&mut rng) {
                60 => counts[0] += 1,
                570 => counts[1] += 1,
                1500 => counts[2] += 1,
                other => panic!("size {other}"),
            }
        }
        assert!((69_000..71_000).contains(&counts[0]), "{counts:?}");
        assert!((39_000..41_000).contains(&counts[1]), "{counts:?}");
        assert!((9_500..10_500).contains(&counts[2]), "{counts:?}");
    }

    #[test]
    fn zipf_gives_the_first_ranks_the_most_and_stays_in_range() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut counts = vec![0u32; 1000];
        for _ in 0..100_000 {
            counts[Profile::Zipf.draw(&mut rng, 1000) as usize] += 1;
        }
        // ln 2 / ln 1001 = 10.0 % of the draws, and ln 1.5 / ln 1001 = 5.9 %.
        assert!((9_500..10_500).contains(&counts[0]), "{}", counts[0]);
        assert!((5_400..6_400).contains(&counts[1]), "{}", counts[1]);
        assert_eq!(Profile::Zipf.draw(&mut rng, 1), 0);
    }
}
