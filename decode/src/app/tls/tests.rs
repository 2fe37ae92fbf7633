use proptest::prelude::*;

use super::client_hello::tests::{alpn, hello, server_name};
use super::records::MAX_KEPT_BYTES;
use super::*;
use crate::app::{Field, Kind, Value};

fn record(kind: u8, version: u16, content: &[u8]) -> Vec<u8> {
    let [high, low] = version.to_be_bytes();
    let [len_high, len_low] = (content.len() as u16).to_be_bytes();
    [&[kind, high, low, len_high, len_low], content].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32).to_be_bytes();
    [&[kind], &len[1..], body].concat()
}

fn client_hello() -> Vec<u8> {
    let extensions = [(0, server_name("example.org")), (16, alpn(&[b"h2", b"http/1.1"]))];
    hello(0x0303, &[0xc02b, 0x002f], &extensions)
}

fn server_hello(version: u16, cipher: u16, extensions: &[u8]) -> Vec<u8> {
    let mut body =
        [&version.to_be_bytes()[..], &[9; 32], &[0], &cipher.to_be_bytes(), &[0]].concat();
    if !extensions.is_empty() {
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
    }
    message(SERVER_HELLO, &body)
}

fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    [&[tag, 0x82][..], &(content.len() as u16).to_be_bytes(), &content].concat()
}

/// A certificate of `CN=name`, or without name but with an alternative one.
fn certificate(common: Option<&str>, alternative: &str) -> Vec<u8> {
    let common = common.map(|name| (0x0c, name.as_bytes()));
    certificate_of(common, (0x82, alternative.as_bytes()))
}

/// The same from tags and contents.
fn certificate_of(common: Option<(u8, &[u8])>, alternative: (u8, &[u8])) -> Vec<u8> {
    let name = common.map_or(vec![], |(tag, name)| {
        let attribute = [&[6, 3, 0x55, 4, 3][..], &element(tag, &[name])].concat();
        element(0x31, &[&element(0x30, &[&attribute])])
    });
    let names = element(0x30, &[&element(alternative.0, &[alternative.1])]);
    let extension = [&[6, 3, 0x55, 29, 17][..], &element(4, &[&names])].concat();
    let extensions = element(0xa3, &[&element(0x30, &[&element(0x30, &[&extension])])]);
    let validity =
        [&element(0x17, &[b"240101000000Z"])[..], &element(0x17, &[b"260102030405Z"])].concat();
    let empty = element(0x30, &[]);
    let parts: [&[u8]; 8] = [
        &[0xa0, 3, 2, 1, 2],
        &[2, 1, 5],
        &empty,
        &empty,
        &element(0x30, &[&validity]),
        &element(0x30, &[&name]),
        &empty,
        &extensions,
    ];
    element(0x30, &[&element(0x30, &parts), &empty, &[3, 1, 0]])
}

fn certificate_message(der: &[u8]) -> Vec<u8> {
    let len = |len: usize| (len as u32).to_be_bytes()[1..].to_vec();
    message(CERTIFICATE, &[len(der.len() + 3), len(der.len()), der.to_vec()].concat())
}

/// What is known after these pieces, and how it ended.
fn decode(pieces: &[(Side, &[u8])]) -> (Vec<(Field, String)>, Verdict) {
    let mut tls = Tls::new();
    let mut events = Events::default();
    let mut verdict = Verdict::More;
    for (from, bytes) in pieces {
        if verdict == Verdict::More {
            verdict = tls.data(*from, bytes, 0, &mut events);
        }
        assert!(tls.heap_bytes() <= 2 * MAX_KEPT_BYTES + 4096);
    }
    (known(&tls), verdict)
}

fn known(tls: &Tls) -> Vec<(Field, String)> {
    let mut events = Events::default();
    tls.facts(&mut events);
    assert!(events.iter().all(|event| event.kind == Kind::Facts) && events.len() <= 1);
    let attributes = events.iter().flat_map(|event| event.attributes().collect::<Vec<_>>());
    let texts = attributes.map(|(field, value)| match value {
        Value::Text(text) => (field, text.to_owned()),
        Value::Number(number) => (field, number.to_string()),
        Value::Address(address) => (field, address.to_string()),
    });
    texts.collect()
}

fn has(known: &[(Field, String)], field: Field, text: &str) -> bool {
    known.iter().any(|(known, value)| *known == field && value == text)
}

use Side::{Client, Server};

