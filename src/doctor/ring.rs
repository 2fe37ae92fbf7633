//! The device's receive ring and its interrupt coalescing.

use super::drops::Counters;
use super::finding::{Finding, Grade};
use super::nic::Nic;

/// A longer wait makes itself felt in round-trip times of a local network.
const LONG_WAIT_US: u32 = 100;

/// Judges the size of the receive ring; that it overflowed is the reason to enlarge it.
pub fn size(nic: &Nic, counters: Option<&Counters>) -> Finding {
    const CHECK: &str = "receive ring";
    let ring = match &nic.ring {
        Ok(ring) if ring.max > 0 => ring,
        _ if !nic.hardware => return Finding::new(CHECK, Grade::Ok, "none: a virtual interface"),
        Ok(_) => return Finding::new(CHECK, Grade::Unknown, "the driver tells no sizes"),
        Err(error) => return Finding::unread(CHECK, "the ring's size", error),
    };
    let lost = counters.map_or(0, Counters::ring_losses);
    let evidence = format!(
        "{} of at most {} descriptors; {lost} frames lost for want of one since the interface came",
        ring.size, ring.max
    );
    if ring.size >= ring.max {
        let grade = if lost > 0 { Grade::Note } else { Grade::Ok };
        return Finding::new(CHECK, grade, evidence);
    }
    let grade = if lost > 0 { Grade::Warn } else { Grade::Note };
    Finding::new(CHECK, grade, evidence).advise(format!(
        "ethtool -G {} rx {}",
        nic.word(),
        ring.max
    ))
}

/// Judges how long the device keeps frames back: packets get their time only after that.
pub fn coalescing(nic: &Nic) -> Finding {
    const CHECK: &str = "coalescing";
    let setting = match &nic.coalescing {
        Ok(setting) => setting,
        Err(_) if !nic.hardware => {
            return Finding::new(CHECK, Grade::Ok, "none: a virtual interface");
        }
        Err(error) => return Finding::unread(CHECK, "interrupt coalescing", error),
    };
    let wait_us = setting.receive_us;
    let adaptive = if setting.adaptive { ", adaptive" } else { "" };
    let evidence = format!("rx-usecs {wait_us}, rx-frames {}{adaptive}", setting.receive_frames);
    if wait_us <= LONG_WAIT_US {
        return Finding::new(CHECK, Grade::Ok, evidence);
    }
    let evidence = format!("{evidence}. Packet times, and so round-trip times, err by up to this");
    Finding::new(CHECK, Grade::Note, evidence)
        .advise(format!("ethtool -C {} adaptive-rx off rx-usecs 50", nic.word()))
}

#[cfg(test)]
mod tests {
    use std::io;

    use capture::ethtool::{Coalescing, ReceiveRing};

    use super::super::nic::tests::silent;
    use super::*;

    fn ring(used: u32, max: u32, missed: u64) -> Finding {
        let nic = Nic { ring: Ok(ReceiveRing { size: used, max }), ..silent() };
        let counters = Counters { missed, ..Counters::default() };
        size(&nic, Some(&counters))
    }

    #[test]
    fn a_small_ring_is_worth_a_warning_once_it_overflowed() {
        assert_eq!(ring(512, 4096, 0).grade, Grade::Note);
        assert_eq!(ring(512, 4096, 3).grade, Grade::Warn);
        assert_eq!(ring(512, 4096, 3).advice, ["ethtool -G eth0 rx 4096"]);
        assert_eq!(ring(4096, 4096, 0).grade, Grade::Ok);
    }

    #[test]
    fn a_driver_that_says_nothing_leaves_it_unknown_unless_there_is_no_device() {
        assert_eq!(size(&silent(), None).grade, Grade::Unknown);
        let virtual_nic = Nic { hardware: false, ..silent() };
        assert_eq!(size(&virtual_nic, None).grade, Grade::Ok);
        let zeros = Nic { ring: Ok(ReceiveRing { size: 0, max: 0 }), ..silent() };
        assert_eq!(size(&zeros, None).grade, Grade::Unknown);
    }

    #[test]
    fn long_waits_blur_packet_times() {
        let with = |receive_us| {
            let setting = Coalescing { receive_us, receive_frames: 0, adaptive: true };
            coalescing(&Nic { coalescing: io::Result::Ok(setting), ..silent() })
        };
        assert_eq!(with(50).grade, Grade::Ok);
        assert_eq!(with(250).grade, Grade::Note);
        assert_eq!(with(250).advice, ["ethtool -C eth0 adaptive-rx off rx-usecs 50"]);
    }
}
