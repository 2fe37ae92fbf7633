//! The rules of spec section 11, each on a few segments.

use flowtable::Way::{Down, Up};
use flowtable::tcp::{
    Close, Details, Ending, Role, SackBlock, SackBlocks, Segment, SynOptions, Timestamps,
};

use crate::conversation::*;

fn syn(seq: u32, scale: Option<u8>) -> Segment {
    let syn = SynOptions { window_scale: scale, ..SynOptions::default() };
    Segment { seq, window: 60_000, flags: SYN, syn, ..Segment::default() }
}

fn syn_ack(seq: u32, ack: u32, scale: Option<u8>) -> Segment {
    Segment { ack, flags: SYN | ACK, window: 50_000, ..syn(seq, scale) }
}

/// Up opens; the server answers after 20 ms, the client after 4 ms. Sequence numbers 1000, 7000.
fn opened() -> Conversation {
    let mut c = Conversation::default();
    c.feed(Up, syn(999, Some(7))).wait(20 * MS);
    c.feed(Down, syn_ack(6_999, 1_000, Some(7))).wait(4 * MS);
    c.feed(Up, Segment { seq: 1_000, ..ack_of(7_000) }).wait(MS);
    c
}

fn with_clock(segment: Segment, value: u32, echo: u32) -> Segment {
    Segment { timestamps: Some(Timestamps { value, echo }), ..segment }
}

fn sacking(ack: u32, blocks: &[(u32, u32)]) -> Segment {
    let blocks: Vec<_> = blocks.iter().map(|&(left, right)| SackBlock { left, right }).collect();
    Segment { sack: SackBlocks::new(&blocks), ..ack_of(ack) }
}

#[test]
fn a_handshake_gives_each_side_its_own_latency() {
    let mut c = opened();
    let (up, down) = (c.up(), c.down());
    assert_eq!((up.client_nw_latency_ms, up.server_nw_latency_ms), (Some(2), None));
    assert_eq!((down.client_nw_latency_ms, down.server_nw_latency_ms), (None, Some(10)));
    assert_eq!((up.handshake_rtt_us, down.handshake_rtt_us), (Some(4_000), Some(20_000)));
    assert_eq!((up.role, down.role), (Some(Role::Client), Some(Role::Server)));
    assert_eq!((up.rtt.count, up.rtt.last_us), (1, 4_000));
    assert_eq!(c.up().client_nw_latency_ms, Some(2), "in every record");
}

#[test]
fn a_retransmitted_syn_restarts_the_handshake_clock_and_leaves_the_round_trip_open() {
    let mut c = Conversation::default();
    c.feed(Up, syn(999, None)).wait(1000 * MS).feed(Up, syn(999, None)).wait(20 * MS);
    c.feed(Down, syn_ack(6_999, 1_000, None)).wait(4 * MS);
    c.feed(Up, Segment { seq: 1_000, ..ack_of(7_000) });
    let (up, down) = (c.up(), c.down());
    assert_eq!(down.server_nw_latency_ms, Some(10));
    assert_eq!(down.handshake_rtt_us, None);
    assert_eq!((up.retransmitted, up.handshake_rtt_us), (1, Some(4_000)));
}

#[test]
fn a_timestamp_tells_which_syn_was_answered() {
    let mut c = Conversation::default();
    c.feed(Up, with_clock(syn(999, None), 5_000, 0)).wait(1000 * MS);
    c.feed(Up, with_clock(syn(999, None), 6_000, 0)).wait(20 * MS);
    c.feed(Down, with_clock(syn_ack(6_999, 1_000, None), 1, 6_000));
    assert_eq!(c.down().handshake_rtt_us, Some(20_000));
}

#[test]
fn windows_are_scaled_after_the_syn_and_only_if_both_sides_offer_it() {
    for (own, other, expected) in
        [(Some(7), Some(0), 64_000), (Some(7), None, 500), (None, Some(7), 500)]
    {
        let mut c = Conversation::default();
        c.feed(Up, syn(999, own));
        assert_eq!(c.up().receive_window, Some(60_000));
        c.feed(Down, syn_ack(6_999, 1_000, other));
        assert_eq!(c.down().receive_window, Some(50_000));
        c.feed(Up, Segment { seq: 1_000, ..ack_of(7_000) });
        let up = c.up();
        assert_eq!((up.receive_window, up.initial_window), (Some(expected), Some(60_000)));
    }
}

