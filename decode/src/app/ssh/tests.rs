//! Conversations written by hand.

use proptest::prelude::*;

use super::*;
use crate::app::Value;

const CLIENT_LISTS: [&str; 10] = [
    "curve25519-sha256,ecdh-sha2-nistp256,ext-info-c",
    "ssh-ed25519,rsa-sha2-512",
    "aes128-ctr,aes256-ctr",
    "chacha20-poly1305@openssh.com",
    "hmac-sha2-256,hmac-sha1",
    "hmac-md5",
    "none,zlib",
    "none",
    "",
    "",
];
const SERVER_LISTS: [&str; 10] = [
    "ecdh-sha2-nistp256,curve25519-sha256",
    "rsa-sha2-512",
    "aes256-ctr,aes192-ctr",
    "chacha20-poly1305@openssh.com",
    "hmac-sha1,hmac-sha2-512",
    "hmac-md5",
    "none",
    "none",
    "",
    "",
];

fn packet(payload: &[u8]) -> Vec<u8> {
    let padding = 8 - (payload.len() + 5) % 8 + 4;
    let mut packet = ((payload.len() + padding + 1) as u32).to_be_bytes().to_vec();
    packet.push(padding as u8);
    packet.extend_from_slice(payload);
    packet.resize(packet.len() + padding, 0);
    packet
}

fn kexinit(lists: &[&str; 10]) -> Vec<u8> {
    let mut payload = vec![20];
    payload.extend_from_slice(&[7; 16]);
    for list in lists {
        payload.extend_from_slice(&(list.len() as u32).to_be_bytes());
        payload.extend_from_slice(list.as_bytes());
    }
    payload.extend_from_slice(&[0; 5]);
    packet(&payload)
}

fn client() -> Vec<u8> {
    [&b"SSH-2.0-client_1\r\n"[..], &kexinit(&CLIENT_LISTS)].concat()
}

fn server() -> Vec<u8> {
    [
        &b"welcome\r\nto this host\r\nSSH-2.0-server_2 a comment\r\n"[..],
        &packet(&[2, 0, 0, 0, 0]),
        &kexinit(&SERVER_LISTS),
    ]
    .concat()
}

fn facts(ssh: &Ssh) -> Vec<(Field, String)> {
    let mut events = Events::default();
    ssh.facts(&mut events);
    let Some(event) = events.get(0) else { return Vec::new() };
    assert_eq!((events.len(), event.app, event.kind), (1, App::Ssh, Kind::Facts));
    let text = |value| if let Value::Text(text) = value { text.to_owned() } else { panic!() };
    event.attributes().map(|(field, value)| (field, text(value))).collect()
}

/// One decoder, and the verdict on each chunk.
fn decode(chunks: &[(Side, &[u8])]) -> (Ssh, Vec<Verdict>) {
    let mut ssh = Ssh::new();
    let mut events = Events::default();
    let verdicts =
        chunks.iter().map(|(side, bytes)| ssh.data(*side, bytes, 0, &mut events)).collect();
    assert!(events.is_empty());
    (ssh, verdicts)
}

#[test]
fn the_first_algorithm_of_the_client_that_the_server_has_is_agreed_on() {
    let (client, server) = (client(), server());
    let (ssh, verdicts) = decode(&[(Side::Client, &client), (Side::Server, &server)]);
    assert_eq!(verdicts, [Verdict::More, Verdict::Done]);
    assert_eq!(
        facts(&ssh),
        [
            (Field::SshClient, "SSH-2.0-client_1"),
            (Field::SshServer, "SSH-2.0-server_2 a comment"),
            (Field::SshKeyExchange, "curve25519-sha256"),
            (Field::SshHostKey, "rsa-sha2-512"),
            (Field::SshCipher, "aes256-ctr"),
            (Field::SshMac, "hmac-sha1"),
            // md5sum of "curve25519-sha256,ecdh-sha2-nistp256,ext-info-c;aes128-ctr,aes256-ctr;
            // hmac-sha2-256,hmac-sha1;none,zlib" in one line.
            (Field::SshHassh, "93b89cf26ca811d51de8c2d0e0293187"),
        ]
        .map(|(field, text)| (field, text.to_owned()))
    );
}

#[test]
fn a_cipher_that_authenticates_needs_no_mac() {
    for cipher in ["chacha20-poly1305@openssh.com", "aes256-gcm@openssh.com", "AEAD_AES_128_GCM"] {
        let mut lists = CLIENT_LISTS;
        lists[2] = cipher;
        let bytes = [&b"SSH-2.0-x\n"[..], &kexinit(&lists)].concat();
        let (ssh, _) = decode(&[(Side::Server, &bytes), (Side::Client, &bytes)]);
        let facts = facts(&ssh);
        assert!(facts.contains(&(Field::SshCipher, cipher.to_owned())));
        assert!(!facts.iter().any(|(field, _)| *field == Field::SshMac));
    }
}

#[test]
fn one_side_alone_gives_its_part() {
    let client = client();
    let (ssh, verdicts) = decode(&[(Side::Client, &client)]);
    assert_eq!(verdicts, [Verdict::More]);
    let fields: Vec<Field> = facts(&ssh).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, [Field::SshClient, Field::SshHassh]);
    assert!(facts(&Ssh::new()).is_empty());
}

