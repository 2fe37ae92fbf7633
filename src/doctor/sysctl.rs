//! Settings under net.core that a capture feels (Documentation/admin-guide/sysctl/net.rst).

use super::facts::Facts;
use super::finding::{Finding, Grade};

const CHECK: &str = "net.core";
const FOLDER: &str = "proc/sys/net/core";
/// The kernel's default; fewer frames wait on the way to another CPU.
const BACKLOG_FRAMES: i64 = 1000;

/// Judges the settings; the worst of them gives the grade.
pub fn check(facts: &Facts) -> Finding {
    let read = |name: &str| facts.number(&format!("{FOLDER}/{name}")).ok();
    let names = ["bpf_jit_enable", "netdev_max_backlog", "netdev_budget", "netdev_tstamp_prequeue"];
    let values: Vec<String> =
        names.iter().filter_map(|name| Some(format!("{name} {}", read(name)?))).collect();
    if values.is_empty() {
        // A network namespace shows only the settings of its own.
        return Finding::new(CHECK, Grade::Unknown, "not visible from this network namespace");
    }
    let mut finding = Finding::new(CHECK, Grade::Ok, values.join(", "));
    if read("bpf_jit_enable") == Some(0) {
        finding.grade = Grade::Warn;
        finding.evidence += ". Filters and steering are interpreted for every packet";
        finding = finding.advise("sysctl -w net.core.bpf_jit_enable=1");
    }
    if read("netdev_max_backlog").is_some_and(|frames| frames < BACKLOG_FRAMES) {
        finding.grade = Grade::Warn;
        finding.evidence += ". The backlog of a CPU is shorter than the kernel's default";
        finding = finding.advise("sysctl -w net.core.netdev_max_backlog=10000");
    }
    if read("netdev_tstamp_prequeue") == Some(0) {
        finding.grade = finding.grade.max(Grade::Note);
        finding.evidence += ". Packets get their time only after the wait for their CPU (RPS)";
        finding = finding.advise("sysctl -w net.core.netdev_tstamp_prequeue=1");
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::super::testing::host;
    use super::*;

    fn with(jit: &str, backlog: &str, prequeue: &str) -> Finding {
        let host = host(&[
            ("proc/sys/net/core/bpf_jit_enable", jit),
            ("proc/sys/net/core/netdev_max_backlog", backlog),
            ("proc/sys/net/core/netdev_budget", "300\n"),
            ("proc/sys/net/core/netdev_tstamp_prequeue", prequeue),
        ]);
        check(&host.facts)
    }

    #[test]
    fn the_kernel_s_defaults_are_fine() {
        let finding = with("1\n", "1000\n", "1\n");
        assert_eq!(finding.grade, Grade::Ok);
        assert_eq!(
            finding.evidence,
            "bpf_jit_enable 1, netdev_max_backlog 1000, netdev_budget 300, netdev_tstamp_prequeue 1"
        );
    }

    #[test]
    fn an_interpreted_filter_and_a_short_backlog_each_have_a_command() {
        let finding = with("0", "100", "0");
        assert_eq!(finding.grade, Grade::Warn);
        assert_eq!(finding.advice.len(), 3);
    }

    #[test]
    fn another_namespace_hides_them() {
        assert_eq!(check(&host(&[]).facts).grade, Grade::Unknown);
    }
}