#[test]
fn tls_1_2_with_several_messages_in_one_record() {
    let client = record(22, 0x0301, &client_hello());
    let server = [
        server_hello(0x0303, 0xc02b, &[0, 16, 0, 5, 0, 3, 2, b'h', b'2']),
        certificate_message(&certificate(Some("www.example.org"), "x")),
        message(14, &[]),
    ]
    .concat();
    let server = record(22, 0x0303, &server);
    let (known, verdict) = decode(&[(Client, &client), (Server, &server)]);
    assert_eq!(verdict, Verdict::More);
    let expected = [
        (Field::TlsServerName, "example.org"),
        (Field::TlsAlpn, "h2"),
        (Field::TlsCertSubject, "www.example.org"),
        (Field::TlsVersion, "771"),
        (Field::TlsCipher, "49195"),
        // date -u -d 2026-01-02T03:04:05 +%s
        (Field::TlsCertExpiry, "1767323045"),
    ];
    for (field, text) in expected {
        assert!(has(&known, field, text), "{field:?} {known:?}");
    }
    let change = record(20, 0x0303, &[1]);
    let (_, verdict) = decode(&[(Client, &client), (Server, &server), (Client, &change)]);
    assert_eq!(verdict, Verdict::Done);
}

#[test]
fn an_alternative_name_stands_in_for_a_common_one() {
    let server = [
        server_hello(0x0303, 0x002f, &[]),
        certificate_message(&certificate(None, "alt.example.org")),
    ];
    let (known, _) = decode(&[(Server, &record(22, 0x0303, &server.concat()))]);
    assert!(has(&known, Field::TlsCertSubject, "alt.example.org"), "{known:?}");
}

#[test]
fn names_of_a_certificate_have_many_forms() {
    let subject = |common, alternative| {
        let certificate = Certificate::parse(&certificate_of(common, alternative));
        let subject = certificate.subject.map(|name| String::from_utf8(name.into()).unwrap());
        subject.unwrap_or_default()
    };
    let bmp = "K\u{f6}ln".encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>();
    let other = (0x82, &b"other"[..]);
    assert_eq!(subject(Some((0x1e, &bmp)), other), "K\u{f6}ln");
    assert_eq!(subject(Some((0x13, b"printable")), other), "printable");
    assert_eq!(subject(Some((0x0c, b"")), other), "other");
    assert_eq!(subject(None, (0x87, &[192, 0, 2, 1])), "192.0.2.1");
    let v6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    assert_eq!(subject(None, (0x87, &v6)), "2001:db8::1");
    assert_eq!(subject(None, (0x87, &[1, 2, 3])), "");
    assert_eq!(subject(None, (0x81, b"mail@example.org")), "");
}

#[test]
fn tls_1_0_hellos_without_extensions_are_accepted() {
    let client = record(22, 0x0301, &hello(0x0301, &[0x002f], &[]));
    let server = record(22, 0x0301, &server_hello(0x0301, 0x002f, &[]));
    let (known, _) = decode(&[(Client, &client), (Server, &server)]);
    assert!(has(&known, Field::TlsVersion, "769") && has(&known, Field::TlsCipher, "47"));
    assert!(!known.iter().any(|(field, _)| *field == Field::TlsServerName));
}

#[test]
fn tls_1_3_is_told_by_its_extension_and_ends_with_the_server_hello() {
    let client = record(22, 0x0301, &client_hello());
    let server = record(22, 0x0303, &server_hello(0x0303, 0x1301, &[0, 43, 0, 2, 3, 4]));
    let (known, verdict) = decode(&[(Client, &client), (Server, &server)]);
    assert_eq!(verdict, Verdict::Done);
    assert!(has(&known, Field::TlsVersion, "772") && has(&known, Field::TlsCipher, "4865"));
    // The server's choice is encrypted: what the client asked for first stands.
    assert!(has(&known, Field::TlsAlpn, "h2"));
}

#[test]
fn messages_that_span_records_are_joined() {
    let hello = client_hello();
    let (first, second) = hello.split_at(40);
    let pieces = [record(22, 0x0301, first), record(22, 0x0301, second)].concat();
    let (known, _) = decode(&[(Client, &pieces)]);
    assert!(has(&known, Field::TlsServerName, "example.org"));
}