#[test]
fn without_its_syn_a_direction_has_no_window() {
    let mut c = Conversation::default();
    c.feed(Down, syn_ack(6_999, 1_000, Some(3))).feed(Up, Segment { seq: 1_000, ..ack_of(7_000) });
    assert_eq!(c.up().receive_window, None);
    c.feed(Down, ack_of(1_000));
    assert_eq!(c.down().receive_window, Some(4_000), "nothing says that the client refused");
}

#[test]
fn closed_windows_are_counted_timed_and_not_held_against_a_reset() {
    let mut c = opened();
    let closed = Segment { window: 0, ..ack_of(1_000) };
    c.feed(Down, ack_of(1_000)).feed(Down, closed).wait(30 * MS).feed(Down, closed).wait(20 * MS);
    c.feed(Down, ack_of(1_000)).wait(MS);
    c.feed(Down, Segment { flags: RST | ACK, ..closed });
    let down = c.down();
    assert_eq!((down.zero_windows, down.zero_window_transitions), (2, 1));
    assert_eq!((down.zero_window_us, down.min_window), (50_000, Some(0)));
    assert_eq!(down.receive_window, Some(64_000));
    assert_eq!(down.close, Some(Close::ResetBySender));
    assert_eq!(c.up().close, Some(Close::ResetByReceiver));
    let again = c.down();
    assert_eq!((again.zero_windows, again.min_window), (0, Some(64_000)));
}

#[test]
fn a_window_closed_across_records_is_timed_in_each() {
    let mut c = opened();
    c.feed(Down, Segment { window: 0, ..ack_of(1_000) }).wait(30 * MS);
    assert_eq!(c.down().zero_window_us, 30_000);
    c.wait(12 * MS).feed(Down, ack_of(1_000));
    assert_eq!(c.down().zero_window_us, 12_000);
    assert_eq!(c.details.in_use(), 0);
}

#[test]
fn a_stream_across_the_wrap_is_in_order() {
    let mut c = Conversation::default();
    let mut seq = u32::MAX - 5_000;
    for _ in 0..10 {
        c.data(seq, 1_000).wait(MS);
        seq = seq.wrapping_add(1_000);
        c.ack(seq).wait(MS);
    }
    let up = c.up();
    assert_eq!((up.retransmitted, up.out_of_order, up.gaps), (0, 0, 0));
    assert_eq!((c.details.in_use(), c.down().rtt.count), (0, 10));
}

#[test]
fn a_late_segment_within_the_threshold_is_out_of_order() {
    let mut c = Conversation::default();
    c.data(1_000, 100).data(1_200, 100).wait(MS).data(1_100, 100).data(1_300, 100);
    let up = c.up();
    assert_eq!((up.out_of_order, up.retransmitted, up.gaps), (1, 0, 1));
    assert_eq!(c.up().out_of_order, 0, "since the last record");
}

#[test]
fn a_late_segment_after_a_second_was_sent_again() {
    let mut c = Conversation::default();
    c.data(1_000, 100).data(1_200, 100).wait(1000 * MS).data(1_100, 100);
    let up = c.up();
    assert_eq!((up.out_of_order, up.retransmitted, up.lost_upstream), (0, 1, 1));
}

#[test]
fn the_threshold_is_the_directions_own_handshake() {
    let mut c = opened();
    c.data(1_000, 100).data(1_200, 100).wait(3_900_000).data(1_100, 100);
    c.data(1_400, 100).wait(4_100_000).data(1_300, 100);
    let up = c.up();
    assert_eq!((up.out_of_order, up.retransmitted), (1, 1));
}

#[test]
fn a_gap_alone_counts_as_nothing() {
    let mut c = Conversation::default();
    c.data(1_000, 100).data(1_500, 100);
    let up = c.up();
    assert_eq!((up.out_of_order, up.retransmitted, up.gaps), (0, 0, 1));
}

#[test]
fn keepalives_with_and_without_a_byte_are_nothing() {
    let mut c = opened();
    c.data(1_000, 100).ack(1_100).wait(30_000 * MS);
    c.data(1_099, 1).ack(1_100).wait(30_000 * MS).data(1_099, 0).ack(1_100);
    let (up, down) = (c.up(), c.down());
    assert_eq!((up.retransmitted, up.out_of_order, down.dup_acks), (0, 0, 0));
}

