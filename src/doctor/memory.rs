//! Memory: what is free or allowed against what a probe reserves, and the pages it gets.

use super::cgroup::{Groups, groups};
use super::facts::Facts;
use super::finding::{Finding, Grade};
use super::kernel;

/// Default of `--max-memory`: the ceiling for rings and tables.
const NEED_MIB: u64 = 1024;
const THP: &str = "sys/kernel/mm/transparent_hugepage/enabled";
/// Programs were charged to the locked-memory limit before Linux 5.11 (commit 5b4cf1f0).
const CHARGED_UNTIL: (u32, u32) = (5, 11);
const LOCKED_ENOUGH_BYTES: u64 = 1 << 20;

/// Judges free memory and the control group's limit.
pub fn room(facts: &Facts) -> Finding {
    const CHECK: &str = "memory";
    let info = match facts.text("proc/meminfo") {
        Ok(info) => info,
        Err(error) => return Finding::unread(CHECK, "the free memory", &error),
    };
    let Some(free_mib) = available_mib(&info) else {
        return Finding::new(CHECK, Grade::Unknown, "/proc/meminfo tells no MemAvailable");
    };
    let limit = groups(facts, "memory").and_then(|groups| tightest(facts, &groups));
    let allowed_mib = limit.as_ref().map_or(u64::MAX, |limit| limit.left_mib);
    let room_mib = free_mib.min(allowed_mib);
    let mut evidence = format!("{free_mib} MiB available");
    if let Some(Limit { left_mib, limit_mib, folder }) = limit {
        evidence += &format!(", {left_mib} MiB left of the {limit_mib} MiB allowed by /{folder}");
    }
    evidence += &format!("; rings and tables reserve at most {NEED_MIB} MiB (--max-memory)");
    if room_mib >= NEED_MIB + NEED_MIB / 4 {
        return Finding::new(CHECK, Grade::Ok, evidence);
    }
    let grade = if room_mib < NEED_MIB { Grade::Bad } else { Grade::Warn };
    // Exporter, decoders and the allocator want their share.
    let fits_mib = (room_mib / 4 * 3).max(1);
    Finding::new(CHECK, grade, evidence).advise(format!("kprobe --max-memory {fits_mib} ..."))
}

/// Judges whether tables can lie on 2 MiB pages.
pub fn huge_pages(facts: &Facts) -> Finding {
    const CHECK: &str = "huge pages";
    match facts.text(THP) {
        Ok(text) if text.contains("[never]") => Finding::new(
            CHECK,
            Grade::Warn,
            format!(
                "transparent huge pages: {text}. Look-ups in a large table take up to 1.7 times \
                 as long on 4 KiB pages"
            ),
        )
        .advise(format!("echo madvise > /{THP}")),
        Ok(text) => Finding::new(CHECK, Grade::Ok, format!("transparent huge pages: {text}")),
        Err(error) => Finding::unread(CHECK, "the setting of transparent huge pages", &error),
    }
}

/// Judges the limit of locked memory, to which old kernels charge eBPF programs.
pub fn locked(facts: &Facts) -> Finding {
    const CHECK: &str = "locked memory";
    let limits = match facts.text("proc/thread-self/limits") {
        Ok(limits) => limits,
        Err(error) => return Finding::unread(CHECK, "the limits of this process", &error),
    };
    let Some(soft) = limits.lines().find_map(|line| line.strip_prefix("Max locked memory")) else {
        return Finding::new(CHECK, Grade::Unknown, "/proc/self/limits tells no locked memory");
    };
    let soft = soft.split_whitespace().next().unwrap_or_default();
    let release = facts.text("proc/sys/kernel/osrelease").unwrap_or_default();
    let charged = kernel::version(&release).is_some_and(|version| version < CHARGED_UNTIL);
    // "unlimited" is no number.
    let scarce = soft.parse().is_ok_and(|bytes: u64| bytes < LOCKED_ENOUGH_BYTES);
    let evidence = format!("RLIMIT_MEMLOCK {soft}");
    if !charged {
        let evidence = format!("{evidence}; rings and eBPF programs are not charged to it");
        return Finding::new(CHECK, Grade::Ok, evidence);
    }
    if !scarce {
        return Finding::new(CHECK, Grade::Ok, evidence);
    }
    let evidence = format!("{evidence}; before Linux 5.11 the steering program is charged to it");
    Finding::new(CHECK, Grade::Note, evidence).advise("ulimit -l unlimited")
}