#[test]
fn the_old_protocol_gives_its_names_only() {
    let (ssh, verdicts) =
        decode(&[(Side::Server, b"SSH-1.5-old\n"), (Side::Client, b"SSH-1.5-older\r\nxxxx")]);
    assert_eq!(verdicts, [Verdict::More, Verdict::Done]);
    assert_eq!(facts(&ssh).len(), 2);
}

#[test]
fn a_gap_ends_a_side_and_keeps_its_name() {
    let mut events = Events::default();
    let mut ssh = Ssh::new();
    assert_eq!(ssh.data(Side::Client, b"SSH-2.0-a\r\n\0\0", 0, &mut events), Verdict::More);
    assert_eq!(ssh.gap(Side::Client, 100, 0, &mut events), Verdict::More);
    assert_eq!(ssh.data(Side::Server, &server(), 0, &mut events), Verdict::Done);
    let fields: Vec<Field> = facts(&ssh).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, [Field::SshClient, Field::SshServer]);
    assert_eq!(ssh.heap_bytes(), ssh.halves.iter().map(Half::heap_bytes).sum::<usize>());
}

#[test]
fn other_protocols_are_given_up_within_a_bound() {
    let line = [b'x'; MAX_LINE_BYTES];
    let lines = b"220 ready\r\n".repeat(usize::from(MAX_LINES_BEFORE));
    for (side, bytes) in [
        (Side::Client, &b"GET / HTTP/1.1\r\n"[..]),
        (Side::Client, b"SSX"),
        (Side::Server, &line),
        (Side::Server, &lines),
        (Side::Server, b"\x00\x01\x02"),
    ] {
        let (ssh, verdicts) = decode(&[(side, bytes)]);
        assert_eq!(verdicts, [Verdict::Wrong]);
        assert!(facts(&ssh).is_empty());
    }
    assert_eq!(guess(b"SSH-2.0-x", Side::Client), Guess::Yes);
    assert_eq!(guess(b"SS", Side::Server), Guess::Maybe);
    assert_eq!(guess(b"220 ready", Side::Server), Guess::No);
}

#[test]
fn a_packet_beyond_the_buffer_or_endless_debug_messages_end_a_side() {
    let mut long = b"SSH-2.0-x\r\n".to_vec();
    long.extend_from_slice(&(MAX_BUFFER_BYTES as u32).to_be_bytes());
    let mut debug = b"SSH-2.0-x\r\n".to_vec();
    for _ in 0..20 {
        debug.extend_from_slice(&packet(&[4; 4000]));
    }
    debug.extend_from_slice(&kexinit(&CLIENT_LISTS));
    for bytes in [long, debug] {
        let (ssh, verdicts) = decode(&[(Side::Server, b"SSH-1.5-x\n"), (Side::Client, &bytes)]);
        assert_eq!(verdicts, [Verdict::More, Verdict::Done]);
        assert_eq!(facts(&ssh).len(), 2);
    }
}

proptest! {
    #[test]
    fn any_cuts_give_the_same_facts(
        cuts in prop::collection::vec(1..200_usize, 1..40), first: bool)
    {
        let (client, server) = (client(), server());
        let (whole, _) = decode(&[(Side::Client, &client), (Side::Server, &server)]);
        let mut sides = [(Side::Client, &client[..]), (Side::Server, &server[..])];
        let mut ssh = Ssh::new();
        let mut events = Events::default();
        let mut verdict = Verdict::More;
        for (turn, cut) in cuts.iter().cycle().enumerate() {
            let (side, rest) = &mut sides[(turn + usize::from(first)) % 2];
            let (now, later) = rest.split_at(rest.len().min(*cut));
            *rest = later;
            if !now.is_empty() {
                verdict = ssh.data(*side, now, 0, &mut events);
            }
            if sides.iter().all(|(_, rest)| rest.is_empty()) {
                break;
            }
        }
        prop_assert_eq!(verdict, Verdict::Done);
        prop_assert_eq!(facts(&ssh), facts(&whole));
    }

    #[test]
    fn any_bytes_give_a_bounded_result(chunks in prop::collection::vec(
        (any::<bool>(), any::<bool>(), 0..4_u8, prop::collection::vec(any::<u8>(), 1..3000)), 0..12))
    {
        let mut ssh = Ssh::new();
        let mut events = Events::default();
        for (server, start, gap, bytes) in chunks {
            let side = if server { Side::Server } else { Side::Client };
            let bytes = if start { [b"SSH-2.0-x\r\n\0\0\x20\0", &bytes[..]].concat() } else { bytes };
            let verdict = if gap == 0 {
                ssh.gap(side, 5, 0, &mut events)
            } else {
                ssh.data(side, &bytes, 0, &mut events)
            };
            prop_assert!(ssh.heap_bytes() <= 34 * 1024);
            if verdict != Verdict::More {
                break;
            }
        }
        ssh.end(Side::Client, 0, &mut events);
        ssh.facts(&mut events);
        prop_assert!(events.len() <= 1);
    }
}
