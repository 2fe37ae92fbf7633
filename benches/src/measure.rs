//! Times a stage: CPU time of this thread, repeated, median and range.
//!
//! CPU time and not wall time, because other work shares the machine; it still suffers from a
//! neighbour's use of caches and memory, so compare figures of one run only.

use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// ns per packet of one stage over its repeats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// The middle of the repeats.
    pub median_ns: f64,
    /// The best.
    pub least_ns: f64,
    /// The worst.
    pub most_ns: f64,
}

/// Runs `stage` once to warm it and then `repeats` times (at least once); it answers how many
/// packets it handled.
pub fn ns_per_packet(repeats: usize, mut stage: impl FnMut() -> u64) -> Figures {
    stage();
    let samples = (0..repeats.max(1)).map(|_| {
        let begun = thread_cpu();
        let packets = stage();
        let spent = thread_cpu().saturating_sub(begun);
        spent.as_nanos() as f64 / packets.max(1) as f64
    });
    figures(samples.collect())
}

/// CPU time this thread has used.
pub fn thread_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map(Duration::from)
        .expect("Linux has a clock for each thread")
}

/// Keeps this thread on the last of the CPUs, away from where interrupts usually go. Answers
/// whether the kernel allowed it.
pub fn pin_to_last_cpu() -> bool {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let mut set = CpuSet::new();
    set.set(cpus - 1).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set)).is_ok()
}

fn figures(mut samples: Vec<f64>) -> Figures {
    samples.sort_by(f64::total_cmp);
    Figures {
        median_ns: samples[samples.len() / 2],
        least_ns: samples[0],
        most_ns: samples[samples.len() - 1],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_not_moved_by_one_bad_repeat() {
        let expected = Figures { median_ns: 11.0, least_ns: 10.0, most_ns: 900.0 };
        assert_eq!(figures(vec![11.0, 900.0, 10.0]), expected);
    }

    #[test]
    fn a_stage_runs_once_more_than_it_is_measured() {
        let mut runs = 0;
        let figures = ns_per_packet(3, || {
            runs += 1;
            1
        });
        assert_eq!(runs, 4);
        assert!(figures.least_ns <= figures.median_ns && figures.median_ns <= figures.most_ns);
    }
}
