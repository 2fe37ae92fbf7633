//! DNS and multicast DNS on any bytes: as a datagram, by the reader alone, and as a stream, which
//! gives the same events however it is cut.
//!
//! Input: flags (bit 0: from the server, bit 1: a gap in the middle), length of the chunks, then
//! the bytes.
#![no_main]

use decode::app::dns::{self, Message, Stream};
use decode::app::{
    Datagram, Events, Guess, MAX_TEXT_BYTES, Pending, Side, StreamDecoder, Value, Verdict, mdns,
};
use libfuzzer_sys::fuzz_target;

/// Two sides of at most 65,537 bytes, and 64 open queries.
const MAX_HEAP_BYTES: usize = 2 * 65_537 + 64 * 16;

fuzz_target!(|input: &[u8]| {
    let Some((&[flags, chunk], bytes)) = input.split_first_chunk() else { return };
    read(bytes);
    let from = if flags & 1 == 0 { Side::Client } else { Side::Server };
    let gap_at = (flags & 2 != 0).then_some(bytes.len() / 2);
    let chunk = usize::from(chunk).max(1);
    let whole = play(from, bytes, bytes.len().max(1), gap_at);
    let parts = play(from, bytes, chunk, gap_at);
    assert!(whole.iter().map(attributes).eq(parts.iter().map(attributes)));
});

fn read(bytes: &[u8]) {
    let (mut pending, mut events) = (Pending::new(8), Events::default());
    for (src_port, dst_port) in [(40_000, 53), (53, 40_000), (5353, 5353)] {
        let datagram =
            Datagram { payload: bytes, src_port, dst_port, conversation: 1, now_us: 1_000 };
        let before = events.len();
        let verdict = dns::datagram(&datagram, &[53], &mut pending, &mut events);
        assert!(verdict != Verdict::Wrong || events.len() == before);
        let before = events.len();
        let verdict = mdns::datagram(&datagram, &mut events);
        assert!(verdict != Verdict::Wrong || events.len() == before);
    }
    assert!(events.len() <= 6);
    check(&events);
    let message = Message::parse(bytes);
    assert!(dns::guess(bytes) != Guess::Yes || message.is_some());
    let Some(message) = message else { return };
    assert_eq!(message.answers().count(), usize::from(message.answer_count()));
    for record in message.answers() {
        for name in [record.owner(), record.name_in_rdata(0), record.name_in_rdata(6)] {
            let Some(name) = name else { continue };
            assert!(name.labels().map(|label| 1 + label.len()).sum::<usize>() < 255);
            assert!(name.to_string().len() <= 4 * 255);
        }
    }
    let addresses = message.answers().filter(|record| matches!(record.rtype, 1 | 28)).count();
    assert_eq!(message.addresses().count(), addresses);
}

/// The events of one side in chunks, which do not reach over the gap.
fn play(from: Side, bytes: &[u8], chunk: usize, gap_at: Option<usize>) -> Events {
    let (mut stream, mut events) = (Stream::new(), Events::default());
    let (before, after) = bytes.split_at(gap_at.unwrap_or(bytes.len()));
    let mut is_over = false;
    for (number, part) in [before, after].into_iter().enumerate() {
        if number == 1 && gap_at.is_some() && !is_over {
            let lost = bytes.len() as u64 % 50;
            is_over = stream.gap(from, lost, 1, &mut events) != Verdict::More;
        }
        for chunk in part.chunks(chunk) {
            if is_over {
                break;
            }
            is_over = stream.data(from, chunk, 1, &mut events) != Verdict::More;
            assert!(stream.heap_bytes() <= MAX_HEAP_BYTES);
        }
    }
    check(&events);
    events
}

fn attributes(event: decode::app::EventView<'_>) -> String {
    format!("{:?}", event.attributes().collect::<Vec<_>>())
}

fn check(events: &Events) {
    for event in events.iter() {
        for (_, value) in event.attributes() {
            let Value::Text(text) = value else { continue };
            assert!(text.len() <= MAX_TEXT_BYTES && !text.contains('\0'));
        }
    }
}