#[test]
fn both_directions_are_kept_apart() {
    let client = record(22, 0x0301, &client_hello());
    let server = record(22, 0x0303, &server_hello(0x0303, 0x1301, &[0, 43, 0, 2, 3, 4]));
    let pieces = [
        (Client, &client[..30]),
        (Server, &server[..20]),
        (Client, &client[30..]),
        (Server, &server[20..]),
    ];
    let (known, verdict) = decode(&pieces);
    assert_eq!(verdict, Verdict::Done);
    assert!(has(&known, Field::TlsServerName, "example.org"));
    assert!(has(&known, Field::TlsVersion, "772"));
}

#[test]
fn an_old_record_version_is_reported_and_ends_it() {
    let (known, verdict) = decode(&[(Client, &record(22, 0x0300, &client_hello()))]);
    assert_eq!((known, verdict), (vec![(Field::TlsVersion, "768".into())], Verdict::Done));
    // Only if the content type is one of TLS.
    let (known, verdict) = decode(&[(Client, &record(24, 0x0300, &client_hello()))]);
    assert_eq!((known, verdict), (vec![], Verdict::Wrong));
}

#[test]
fn a_fatal_alert_is_named() {
    let client = record(22, 0x0301, &client_hello());
    let warning = record(21, 0x0303, &[1, 112]);
    let alert = record(21, 0x0303, &[2, 40]);
    let (known, verdict) = decode(&[(Client, &client), (Server, &warning), (Server, &alert)]);
    assert_eq!(verdict, Verdict::Done);
    assert!(has(&known, Field::TlsAlert, "handshake_failure"));
}

#[test]
fn early_data_do_not_hide_the_server_hello() {
    let early = [record(20, 0x0303, &[1]), record(23, 0x0303, &[0; 100])].concat();
    let client = [record(22, 0x0301, &client_hello()), early].concat();
    let server = record(22, 0x0303, &server_hello(0x0303, 0x1301, &[0, 43, 0, 2, 3, 4]));
    let (known, verdict) = decode(&[(Client, &client), (Server, &server)]);
    assert_eq!(verdict, Verdict::Done);
    assert!(has(&known, Field::TlsVersion, "772"));
    // A server that is never heard is not waited for.
    let more = [0; 1000];
    let pieces: Vec<_> =
        [(Client, &client[..])].into_iter().chain([(Client, &more[..]); 70]).collect();
    assert_eq!(decode(&pieces).1, Verdict::Done);
}

#[test]
fn a_resumed_session_ends_with_its_change_of_cipher() {
    let server = [record(22, 0x0303, &server_hello(0x0303, 0xc02f, &[])), record(20, 0x0303, &[1])];
    let (known, verdict) = decode(&[(Server, &server.concat())]);
    assert_eq!(verdict, Verdict::Done);
    assert!(has(&known, Field::TlsCipher, "49199"));
}

#[test]
fn what_is_no_handshake_is_another_protocol() {
    for bytes in
        [&b"GET / HTTP/1.1\r\n"[..], b"SSH-2.0-x", &[22, 4, 0, 0, 5], &[22, 3, 1, 255, 255]]
    {
        assert_eq!(decode(&[(Client, bytes)]), (vec![], Verdict::Wrong), "{bytes:?}");
    }
    assert_eq!(decode(&[(Client, &record(22, 0x0301, &message(99, b"x")))]).1, Verdict::Wrong);
}

#[test]
fn each_side_keeps_at_most_16_kib() {
    let mut endless = message(CLIENT_HELLO, &vec![0; 60_000]);
    endless.truncate(50_000);
    let mut tls = Tls::new();
    let mut events = Events::default();
    for content in endless.chunks(1000) {
        let _ = tls.data(Client, &record(22, 0x0301, content), 0, &mut events);
        assert!(tls.heap_bytes() <= MAX_KEPT_BYTES, "{}", tls.heap_bytes());
    }
    assert_eq!((tls.heap_bytes(), known(&tls)), (0, vec![]));
}

#[test]
fn the_first_certificate_of_a_long_chain_is_read_before_the_rest_came() {
    let der = certificate(Some("www.example.org"), "x");
    let mut chain = certificate_message(&[der.clone(), vec![0; 40_000]].concat());
    // The list says 40 KB, the first certificate its own length.
    chain.splice(7..10, (der.len() as u32).to_be_bytes()[1..].to_vec());
    let server = [server_hello(0x0303, 0x002f, &[]), chain[..2000].to_vec()].concat();
    let (known, _) = decode(&[(Server, &record(22, 0x0303, &server))]);
    assert!(has(&known, Field::TlsCertSubject, "www.example.org"), "{known:?}");
}

