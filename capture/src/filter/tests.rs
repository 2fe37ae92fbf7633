use pcap::{Capture, Linktype};
use proptest::prelude::*;

use super::*;
use crate::frame::{PacketType, VlanTag};

const EXPRESSIONS: [&str; 16] = [
    "tcp port 80",
    "udp and greater 100",
    "not tcp",
    "host 10.0.0.1 or net 10.1.0.0/16",
    "ip6 and udp port 53",
    "icmp6",
    "ip[6:2] & 0x1fff = 0 and tcp[13] & 2 != 0",
    "ether host 02:00:00:00:00:01",
    "arp or rarp",
    "portrange 1000-5000",
    "ip protochain 6",
    "len <= 128",
    "tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420",
    "mpls 5 and tcp",
    "pppoes and udp",
    "ether[20] % 3 = 1 or ether[21] / ether[22] > 2",
];

fn frame(data: &[u8], vlan: Option<VlanTag>) -> Frame<'_> {
    Frame {
        time_ns: 0,
        data,
        wire_len: data.len() as u32,
        linktype: LINKTYPE_ETHERNET,
        vlan,
        packet_type: PacketType::Host,
        offload: None,
    }
}

/// A UDP or TCP frame to port 80 with these tags inline.
fn packet(tcp: bool, tags: &[(u16, u16)]) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
    let mut bytes = Vec::new();
    if tcp {
        builder.tcp(4000, 80, 1, 1000).write(&mut bytes, b"GET /").unwrap();
    } else {
        builder.udp(4000, 80).write(&mut bytes, b"hello").unwrap();
    }
    for (tpid, id) in tags.iter().rev() {
        let [t0, t1] = tpid.to_be_bytes();
        let [i0, i1] = id.to_be_bytes();
        bytes.splice(12..12, [t0, t1, i0, i1]);
    }
    bytes
}

/// What the filter says of the frame as it is, and with its outer tag taken out by the kernel.
fn both_forms(expression: &str, tcp: bool, tags: &[(u16, u16)]) -> [bool; 2] {
    let filter = Filter::compile(expression, LINKTYPE_ETHERNET).unwrap();
    let inline = packet(tcp, tags);
    let beside = packet(tcp, &tags[1..]);
    let tag = VlanTag { tpid: tags[0].0, tci: tags[0].1 };
    [filter.matches(&frame(&inline, None)), filter.matches(&frame(&beside, Some(tag)))]
}

#[test]
fn a_good_expression_keeps_the_snap_length_and_drops_the_rest() {
    let filter = Filter::compile("udp port 53", LINKTYPE_ETHERNET).unwrap();
    let cut = filter.with_snap_length(96);
    let returns: Vec<u32> = cut
        .instructions()
        .iter()
        .filter(|instruction| instruction.code == RETURN_K)
        .map(|instruction| instruction.k)
        .collect();
    assert!(returns.contains(&96) && returns.contains(&0), "{returns:?}");
    assert!(returns.iter().all(|&k| k == 96 || k == 0));
}

#[test]
fn a_bad_expression_gives_libpcaps_own_words() {
    let error = Filter::compile("udp prt 53", LINKTYPE_ETHERNET).unwrap_err();
    assert_eq!(
        error.to_string(),
        "can't parse filter expression: syntax error in filter \"udp prt 53\""
    );
    let error = Filter::compile("vlan 100", LINKTYPE_RAW).unwrap_err();
    assert_eq!(error.to_string(), "no VLAN support for Raw IP in filter \"vlan 100\"");
}

#[test]
fn an_expression_without_vlan_sees_through_any_tags() {
    for tags in [&[][..], &[(0x8100, 100)], &[(0x88a8, 7), (0x8100, 100)], &[(0x9100, 7)]] {
        let filter = Filter::compile("tcp port 80", LINKTYPE_ETHERNET).unwrap();
        assert!(filter.matches(&frame(&packet(true, tags), None)), "{tags:?}");
        assert!(!filter.matches(&frame(&packet(false, tags), None)), "{tags:?}");
        let not = Filter::compile("not tcp", LINKTYPE_ETHERNET).unwrap();
        assert!(!not.matches(&frame(&packet(true, tags), None)), "{tags:?}");
        assert!(not.matches(&frame(&packet(false, tags), None)), "{tags:?}");
    }
}

