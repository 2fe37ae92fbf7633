//! Any bytes give a clean result, and splitting a stream changes nothing.

use decode::app::datagram::{UdpPorts, UdpState, datagram};
use decode::app::dns::Stream;
use decode::app::{Budget, Datagram, Events, Pending, Side, StreamDecoder, Verdict};
use proptest::prelude::*;

use crate::dns::{header, question, record};
use crate::player::line;

/// Two sides of at most 65,537 bytes, and 64 open queries.
const MAX_HEAP_BYTES: usize = 2 * 65_537 + 64 * 16;

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Client), Just(Side::Server)]
}

/// A message as it may be, behind its length as it may be.
fn framed() -> impl Strategy<Value = Vec<u8>> {
    let message = (any::<u16>(), 0_u16..3, 0_u16..4, prop::collection::vec(any::<u8>(), 0..40));
    (message, prop::option::weighted(0.1, any::<u16>())).prop_map(
        |((flags, questions, answers, tail), length)| {
            let mut message = header(flags & 0x8180, [questions, answers, 0, 0]);
            message.extend(question(1).repeat(questions.into()));
            message.extend(record(1, &[192, 0, 2, 1]).repeat(answers.into()));
            message.extend(tail);
            let length = length.unwrap_or(message.len() as u16);
            [&length.to_be_bytes()[..], &message].concat()
        },
    )
}

/// Lines of the events of one side, until the decoder wants no more.
fn play(from: Side, chunks: &[&[u8]]) -> Vec<String> {
    let (mut stream, mut events) = (Stream::new(), Events::default());
    for bytes in chunks {
        if stream.data(from, bytes, 7, &mut events) != Verdict::More {
            break;
        }
    }
    events.iter().map(|event| line(&event)).collect()
}

proptest! {
    #[test]
    fn any_datagram_on_any_port_is_decoded_cleanly(
        datagrams in prop::collection::vec((
            prop::sample::select(vec![53, 67, 546, 1812, 5353, 40_000]),
            prop::collection::vec(any::<u8>(), 0..400), any::<u64>()), 0..8),
    ) {
        let mut state = UdpState::default();
        let (mut pending, mut events) = (Pending::new(8), Events::default());
        for (port, payload, now_us) in &datagrams {
            let input = Datagram {
                payload, src_port: 40_001, dst_port: *port, conversation: 3, now_us: *now_us,
            };
            let (ports, budget) = (UdpPorts::default(), &mut Budget::new(1 << 20));
            datagram(&mut state, &input, &ports, &mut pending, budget, &mut events);
        }
        prop_assert!(events.len() <= datagrams.len());
    }

    #[test]
    fn any_bytes_and_gaps_keep_a_stream_within_its_bounds(
        steps in prop::collection::vec((
            side(), prop::collection::vec(any::<u8>(), 1..3_000), 0_u64..70_000, any::<bool>()),
            0..30),
    ) {
        let (mut stream, mut events) = (Stream::new(), Events::default());
        for (from, bytes, number, is_gap) in steps {
            let _ = if is_gap {
                stream.gap(from, number, 7, &mut events)
            } else {
                stream.data(from, &bytes, number, &mut events)
            };
            prop_assert!(stream.heap_bytes() <= MAX_HEAP_BYTES);
        }
    }

    #[test]
    fn splitting_a_stream_changes_nothing(
        messages in prop::collection::vec((side(), framed()), 1..6),
        cuts in prop::collection::vec(1_usize..60, 1..40),
    ) {
        for from in [Side::Client, Side::Server] {
            let bytes: Vec<u8> = messages
                .iter()
                .filter(|(side, _)| *side == from)
                .flat_map(|(_, bytes)| bytes.clone())
                .collect();
            let (mut chunks, mut rest) = (Vec::new(), &bytes[..]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, after) = rest.split_at((*cut).min(rest.len()));
                chunks.push(chunk);
                rest = after;
            }
            prop_assert_eq!(play(from, &[&bytes]), play(from, &chunks));
        }
    }
}
