//! DNS over TCP: messages over segments, gaps, bounds.

use decode::app::dns::{Stream, guess_stream};
use decode::app::{Events, Guess, Side, StreamDecoder, Verdict};

use crate::dns::{header, question, record};
use crate::player::line;

/// A message behind its length.
fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

fn query(id: u16) -> Vec<u8> {
    let mut message = [header(0x0100, [1, 0, 0, 0]), question(1)].concat();
    message[..2].copy_from_slice(&id.to_be_bytes());
    framed(&message)
}

fn reply(id: u16) -> Vec<u8> {
    let mut message =
        [header(0x8180, [1, 1, 0, 0]), question(1), record(1, &[192, 0, 2, 1])].concat();
    message[..2].copy_from_slice(&id.to_be_bytes());
    framed(&message)
}

/// A decoder and what it said.
#[derive(Default)]
struct Connection {
    stream: Stream,
    events: Events,
}

impl Connection {
    fn send(&mut self, from: Side, now_us: u64, bytes: &[u8]) -> Verdict {
        self.stream.data(from, bytes, now_us, &mut self.events)
    }

    fn lose(&mut self, from: Side, bytes: u64) -> Verdict {
        self.stream.gap(from, bytes, 0, &mut self.events)
    }

    fn latencies(&self) -> Vec<Option<u64>> {
        self.events.iter().map(|event| event.latency_us).collect()
    }
}

#[test]
fn several_messages_in_one_segment_and_answers_out_of_order() {
    let mut connection = Connection::default();
    let queries = [query(1), query(2), query(3)].concat();
    assert_eq!(connection.send(Side::Client, 10, &queries), Verdict::More);
    assert_eq!(connection.send(Side::Server, 20, &[reply(3), reply(1)].concat()), Verdict::More);
    assert_eq!(connection.send(Side::Server, 50, &reply(2)), Verdict::More);
    assert_eq!(connection.latencies(), [None, None, None, Some(10), Some(10), Some(40)]);
}

#[test]
fn a_message_is_complete_with_its_last_byte() {
    let mut connection = Connection::default();
    for (now_us, byte) in query(1).iter().enumerate() {
        assert!(connection.events.is_empty());
        assert_eq!(connection.send(Side::Client, now_us as u64, &[*byte]), Verdict::More);
    }
    let asked_us = query(1).len() as u64 - 1;
    assert_eq!(connection.send(Side::Server, 1_000, &reply(1)), Verdict::More);
    assert_eq!(connection.latencies(), [None, Some(1_000 - asked_us)]);
    let first = connection.events.get(0).unwrap();
    assert_eq!(line(&first), "dns Request query=example.org query_type=1 type=A");
}

#[test]
fn a_transfer_of_many_messages_has_one_latency() {
    let mut connection = Connection::default();
    let _ = connection.send(Side::Client, 0, &query(1));
    // Only the first message of a transfer repeats the question (RFC 5936 section 2.2).
    let mut rest = header(0x8480, [0, 1, 0, 0]);
    rest.extend(b"\x01a\x00\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x01\x02\x03\x04");
    let _ = connection.send(Side::Server, 5, &[reply(1), framed(&rest), framed(&rest)].concat());
    assert_eq!(connection.latencies(), [None, Some(5)]);
}

#[test]
fn a_gap_within_a_message_costs_that_message_alone() {
    let mut connection = Connection::default();
    let queries = [query(1), query(2)].concat();
    let first = query(1).len() as u64;
    let _ = connection.send(Side::Client, 0, &queries[..5]);
    let _ = connection.lose(Side::Client, first - 9);
    let _ = connection.send(Side::Client, 0, &queries[first as usize - 4..]);
    let _ = connection.send(Side::Server, 7, &reply(2));
    assert_eq!(connection.latencies(), [None, Some(7)]);
}

#[test]
fn behind_a_longer_gap_the_next_message_is_found() {
    let mut connection = Connection::default();
    let _ = connection.send(Side::Client, 0, &query(1)[..5]);
    let _ = connection.lose(Side::Client, 4_000);
    for byte in [&query(9)[11..], &query(10), &query(11)].concat() {
        assert_eq!(connection.send(Side::Client, 0, &[byte]), Verdict::More);
    }
    let _ = connection.send(Side::Server, 3, &reply(11));
    assert_eq!(connection.latencies(), [None, None, Some(3)]);
}

#[test]
fn a_search_in_vain_ends() {
    let mut connection = Connection::default();
    let _ = connection.send(Side::Client, 0, &query(1));
    let _ = connection.lose(Side::Client, 1);
    assert_eq!(connection.send(Side::Client, 0, &vec![0x55; 16 << 10]), Verdict::More);
    let _ = connection.send(Side::Client, 0, &query(2));
    assert_eq!(connection.events.len(), 1);
    let _ = connection.lose(Side::Server, 1);
    assert_eq!(connection.send(Side::Server, 0, &vec![0x55; 16 << 10]), Verdict::Done);
}

#[test]
fn another_protocol_is_wrong() {
    for bytes in [
        &b"\x00\x05hello"[..],
        b"\x00\x00",
        b"\x00\x10\x12\x34\x01\x00\x00\x01\0\0\0\0\0\0\xff\xff\xff\xff",
    ] {
        let mut connection = Connection::default();
        assert_eq!(connection.send(Side::Client, 0, bytes), Verdict::Wrong, "{bytes:?}");
        assert!(connection.events.is_empty());
    }
}

#[test]
fn memory_follows_what_has_come_and_not_what_is_promised() {
    let mut connection = Connection::default();
    let _ = connection.send(Side::Client, 0, b"\xff\xff\x12\x34");
    assert!(connection.stream.heap_bytes() <= 64);
    for _ in 0..100 {
        let _ = connection.send(Side::Client, 0, &[0; 600]);
        let _ = connection.send(Side::Server, 0, b"\xff\xff\x12\x34\x80\x00");
    }
    assert!(connection.stream.heap_bytes() <= 2 * 65_537);
    let mut connection = Connection::default();
    for id in 0..10_000 {
        let _ = connection.send(Side::Client, 0, &query(id));
    }
    assert!(connection.stream.heap_bytes() <= 64 * 16);
    assert_eq!(connection.stream.forgotten(), 10_000 - 64);
}

#[test]
fn a_guess_needs_the_question() {
    assert_eq!(guess_stream(&query(1), Side::Client), Guess::Yes);
    assert_eq!(guess_stream(&reply(1), Side::Server), Guess::Yes);
    assert_eq!(guess_stream(&[query(1), query(2)].concat(), Side::Client), Guess::Yes);
    let reply = reply(1);
    assert_eq!(guess_stream(&reply[..reply.len() - 3], Side::Server), Guess::Yes);
    for cut in 1..query(1).len() {
        assert_ne!(guess_stream(&query(1)[..cut], Side::Client), Guess::No, "{cut}");
    }
    assert_eq!(guess_stream(&reply, Side::Client), Guess::No);
    for other in [
        &b"GET / HTTP/1.1\r\nHost: example.org\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
        b"EHLO example.org\r\n",
        b"\x00\x00",
    ] {
        assert_eq!(guess_stream(other, Side::Client), Guess::No, "{other:?}");
    }
}
