//! Receive-side scaling: does the device's hash send both directions of a conversation to one
//! queue, and are the queues used evenly?
//!
//! The hash is Toeplitz's (Microsoft, "RSS hashing functions"): the exclusive-or of 32-bit windows
//! of the key, one window for each bit set in addresses and ports. It is linear, so it is symmetric
//! exactly when swapping source and destination picks equal windows. The probe's own spreading is
//! symmetric in any case; an asymmetric device costs caches, and splits conversations in the fanout
//! modes `cpu` and `qm`.

use std::collections::BTreeMap;

use capture::ethtool::Rss;

use super::finding::{Finding, Grade};
use super::nic::Nic;

const CHECK: &str = "rss";
/// Bytes of key that IPv6 with ports needs: 36 bytes of input and the last window.
const KEY_BYTES: usize = 40;

/// Judges key and indirection table for an interface of `queues` receive queues.
pub fn check(nic: &Nic, queues: usize) -> Finding {
    if queues == 1 {
        return Finding::new(CHECK, Grade::Ok, "one receive queue takes all conversations");
    }
    let rss = match &nic.rss {
        Ok(rss) => rss,
        Err(_) if !nic.hardware => return Finding::new(CHECK, Grade::Ok, "none: virtual"),
        Err(error) => return Finding::unread(CHECK, "the hash key", error),
    };
    let name = nic.word();
    let mut finding = Finding::new(CHECK, Grade::Ok, key_evidence(rss));
    if symmetric(rss) == Some(false) {
        finding.grade = Grade::Note;
        finding.evidence += ": the two directions of a conversation meet different queues; \
                             harmless to fanout modes hash and ebpf, not to cpu and qm";
        let length = rss.key.len().max(KEY_BYTES);
        let key = ["6d", "5a"].iter().cycle().take(length).copied().collect::<Vec<_>>().join(":");
        finding = finding.advise(format!("ethtool -X {name} hkey {key}"));
    }
    let shares = shares(&rss.table, queues);
    if !rss.table.is_empty() {
        let texts: Vec<String> = shares.iter().map(|(q, n)| format!("{q}:{n}")).collect();
        finding.evidence += &format!("; table of {}: {}", rss.table.len(), texts.join(" "));
    }
    if uneven(&shares) {
        finding.grade = Grade::Warn;
        finding.evidence += " (queue:entries), so queues are used unevenly";
        finding = finding.advise(format!("ethtool -X {name} equal {queues}"));
    }
    finding
}

/// Whether swapping the ends of a conversation leaves the hash as it is; `None` when unknown.
pub fn symmetric(rss: &Rss) -> Option<bool> {
    if rss.symmetric_transform {
        return Some(true);
    }
    if !rss.toeplitz || rss.key.len() < KEY_BYTES {
        return None;
    }
    let same = |from: usize, to: usize, bits: usize| {
        (0..bits).all(|bit| window(&rss.key, from + bit) == window(&rss.key, to + bit))
    };
    // Source and destination address, then the two ports, as they lie in the input.
    let ipv4 = same(0, 32, 32) && same(64, 80, 16);
    let ipv6 = same(0, 128, 128) && same(256, 272, 16);
    Some(ipv4 && ipv6)
}

/// 32 bits of the key from bit `start` on; zeros stand behind its end.
fn window(key: &[u8], start: usize) -> u32 {
    let byte = |index: usize| u64::from(key.get(index).copied().unwrap_or(0));
    let first = start / 8;
    let bits = (0..5).fold(0u64, |bits, i| bits << 8 | byte(first + i));
    (bits >> (8 - start % 8)) as u32
}

fn key_evidence(rss: &Rss) -> String {
    match symmetric(rss) {
        Some(true) if rss.symmetric_transform => "symmetric by transform".to_owned(),
        Some(true) => format!("Toeplitz with a symmetric key of {} bytes", rss.key.len()),
        Some(false) => format!("Toeplitz with an asymmetric key of {} bytes", rss.key.len()),
        None => "key or hash function not told".to_owned(),
    }
}

