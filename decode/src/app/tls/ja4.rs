//! JA4, FoxIO's fingerprint of a TLS client (technical_details/JA4.md of the JA4 repository; this
//! one of the family is under a BSD licence).

use ring::digest::{SHA256, digest};

/// Server name and ALPN are in the first part, and left out of the hash of extensions.
const IN_FIRST_PART: [u16; 2] = [0, 16];

/// What carries the hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TLS over TCP.
    Tcp,
    /// QUIC.
    Quic,
}

/// A fingerprint: three parts joined by `_`, of 10, 12 and 12 characters of ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ja4([u8; 36]);

impl Ja4 {
    /// The text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The parts of a hello that are fingerprinted, without GREASE, in the order of the hello.
pub(super) struct Hello<'a> {
    pub(super) transport: Transport,
    pub(super) version: u16,
    pub(super) alpn: Option<&'a [u8]>,
    pub(super) ciphers: Vec<u16>,
    pub(super) extensions: Vec<u16>,
    pub(super) signature_algorithms: Vec<u16>,
}

/// RFC 8701: 0x0a0a, 0x1a1a … 0xfafa.
pub(super) fn is_grease(number: u16) -> bool {
    let [high, low] = number.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

pub(super) fn fingerprint(hello: Hello<'_>) -> Ja4 {
    let first = first_part(&hello);
    let Hello { mut ciphers, mut extensions, signature_algorithms, .. } = hello;
    ciphers.sort_unstable();
    extensions.retain(|kind| !IN_FIRST_PART.contains(kind));
    extensions.sort_unstable();

    let mut list = Vec::with_capacity((ciphers.len() + extensions.len()) * 5);
    append(&mut list, &ciphers);
    let second = short_hash(&list);
    list.clear();
    append(&mut list, &extensions);
    if !list.is_empty() && !signature_algorithms.is_empty() {
        list.push(b'_');
        append(&mut list, &signature_algorithms);
    }
    let third = short_hash(&list);

    let mut text = [b'_'; 36];
    let parts = first.iter().chain(b"_").chain(&second).chain(b"_").chain(&third);
    text.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
    Ja4(text)
}

fn first_part(hello: &Hello<'_>) -> [u8; 10] {
    let transport = if hello.transport == Transport::Tcp { b't' } else { b'q' };
    let [v1, v2] = match hello.version {
        0x0304 => *b"13",
        0x0303 => *b"12",
        0x0302 => *b"11",
        0x0301 => *b"10",
        0x0300 => *b"s3",
        0x0002 => *b"s2",
        _ => *b"00",
    };
    let target = if hello.extensions.contains(&0) { b'd' } else { b'i' };
    let [[c1, c2], [e1, e2]] = [&hello.ciphers, &hello.extensions].map(|list| {
        let count = list.len().min(99) as u8;
        [b'0' + count / 10, b'0' + count % 10]
    });
    let [a1, a2] = alpn_ends(hello.alpn);
    [transport, v1, v2, target, c1, c2, e1, e2, a1, a2]
}

fn alpn_ends(alpn: Option<&[u8]>) -> [u8; 2] {
    let Some((&first, &last)) = alpn.and_then(|name| name.first().zip(name.last())) else {
        return *b"00";
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        [first, last]
    } else {
        [hex_digit(first >> 4), hex_digit(last)]
    }
}

/// Four hexadecimal digits each, comma between.
fn append(list: &mut Vec<u8>, numbers: &[u16]) {
    for (index, number) in numbers.iter().enumerate() {
        if index > 0 {
            list.push(b',');
        }
        list.extend([12, 8, 4, 0].map(|shift| hex_digit((number >> shift) as u8)));
    }
}

/// The first 12 digits of SHA-256; zeros for an empty list.
fn short_hash(list: &[u8]) -> [u8; 12] {
    let mut digits = [b'0'; 12];
    if !list.is_empty() {
        let hash = digest(&SHA256, list);
        for (pair, byte) in digits.chunks_exact_mut(2).zip(hash.as_ref()) {
            pair.copy_from_slice(&[hex_digit(byte >> 4), hex_digit(*byte)]);
        }
    }
    digits
}

/// The digit of the lower four bits.
fn hex_digit(nibble: u8) -> u8 {
    let nibble = nibble & 0x0f;
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}