#[test]
fn a_keystroke_sent_again_is_no_keepalive() {
    let mut c = opened();
    c.data(1_000, 1).wait(300 * MS).data(1_000, 1).wait(MS).ack(1_001);
    assert_eq!(c.up().retransmitted, 1);
}

#[test]
fn the_fourth_retransmission_in_a_row_is_a_repeat_once_per_run() {
    let mut c = opened();
    c.data(1_000, 100).data(1_100, 100);
    for _ in 0..7 {
        c.wait(300 * MS).data(1_100, 100);
    }
    assert_eq!(c.up().repeated_retransmits, 1);
    let mut first = Conversation::default();
    first.data(1_000, 100);
    for _ in 0..3 {
        first.wait(300 * MS).data(1_000, 100);
    }
    assert_eq!(first.up().repeated_retransmits, 1, "three suffice for the first number");
}

#[test]
fn a_run_goes_on_across_records() {
    let mut c = opened();
    c.data(1_000, 100).data(1_100, 100);
    let mut repeats = 0;
    for _ in 0..4 {
        c.wait(300 * MS).data(1_100, 100);
        repeats += c.up().repeated_retransmits;
    }
    assert_eq!(repeats, 1);
}

#[test]
fn a_jump_far_away_takes_the_stream_up_afresh() {
    let mut c = Conversation::default();
    c.data(1_000, 100).data(1_200, 100).data(3_000_000_000, 100).data(3_000_000_100, 100);
    let up = c.up();
    assert_eq!((up.out_of_order, up.retransmitted, up.gaps), (0, 0, 1));
}

#[test]
fn of_nine_holes_the_oldest_is_forgotten() {
    let mut c = Conversation::default();
    for i in 0..10 {
        c.data(1_000 + i * 200, 100);
    }
    c.data(1_100, 100).data(1_300, 100);
    let up = c.up();
    assert_eq!((up.gaps, up.holes_dropped), (9, 1));
    assert_eq!((up.retransmitted, up.out_of_order), (1, 1));
}

#[test]
fn a_syn_with_another_number_starts_anew() {
    let mut c = opened();
    c.data(1_000, 100).data(1_000, 100);
    let next = syn(500_000, Some(2));
    assert!(c.state.starts_anew(Up, &next));
    assert!(!c.state.starts_anew(Up, &syn(999, Some(7))));
    c.feed(Up, next).wait(MS).feed(Down, syn_ack(900_000, 500_001, Some(2)));
    let (up, down) = (c.up(), c.down());
    assert_eq!((up.retransmitted, up.client_nw_latency_ms), (0, None));
    assert_eq!((down.server_nw_latency_ms, down.handshake_rtt_us), (Some(1), Some(1_000)));
    assert_eq!((c.details.in_use(), up.close), (0, None));
}

#[test]
fn simultaneous_opening_is_no_retransmission() {
    let mut c = Conversation::default();
    c.feed(Up, syn(999, None)).wait(MS).feed(Down, syn(6_999, None)).wait(9 * MS);
    c.feed(Up, syn_ack(999, 7_000, None)).feed(Down, syn_ack(6_999, 1_000, None)).wait(MS);
    c.data(1_000, 100).wait(MS).ack(1_100);
    let (up, down) = (c.up(), c.down());
    assert_eq!((up.retransmitted, down.retransmitted), (0, 0));
    assert_eq!((up.role, down.role), (Some(Role::Client), Some(Role::Server)));
}

#[test]
fn fin_both_ways_closes_and_idleness_is_a_timeout() {
    let fin = |segment: Segment| Segment { flags: FIN | ACK, ..segment };
    let mut c = opened();
    c.feed(Up, fin(data(1_000, 100)));
    assert_eq!(c.up().close, None);
    assert_eq!(
        c.state.take(Up, c.now_ns, Ending::Idle, &mut c.details).close,
        Some(Close::Timeout)
    );
    c.feed(Down, fin(ack_of(1_101)));
    assert_eq!((c.up().close, c.down().close), (Some(Close::Fin), Some(Close::Fin)));
    c.feed(Up, fin(data(1_000, 100)));
    assert_eq!(c.up().retransmitted, 1, "the FIN came again");
}

