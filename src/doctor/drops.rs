//! An interface's own counters of what it received and lost (`/sys/class/net/IF/statistics`,
//! Documentation/ABI/testing/sysfs-class-net-statistics).

use super::facts::Facts;
use super::finding::{Finding, Grade};
use super::nic::Nic;

const CHECK: &str = "interface drops";

/// Receive counters since the interface came up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames received.
    pub packets: u64,
    /// Frames the device lost because the host had no buffer.
    pub missed: u64,
    /// Frames that overran the device's memory.
    pub fifo: u64,
    /// Frames that were longer than a buffer or overran the ring.
    pub over: u64,
    /// Damaged frames.
    pub damaged: u64,
    /// Frames dropped behind the device; a capture has seen most of them.
    pub dropped: u64,
}

impl Counters {
    /// Reads the counters below an interface's directory; one that is not there is 0.
    pub fn read(facts: &Facts, folder: &str) -> Option<Self> {
        let number = |name: &str| {
            let value = facts.number(&format!("{folder}/statistics/{name}")).ok()?;
            u64::try_from(value).ok()
        };
        let or_none = |name: &str| number(name).unwrap_or(0);
        Some(Self {
            packets: number("rx_packets")?,
            missed: or_none("rx_missed_errors"),
            fifo: or_none("rx_fifo_errors"),
            over: or_none("rx_over_errors"),
            damaged: or_none("rx_crc_errors").saturating_add(or_none("rx_frame_errors")),
            dropped: or_none("rx_dropped"),
        })
    }

    /// Frames that were lost for want of a receive buffer.
    pub fn ring_losses(&self) -> u64 {
        self.missed.saturating_add(self.fifo).saturating_add(self.over)
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(before.packets),
            missed: self.missed.saturating_sub(before.missed),
            fifo: self.fifo.saturating_sub(before.fifo),
            over: self.over.saturating_sub(before.over),
            damaged: self.damaged.saturating_sub(before.damaged),
            dropped: self.dropped.saturating_sub(before.dropped),
        }
    }
}

/// Judges what was lost between two readings, then what was lost before.
pub fn check(nic: &Nic, before: Option<&Counters>, after: Option<&Counters>) -> Finding {
    let (Some(before), Some(after)) = (before, after) else {
        return Finding::new(CHECK, Grade::Unknown, "the counters could not be read");
    };
    let now = after.since(before);
    let evidence = format!(
        "{} frames received in the last second, lost {} for want of a buffer, {} damaged, {} \
         dropped later; in all {}, {}, {}",
        now.packets,
        now.ring_losses(),
        now.damaged,
        now.dropped,
        after.ring_losses(),
        after.damaged,
        after.dropped
    );
    let name = nic.word();
    if now.ring_losses() > 0 {
        let evidence = format!("{evidence}. The host does not empty the ring in time");
        let finding = Finding::new(CHECK, Grade::Bad, evidence);
        return match &nic.ring {
            Ok(ring) if ring.size < ring.max => {
                finding.advise(format!("ethtool -G {name} rx {}", ring.max))
            }
            _ => finding,
        };
    }
    if now.damaged > 0 {
        let evidence = format!("{evidence}. Damaged frames point to a cable or transceiver");
        return Finding::new(CHECK, Grade::Warn, evidence)
            .advise(format!("ethtool -S {name} | grep -i -E 'crc|err'"));
    }
    let grade = match after.ring_losses().saturating_add(after.damaged) {
        0 => Grade::Ok,
        _ => Grade::Note,
    };
    Finding::new(CHECK, grade, evidence)
}

#[cfg(test)]
mod tests {
    use capture::ethtool::ReceiveRing;

    use super::super::nic::tests::silent;
    use super::super::testing::host;
    use super::*;

    const FOLDER: &str = "sys/class/net/eth0";

    #[test]
    fn counters_that_a_driver_lacks_are_zero() {
        let host = host(&[
            ("sys/class/net/eth0/statistics/rx_packets", "1000\n"),
            ("sys/class/net/eth0/statistics/rx_missed_errors", "7\n"),
        ]);
        let counters = Counters::read(&host.facts, FOLDER).unwrap();
        assert_eq!(counters, Counters { packets: 1000, missed: 7, ..Counters::default() });
        assert_eq!(Counters::read(&host.facts, "sys/class/net/eth1"), None);
    }

    #[test]
    fn losses_of_the_last_second_are_bad_and_older_ones_a_note() {
        let clean = Counters { packets: 10, ..Counters::default() };
        let lossy = Counters { packets: 20, missed: 3, ..Counters::default() };
        let nic = Nic { ring: Ok(ReceiveRing { size: 256, max: 4096 }), ..silent() };
        let now = check(&nic, Some(&clean), Some(&lossy));
        assert_eq!(now.grade, Grade::Bad);
        assert_eq!(now.advice, ["ethtool -G eth0 rx 4096"]);
        assert_eq!(check(&nic, Some(&lossy), Some(&lossy)).grade, Grade::Note);
        assert_eq!(check(&nic, Some(&clean), Some(&clean)).grade, Grade::Ok);
        assert_eq!(check(&nic, None, Some(&clean)).grade, Grade::Unknown);
    }

    #[test]
    fn damaged_frames_are_the_cable_s_fault() {
        let clean = Counters::default();
        let damaged = Counters { damaged: 1, ..clean };
        assert_eq!(check(&silent(), Some(&clean), Some(&damaged)).grade, Grade::Warn);
    }
}
