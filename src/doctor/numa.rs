//! Memory nodes: a ring on another node than the NIC costs a trip between sockets per cache line.

use std::collections::BTreeSet;

use super::facts::{Facts, cpu_list, cpu_text};
use super::finding::{Finding, Grade};

const CHECK: &str = "numa";

/// Judges whether readers may run on the NIC's own node.
pub fn check(facts: &Facts, folder: &str, allowed: &BTreeSet<u32>) -> Finding {
    let node = facts.number(&format!("{folder}/device/numa_node")).ok().filter(|&node| node >= 0);
    let Some(node) = node else {
        return Finding::new(CHECK, Grade::Ok, "the interface belongs to no node");
    };
    let list = facts.text(&format!("sys/devices/system/node/node{node}/cpulist"));
    let Some(near) = list.ok().and_then(|text| cpu_list(&text)) else {
        return Finding::new(CHECK, Grade::Unknown, format!("the CPUs of node {node} are unknown"));
    };
    let both: BTreeSet<u32> = near.intersection(allowed).copied().collect();
    let evidence = format!(
        "node {node} with CPUs {}; this process may run on {}",
        cpu_text(&near),
        cpu_text(allowed)
    );
    if both == *allowed {
        return Finding::new(CHECK, Grade::Ok, evidence);
    }
    if both.is_empty() {
        let evidence = format!("{evidence}, all of them on other nodes");
        let near = cpu_text(&near);
        return Finding::new(CHECK, Grade::Warn, evidence)
            .advise(format!("taskset -c {near} kprobe --cpus {near} ..."));
    }
    let evidence = format!("{evidence}, partly on other nodes");
    Finding::new(CHECK, Grade::Note, evidence)
        .advise(format!("kprobe --cpus {} ...", cpu_text(&both)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::host;
    use super::*;

    fn with(node: &str, allowed: &str) -> Finding {
        let host = host(&[
            ("sys/class/net/eth0/device/numa_node", node),
            ("sys/devices/system/node/node1/cpulist", "8-15\n"),
        ]);
        check(&host.facts, "sys/class/net/eth0", &cpu_list(allowed).unwrap())
    }

    #[test]
    fn readers_belong_on_the_nic_s_node() {
        assert_eq!(with("1\n", "8-15").grade, Grade::Ok);
        assert_eq!(with("1\n", "0-15").advice, ["kprobe --cpus 8-15 ..."]);
        let far = with("1\n", "0-7");
        assert_eq!(far.grade, Grade::Warn);
        assert_eq!(far.advice, ["taskset -c 8-15 kprobe --cpus 8-15 ..."]);
    }

    #[test]
    fn a_host_without_nodes_is_fine() {
        assert_eq!(with("-1\n", "0").grade, Grade::Ok);
        assert_eq!(with("3\n", "0").grade, Grade::Unknown);
    }
}
