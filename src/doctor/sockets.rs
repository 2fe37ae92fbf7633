//! Who else captures: packet sockets on the interface, their owners and fanout groups.

use std::collections::BTreeMap;

use super::facts::Facts;
use super::finding::{Finding, Grade};
use super::nic::Nic;
use super::packet_diag::{self, PacketSocket};

const CHECK: &str = "other captures";
const ETH_P_ALL: u16 = 3;
/// PACKET_FANOUT_LB: round robin.
const LOAD_BALANCE: u8 = 1;
const MODES: &[&str] = &["hash", "lb", "cpu", "rollover", "rnd", "qm", "cbpf", "ebpf"];
/// Descriptors of all processes that are looked at.
const MAX_DESCRIPTORS: usize = 1 << 18;
/// Owners that the evidence names.
const MAX_NAMED: usize = 6;

/// A packet socket and, where it could be found, its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// The socket.
    pub socket: PacketSocket,
    /// Name and process id, e.g. `tcpdump(812)`.
    pub owner: Option<String>,
}

/// Every packet socket of this network namespace that receives all protocols.
///
/// Falls back to /proc/net/packet, which knows no groups, where the kernel lacks packet_diag.
pub fn captures(facts: &Facts) -> Vec<Capture> {
    let sockets = packet_diag::sockets().unwrap_or_else(|_| {
        facts.text("proc/thread-self/net/packet").map(|text| parse(&text)).unwrap_or_default()
    });
    let sockets: Vec<PacketSocket> =
        sockets.into_iter().filter(|socket| socket.protocol == ETH_P_ALL).collect();
    let mut owners = if sockets.is_empty() { BTreeMap::new() } else { owners(facts) };
    let capture = |socket: PacketSocket| {
        let owner = owners.remove(&socket.inode);
        Capture { socket, owner }
    };
    sockets.into_iter().map(capture).collect()
}

/// Reads /proc/net/packet (net/packet/af_packet.c, `packet_seq_show`).
pub fn parse(text: &str) -> Vec<PacketSocket> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        Some(PacketSocket {
            protocol: u16::from_str_radix(words.get(3)?, 16).ok()?,
            interface: words.get(4)?.parse().ok()?,
            inode: words.get(8)?.parse().ok()?,
            ..PacketSocket::default()
        })
    };
    text.lines().skip(1).filter_map(line).collect()
}

/// Tells who else captures on the interface, and judges the groups there.
pub fn check(nic: &Nic, captures: &[Capture]) -> Finding {
    let here: Vec<&Capture> =
        captures.iter().filter(|c| [0, nic.index].contains(&c.socket.interface)).collect();
    if here.is_empty() {
        return Finding::new(CHECK, Grade::Ok, "no packet socket receives from this interface");
    }
    let mut groups: BTreeMap<(u16, u8), Vec<&Capture>> = BTreeMap::new();
    for capture in here.iter().filter(|c| c.socket.interface != 0) {
        if let Some(group) = capture.socket.group {
            groups.entry(group).or_default().push(capture);
        }
    }
    let alone: Vec<&Capture> = here.iter().copied().filter(|c| c.socket.group.is_none()).collect();
    let mut parts = Vec::new();
    if !alone.is_empty() {
        parts.push(format!("{} outside groups: {}", sockets(alone.len()), named(&alone)));
    }
    for ((id, mode), members) in &groups {
        let mode = MODES.get(usize::from(*mode)).copied().unwrap_or("?");
        let count = sockets(members.len());
        parts.push(format!("group {id} ({mode}) of {count}: {}", named(members)));
    }
    let copies = alone.len() + groups.len();
    let evidence = format!(
        "{}. Each packet is copied {copies} times, some 200 to 400 ns of kernel time each",
        parts.join("; ")
    );
    let splits = groups.keys().any(|(_, mode)| *mode == LOAD_BALANCE);
    if splits {
        let evidence = format!("{evidence}. Mode lb tears conversations apart");
        return Finding::new(CHECK, Grade::Warn, evidence)
            .advise("kprobe --fanout-mode hash ... (in every member)");
    }
    Finding::new(CHECK, Grade::Note, evidence)
}