#[test]
fn three_duplicate_acks_make_a_fast_retransmission() {
    let mut c = opened();
    for seq in [1_000, 1_100, 1_200, 1_300, 1_400] {
        c.data(seq, 100);
    }
    c.wait(20 * MS).ack(1_100).ack(1_100).ack(1_100).ack(1_100).wait(MS).data(1_100, 100);
    let (up, down) = (c.up(), c.down());
    assert_eq!((up.retransmitted, up.retransmitted_fast, down.dup_acks), (1, 1, 3));
    assert_eq!(up.lost_upstream, 0);
}

#[test]
fn sack_above_makes_a_fast_retransmission() {
    let mut c = opened();
    c.data(1_000, 100).data(1_100, 100).data(1_200, 100).wait(20 * MS);
    c.feed(Down, sacking(1_000, &[(1_100, 1_300)])).wait(MS).data(1_000, 100);
    let (up, down) = (c.up(), c.down());
    assert_eq!((up.retransmitted_fast, down.sacks, down.dsacks), (1, 1, 0));
}

#[test]
fn a_long_silence_makes_a_timeout_and_what_follows_belongs_to_it() {
    let mut c = opened();
    c.data(1_000, 100).data(1_100, 100).wait(250 * MS).data(1_000, 100).wait(20 * MS);
    c.ack(1_100).wait(MS).data(1_100, 100);
    let up = c.up();
    assert_eq!((up.retransmitted, up.retransmitted_timeout), (2, 2));
}

#[test]
fn the_tail_again_after_two_round_trips_is_a_probe() {
    let mut c = opened();
    c.data(1_000, 100).data(1_100, 100).wait(20 * MS).ack(1_100).wait(30 * MS).data(1_100, 100);
    let up = c.up();
    assert_eq!((up.retransmitted, up.retransmitted_tail_probe), (1, 1));
    assert_eq!(up.retransmitted_unknown(), 0);
}

#[test]
fn what_was_acknowledged_before_is_sent_again_needlessly() {
    let mut c = opened();
    c.data(1_000, 100).wait(20 * MS).ack(1_100).wait(250 * MS).data(1_000, 100);
    let up = c.up();
    assert_eq!((up.retransmitted_timeout, up.retransmitted_needless), (1, 1));
}

#[test]
fn a_dsack_shows_a_needless_retransmission() {
    let mut c = opened();
    c.data(1_000, 100).wait(250 * MS).data(1_000, 100).wait(20 * MS).ack(1_100);
    c.feed(Down, sacking(1_100, &[(1_000, 1_100)]));
    let (up, down) = (c.up(), c.down());
    assert_eq!((up.retransmitted, up.retransmitted_needless, down.dsacks), (1, 1, 1));
}

#[test]
fn the_timestamp_outweighs_the_age_of_a_hole() {
    let mut c = opened();
    c.feed(Up, with_clock(data(1_000, 100), 10, 0));
    c.feed(Up, with_clock(data(1_200, 100), 12, 0)).wait(2 * MS);
    c.feed(Up, with_clock(data(1_100, 100), 14, 0));
    let up = c.up();
    assert_eq!((up.out_of_order, up.retransmitted), (0, 1), "sent later, though fast");
    c.feed(Up, with_clock(data(1_400, 100), 20, 0)).wait(50 * MS);
    c.feed(Up, with_clock(data(1_300, 100), 19, 0));
    let up = c.up();
    assert_eq!((up.out_of_order, up.retransmitted), (1, 0), "sent before, though late");
}

#[test]
fn a_slow_handshake_does_not_make_what_is_sent_again_out_of_order() {
    let mut c = Conversation::default();
    // The handshake took 15 ms, later the network takes 6.
    c.feed(Up, syn(999, None)).wait(15 * MS).feed(Down, syn_ack(6_999, 1_000, None));
    c.feed(Up, Segment { seq: 1_000, ..ack_of(7_000) });
    c.data(1_000, 100).wait(6 * MS).feed(Down, Segment { ack: 1_100, ..data(7_000, 100) });
    let told = Segment { seq: 1_100, ack: 7_100, ..ack_of(0) };
    c.feed(Down, Segment { ack: 1_100, ..data(7_200, 100) }).feed(Up, told).wait(7 * MS);
    c.feed(Down, Segment { ack: 1_100, ..data(7_100, 100) });
    let down = c.down();
    assert_eq!((down.retransmitted, down.out_of_order, down.rtt.min_us), (1, 0, 6_000));
    // The smallest round trip outlives the record.
    c.feed(Down, Segment { ack: 1_100, ..data(7_400, 100) }).wait(7 * MS);
    c.feed(Down, Segment { ack: 1_100, ..data(7_300, 100) });
    c.feed(Down, Segment { ack: 1_100, ..data(7_600, 100) }).wait(5 * MS);
    c.feed(Down, Segment { ack: 1_100, ..data(7_500, 100) });
    let down = c.down();
    assert_eq!((down.retransmitted, down.out_of_order), (1, 1));
}

