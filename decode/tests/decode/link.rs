//! Spec 6.1: link layers.

use decode::{Frame, Ignored, Link, Malformed, Outcome};

use crate::frames::*;

const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];

/// 20 + 8 + 4 bytes of IP.
fn datagram() -> Vec<u8> {
    [ipv4(32, 17), udp(12), vec![1, 2, 3, 4]].concat()
}

fn datagram6() -> Vec<u8> {
    [ipv6(12, 17), udp(12), vec![1, 2, 3, 4]].concat()
}

#[track_caller]
fn assert_datagram(link: Link, data: &[u8], vlan: u16) {
    let (outcome, packet) = parse_as(link, data);
    assert_eq!(outcome, Outcome::Packet);
    assert_eq!((packet.src_port, packet.dst_port, packet.vlan), (5000, 53, vlan));
    assert_eq!(packet.payload(data), [1, 2, 3, 4]);
    assert_eq!(packet.bytes, if packet.ipv6 { 52 } else { 32 });
}

#[track_caller]
fn assert_outcome(link: Link, data: &[u8], outcome: Outcome) {
    assert_eq!(parse_as(link, data).0, outcome);
}

#[test]
fn linktypes_are_those_of_the_registry() {
    assert_eq!(Link::from_linktype(1), Some(Link::Ethernet));
    assert_eq!(Link::from_linktype(113), Some(Link::CookedV1));
    assert_eq!(Link::from_linktype(276), Some(Link::CookedV2));
    for raw in [12, 14, 101, 228, 229] {
        assert_eq!(Link::from_linktype(raw), Some(Link::RawIp));
    }
    assert_eq!(Link::from_linktype(0), Some(Link::BsdLoopback));
    assert_eq!(Link::from_linktype(108), Some(Link::BsdLoopback));
    assert_eq!(Link::from_linktype(105), None);
}

#[test]
fn a_plain_ethernet_frame_gives_macs_and_addresses() {
    let data = ethernet(&[&IPV4, &datagram()]);
    let packet = packet(&data);
    assert_eq!(packet.src_mac, SRC_MAC);
    assert_eq!(packet.dst_mac, DST_MAC);
    assert_eq!(packet.src, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 192, 0, 2, 1]);
    assert_eq!(packet.dst, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 198, 51, 100, 2]);
    assert!(!packet.ipv6);
    assert_datagram(Link::Ethernet, &data, 0);
    assert_datagram(Link::Ethernet, &ethernet(&[&IPV6, &datagram6()]), 0);
}

#[test]
fn a_frame_shorter_than_its_link_header_is_ignored() {
    let short = Outcome::Ignored(Ignored::ShortFrame);
    assert_outcome(Link::Ethernet, &[0; 13], short);
    assert_outcome(Link::CookedV1, &[0; 15], short);
    assert_outcome(Link::CookedV2, &[0; 19], short);
    assert_outcome(Link::RawIp, &[], short);
    assert_outcome(Link::BsdLoopback, &[0; 3], short);
}

#[test]
fn tags_of_every_kind_are_removed_and_the_innermost_id_is_kept() {
    for kind in [[0x81, 0x00], [0x88, 0xa8], [0x91, 0x00], [0x92, 0x00]] {
        // Priority 3 beside id 100.
        let data = ethernet(&[&kind, &[0x60, 100], &IPV4, &datagram()]);
        assert_datagram(Link::Ethernet, &data, 100);
        let data = ethernet(&[&kind, &[0, 100], &[0x81, 0], &[0x0f, 0xa0], &IPV6, &datagram6()]);
        assert_datagram(Link::Ethernet, &data, 4000);
    }
    let three =
        ethernet(&[&[0x81, 0, 0, 1], &[0x81, 0, 0, 2], &[0x81, 0, 0, 3], &IPV4, &datagram()]);
    assert_datagram(Link::Ethernet, &three, 3);
}

#[test]
fn a_tag_stripped_by_the_kernel_stands_outside_of_tags_in_the_frame() {
    let stripped =
        |data: &[u8]| parse_frame(Link::Ethernet, &Frame { vlan: Some(100), ..frame(data) });
    assert_eq!(stripped(&ethernet(&[&IPV4, &datagram()])).1.vlan, 100);
    assert_eq!(stripped(&ethernet(&[&[0x81, 0, 0, 7], &IPV4, &datagram()])).1.vlan, 7);
}

#[test]
fn a_priority_tag_names_no_vlan() {
    let data = ethernet(&[&[0x81, 0, 0xe0, 0], &IPV4, &datagram()]);
    assert_datagram(Link::Ethernet, &data, 0);
    let data = ethernet(&[&[0x88, 0xa8, 0, 9], &[0x81, 0, 0xe0, 0], &IPV4, &datagram()]);
    assert_datagram(Link::Ethernet, &data, 9);
}

