//! `kprobe doctor`: what on this host makes captures lie or drop, with evidence and remedy.
//!
//! Reads /proc, /sys, the drivers' answers and the list of packet sockets, all twice where it is a
//! counter, a second apart; changes nothing. Without privilege it says what it could not read.
//! With an interface it also opens a trial group for that second (see [`spread`]).

mod cgroup;
mod clock;
mod cpu;
mod drops;
mod facts;
mod finding;
mod interrupts;
mod kernel;
mod link;
mod memory;
mod nic;
mod numa;
mod offload;
mod packet_diag;
mod privileges;
mod queues;
mod report;
mod ring;
mod rss;
mod snapshot;
mod sockets;
mod softnet;
mod spread;
mod stack;
mod sysctl;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use capture::Interface;
use capture::trial::{self, Abilities, Spread};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use facts::Facts;
use finding::{Finding, Grade};
use nic::Nic;
use queues::Queues;
use report::Section;
use snapshot::Snapshot;
use sockets::Capture;
use stack::Stack;

/// Counters are read twice, this far apart.
const INTERVAL: Duration = Duration::from_secs(1);
/// Interfaces of a summary; a host with more containers than this is asked for one by name.
const MAX_INTERFACES: usize = 256;

/// What the doctor thinks of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is bad; there may be warnings.
    Good,
    /// At least one finding is bad.
    Bad,
}

impl From<Verdict> for ExitCode {
    /// 0 for a good verdict, 2 for a bad one.
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Good => Self::SUCCESS,
            Verdict::Bad => Self::from(2),
        }
    }
}

/// Examines the host and one interface, or all that are up in brief, and writes the findings.
///
/// Takes a little more than a second.
///
/// # Errors
/// There is no such interface, the interfaces could not be listed, or `out` failed.
pub fn run(interface: Option<&str>, out: &mut dyn Write) -> anyhow::Result<Verdict> {
    let facts = Facts::host();
    // A capture on all interfaces is asked about as such.
    let interface = interface.filter(|name| *name != "any");
    let interfaces = match interface {
        Some(name) => vec![Interface::find(name)?],
        None => up().context("listing the interfaces")?,
    };
    let patient = Patient::examine(&facts, &interfaces, interface.is_some());
    let mut sections = vec![Section { title: "host".into(), findings: patient.host(&facts) }];
    if interface.is_some() {
        for nic in &patient.nics {
            let title = format!("interface {}", nic.name);
            sections.push(Section { title, findings: patient.interface(&facts, nic) });
        }
    } else {
        let lines = patient.nics.iter().map(|nic| patient.summary(&facts, nic)).collect();
        sections.push(Section { title: "interfaces that are up".into(), findings: lines });
    }
    report::write(&sections, out)?;
    let bad = sections.iter().flat_map(|s| &s.findings).any(|f| f.grade == Grade::Bad);
    Ok(if bad { Verdict::Bad } else { Verdict::Good })
}

/// Interfaces of this network namespace that are up, in system order.
fn up() -> io::Result<Vec<Interface>> {
    let mut names: Vec<String> = Vec::new();
    for entry in getifaddrs()?.filter(|entry| entry.flags.contains(InterfaceFlags::IFF_UP)) {
        // Labels of further addresses (eth0:1) are no interfaces.
        if !names.contains(&entry.interface_name) && !entry.interface_name.contains(':') {
            names.push(entry.interface_name);
        }
    }
    names.truncate(MAX_INTERFACES);
    // One that vanished meanwhile is left out.
    Ok(names.iter().filter_map(|name| Interface::find(name).ok()).collect())
}

/// All that was read before anything is judged.
struct Patient {
    nics: Vec<Nic>,
    abilities: io::Result<Abilities>,
    captures: Vec<Capture>,
    allowed: BTreeSet<u32>,
    before: Snapshot,
    after: Snapshot,
    /// Frames of each member of the trial group, when there was one.
    spread: Option<io::Result<Vec<u64>>>,
}