#[test]
fn nothing_is_sent_again_before_the_peers_news_could_be_answered() {
    let mut c = Conversation::default();
    // Two kernels on one machine: the round trip is 5 µs, and another CPU overtakes.
    let us = MS / 1000;
    c.feed(Up, syn(999, None)).wait(5 * us).feed(Down, syn_ack(6_999, 1_000, None)).wait(5 * us);
    c.feed(Up, Segment { seq: 1_000, ..ack_of(7_000) });
    c.data(1_000, 100).data(1_200, 100).data(1_300, 100).wait(30 * us).data(1_100, 100);
    assert_eq!(c.up().out_of_order, 1, "nobody has told");
    c.data(1_500, 100).wait(30 * us).ack(1_400).wait(6 * us).data(1_400, 100);
    assert_eq!(c.up().out_of_order, 1, "told only now");
    c.data(1_700, 100).wait(5 * us).ack(1_600).wait(20 * us).data(1_600, 100);
    let up = c.up();
    assert_eq!((up.out_of_order, up.retransmitted, up.lost_upstream), (0, 1, 1));
}

#[test]
fn hundreds_of_segments_that_another_path_overtook_are_late_and_not_sent_again() {
    let with_id = |n: u32| {
        let segment = data(1_000 + 100 * n, 100);
        Segment { ip_id: Some((40_u16).wrapping_add(n as u16)), ..segment }
    };
    let mut c = opened();
    // 0, then 300 before 1 to 299, which come one by one between what follows. The peer has told at
    // once, and far more than a round trip has passed.
    c.feed(Up, with_id(0)).feed(Up, with_id(300)).feed(Down, sacking(1_100, &[(31_000, 31_100)]));
    c.wait(100 * MS);
    for n in 1..300 {
        c.feed(Up, with_id(n)).feed(Up, with_id(300 + n)).wait(MS);
    }
    let up = c.up();
    assert_eq!((up.out_of_order, up.retransmitted, up.duplicates, up.gaps), (299, 0, 0, 1));
    // A hole of which half was lost: numbers that come after those of what was seen.
    c.feed(Up, with_id(900)).feed(Down, sacking(61_000, &[(91_000, 91_100)])).wait(100 * MS);
    for n in 600..750 {
        c.feed(Up, with_id(n));
    }
    for n in 750..900 {
        let again = Segment { ip_id: Some(40 + n as u16 + 151), ..with_id(n) };
        c.feed(Up, again);
    }
    let up = c.up();
    assert_eq!((up.out_of_order, up.retransmitted, up.lost_upstream), (150, 150, 150));
}

#[test]
fn what_comes_after_its_own_copy_is_not_sent_again_once_more() {
    let mut c = opened();
    let with_id = |n: u32, ip_id| Segment { ip_id: Some(ip_id), ..data(1_000 + 100 * n, 100) };
    c.feed(Up, with_id(0, 40)).feed(Up, with_id(2, 42));
    c.feed(Down, sacking(1_100, &[(1_200, 1_300)])).wait(100 * MS).feed(Up, with_id(1, 43));
    for n in 3..203 {
        c.feed(Up, with_id(n, 41 + n as u16));
    }
    c.feed(Up, with_id(1, 41));
    let up = c.up();
    assert_eq!((up.retransmitted, up.duplicates, up.out_of_order), (1, 1, 0));
    // What was sent again has used identifications, too: here 200 at once for 200 segments.
    c.feed(Up, with_id(403, 444)).feed(Down, sacking(21_300, &[(41_300, 41_400)]));
    c.wait(100 * MS);
    for n in 203..403 {
        c.feed(Up, with_id(n, 445 + (n as u16 - 203)));
    }
    for n in 203..403 {
        c.feed(Up, with_id(n, 41 + n as u16));
    }
    let up = c.up();
    assert_eq!((up.retransmitted, up.duplicates, up.out_of_order), (200, 200, 0));
}

