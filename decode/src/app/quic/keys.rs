//! Keys of a client's Initial packets (RFC 9001 section 5, RFC 9369 section 3.3). They protect from
//! accidents, not from readers: all that goes into them is on the wire.

use std::fmt;

use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey, quic};
use ring::hkdf;

use super::packet::{Packet, VERSION_2};

const SALT_1: [u8; 20] = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad,
    0xcc, 0xbb, 0x7f, 0x0a,
];
const SALT_2: [u8; 20] = [
    0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb,
    0xf9, 0xbd, 0x2e, 0xd9,
];
/// Bytes of a sample for header protection, and of the tag at the end.
const SAMPLE_BYTES: usize = 16;
/// Longest packet that is opened, bytes; jumbo frames are shorter.
const MAX_PACKET_BYTES: usize = 16 * 1024;

/// What opens a client's Initial packets of one connection and version.
pub struct Keys {
    version: u32,
    header: quic::HeaderProtectionKey,
    payload: LessSafeKey,
    iv: [u8; aead::NONCE_LEN],
    /// The packet number after the highest that was opened.
    next_number: u64,
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Keys").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Keys {
    /// From the connection id that the client sent its first packet to.
    pub fn derive(version: u32, dcid: &[u8]) -> Option<Self> {
        let labels = if version == VERSION_2 {
            [&b"quicv2 key"[..], b"quicv2 iv", b"quicv2 hp"]
        } else {
            [&b"quic key"[..], b"quic iv", b"quic hp"]
        };
        let salt = if version == VERSION_2 { SALT_2 } else { SALT_1 };
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, &salt).extract(dcid);
        let client: hkdf::Prk = expand(&secret, b"client in", hkdf::HKDF_SHA256, 32)?;
        let payload: UnboundKey = expand(&client, labels[0], &aead::AES_128_GCM, 16)?;
        let header = expand(&client, labels[2], &quic::AES_128, 16)?;
        let Iv(iv) = expand(&client, labels[1], IvLen, aead::NONCE_LEN as u8)?;
        let payload = LessSafeKey::new(payload);
        Some(Self { version, header, payload, iv, next_number: 0 })
    }

    /// The payload of an Initial packet, if these are its keys and nothing is missing.
    pub fn open(&mut self, packet: &Packet<'_>) -> Option<Vec<u8>> {
        if packet.version != self.version || packet.bytes.len() > MAX_PACKET_BYTES {
            return None;
        }
        let at = packet.number_at;
        let sample = packet.bytes.get(at + 4..at + 4 + SAMPLE_BYTES)?;
        let mask = self.header.new_mask(sample).ok()?;
        let mut bytes = packet.bytes.to_vec();
        let first = bytes.first_mut()?;
        *first ^= mask[0] & 0x0f;
        let number_len = usize::from(*first & 3) + 1;
        let field = bytes.get_mut(at..at + number_len)?;
        field.iter_mut().zip(&mask[1..]).for_each(|(byte, mask)| *byte ^= mask);
        let truncated = field.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
        let number = full_number(truncated, number_len, self.next_number);
        let mut nonce = self.iv;
        for (byte, number) in nonce.iter_mut().rev().zip(number.to_le_bytes()) {
            *byte ^= number;
        }
        let (header, payload) = bytes.split_at_mut(at + number_len);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = self.payload.open_in_place(nonce, Aad::from(&*header), payload).ok()?.len();
        self.next_number = self.next_number.max(number + 1);
        bytes.drain(..at + number_len);
        bytes.truncate(opened);
        Some(bytes)
    }
}

/// RFC 9000 appendix A.3.
fn full_number(truncated: u64, number_len: usize, expected: u64) -> u64 {
    let window = 1_u64 << (8 * number_len);
    let candidate = (expected & !(window - 1)) | truncated;
    if candidate + window / 2 <= expected && candidate + window < 1 << 62 {
        candidate + window
    } else if candidate > expected + window / 2 && candidate >= window {
        candidate - window
    } else {
        candidate
    }
}

/// HKDF-Expand-Label of TLS 1.3 (RFC 8446 section 7.1) with an empty context.
fn expand<L: hkdf::KeyType, T: for<'a> From<hkdf::Okm<'a, L>>>(
    secret: &hkdf::Prk,
    label: &[u8],
    of: L,
    length: u8,
) -> Option<T> {
    let prefix = b"tls13 ";
    let label_len = (prefix.len() + label.len()) as u8;
    let info = [&[0, length, label_len][..], prefix, label, &[0]];
    secret.expand(&info, of).ok().map(T::from)
}

struct IvLen;

impl hkdf::KeyType for IvLen {
    fn len(&self) -> usize {
        aead::NONCE_LEN
    }
}

struct Iv([u8; aead::NONCE_LEN]);

impl From<hkdf::Okm<'_, IvLen>> for Iv {
    fn from(okm: hkdf::Okm<'_, IvLen>) -> Self {
        let mut iv = [0; aead::NONCE_LEN];
        // The lengths are the same, so this cannot fail.
        let _ = okm.fill(&mut iv);
        Self(iv)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A client's Initial packet that carries these frames, padded to a datagram of 1,200 bytes
    /// and more.
    pub fn seal(version: u32, dcid: &[u8], scid: &[u8], number: u16, frames: &[u8]) -> Vec<u8> {
        let keys = Keys::derive(version, dcid).unwrap();
        seal_with(&keys, dcid, scid, number, frames)
    }

    pub fn seal_with(keys: &Keys, dcid: &[u8], scid: &[u8], number: u16, frames: &[u8]) -> Vec<u8> {
        let mut payload = frames.to_vec();
        payload.resize(frames.len().max(1180), 0);
        let kind = if keys.version == VERSION_2 { 1 } else { 0 };
        let mut bytes = vec![0xc1 | kind << 4];
        bytes.extend_from_slice(&keys.version.to_be_bytes());
        for id in [dcid, scid] {
            bytes.push(id.len() as u8);
            bytes.extend_from_slice(id);
        }
        bytes.push(0);
        bytes.extend_from_slice(&(0x4000 | (payload.len() as u16 + 18)).to_be_bytes());
        let at = bytes.len();
        bytes.extend_from_slice(&number.to_be_bytes());
        let mut nonce = keys.iv;
        nonce[10] ^= number.to_be_bytes()[0];
        nonce[11] ^= number.to_be_bytes()[1];
        let nonce = Nonce::assume_unique_for_key(nonce);
        keys.payload.seal_in_place_append_tag(nonce, Aad::from(&bytes), &mut payload).unwrap();
        bytes.extend_from_slice(&payload);
        let mask = keys.header.new_mask(&bytes[at + 4..at + 20]).unwrap();
        bytes[0] ^= mask[0] & 0x0f;
        bytes[at] ^= mask[1];
        bytes[at + 1] ^= mask[2];
        bytes
    }

    #[test]
    fn packet_numbers_are_completed_as_in_the_rfc() {
        assert_eq!(full_number(0x9b32, 2, 0xa82f_30eb), 0xa82f_9b32);
        assert_eq!(full_number(0, 1, 0), 0);
        assert_eq!(full_number(2, 1, 0xff), 0x102);
        assert_eq!(full_number(0xfe, 1, 0x101), 0xfe);
        assert_eq!(full_number(0xffff_ffff, 4, 1), 0xffff_ffff);
    }
}
