//! Name and expiry of the server's certificate, in clear up to TLS 1.2 (RFC 5246 section 7.4.2,
//! RFC 5280 section 4.1).

use std::net::IpAddr;

use super::der::{BMP_STRING, BOOLEAN, Der, INTEGER, OBJECT_ID, OCTET_STRING, SEQUENCE, SET};
use super::der::{GENERALIZED_TIME, UTC_TIME, unix_seconds};
use super::reader::Reader;
use crate::app::MAX_TEXT_BYTES;

/// Handshake type of a Certificate.
pub(super) const CERTIFICATE: u8 = 11;

const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 29, 17];
/// Tags of alternative names.
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

/// What is of interest in a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Certificate {
    /// Common name, else first alternative name.
    pub(super) subject: Option<Box<[u8]>>,
    /// Seconds since 1970.
    pub(super) not_after: Option<u64>,
}

/// The first certificate of a message of which at least the beginning is there.
pub(super) fn first(body: &[u8]) -> Leaf<'_> {
    let mut reader = Reader::new(body);
    let Some(chain) = reader.u24() else { return Leaf::Cut };
    match reader.u24() {
        _ if chain == 0 => Leaf::None,
        Some(len) => reader.take(len).map_or(Leaf::Cut, Leaf::Whole),
        None => Leaf::Cut,
    }
}

/// Whether the first certificate is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaf<'a> {
    Whole(&'a [u8]),
    /// More bytes are needed.
    Cut,
    /// The chain is empty.
    None,
}

impl Certificate {
    /// What can be read of it.
    pub(super) fn parse(der: &[u8]) -> Self {
        let mut certificate = Self::default();
        certificate.read(der);
        certificate
    }

    /// Reads up to the first thing that is malformed, and then gives nothing.
    fn read(&mut self, der: &[u8]) -> Option<()> {
        let mut tbs = Der::new(der).enter(SEQUENCE)?.enter(SEQUENCE)?;
        tbs.skip(0xa0);
        let _serial = tbs.expect(INTEGER)?;
        let _signature_algorithm = tbs.expect(SEQUENCE)?;
        let _issuer = tbs.expect(SEQUENCE)?;
        let mut validity = tbs.enter(SEQUENCE)?;
        let _not_before = validity.next()?;
        let (tag, time) = validity.next()?;
        if matches!(tag, UTC_TIME | GENERALIZED_TIME) {
            self.not_after = unix_seconds(tag, time);
        }
        self.subject = common_name(tbs.enter(SEQUENCE)?);
        if self.subject.is_none() {
            let _public_key = tbs.expect(SEQUENCE)?;
            tbs.skip(0x81);
            tbs.skip(0x82);
            self.subject = alternative_name(tbs.enter(0xa3)?.enter(SEQUENCE)?);
        }
        Some(())
    }
}

/// The last one: names go from the general to the special.
fn common_name(mut name: Der<'_>) -> Option<Box<[u8]>> {
    let mut found = None;
    while let Some(mut set) = name.enter(SET) {
        while let Some(mut attribute) = set.enter(SEQUENCE) {
            if attribute.expect(OBJECT_ID) == Some(COMMON_NAME)
                && let Some((tag, text)) = attribute.next()
            {
                found = Some(text_of(tag, text));
            }
        }
    }
    found.filter(|name| !name.is_empty())
}

fn text_of(tag: u8, text: &[u8]) -> Box<[u8]> {
    if tag == BMP_STRING {
        let units = text.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        let units = units.take(MAX_TEXT_BYTES);
        let characters = char::decode_utf16(units)
            .map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER));
        return characters.collect::<String>().into_bytes().into();
    }
    text.get(..MAX_TEXT_BYTES).unwrap_or(text).into()
}

fn alternative_name(mut extensions: Der<'_>) -> Option<Box<[u8]>> {
    while let Some(mut extension) = extensions.enter(SEQUENCE) {
        if extension.expect(OBJECT_ID) != Some(ALTERNATIVE_NAMES) {
            continue;
        }
        extension.skip(BOOLEAN);
        let mut names = Der::new(extension.expect(OCTET_STRING)?).enter(SEQUENCE)?;
        while let Some((tag, name)) = names.next() {
            match tag {
                DNS_NAME if !name.is_empty() => return Some(text_of(tag, name)),
                IP_ADDRESS => {
                    let v4 = <[u8; 4]>::try_from(name).map(IpAddr::from);
                    let v6 = || <[u8; 16]>::try_from(name).map(IpAddr::from);
                    let address = v4.or_else(|_| v6()).ok()?;
                    return Some(address.to_string().into_bytes().into());
                }
                _ => {}
            }
        }
        return None;
    }
    None
}
