//! Groups: who gets which frame, and why a join is refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use std::process::{Command, Stdio};
use std::time::Duration;

use capture::{Fanout, FanoutMode, GroupId, PacketType, Ring, RingConfig};
use common::packets::{Ends, conversation, ethernet, ipv4};
use common::{collect, collect_all, interface, ip, send, small, with_veth};

fn open(interface_name: &str, fanout: Fanout) -> Result<Ring, String> {
    let config = RingConfig { fanout: Some(fanout), ..small() };
    Ring::open(&interface(interface_name), &config).map_err(|error| error.to_string())
}

fn numbered(group: u16, mode: FanoutMode) -> Fanout {
    Fanout { group: GroupId::Number(group), mode, ignore_outgoing: false }
}

fn udp_frames(count: u8) -> Vec<Vec<u8>> {
    (0..count)
        .map(|n| {
            let ends = Ends { a: [10, 0, 0, n], b: [10, 1, 0, 1], turned: false };
            ethernet(0x0800, &ipv4(ends, 17, &conversation(ends)))
        })
        .collect()
}

#[test]
fn a_unique_group_tells_its_number_and_others_join_by_it() {
    with_veth(|| {
        let unique = Fanout {
            group: GroupId::Unique,
            mode: FanoutMode::LoadBalance,
            ignore_outgoing: false,
        };
        let first = open("vb", unique).unwrap();
        let joined = first.fanout().unwrap().clone();
        assert_eq!((joined.mode, &joined.note), (FanoutMode::LoadBalance, &None));
        let second = open("vb", numbered(joined.group, FanoutMode::LoadBalance)).unwrap();
        let other = open("vb", unique).unwrap();
        assert_ne!(other.fanout().unwrap().group, joined.group);
        drop(other);
        send("va", &udp_frames(100));
        let seen = collect_all(&mut [first, second], 100);
        assert_eq!(seen.iter().map(Vec::len).collect::<Vec<_>>(), [50, 50]);
    });
}

#[test]
fn by_queue_everything_of_one_queue_goes_to_one_member() {
    with_veth(|| {
        let fanout = numbered(3, FanoutMode::QueueMapping);
        let rings = [0; 2].map(|_| open("vb", fanout).unwrap());
        send("va", &udp_frames(50));
        let seen = collect_all(&mut { rings }, 50);
        assert_eq!(seen.iter().map(Vec::len).collect::<Vec<_>>(), [50, 0]);
    });
}

#[test]
fn a_group_may_leave_out_what_this_host_sends() {
    with_veth(|| {
        for mode in [FanoutMode::Hash, FanoutMode::Ebpf, FanoutMode::Cpu] {
            let fanout = Fanout { group: GroupId::Unique, mode, ignore_outgoing: true };
            let mut ring = open("vb", fanout).unwrap();
            let joined = ring.fanout().unwrap();
            assert_eq!((joined.mode, &joined.note), (mode, &None));
            send("vb", &udp_frames(20));
            send("va", &udp_frames(10));
            let seen = collect(&mut ring, 11);
            assert_eq!(seen.len(), 10, "{mode}");
            assert!(seen.iter().all(|frame| frame.packet_type != PacketType::Outgoing));
        }
    });
}

#[test]
fn a_group_without_the_flag_is_joined_and_what_is_sent_skipped() {
    with_veth(|| {
        let _all = open("vb", numbered(4, FanoutMode::LoadBalance)).unwrap();
        let fanout = Fanout { ignore_outgoing: true, ..numbered(4, FanoutMode::LoadBalance) };
        let mut ring = open("vb", fanout).unwrap();
        let note = ring.fanout().unwrap().note.clone().unwrap();
        assert!(note.contains("they are skipped after the ring"), "{note}");
        send("vb", &udp_frames(20));
        assert_eq!(collect(&mut ring, 1).len(), 0);
    });
}

#[test]
fn a_group_in_another_mode_refuses_and_names_the_holder() {
    with_veth(|| {
        let _held = open("vb", numbered(7, FanoutMode::LoadBalance)).unwrap();
        assert_eq!(
            open("vb", numbered(7, FanoutMode::Hash)).err().unwrap(),
            "fanout group 7 refused this probe: its members use mode lb, not hash, held by this \
             probe itself; choose another --fanout-group or --fanout-mode lb"
        );
    });
}

#[test]
fn a_group_on_another_interface_refuses_and_names_it() {
    with_veth(|| {
        let _held = open("va", numbered(7, FanoutMode::Hash)).unwrap();
        assert_eq!(
            open("vb", numbered(7, FanoutMode::Hash)).err().unwrap(),
            "fanout group 7 refused this probe: its members are on interface va, not vb, held by \
             this probe itself; choose another --fanout-group"
        );
    });
}

