//! TLS (spec 13.5 and the TLS row of 17).

use std::collections::BTreeMap;

use decode::app::{App, Field, Interest};
use ring::digest::{SHA256, digest};

use crate::capture::{Capture, Connection, recording, shared, tshark};

/// What is expected of a connection; fields that are not named must be absent.
fn facts<const N: usize>(expected: [(Field, &str); N]) -> BTreeMap<Field, String> {
    expected.into_iter().map(|(field, text)| (field, text.to_owned())).collect()
}

#[test]
fn a_connection_of_tls_1_2_has_the_values_of_the_spec() {
    let Some(path) = shared("tls/google.com-tls-1.2.pcap") else { return };
    let mut capture = Capture::read(&path);
    let connections = capture.connections();
    assert_eq!(connections.len(), 1);
    let known = connections[0].facts();
    assert_eq!(known[&Field::TlsServerName], "google.com");
    assert_eq!(known[&Field::TlsVersion], "771");
    assert_eq!(known[&Field::TlsCipher], 0xc02b.to_string());
    assert_eq!(connections[0].app(), Some(App::Tls));
    assert_eq!(connections[0].interest, Some(Interest::Finished));
    // Without SYN and SYN+ACK nothing is known.
    capture.frames.drain(..2);
    assert!(capture.connections()[0].facts().is_empty());
}

#[test]
fn a_short_snap_length_leaves_what_was_captured() {
    let Some(path) = shared("tls/google.com-tls-1.2.pcap") else { return };
    let mut capture = Capture::read(&path);
    for (_, data, _) in &mut capture.frames {
        data.truncate(500);
    }
    let known = capture.connections()[0].facts();
    assert_eq!(known[&Field::TlsCipher], 0xc02b.to_string());
    assert!(!known.contains_key(&Field::TlsCertSubject));
}

#[test]
fn openssl_and_curl_are_told_apart_by_version_and_fingerprint() {
    let connections = Capture::read(&recording("tls/openssl.pcap")).connections();
    let known: Vec<_> = connections.iter().map(Connection::facts).collect();
    let expected = [
        facts([
            (Field::TlsServerName, "tls12.example"),
            // The server takes the second offer.
            (Field::TlsAlpn, "http/1.1"),
            (Field::TlsVersion, "771"),
            (Field::TlsCipher, "49196"),
            (Field::TlsJa4, "t12d2808h2_d943125447b4_e7e480e5a997"),
            (Field::TlsCertSubject, "www.example.org"),
            (Field::TlsCertExpiry, "2111012042"),
        ]),
        facts([
            (Field::TlsServerName, "tls13.example"),
            (Field::TlsAlpn, "h2"),
            (Field::TlsVersion, "772"),
            (Field::TlsCipher, "4866"),
            (Field::TlsJa4, "t13d0411h2_16476d049b0b_78f1d400d464"),
        ]),
        facts([
            (Field::TlsVersion, "769"),
            (Field::TlsCipher, "49162"),
            (Field::TlsJa4, "t10i230500_44099cda8a52_195413a0cc0f"),
            // No common name: the first alternative one.
            (Field::TlsCertSubject, "alt.example.org"),
            (Field::TlsCertExpiry, "2111012042"),
        ]),
        facts([
            (Field::TlsServerName, "refused.example"),
            (Field::TlsJa4, "t12d280700_d943125447b4_e7e480e5a997"),
            (Field::TlsAlert, "protocol_version"),
        ]),
        facts([
            (Field::TlsServerName, "curl.example"),
            (Field::TlsAlpn, "h2"),
            (Field::TlsVersion, "772"),
            (Field::TlsCipher, "4866"),
            (Field::TlsJa4, "t13d3112h2_e8f1e7e78f70_b26ce05bbdd6"),
        ]),
    ];
    assert_eq!(known, expected);
    for connection in &connections {
        assert_eq!(connection.app(), Some(App::Tls));
        assert_eq!(connection.interest, Some(Interest::Finished));
    }
}

/// The first 12 digits of SHA-256.
fn short_hash(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    hash.as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// JA4's second and third part from tshark's reading of the hello, by its description.
fn hashes(ciphers: &str, extensions: &str, algorithms: &str) -> String {
    let hex = |list: &str, sort: bool| {
        let mut list: Vec<_> = list
            .split(',')
            .filter(|text| !text.is_empty())
            .map(|text| {
                text.strip_prefix("0x")
                    .map_or_else(|| format!("{:04x}", text.parse::<u16>().unwrap()), str::to_owned)
            })
            .filter(|text| !(sort && (text == "0000" || text == "0010")))
            .collect();
        if sort {
            list.sort();
        }
        list.join(",")
    };
    let mut third = hex(extensions, true);
    if !algorithms.is_empty() {
        third = format!("{third}_{}", hex(algorithms, false));
    }
    format!("{}_{}", short_hash(&hex(ciphers, true)), short_hash(&third))
}

#[test]
fn tshark_says_the_same() {
    let path = recording("tls/openssl.pcap");
    let connections = Capture::read(&path).connections();
    let known: Vec<_> = connections.iter().map(Connection::facts).collect();
    let decode_as = ["-d", "tcp.port==8443-8445,tls", "-E", "occurrence=a"];
    let hellos = |kind| [&decode_as[..], &["-Y", kind]].concat();
    let fields = [
        "tcp.stream",
        "tls.handshake.extensions_server_name",
        "tls.handshake.ciphersuite",
        "tls.handshake.extension.type",
        "tls.handshake.sig_hash_alg",
    ];
    let Some(lines) = tshark(&path, &hellos("tls.handshake.type==1"), &fields) else { return };
    assert_eq!(lines.len(), connections.len());
    for line in lines {
        let line: Vec<_> = line.split('|').collect();
        let known = &known[line[0].parse::<usize>().unwrap()];
        assert_eq!(known.get(&Field::TlsServerName).map_or("", String::as_str), line[1]);
        assert_eq!(known[&Field::TlsJa4][11..], hashes(line[2], line[3], line[4]));
    }
    let fields = [
        "tcp.stream",
        "tls.handshake.version",
        "tls.handshake.extensions.supported_version",
        "tls.handshake.ciphersuite",
    ];
    let lines = tshark(&path, &hellos("tls.handshake.type==2"), &fields).unwrap();
    assert_eq!(lines.len(), 4);
    for line in lines {
        let line: Vec<_> = line.split('|').collect();
        let known = &known[line[0].parse::<usize>().unwrap()];
        let number = |text: &str| u16::from_str_radix(&text[2..6], 16).unwrap().to_string();
        let version = if line[2].is_empty() { line[1] } else { line[2] };
        assert_eq!(known[&Field::TlsVersion], number(version));
        assert_eq!(known[&Field::TlsCipher], number(line[3]));
    }
}
