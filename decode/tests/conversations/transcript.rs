//! Conversations played to a decoder, and its events as lines for comparison: `>` request, `<`
//! response, `=` facts; latency in µs or `-`; then the attributes.

#![allow(dead_code, reason = "shared by tests that need different parts")]

use std::fmt::Write as _;

use super::{EventView, Events, Kind, Side, StreamDecoder, Value, Verdict};

/// One side's bytes, and when they arrive.
pub type Step = (Side, Vec<u8>, u64);

pub fn client(bytes: impl AsRef<[u8]>, now_us: u64) -> Step {
    (Side::Client, bytes.as_ref().to_vec(), now_us)
}

pub fn server(bytes: impl AsRef<[u8]>, now_us: u64) -> Step {
    (Side::Server, bytes.as_ref().to_vec(), now_us)
}

pub fn line(event: &EventView<'_>) -> String {
    let mut line = match event.kind {
        Kind::Request => ">".to_owned(),
        Kind::Response => "<".to_owned(),
        Kind::Facts => "=".to_owned(),
    };
    if event.kind == Kind::Response {
        match event.latency_us {
            Some(latency_us) => write!(line, " {latency_us}").unwrap(),
            None => line.push_str(" -"),
        }
    }
    for (field, value) in event.attributes() {
        let name = field.info().name;
        assert_eq!(field.info().app, event.app);
        match value {
            Value::Text(text) => write!(line, " {name}={text}").unwrap(),
            Value::Number(number) => write!(line, " {name}={number}").unwrap(),
            Value::Address(address) => write!(line, " {name}={address}").unwrap(),
        }
    }
    line
}

pub fn lines(events: &Events) -> Vec<String> {
    events.iter().map(|event| line(&event)).collect()
}

/// Plays the steps until the decoder wants no more; gives its last verdict and the events.
pub fn play(decoder: &mut impl StreamDecoder, steps: &[Step]) -> (Verdict, Vec<String>) {
    let mut events = Events::default();
    let mut verdict = Verdict::More;
    for (side, bytes, now_us) in steps {
        verdict = decoder.data(*side, bytes, *now_us, &mut events);
        if verdict != Verdict::More {
            break;
        }
    }
    (verdict, lines(&events))
}

/// The steps cut into pieces of the given lengths, again and again.
pub fn cut(steps: &[Step], lengths: &[usize]) -> Vec<Step> {
    let mut lengths = lengths.iter().copied().cycle();
    let mut pieces = Vec::new();
    for (side, bytes, now_us) in steps {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (now, after) = rest.split_at(lengths.next().unwrap_or(1).clamp(1, rest.len()));
            pieces.push((*side, now.to_vec(), *now_us));
            rest = after;
        }
    }
    pieces
}

/// A conversation gives these events, whole, byte by byte and in pieces.
pub fn expect<D: StreamDecoder>(new: impl Fn() -> D, steps: &[Step], expected: &[&str]) {
    let whole = play(&mut new(), steps);
    assert_eq!(whole.1, expected);
    for lengths in [&[1][..], &[2], &[3, 1], &[5], &[7, 2, 1], &[16], &[100]] {
        assert_eq!(play(&mut new(), &cut(steps, lengths)), whole, "{lengths:?}");
    }
}

/// What a hostile network does: bytes, gaps, ends, of either side, at any time. Memory stays under
/// the bound.
pub fn hostile(decoder: &mut impl StreamDecoder, steps: &[(u8, Vec<u8>, u64)], bound: usize) {
    let mut events = Events::default();
    for (way, bytes, now_us) in steps {
        let side = if way & 1 == 0 { Side::Client } else { Side::Server };
        let verdict = match way >> 1 {
            0 => decoder.gap(side, *now_us % 10_000, *now_us, &mut events),
            1 => {
                decoder.end(side, *now_us, &mut events);
                Verdict::More
            }
            _ if bytes.is_empty() => Verdict::More,
            _ => decoder.data(side, bytes, *now_us, &mut events),
        };
        decoder.facts(&mut events);
        assert!(decoder.heap_bytes() <= bound, "{} of {bound}", decoder.heap_bytes());
        assert_eq!(lines(&events).len(), events.len());
        events.clear();
        if verdict != Verdict::More {
            break;
        }
    }
}
