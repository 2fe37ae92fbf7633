//! The kernel's bare EINVAL on joining a group, put into words.
//!
//! Another mode, other flags, another interface or protocol of the members: the kernel says EINVAL
//! to each (net/packet/af_packet.c, fanout_add). What the members have is asked of packet_diag, and
//! the first difference is named, with the program that holds the group.

use std::io;

use super::members::{self, Member};
use super::{Fanout, FanoutMode, GroupId};
use crate::interface::{Interface, name_of};

/// PACKET_FANOUT_MAX: members a group takes unless its maker asked for more.
const MOST_MEMBERS: usize = 256;

pub(super) fn explain(error: &io::Error, fanout: Fanout, interface: &Interface) -> String {
    let name = match fanout.group {
        GroupId::Unique => "a new fanout group".to_owned(),
        GroupId::Number(number) => format!("fanout group {number}"),
    };
    let why = match error.raw_os_error() {
        Some(libc::EALREADY) => "this socket is a member already".to_owned(),
        Some(libc::ENOSPC) => full(fanout),
        Some(libc::EINVAL) => mismatch(fanout, interface),
        _ => error.to_string(),
    };
    format!("{name} refused this probe: {why}")
}

fn full(fanout: Fanout) -> String {
    let members = members_of(fanout).unwrap_or_default();
    format!(
        "it is full ({} members{}); choose another --fanout-group",
        members.len().max(MOST_MEMBERS),
        held_by(&members)
    )
}

fn mismatch(fanout: Fanout, interface: &Interface) -> String {
    let Some(members) = members_of(fanout) else {
        return format!(
            "its members (unknown, since the kernel has no packet_diag) use another mode than {}, \
             other flags, or another interface than {}; choose another --fanout-group",
            fanout.mode, interface.name
        );
    };
    let Some(first) = members.first() else {
        return format!(
            "it has no members, so this kernel does not know mode {} or its flags",
            fanout.mode
        );
    };
    let holder = held_by(&members);
    if first.interface != interface.index {
        return format!(
            "its members are on interface {}, not {}{holder}; choose another --fanout-group",
            name_of(first.interface),
            interface.name
        );
    }
    if u32::from(first.mode) != fanout.mode.number() {
        let theirs = mode_name(first.mode);
        let same = match theirs.parse::<FanoutMode>() {
            Ok(mode) => format!(" or --fanout-mode {mode}"),
            Err(_) => String::new(),
        };
        return format!(
            "its members use mode {theirs}, not {}{holder}; choose another --fanout-group{same}",
            fanout.mode
        );
    }
    if first.protocol != libc::ETH_P_ALL as u16 {
        return format!(
            "its members receive protocol {:#06x} only{holder}; choose another --fanout-group",
            first.protocol
        );
    }
    format!(
        "its members use other flags (outgoing frames, defragmentation or rollover){holder}; \
         choose another --fanout-group"
    )
}

fn members_of(fanout: Fanout) -> Option<Vec<Member>> {
    match fanout.group {
        GroupId::Unique => Some(Vec::new()),
        GroupId::Number(group) => members::of_group(group).ok(),
    }
}

/// ", held by NAME (process N)", or nothing when /proc does not tell.
fn held_by(members: &[Member]) -> String {
    let mut holders: Vec<String> = Vec::new();
    for (pid, command) in members::processes(members) {
        holders.push(if pid == std::process::id() {
            "this probe itself".to_owned()
        } else {
            format!("{command} (process {pid})")
        });
    }
    if holders.is_empty() {
        return match members.first() {
            Some(member) => {
                format!(", held by a program that is not visible (socket {})", member.inode)
            }
            None => String::new(),
        };
    }
    const NAMED: usize = 3;
    let more = holders.len().saturating_sub(NAMED);
    holders.truncate(NAMED);
    let mut text = format!(", held by {}", holders.join(", "));
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// Names as the kernel's header has them, those this probe does not offer included.
fn mode_name(number: u8) -> &'static str {
    match number {
        0 => "hash",
        1 => "lb",
        2 => "cpu",
        3 => "rollover",
        4 => "random",
        5 => "qm",
        6 => "cbpf",
        7 => "ebpf",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errno_of_no_special_meaning_is_passed_on() {
        let fanout =
            Fanout { group: GroupId::Number(7), mode: FanoutMode::Hash, ignore_outgoing: false };
        let lo = Interface::find("lo").unwrap();
        let text = explain(&io::Error::from_raw_os_error(libc::ENOMEM), fanout, &lo);
        assert_eq!(text, "fanout group 7 refused this probe: Cannot allocate memory (os error 12)");
    }
}
