//! Options of DHCPv6 messages (RFC 8415 section 21), read where they stand.

use std::net::Ipv6Addr;

use crate::app::text::TextBuf;

pub(super) const CLIENT_ID: u16 = 1;
pub(super) const RELAY_MESSAGE: u16 = 9;
const IA_NA: u16 = 3;
const IA_TA: u16 = 4;
const IA_ADDRESS: u16 = 5;
const STATUS_CODE: u16 = 13;
const IA_PD: u16 = 25;
const IA_PREFIX: u16 = 26;
const CLIENT_FQDN: u16 = 39;

/// Longest DUID: a type and 128 bytes (RFC 8415 section 11.1).
const MAX_DUID_BYTES: usize = 130;

/// The options that are reported; of one that is repeated the first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options<'a> {
    /// DUID of the client, at most [`MAX_DUID_BYTES`].
    pub(super) client_id: Option<&'a [u8]>,
    /// Name of the client on the wire: labels with their lengths, the root not always there.
    pub(super) client_name: Option<&'a [u8]>,
    /// First address assigned.
    pub(super) address: Option<Ipv6Addr>,
    /// First prefix delegated, and its length in bits.
    pub(super) prefix: Option<(Ipv6Addr, u8)>,
    /// Valid lifetime of the first of either, seconds.
    pub(super) lifetime_s: Option<u32>,
    /// Status of the message, else the first within an association.
    pub(super) status: Option<u16>,
}

impl<'a> Options<'a> {
    /// Up to the end, or before the first option that breaks out.
    pub(super) fn parse(bytes: &'a [u8]) -> Self {
        let mut options = Self::default();
        let mut own_status = None;
        for (code, value) in Walk(bytes) {
            match code {
                CLIENT_ID if value.len() <= MAX_DUID_BYTES => {
                    options.client_id = options.client_id.or(Some(value));
                }
                CLIENT_FQDN => options.client_name = options.client_name.or(value.get(1..)),
                STATUS_CODE => own_status = own_status.or(u16_of(value)),
                // Identity, two times, options.
                IA_NA | IA_PD => options.association(value.get(12..)),
                IA_TA => options.association(value.get(4..)),
                _ => {}
            }
        }
        options.status = own_status.or(options.status);
        options
    }

    fn association(&mut self, bytes: Option<&'a [u8]>) {
        for (code, value) in Walk(bytes.unwrap_or_default()) {
            match code {
                IA_ADDRESS => self.assigned_address(value),
                IA_PREFIX => self.delegated_prefix(value),
                STATUS_CODE => self.status = self.status.or(u16_of(value)),
                _ => {}
            }
        }
    }

    /// Address, preferred and valid lifetime, options.
    fn assigned_address(&mut self, value: &'a [u8]) {
        let Some((address, times)) = value.split_first_chunk::<16>() else { return };
        let Some(&[_, _, _, _, a, b, c, d]) = times.first_chunk() else { return };
        self.address = self.address.or(Some((*address).into()));
        self.lifetime_s = self.lifetime_s.or(Some(u32::from_be_bytes([a, b, c, d])));
        self.nested_status(times.get(8..));
    }

    /// Preferred and valid lifetime, length, prefix, options.
    fn delegated_prefix(&mut self, value: &'a [u8]) {
        let Some((&[_, _, _, _, a, b, c, d, length], rest)) = value.split_first_chunk() else {
            return;
        };
        let Some((prefix, rest)) = rest.split_first_chunk::<16>() else { return };
        self.prefix = self.prefix.or(Some(((*prefix).into(), length)));
        self.lifetime_s = self.lifetime_s.or(Some(u32::from_be_bytes([a, b, c, d])));
        self.nested_status(Some(rest));
    }

    fn nested_status(&mut self, bytes: Option<&'a [u8]>) {
        for (code, value) in Walk(bytes.unwrap_or_default()) {
            if code == STATUS_CODE {
                self.status = self.status.or(u16_of(value));
            }
        }
    }
}

/// The message that a relay message carries.
pub(super) fn relayed(options: &[u8]) -> Option<&[u8]> {
    Walk(options).find(|&(code, _)| code == RELAY_MESSAGE).map(|(_, value)| value)
}

/// Whether the options end where the bytes end, and one of them has this code.
pub(super) fn are_whole_with(bytes: &[u8], wanted: u16) -> bool {
    let mut walk = Walk(bytes);
    let has_wanted = walk.by_ref().fold(false, |has, (code, _)| has || code == wanted);
    has_wanted && walk.0.is_empty()
}

/// Appends a name in the form of [`Name`](crate::app::dns::Name). It has no pointers, and may lack
/// the root at its end (RFC 4704 section 4.2).
pub(super) fn push_name(mut name: &[u8], text: &mut TextBuf) {
    let mut is_first = true;
    while let Some((&length @ 1..=63, rest)) = name.split_first()
        && let Some((label, rest)) = rest.split_at_checked(length.into())
    {
        if !is_first {
            text.push_byte(b'.');
        }
        text.push_label(label, false);
        is_first = false;
        name = rest;
    }
}

fn u16_of(value: &[u8]) -> Option<u16> {
    value.first_chunk().map(|&word| u16::from_be_bytes(word))
}

/// Code and value of one option after the other; what is left does not hold another one.
struct Walk<'a>(&'a [u8]);

impl<'a> Iterator for Walk<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[c0, c1, l0, l1], rest) = self.0.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(u16::from_be_bytes([l0, l1]).into())?;
        self.0 = rest;
        Some((u16::from_be_bytes([c0, c1]), value))
    }
}