#[test]
fn an_expression_with_vlan_matches_a_tag_inline_and_beside_alike() {
    let one = &[(0x8100, 100)][..];
    let with_priority = &[(0x8100, 0x6064)][..];
    let two = &[(0x88a8, 7), (0x8100, 100)][..];
    assert_eq!(both_forms("vlan 100 and udp", false, one), [true, true]);
    assert_eq!(both_forms("vlan 100 and udp", true, one), [false, false]);
    assert_eq!(both_forms("vlan 100 and udp", false, with_priority), [true, true]);
    assert_eq!(both_forms("vlan 101", false, one), [false, false]);
    assert_eq!(both_forms("vlan", false, one), [true, true]);
    assert_eq!(both_forms("not vlan", false, one), [false, false]);
    assert_eq!(both_forms("vlan 7 and vlan 100 and tcp port 80", true, two), [true, true]);
    assert_eq!(both_forms("vlan 100 and vlan 7", true, two), [false, false]);
    assert_eq!(both_forms("vlan 7 and udp port 80", false, two), [false, false]);
    assert_eq!(both_forms("vlan and len > 50", false, one), [true, true]);
    // 14 + 4 + 20 + 8 + 5 bytes with the tag.
    assert_eq!(both_forms("vlan and len = 51", false, one), [true, true]);
    assert_eq!(
        both_forms("vlan and ether[14:2] & 0xe000 = 0x6000", false, with_priority),
        [true, true]
    );
}

#[test]
fn an_untagged_frame_matches_not_vlan_and_no_vlan() {
    let untagged = packet(true, &[]);
    let says = |expression: &str| {
        Filter::compile(expression, LINKTYPE_ETHERNET).unwrap().matches(&frame(&untagged, None))
    };
    assert!(says("not vlan"));
    assert!(!says("vlan"));
    assert!(says("tcp port 80 or vlan 100"));
}

#[test]
fn bytes_that_span_the_tag_are_refused_with_the_reason() {
    let error = Filter::compile("vlan and ether[12:4] = 0x81000064", LINKTYPE_ETHERNET);
    assert!(error.unwrap_err().to_string().starts_with("bytes 12 to 15 of a tagged frame"));
}

#[test]
fn a_program_for_any_picks_by_the_frames_link_type() {
    let filter = Filter::compile("udp port 80", LINKTYPE_PER_FRAME).unwrap();
    let tagged = packet(false, &[(0x8100, 100)]);
    assert!(filter.matches(&frame(&tagged, None)));
    let whole = packet(false, &[]);
    let raw = Frame { linktype: LINKTYPE_RAW, ..frame(&whole[14..], None) };
    assert!(filter.matches(&raw));
    let other = Frame { linktype: 113, ..frame(&whole, None) };
    assert!(!filter.matches(&other));
    let ethernet_only = Filter::compile("ether host 2:0:0:0:0:1", LINKTYPE_PER_FRAME).unwrap();
    assert!(ethernet_only.matches(&frame(&whole, None)));
    assert!(!ethernet_only.matches(&raw));
}

#[test]
fn a_program_with_a_loop_is_not_for_the_kernel() {
    let filter = Filter::compile("ip6 protochain 6", LINKTYPE_ETHERNET).unwrap();
    assert_eq!(filter.check_kernel(), Err("it has a loop (protochain)"));
}

