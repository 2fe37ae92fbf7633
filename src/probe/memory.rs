//! How many conversations fit under the memory ceiling.

use export::MAX_KEPT_BYTES;
use flowtable::FlowTable;

/// Program, libraries, stacks, reassembly (16 MiB a reader is counted below), HTTP.
const FIXED_BYTES: usize = 48 << 20;
/// Batches on their way to the exporter, of all readers; each reader has room for some.
const CHANNEL_BATCHES: usize = 384;
const LEAST_BATCHES: usize = 64;
/// Fragments that wait for each other, per reader.
const READER_BYTES: usize = 17 << 20;

/// Most that decoders keep on the heap, all readers together, unless the ceiling is low.
const DECODER_BYTES: usize = 64 << 20;

/// Batches that the channel to the exporter holds; a live reader must never wait.
pub(super) fn channel_batches(readers: usize) -> usize {
    CHANNEL_BATCHES.max(LEAST_BATCHES * readers)
}

/// Most that the decoders of one reader keep.
pub(super) fn decoder_bytes(max_memory_mib: usize, readers: usize) -> usize {
    DECODER_BYTES.min((max_memory_mib << 20) / 8) / readers.max(1)
}

/// Capacity of each reader's table: its share of `max_flows`, less where the ceiling asks for it.
///
/// # Errors
/// In words, when not even a small table fits.
pub(super) fn capacity(
    max_flows: usize,
    max_memory_mib: usize,
    readers: usize,
    ring_bytes: usize,
    queue_bytes: usize,
    decoder_bytes: Option<usize>,
) -> Result<usize, String> {
    let ceiling = max_memory_mib << 20;
    let channel_bytes = channel_batches(readers) * MAX_KEPT_BYTES;
    let taken = FIXED_BYTES + channel_bytes + readers * (READER_BYTES + ring_bytes);
    let taken = taken.saturating_add(queue_bytes);
    let share = max_flows.div_ceil(readers);
    let left = ceiling.saturating_sub(taken) / readers;
    // The index doubles by powers of two, so the largest capacity is searched, not computed.
    let fits = (0..=share.ilog2() * 2)
        .map(|step| share >> (step / 2))
        .enumerate()
        .map(|(step, n)| if step % 2 == 0 { n } else { n * 3 / 4 })
        .find(|&n| FlowTable::bytes(n, decoder_bytes) <= left);
    fits.filter(|&n| n >= share.min(1024)).ok_or_else(|| {
        format!(
            "--max-memory {max_memory_mib} does not hold {readers} readers with rings of {} MiB",
            ring_bytes >> 20
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The default of `--queue-size`.
    const QUEUE: usize = 64 << 20;

    #[test]
    fn the_default_holds_two_million_conversations_and_one_ring() {
        assert_eq!(capacity(2_000_000, 1024, 1, 128 << 20, QUEUE, None), Ok(2_000_000));
    }

    #[test]
    fn decoders_take_their_share() {
        let decoders = Some(decoder_bytes(1024, 1));
        let n = capacity(2_000_000, 1024, 1, 128 << 20, QUEUE, decoders).unwrap();
        assert!((1_000_000..2_000_000).contains(&n), "{n}");
        assert_eq!(decoder_bytes(256, 2), 16 << 20);
    }

    #[test]
    fn a_lower_ceiling_lowers_the_capacity() {
        let n = capacity(2_000_000, 512, 1, 128 << 20, QUEUE, None).unwrap();
        assert!((500_000..2_000_000).contains(&n), "{n}");
        assert!(FlowTable::bytes(n, None) <= 255 << 20);
    }

    #[test]
    fn readers_share_the_conversations() {
        assert_eq!(capacity(2_000_000, 4096, 4, 128 << 20, QUEUE, None), Ok(500_000));
        assert_eq!(capacity(1, 1024, 1, 0, QUEUE, None), Ok(1));
        // Five with all defaults.
        let decoders = Some(decoder_bytes(1024, 5));
        assert!(capacity(2_000_000, 1024, 5, 128 << 20, QUEUE, decoders).is_ok());
    }

    #[test]
    fn a_ceiling_below_the_rings_is_refused_in_words() {
        let text = capacity(2_000_000, 256, 4, 128 << 20, QUEUE, None).unwrap_err();
        assert_eq!(text, "--max-memory 256 does not hold 4 readers with rings of 128 MiB");
    }
}
