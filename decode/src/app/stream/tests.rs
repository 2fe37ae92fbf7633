use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000;

/// What a direction gave: bytes with `_` for each one that is lost, `$` for the end.
#[derive(Default)]
struct Output {
    assembler: Assembler,
    text: String,
    now_us: u64,
    room: Option<usize>,
}

impl Output {
    fn started(seq: u32) -> Self {
        let mut output = Self::default();
        output.assembler.start(seq);
        output
    }

    fn push(&mut self, seq: u32, payload: &str, flags: u8) -> &mut Self {
        self.push_cut(seq, payload, payload.len() as u32, flags)
    }

    fn push_cut(&mut self, seq: u32, payload: &str, payload_len: u32, flags: u8) -> &mut Self {
        let segment = Segment { seq, ack: 0, flags, payload: payload.as_bytes(), payload_len };
        let room = self.room.unwrap_or(usize::MAX);
        let text = &mut self.text;
        self.assembler.push(&segment, self.now_us, room, &mut |chunk| write(text, chunk));
        self
    }
}

fn write(text: &mut String, chunk: Chunk<'_>) {
    match chunk {
        Chunk::Bytes(bytes) => text.push_str(std::str::from_utf8(bytes).unwrap()),
        Chunk::Gap(lost) => text.push_str(&"_".repeat(lost as usize)),
        Chunk::End => text.push('$'),
    }
}

#[test]
fn a_direction_in_which_nothing_waits_takes_sixteen_bytes() {
    assert_eq!(size_of::<Assembler>(), 16);
}

#[test]
fn segments_in_order_are_passed_on_as_they_are() {
    let mut output = Output::started(100);
    output.push(100, "abc", ACK).push(103, "de", ACK).push(105, "f", ACK | FIN);
    assert_eq!(output.text, "abcdef$");
    assert!(output.assembler.is_ended());
}

#[test]
fn bytes_that_were_seen_are_dropped() {
    let mut output = Output::started(100);
    output.push(100, "abc", ACK).push(100, "abc", ACK).push(99, "x", ACK).push(101, "BCde", ACK);
    assert_eq!(output.text, "abcde");
}

#[test]
fn a_segment_ahead_of_a_gap_waits_until_it_is_filled() {
    let mut output = Output::started(100);
    output.push(103, "def", ACK).push(109, "jkl", ACK | FIN).push(106, "ghi", ACK);
    assert_eq!(output.text, "");
    output.push(100, "abc", ACK);
    assert_eq!(output.text, "abcdefghijkl$");
    assert_eq!(output.assembler.heap_bytes(), 0);
}

#[test]
fn the_first_copy_of_a_byte_wins() {
    let mut output = Output::started(0);
    output.push(4, "EF", ACK).push(2, "cdefgh", ACK).push(0, "ABCDEFGHIJ", ACK);
    assert_eq!(output.text, "ABcdEFghIJ");
}

#[test]
fn sequence_numbers_wrap() {
    let start = u32::MAX - 2;
    let mut output = Output::started(start);
    output.push(start.wrapping_add(5), "fgh", ACK).push(start, "abc", ACK);
    output.push(start.wrapping_add(3), "de", ACK);
    assert_eq!(output.text, "abcdefgh");
}

#[test]
fn a_gap_is_lost_after_one_second_of_packet_time() {
    let mut output = Output::started(100);
    output.push(100, "ab", ACK).push(105, "fg", ACK);
    output.now_us = SECOND - 1;
    output.push(100, "ab", ACK);
    assert_eq!(output.text, "ab");
    output.now_us = SECOND;
    output.push(107, "h", ACK);
    assert_eq!(output.text, "ab___fgh");
}

#[test]
fn each_gap_has_its_own_second() {
    let mut output = Output::started(0);
    output.push(1, "b", ACK);
    output.now_us = SECOND / 2;
    output.push(3, "d", ACK);
    output.now_us = SECOND;
    output.push(0, "", ACK | FIN);
    assert_eq!(output.text, "_b");
    output.now_us = SECOND * 3 / 2;
    output.push(5, "", ACK | FIN);
    assert_eq!(output.text, "_b_d");
    output.now_us = SECOND * 5 / 2;
    let (assembler, text) = (&mut output.assembler, &mut output.text);
    assembler.expire(output.now_us, &mut |chunk| write(text, chunk));
    assert_eq!(output.text, "_b_d_$");
}

#[test]
fn time_that_goes_back_keeps_what_waits() {
    let mut output = Output::started(0);
    output.now_us = 10 * SECOND;
    output.push(1, "b", ACK);
    output.now_us = 0;
    output.push(2, "c", ACK).push(0, "a", ACK);
    assert_eq!(output.text, "abc");
}

#[test]
fn bytes_that_the_other_end_has_are_not_waited_for() {
    let mut output = Output::started(100);
    output.push(103, "d", ACK).push(106, "g", ACK);
    let (assembler, text) = (&mut output.assembler, &mut output.text);
    assembler.acknowledge(102, &mut |chunk| write(text, chunk));
    assert_eq!(text, "");
    assembler.acknowledge(104, &mut |chunk| write(text, chunk));
    assert_eq!(text, "___d");
    assembler.acknowledge(107, &mut |chunk| write(text, chunk));
    assert_eq!(text, "___d__g");
    // Nothing waits: a packet of the other end may have been captured before the one it answers.
    assembler.acknowledge(200, &mut |chunk| write(text, chunk));
    output.push(107, "h", ACK);
    assert_eq!(output.text, "___d__gh");
}

