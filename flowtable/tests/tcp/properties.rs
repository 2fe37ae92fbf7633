//! What holds for any segments: bounds, and changes of the capture that change no metric.

use decode::{Frame, Link, Outcome, Packet};
use flowtable::Way;
use flowtable::tcp::{
    Details, Ending, Role, SackBlock, SackBlocks, Segment, SynOptions, TcpMetrics, TcpState,
    Timestamps,
};
use proptest::prelude::*;

use crate::generator::{self, Plan, Seen};
use crate::wire::{self, ACK, FIN, RST, START_NS, SYN};

/// Any segment of a small part of the sequence space, so that they meet.
fn segment() -> impl Strategy<Value = Segment> {
    let near = || prop_oneof![8 => 0u32..6_000, 1 => any::<u32>()];
    let flags = prop_oneof![
        12 => Just(ACK), 2 => Just(ACK | FIN), 1 => Just(SYN), 1 => Just(SYN | ACK), 1 => Just(RST),
        1 => any::<u8>(),
    ];
    let len = prop_oneof![3 => Just(0u32), 1 => Just(1), 4 => 0u32..3_000, 1 => any::<u32>()];
    let window = prop_oneof![2 => Just(0u16), 4 => Just(500), 1 => any::<u16>()];
    let timestamps = prop::option::of((0u32..50, 0u32..50));
    let blocks = prop::collection::vec((near(), near()), 0..4);
    let syn = (prop::option::of(any::<u8>()), any::<bool>());
    let numbers = (near(), near(), len, prop_oneof![4 => Just(0u32), 1 => 1u32..2_000]);
    (numbers, flags, window, prop::option::of(any::<u16>()), timestamps, blocks, syn).prop_map(
        |((seq, ack, len, piece_bytes), flags, window, ip_id, timestamps, blocks, syn)| {
            let blocks: Vec<_> =
                blocks.iter().map(|&(left, right)| SackBlock { left, right }).collect();
            Segment {
                time_ns: START_NS,
                seq,
                ack,
                len,
                piece_bytes,
                window,
                flags,
                ip_id,
                timestamps: timestamps.map(|(value, echo)| Timestamps { value, echo }),
                sack: SackBlocks::new(&blocks),
                syn: SynOptions { window_scale: syn.0, sack_permitted: syn.1, mss: None },
            }
        },
    )
}

/// Segments of both ways, each with the time since the one before (or before it), ns.
fn exchange() -> impl Strategy<Value = Vec<(Way, Segment)>> {
    let way = prop::bool::ANY.prop_map(|up| if up { Way::Up } else { Way::Down });
    let step = prop_oneof![6 => 0i64..5_000_000, 1 => 0i64..2_000_000_000, 1 => -9_000_000i64..0];
    prop::collection::vec((way, segment(), step), 0..60).prop_map(|list| {
        let mut now_ns = START_NS;
        let timed = list.into_iter().map(|(way, segment, step)| {
            now_ns = now_ns.saturating_add_signed(step);
            (way, Segment { time_ns: now_ns, ..segment })
        });
        timed.collect()
    })
}

/// Metrics of both ways after all segments.
fn metrics(segments: &[(Way, Segment)]) -> [TcpMetrics; 2] {
    let mut details = Details::with_capacity(1).unwrap();
    let mut state = TcpState::default();
    let mut end_ns = START_NS;
    for (way, segment) in segments {
        state.update(*way, segment, &mut details);
        end_ns = segment.time_ns;
    }
    Way::BOTH.map(|way| state.take(way, end_ns, Ending::Open, &mut details))
}

/// The wire segments behind a merged one.
fn pieces(segment: &Segment) -> Vec<Segment> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while segment.piece_bytes > 0 && at < segment.len {
        let len = segment.piece_bytes.min(segment.len - at);
        let last = at + len == segment.len;
        pieces.push(Segment {
            seq: segment.seq.wrapping_add(at),
            len,
            piece_bytes: 0,
            flags: if last { segment.flags } else { segment.flags & !FIN },
            ip_id: segment
                .ip_id
                .map(|id| if id == 0 { 0 } else { id.wrapping_add(pieces.len() as u16) }),
            ..*segment
        });
        at += len;
    }
    if pieces.is_empty() { vec![Segment { piece_bytes: 0, ..*segment }] } else { pieces }
}

/// Offload merges data without SYN and RST, and never so much that it wraps.
fn is_mergeable(segment: &Segment) -> bool {
    segment.len < 100_000
        && segment.flags & (SYN | RST) == 0
        && segment.len.div_ceil(segment.piece_bytes.max(1)) <= 256
        // Identifications that pass 0 would tell nothing halfway.
        && segment.ip_id.is_none_or(|id| id < 60_000)
}

fn plan(seed: u64) -> Plan {
    Plan {
        seed,
        segments: 120,
        mss: 1000,
        window: 20,
        near_ns: 3_000_000,
        far_ns: 9_000_000,
        spacing_ns: 40_000,
        loss_before: 30,
        loss_after: 30,
        ack_loss: 20,
        reorder: 30,
        reorder_again: 0,
        duplicate: 20,
        sack: seed.is_multiple_of(2),
        timestamps: seed.is_multiple_of(3),
        ip_ids: true,
        delayed_acks: seed.is_multiple_of(5),
        sender_opens: seed % 7 < 4,
        half_open: seed.is_multiple_of(11),
        isn: u32::MAX - 50_000,
    }
}

