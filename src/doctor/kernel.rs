//! The kernel's version and what it can do for a capture.

use std::io;

use capture::trial::Abilities;

use super::facts::Facts;
use super::finding::{Finding, Grade};

const CHECK: &str = "kernel";

/// Judges the kernel by what it accepted, or by its version where it could not be asked.
pub fn check(facts: &Facts, abilities: &io::Result<Abilities>) -> Finding {
    let release = match facts.text("proc/sys/kernel/osrelease") {
        Ok(release) => release,
        Err(error) => return Finding::unread(CHECK, "the kernel's release", &error),
    };
    match abilities {
        Ok(abilities) => tried(&release, *abilities),
        Err(error) => by_version(&release, error),
    }
}

/// Major and minor number of a release such as `6.18.44-generic`.
pub fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn tried(release: &str, abilities: Abilities) -> Finding {
    let Abilities { tpacket_v3, offload_header, .. } = abilities;
    let features = [
        (tpacket_v3, "TPACKET_V3"),
        (offload_header, "offload header"),
        (abilities.ebpf_groups, "eBPF groups"),
        (abilities.ignore_outgoing, "ignore-outgoing option"),
        (abilities.group_ignore_outgoing, "ignore-outgoing flag of groups"),
    ];
    let names = |wanted: bool| {
        let names = features.iter().filter(|(there, _)| *there == wanted).map(|(_, name)| *name);
        names.collect::<Vec<_>>().join(", ")
    };
    let mut evidence = format!("Linux {release} accepts {}", names(true));
    if names(false).is_empty() {
        return Finding::new(CHECK, grade_of_hash(release, &mut evidence), evidence);
    }
    evidence += &format!("; refuses {}", names(false));
    let grade = if !tpacket_v3 {
        evidence += ". Without a ring every packet costs a system call";
        Grade::Bad
    } else if !offload_header {
        evidence += ". Merged frames cannot be told apart: switch offloads off";
        Grade::Warn
    } else {
        Grade::Note
    };
    let grade = grade.max(grade_of_hash(release, &mut evidence));
    Finding::new(CHECK, grade, evidence)
}

fn by_version(release: &str, error: &io::Error) -> Finding {
    let mut evidence = format!("Linux {release}; its features could not be tried ({error})");
    let grade = match version(release) {
        Some(version) if version < (3, 2) => {
            evidence += ". TPACKET_V3 rings came with Linux 3.2";
            Grade::Bad
        }
        _ => Grade::Unknown.max(grade_of_hash(release, &mut evidence)),
    };
    Finding::new(CHECK, grade, evidence)
}

/// Linux 4.2 to 4.7 hashed the two directions of a conversation differently.
fn grade_of_hash(release: &str, evidence: &mut String) -> Grade {
    match version(release) {
        Some(version) if ((4, 2)..(4, 8)).contains(&version) => {
            *evidence += ". Fanout hashes of Linux 4.2 to 4.7 are not symmetric on every build: \
                          capture with one reader";
            Grade::Warn
        }
        _ => Grade::Ok,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::host;
    use super::*;

    const ALL: Abilities = Abilities {
        tpacket_v3: true,
        offload_header: true,
        ignore_outgoing: true,
        group_ignore_outgoing: true,
        ebpf_groups: true,
    };

    fn grade(release: &str, abilities: &io::Result<Abilities>) -> Grade {
        let host = host(&[("proc/sys/kernel/osrelease", release)]);
        check(&host.facts, abilities).grade
    }

    #[test]
    fn a_kernel_that_can_all_is_fine() {
        assert_eq!(grade("6.18.44-generic\n", &Ok(ALL)), Grade::Ok);
    }

    #[test]
    fn a_missing_ring_is_worse_than_a_missing_flag() {
        assert_eq!(
            grade("5.15.0", &Ok(Abilities { group_ignore_outgoing: false, ..ALL })),
            Grade::Note
        );
        assert_eq!(grade("4.14.0", &Ok(Abilities { offload_header: false, ..ALL })), Grade::Warn);
        assert_eq!(grade("3.0.1", &Ok(Abilities { tpacket_v3: false, ..ALL })), Grade::Bad);
    }

    #[test]
    fn without_privilege_the_version_speaks() {
        let refused = || Err(io::Error::from_raw_os_error(1));
        assert_eq!(grade("6.1.0", &refused()), Grade::Unknown);
        assert_eq!(grade("4.4.0-210", &refused()), Grade::Warn);
        assert_eq!(grade("2.6.32", &refused()), Grade::Bad);
    }

    #[test]
    fn versions_are_read_from_all_kinds_of_releases() {
        assert_eq!(version("6.18.44-fc"), Some((6, 18)));
        assert_eq!(version("5.10+"), Some((5, 10)));
        assert_eq!(version("six"), None);
    }
}
