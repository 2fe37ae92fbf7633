//! Long headers (RFC 9000 section 17.2, RFC 9369 section 3.2).

/// Version 1 (RFC 9000).
pub const VERSION_1: u32 = 1;
/// Version 2 (RFC 9369).
pub const VERSION_2: u32 = 0x6b33_43cf;
/// Longest connection id of both versions, bytes.
const MAX_CID_BYTES: usize = 20;

/// What a packet with a long header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Carries a part of the handshake under keys that anyone can derive.
    Initial,
    /// 0-RTT or Handshake: its length is known, its content is not.
    Protected,
    /// Asks the client to begin again.
    Retry,
    /// Lists the versions that the server knows.
    VersionNegotiation,
    /// A version that is not known: nothing else can be said.
    Unknown,
}

/// A packet with a long header.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    pub kind: Kind,
    pub version: u32,
    /// Connection id of the receiver.
    pub dcid: &'a [u8],
    /// From the first byte to the end of the payload.
    pub bytes: &'a [u8],
    /// Where the packet number begins.
    pub number_at: usize,
}

impl<'a> Packet<'a> {
    /// Reads the first packet of a datagram, and gives what follows it.
    pub fn parse(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&first, mut rest) = bytes.split_first()?;
        if first & 0x80 == 0 {
            return None;
        }
        let (version, after) = rest.split_first_chunk()?;
        rest = after;
        let version = u32::from_be_bytes(*version);
        let dcid = cid(&mut rest)?;
        let scid = cid(&mut rest)?;
        let kind = match (version, (first >> 4) & 3) {
            (0, _) => Kind::VersionNegotiation,
            (VERSION_1, 0) | (VERSION_2, 1) => Kind::Initial,
            (VERSION_1, 3) | (VERSION_2, 0) => Kind::Retry,
            (VERSION_1 | VERSION_2, _) => Kind::Protected,
            _ => Kind::Unknown,
        };
        let whole = Self { kind, version, dcid, bytes, number_at: bytes.len() };
        if matches!(kind, Kind::VersionNegotiation | Kind::Unknown) {
            return Some((whole, &[]));
        }
        // Both versions: the fixed bit, and short connection ids (section 17.2).
        if first & 0x40 == 0 || dcid.len().max(scid.len()) > MAX_CID_BYTES {
            return None;
        }
        if kind == Kind::Retry {
            return Some((whole, &[]));
        }
        if kind == Kind::Initial {
            let token_len = varint(&mut rest)?;
            (_, rest) = rest.split_at_checked(usize::try_from(token_len).ok()?)?;
        }
        let length = usize::try_from(varint(&mut rest)?).ok()?;
        let number_at = bytes.len() - rest.len();
        let (packet, after) = bytes.split_at_checked(number_at.checked_add(length)?)?;
        Some((Self { bytes: packet, number_at, ..whole }, after))
    }

    /// Whether this is what a client may begin with: an Initial to a connection id of at least
    /// 8 bytes (RFC 9000 section 7.2).
    pub fn can_be_first(&self) -> bool {
        self.kind == Kind::Initial && self.dcid.len() >= 8
    }
}

fn cid<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (&length, rest) = bytes.split_first()?;
    let (cid, rest) = rest.split_at_checked(usize::from(length))?;
    *bytes = rest;
    Some(cid)
}

/// A variable-length integer (RFC 9000 section 16).
pub fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let first = *bytes.first()?;
    let (number, rest) = bytes.split_at_checked(1 << (first >> 6))?;
    *bytes = rest;
    let value = number.iter().fold(0, |value, &byte| value << 8 | u64::from(byte));
    Some(value & (u64::MAX >> (66 - 8 * number.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_length_integers_are_those_of_the_rfc() {
        for (bytes, value) in [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
            (&[0x40, 0x25], 37),
        ] {
            assert_eq!(varint(&mut { bytes }), Some(value));
            assert_eq!(varint(&mut &bytes[..bytes.len() - 1]), None);
        }
    }
}
