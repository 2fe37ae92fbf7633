//! Interfaces on top of each other: where the same packet passes twice.

use super::facts::Facts;
use super::finding::{Finding, Grade};
use super::nic::Nic;
use super::sockets::Capture;

const CHECK: &str = "same packets";
/// Neighbours that the evidence names.
const MAX_NAMED: usize = 8;

/// How an interface is related to others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stack {
    /// Bridge, bond or VRF that it is a port of.
    pub master: Option<String>,
    /// Interfaces that stand on it (VLANs, macvlans, its master).
    pub upper: Vec<String>,
    /// Interfaces it stands on (ports, the parent).
    pub lower: Vec<String>,
    /// `DEVTYPE` of the kernel, such as `vlan` or `bridge`.
    pub kind: Option<String>,
    /// Index of the interface it is linked to, when that is another one.
    pub linked: Option<u32>,
}

impl Stack {
    /// Reads the relations from an interface's directory.
    pub fn read(facts: &Facts, nic: &Nic, folder: &str) -> Self {
        let names = facts.names(folder).unwrap_or_default();
        let with = |prefix: &str| {
            names.iter().filter_map(|name| Some(name.strip_prefix(prefix)?.to_owned())).collect()
        };
        let uevent = facts.text(&format!("{folder}/uevent")).unwrap_or_default();
        let kind = uevent.lines().find_map(|line| Some(line.strip_prefix("DEVTYPE=")?.to_owned()));
        let linked = facts.number(&format!("{folder}/iflink")).ok();
        Self {
            master: facts.link(&format!("{folder}/master")).ok(),
            upper: with("upper_"),
            lower: with("lower_"),
            kind,
            linked: linked
                .and_then(|i| u32::try_from(i).ok())
                .filter(|i| ![0, nic.index].contains(i)),
        }
    }
}

/// Tells where else this interface's packets pass, and warns when they are captured there already.
pub fn check(facts: &Facts, nic: &Nic, stack: &Stack, captures: &[Capture]) -> Finding {
    if nic.loopback {
        let evidence = "every packet passes loopback twice, going out and coming in; the probe \
                        takes the second only";
        return Finding::new(CHECK, Grade::Ok, evidence);
    }
    let relations = relations(nic, stack);
    if relations.is_empty() {
        return Finding::new(CHECK, Grade::Ok, "no interface stands on this one or below it");
    }
    let evidence = relations.join("; ");
    let neighbours = stack.upper.iter().chain(&stack.lower).chain(&stack.master);
    let indices = neighbours.filter_map(|name| {
        let index = facts.number(&format!("sys/class/net/{name}/ifindex")).ok()?;
        Some((u32::try_from(index).ok()?, name.as_str()))
    });
    let twice = indices.into_iter().find(|(index, _)| {
        captures.iter().any(|capture| {
            let probe = capture.owner.as_ref().is_some_and(|owner| owner.starts_with("kprobe("));
            probe && capture.socket.interface == *index
        })
    });
    match twice {
        Some((_, name)) => {
            let evidence = format!("{evidence}. A kprobe captures on {name} already");
            let finding = Finding::new(CHECK, Grade::Warn, evidence);
            finding.advise(format!("capture on {} or on {name}, not on both", nic.name))
        }
        None => Finding::new(CHECK, Grade::Note, format!("{evidence}. Capture on one of them")),
    }
}

fn relations(nic: &Nic, stack: &Stack) -> Vec<String> {
    let driver = nic.driver_name();
    let mut relations = Vec::new();
    if let Some(master) = &stack.master {
        relations.push(format!("a port of {master}, where its packets pass again"));
    }
    let upper: Vec<&String> =
        stack.upper.iter().filter(|name| Some(*name) != stack.master.as_ref()).collect();
    if !upper.is_empty() {
        relations.push(format!(
            "{} on top of it, whose packets pass here, too (tagged, if they are VLANs)",
            listed(&upper)
        ));
    }
    if !stack.lower.is_empty() {
        let lower: Vec<&String> = stack.lower.iter().collect();
        let kind = stack.kind.as_deref().unwrap_or(driver);
        relations.push(format!("a {kind} on {}, where its packets pass, too", listed(&lower)));
    } else if driver == "veth" {
        relations.push("one end of a veth pair; its packets pass the other end, too".to_owned());
    } else if let Some(index) = stack.linked.filter(|_| stack.kind.is_some()) {
        relations.push(format!("stands on interface {index} of another network namespace"));
    }
    relations
}

fn listed(names: &[&String]) -> String {
    let shown: Vec<&str> = names.iter().take(MAX_NAMED).map(|name| name.as_str()).collect();
    match names.len().saturating_sub(MAX_NAMED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::nic::tests::silent;
    use super::super::packet_diag::PacketSocket;
    use super::super::testing::host;
    use super::*;

    const FOLDER: &str = "sys/class/net/eth0";

    #[test]
    fn an_interface_by_itself_is_fine() {
        let host = host(&[("sys/class/net/eth0/iflink", "2\n")]);
        let stack = Stack::read(&host.facts, &silent(), FOLDER);
        assert_eq!(stack, Stack::default());
        assert_eq!(check(&host.facts, &silent(), &stack, &[]).grade, Grade::Ok);
    }

    #[test]
    fn a_vlan_on_top_is_told_and_a_second_probe_on_it_is_worth_a_warning() {
        let host = host(&[
            ("sys/class/net/eth0/upper_eth0.100/ifindex", "9\n"),
            ("sys/class/net/eth0.100/ifindex", "9\n"),
        ]);
        let stack = Stack::read(&host.facts, &silent(), FOLDER);
        assert_eq!(stack.upper, ["eth0.100"]);
        let alone = check(&host.facts, &silent(), &stack, &[]);
        assert_eq!(alone.grade, Grade::Note);
        assert!(alone.evidence.starts_with("eth0.100 on top of it"), "{}", alone.evidence);
        let socket = PacketSocket { interface: 9, ..PacketSocket::default() };
        let probe = Capture { socket, owner: Some("kprobe(77)".into()) };
        let twice = check(&host.facts, &silent(), &stack, &[probe]);
        assert_eq!(twice.grade, Grade::Warn);
        assert_eq!(twice.advice, ["capture on eth0 or on eth0.100, not on both"]);
    }

    #[test]
    fn a_vlan_names_its_parent_and_a_veth_its_other_end() {
        let nic = silent();
        let vlan = Stack {
            lower: vec!["eth0".into()],
            kind: Some("vlan".into()),
            linked: Some(2),
            ..Stack::default()
        };
        assert_eq!(relations(&nic, &vlan), ["a vlan on eth0, where its packets pass, too"]);
        let veth = Nic { driver: Ok("veth".into()), ..silent() };
        assert_eq!(relations(&veth, &Stack { linked: Some(7), ..Stack::default() }).len(), 1);
    }

    #[test]
    fn loopback_is_handled() {
        let nic = Nic { loopback: true, ..silent() };
        assert_eq!(check(&host(&[]).facts, &nic, &Stack::default(), &[]).grade, Grade::Ok);
    }
}
