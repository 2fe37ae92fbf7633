//! Offloads that make one frame of many, and whether the probe sees through them.
//!
//! With the offload header (PACKET_VNET_HDR) merged frames carry the size of their segments, so
//! that counts are those of the wire; without it each merged frame counts as one.

use std::io;

use capture::trial::Abilities;

use super::finding::{Finding, Grade};
use super::nic::Nic;

/// Kernel names and what `ethtool -K` calls them. GRO on receive, the others on sending.
const MERGING: &[(&str, &str)] = &[
    ("rx-gro", "gro"),
    ("rx-gro-hw", "rx-gro-hw"),
    ("rx-gro-list", "rx-gro-list"),
    ("rx-udp-gro-forwarding", "rx-udp-gro-forwarding"),
    ("tx-generic-segmentation", "gso"),
    ("tx-tcp-segmentation", "tso"),
    ("tx-tcp6-segmentation", "tx-tcp6-segmentation"),
    ("tx-udp-segmentation", "tx-udp-segmentation"),
];
const LRO: &str = "rx-lro";

/// Judges the offloads that merge frames.
pub fn merging(nic: &Nic, abilities: &io::Result<Abilities>) -> Finding {
    const CHECK: &str = "offloads";
    if let Err(error) = &nic.features {
        return Finding::unread(CHECK, "the offloads", error);
    }
    let on = |name: &str| nic.feature(name).is_some_and(|feature| feature.active);
    let merging: Vec<&str> =
        MERGING.iter().filter(|(kernel, _)| on(kernel)).map(|(_, short)| *short).collect();
    let lro = on(LRO);
    let listed = if merging.is_empty() { "none".to_owned() } else { merging.join(", ") };
    let evidence = format!("on: {listed}; lro {}", if lro { "on" } else { "off" });
    if lro {
        let evidence = format!(
            "{evidence}. LRO merges frames in the device and forgets their sizes, so that packets \
             and bytes are estimates"
        );
        return Finding::new(CHECK, Grade::Bad, evidence)
            .advise(format!("ethtool -K {} lro off", nic.word()));
    }
    match abilities {
        _ if merging.is_empty() => Finding::new(CHECK, Grade::Ok, evidence),
        Ok(Abilities { offload_header: true, .. }) => {
            let evidence = format!(
                "{evidence}. The kernel tells the size of segments in merged frames \
                 (PACKET_VNET_HDR with TPACKET_V3), so counts are those of the wire"
            );
            Finding::new(CHECK, Grade::Ok, evidence)
        }
        Ok(_) => {
            let off: Vec<String> = merging.iter().map(|name| format!("{name} off")).collect();
            let evidence = format!(
                "{evidence}. This kernel does not tell the size of segments: a merged frame counts \
                 as one packet"
            );
            Finding::new(CHECK, Grade::Bad, evidence).advise(format!(
                "ethtool -K {} {}",
                nic.word(),
                off.join(" ")
            ))
        }
        Err(error) => {
            let evidence = format!(
                "{evidence}. Whether the kernel tells the size of segments could not be tried: \
                 {error}"
            );
            Finding::new(CHECK, Grade::Unknown, evidence)
        }
    }
}

/// Tells where VLAN tags are found.
pub fn vlan(nic: &Nic) -> Finding {
    const CHECK: &str = "vlan tags";
    let state = |name: &str| match nic.feature(name) {
        Some(feature) if feature.active => "on",
        Some(_) => "off",
        None => "unknown",
    };
    let evidence = format!(
        "rx-vlan-hw-parse {}, rx-vlan-filter {}. The tag of a received frame comes beside the \
         frame in either case, that of a sent one within it; both are read",
        state("rx-vlan-hw-parse"),
        state("rx-vlan-filter")
    );
    let filtered = nic.feature("rx-vlan-filter").is_some_and(|f| f.active && nic.hardware);
    if !filtered {
        return Finding::new(CHECK, Grade::Ok, evidence);
    }
    let evidence = format!(
        "{evidence}. Outside promiscuous mode the device keeps frames of VLANs that this host \
         does not use"
    );
    Finding::new(CHECK, Grade::Note, evidence)
        .advise(format!("ethtool -K {} rx-vlan-filter off", nic.word()))
}

#[cfg(test)]
mod tests {
    use super::super::nic::tests::{features, silent};
    use super::*;

    fn abilities(offload_header: bool) -> io::Result<Abilities> {
        Ok(Abilities {
            tpacket_v3: true,
            offload_header,
            ignore_outgoing: true,
            group_ignore_outgoing: true,
            ebpf_groups: true,
        })
    }

    fn nic(states: &[(&str, bool)]) -> Nic {
        Nic { features: features(states), ..silent() }
    }

    const USUAL: &[(&str, bool)] =
        &[("rx-gro", true), ("tx-tcp-segmentation", true), ("rx-lro", false)];

    #[test]
    fn merged_frames_are_fine_where_the_kernel_tells_their_segments() {
        let finding = merging(&nic(USUAL), &abilities(true));
        assert_eq!(finding.grade, Grade::Ok);
        assert!(finding.evidence.starts_with("on: gro, tso; lro off."), "{}", finding.evidence);
    }

    #[test]
    fn without_the_header_offloads_must_go() {
        let finding = merging(&nic(USUAL), &abilities(false));
        assert_eq!(finding.grade, Grade::Bad);
        assert_eq!(finding.advice, ["ethtool -K eth0 gro off tso off"]);
    }

    #[test]
    fn lro_is_bad_whatever_the_kernel_can_do() {
        let finding = merging(&nic(&[("rx-lro", true)]), &abilities(true));
        assert_eq!(finding.grade, Grade::Bad);
        assert_eq!(finding.advice, ["ethtool -K eth0 lro off"]);
    }

    #[test]
    fn without_privilege_it_stays_open_unless_nothing_is_merged() {
        let refused = Err(io::Error::from_raw_os_error(1));
        assert_eq!(merging(&nic(USUAL), &refused).grade, Grade::Unknown);
        assert_eq!(merging(&nic(&[("rx-gro", false)]), &refused).grade, Grade::Ok);
    }

    #[test]
    fn a_vlan_filter_in_the_device_hides_foreign_vlans() {
        assert_eq!(vlan(&nic(&[("rx-vlan-hw-parse", true)])).grade, Grade::Ok);
        let finding = vlan(&nic(&[("rx-vlan-filter", true)]));
        assert_eq!(finding.grade, Grade::Note);
        assert_eq!(finding.advice, ["ethtool -K eth0 rx-vlan-filter off"]);
    }
}
