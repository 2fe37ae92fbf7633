//! Kernels that lack something, or refuse it: simulated where the system calls leave the process.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use capture::{
    CaptureError, Fanout, FanoutMode, Filter, GroupId, LINKTYPE_ETHERNET, Plain, Ring, RingConfig,
    Source,
};
use common::packets::{Ends, conversation, ethernet, ipv4, tagged};
use common::{Seen, collect_source, interface, ip, send, small, with_namespace, with_veth};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// From here on setsockopt(SOL_PACKET, option) fails in this thread.
fn refuse(option: i32, errno: i32) {
    let is = |argument, value: i32| {
        let value = u64::from(value.cast_unsigned());
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value).unwrap()
    };
    let rule = SeccompRule::new(vec![is(1, libc::SOL_PACKET), is(2, option)]).unwrap();
    let filter = SeccompFilter::new(
        [(libc::SYS_setsockopt, vec![rule])].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(errno.cast_unsigned()),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

fn udp_frame(payload: u8) -> Vec<u8> {
    let ends = Ends { a: [10, 0, 0, payload], b: [10, 0, 0, 2], turned: false };
    ethernet(0x0800, &ipv4(ends, 17, &conversation(ends)))
}

fn frames() -> Vec<Vec<u8>> {
    vec![
        udp_frame(1),
        tagged(0x8100, 0x6064, udp_frame(2)),
        tagged(0x8100, 0, udp_frame(3)),
        tagged(0x88a8, 7, tagged(0x8100, 100, udp_frame(4))),
        ethernet(0x0806, &[0; 28]),
    ]
}

/// Everything but the time.
fn timeless(seen: Vec<Seen>) -> Vec<Seen> {
    seen.into_iter().map(|frame| Seen { time_ns: 0, ..frame }).collect()
}

fn both(name: &str, config: &RingConfig) -> [Source; 2] {
    let interface = interface(name);
    [
        Source::Ring(Ring::open(&interface, config).unwrap()),
        Source::Plain(Plain::open(&interface, config).unwrap()),
    ]
}

#[test]
fn plain_reads_give_the_frames_that_a_ring_gives() {
    with_veth(|| {
        for end in ["va", "vb"] {
            let mut sources = both(end, &small());
            send("va", &frames());
            let [ring, plain] = sources.each_mut().map(|source| collect_source(source, 5));
            assert_eq!(plain.len(), 5);
            for (ring, plain) in ring.iter().zip(&plain) {
                let apart = ring.time_ns.abs_diff(plain.time_ns);
                assert!(apart < 1_000_000_000, "{apart} ns apart");
            }
            assert_eq!(timeless(plain), timeless(ring));
            assert_eq!(sources[1].stats().unwrap().packets, 5);
        }
    });
}

#[test]
fn plain_reads_filter_cut_and_keep_the_wire_length() {
    with_veth(|| {
        let filter = Some(Filter::compile("udp", LINKTYPE_ETHERNET).unwrap());
        let config = RingConfig { filter, snap_bytes: 40, promiscuous: true, ..small() };
        let mut sources = both("vb", &config);
        send("va", &frames());
        let [ring, plain] = sources.each_mut().map(|source| timeless(collect_source(source, 4)));
        assert_eq!(plain.len(), 4);
        assert!(plain.iter().all(|frame| frame.data.len() == 40 && frame.wire_len > 60));
        assert_eq!(plain, ring);
    });
}

#[test]
fn plain_reads_tell_segmentation_offload() {
    with_namespace(|| {
        ip("link set lo up mtu 1500");
        let mut sources = both("lo", &RingConfig { block_bytes: 1 << 20, ..small() });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(&[0; 30_000]).unwrap();
        server.read_exact(&mut [0; 30_000]).unwrap();
        let [ring, plain] = sources.each_mut().map(|source| timeless(collect_source(source, 5)));
        let merged = |seen: &[Seen]| {
            seen.iter().filter(|f| f.offload.is_some_and(|o| o.segment_bytes == 1448)).count()
        };
        assert!(merged(&ring) > 0, "{ring:?}");
        assert_eq!(merged(&plain), merged(&ring));
    });
}

#[test]
fn plain_sockets_share_a_group() {
    with_veth(|| {
        let group = GroupId::Number(6);
        let fanout = Fanout { group, mode: FanoutMode::LoadBalance, ignore_outgoing: false };
        let config = RingConfig { fanout: Some(fanout), ..small() };
        let mut sources = both("vb", &config);
        assert_eq!(sources[1].fanout().unwrap().group, 6);
        send("va", &frames());
        let sum: usize = sources.each_mut().iter_mut().map(|s| collect_source(s, 3).len()).sum();
        assert_eq!(sum, 5);
    });
}

#[test]
fn without_the_offload_header_a_ring_opens_and_says_so() {
    with_veth(|| {
        refuse(libc::PACKET_VNET_HDR, libc::EINVAL);
        let (mut source, notes) = Source::open(&interface("vb"), &small()).unwrap();
        assert!(matches!(source, Source::Ring(_)));
        assert!(!source.has_vnet_header());
        assert!(notes.iter().any(|note| note.starts_with(
            "the kernel tells no segmentation offload (PACKET_VNET_HDR: Invalid argument"
        )));
        send("va", &[udp_frame(1)]);
        assert_eq!(collect_source(&mut source, 1)[0].offload, None);
    });
}

#[test]
fn without_tpacket_v3_plain_reads_take_over() {
    with_veth(|| {
        refuse(libc::PACKET_VERSION, libc::EINVAL);
        let (mut source, notes) = Source::open(&interface("vb"), &small()).unwrap();
        assert!(matches!(source, Source::Plain(_)));
        assert_eq!(
            notes[0],
            "the kernel has no packet ring of version 3: Invalid argument (os error 22); plain \
             reads are used instead of a ring, which loses packets at much lower rates"
        );
        send("va", &frames());
        assert_eq!(collect_source(&mut source, 5).len(), 5);
    });
}

#[test]
fn where_no_ring_fits_the_memory_plain_reads_take_over() {
    with_veth(|| {
        refuse(libc::PACKET_RX_RING, libc::ENOMEM);
        let (source, notes) = Source::open(&interface("vb"), &small()).unwrap();
        assert!(matches!(source, Source::Plain(_)));
        assert!(
            notes[0].starts_with(
                "a ring of 4 blocks of 262144 bytes was refused: Cannot allocate memory"
            ),
            "{notes:?}"
        );
    });
}

#[test]
fn without_auxiliary_data_tags_are_missed_and_the_note_says_so() {
    with_veth(|| {
        refuse(libc::PACKET_AUXDATA, libc::ENOPROTOOPT);
        let plain = Plain::open(&interface("vb"), &small()).unwrap();
        assert!(plain.notes()[0].starts_with("VLAN tags and lengths of cut frames are unknown"));
        let mut source = Source::Plain(plain);
        send("va", &[tagged(0x8100, 100, udp_frame(1))]);
        let seen = collect_source(&mut source, 1);
        assert_eq!(seen[0].vlan, None);
        assert_eq!(seen[0].data, udp_frame(1));
    });
}

#[test]
fn a_group_that_cannot_ignore_outgoing_frames_skips_them_after_the_ring() {
    with_veth(|| {
        // The kernel's ability cannot be taken away by option, so the other members do it.
        let all =
            Fanout { group: GroupId::Number(8), mode: FanoutMode::Ebpf, ignore_outgoing: false };
        let config = |fanout| RingConfig { fanout: Some(fanout), ..small() };
        let _held = Ring::open(&interface("vb"), &config(all)).unwrap();
        let ring =
            Ring::open(&interface("vb"), &config(Fanout { ignore_outgoing: true, ..all })).unwrap();
        assert_eq!(ring.fanout().unwrap().mode, FanoutMode::Ebpf);
        assert!(ring.notes().iter().any(|note| note.contains("skipped after the ring")));
    });
}

#[test]
fn without_the_capability_the_error_says_which_one() {
    with_veth(|| {
        use caps::{CapSet, Capability};
        caps::drop(None, CapSet::Effective, Capability::CAP_NET_RAW).unwrap();
        let interface = interface("vb");
        for refused in [
            Source::open(&interface, &small()).err().unwrap(),
            Plain::open(&interface, &small()).err().unwrap(),
        ] {
            assert!(matches!(refused, CaptureError::Privilege(_)), "{refused}");
            assert!(refused.to_string().contains("needs CAP_NET_RAW"));
        }
    });
}

#[test]
fn a_ring_too_large_for_the_address_space_is_halved() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let inside = Command::new("prlimit")
        .arg("--as=500000000")
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "inside_a_small_address_space"])
        .status();
    match inside {
        Ok(status) => assert!(status.success()),
        Err(_) => eprintln!("skipped: needs prlimit"),
    }
}

#[test]
#[ignore = "runs inside the limit that the test above sets"]
fn inside_a_small_address_space() {
    with_veth(|| {
        let config = RingConfig { block_bytes: 4 << 20, blocks: 128, ..RingConfig::default() };
        let (source, notes) = Source::open(&interface("vb"), &config).unwrap();
        assert!(matches!(source, Source::Ring(_)), "{notes:?}");
        assert!(
            notes.contains(&"memory for 64 of 128 blocks of the ring only".to_owned()),
            "{notes:?}"
        );
    });
}