#[test]
fn mpls_labels_are_removed_up_to_the_bottom_of_the_stack() {
    let label = [0, 0x01, 0x00, 64];
    let bottom = [0, 0x02, 0x01, 64];
    for ether_type in [[0x88, 0x47], [0x88, 0x48]] {
        assert_datagram(Link::Ethernet, &ethernet(&[&ether_type, &bottom, &datagram()]), 0);
        let two = ethernet(&[&[0x81, 0, 0, 5], &ether_type, &label, &bottom, &datagram6()]);
        assert_datagram(Link::Ethernet, &two, 5);
    }
    let eight = ethernet(&[&[0x88, 0x47], &label.repeat(7), &bottom, &datagram()]);
    assert_datagram(Link::Ethernet, &eight, 0);
    let nine = ethernet(&[&[0x88, 0x47], &label.repeat(8), &bottom, &datagram()]);
    assert_outcome(Link::Ethernet, &nine, Outcome::Malformed(Malformed::MplsDepth));
    let pseudowire = ethernet(&[&[0x88, 0x47], &bottom, &[0; 4], &datagram()]);
    assert_outcome(Link::Ethernet, &pseudowire, Outcome::Ignored(Ignored::MplsPayload));
}

#[test]
fn a_pppoe_session_is_unwrapped() {
    let session = [0x88, 0x64, 0x11, 0, 0, 1, 0, 34];
    assert_datagram(Link::Ethernet, &ethernet(&[&session, &[0, 0x21], &datagram()]), 0);
    assert_datagram(Link::Ethernet, &ethernet(&[&session, &[0, 0x57], &datagram6()]), 0);
    let lcp = ethernet(&[&session, &[0xc0, 0x21], &[9, 0, 0, 8]]);
    assert_outcome(Link::Ethernet, &lcp, Outcome::Ignored(Ignored::PppProtocol));
}

#[test]
fn what_is_not_ip_is_ignored_by_kind() {
    let arp = ethernet(&[&[0x08, 0x06], &[0; 28]]);
    assert_outcome(Link::Ethernet, &arp, Outcome::Ignored(Ignored::Arp));
    for other in [[0x88, 0xcc], [0x00, 0x26], [0x88, 0x63]] {
        let data = ethernet(&[&other, &[0; 46]]);
        assert_outcome(Link::Ethernet, &data, Outcome::Ignored(Ignored::EtherType));
    }
}

#[test]
fn a_tag_label_or_session_that_ends_early_is_malformed() {
    let cut = Outcome::Malformed(Malformed::LinkTruncated);
    assert_outcome(Link::Ethernet, &ethernet(&[&[0x81, 0, 0, 1, 8]]), cut);
    assert_outcome(Link::Ethernet, &ethernet(&[&[0x88, 0x47, 0, 0, 1]]), cut);
    assert_outcome(Link::Ethernet, &ethernet(&[&[0x88, 0x47, 0, 0, 1, 64]]), cut);
    assert_outcome(Link::Ethernet, &ethernet(&[&[0x88, 0x64, 0x11, 0, 0, 1, 0, 34, 0]]), cut);
}

#[test]
fn cooked_frames_give_the_sender_when_its_address_has_six_bytes() {
    let mut data = [&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 5, 0, 0][..], &IPV4, &datagram()].concat();
    assert_datagram(Link::CookedV1, &data, 0);
    assert_eq!(parse_as(Link::CookedV1, &data).1.src_mac, SRC_MAC);
    data[5] = 4;
    assert_eq!(parse_as(Link::CookedV1, &data).1.src_mac, [0; 6]);
    data[2..4].copy_from_slice(&824_u16.to_be_bytes());
    assert_outcome(Link::CookedV1, &data, Outcome::Ignored(Ignored::Device));
}

#[test]
fn cooked_frames_of_version_two_give_the_sender_and_inner_tags() {
    let header = [0x81, 0, 0, 0, 0, 0, 0, 3, 0, 1, 4, 6, 2, 0, 0, 0, 0, 5, 0, 0];
    let data = [&header[..], &[0, 77], &IPV6, &datagram6()].concat();
    assert_datagram(Link::CookedV2, &data, 77);
    let packet = parse_as(Link::CookedV2, &data).1;
    assert_eq!((packet.src_mac, packet.dst_mac), (SRC_MAC, [0; 6]));
}

#[test]
fn raw_ip_goes_by_the_version_nibble() {
    assert_datagram(Link::RawIp, &datagram(), 0);
    assert_datagram(Link::RawIp, &datagram6(), 0);
    assert_outcome(Link::RawIp, &[0x50; 60], Outcome::Malformed(Malformed::IpVersion));
}

#[test]
fn bsd_loopback_takes_the_family_in_either_byte_order() {
    for family in [[2, 0, 0, 0], [0, 0, 0, 2]] {
        assert_datagram(Link::BsdLoopback, &[&family[..], &datagram()].concat(), 0);
    }
    for family in [[10, 0, 0, 0], [24, 0, 0, 0], [0, 0, 0, 28], [30, 0, 0, 0]] {
        assert_datagram(Link::BsdLoopback, &[&family[..], &datagram6()].concat(), 0);
    }
    let other = [&[7, 0, 0, 0][..], &datagram()].concat();
    assert_outcome(Link::BsdLoopback, &other, Outcome::Ignored(Ignored::Family));
}
