//! Receive queues of an interface, and the CPUs that software spreads them to (RPS,
//! Documentation/networking/scaling.rst).

use std::collections::BTreeSet;

use super::facts::{Facts, cpus_in_mask};
use super::finding::{Finding, Grade};
use super::nic::Nic;

const CHECK: &str = "receive queues";
/// Advice for each queue of a large device would fill the screen.
const MAX_COMMANDS: usize = 8;

/// Number of receive queues of an interface, and in how many of them RPS is set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queues {
    /// Receive queues.
    pub count: usize,
    /// Most CPUs that a queue's frames are spread to; 0 when RPS is off.
    pub rps_cpus: u32,
}

impl Queues {
    /// Reads `queues/rx-*` below an interface's directory.
    pub fn read(facts: &Facts, folder: &str) -> Option<Self> {
        let names = facts.names(&format!("{folder}/queues")).ok()?;
        let queues: Vec<&String> = names.iter().filter(|name| name.starts_with("rx-")).collect();
        let rps = |queue: &&String| {
            let mask = facts.text(&format!("{folder}/queues/{queue}/rps_cpus")).ok()?;
            cpus_in_mask(&mask)
        };
        let rps_cpus = queues.iter().filter_map(rps).max().unwrap_or(0);
        Some(Self { count: queues.len(), rps_cpus })
    }
}

/// Judges the number of queues against the CPUs there are.
pub fn check(nic: &Nic, queues: Option<Queues>, cpus: &BTreeSet<u32>) -> Finding {
    let Some(queues) = queues.filter(|queues| queues.count > 0) else {
        return Finding::new(CHECK, Grade::Unknown, "the queues could not be read");
    };
    let Queues { count, rps_cpus } = queues;
    let most = nic.channels.as_ref().map_or(0, |c| c.combined_max.max(c.receive_max));
    let rps = match rps_cpus {
        0 => "RPS off".to_owned(),
        n => format!("RPS to {n} CPUs"),
    };
    let limit = if most > 0 { format!(" of at most {most}") } else { String::new() };
    let evidence = format!("{count}{limit} for {} CPUs, {rps}", cpus.len());
    if count > 1 || cpus.len() <= 1 || rps_cpus > 1 {
        return Finding::new(CHECK, Grade::Ok, evidence);
    }
    if !nic.hardware {
        let evidence = format!("{evidence}. The sender's CPU does the receive work");
        return Finding::new(CHECK, Grade::Ok, evidence);
    }
    let evidence = format!("{evidence}: one CPU does all of the kernel's receive work");
    let finding = Finding::new(CHECK, Grade::Note, evidence);
    if most > 1 {
        let wanted = cpus.len().min(most as usize);
        let kind = match &nic.channels {
            Ok(channels) if channels.combined_max > 0 => "combined",
            _ => "rx",
        };
        return finding.advise(format!("ethtool -L {} {kind} {wanted}", nic.word()));
    }
    (0..count.min(MAX_COMMANDS)).fold(finding, |finding, queue| {
        finding.advise(format!(
            "echo {} > /sys/class/net/{}/queues/rx-{queue}/rps_cpus",
            mask(cpus),
            nic.word()
        ))
    })
}

/// Mask of these CPUs in words of 32, the form that rps_cpus takes.
fn mask(cpus: &BTreeSet<u32>) -> String {
    let words = cpus.last().map_or(1, |last| last / 32 + 1);
    let word = |number: u32| {
        let bits = cpus.iter().filter(|&&cpu| cpu / 32 == number);
        bits.fold(0u32, |word, cpu| word | 1 << (cpu % 32))
    };
    let texts = (0..words).rev().map(|number| {
        if number + 1 == words {
            format!("{:x}", word(number))
        } else {
            format!("{:08x}", word(number))
        }
    });
    texts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use capture::ethtool::Channels;

    use super::super::nic::tests::silent;
    use super::super::testing::host;
    use super::*;

    fn cpus(count: u32) -> BTreeSet<u32> {
        (0..count).collect()
    }

    fn channels(combined_max: u32) -> Nic {
        let channels = Channels { receive: 0, receive_max: 0, combined: 1, combined_max };
        Nic { channels: Ok(channels), ..silent() }
    }

    const ONE: Option<Queues> = Some(Queues { count: 1, rps_cpus: 0 });

    #[test]
    fn queues_and_their_masks_are_read_from_sysfs() {
        let host = host(&[
            ("sys/class/net/eth0/queues/rx-0/rps_cpus", "00000000,0000000c\n"),
            ("sys/class/net/eth0/queues/rx-1/rps_cpus", "0\n"),
            ("sys/class/net/eth0/queues/tx-0/xps_cpus", "f\n"),
        ]);
        let queues = Queues::read(&host.facts, "sys/class/net/eth0");
        assert_eq!(queues, Some(Queues { count: 2, rps_cpus: 2 }));
    }

    #[test]
    fn one_queue_on_many_cpus_asks_for_more_queues_or_for_rps() {
        let finding = check(&channels(16), ONE, &cpus(8));
        assert_eq!(finding.grade, Grade::Note);
        assert_eq!(finding.advice, ["ethtool -L eth0 combined 8"]);
        let finding = check(&channels(1), ONE, &cpus(4));
        assert_eq!(finding.advice, ["echo f > /sys/class/net/eth0/queues/rx-0/rps_cpus"]);
    }

    #[test]
    fn several_queues_or_one_cpu_or_rps_are_fine() {
        assert_eq!(
            check(&channels(8), Some(Queues { count: 8, rps_cpus: 0 }), &cpus(8)).grade,
            Grade::Ok
        );
        assert_eq!(check(&channels(1), ONE, &cpus(1)).grade, Grade::Ok);
        assert_eq!(
            check(&channels(1), Some(Queues { count: 1, rps_cpus: 4 }), &cpus(4)).grade,
            Grade::Ok
        );
        assert_eq!(check(&channels(1), None, &cpus(4)).grade, Grade::Unknown);
    }

    #[test]
    fn masks_are_written_in_words_of_32_bits() {
        assert_eq!(mask(&cpus(4)), "f");
        assert_eq!(mask(&cpus(40)), "ff,ffffffff");
        assert_eq!(mask(&BTreeSet::from([33])), "2,00000000");
    }
}
