//! Every reader of text or bytes stands whatever it is given.

use proptest::prelude::*;

use super::cpu::Times;
use super::facts::{cpu_list, cpu_text, cpus_in_mask};
use super::testing::host;
use super::{clock, cpu, interrupts, link, memory, packet_diag, privileges, sockets, softnet};

/// Text that resembles the kernel's tables more than chance would.
fn table() -> impl Strategy<Value = String> {
    "([0-9a-fA-FCPU:., \\-\\[\\]\n\tx/%]{0,16}|cpu |CPU0|CPU1|MemAvailable:|18446744073709551615|\n){0,24}"
}

proptest! {
    #[test]
    fn any_text_gives_a_result(text in table()) {
        let _ = softnet::parse(&text);
        let _ = interrupts::parse(&text);
        let _ = sockets::parse(&text);
        let _ = Times::parse(&text);
        let _ = cpu_list(&text);
        let _ = cpus_in_mask(&text);
        let _ = super::kernel::version(&text);
    }

    #[test]
    fn any_files_give_findings(text in table(), number in any::<i64>()) {
        let number = number.to_string();
        let folder = "sys/class/net/eth0";
        let path = |name: &str| format!("{folder}/{name}");
        let host = host(&[
            ("proc/thread-self/status", text.as_str()),
            ("proc/thread-self/limits", &text),
            ("proc/thread-self/cgroup", "0::/a\n"),
            ("proc/thread-self/mountinfo", "1 1 0:1 / /cg rw - cgroup2 cgroup2 rw\n"),
            ("cg/cgroup.controllers", "cpu memory"),
            ("cg/a/cpu.max", &format!("{number} {number}")),
            ("cg/memory.max", &number),
            ("proc/meminfo", &text),
            (path("speed").as_str(), &number),
            (path("mtu").as_str(), &number),
        ]);
        let _ = privileges::check(&host.facts);
        let _ = cpu::affinity(&host.facts);
        let _ = cpu::quota(&host.facts);
        let _ = memory::room(&host.facts);
        let _ = memory::locked(&host.facts);
        let _ = clock::check(&host.facts);
        let _ = link::frames(&host.facts, folder);
        let _ = link::depth(&host.facts, folder);
    }

    #[test]
    fn any_datagram_gives_sockets_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let mut found = Vec::new();
        let _ = packet_diag::take(&bytes, &mut found);
        prop_assert!(found.len() <= 256 / 16);
    }

    #[test]
    fn damaged_answers_of_the_kernel_stand(flips in prop::collection::vec((0usize..88, any::<u8>()), 0..8)) {
        // A message of 16 + 16 bytes, an attribute of 28, another of 12, then the end.
        let mut bytes = Vec::new();
        for word in [72u32, 0x0301_0014, 0, 0, 0x0003_0311, 7, 0, 0] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend([28, 0, 0, 0]);
        bytes.extend([0; 24]);
        bytes.extend([12, 0, 2, 0, 0, 0, 16, 0, 128, 0, 0, 0]);
        bytes.extend([16, 0, 0, 0, 3, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for (at, value) in flips {
            bytes[at] = value;
        }
        let _ = packet_diag::take(&bytes, &mut Vec::new());
    }

    #[test]
    fn cpu_lists_read_as_they_are_written(cpus in prop::collection::btree_set(0u32..1024, 0..64)) {
        prop_assert_eq!(cpu_list(&cpu_text(&cpus)), Some(cpus));
    }
}