#[test]
fn a_group_with_other_flags_refuses() {
    with_veth(|| {
        let with_flag = Fanout { ignore_outgoing: true, ..numbered(7, FanoutMode::Hash) };
        let _held = open("vb", with_flag).unwrap();
        let text = open("vb", numbered(7, FanoutMode::Hash)).err().unwrap();
        assert!(text.contains("its members use other flags (outgoing frames, "), "{text}");
    });
}

#[test]
fn a_full_group_refuses_and_says_so() {
    with_veth(|| {
        let config = RingConfig {
            block_bytes: 1 << 16,
            blocks: 1,
            fanout: Some(numbered(7, FanoutMode::Hash)),
            ..RingConfig::default()
        };
        let open = || Ring::open(&interface("vb"), &config);
        let members: Vec<_> = (0..256).map(|_| open().unwrap()).collect();
        let text = open().err().unwrap().to_string();
        assert!(text.contains("it is full (256 members, held by this probe itself)"), "{text}");
        drop(members);
    });
}

/// tshark and its like are not at hand everywhere; python is a program of another name that can
/// hold a group.
const HOLDER: &str = "
import socket, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
s.bind((sys.argv[1], int(sys.argv[2], 0)))
s.setsockopt(263, 18, int(sys.argv[3], 0))
print('held', flush=True)
time.sleep(30)
";

fn held_by_python(protocol: &str, word: &str) -> Option<std::process::Child> {
    use std::io::Read as _;
    let mut child = Command::new("python3")
        .args(["-c", HOLDER, "vb", protocol, word])
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdout.as_mut()?.read_exact(&mut [0; 4]).ok()?;
    Some(child)
}

#[test]
fn a_group_held_by_another_program_names_it() {
    with_veth(|| {
        let Some(mut child) = held_by_python("0x0003", "0x00040009") else {
            eprintln!("skipped: needs python3");
            return;
        };
        let text = open("vb", numbered(9, FanoutMode::Hash)).err().unwrap();
        let pid = child.id();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(
            text,
            format!(
                "fanout group 9 refused this probe: its members use mode random, not hash, held \
                 by python3 (process {pid}); choose another --fanout-group"
            )
        );
    });
}

#[test]
fn a_group_for_another_protocol_is_told() {
    with_veth(|| {
        let Some(mut child) = held_by_python("0x0800", "0x00000009") else {
            eprintln!("skipped: needs python3");
            return;
        };
        let text = open("vb", numbered(9, FanoutMode::Hash)).err().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(text.contains("its members receive protocol 0x0800 only"), "{text}");
    });
}

#[test]
fn without_the_capability_hash_takes_the_place_of_ebpf_and_the_note_says_why() {
    with_veth(|| {
        use caps::{CapSet, Capability};
        // Capabilities are the thread's own (capabilities(7)).
        for capability in [Capability::CAP_BPF, Capability::CAP_SYS_ADMIN] {
            caps::drop(None, CapSet::Effective, capability).unwrap();
        }
        let unprivileged =
            std::fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled").unwrap();
        let fanout =
            Fanout { group: GroupId::Unique, mode: FanoutMode::Ebpf, ignore_outgoing: false };
        let ring = open("vb", fanout).unwrap();
        let joined = ring.fanout().unwrap();
        if unprivileged.trim() == "0" {
            eprintln!("skipped: anyone may load programs here");
            return;
        }
        assert_eq!(joined.mode, FanoutMode::Hash);
        let note = joined.note.as_deref().unwrap();
        assert_eq!(
            note,
            "fanout mode hash is used instead of ebpf: loading the steering program needs CAP_BPF: \
             Operation not permitted (os error 1)"
        );
    });
}

#[test]
fn a_member_with_the_capability_follows_a_group_that_fell_back_to_hash() {
    with_veth(|| {
        let _held = open("vb", numbered(7, FanoutMode::Hash)).unwrap();
        let ring = open("vb", numbered(7, FanoutMode::Ebpf)).unwrap();
        let joined = ring.fanout().unwrap();
        assert_eq!(joined.mode, FanoutMode::Hash);
        assert!(joined.note.as_deref().unwrap().contains("takes no member in this mode"));
    });
}

#[test]
fn nothing_is_seen_twice_while_members_come_and_go() {
    with_veth(|| {
        let mut first = open("vb", numbered(5, FanoutMode::Ebpf)).unwrap();
        send("va", &udp_frames(40));
        let mut second = open("vb", numbered(5, FanoutMode::Ebpf)).unwrap();
        send("va", &udp_frames(40));
        let mut sum = collect(&mut first, 80).len() + collect(&mut second, 80).len();
        drop(second);
        send("va", &udp_frames(40));
        sum += collect(&mut first, 40).len();
        assert_eq!(sum, 120);
        first.wait(Duration::ZERO).unwrap();
        ip("link set vb down");
    });
}
