//! The samples of the RFCs, and conversations made with the same keys.

use proptest::prelude::*;

use super::keys::tests::{seal, seal_with};
use super::packet::{VERSION_1, VERSION_2};
use super::*;
use crate::app::Value;

/// The protected packets of RFC 9001 appendix A.2 and RFC 9369 appendix A.2.
const SAMPLE_1: &[u8] = include_bytes!("vectors/rfc9001_a2.bin");
const SAMPLE_2: &[u8] = include_bytes!("vectors/rfc9369_a2.bin");
const DCID: [u8; 8] = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];
const CLIENT: u16 = 50_000;
const SERVER: u16 = 443;

fn datagram(payload: &[u8], src_port: u16) -> Datagram<'_> {
    let dst_port = if src_port == CLIENT { SERVER } else { CLIENT };
    Datagram { payload, src_port, dst_port, conversation: 1, now_us: 0 }
}

/// The facts and the verdict on each datagram.
fn decode(datagrams: &[(u16, &[u8])]) -> (Vec<String>, Vec<Verdict>, Quic) {
    let (mut quic, mut events) = (Quic::new(), Events::default());
    let verdicts = datagrams
        .iter()
        .map(|(port, payload)| quic.datagram(&datagram(payload, *port), &mut events))
        .collect();
    (facts(&events), verdicts, quic)
}

fn facts(events: &Events) -> Vec<String> {
    assert!(events.len() <= 1);
    let Some(event) = events.get(0) else { return Vec::new() };
    assert_eq!((event.app, event.kind), (App::Quic, EventKind::Facts));
    let text = |(field, value)| match value {
        Value::Text(text) => format!("{field:?} {text}"),
        Value::Number(number) => format!("{field:?} {number:#x}"),
        Value::Address(_) => panic!(),
    };
    event.attributes().map(text).collect()
}

/// The hello of the samples: offset 0, 241 bytes, without the CRYPTO frame's header.
fn hello() -> Vec<u8> {
    let mut quic = Quic::new();
    quic.read(&datagram(SAMPLE_1, CLIENT));
    quic.crypto.message().unwrap().to_vec()
}

fn crypto(begin: usize, data: &[u8]) -> Vec<u8> {
    let word = |number: usize| (0x4000 | number as u16).to_be_bytes();
    [&[6][..], &word(begin), &word(data.len()), data].concat()
}

fn expected(version: &str) -> Vec<String> {
    // JA4: sha256sum of "1301,1302" and of
    // "0005,000a,000d,001c,002b,002d,0033,0039,ff01_0403,0503,0603,0203,0804,0805,0806".
    vec![
        "QuicServerName example.com".to_owned(),
        format!("QuicVersion {version}"),
        "QuicAlpn alpn".to_owned(),
        "QuicJa4 q13d0211an_62ed6f6ca7ad_4d634acda6c0".to_owned(),
    ]
}

#[test]
fn the_samples_of_both_versions_are_opened() {
    for (sample, version) in [(SAMPLE_1, "0x1"), (SAMPLE_2, "0x6b3343cf")] {
        let (facts, verdicts, mut quic) = decode(&[(CLIENT, sample)]);
        assert_eq!(verdicts, [Verdict::Done]);
        assert_eq!(facts, expected(version));
        assert_eq!(quic.heap_bytes(), 0);
        let mut events = Events::default();
        assert_eq!(quic.datagram(&datagram(sample, CLIENT), &mut events), Verdict::Done);
        quic.end(&mut events);
        assert!(events.is_empty(), "facts are told once");
    }
}

#[test]
fn a_hello_in_two_datagrams_and_shuffled_frames_is_put_together() {
    let hello = hello();
    let first = [crypto(100, &hello[100..150]), vec![1], crypto(0, &hello[..60])].concat();
    let second = [crypto(150, &hello[150..]), vec![0; 7], crypto(60, &hello[60..100])].concat();
    for version in [VERSION_1, VERSION_2] {
        let first = seal(version, &DCID, &[], 0, &first);
        let second = seal(version, &DCID, &[], 1, &second);
        let (facts, verdicts, quic) = decode(&[(CLIENT, &first)]);
        assert_eq!((facts.len(), &verdicts[..]), (0, &[Verdict::More][..]));
        assert!((200..10_240).contains(&quic.heap_bytes()), "{}", quic.heap_bytes());
        // In either order, in one datagram, and again.
        let together = [&first[..], &second].concat();
        let told = expected(&format!("{version:#x}"));
        assert_eq!(decode(&[(CLIENT, &first), (CLIENT, &first), (CLIENT, &second)]).0, told);
        assert_eq!(decode(&[(CLIENT, &second), (CLIENT, &first)]).0, told);
        assert_eq!(decode(&[(CLIENT, &together)]).0, told);
    }
}

