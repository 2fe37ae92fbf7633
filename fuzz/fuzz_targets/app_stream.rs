//! TCP connections under any segments: nothing panics, what waits and what decoders keep stays
//! within its bounds, and every byte is accounted for in the budget.
//!
//! Input: two bytes of settings (server port, ceiling), then per segment 10 bytes: sequence number
//! relative to the side's start (2, little-endian), acknowledgment likewise (2), flags (1), sender
//! (bit 0), end of the conversation (bit 1), bytes cut by the snap length (bits 4–7), time step in
//! units of 16 ms (1), length of the payload in units of 4 (1), two unused; then the payload.
#![no_main]

use decode::app::stream::{Assembler, Chunk, MAX_WAITING_BYTES, SYN, Segment};
use decode::app::{
    Budget, Classify, Events, Interest, MAX_CONVERSATION_BYTES, Peer, Ports, TcpConversation,
};
use libfuzzer_sys::fuzz_target;

const STEP_BYTES: usize = 10;
/// Just before the sequence number wraps.
const START: u32 = 0xffff_ff00;

/// Counts what comes out of one direction.
#[derive(Default)]
struct Direction {
    assembler: Assembler,
    given: u64,
    has_ended: bool,
}

impl Direction {
    fn push(&mut self, segment: &Segment<'_>, now_us: u64, room: usize) {
        let (given, has_ended) = (&mut self.given, &mut self.has_ended);
        self.assembler.push(segment, now_us, room, &mut |chunk| {
            assert!(!*has_ended);
            match chunk {
                Chunk::Bytes(bytes) => {
                    assert!(!bytes.is_empty());
                    *given += bytes.len() as u64;
                }
                Chunk::Gap(lost) => {
                    assert!(lost > 0);
                    *given += lost;
                }
                Chunk::End => *has_ended = true,
            }
        });
        assert!(self.assembler.heap_bytes() <= room.min(MAX_WAITING_BYTES));
        // Sequence numbers reach 64 KiB beyond the start, payloads 1 KiB further.
        assert!(self.given <= 65_535 + 1_024 + 16);
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&[port, ceiling], mut left)) = input.split_first_chunk() else { return };
    let ports = [50_000, [80, 443, 8000, 22][usize::from(port & 3)]];
    let classify = if port & 4 == 0 { Classify::Content } else { Classify::Ports };
    let table = Ports::default();
    let mut budget = Budget::new(usize::from(ceiling) * 256);
    let mut events = Events::default();
    let mut conversation: Option<TcpConversation> = None;
    let mut directions = [Direction::default(), Direction::default()];
    directions.iter_mut().for_each(|direction| direction.assembler.start(START));
    let mut now_us = 0;
    while let Some((step, rest)) = left.split_first_chunk::<STEP_BYTES>() {
        let len = (usize::from(step[7]) * 4).min(rest.len());
        let (payload, rest) = rest.split_at(len);
        left = rest;
        now_us += u64::from(step[6]) * 16_000;
        let number =
            |at: usize| START.wrapping_add(u16::from_le_bytes([step[at], step[at + 1]]).into());
        let payload_len = payload.len() as u32 + u32::from(step[5] >> 4);
        let segment =
            Segment { seq: number(0), ack: number(2), flags: step[4], payload, payload_len };
        let from = if step[5] & 1 == 0 { Peer::A } else { Peer::B };

        let direction = &mut directions[usize::from(step[5] & 1)];
        let without_syn = Segment { flags: segment.flags & !SYN, ..segment };
        direction.push(&without_syn, now_us, usize::from(ceiling) * 512);

        if conversation.is_none() {
            conversation = TcpConversation::begin(&table, classify, ports, from, &segment);
        }
        let Some(talk) = &mut conversation else { continue };
        let interest = talk.segment(from, &segment, now_us, &mut budget, &mut events);
        assert!(budget.used() <= budget.limit());
        assert_eq!(budget.used(), talk.heap_bytes());
        assert!(talk.heap_bytes() <= MAX_CONVERSATION_BYTES);
        talk.facts(&mut events);
        if step[5] & 2 != 0 {
            talk.release(&mut budget);
        }
        if interest == Interest::Nothing || step[5] & 2 != 0 {
            assert_eq!(budget.used(), 0);
            conversation = None;
        }
        events.clear();
    }
});
