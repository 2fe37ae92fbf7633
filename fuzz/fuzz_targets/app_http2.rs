//! HTTP/2 frames from arbitrary bytes of both sides: bounded, the same events however the bytes
//! are cut, and no response without its request.
//!
//! Input: steps of a head byte and more. Bit 7: from the server. Bits 0–1: 0 raw bytes, 1 and 2 a
//! frame of type, flags and stream (1 byte each), 3 a gap of so many bytes. Then a length byte and
//! as many bytes; for type 2 repeated 64 times.
#![no_main]

use decode::app::http2::Http2;
use decode::app::{Events, Kind, Side, StreamDecoder, Verdict};
use libfuzzer_sys::fuzz_target;

/// Documented bound of the decoder.
const MAX_HEAP_BYTES: usize = 128 * 1024;

fuzz_target!(|input: &[u8]| {
    let whole = run(input, usize::MAX);
    for size in [1, 50] {
        assert_eq!(run(input, size), whole);
    }
});

enum Step {
    Bytes(Vec<u8>),
    Gap(u64),
}

/// All events and the verdict, with pieces of at most `size` bytes.
fn run(mut input: &[u8], size: usize) -> (String, Verdict) {
    let (mut http2, mut events) = (Http2::new(), Events::default());
    let mut verdict = Verdict::More;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let _ = http2.data(Side::Client, preface, 0, &mut events);
    while verdict == Verdict::More
        && let Some((side, step)) = step(&mut input)
    {
        match step {
            Step::Gap(bytes) => verdict = http2.gap(side, bytes, 0, &mut events),
            Step::Bytes(bytes) => {
                for piece in bytes.chunks(size.min(bytes.len().max(1))) {
                    if verdict == Verdict::More {
                        verdict = http2.data(side, piece, 0, &mut events);
                    }
                    assert!(http2.heap_bytes() <= MAX_HEAP_BYTES);
                }
            }
        }
    }
    http2.end(Side::Client, 0, &mut events);
    http2.end(Side::Server, 0, &mut events);
    let count = |kind| events.iter().filter(|event| event.kind == kind).count();
    assert!(count(Kind::Response) <= count(Kind::Request));
    assert_eq!(count(Kind::Facts), 0);
    (format!("{events:?}"), verdict)
}

fn step(input: &mut &[u8]) -> Option<(Side, Step)> {
    let head = byte(input)?;
    let side = if head & 0x80 == 0 { Side::Client } else { Side::Server };
    let kind = head & 3;
    let frame = match kind {
        1 | 2 => Some([byte(input)?, byte(input)?, byte(input)?]),
        _ => None,
    };
    let length = usize::from(byte(input)?);
    if kind == 3 {
        return Some((side, Step::Gap(length as u64)));
    }
    let (payload, rest) = input.split_at(length.min(input.len()));
    *input = rest;
    let payload = payload.repeat(if kind == 2 { 64 } else { 1 });
    let Some([kind, flags, stream]) = frame else { return Some((side, Step::Bytes(payload))) };
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags, 0, 0, 0, stream]);
    bytes.extend(payload);
    Some((side, Step::Bytes(bytes)))
}

fn byte(input: &mut &[u8]) -> Option<u8> {
    let (&byte, rest) = input.split_first()?;
    *input = rest;
    Some(byte)
}
