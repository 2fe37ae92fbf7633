//! A conversation as the network makes it: bytes, gaps and ends of either side.
//!
//! Input, again and again: what (1; bit 0 side, bits 1–3 what: 0 a gap, 1 an end, else bytes),
//! length of bytes or gap in units (1), then the bytes.

use decode::app::{Events, Guess, Side, StreamDecoder, Verdict};

pub fn play(
    input: &[u8],
    decoder: &mut impl StreamDecoder,
    guess: fn(&[u8], Side) -> Guess,
    bound_bytes: usize,
) {
    let mut events = Events::default();
    let mut rest = input;
    let mut reported = 0;
    for now_us in 0.. {
        let Some((&[what, length], after)) = rest.split_first_chunk() else { break };
        let side = if what & 1 == 0 { Side::Client } else { Side::Server };
        let verdict = match (what >> 1) & 7 {
            0 => {
                rest = after;
                decoder.gap(side, u64::from(length) * 7 + 1, now_us, &mut events)
            }
            1 => {
                rest = after;
                decoder.end(side, now_us, &mut events);
                Verdict::More
            }
            _ => {
                let bytes;
                (bytes, rest) = after.split_at(after.len().min(usize::from(length)));
                let _ = guess(bytes, side);
                if bytes.is_empty() {
                    continue;
                }
                decoder.data(side, bytes, now_us, &mut events)
            }
        };
        assert!(verdict != Verdict::Wrong || reported + events.len() == 0);
        reported += events.len();
        decoder.facts(&mut events);
        assert!(decoder.heap_bytes() <= bound_bytes);
        events.clear();
        if verdict != Verdict::More {
            break;
        }
    }
}