#[test]
fn what_is_sent_again_counts_though_something_later_overtakes_it() {
    let with_id = |n: u32, ip_id| Segment { ip_id: Some(ip_id), ..data(1_000 + 1_460 * n, 1_460) };
    let counting = || {
        let mut c = opened();
        // At a gap that is soon filled the sender is seen counting.
        c.feed(Up, with_id(0, 40)).feed(Up, with_id(2, 42)).feed(Up, with_id(1, 41));
        for n in 3..300 {
            c.feed(Up, with_id(n, 40 + n as u16));
        }
        c
    };
    // 200 segments are sent again with 340 to 539, and before the first of them 100 new ones pass.
    let mut c = counting();
    for n in 300..400 {
        c.feed(Up, with_id(n, 240 + n as u16));
    }
    for n in 50..250 {
        c.feed(Up, with_id(n, 290 + n as u16));
    }
    // The network's copies of those, and of the originals, stay copies.
    for n in 50..250 {
        c.feed(Up, with_id(n, 290 + n as u16)).feed(Up, with_id(n, 40 + n as u16));
    }
    let up = c.up();
    assert_eq!((up.retransmitted, up.duplicates, up.out_of_order), (200, 400, 1));
    // The last 280 are sent again with 340 to 619, of which the second half passes the first.
    let mut c = counting();
    for n in (160..300).chain(20..160) {
        c.feed(Up, with_id(n, 320 + n as u16));
    }
    for n in 20..300 {
        c.feed(Up, with_id(n, 320 + n as u16)).feed(Up, with_id(n, 40 + n as u16));
    }
    let up = c.up();
    assert_eq!((up.retransmitted, up.duplicates, up.out_of_order), (280, 560, 1));
}

#[test]
fn copies_of_short_segments_were_not_sent_again() {
    let with_id = |seq, len, ip_id| Segment { ip_id: Some(ip_id), ..data(seq, len) };
    let short = 1_000 + 3 * 8_948;
    // Segments of 8,948 bytes, a gap that shows the counting, and one of 10 bytes among them. It is
    // seen twice: its own copy, or sent again as the last but one.
    for (ip_id, expected) in [(43, (0, 1, 1)), (63, (1, 0, 1))] {
        let mut c = opened();
        for n in [0, 2, 1] {
            c.feed(Up, with_id(1_000 + 8_948 * n, 8_948, 40 + n as u16));
        }
        c.feed(Up, with_id(short, 10, 43));
        for n in 0..20 {
            let skipped = u16::from(ip_id == 63 && n == 19);
            c.feed(Up, with_id(short + 10 + 8_948 * n, 8_948, 44 + n as u16 + skipped));
        }
        c.feed(Up, with_id(short, 10, ip_id));
        let up = c.up();
        assert_eq!((up.retransmitted, up.duplicates, up.out_of_order), expected);
    }
}

#[test]
fn identifications_that_are_no_numbers_do_not_hide_what_was_sent_again() {
    let with_id = |n: u32, ip_id| Segment { ip_id: Some(ip_id), ..data(1_000 + 100 * n, 100) };
    let mut c = opened();
    // Three segments are missing, between identifications that are thousands apart.
    c.feed(Up, with_id(0, 10_000)).feed(Up, with_id(4, 14_000));
    c.feed(Down, sacking(1_100, &[(1_400, 1_500)])).wait(100 * MS);
    c.feed(Up, with_id(1, 12_000)).feed(Up, with_id(2, 11_000)).feed(Up, with_id(3, 13_900));
    let up = c.up();
    assert_eq!((up.out_of_order, up.retransmitted), (0, 3));
}

#[test]
fn the_same_packet_twice_is_a_duplicate() {
    let mut c = opened();
    let with_id = |seq, ip_id| Segment { ip_id: Some(ip_id), ..data(seq, 100) };
    c.feed(Up, with_id(1_000, 40)).feed(Up, with_id(1_100, 41)).feed(Up, with_id(1_000, 40));
    c.wait(300 * MS).feed(Up, with_id(1_100, 42));
    let up = c.up();
    assert_eq!((up.duplicates, up.retransmitted), (1, 1));
}

