//! Which CPUs take an interface's receive interrupts: /proc/interrupts and /proc/irq.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Facts, cpu_list, cpu_text};
use super::finding::{Finding, Grade};
use super::nic::Nic;

const CHECK: &str = "interrupts";
/// Advice for each vector of a large device would fill the screen.
const MAX_COMMANDS: usize = 16;
/// Vectors named so take received frames, alone or with others.
const RECEIVE_WORDS: &[&str] = &["rx", "input", "comp", "queue", "fp-", "-q"];
/// Vectors named so never do, where others are there.
const OTHER_WORDS: &[&str] = &["output", "-tx", "config", "ctrl", "async", "event", "mgmt", "fdir"];

/// One numbered line of /proc/interrupts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Interrupts taken by each CPU.
    pub counts: BTreeMap<u32, u64>,
    /// Chip, vector and names of the users.
    pub action: String,
}

/// Numbered lines by interrupt number; others (NMI, LOC, …) are left out.
pub fn parse(text: &str) -> BTreeMap<u32, Line> {
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default().split_whitespace();
    let cpus: Vec<u32> = header.filter_map(|name| name.strip_prefix("CPU")?.parse().ok()).collect();
    lines.filter_map(|line| parse_line(line, &cpus)).collect()
}

fn parse_line(line: &str, cpus: &[u32]) -> Option<(u32, Line)> {
    let (number, rest) = line.split_once(':')?;
    let number = number.trim().parse().ok()?;
    let mut words = rest.split_whitespace();
    let mut counts = BTreeMap::new();
    for &cpu in cpus {
        counts.insert(cpu, words.next()?.parse().ok()?);
    }
    Some((number, Line { counts, action: words.collect::<Vec<_>>().join(" ") }))
}

/// A receive vector of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Vector {
    number: u32,
    name: String,
    /// CPUs that took it in the last second; without any, those it is bound to.
    cpus: BTreeSet<u32>,
    taken: u64,
}

/// Judges how an interface's receive interrupts fall on CPUs, from two readings.
pub fn check(
    facts: &Facts,
    nic: &Nic,
    before: &BTreeMap<u32, Line>,
    after: &BTreeMap<u32, Line>,
) -> Finding {
    let vectors = vectors(facts, nic, before, after);
    if vectors.is_empty() && !nic.hardware {
        return Finding::new(CHECK, Grade::Ok, "none of its own: the sender's CPU does the work");
    }
    if vectors.is_empty() {
        return Finding::new(CHECK, Grade::Unknown, "no interrupt of its device was found");
    }
    let texts: Vec<String> = vectors
        .iter()
        .take(MAX_COMMANDS)
        .map(|v| format!("{} ({}) on CPU {}: {}", v.number, v.name, cpu_text(&v.cpus), v.taken))
        .collect();
    let evidence = format!("interrupts in the last second: {}", texts.join("; "));
    let used: BTreeSet<u32> = vectors.iter().flat_map(|v| v.cpus.iter().copied()).collect();
    let online = facts.text("sys/devices/system/cpu/online").ok();
    let online = online.and_then(|text| cpu_list(&text)).unwrap_or_default();
    if vectors.len() == 1 || used.len() > 1 || online.len() < 2 {
        return Finding::new(CHECK, Grade::Ok, evidence);
    }
    let evidence = format!("{evidence}. All receive queues are served by one CPU");
    let finding = Finding::new(CHECK, Grade::Warn, evidence);
    let spread = vectors.iter().take(MAX_COMMANDS).zip(online.iter().cycle());
    spread.fold(finding, |finding, (vector, cpu)| {
        finding.advise(format!("echo {cpu} > /proc/irq/{}/smp_affinity_list", vector.number))
    })
}

fn vectors(
    facts: &Facts,
    nic: &Nic,
    before: &BTreeMap<u32, Line>,
    after: &BTreeMap<u32, Line>,
) -> Vec<Vector> {
    let own = numbers(facts, nic);
    let is_own = |number: &u32, line: &Line| match &own {
        Some(own) => own.contains(number),
        None => line.action.split([' ', ',']).any(|word| belongs(word, &nic.name)),
    };
    let lines: Vec<(u32, &Line)> =
        after.iter().filter(|(n, line)| is_own(n, line)).map(|(n, line)| (*n, line)).collect();
    let has = |line: &Line, words: &[&str]| {
        let name = last_word(line).to_ascii_lowercase();
        words.iter().any(|word| name.contains(word))
    };
    let some_receive = lines.iter().any(|(_, line)| has(line, RECEIVE_WORDS));
    let receives = |line: &Line| {
        if some_receive { has(line, RECEIVE_WORDS) } else { !has(line, OTHER_WORDS) }
    };
    let receiving = lines.into_iter().filter(|(_, line)| receives(line));
    receiving.map(|(number, line)| vector(facts, number, line, before.get(&number))).collect()
}

