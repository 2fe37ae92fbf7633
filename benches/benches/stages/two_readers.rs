//! Two readers on two CPUs, each with its share of the conversations, against one with all.
//!
//! Wall time, because it is packets a second that count; other work on the machine spoils it.

use std::io;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use benches::mix::{Profile, Size};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::path::{Frames, PacketPath, generator_of};

pub const NAME: &str = "two readers, 100000 uniform";
const CONVERSATIONS: u32 = 100_000;

/// Measures one and two readers in turn and answers the line of the report.
pub fn compare(packets: u64, repeats: usize) -> io::Result<String> {
    let all = share(CONVERSATIONS, packets, 1)?;
    let halves =
        [share(CONVERSATIONS / 2, packets / 2, 2)?, share(CONVERSATIONS / 2, packets / 2, 3)?];
    let (mut one, mut two) = ([all], halves);
    run(&mut one);
    run(&mut two);
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    for _ in 0..repeats.max(1) {
        alone.push(packets as f64 / run(&mut one));
        together.push(packets as f64 / run(&mut two));
    }
    let (alone, together) = (median(alone), median(together));
    Ok(format!(
        "{NAME}: {:.1} against {:.1} million packets/s, ratio {:.2}",
        together / 1e6,
        alone / 1e6,
        together / alone
    ))
}

type Share = (Frames, PacketPath);

fn share(conversations: u32, packets: u64, seed: u64) -> io::Result<Share> {
    let mut generator = generator_of(conversations, Size::Fixed(60), Profile::Uniform, seed);
    let frames = Frames::generate(&mut generator, packets);
    Ok((frames, PacketPath::new(conversations)?))
}

/// Runs every share on a CPU of its own; answers seconds from the common start to the last end.
fn run(shares: &mut [Share]) -> f64 {
    let start = Barrier::new(shares.len() + 1);
    thread::scope(|scope| {
        for (cpu, (frames, path)) in shares.iter_mut().enumerate() {
            let start = &start;
            scope.spawn(move || {
                // A machine with one CPU measures that, and shows it.
                let mut set = CpuSet::new();
                let _ = set.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
                start.wait();
                for block in frames.blocks() {
                    path.update(block);
                    path.sweep();
                }
            });
        }
        start.wait();
        Instant::now()
    })
    .elapsed()
    .as_secs_f64()
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
