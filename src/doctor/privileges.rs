//! Which of the capabilities that a capture uses this process has (capabilities(7)).

use super::facts::Facts;
use super::finding::{Finding, Grade};

const CHECK: &str = "privileges";
const NET_ADMIN: u32 = 12;
const NET_RAW: u32 = 13;
const SYS_ADMIN: u32 = 21;
const BPF: u32 = 39;
const GRANT: &str = "setcap cap_net_raw,cap_net_admin,cap_bpf+ep \"$(command -v kprobe)\"";

/// Judges the effective capabilities of this thread.
pub fn check(facts: &Facts) -> Finding {
    let status = match facts.text("proc/thread-self/status") {
        Ok(status) => status,
        Err(error) => return Finding::unread(CHECK, "the capabilities", &error),
    };
    let Some(set) = field(&status, "CapEff").and_then(|hex| u64::from_str_radix(hex, 16).ok())
    else {
        return Finding::new(CHECK, Grade::Unknown, "/proc/self/status tells no CapEff");
    };
    let has = |capability: u32| set >> capability & 1 == 1;
    let open_bpf = facts.number("proc/sys/kernel/unprivileged_bpf_disabled").is_ok_and(|n| n == 0);
    let bpf = has(BPF) || has(SYS_ADMIN) || open_bpf;
    let fixed = field(&status, "NoNewPrivs") == Some("1");
    judge(set, has(NET_RAW), has(NET_ADMIN), bpf, fixed)
}

fn judge(set: u64, raw: bool, admin: bool, bpf: bool, fixed: bool) -> Finding {
    let mut evidence = format!("effective capabilities {set:#x}");
    let grade = if raw {
        evidence += ": may open packet sockets";
        Grade::Ok
    } else {
        evidence += ": no CAP_NET_RAW, so the kernel refuses packet sockets";
        Grade::Bad
    };
    let mut missing = Vec::new();
    if !admin {
        missing.push("no CAP_NET_ADMIN (settings of the interface cannot be changed)");
    }
    if !bpf {
        missing.push(
            "no CAP_BPF (readers are chosen by the kernel's hash, some 65 ns a packet dearer)",
        );
    }
    if !missing.is_empty() {
        evidence += "; ";
        evidence += &missing.join("; ");
    }
    if fixed && !raw {
        evidence += "; no_new_privs is set, so capabilities of the file have no effect here";
    }
    let grade = if missing.is_empty() { grade } else { grade.max(Grade::Note) };
    let finding = Finding::new(CHECK, grade, evidence);
    if raw && bpf { finding } else { finding.advise(GRANT) }
}

/// Value of a line `name:\tvalue` of /proc/self/status (proc_pid_status(5)).
pub fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let lines = status.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(key, _)| *key == name).map(|(_, value)| value.trim()).next()
}

#[cfg(test)]
mod tests {
    use super::super::testing::host;
    use super::*;

    fn with(capabilities: &str, bpf_disabled: &str) -> Finding {
        let status = format!("Name:\tkprobe\nCapEff:\t{capabilities}\nNoNewPrivs:\t0\n");
        let host = host(&[
            ("proc/thread-self/status", status.as_str()),
            ("proc/sys/kernel/unprivileged_bpf_disabled", bpf_disabled),
        ]);
        check(&host.facts)
    }

    #[test]
    fn root_may_do_all() {
        let finding = with("000001ffffffffff", "2");
        assert_eq!((finding.grade, finding.advice.len()), (Grade::Ok, 0));
    }

    #[test]
    fn without_net_raw_there_is_no_capture() {
        let finding = with("0000000000000000", "2");
        assert_eq!(finding.grade, Grade::Bad);
        assert!(finding.evidence.contains("no CAP_NET_RAW"), "{}", finding.evidence);
        assert_eq!(finding.advice, [GRANT]);
    }

    #[test]
    fn net_raw_alone_is_enough_where_anybody_may_load_filters() {
        let finding = with("0000000000002000", "0");
        assert_eq!((finding.grade, finding.advice.len()), (Grade::Note, 0));
        assert_eq!(with("0000000000002000", "2").advice, [GRANT]);
    }

    #[test]
    fn a_status_without_capabilities_is_unknown() {
        let host = host(&[("proc/thread-self/status", "Name:\tx\nCapEff:\tzz\n")]);
        assert_eq!(check(&host.facts).grade, Grade::Unknown);
    }
}