#[test]
fn keys_outlive_the_servers_choice_of_a_connection_id() {
    let hello = hello();
    let keys = Keys::derive(VERSION_1, &DCID).unwrap();
    let first = seal_with(&keys, &DCID, b"abc", 7, &crypto(0, &hello[..100]));
    let second = seal_with(&keys, b"server", b"abc", 8, &crypto(100, &hello[100..]));
    assert_eq!(decode(&[(CLIENT, &first), (CLIENT, &second)]).0, expected("0x1"));
}

#[test]
fn a_retry_brings_new_keys() {
    let hello = hello();
    let first = seal(VERSION_1, &DCID, b"abc", 0, &crypto(0, &hello[..100]));
    let retry = [&[0xf0, 0, 0, 0, 1, 3][..], b"abc", &[5], b"retry", &[9; 40]].concat();
    let second = seal(VERSION_1, b"retry", b"abc", 1, &crypto(100, &hello[100..]));
    let (facts, verdicts, _) = decode(&[(CLIENT, &first), (SERVER, &retry), (CLIENT, &second)]);
    assert_eq!(verdicts, [Verdict::More, Verdict::More, Verdict::Done]);
    assert_eq!(facts, expected("0x1"));
}

#[test]
fn a_version_that_exercises_negotiation_is_followed_by_a_real_one() {
    let odd = [&[0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8][..], &DCID, &[0; 1200]].concat();
    let list =
        [&[0x80, 0, 0, 0, 0, 0, 8][..], &DCID, &[0, 0, 0, 1, 0x6b, 0x33, 0x43, 0xcf]].concat();
    let (facts, verdicts, mut quic) = decode(&[(CLIENT, &odd), (SERVER, &list)]);
    assert_eq!((facts.len(), &verdicts[..]), (0, &[Verdict::More, Verdict::More][..]));
    let mut events = Events::default();
    quic.end(&mut events);
    assert_eq!(self::facts(&events), ["QuicVersion 0x1a2a3a4a"]);
    assert_eq!(decode(&[(CLIENT, &odd), (SERVER, &list), (CLIENT, SAMPLE_1)]).0, expected("0x1"));
    assert_eq!(guess(&odd), Guess::Maybe);
    assert_eq!(guess(&list), Guess::Maybe);
}

#[test]
fn a_hello_that_never_ends_is_given_up_with_its_version() {
    let hello = hello();
    let part = seal(VERSION_1, &DCID, &[], 0, &crypto(0, &hello[..100]));
    let datagrams = vec![(CLIENT, &part[..]); 64];
    let (facts, verdicts, _) = decode(&datagrams);
    assert_eq!(verdicts[62..], [Verdict::More, Verdict::Done]);
    assert_eq!(facts, ["QuicVersion 0x1"]);
    let other = seal(VERSION_1, &DCID, &[], 0, &crypto(0, &[2, 0, 0, 5]));
    let (facts, verdicts, _) = decode(&[(CLIENT, &other)]);
    assert_eq!((facts, verdicts), (vec!["QuicVersion 0x1".to_owned()], vec![Verdict::Done]));
}

#[test]
fn of_versions_that_are_not_read_the_number_is_told() {
    for (version, is_told) in [
        (0x709a_50c4, true),
        (0x5130_3436, true),
        (0xface_b002, true),
        (0xff00_001d, true),
        (0x1234_5678, false),
        (0x5130_4034, false),
    ] {
        let packet = [&[0xc3][..], &u32::to_be_bytes(version), &[8], &DCID, &[0; 1200]].concat();
        assert_eq!(guess(&packet), if is_told { Guess::Maybe } else { Guess::No });
        let (_, verdicts, quic) = decode(&[(CLIENT, &packet)]);
        assert_eq!(verdicts, [Verdict::More]);
        let mut events = Events::default();
        quic.facts(&mut events);
        let expected = is_told.then(|| format!("QuicVersion {version:#x}"));
        assert_eq!(facts(&events), Vec::from_iter(expected));
    }
}

#[test]
fn before_the_hello_is_whole_the_version_is_known() {
    let part = seal(VERSION_2, &DCID, &[], 0, &crypto(0, &hello()[..100]));
    let (mut told, verdicts, mut quic) = decode(&[(CLIENT, &part)]);
    assert_eq!((told.len(), &verdicts[..]), (0, &[Verdict::More][..]));
    for _ in 0..2 {
        let mut events = Events::default();
        quic.facts(&mut events);
        told = facts(&events);
        assert_eq!(told, ["QuicVersion 0x6b3343cf"]);
    }
    let mut events = Events::default();
    quic.end(&mut events);
    quic.facts(&mut events);
    assert_eq!(facts(&events), told, "told once when it ends");
    assert_eq!(quic.heap_bytes(), 0);
}