/// Entries of the table for each queue.
fn shares(table: &[u32], queues: usize) -> BTreeMap<u32, usize> {
    // A driver that leaves a queue out still has it; queues beyond the number are shown, too.
    let mut shares: BTreeMap<u32, usize> =
        (0..u32::try_from(queues).unwrap_or(0).min(1024)).map(|queue| (queue, 0)).collect();
    for &queue in table {
        *shares.entry(queue).or_default() += 1;
    }
    shares
}

/// More than twice as many entries for one queue as for another.
fn uneven(shares: &BTreeMap<u32, usize>) -> bool {
    let (least, most) = (shares.values().min(), shares.values().max());
    most.zip(least).is_some_and(|(&most, &least)| most > 2 * least.max(1))
}

#[cfg(test)]
mod tests {
    use super::super::nic::tests::silent;
    use super::*;

    /// The key of Microsoft's verification suite, which many drivers use as it is.
    const MICROSOFT: [u8; 40] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f,
        0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
        0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];

    fn rss(key: &[u8], table: &[u32]) -> Rss {
        Rss { toeplitz: true, symmetric_transform: false, key: key.into(), table: table.into() }
    }

    /// Toeplitz over an input, bit by bit, for the suite's own examples.
    fn hash(key: &[u8], input: &[u8]) -> u32 {
        let bits = (0..input.len() * 8).filter(|i| input[i / 8] >> (7 - i % 8) & 1 == 1);
        bits.fold(0, |hash, bit| hash ^ window(key, bit))
    }

    #[test]
    fn windows_of_the_key_give_the_hash_of_the_verification_suite() {
        // 66.9.149.187:2794 to 161.142.100.80:1766.
        let input = [66, 9, 149, 187, 161, 142, 100, 80, 0x0a, 0xea, 0x06, 0xe6];
        assert_eq!(hash(&MICROSOFT, &input), 0x51cc_c178);
        assert_eq!(hash(&MICROSOFT, &input[..8]), 0x323e_8fc2);
    }

    #[test]
    fn a_key_of_one_repeated_word_is_symmetric_and_the_usual_one_is_not() {
        assert_eq!(symmetric(&rss(&[0x6d, 0x5a].repeat(20), &[])), Some(true));
        assert_eq!(symmetric(&rss(&[0x6d, 0x5a].repeat(26), &[])), Some(true));
        assert_eq!(symmetric(&rss(&MICROSOFT, &[])), Some(false));
        assert_eq!(symmetric(&rss(&MICROSOFT[..8], &[])), None);
        let transformed = Rss { symmetric_transform: true, ..rss(&MICROSOFT, &[]) };
        assert_eq!(symmetric(&transformed), Some(true));
    }

    #[test]
    fn an_asymmetric_key_is_a_note_with_a_key_that_helps() {
        let nic = Nic { rss: Ok(rss(&MICROSOFT, &[0, 1, 0, 1])), ..silent() };
        let finding = check(&nic, 2);
        assert_eq!(finding.grade, Grade::Note);
        assert!(finding.advice[0].starts_with("ethtool -X eth0 hkey 6d:5a:6d:5a:"));
        assert_eq!(finding.advice[0].len(), "ethtool -X eth0 hkey ".len() + 40 * 3 - 1);
    }

    #[test]
    fn a_queue_without_entries_is_worth_a_warning() {
        let even = [0x6d, 0x5a].repeat(20);
        let with = |table: &[u32]| check(&Nic { rss: Ok(rss(&even, table)), ..silent() }, 2);
        assert_eq!(with(&[0, 1, 0, 1]).grade, Grade::Ok);
        assert_eq!(with(&[0, 0, 0, 0]).grade, Grade::Warn);
        assert_eq!(with(&[0, 0, 0, 0]).advice, ["ethtool -X eth0 equal 2"]);
        assert_eq!(with(&[]).grade, Grade::Ok);
    }
}
