//! Filters in the kernel, with tags stripped on receive and inline on send.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use capture::{Filter, LINKTYPE_ETHERNET, Ring, RingConfig};
use common::packets::{Ends, ethernet, ipv4, tagged, tcp, udp};
use common::{collect, interface, send, small, stragglers, with_veth};

const ENDS: Ends = Ends { a: [10, 0, 0, 1], b: [10, 0, 0, 2], turned: false };

fn tcp_80() -> Vec<u8> {
    ethernet(0x0800, &ipv4(ENDS, 6, &tcp(4000, 80, &[0; 40])))
}

fn udp_53() -> Vec<u8> {
    ethernet(0x0800, &ipv4(ENDS, 17, &udp(4000, 53, &[0; 40])))
}

/// TCP and UDP, each untagged, with a tag (id 100, priority 3), another tag, and QinQ 7 over 100.
fn frames() -> Vec<Vec<u8>> {
    [tcp_80(), udp_53()]
        .into_iter()
        .flat_map(|frame| {
            [
                frame.clone(),
                tagged(0x8100, 0x6064, frame.clone()),
                tagged(0x8100, 200, frame.clone()),
                tagged(0x88a8, 7, tagged(0x8100, 100, frame)),
            ]
        })
        .collect()
}

/// Numbers of the frames that the filter lets through, received and sent.
fn passed(expression: &str) -> [Vec<usize>; 2] {
    let filter = Some(Filter::compile(expression, LINKTYPE_ETHERNET).unwrap());
    let config = RingConfig { filter, ..small() };
    ["vb", "va"].map(|end| {
        let mut ring = Ring::open(&interface(end), &config).unwrap();
        let mut numbers = Vec::new();
        for (number, frame) in frames().into_iter().enumerate() {
            send("va", &[frame]);
            for _ in 0..stragglers(&mut ring) {
                numbers.push(number);
            }
        }
        numbers
    })
}

fn passes_alike(expression: &'static str, expected: &'static [usize]) {
    with_veth(move || {
        let [received, sent] = passed(expression);
        assert_eq!(received, expected, "{expression}, received");
        assert_eq!(sent, expected, "{expression}, sent");
    });
}

#[test]
fn a_port_is_found_behind_any_tags() {
    passes_alike("tcp port 80", &[0, 1, 2, 3]);
}

#[test]
fn a_negation_is_not_fooled_by_tags() {
    passes_alike("not tcp", &[4, 5, 6, 7]);
}

#[test]
fn a_tag_and_what_is_behind_it_are_matched_together() {
    passes_alike("vlan 100 and udp", &[5]);
}

#[test]
fn any_tag_is_one() {
    passes_alike("vlan", &[1, 2, 3, 5, 6, 7]);
}

#[test]
fn no_tag_is_none() {
    passes_alike("not vlan", &[0, 4]);
}

#[test]
fn both_tags_of_qinq_are_named_from_the_outside_in() {
    passes_alike("vlan 7 and vlan 100 and tcp", &[3]);
}

#[test]
fn the_snap_length_is_kept_by_every_form() {
    with_veth(|| {
        for expression in ["tcp port 80", "vlan 100 and tcp port 80"] {
            let filter = Some(Filter::compile(expression, LINKTYPE_ETHERNET).unwrap());
            let config = RingConfig { filter, snap_bytes: 50, ..small() };
            for end in ["va", "vb"] {
                let mut ring = Ring::open(&interface(end), &config).unwrap();
                send("va", &[tagged(0x8100, 100, tcp_80())]);
                let seen = collect(&mut ring, 1);
                assert_eq!(seen.len(), 1, "{expression} on {end}");
                assert_eq!(seen[0].data.len(), 50);
            }
        }
    });
}

#[test]
fn a_filter_that_loops_is_refused_in_words() {
    with_veth(|| {
        let filter = Some(Filter::compile("ip6 protochain 6", LINKTYPE_ETHERNET).unwrap());
        let refused = Ring::open(&interface("vb"), &RingConfig { filter, ..small() });
        let text = refused.err().unwrap().to_string();
        assert_eq!(text, "the filter cannot run in the kernel: it has a loop (protochain)");
    });
}