#[test]
fn a_conversation_without_its_beginning_is_given_up() {
    let mut damaged = SAMPLE_1.to_vec();
    damaged[600] ^= 1;
    let cut = &SAMPLE_1[..1000];
    let short = [0x41; 60];
    for payload in [&damaged[..], cut, &short, b"\x80"] {
        let (facts, verdicts, _) = decode(&[(CLIENT, payload); 4]);
        assert_eq!(verdicts[2..], [Verdict::More, Verdict::Wrong]);
        assert!(facts.is_empty());
    }
}

#[test]
fn keys_are_derived_for_a_few_packets_of_a_conversation_only() {
    let strange: Vec<Vec<u8>> = (0..20_u64)
        .map(|number| {
            let mut packet = seal(VERSION_1, &number.to_be_bytes(), &[], 0, &[]);
            packet[1000] ^= 1;
            packet
        })
        .collect();
    let mut quic = Quic::new();
    quic.version = 1;
    let mut events = Events::default();
    for packet in &strange {
        assert_eq!(quic.datagram(&datagram(packet, CLIENT), &mut events), Verdict::More);
    }
    assert_eq!(quic.derivations, MAX_DERIVATIONS);
    let mut quic = Quic::new();
    let _ = quic.datagram(&datagram(&strange.concat(), CLIENT), &mut events);
    assert_eq!(quic.derivations, 4);
    let mut quic = Quic::new();
    let short = [&[0xc0, 0, 0, 0, 1, 8][..], &DCID, &[0, 0, 0x44, 0x00], &[0; 1024]].concat();
    let _ = quic.datagram(&datagram(&short, CLIENT), &mut events);
    assert_eq!((quic.derivations, guess(&short)), (0, Guess::Yes));
}

#[test]
fn a_guess_wants_a_long_header_with_a_known_version_and_fitting_lengths() {
    assert_eq!(guess(SAMPLE_1), Guess::Yes);
    assert_eq!(guess(SAMPLE_2), Guess::Yes);
    let dns =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03org\x00\x00\x01\x00\x01";
    let radius = [&[1, 7, 0, 20][..], &[0xaa; 16]].concat();
    let rtp = [&[0x80, 0, 0, 1, 0, 0, 0, 1][..], &[0x55; 100]].concat();
    let mut no_fixed_bit = SAMPLE_1.to_vec();
    no_fixed_bit[0] &= !0x40;
    for other in [&[][..], dns, &radius, &rtp, &SAMPLE_1[..1100], &[0x40; 1200], &no_fixed_bit] {
        assert_eq!(guess(other), Guess::No);
    }
}

proptest! {
    #[test]
    fn any_cuts_of_a_hello_give_the_same_facts(
        cuts in prop::collection::vec(0..241_usize, 0..10), turn in 0..10_usize, v2: bool)
    {
        let hello = hello();
        let version = if v2 { VERSION_2 } else { VERSION_1 };
        let mut cuts = [&cuts[..], &[0, hello.len()]].concat();
        cuts.sort_unstable();
        cuts.dedup();
        let mut datagrams: Vec<Vec<u8>> = cuts
            .windows(2)
            .enumerate()
            .map(|(number, cut)| {
                seal(version, &DCID, &[], number as u16, &crypto(cut[0], &hello[cut[0]..cut[1]]))
            })
            .collect();
        let len = datagrams.len();
        datagrams.rotate_left(turn % len);
        let datagrams: Vec<(u16, &[u8])> =
            datagrams.iter().map(|datagram| (CLIENT, &datagram[..])).collect();
        let (facts, verdicts, _) = decode(&datagrams);
        prop_assert_eq!(facts, expected(&format!("{version:#x}")));
        prop_assert_eq!(verdicts.last(), Some(&Verdict::Done));
    }

    #[test]
    fn any_bytes_give_a_bounded_result(steps in prop::collection::vec(
        (0..3_u8, any::<bool>(), any::<u8>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..400)),
        0..70))
    {
        let (mut quic, mut events) = (Quic::new(), Events::default());
        for (how, from_client, first, version, bytes) in steps {
            let payload = match how {
                0 => bytes,
                1 => [&[first | 0x80][..], &version.to_be_bytes(), &bytes].concat(),
                _ => seal(VERSION_1, &DCID, &[], u16::from(first), &bytes),
            };
            let _ = guess(&payload);
            let port = if from_client { CLIENT } else { SERVER };
            let _ = quic.datagram(&datagram(&payload, port), &mut events);
            prop_assert!(quic.heap_bytes() <= 10 * 1024);
        }
        quic.end(&mut events);
        prop_assert!(events.len() <= 1);
    }
}

#[test]
fn who_goes_on_after_the_end_changes_nothing() {
    let (mut quic, mut events) = (Quic::new(), Events::default());
    for _ in 0..1000 {
        let datagram =
            Datagram { payload: b"", src_port: 443, dst_port: 443, conversation: 1, now_us: 0 };
        let _ = quic.datagram(&datagram, &mut events);
    }
    assert!(events.is_empty());
}
