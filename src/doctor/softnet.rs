//! The kernel's receive queues by CPU: /proc/net/softnet_stat (net/core/net-procfs.c).

use super::finding::{Finding, Grade};

const CHECK: &str = "softnet";
/// With fewer frames a second one CPU is as good as many.
const BUSY_FRAMES: u64 = 50_000;
/// Share of them on one CPU, percent, that is worth a word.
const LONELY_PERCENT: u64 = 90;

/// Counters of one CPU since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// CPU number.
    pub cpu: u32,
    /// Frames taken from queues.
    pub processed: u32,
    /// Frames lost because the backlog was full.
    pub dropped: u32,
    /// Times the budget ended before the work.
    pub squeezed: u32,
}

/// Counters of every CPU; lines that are none are left out.
pub fn parse(text: &str) -> Vec<Cpu> {
    text.lines().enumerate().filter_map(|(line, text)| parse_line(line, text)).collect()
}

fn parse_line(line: usize, text: &str) -> Option<Cpu> {
    let words: Result<Vec<u32>, _> =
        text.split_whitespace().map(|word| u32::from_str_radix(word, 16)).collect();
    let words = words.ok()?;
    let at = |index: usize| words.get(index).copied();
    Some(Cpu {
        // The CPU's number came with Linux 5.10; lines were in order of CPUs before.
        cpu: at(12).or_else(|| u32::try_from(line).ok())?,
        processed: at(0)?,
        dropped: at(1)?,
        squeezed: at(2)?,
    })
}

/// What happened between two readings; counters are 32 bits wide and wrap.
pub fn change(before: &[Cpu], after: &[Cpu]) -> Vec<Cpu> {
    let earlier = |cpu: u32| before.iter().find(|b| b.cpu == cpu).copied().unwrap_or_default();
    let subtract = |now: &Cpu| {
        let then = earlier(now.cpu);
        Cpu {
            cpu: now.cpu,
            processed: now.processed.wrapping_sub(then.processed),
            dropped: now.dropped.wrapping_sub(then.dropped),
            squeezed: now.squeezed.wrapping_sub(then.squeezed),
        }
    };
    after.iter().map(subtract).collect()
}

/// Judges drops and squeezes of the last second, then those since boot.
pub fn check(before: &[Cpu], after: &[Cpu]) -> Finding {
    if after.is_empty() {
        return Finding::new(CHECK, Grade::Unknown, "/proc/net/softnet_stat could not be read");
    }
    let now = change(before, after);
    let sum =
        |cpus: &[Cpu], of: fn(&Cpu) -> u32| cpus.iter().map(|c| u64::from(of(c))).sum::<u64>();
    let (dropped, squeezed) = (sum(&now, |c| c.dropped), sum(&now, |c| c.squeezed));
    let (ever_dropped, ever_squeezed) = (sum(after, |c| c.dropped), sum(after, |c| c.squeezed));
    let evidence = format!(
        "{} frames in the last second, {dropped} dropped, {squeezed} squeezes; since boot \
         {ever_dropped} dropped, {ever_squeezed} squeezes",
        sum(&now, |c| c.processed)
    );
    let backlog = "sysctl -w net.core.netdev_max_backlog=10000";
    let budget = "sysctl -w net.core.netdev_budget=600 net.core.netdev_budget_usecs=8000";
    if dropped > 0 {
        let cpus = busiest(&now, |c| c.dropped);
        let evidence =
            format!("{evidence}. The backlog of CPU {cpus} overflows before any capture");
        return Finding::new(CHECK, Grade::Bad, evidence).advise(backlog);
    }
    if squeezed > 0 {
        let cpus = busiest(&now, |c| c.squeezed);
        let evidence = format!("{evidence}. CPU {cpus} has more to receive than its budget allows");
        return Finding::new(CHECK, Grade::Warn, evidence).advise(budget);
    }
    if let Some(cpu) = lonely(&now) {
        let evidence = format!("{evidence}. CPU {cpu} took nearly all: see the interface's queues");
        return Finding::new(CHECK, Grade::Note, evidence);
    }
    let finding = |grade| Finding::new(CHECK, grade, evidence);
    match (ever_dropped, ever_squeezed) {
        (1.., _) => finding(Grade::Note).advise(backlog),
        (0, 1..) => finding(Grade::Note).advise(budget),
        (0, 0) => finding(Grade::Ok),
    }
}

/// The CPU that took nearly all frames while others had next to none.
fn lonely(now: &[Cpu]) -> Option<u32> {
    let total: u64 = now.iter().map(|c| u64::from(c.processed)).sum();
    let most = now.iter().max_by_key(|c| c.processed)?;
    let nearly_all = u64::from(most.processed) * 100 >= total * LONELY_PERCENT;
    (now.len() > 1 && total >= BUSY_FRAMES && nearly_all).then_some(most.cpu)
}

fn busiest(cpus: &[Cpu], of: fn(&Cpu) -> u32) -> String {
    cpus.iter().max_by_key(|c| of(c)).map_or(String::new(), |c| c.cpu.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded on a host with two CPUs, Linux 6.18.
    const RECORDED: &str = include_str!("fixtures/softnet_stat");

    #[test]
    fn a_recorded_file_gives_the_counters_of_both_cpus() {
        assert_eq!(
            parse(RECORDED),
            [
                Cpu { cpu: 0, processed: 0x0023_64e7, dropped: 0, squeezed: 2 },
                Cpu { cpu: 1, processed: 0x0031_e89f, dropped: 5, squeezed: 0 },
            ]
        );
    }

    #[test]
    fn old_kernels_leave_the_cpu_to_the_order_of_lines() {
        let text = "00000001 00000000 00000000\n00000002 00000003 00000000\n";
        assert_eq!(parse(text)[1], Cpu { cpu: 1, processed: 2, dropped: 3, squeezed: 0 });
    }

    fn cpu(processed: u32, dropped: u32, squeezed: u32) -> Vec<Cpu> {
        vec![Cpu { cpu: 0, processed, dropped, squeezed }]
    }

    #[test]
    fn a_drop_now_is_bad_and_one_of_old_a_note() {
        assert_eq!(check(&cpu(10, 0, 0), &cpu(30, 4, 0)).grade, Grade::Bad);
        assert_eq!(check(&cpu(10, 4, 0), &cpu(30, 4, 0)).grade, Grade::Note);
        assert_eq!(check(&cpu(10, 0, 0), &cpu(30, 0, 1)).grade, Grade::Warn);
        assert_eq!(check(&cpu(10, 0, 0), &cpu(30, 0, 0)).grade, Grade::Ok);
        assert_eq!(check(&[], &[]).grade, Grade::Unknown);
    }

    #[test]
    fn one_cpu_that_takes_all_the_frames_of_a_busy_second_is_a_note() {
        let at = |first, second| {
            let cpu = |cpu, processed| Cpu { cpu, processed, ..Cpu::default() };
            check(&[], &[cpu(0, first), cpu(1, second)]).grade
        };
        assert_eq!(at(99_000, 1000), Grade::Note);
        assert_eq!(at(60_000, 40_000), Grade::Ok);
        assert_eq!(at(4000, 0), Grade::Ok);
    }

    #[test]
    fn counters_that_wrapped_give_a_small_change() {
        let change = change(&cpu(u32::MAX, 0, 0), &cpu(4, 0, 0));
        assert_eq!(change[0].processed, 5);
    }
}
