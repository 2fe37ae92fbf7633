//! TCP metrics under any segments: nothing overflows, the pool keeps its bounds, parts never exceed
//! their whole, and swapping the ends swaps the sides.
//!
//! Input: 24 bytes per step, little-endian: time step in units of 16 µs (2, signed), way (bit 0),
//! record after the segment (bit 1), capture loss (bit 2), timestamps (bit 3), IP identification
//! (bit 4), SYN with window scale (bits 5–7 in steps of 3), flags (1), sequence number (4),
//! acknowledgment (4), length (2), merged pieces (1), SACK blocks (1), window (2), timestamp (1),
//! echo (1), IP identification (1), first SACK edge relative to the acknowledgment (1, signed),
//! length of blocks (1), unused (1).
#![no_main]

use flowtable::Way;
use flowtable::tcp::{
    Details, Ending, SackBlock, SackBlocks, Segment, SynOptions, TcpMetrics, TcpState, Timestamps,
};
use libfuzzer_sys::fuzz_target;

const STEP_BYTES: usize = 24;
const MAX_STEPS: usize = 256;

fn segment(step: &[u8], time_ns: u64) -> Segment {
    let word = |at: usize| u32::from_le_bytes([step[at], step[at + 1], step[at + 2], step[at + 3]]);
    let half = |at: usize| u16::from_le_bytes([step[at], step[at + 1]]);
    let ack = word(8);
    let blocks = (0..u32::from(step[15] & 7)).map(|i| {
        let edge = i32::from(step[21] as i8) * 100;
        let left = ack.wrapping_add_signed(edge).wrapping_add(i * 1_000);
        SackBlock { left, right: left.wrapping_add(u32::from(step[22]) * 10) }
    });
    let scale = step[2] >> 5;
    Segment {
        time_ns,
        seq: word(4),
        ack,
        len: u32::from(half(12)),
        piece_bytes: u32::from(step[14]) * 16,
        window: half(16),
        flags: step[3],
        ip_id: (step[2] & 16 != 0).then_some(u16::from(step[20])),
        timestamps: (step[2] & 8 != 0)
            .then_some(Timestamps { value: step[18].into(), echo: step[19].into() }),
        sack: SackBlocks::new(&blocks.collect::<Vec<_>>()),
        syn: SynOptions { window_scale: (scale > 0).then_some(scale * 3), ..Default::default() },
    }
}

/// Parts and their whole.
fn check(metrics: &TcpMetrics) {
    let causes = metrics.retransmitted_fast
        + metrics.retransmitted_timeout
        + metrics.retransmitted_tail_probe;
    assert_eq!(causes + metrics.retransmitted_unknown(), metrics.retransmitted);
    assert!(metrics.lost_upstream <= metrics.retransmitted);
    assert!(metrics.dsacks <= metrics.sacks);
    assert!(metrics.zero_window_transitions <= metrics.zero_windows);
    assert!(metrics.rtt.min_us <= metrics.rtt.max_us);
    let latencies = [metrics.client_nw_latency_ms, metrics.server_nw_latency_ms];
    assert!(latencies.iter().flatten().all(|ms| (1..=20_000).contains(ms)));
    assert!(latencies.contains(&None));
}

fuzz_target!(|input: &[u8]| {
    // One table with room, its mirror image, and one without room.
    let mut details = [1, 1, 0].map(|room| Details::with_capacity(room).expect("room"));
    let mut states = [TcpState::default(); 3];
    let mut now_ns = 1_764_000_000_000_000_000_u64;
    for step in input.chunks_exact(STEP_BYTES).take(MAX_STEPS) {
        let moved = i64::from(i16::from_le_bytes([step[0], step[1]])) * 16_000;
        now_ns = now_ns.saturating_add_signed(moved);
        let way = if step[2] & 1 == 0 { Way::Up } else { Way::Down };
        let segment = segment(step, now_ns);
        let ways = [way, way.other(), way];
        let mut taken = Vec::new();
        for ((state, details), way) in states.iter_mut().zip(&mut details).zip(ways) {
            if step[2] & 4 != 0 {
                details.note_capture_loss(now_ns, now_ns + 1_000_000);
            }
            state.update(way, &segment, details);
            if step[2] & 2 != 0 {
                let metrics = state.take(way, now_ns, Ending::Open, details);
                check(&metrics);
                taken.push(metrics);
            }
        }
        assert!(taken.is_empty() || taken[0] == taken[1]);
        assert!(details[0].in_use() <= 1 && details[2].in_use() == 0);
    }
    for (state, details) in states.iter_mut().zip(&mut details) {
        for way in Way::BOTH {
            check(&state.take(way, now_ns, Ending::Idle, details));
        }
        state.release(details);
        assert_eq!(details.in_use(), 0);
    }
});
