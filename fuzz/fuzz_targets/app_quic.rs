//! QUIC datagrams from arbitrary bytes, and from Initial packets that are sealed here so that what
//! is inside gets read: bounded, facts at most once.
//!
//! Input: steps of a head byte (bit 0: from the server, bit 1: version 2, bit 2: sealed, bit 3:
//! another connection id), a length byte in units of 8, and as many bytes.
#![no_main]

use decode::app::quic::{Quic, guess};
use decode::app::{Datagram, Events, Verdict};
use libfuzzer_sys::fuzz_target;
use ring::{aead, hkdf};

/// Documented bound of the decoder.
const MAX_HEAP_BYTES: usize = 10 * 1024;

fuzz_target!(|input: &[u8]| {
    let mut input = input;
    let (mut quic, mut events) = (Quic::new(), Events::default());
    let mut number = 0;
    while let [head, units, rest @ ..] = input {
        let (bytes, rest) = rest.split_at((usize::from(*units) * 8).min(rest.len()));
        input = rest;
        let sealed;
        let payload = if head & 4 == 0 {
            bytes
        } else {
            let version = if head & 2 == 0 { 1 } else { 0x6b33_43cf };
            let dcid = if head & 8 == 0 { b"12345678" } else { b"abcdefgh" };
            sealed = seal(version, dcid, number, bytes);
            number += 1;
            &sealed
        };
        let _ = guess(payload);
        let (src_port, dst_port) = if head & 1 == 0 { (50_000, 443) } else { (443, 50_000) };
        let datagram = Datagram { payload, src_port, dst_port, conversation: 1, now_us: 0 };
        let verdict = quic.datagram(&datagram, &mut events);
        assert!(quic.heap_bytes() <= MAX_HEAP_BYTES);
        assert!(events.len() <= 1);
        assert!(verdict != Verdict::Wrong || events.is_empty());
    }
    quic.end(&mut events);
    assert!(events.len() <= 1);
});

/// A client's Initial packet of RFC 9001 or RFC 9369 around these frames.
fn seal(version: u32, dcid: &[u8; 8], number: u16, frames: &[u8]) -> Vec<u8> {
    let is_v2 = version != 1;
    let salt: [u8; 20] = if is_v2 {
        *b"\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9"
    } else {
        *b"\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a"
    };
    let label = |name: &str| format!("quic{} {name}", if is_v2 { "v2" } else { "" });
    let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, &salt).extract(dcid);
    let client = expand(&secret, "client in", 32);
    let client = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &client);
    let key = aead::UnboundKey::new(&aead::AES_128_GCM, &expand(&client, &label("key"), 16));
    let key = aead::LessSafeKey::new(key.unwrap());
    let header_key = expand(&client, &label("hp"), 16);
    let header_key = aead::quic::HeaderProtectionKey::new(&aead::quic::AES_128, &header_key);
    let mut nonce: [u8; 12] = expand(&client, &label("iv"), 12).try_into().unwrap();
    nonce[10] ^= number.to_be_bytes()[0];
    nonce[11] ^= number.to_be_bytes()[1];

    let mut payload = frames.to_vec();
    payload.resize(payload.len().max(1180), 0);
    let mut bytes = vec![if is_v2 { 0xd1 } else { 0xc1 }];
    bytes.extend(version.to_be_bytes());
    bytes.push(8);
    bytes.extend(dcid);
    bytes.extend([0, 0]);
    bytes.extend((0x4000 | (payload.len() as u16 + 18)).to_be_bytes());
    let at = bytes.len();
    bytes.extend(number.to_be_bytes());
    let nonce = aead::Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce, aead::Aad::from(&bytes), &mut payload).unwrap();
    bytes.extend(payload);
    let mask = header_key.unwrap().new_mask(&bytes[at + 4..at + 20]).unwrap();
    bytes[0] ^= mask[0] & 0x0f;
    bytes[at] ^= mask[1];
    bytes[at + 1] ^= mask[2];
    bytes
}

struct Len(usize);

impl hkdf::KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label of TLS 1.3.
fn expand(secret: &hkdf::Prk, label: &str, length: usize) -> Vec<u8> {
    let info = [&[0, length as u8, label.len() as u8 + 6][..], b"tls13 ", label.as_bytes(), &[0]];
    let mut key = vec![0; length];
    secret.expand(&info, Len(length)).unwrap().fill(&mut key).unwrap();
    key
}
