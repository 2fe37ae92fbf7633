//! A packet read where it stands (RFC 2865 section 3 and 5), without allocation.

use std::net::Ipv4Addr;

use crate::app::Guess;

/// Code, id, length, authenticator.
const HEADER_BYTES: usize = 20;

/// A packet with a whole header.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    code: u8,
    id: u8,
    authenticator: [u8; 16],
    attributes: &'a [u8],
}

/// The attributes that are reported; of one that is repeated the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attributes<'a> {
    /// Attribute 1.
    pub user_name: Option<&'a [u8]>,
    /// Attribute 6: 1 login, 2 framed …
    pub service_type: Option<u32>,
    /// Attribute 7: 1 PPP …
    pub framed_protocol: Option<u32>,
    /// Attribute 8.
    pub framed_address: Option<Ipv4Addr>,
    /// Attribute 9.
    pub framed_mask: Option<Ipv4Addr>,
    /// Attribute 40: 1 start, 2 stop, 3 interim, 7 on, 8 off.
    pub acct_status: Option<u32>,
    /// Attribute 44.
    pub acct_session: Option<&'a [u8]>,
}

impl<'a> Packet<'a> {
    /// `None` when the header is cut, or states a length below its own. Bytes behind the stated
    /// length are padding; of a packet that was captured in part, the part is used.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (&[code, id, high, low, authenticator @ ..], attributes) =
            bytes.split_first_chunk::<HEADER_BYTES>()?;
        let length = usize::from(u16::from_be_bytes([high, low])).checked_sub(HEADER_BYTES)?;
        let attributes = attributes.get(..length.min(attributes.len())).unwrap_or_default();
        Some(Self { code, id, authenticator, attributes })
    }

    /// What it is: 1 access request, 2 accept, 3 reject, 4 accounting request, 5 accounting
    /// response, 11 access challenge …
    #[must_use]
    pub fn code(&self) -> u8 {
        self.code
    }

    /// Number that an answer has in common with its request.
    #[must_use]
    pub fn id(&self) -> u8 {
        self.id
    }

    /// What a request has in common with itself when it is sent again.
    #[must_use]
    pub(super) fn sign(&self) -> u16 {
        let word = |pair: &[u8]| u16::from_be_bytes([pair[0], pair[1]]);
        self.authenticator.chunks_exact(2).fold(0, |sign, pair| sign ^ word(pair))
    }

    /// Those before the first malformed one.
    #[must_use]
    pub fn attributes(&self) -> Attributes<'a> {
        let mut attributes = Attributes::default();
        let mut rest = self.attributes;
        while let Some((kind, value, after)) = split_attribute(rest)
            && attributes.take(kind, value).is_some()
        {
            rest = after;
        }
        attributes
    }
}

impl<'a> Attributes<'a> {
    /// `None` when the value has a wrong length.
    fn take(&mut self, kind: u8, value: &'a [u8]) -> Option<()> {
        let number = || value.try_into().ok().map(u32::from_be_bytes);
        let address = || value.try_into().ok().map(|octets: [u8; 4]| Ipv4Addr::from(octets));
        match kind {
            1 => self.user_name = self.user_name.or(Some(value)),
            6 => self.service_type = self.service_type.or(Some(number()?)),
            7 => self.framed_protocol = self.framed_protocol.or(Some(number()?)),
            8 => self.framed_address = self.framed_address.or(Some(address()?)),
            9 => self.framed_mask = self.framed_mask.or(Some(address()?)),
            40 => self.acct_status = self.acct_status.or(Some(number()?)),
            44 => self.acct_session = self.acct_session.or(Some(value)),
            _ => {}
        }
        Some(())
    }
}

/// Type and value of the first attribute, and what follows it.
fn split_attribute(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[kind, length], _) = bytes.split_first_chunk()?;
    let (attribute, after) = bytes.split_at_checked(length.into())?;
    Some((kind, attribute.get(2..)?, after))
}

/// What a code means (RFC 2865, 2866 and 5176).
#[derive(Clone, Copy, Debug)]
pub(super) struct Code {
    /// A request, or unknown.
    pub(super) asks: bool,
    /// The code of the request that it answers, where that is timed.
    pub(super) answers: Option<u8>,
    /// Its name in the registry, empty when unknown.
    pub(super) word: &'static str,
}

impl Code {
    pub(super) fn of(number: u8) -> Self {
        let (asks, answers, word) = match number {
            1 => (true, None, "Access-Request"),
            2 => (false, Some(1), "Access-Accept"),
            3 => (false, Some(1), "Access-Reject"),
            4 => (true, None, "Accounting-Request"),
            5 => (false, Some(4), "Accounting-Response"),
            11 => (false, Some(1), "Access-Challenge"),
            12 => (true, None, "Status-Server"),
            13 => (true, None, "Status-Client"),
            40 => (true, None, "Disconnect-Request"),
            41 => (false, None, "Disconnect-ACK"),
            42 => (false, None, "Disconnect-NAK"),
            43 => (true, None, "CoA-Request"),
            44 => (false, None, "CoA-ACK"),
            45 => (false, None, "CoA-NAK"),
            _ => (true, None, ""),
        };
        Self { asks, answers, word }
    }
}

pub(super) fn guess(payload: &[u8]) -> Guess {
    let (Some(packet), Some(&[_, _, high, low])) = (Packet::parse(payload), payload.first_chunk())
    else {
        return Guess::No;
    };
    let is_whole = usize::from(u16::from_be_bytes([high, low])) == payload.len();
    if !is_whole || Code::of(packet.code).word.is_empty() {
        return Guess::No;
    }
    // User, password, NAS, state, message, session, status, EAP, Message-Authenticator.
    let is_usual = |kind: u8| {
        matches!(kind, 1 | 2 | 4 | 5 | 6 | 8 | 18 | 24 | 25 | 26 | 32 | 40 | 44 | 79 | 80)
    };
    let (mut rest, mut has_usual) = (packet.attributes, false);
    while let Some((kind, _, after)) = split_attribute(rest)
        && kind != 0
    {
        has_usual |= is_usual(kind);
        rest = after;
    }
    let needed = packet.code != 4 || packet.attributes().acct_status.is_some();
    if rest.is_empty() && has_usual && needed { Guess::Yes } else { Guess::No }
}
