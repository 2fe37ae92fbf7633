//! CPU time: which CPUs are allowed, what the control group grants, what the hypervisor takes.

use std::collections::BTreeSet;

use super::cgroup::groups;
use super::facts::{Facts, cpu_list, cpu_text};
use super::finding::{Finding, Grade, shell_word};
use super::privileges::field;

/// Share of all CPU time, percent, from which stolen time is worth a warning.
const STOLEN_PERCENT: u64 = 5;

/// CPUs that this thread may run on.
pub fn allowed(facts: &Facts) -> Option<BTreeSet<u32>> {
    let status = facts.text("proc/thread-self/status").ok()?;
    cpu_list(field(&status, "Cpus_allowed_list")?).filter(|cpus| !cpus.is_empty())
}

/// Judges the set of allowed CPUs.
pub fn affinity(facts: &Facts) -> Finding {
    const CHECK: &str = "cpus";
    let Some(allowed) = allowed(facts) else {
        return Finding::new(CHECK, Grade::Unknown, "/proc/self/status tells no allowed CPUs");
    };
    let online = facts.text("sys/devices/system/cpu/online").ok();
    let online = online.and_then(|text| cpu_list(&text)).unwrap_or_else(|| allowed.clone());
    let evidence = format!("may run on {} of {}", cpu_text(&allowed), cpu_text(&online));
    if allowed.len() == 1 && online.len() > 1 {
        let evidence = format!("{evidence}: all readers and the exporter share one CPU");
        let all = cpu_text(&online);
        return Finding::new(CHECK, Grade::Warn, evidence)
            .advise(format!("taskset -c {all} kprobe ... (or CPUAffinity={all} in the unit)"));
    }
    if online.len() == 1 {
        let evidence = format!("{evidence}: the kernel's receive work and the probe share one CPU");
        return Finding::new(CHECK, Grade::Note, evidence);
    }
    Finding::new(CHECK, Grade::Ok, evidence)
}

/// Judges the bandwidth that control groups grant, and whether they have stopped anybody yet.
pub fn quota(facts: &Facts) -> Finding {
    const CHECK: &str = "cpu quota";
    let Some(groups) = groups(facts, "cpu") else {
        return Finding::new(CHECK, Grade::Unknown, "the control group could not be read");
    };
    let read = |folder: &String| {
        let (quota_us, period_us) = if groups.unified {
            pair(&facts.text(&format!("{folder}/cpu.max")).ok()?)?
        } else {
            let number = |name| facts.number(&format!("{folder}/{name}")).ok()?.try_into().ok();
            (number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?)
        };
        let percent = quota_us.saturating_mul(100).checked_div(period_us)?;
        let stat = facts.text(&format!("{folder}/cpu.stat")).unwrap_or_default();
        Some((percent, throttled(&stat), folder.clone()))
    };
    let tightest = groups.folders.iter().filter_map(read).min_by_key(|(percent, _, _)| *percent);
    let Some((percent, throttled, folder)) = tightest else {
        return Finding::new(CHECK, Grade::Ok, "no limit");
    };
    let evidence = format!(
        "/{folder} grants {percent} % of one CPU and was throttled {throttled} times so far"
    );
    let grade = match (percent, throttled) {
        (..200, 1..) => Grade::Bad,
        (..200, 0) | (200.., 1..) => Grade::Warn,
        (200.., 0) => return Finding::new(CHECK, Grade::Ok, evidence),
    };
    let evidence = format!("{evidence}. A throttled reader stands still while the ring fills");
    let command = if groups.unified {
        format!("echo max > {}", shell_word(&format!("/{folder}/cpu.max")))
    } else {
        format!("echo -1 > {}", shell_word(&format!("/{folder}/cpu.cfs_quota_us")))
    };
    Finding::new(CHECK, grade, evidence).advise(command)
}

/// Time of all CPUs since boot, in ticks (proc_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    total: u64,
    stolen: u64,
}

