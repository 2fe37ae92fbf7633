//! SSH from arbitrary bytes of both sides: bounded, and the same facts however the bytes are cut.
//!
//! Input: steps of a length byte (bit 7: from the server), 0 for a gap on that side, and as many
//! bytes.
#![no_main]

use decode::app::ssh::Ssh;
use decode::app::{Events, Side, StreamDecoder, Verdict};
use libfuzzer_sys::fuzz_target;

/// Documented bound of the decoder.
const MAX_HEAP_BYTES: usize = 34 * 1024;

fuzz_target!(|input: &[u8]| {
    let whole = run(input, usize::MAX);
    for size in [1, 7] {
        assert_eq!(run(input, size), whole);
    }
});

/// The facts and the verdict, with pieces of at most `size` bytes.
fn run(mut input: &[u8], size: usize) -> (String, Verdict) {
    let (mut ssh, mut events) = (Ssh::new(), Events::default());
    let mut verdict = Verdict::More;
    while let Some((&head, rest)) = input.split_first()
        && verdict == Verdict::More
    {
        let side = if head & 0x80 == 0 { Side::Client } else { Side::Server };
        let (bytes, rest) = rest.split_at(usize::from(head & 0x7f).min(rest.len()));
        input = rest;
        if head & 0x7f == 0 {
            verdict = ssh.gap(side, 1, 0, &mut events);
        }
        for piece in bytes.chunks(size.min(bytes.len().max(1))) {
            if verdict == Verdict::More {
                verdict = ssh.data(side, piece, 0, &mut events);
            }
            assert!(ssh.heap_bytes() <= MAX_HEAP_BYTES);
        }
    }
    ssh.end(Side::Client, 0, &mut events);
    assert!(events.is_empty());
    if verdict != Verdict::Wrong {
        ssh.facts(&mut events);
    }
    assert!(events.len() <= 1);
    (format!("{events:?}"), verdict)
}
