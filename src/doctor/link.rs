//! The link itself: is it up, how large are its frames, how long does a ring last at its speed?

use super::facts::Facts;
use super::finding::{Finding, Grade};
use super::nic::Nic;

/// Defaults of the probe: `--block-size` and `--buffer-size`.
const BLOCK_BYTES: u64 = 1 << 20;
const RING_BYTES: u64 = 128 << 20;
/// What the kernel merges at most (GSO_MAX_SIZE, 8 times 64 KiB, since Linux 6.3).
const LARGEST_MERGED_BYTES: u64 = 524_280;
/// Bytes that the ring adds to each frame (measured: 90 to 100).
const FRAME_OVERHEAD_BYTES: u64 = 100;
/// A reader that does not get a CPU for this long must not lose packets.
const STALL_MS: u64 = 100;

/// Judges whether the interface can receive at all.
pub fn state(facts: &Facts, nic: &Nic, folder: &str) -> Finding {
    const CHECK: &str = "link";
    let read = |name: &str| facts.text(&format!("{folder}/{name}")).ok();
    let state = read("operstate").unwrap_or_else(|| "?".into());
    let speed = read("speed").and_then(|text| text.parse::<u64>().ok());
    let speed = speed.map_or(String::new(), |mbit| format!(", {mbit} Mbit/s"));
    let duplex = read("duplex").filter(|duplex| duplex == "half");
    let evidence = format!("{state}{speed}, driver {}", nic.driver_name());
    // The carrier of an interface that is down cannot be read.
    match read("carrier").as_deref() {
        None => Finding::new(CHECK, Grade::Bad, format!("{evidence}; administratively down"))
            .advise(format!("ip link set {} up", nic.word())),
        Some("0") => Finding::new(CHECK, Grade::Bad, format!("{evidence}; no carrier")),
        Some(_) if duplex.is_some() => {
            Finding::new(CHECK, Grade::Warn, format!("{evidence}; half duplex"))
        }
        Some(_) => Finding::new(CHECK, Grade::Ok, evidence),
    }
}

/// Judges the size of frames against that of blocks.
pub fn frames(facts: &Facts, folder: &str) -> Finding {
    const CHECK: &str = "frame size";
    let mtu = facts.number(&format!("{folder}/mtu")).ok().and_then(|mtu| u64::try_from(mtu).ok());
    let Some(mtu) = mtu else {
        return Finding::new(CHECK, Grade::Unknown, "the MTU could not be read");
    };
    let largest = mtu.max(LARGEST_MERGED_BYTES);
    let evidence =
        format!("MTU {mtu}; merged frames have up to {largest} bytes, a block {BLOCK_BYTES}");
    if largest + FRAME_OVERHEAD_BYTES <= BLOCK_BYTES {
        return Finding::new(CHECK, Grade::Ok, evidence);
    }
    let blocks = largest.saturating_add(FRAME_OVERHEAD_BYTES).checked_next_power_of_two();
    let finding = Finding::new(
        CHECK,
        Grade::Warn,
        format!("{evidence}. Longer frames are cut (counts stay)"),
    );
    match blocks {
        Some(bytes) => finding.advise(format!("kprobe --block-size {} ...", bytes >> 10)),
        None => finding,
    }
}

/// Judges how long the ring lasts when full frames come at the link's speed and nobody reads.
pub fn depth(facts: &Facts, folder: &str) -> Finding {
    const CHECK: &str = "ring depth";
    let number = |name: &str| {
        let value = facts.number(&format!("{folder}/{name}")).ok()?;
        u64::try_from(value).ok().filter(|value| (1..1 << 32).contains(value))
    };
    let (Some(mbit), Some(mtu)) = (number("speed"), number("mtu")) else {
        return Finding::new(CHECK, Grade::Ok, "the link has no speed to fill a ring at");
    };
    let mtu = mtu.min(RING_BYTES);
    let frame_bits = (mtu + 38) * 8;
    let frames_per_ms = (mbit * 1000 / frame_bits).max(1);
    let depth_ms = RING_BYTES / (frames_per_ms * (mtu + FRAME_OVERHEAD_BYTES));
    let evidence = format!(
        "{} MiB last {depth_ms} ms of whole {mtu}-byte packets at {mbit} Mbit/s; cut to 256 bytes \
         (--snaplen) {} ms",
        RING_BYTES >> 20,
        RING_BYTES / (frames_per_ms * (mtu.min(256) + FRAME_OVERHEAD_BYTES))
    );
    if depth_ms >= STALL_MS {
        return Finding::new(CHECK, Grade::Ok, evidence);
    }
    let mib = (RING_BYTES >> 20) * STALL_MS.div_ceil(depth_ms.max(1));
    Finding::new(CHECK, Grade::Note, evidence)
        .advise(format!("kprobe --buffer-size {} ... (for whole packets)", mib.min(4096)))
}

#[cfg(test)]
mod tests {
    use super::super::nic::tests::silent;
    use super::super::testing::{Host, host};
    use super::*;

    const FOLDER: &str = "sys/class/net/eth0";

    fn with(files: &[(&str, &str)]) -> Host {
        let paths: Vec<String> = files.iter().map(|(name, _)| format!("{FOLDER}/{name}")).collect();
        let files: Vec<(&str, &str)> =
            paths.iter().zip(files).map(|(path, (_, text))| (path.as_str(), *text)).collect();
        host(&files)
    }

    #[test]
    fn a_link_without_carrier_receives_nothing() {
        let grade = |files: &[(&str, &str)]| state(&with(files).facts, &silent(), FOLDER).grade;
        assert_eq!(grade(&[("operstate", "up\n"), ("carrier", "1\n")]), Grade::Ok);
        assert_eq!(grade(&[("operstate", "down\n"), ("carrier", "0\n")]), Grade::Bad);
        assert_eq!(grade(&[("operstate", "down\n")]), Grade::Bad);
        let half = [("operstate", "up"), ("carrier", "1"), ("duplex", "half")];
        assert_eq!(grade(&half), Grade::Warn);
    }

    #[test]
    fn merged_frames_fit_a_block_and_giants_do_not() {
        assert_eq!(frames(&with(&[("mtu", "1500\n")]).facts, FOLDER).grade, Grade::Ok);
        let giant = frames(&with(&[("mtu", "2000000\n")]).facts, FOLDER);
        assert_eq!(giant.grade, Grade::Warn);
        assert_eq!(giant.advice, ["kprobe --block-size 2048 ..."]);
    }

    #[test]
    fn a_fast_link_fills_the_ring_before_a_stall_is_over() {
        let slow = with(&[("speed", "1000\n"), ("mtu", "1500\n")]);
        assert_eq!(depth(&slow.facts, FOLDER).grade, Grade::Ok);
        // 25 Gbit/s are 2031 packets in a ms, each 1600 bytes of ring: 41 ms.
        let fast = with(&[("speed", "25000\n"), ("mtu", "1500\n")]);
        let finding = depth(&fast.facts, FOLDER);
        assert_eq!(finding.grade, Grade::Note);
        assert!(finding.evidence.starts_with("128 MiB last 41 ms"), "{}", finding.evidence);
        assert_eq!(finding.advice, ["kprobe --buffer-size 384 ... (for whole packets)"]);
        assert_eq!(depth(&with(&[("speed", "-1\n")]).facts, FOLDER).grade, Grade::Ok);
    }
}