#[test]
fn a_program_of_many_hosts_fits_the_kernel_and_a_longer_one_is_refused() {
    let hosts: Vec<_> = (0..100).map(|n| format!("host 10.0.{n}.1")).collect();
    let expression = format!("vlan and ({})", hosts.join(" or "));
    let filter = Filter::compile(&expression, LINKTYPE_ETHERNET).unwrap();
    assert_eq!(filter.check_kernel(), Ok(()));
    let tag = Some(VlanTag { tpid: 0x8100, tci: 5 });
    let mut bytes = packet(true, &[]);
    bytes[26..30].copy_from_slice(&[10, 0, 99, 1]);
    assert!(filter.matches(&frame(&bytes, tag)));
    bytes[26..30].copy_from_slice(&[10, 0, 100, 1]);
    assert!(!filter.matches(&frame(&bytes, tag)));
    let long = Filter::of(vec![statement(RETURN_K, 1); 4097]);
    assert_eq!(long.check_kernel(), Err("it is longer than 4096 instructions"));
}

#[test]
fn an_expression_too_long_for_three_forms_is_used_in_one_and_says_so() {
    let bytes: Vec<_> = (0..700).map(|n| format!("ether[{}] = {}", 60 + n, n % 250)).collect();
    let filter = Filter::compile(&bytes.join(" or "), LINKTYPE_ETHERNET).unwrap();
    assert!(filter.note().unwrap().starts_with("the filter is too long for its forms"));
    assert_eq!(filter.check_kernel(), Ok(()));
    let short = Filter::compile("tcp", LINKTYPE_ETHERNET).unwrap();
    assert_eq!(short.note(), None);
}

/// A frame whose fields are often those the expressions look for.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let mutations = proptest::collection::vec((0usize..60, any::<u8>()), 0..6);
    let tags = prop_oneof![
        Just(vec![]),
        Just(vec![(0x8100u16, 100u16)]),
        Just(vec![(0x88a8, 7), (0x8100, 100)]),
    ];
    (any::<bool>(), tags, mutations, 0usize..80).prop_map(|(tcp, tags, mutations, length)| {
        let mut bytes = packet(tcp, &tags);
        for (at, byte) in mutations {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        bytes.truncate(length);
        bytes
    })
}

proptest! {
    #[test]
    fn the_machine_agrees_with_libpcaps(bytes in hostile(), which in 0..EXPRESSIONS.len()) {
        let capture = Capture::dead(Linktype(1)).unwrap();
        let theirs = capture.compile(EXPRESSIONS[which], true).unwrap();
        let ours = Filter::of(compile(EXPRESSIONS[which], 1).unwrap());
        prop_assert_eq!(ours.matches(&frame(&bytes, None)), theirs.filter(&bytes));
    }

    #[test]
    fn a_tag_beside_the_frame_is_as_good_as_inline(
        bytes in hostile().prop_filter("a header", |bytes| bytes.len() >= 14),
        expression in prop_oneof![
            Just("vlan"), Just("not vlan"), Just("vlan 100 and tcp port 80"),
            Just("vlan and vlan 100 and udp"), Just("tcp or (vlan 100 and udp)"),
            Just("not (vlan 7 and vlan)"), Just("vlan and ether[14] & 1 = 0 and len > 40"),
        ],
        id in 0u16..4096,
    ) {
        let filter = Filter::compile(expression, LINKTYPE_ETHERNET).unwrap();
        let mut inline = bytes.clone();
        let [i0, i1] = id.to_be_bytes();
        inline.splice(12..12, [0x81, 0x00, i0, i1]);
        let tag = Some(VlanTag { tpid: 0x8100, tci: id });
        prop_assert_eq!(
            filter.matches(&frame(&bytes, tag)),
            filter.matches(&frame(&inline, None))
        );
    }

    #[test]
    fn any_program_over_any_frame_gives_a_clean_result(
        program in proptest::collection::vec((any::<u16>(), any::<u8>(), any::<u8>(), any::<u32>()), 0..40),
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let instructions: Vec<_> = program
            .into_iter()
            .map(|(code, jt, jf, k)| sock_filter { code, jt: jt % 8, jf: jf % 8, k: k % 64 })
            .collect();
        let _ = rewrite::for_tag_beside(&instructions);
        let _ = Filter::of(instructions).matches(&frame(&bytes, None));
    }
}
