//! TLS from any bytes of both sides with gaps: nothing panics, each side keeps to its 16 KiB, and
//! where the pieces are cut changes nothing. The input as a ClientHello on its own, too.
//!
//! Input: pieces of two bytes (side in bit 0, gap in bit 1; length) and their bytes.
#![no_main]

use decode::app::tls::{ClientHello, Tls, Transport, guess};
use decode::app::{Events, Side, StreamDecoder, Verdict};
use libfuzzer_sys::fuzz_target;

/// What two sides keep, and the texts that are known.
const MAX_HEAP_BYTES: usize = 2 * 16 * 1024 + 4 * 1024;

fuzz_target!(|input: &[u8]| {
    if let Some(hello) = ClientHello::parse(input) {
        assert!(hello.ja4(Transport::Quic).as_bytes().is_ascii());
    }
    let mut events = Events::default();
    let (mut tls, mut bytewise) = (Tls::new(), Tls::new());
    let mut left = input;
    while let Some((&[control, len], rest)) = left.split_first_chunk() {
        let (bytes, rest) = rest.split_at(usize::from(len).min(rest.len()));
        left = rest;
        let from = if control & 1 == 0 { Side::Client } else { Side::Server };
        let _ = guess(bytes, from);
        let mut verdicts = [Verdict::More; 2];
        if !bytes.is_empty() {
            verdicts[0] = tls.data(from, bytes, 0, &mut events);
        }
        for byte in bytes {
            if verdicts[1] == Verdict::More {
                verdicts[1] = bytewise.data(from, std::slice::from_ref(byte), 0, &mut events);
            }
        }
        assert_eq!(verdicts[0], verdicts[1]);
        if control & 2 != 0 && verdicts[0] == Verdict::More {
            verdicts = [&mut tls, &mut bytewise]
                .map(|tls| tls.gap(from, u64::from(control) * 2, 0, &mut events));
            assert_eq!(verdicts[0], verdicts[1]);
        }
        assert!(tls.heap_bytes() <= MAX_HEAP_BYTES && bytewise.heap_bytes() <= MAX_HEAP_BYTES);
        if verdicts[0] != Verdict::More {
            break;
        }
    }
    assert!(events.is_empty());
    tls.facts(&mut events);
    bytewise.facts(&mut events);
    match (events.get(0), events.get(1), events.len()) {
        (None, _, 0) => {}
        (Some(one), Some(other), 2) => assert!(one.attributes().eq(other.attributes())),
        _ => panic!("{} events", events.len()),
    }
});