/// `MemAvailable` of /proc/meminfo, which is in KiB.
fn available_mib(info: &str) -> Option<u64> {
    let value = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(value.split_whitespace().next()?.parse::<u64>().ok()? / 1024)
}

#[derive(Debug, PartialEq, Eq)]
struct Limit {
    left_mib: u64,
    limit_mib: u64,
    folder: String,
}

/// The limit that leaves least, if there is any.
fn tightest(facts: &Facts, groups: &Groups) -> Option<Limit> {
    let (limit, usage) = if groups.unified {
        ("memory.max", "memory.current")
    } else {
        ("memory.limit_in_bytes", "memory.usage_in_bytes")
    };
    let read = |folder: &String| {
        // "max" is no number; version 1 says so with a number beyond any memory.
        let bytes = |name| u64::try_from(facts.number(&format!("{folder}/{name}")).ok()?).ok();
        let limit = bytes(limit).filter(|&limit| limit < 1 << 50)?;
        let left = limit.saturating_sub(bytes(usage).unwrap_or(0));
        Some(Limit { left_mib: left >> 20, limit_mib: limit >> 20, folder: folder.clone() })
    };
    groups.folders.iter().filter_map(read).min_by_key(|limit| limit.left_mib)
}

#[cfg(test)]
mod tests {
    use super::super::testing::host;
    use super::*;

    const GIB: u64 = 1 << 30;

    fn room_with(available_kib: &str, max: &str, current: &str) -> Finding {
        let info = format!("MemTotal: 99999999 kB\nMemAvailable:   {available_kib} kB\n");
        let host = host(&[
            ("proc/meminfo", info.as_str()),
            ("proc/thread-self/mountinfo", "28 24 0:26 / /cg rw - cgroup2 cgroup2 rw\n"),
            ("proc/thread-self/cgroup", "0::/unit\n"),
            ("cg/cgroup.controllers", "cpu memory"),
            ("cg/unit/memory.max", max),
            ("cg/unit/memory.current", current),
        ]);
        room(&host.facts)
    }

    #[test]
    fn enough_memory_without_a_limit_is_fine() {
        assert_eq!(room_with("8388608", "max\n", "0").grade, Grade::Ok);
    }

    #[test]
    fn the_group_s_limit_counts_less_what_is_used() {
        let (limit, used) = ((2 * GIB).to_string(), (GIB + GIB / 2).to_string());
        let finding = room_with("8388608", &limit, &used);
        assert_eq!(finding.grade, Grade::Bad);
        assert!(finding.evidence.contains("512 MiB left of the 2048 MiB allowed by /cg/unit"));
        assert_eq!(finding.advice, ["kprobe --max-memory 384 ..."]);
    }

    #[test]
    fn little_free_memory_is_worth_a_warning() {
        assert_eq!(room_with("1153434", "max", "0").grade, Grade::Warn);
    }

    #[test]
    fn huge_pages_that_are_never_given_cost_time() {
        let never = host(&[(THP, "always madvise [never]\n")]);
        let finding = huge_pages(&never.facts);
        assert_eq!(finding.grade, Grade::Warn);
        assert_eq!(finding.advice, ["echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"]);
        let asked = host(&[(THP, "always [madvise] never\n")]);
        assert_eq!(huge_pages(&asked.facts).grade, Grade::Ok);
    }

    #[test]
    fn locked_memory_matters_to_old_kernels_only() {
        let limits = "Limit Soft Limit Hard Limit Units\nMax locked memory   65536  65536  bytes\n";
        let with = |release| {
            let host = host(&[
                ("proc/thread-self/limits", limits),
                ("proc/sys/kernel/osrelease", release),
            ]);
            locked(&host.facts)
        };
        assert_eq!(with("6.1.0").grade, Grade::Ok);
        assert_eq!(with("5.4.0").advice, ["ulimit -l unlimited"]);
    }
}