#[test]
fn a_sample_over_a_retransmission_is_left_out_unless_the_timestamp_tells() {
    let mut c = opened();
    c.ack(1_000);
    c.down();
    c.data(1_000, 100).wait(250 * MS).data(1_000, 100).wait(20 * MS).ack(1_100);
    assert_eq!(c.down().rtt.count, 0);
    c.feed(Up, with_clock(data(1_100, 100), 100, 0)).wait(250 * MS);
    c.feed(Up, with_clock(data(1_100, 100), 350, 0)).wait(20 * MS);
    c.feed(Down, with_clock(ack_of(1_200), 1, 100));
    let down = c.down();
    assert_eq!((down.rtt.count, down.rtt.min_us), (1, 270_000), "the first copy was answered");
}

#[test]
fn samples_make_minimum_mean_maximum_and_last() {
    let mut c = opened();
    c.ack(1_000);
    c.down();
    for (i, rtt_ms) in [30, 10, 20].into_iter().enumerate() {
        let seq = 1_000 + i as u32 * 100;
        c.data(seq, 100).wait(rtt_ms * MS).ack(seq + 100);
    }
    let rtt = c.down().rtt;
    assert_eq!((rtt.min_us, rtt.max_us, rtt.last_us, rtt.count), (10_000, 30_000, 20_000, 3));
    assert_eq!(rtt.mean_us(), Some(20_000));
    assert_eq!(c.down().rtt.mean_us(), None);
}

#[test]
fn acknowledged_bytes_that_never_came_are_the_captures_loss() {
    let mut c = opened();
    c.data(1_000, 100).data(1_300, 100).ack(1_400);
    assert_eq!(c.up().unseen_bytes, 200);
    c.data(1_400, 100).ack(1_700);
    assert_eq!(c.up().unseen_bytes, 200, "at the end of the stream");
    c.data(1_700, 100).ack(1_800);
    let up = c.up();
    assert_eq!((up.unseen_bytes, up.gaps, up.retransmitted), (0, 0, 0));
}

#[test]
fn gaps_of_a_losing_capture_are_marked_and_their_fills_not_counted() {
    let mut c = opened();
    c.details.note_capture_loss(c.now_ns, c.now_ns + 1000 * MS);
    c.wait(MS).data(1_000, 100).data(1_200, 100).wait(300 * MS).data(1_100, 100);
    let up = c.up();
    assert_eq!((up.suspect_gaps, up.gaps, up.suspect_fills), (1, 0, 1));
    assert_eq!((up.retransmitted, up.out_of_order), (0, 0));
}

#[test]
fn a_gap_is_marked_when_the_loss_ended_before_the_segment_behind_it() {
    let mut c = opened();
    c.data(1_000, 100).wait(MS);
    // The ring was full for 2 ms; the first segment that found room came later.
    c.details.note_capture_loss(c.now_ns, c.now_ns + 2 * MS);
    c.wait(5 * MS).data(1_200, 100).wait(MS).data(1_400, 100).wait(MS).data(1_300, 100);
    let up = c.up();
    assert_eq!((up.suspect_gaps, up.gaps, up.out_of_order), (1, 1, 1));
    c.data(1_100, 100);
    let up = c.up();
    assert_eq!((up.suspect_fills, up.out_of_order), (1, 0));
}

#[test]
fn a_byte_against_a_closed_window_counts_once_whether_taken_or_not() {
    for taken in [0, 1] {
        let mut c = opened();
        c.data(1_000, 100).feed(Down, Segment { window: 0, ..ack_of(1_100) });
        for _ in 0..3 {
            c.wait(300 * MS).data(1_100, 1);
            c.feed(Down, Segment { window: 0, ..ack_of(1_100) });
        }
        c.feed(Down, ack_of(1_100 + taken)).data(1_100 + taken, 100);
        let up = c.up();
        assert_eq!((up.retransmitted, up.gaps, up.unseen_bytes), (0, 0, 0));
    }
}

#[test]
fn without_room_for_details_the_record_says_so() {
    let mut c = opened();
    c.details = Details::with_capacity(0).unwrap();
    c.data(1_000, 100).data(1_200, 100).data(1_100, 100);
    let up = c.up();
    assert!(up.lacking);
    assert_eq!((up.retransmitted, c.details.refused()), (1, 2));
}

#[test]
fn first_payloads_give_the_application_latency() {
    let mut c = opened();
    c.data(1_000, 100).wait(7 * MS).feed(Down, data(7_000, 50));
    assert_eq!((c.payload.latency_ms(Up), c.payload.latency_ms(Down)), (None, Some(7)));
}
