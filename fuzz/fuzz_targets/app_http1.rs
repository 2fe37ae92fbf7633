//! HTTP/1 from any bytes of both sides with gaps: nothing panics, the decoder keeps to its bound, and
//! a response comes after its request.
//!
//! Input: pieces of two bytes (side in bit 0, gap in bit 1, end in bit 2; length) and their bytes.
#![no_main]

use decode::app::http1::{Http, guess};
use decode::app::{Events, Kind, Side, StreamDecoder, Verdict};
use libfuzzer_sys::fuzz_target;

/// 80 KiB of head for each side, 64 KiB of requests.
const MAX_HEAP_BYTES: usize = (2 * 80 + 64) * 1024;

fuzz_target!(|input: &[u8]| {
    let mut http = Http::new();
    let mut events = Events::default();
    let (mut requests, mut responses) = (0, 0);
    let mut now_us = 0;
    let mut left = input;
    while let Some((&[control, len], rest)) = left.split_first_chunk() {
        let (bytes, rest) = rest.split_at(usize::from(len).min(rest.len()));
        left = rest;
        now_us += 1_000;
        let from = if control & 1 == 0 { Side::Client } else { Side::Server };
        let _ = guess(bytes, from);
        let mut verdict = Verdict::More;
        if !bytes.is_empty() {
            verdict = http.data(from, bytes, now_us, &mut events);
        }
        if control & 2 != 0 && verdict == Verdict::More {
            verdict = http.gap(from, u64::from(control) + 1, now_us, &mut events);
        }
        if control & 4 != 0 {
            http.end(from, now_us, &mut events);
        }
        assert!(http.heap_bytes() <= MAX_HEAP_BYTES);
        for event in events.iter() {
            match event.kind {
                Kind::Request => requests += 1,
                Kind::Response => responses += 1,
                Kind::Facts => unreachable!(),
            }
            assert!(responses <= requests);
        }
        events.clear();
        if verdict != Verdict::More {
            break;
        }
    }
});
