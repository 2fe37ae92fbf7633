//! Any frame on any link gives a consistent packet or a reason, and a shorter capture of the same
//! frame gives the same counts.
//!
//! Input, little-endian: link, flags (bit 0: tag stripped), VLAN id (2), bytes on the wire beyond
//! those captured (2), gso_size (2), gso_hdr_len (2), then the frame.
#![no_main]

use decode::{Frame, Ignored, Link, Malformed, Outcome, Packet, parse};
use libfuzzer_sys::fuzz_target;

const LINKS: [Link; 5] =
    [Link::Ethernet, Link::CookedV1, Link::CookedV2, Link::RawIp, Link::BsdLoopback];

fuzz_target!(|input: &[u8]| {
    let Some((head, data)) = input.split_first_chunk::<10>() else { return };
    let number = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    let link = LINKS[usize::from(head[0]) % LINKS.len()];
    let frame = Frame {
        data,
        wire_len: data.len() as u32 + u32::from(number(4)),
        vlan: (head[1] & 1 == 1).then(|| number(2)),
        gso_size: number(6),
        gso_hdr_len: number(8),
    };
    let Some(whole) = counted(link, &frame) else { return };
    // How an offloaded frame is split can depend on headers that are cut off.
    if frame.gso_size != 0 {
        return;
    }
    assert_eq!(whole.packets, 1);
    for captured in 0..data.len() {
        let cut = Frame { data: &data[..captured], ..frame };
        if let Some(packet) = counted(link, &cut) {
            assert_eq!((packet.packets, packet.bytes), (whole.packets, whole.bytes));
            assert_eq!((packet.src, packet.dst, packet.vlan), (whole.src, whole.dst, whole.vlan));
        }
    }
});

/// The packet or fragment that the frame is, checked for consistency.
fn counted(link: Link, frame: &Frame<'_>) -> Option<Packet> {
    let mut packet = Packet { src: [0xee; 16], tcp_seq: 7, fragments: 9, ..Packet::default() };
    match parse(link, frame, &mut packet) {
        Outcome::Packet => assert_eq!(packet.fragments, 0),
        Outcome::Fragment(fragment) => {
            assert_eq!((packet.packets, packet.fragments), (1, 1));
            assert!(fragment.offset_bytes % 8 == 0);
            assert!(fragment.more || fragment.offset_bytes > 0);
        }
        Outcome::Ignored(why) => {
            assert_eq!(Ignored::ALL[why.index()], why);
            return None;
        }
        Outcome::Malformed(why) => {
            assert_eq!(Malformed::ALL[why.index()], why);
            return None;
        }
    }
    assert!(packet.packets >= 1 && packet.bytes >= 20 * u64::from(packet.packets));
    assert!(packet.payload_captured <= packet.payload_len);
    assert_eq!(packet.payload_at, packet.l4_at + u32::from(packet.l4_header_len));
    assert_eq!(packet.payload(frame.data).len(), packet.payload_captured as usize);
    assert!(packet.vlan < 4096);
    Some(packet)
}