fn swap_role(role: Option<Role>) -> Option<Role> {
    role.map(|role| if role == Role::Client { Role::Server } else { Role::Client })
}

fn parsed(seen: &Seen, snap: usize) -> (Way, Segment) {
    let whole = wire::frame(seen.way, &seen.segment, 0);
    let data = whole.get(..snap).unwrap_or(&whole);
    let frame = Frame { data, wire_len: whole.len() as u32, ..Frame::default() };
    let mut packet = Packet::default();
    assert_eq!(decode::parse(Link::Ethernet, &frame, &mut packet), Outcome::Packet);
    (seen.way, Segment::new(&packet, data, seen.segment.time_ns, 0).unwrap())
}

proptest! {
    #[test]
    fn any_segments_give_figures_within_bounds(segments in exchange(), room in 0usize..2) {
        let mut details = Details::with_capacity(room).unwrap();
        let mut state = TcpState::default();
        for (way, segment) in &segments {
            state.update(*way, segment, &mut details);
            prop_assert!(details.in_use() <= room);
            if segment.seq.is_multiple_of(4) {
                let metrics = state.take(*way, segment.time_ns, Ending::Open, &mut details);
                let causes = metrics.retransmitted_fast
                    + metrics.retransmitted_timeout
                    + metrics.retransmitted_tail_probe;
                prop_assert!(causes <= metrics.retransmitted);
                prop_assert!(metrics.lost_upstream <= metrics.retransmitted);
                prop_assert!(metrics.dsacks <= metrics.sacks);
                prop_assert!(metrics.rtt.min_us <= metrics.rtt.max_us);
            }
        }
        state.release(&mut details);
        prop_assert_eq!(details.in_use(), 0);
    }

    #[test]
    fn merged_segments_give_what_their_pieces_give(segments in exchange()) {
        let merged: Vec<_> =
            segments.into_iter().filter(|(_, segment)| is_mergeable(segment)).collect();
        let split: Vec<_> = merged
            .iter()
            .flat_map(|(way, segment)| pieces(segment).into_iter().map(|piece| (*way, piece)))
            .collect();
        prop_assert_eq!(metrics(&merged), metrics(&split));
    }

    #[test]
    fn swapping_the_ends_swaps_the_sides_and_nothing_else(segments in exchange()) {
        let swapped: Vec<_> =
            segments.iter().map(|(way, segment)| (way.other(), *segment)).collect();
        let [up, down] = metrics(&segments);
        let [down_swapped, up_swapped] = metrics(&swapped);
        prop_assert_eq!(up, up_swapped);
        prop_assert_eq!(down, down_swapped);
        if up.role.is_some() && down.role.is_some() {
            prop_assert_eq!(up.role, swap_role(down.role));
        }
    }

    #[test]
    fn records_in_between_change_no_sum(seed in any::<u64>()) {
        let capture = generator::play(plan(seed % 100_000));
        let segments: Vec<_> =
            capture.seen.iter().map(|seen| (seen.way, seen.segment)).collect();
        let once = metrics(&segments);
        let mut details = Details::with_capacity(1).unwrap();
        let mut state = TcpState::default();
        let mut sums = [(0, 0, 0, 0, 0); 2];
        for (i, (way, segment)) in segments.iter().enumerate() {
            state.update(*way, segment, &mut details);
            if i % 7 != 0 && i + 1 != segments.len() {
                continue;
            }
            for (sum, way) in sums.iter_mut().zip(Way::BOTH) {
                let part = state.take(way, segment.time_ns, Ending::Open, &mut details);
                sum.0 += part.retransmitted;
                sum.1 += part.out_of_order;
                sum.2 += part.duplicates;
                sum.3 += part.dup_acks;
                sum.4 += part.rtt.count;
            }
        }
        for (sum, once) in sums.into_iter().zip(once) {
            let whole = (once.retransmitted, once.out_of_order, once.duplicates, once.dup_acks);
            prop_assert_eq!((sum.0, sum.1, sum.2, sum.3), whole);
            prop_assert_eq!(sum.4, once.rtt.count);
        }
    }

    #[test]
    fn a_snap_length_that_keeps_the_headers_changes_nothing(seed in any::<u64>()) {
        let capture = generator::play(plan(seed % 100_000));
        let of = |snap| {
            let segments: Vec<_> = capture.seen.iter().map(|seen| parsed(seen, snap)).collect();
            metrics(&segments)
        };
        let whole = of(65_535);
        prop_assert_eq!(whole, of(128));
        prop_assert_eq!(whole, of(96));
    }

    #[test]
    fn sixty_four_bytes_are_enough_without_options(seed in any::<u64>()) {
        let plan = Plan { timestamps: false, sack: false, ..plan(seed % 100_000) };
        let capture = generator::play(plan);
        let of = |snap| {
            let segments: Vec<_> = capture.seen.iter().map(|seen| parsed(seen, snap)).collect();
            metrics(&segments)
        };
        prop_assert_eq!(of(65_535), of(64));
    }
}