#[test]
fn a_loss_in_the_certificate_leaves_the_hello() {
    let mut tls = Tls::new();
    let mut events = Events::default();
    let server = [server_hello(0x0303, 0x002f, &[]), certificate_message(&[1; 900])].concat();
    let server = record(22, 0x0303, &server);
    let (first, rest) = server.split_at(200);
    let (lost, rest) = rest.split_at(500);
    assert_eq!(tls.data(Server, first, 0, &mut events), Verdict::More);
    assert_eq!(tls.gap(Server, lost.len() as u64, 0, &mut events), Verdict::More);
    assert_eq!(tls.data(Server, rest, 0, &mut events), Verdict::More);
    assert!(has(&known(&tls), Field::TlsCipher, "47"));
    assert_eq!(tls.data(Server, &record(20, 0x0303, &[1]), 0, &mut events), Verdict::Done);
}

#[test]
fn guesses_are_strict() {
    let client = record(22, 0x0301, &client_hello());
    let server = record(22, 0x0303, &server_hello(0x0303, 0x1301, &[]));
    assert_eq!(guess(&client, Client), Guess::Yes);
    assert_eq!(guess(&server, Server), Guess::Yes);
    assert_eq!(guess(&client, Server), Guess::No);
    assert_eq!(guess(&client[..3], Client), Guess::Maybe);
    assert_eq!(guess(&[], Client), Guess::Maybe);
    assert_eq!(guess(&record(21, 0x0303, &[2, 40]), Server), Guess::Yes);
    for bytes in [
        &b"GET / HTTP/1.1"[..],
        b"SSH-2.0",
        &[22, 3, 1, 0, 0, 1],
        &[22, 2, 0, 0, 9, 1],
        &[23, 3, 3],
    ] {
        assert_eq!(guess(bytes, Client), Guess::No, "{bytes:?}");
    }
}

fn pieces() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
    let whole = vec![
        record(22, 0x0301, &client_hello()),
        record(22, 0x0303, &server_hello(0x0303, 0x002f, &[])),
        record(22, 0x0303, &certificate_message(&certificate(Some("a"), "b"))),
        record(22, 0x0303, &server_hello(0x0303, 0x1301, &[0, 43, 0, 2, 3, 4])),
        record(20, 0x0303, &[1]),
        record(21, 0x0303, &[1, 0]),
        record(22, 0x0303, &message(12, &[7; 300])),
    ];
    let broken = (prop::sample::select(whole.clone()), any::<prop::sample::Index>(), any::<u8>())
        .prop_map(|(mut bytes, at, value)| {
            let at = at.index(bytes.len());
            bytes[at] = value;
            bytes
        });
    let piece = prop_oneof![
        prop::sample::select(whole),
        broken,
        prop::collection::vec(any::<u8>(), 1..80),
    ];
    prop::collection::vec((any::<bool>(), piece), 1..12)
}

proptest! {
    #[test]
    fn any_bytes_with_gaps_give_a_clean_result(
        steps in pieces(),
        gaps in prop::collection::vec((any::<bool>(), 1..400_u64), 12),
    ) {
        let mut tls = Tls::new();
        let mut events = Events::default();
        for ((is_client, bytes), (has_gap, lost)) in steps.iter().zip(gaps) {
            let from = if *is_client { Client } else { Server };
            if tls.data(from, bytes, 0, &mut events) != Verdict::More {
                break;
            }
            if has_gap && tls.gap(from, lost, 0, &mut events) != Verdict::More {
                break;
            }
            prop_assert!(tls.heap_bytes() <= 2 * MAX_KEPT_BYTES + 4096);
        }
        let _ = known(&tls);
    }

    #[test]
    fn where_segments_are_cut_changes_nothing(
        steps in pieces(),
        cuts in prop::collection::vec(1..40_usize, 1..10),
    ) {
        let side = |is_client| if is_client { Client } else { Server };
        let whole: Vec<_> = steps.iter().map(|(is_client, bytes)| (side(*is_client), &bytes[..])).collect();
        let mut sizes = cuts.iter().cycle();
        let mut cut = Vec::new();
        for (is_client, bytes) in &steps {
            let mut left = &bytes[..];
            while !left.is_empty() {
                let (now, later) = left.split_at((*sizes.next().unwrap()).min(left.len()));
                cut.push((side(*is_client), now));
                left = later;
            }
        }
        prop_assert_eq!(decode(&whole), decode(&cut));
    }
}
