//! TCP options: those the metrics use, out of bytes that may say anything.

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;

/// Largest shift count (RFC 7323 section 2.3); larger ones are taken as this.
const MAX_SCALE: u8 = 14;

/// The timestamps option (RFC 7323 section 3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamps {
    /// The sender's clock.
    pub value: u32,
    /// The peer's clock, echoed.
    pub echo: u32,
}

/// A block of bytes that the receiver holds beyond its acknowledgment (RFC 2018).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SackBlock {
    /// First sequence number of the block.
    pub left: u32,
    /// The one after its last.
    pub right: u32,
}

/// The blocks of one SACK option, 1–4 of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SackBlocks {
    blocks: [SackBlock; 4],
    len: u8,
}

impl SackBlocks {
    /// The first four of `blocks`; `None` when there are none.
    #[must_use]
    pub fn new(blocks: &[SackBlock]) -> Option<Self> {
        let mut sack = Self::default();
        for (slot, block) in sack.blocks.iter_mut().zip(blocks) {
            *slot = *block;
            sack.len += 1;
        }
        (sack.len > 0).then_some(sack)
    }

    /// The blocks, in the order they were sent.
    #[must_use]
    pub fn as_slice(&self) -> &[SackBlock] {
        self.blocks.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// What only a SYN carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SynOptions {
    /// Maximum segment size in bytes.
    pub mss: Option<u16>,
    /// Window shift count, 0–14.
    pub window_scale: Option<u8>,
    /// SACK may be used.
    pub sack_permitted: bool,
}

/// All options of one header that are of use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) timestamps: Option<Timestamps>,
    pub(super) sack: Option<SackBlocks>,
    pub(super) syn: SynOptions,
}

/// The option bytes that nearly every segment of a connection with timestamps has (RFC 7323
/// appendix A).
#[inline(always)]
pub(super) fn plain_timestamps(bytes: &[u8]) -> Option<Timestamps> {
    let bytes: &[u8; 12] = bytes.try_into().ok()?;
    let &[NOP, NOP, TIMESTAMPS, 10, a, b, c, d, e, f, g, h] = bytes else { return None };
    Some(Timestamps {
        value: u32::from_be_bytes([a, b, c, d]),
        echo: u32::from_be_bytes([e, f, g, h]),
    })
}

/// Reads the bytes behind the fixed header. Stops at the first option that is malformed or cut
/// off; what came before it counts. At most 40 steps.
#[inline(never)]
pub(super) fn parse(bytes: &[u8]) -> Options {
    walk(bytes.get(..40).unwrap_or(bytes))
}

fn walk(mut bytes: &[u8]) -> Options {
    let mut options = Options::default();
    while let [kind, rest @ ..] = bytes {
        if *kind == END {
            break;
        }
        if *kind == NOP {
            bytes = rest;
            continue;
        }
        let Some((&len, _)) = rest.split_first() else { break };
        let Some(value) = bytes.get(2..usize::from(len)) else { break };
        option(*kind, value, &mut options);
        bytes = bytes.get(usize::from(len)..).unwrap_or_default();
    }
    options
}

fn option(kind: u8, value: &[u8], options: &mut Options) {
    match (kind, value) {
        (MSS, &[a, b]) => options.syn.mss = Some(u16::from_be_bytes([a, b])),
        (WINDOW_SCALE, &[shift]) => options.syn.window_scale = Some(shift.min(MAX_SCALE)),
        (SACK_PERMITTED, []) => options.syn.sack_permitted = true,
        (TIMESTAMPS, &[a, b, c, d, e, f, g, h]) => {
            options.timestamps = Some(Timestamps {
                value: u32::from_be_bytes([a, b, c, d]),
                echo: u32::from_be_bytes([e, f, g, h]),
            });
        }
        (SACK, blocks) if blocks.len() % 8 == 0 => {
            let mut read = [SackBlock::default(); 4];
            let whole = blocks.as_chunks::<8>().0;
            for (slot, &[a, b, c, d, e, f, g, h]) in read.iter_mut().zip(whole) {
                slot.left = u32::from_be_bytes([a, b, c, d]);
                slot.right = u32::from_be_bytes([e, f, g, h]);
            }
            options.sack = SackBlocks::new(read.get(..whole.len().min(4)).unwrap_or_default());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_options_of_a_usual_syn_are_read() {
        let bytes = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 1, 2, 0, 0, 0, 0, 1, 3, 3, 7];
        let options = parse(&bytes);
        assert_eq!(options.timestamps, Some(Timestamps { value: 258, echo: 0 }));
        let syn = SynOptions { mss: Some(1460), window_scale: Some(7), sack_permitted: true };
        assert_eq!(options.syn, syn);
    }

    #[test]
    fn the_usual_layout_of_timestamps_and_any_other_give_the_same() {
        let expected = Some(Timestamps { value: 1, echo: 0x0203_0405 });
        let usual = [1, 1, 8, 10, 0, 0, 0, 1, 2, 3, 4, 5];
        assert_eq!(plain_timestamps(&usual), expected);
        assert_eq!(parse(&usual).timestamps, expected);
        assert_eq!(plain_timestamps(&usual[..11]), None);
        let other = [8, 10, 0, 0, 0, 1, 2, 3, 4, 5, 1, 1];
        assert_eq!(parse(&other).timestamps, expected);
    }

    #[test]
    fn sack_blocks_behind_timestamps_are_read_in_order() {
        let mut bytes = vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1, 5, 18];
        bytes.extend([0, 0, 0, 10, 0, 0, 0, 20, 0, 0, 0, 30, 0, 0, 0, 40]);
        let sack = parse(&bytes).sack.unwrap();
        let blocks = [SackBlock { left: 10, right: 20 }, SackBlock { left: 30, right: 40 }];
        assert_eq!(sack.as_slice(), blocks);
    }

    #[test]
    fn a_shift_above_fourteen_is_fourteen() {
        assert_eq!(parse(&[3, 3, 200]).syn.window_scale, Some(14));
    }

    #[test]
    fn lengths_of_zero_and_one_and_cut_options_end_the_list() {
        for bytes in [&[2, 0, 5, 180][..], &[2, 1, 5, 180], &[2, 4, 5], &[2], &[0, 3, 3, 7]] {
            assert_eq!(parse(bytes), Options::default(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_options_of_some_kind(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let options = parse(&bytes);
            prop_assert!(options.syn.window_scale.is_none_or(|shift| shift <= 14));
            prop_assert!(options.sack.is_none_or(|sack| (1..=4).contains(&sack.as_slice().len())));
        }
    }
}