fn sockets(count: usize) -> String {
    if count == 1 { "1 socket".to_owned() } else { format!("{count} sockets") }
}

fn named(captures: &[&Capture]) -> String {
    let mut owners: Vec<&str> =
        captures.iter().map(|c| c.owner.as_deref().unwrap_or("owner not visible")).collect();
    owners.sort_unstable();
    owners.dedup();
    let more = owners.len().saturating_sub(MAX_NAMED);
    owners.truncate(MAX_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", owners.join(", "))
}

/// Owners of sockets by inode, as far as /proc/PID/fd may be read.
fn owners(facts: &Facts) -> BTreeMap<u32, String> {
    let mut owners = BTreeMap::new();
    let mut seen = 0;
    for pid in facts.names("proc").unwrap_or_default() {
        if !pid.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let descriptors = facts.names(&format!("proc/{pid}/fd")).unwrap_or_default();
        seen += descriptors.len();
        if seen > MAX_DESCRIPTORS {
            break;
        }
        let links =
            descriptors.iter().filter_map(|fd| facts.link(&format!("proc/{pid}/fd/{fd}")).ok());
        for inode in links.filter_map(|link| inode(&link)) {
            owners.entry(inode).or_insert_with(|| {
                let name = facts.text(&format!("proc/{pid}/comm")).unwrap_or_default();
                let clean: String = name.chars().filter(|c| !c.is_control()).collect();
                format!("{clean}({pid})")
            });
        }
    }
    owners
}

/// Inode of a descriptor's target `socket:[inode]`.
fn inode(target: &str) -> Option<u32> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::nic::tests::silent;
    use super::super::testing::host;
    use super::*;

    /// Recorded on Linux 6.18 with two captures running.
    const RECORDED: &str = include_str!("fixtures/packet");

    fn capture(interface: u32, group: Option<(u16, u8)>, owner: &str) -> Capture {
        let socket = PacketSocket { interface, group, protocol: 3, ..PacketSocket::default() };
        Capture { socket, owner: Some(owner.into()) }
    }

    #[test]
    fn a_recorded_file_gives_sockets_and_inodes() {
        let sockets = parse(RECORDED);
        assert_eq!(sockets.len(), 2);
        assert_eq!((sockets[0].interface, sockets[0].inode, sockets[0].protocol), (7, 81217, 3));
        assert_eq!(sockets[1].inode, 81288);
    }

    #[test]
    fn owners_are_found_by_their_descriptors() {
        let host =
            host(&[("proc/812/comm", "tcpdump\n"), ("proc/812/fd/0", ""), ("proc/x/fd/0", "")]);
        let folder = host.path().join("proc/812/fd/3");
        symlink("socket:[81217]", folder).unwrap();
        assert_eq!(owners(&host.facts), BTreeMap::from([(81217, "tcpdump(812)".to_owned())]));
    }

    #[test]
    fn nobody_else_is_fine_and_others_are_named_with_their_groups() {
        let nic = silent();
        assert_eq!(check(&nic, &[capture(9, None, "far(1)")]).grade, Grade::Ok);
        let finding = check(
            &nic,
            &[
                capture(0, None, "dhclient(3)"),
                capture(2, Some((7, 0)), "kprobe(4)"),
                capture(2, Some((7, 0)), "kprobe(5)"),
            ],
        );
        assert_eq!(finding.grade, Grade::Note);
        assert!(
            finding.evidence.starts_with(
                "1 socket outside groups: dhclient(3); group 7 (hash) of 2 sockets: kprobe(4), \
                 kprobe(5). Each packet is copied 2 times"
            ),
            "{}",
            finding.evidence
        );
    }

    #[test]
    fn a_group_that_goes_round_robin_is_worth_a_warning() {
        let finding = check(&silent(), &[capture(2, Some((7, 1)), "kprobe(4)")]);
        assert_eq!(finding.grade, Grade::Warn);
        assert!(finding.advice[0].contains("--fanout-mode hash"));
    }
}