impl Patient {
    fn examine(facts: &Facts, interfaces: &[Interface], closely: bool) -> Self {
        let nics: Vec<Nic> = interfaces.iter().map(|i| Nic::read(facts, i)).collect();
        let first = interfaces.first().map_or(1, |interface| interface.index);
        let abilities = trial::abilities(first);
        // Before our own sockets are among them.
        let captures = sockets::captures(facts);
        let allowed = cpu::allowed(facts).unwrap_or_default();
        let trial = closely.then(|| {
            let spread = Spread::open(first, allowed.len().clamp(1, spread::MAX_MEMBERS))?;
            spread.take()?;
            io::Result::Ok(spread)
        });
        let before = Snapshot::take(facts, &nics);
        std::thread::sleep(INTERVAL);
        let after = Snapshot::take(facts, &nics);
        let spread = trial.map(|trial| trial?.take());
        Self { nics, abilities, captures, allowed, before, after, spread }
    }

    fn host(&self, facts: &Facts) -> Vec<Finding> {
        vec![
            kernel::check(facts, &self.abilities),
            privileges::check(facts),
            clock::check(facts),
            cpu::affinity(facts),
            cpu::quota(facts),
            cpu::steal(self.before.times, self.after.times),
            memory::room(facts),
            memory::huge_pages(facts),
            memory::locked(facts),
            softnet::check(&self.before.softnet, &self.after.softnet),
            sysctl::check(facts),
        ]
    }

    fn interface(&self, facts: &Facts, nic: &Nic) -> Vec<Finding> {
        let mut findings = vec![
            offload::merging(nic, &self.abilities),
            offload::vlan(nic),
            ring::coalescing(nic),
            sockets::check(nic, &self.captures),
        ];
        findings.extend(self.spread.as_ref().map(spread::check));
        let Some(folder) = &nic.folder else {
            findings.push(other_namespace(nic));
            return findings;
        };
        let (before, after) =
            (self.before.counters.get(&nic.index), self.after.counters.get(&nic.index));
        let queues = Queues::read(facts, folder);
        let stack = Stack::read(facts, nic, folder);
        findings.extend([
            link::state(facts, nic, folder),
            link::frames(facts, folder),
            link::depth(facts, folder),
            drops::check(nic, before, after),
            ring::size(nic, after),
            queues::check(nic, queues, &self.allowed),
            interrupts::check(facts, nic, &self.before.interrupts, &self.after.interrupts),
            rss::check(nic, queues.map_or(0, |queues| queues.count)),
            numa::check(facts, folder, &self.allowed),
            stack::check(facts, nic, &stack, &self.captures),
        ]);
        findings
    }

    /// The worst of an interface's findings in one line.
    fn summary(&self, facts: &Facts, nic: &Nic) -> Finding {
        let findings = self.interface(facts, nic);
        let worst = findings.iter().map(|finding| finding.grade).max().unwrap_or(Grade::Ok);
        let named = |grade| {
            let names: Vec<&str> =
                findings.iter().filter(|f| f.grade == grade).map(|f| f.check).collect();
            (!names.is_empty()).then(|| format!("{grade}: {}", names.join(", ")))
        };
        let parts = [Grade::Bad, Grade::Warn, Grade::Unknown, Grade::Note].map(named);
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let what = if parts.is_empty() { "nothing to say".to_owned() } else { parts.join("; ") };
        let evidence = format!("{} ({}): {what}", nic.name, nic.driver_name());
        let finding = Finding::new("interface", worst, evidence);
        if worst <= Grade::Note {
            return finding;
        }
        finding.advise(format!("kprobe doctor -i {}", nic.word()))
    }
}

/// sysfs belongs to the network namespace in which it was mounted.
fn other_namespace(nic: &Nic) -> Finding {
    let evidence = format!(
        "/sys shows another network namespace, so counters, queues, interrupts and relations of {} \
         could not be read",
        nic.name
    );
    Finding::new("sysfs", Grade::Unknown, evidence).advise(format!(
        "unshare -m sh -c 'mount -t sysfs sysfs /sys && exec kprobe doctor -i \"$1\"' sh {}",
        nic.word()
    ))
}