fn vector(facts: &Facts, number: u32, line: &Line, before: Option<&Line>) -> Vector {
    let earlier = |cpu: &u32| before.and_then(|b| b.counts.get(cpu)).copied().unwrap_or(0);
    let change = |(cpu, count): (&u32, &u64)| (*cpu, count.saturating_sub(earlier(cpu)));
    let taken: BTreeMap<u32, u64> =
        line.counts.iter().map(change).filter(|(_, count)| *count > 0).collect();
    let mut cpus: BTreeSet<u32> = taken.keys().copied().collect();
    if cpus.is_empty() {
        let names = ["effective_affinity_list", "smp_affinity_list"];
        let lists = names
            .iter()
            .filter_map(|name| cpu_list(&facts.text(&format!("proc/irq/{number}/{name}")).ok()?));
        cpus = lists.into_iter().find(|cpus| !cpus.is_empty()).unwrap_or_default();
    }
    let taken = taken.values().fold(0u64, |sum, count| sum.saturating_add(*count));
    Vector { number, name: last_word(line).to_owned(), cpus, taken }
}

/// Message interrupts of the device behind the interface, or of its parent (virtio).
fn numbers(facts: &Facts, nic: &Nic) -> Option<BTreeSet<u32>> {
    let folder = nic.folder.as_ref()?;
    let paths = ["device/msi_irqs", "device/../msi_irqs"];
    let names = paths.iter().find_map(|path| facts.names(&format!("{folder}/{path}")).ok())?;
    Some(names.iter().filter_map(|name| name.parse().ok()).collect())
}

/// `eth0` and `eth0-TxRx-3` belong to eth0, `eth01-rx` does not.
fn belongs(word: &str, interface: &str) -> bool {
    let rest = word.strip_prefix(interface);
    rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

fn last_word(line: &Line) -> &str {
    line.action.rsplit(' ').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::nic::tests::silent;
    use super::super::testing::{Host, host};
    use super::*;

    /// The form that Linux 6.1 prints for a device with two queues.
    const RECORDED: &str = include_str!("fixtures/interrupts");

    fn four_cpus() -> Host {
        host(&[
            ("sys/devices/system/cpu/online", "0-3\n"),
            ("proc/irq/59/effective_affinity_list", "0\n"),
        ])
    }

    #[test]
    fn numbered_lines_are_read_and_the_others_skipped() {
        let lines = parse(RECORDED);
        assert_eq!(lines.keys().copied().collect::<Vec<_>>(), [8, 57, 58, 59, 60]);
        assert_eq!(lines[&58].counts, BTreeMap::from([(0, 900_000), (1, 0), (2, 12), (3, 0)]));
        assert!(lines[&58].action.ends_with("1-edge eth0-TxRx-0"));
    }

    #[test]
    fn queues_on_two_cpus_are_fine() {
        let before = BTreeMap::new();
        let finding = check(&four_cpus().facts, &silent(), &before, &parse(RECORDED));
        assert_eq!(finding.grade, Grade::Ok);
        assert_eq!(
            finding.evidence,
            "interrupts in the last second: 58 (eth0-TxRx-0) on CPU 0,2: 900012; \
             59 (eth0-TxRx-1) on CPU 1: 800000"
        );
    }

    #[test]
    fn queues_that_share_a_cpu_are_given_one_each() {
        let before = parse(RECORDED);
        let now = RECORDED.replace("900000 ", "900100 ");
        let finding = check(&four_cpus().facts, &silent(), &before, &parse(&now));
        assert_eq!(finding.grade, Grade::Warn);
        assert_eq!(
            finding.advice,
            ["echo 0 > /proc/irq/58/smp_affinity_list", "echo 1 > /proc/irq/59/smp_affinity_list"]
        );
    }

    #[test]
    fn message_interrupts_of_the_parent_device_count_as_its_own() {
        let host = host(&[
            ("sys/class/net/eth0/device/vendor", "0x1af4\n"),
            ("sys/class/net/eth0/msi_irqs/38", "msix\n"),
            ("sys/class/net/eth0/msi_irqs/39", "msix\n"),
        ]);
        let text = "      CPU0 CPU1\n 38: 0 10 PCI-MSIX 1-edge virtio2-input.0\n \
                    39: 7 0 PCI-MSIX 2-edge virtio2-output.0\n";
        let vectors = vectors(&host.facts, &silent(), &BTreeMap::new(), &parse(text));
        assert_eq!(vectors.len(), 1);
        assert_eq!((vectors[0].number, vectors[0].taken), (38, 10));
    }

    #[test]
    fn names_that_only_begin_alike_are_not_confused() {
        assert!(belongs("eth0-rx-1", "eth0") && belongs("eth0", "eth0"));
        assert!(!belongs("eth01", "eth0") && !belongs("veth0", "eth0"));
    }
}