impl Times {
    /// Reads the first line of /proc/stat.
    pub fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        // Guest time, the last two columns, is part of user time.
        let ticks: Vec<u64> =
            line.split_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
        let total = ticks.iter().fold(0u64, |sum, &ticks| sum.saturating_add(ticks));
        Some(Self { total, stolen: *ticks.get(7)? })
    }
}

/// Judges the time that the hypervisor gave to others between two readings.
pub fn steal(before: Option<Times>, after: Option<Times>) -> Finding {
    const CHECK: &str = "stolen time";
    let (Some(before), Some(after)) = (before, after) else {
        return Finding::new(CHECK, Grade::Unknown, "/proc/stat tells no stolen time");
    };
    let total = after.total.saturating_sub(before.total).max(1);
    let percent = after.stolen.saturating_sub(before.stolen).saturating_mul(100) / total;
    let evidence = format!("the hypervisor took {percent} % of the last second");
    if percent < STOLEN_PERCENT {
        return Finding::new(CHECK, Grade::Ok, evidence);
    }
    let evidence = format!("{evidence}: readers stand still without their knowing");
    Finding::new(CHECK, Grade::Warn, evidence)
}

/// `quota period` of cpu.max; `None` for `max`, which is no limit.
fn pair(text: &str) -> Option<(u64, u64)> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (u32, u32) = (quota.parse().ok()?, period.parse().ok()?);
    Some((quota.into(), period.into()))
}

fn throttled(stat: &str) -> u64 {
    let count = stat.lines().find_map(|line| line.strip_prefix("nr_throttled "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::testing::host;
    use super::*;

    fn affinity_with(allowed: &str, online: &str) -> Grade {
        let status = format!("Name:\tx\nCpus_allowed_list:\t{allowed}\n");
        let host = host(&[
            ("proc/thread-self/status", status.as_str()),
            ("sys/devices/system/cpu/online", online),
        ]);
        affinity(&host.facts).grade
    }

    #[test]
    fn one_cpu_of_several_is_too_little() {
        assert_eq!(affinity_with("0-7", "0-7\n"), Grade::Ok);
        assert_eq!(affinity_with("3", "0-7\n"), Grade::Warn);
        assert_eq!(affinity_with("0", "0\n"), Grade::Note);
        assert_eq!(affinity_with("", "0\n"), Grade::Unknown);
    }

    fn quota_with(max: &str, throttled: &str) -> Finding {
        let stat = format!("usage_usec 1\nnr_periods 9\nnr_throttled {throttled}\n");
        let host = host(&[
            ("proc/thread-self/mountinfo", "28 24 0:26 / /cg rw - cgroup2 cgroup2 rw\n"),
            ("proc/thread-self/cgroup", "0::/unit\n"),
            ("cg/cgroup.controllers", "cpu memory"),
            ("cg/unit/cpu.max", max),
            ("cg/unit/cpu.stat", stat.as_str()),
        ]);
        quota(&host.facts)
    }

    #[test]
    fn a_quota_below_two_cpus_is_a_danger_and_throttling_a_fact() {
        assert_eq!(quota_with("max 100000\n", "0").grade, Grade::Ok);
        assert_eq!(quota_with("400000 100000\n", "0").grade, Grade::Ok);
        assert_eq!(quota_with("50000 100000\n", "0").grade, Grade::Warn);
        let finding = quota_with("50000 100000\n", "17");
        assert_eq!(finding.grade, Grade::Bad);
        assert!(finding.evidence.starts_with("/cg/unit grants 50 % of one CPU"));
        assert_eq!(finding.advice, ["echo max > /cg/unit/cpu.max"]);
    }

    #[test]
    fn stolen_time_is_a_share_of_the_interval() {
        let at = |text| Times::parse(text);
        let before = at("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1\n");
        assert_eq!(before, Some(Times { total: 1000, stolen: 0 }));
        assert_eq!(steal(before, at("cpu  120 0 120 950 0 0 0 10 0 0\n")).grade, Grade::Warn);
        assert_eq!(steal(before, at("cpu  120 0 120 959 0 0 0 1 0 0\n")).grade, Grade::Ok);
        assert_eq!(steal(before, at("cpu  x")).grade, Grade::Unknown);
    }
}
