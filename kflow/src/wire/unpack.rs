//! Cap'n Proto's packing undone, with the size known before anything is reserved.
//!
//! Two input bytes can stand for 2 KiB of zeros, so the whole input is measured first. Zero runs
//! are skipped over freshly zeroed memory and cost no pages.

use capnp::Word;

use super::DecodeError;

const WORD_BYTES: usize = 8;

/// Unpacks all of `packed` into words.
///
/// # Errors
/// [`DecodeError::Truncated`] when the input ends inside a word or run (offsets count from the
/// start of `packed`), [`DecodeError::TooLarge`] above `max_bytes`.
pub(super) fn unpack(packed: &[u8], max_bytes: usize) -> Result<Vec<Word>, DecodeError> {
    let mut bytes = 0;
    each_piece(packed, |piece| {
        bytes += piece.len();
        if bytes > max_bytes {
            Err(DecodeError::TooLarge { limit_bytes: max_bytes })
        } else {
            Ok(())
        }
    })?;
    let mut words = Word::allocate_zeroed_vec(bytes / WORD_BYTES);
    let mut rest = Word::words_to_bytes_mut(&mut words);
    each_piece(packed, |piece| {
        let (target, after) = std::mem::take(&mut rest).split_at_mut(piece.len());
        rest = after;
        match piece {
            Piece::Zeros(_) => {}
            Piece::Word(word) => target.copy_from_slice(&word),
            Piece::Run(run) => target.copy_from_slice(run),
        }
        Ok(())
    })?;
    Ok(words)
}

enum Piece<'a> {
    Zeros(usize),
    Word([u8; WORD_BYTES]),
    Run(&'a [u8]),
}

impl Piece<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Zeros(bytes) => *bytes,
            Self::Word(_) => WORD_BYTES,
            Self::Run(run) => run.len(),
        }
    }
}

fn each_piece<'a>(
    packed: &'a [u8],
    mut visit: impl FnMut(Piece<'a>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let mut rest = packed;
    let truncated = |rest: &[u8]| DecodeError::Truncated { offset: packed.len() - rest.len() };
    while let Some((&tag, after)) = rest.split_first() {
        rest = after;
        if tag == 0 {
            let (&count, after) = rest.split_first().ok_or_else(|| truncated(rest))?;
            rest = after;
            visit(Piece::Zeros((usize::from(count) + 1) * WORD_BYTES))?;
            continue;
        }
        let mut word = [0; WORD_BYTES];
        for (bit, byte) in word.iter_mut().enumerate() {
            if tag & (1 << bit) != 0 {
                let (&value, after) = rest.split_first().ok_or_else(|| truncated(rest))?;
                *byte = value;
                rest = after;
            }
        }
        visit(Piece::Word(word))?;
        if tag == 0xff {
            let (&count, after) = rest.split_first().ok_or_else(|| truncated(rest))?;
            let (run, after) = after
                .split_at_checked(usize::from(count) * WORD_BYTES)
                .ok_or_else(|| truncated(after))?;
            rest = after;
            visit(Piece::Run(run))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(packed: &[u8]) -> Vec<u8> {
        Word::words_to_bytes(&unpack(packed, 1 << 20).expect("unpacks")).to_vec()
    }

    #[test]
    fn the_published_examples_of_the_encoding_unpack() {
        // capnproto.org/encoding.html#packing
        assert_eq!(
            bytes(&[0x51, 0x08, 0x03, 0x02, 0x31, 0x19, 0xaa, 0x01]),
            [0x08, 0, 0, 0, 0x03, 0, 0x02, 0, 0x19, 0, 0, 0, 0xaa, 0x01, 0, 0]
        );
        assert_eq!(bytes(&[0x00, 0x03]), [0; 32]);
        let mut run = vec![0xff, 1, 2, 3, 4, 5, 6, 7, 8, 1];
        run.extend([9, 0, 9, 9, 9, 9, 9, 9]);
        assert_eq!(bytes(&run), [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 9, 9, 9, 9, 9, 9]);
    }

    #[test]
    fn an_input_that_ends_inside_a_word_says_where() {
        let offset = |packed: &[u8]| match unpack(packed, 1 << 20) {
            Err(DecodeError::Truncated { offset }) => offset,
            other => panic!("{other:?}"),
        };
        assert_eq!(offset(&[0x00]), 1);
        assert_eq!(offset(&[0x03, 1]), 2);
        assert_eq!(offset(&[0xff, 1, 2, 3, 4, 5, 6, 7, 8]), 9);
        assert_eq!(offset(&[0xff, 1, 2, 3, 4, 5, 6, 7, 8, 1, 0]), 10);
    }

    #[test]
    fn a_bomb_of_zero_runs_is_refused_before_memory_is_reserved() {
        let bomb = [0x00, 0xff].repeat(1_000_000);
        let refused = unpack(&bomb, 128 << 20);
        assert!(matches!(refused, Err(DecodeError::TooLarge { limit_bytes: 134_217_728 })));
    }
}