#[test]
fn what_the_snap_length_cut_is_lost_at_once() {
    let mut output = Output::started(0);
    output.push_cut(0, "abc", 5, ACK).push(5, "fg", ACK);
    assert_eq!(output.text, "abc__fg");
    output.push_cut(9, "jk", 4, ACK).push(7, "hi", ACK).push(13, "n", ACK);
    assert_eq!(output.text, "abc__fghijk__n");
}

#[test]
fn no_more_than_64_kib_wait() {
    let mut output = Output::started(0);
    let block = "x".repeat(1000);
    for i in 0..200 {
        output.push(1 + i * 1000, &block, ACK);
        assert!(output.assembler.heap_bytes() <= MAX_WAITING_BYTES);
    }
    assert_eq!(output.text, format!("_{}", block.repeat(200)));
}

#[test]
fn one_byte_segments_are_charged_for_what_they_cost() {
    let mut output = Output::started(0);
    for i in 0..5_000 {
        output.push(2 * i + 1, "x", ACK);
        assert!(output.assembler.heap_bytes() <= MAX_WAITING_BYTES);
    }
    assert!(output.text.len() > 2 * 4_000);
    assert!(output.text.starts_with("_x_x_x"));
}

#[test]
fn without_room_a_gap_is_lost_at_once() {
    let mut output = Output::started(0);
    output.room = Some(0);
    output.push(2, "c", ACK).push(0, "ab", ACK).push(5, "", ACK | FIN);
    assert_eq!(output.text, "__c__$");
}

#[test]
fn a_super_segment_larger_than_the_store_passes() {
    let mut output = Output::started(0);
    let block = "x".repeat(500_000);
    output.push(0, &block, ACK).push(500_100, &block, ACK);
    assert_eq!(output.text, format!("{block}{}{block}", "_".repeat(100)));
}

#[test]
fn data_of_a_fast_open_syn_come_after_its_number() {
    let mut output = Output::default();
    output.push(99, "ab", SYN).push(102, "c", ACK);
    assert_eq!(output.text, "abc");
}

#[test]
fn a_fin_within_bytes_that_were_seen_is_no_end() {
    let mut output = Output::started(0);
    output.push(0, "abcdef", ACK).push(2, "c", ACK | FIN).push(6, "g", ACK | FIN);
    assert_eq!(output.text, "abcdefg$");
}

#[test]
fn a_keepalive_probe_is_no_data() {
    let mut output = Output::started(0);
    output.push(0, "ab", ACK).push(1, "", ACK).push(1, "?", ACK).push(2, "c", ACK);
    assert_eq!(output.text, "abc");
}

#[test]
fn a_reset_gives_what_waits_and_the_end() {
    let mut output = Output::started(0);
    output.push(0, "a", ACK).push(3, "d", ACK);
    let (assembler, text) = (&mut output.assembler, &mut output.text);
    assembler.finish(&mut |chunk| write(text, chunk));
    assembler.finish(&mut |chunk| write(text, chunk));
    assert_eq!(text, "a__d$");
}

proptest! {
    /// Every byte is given once, in its place, whatever the order, as long as all come in time.
    #[test]
    fn any_order_gives_the_same_bytes(
        start: u32,
        cuts in prop::collection::vec(1..40_u32, 1..30),
        order in prop::collection::vec((0..30_usize, 0..20_u32), 0..60),
    ) {
        let total: u32 = cuts.iter().sum();
        let data: String = (0..total).map(|i| char::from(b'a' + (i % 26) as u8)).collect();
        let mut segments = Vec::new();
        let mut at = 0;
        for cut in cuts {
            segments.push((at, cut));
            at += cut;
        }
        let mut output = Output::started(start);
        let chosen = order.iter().map(|&(index, more)| {
            let (at, len) = segments[index % segments.len()];
            (at, (len + more).min(total - at))
        });
        let all = segments.iter().rev().copied();
        for (at, len) in chosen.chain(all) {
            let flags = if at + len == total { ACK | FIN } else { ACK };
            output.push(start.wrapping_add(at), &data[at as usize..(at + len) as usize], flags);
        }
        prop_assert_eq!(&output.text, &(data + "$"));
        prop_assert_eq!(output.assembler.heap_bytes(), 0);
    }

    /// Whatever is lost, what is given stands where it belongs, and the bounds hold.
    #[test]
    fn losses_keep_every_byte_in_its_place(
        start: u32,
        room in 0..3_000_usize,
        steps in prop::collection::vec((0..400_u32, 1..60_u32, 0..30_u32, 0..400_000_u64), 0..80),
    ) {
        let data: String = (0..500_u32).map(|i| char::from(b'a' + (i % 26) as u8)).collect();
        let mut output = Output::started(start);
        output.room = Some(room);
        for (at, len, cut, time) in steps {
            output.now_us += time;
            let end = (at + len).min(500);
            let captured = end.saturating_sub(cut).max(at);
            let payload = &data[at as usize..captured as usize];
            output.push_cut(start.wrapping_add(at), payload, end - at, ACK);
            prop_assert!(output.assembler.heap_bytes() <= room);
        }
        let text = &mut output.text;
        output.assembler.finish(&mut |chunk| write(text, chunk));
        for (given, sent) in output.text.trim_end_matches('$').chars().zip(data.chars()) {
            prop_assert!(given == '_' || given == sent);
        }
    }
}
