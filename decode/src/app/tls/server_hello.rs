//! The ServerHello (RFC 8446 section 4.1.3).

use super::reader::{Reader, extensions, first_alpn};

/// Handshake type of a ServerHello.
pub(super) const SERVER_HELLO: u8 = 2;

const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// What the server has chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServerHello<'a> {
    /// That of the supported-versions extension, else the field of the hello.
    pub(super) version: u16,
    pub(super) cipher: u16,
    /// In clear up to TLS 1.2.
    pub(super) alpn: Option<&'a [u8]>,
}

impl<'a> ServerHello<'a> {
    /// Parses the body of the message. Extensions count up to the first that is malformed.
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut body = Reader::new(body);
        let mut version = body.u16()?;
        let _random = body.take(32)?;
        let _session = body.vector8()?;
        let cipher = body.u16()?;
        let _compression = body.u8()?;
        let mut alpn = None;
        for (kind, content) in extensions(body.vector16().unwrap_or_default()) {
            match kind {
                ALPN => alpn = first_alpn(content),
                SUPPORTED_VERSIONS => version = Reader::new(content).u16().unwrap_or(version),
                _ => {}
            }
        }
        Some(Self { version, cipher, alpn })
    }
}
