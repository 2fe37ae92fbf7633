//! QUIC versions 1 and 2 (RFC 9000, RFC 9001, RFC 9369): the name, protocols and fingerprint of a
//! client's hello.
//!
//! A client's Initial packets are encrypted with keys that follow from what they show. They are
//! opened until the ClientHello is whole, from several packets and datagrams in any order; then the
//! conversation's facts are reported, once. A datagram that was not captured whole cannot be
//! opened. Of a hello that never becomes whole, and of unknown versions, only the version is told.
//! 64 datagrams without a hello end the attempt.

mod crypto;
mod keys;
mod packet;

use super::decoder::{Datagram, Guess, Verdict};
use super::event::{Events, Kind as EventKind};
use super::field::{App, Field};
use super::tls::{ClientHello, Transport};
use crypto::CryptoStream;
use keys::Keys;
use packet::{Kind, Packet};

/// Datagrams without a hello after which no more are wanted.
const MAX_DATAGRAMS: u8 = 64;
/// Datagrams at the beginning that say nothing, after which this is taken for another protocol.
const MAX_SILENT: u8 = 4;

/// A client's datagram with an Initial packet is at least this long (RFC 9000 section 14.1), bytes.
const MIN_DATAGRAM_BYTES: usize = 1200;
/// Initial packets of one datagram that are tried; more than two make no sense.
const MAX_INITIALS: usize = 4;
/// Derivations of keys for one conversation, some µs each: for the first packet, after a Retry, and
/// some spare for packets that turn out to be damaged.
const MAX_DERIVATIONS: u8 = 8;

/// Whether a payload looks like QUIC: a long header with a known version and lengths that fit.
/// A version that is not known fits only if it is one of those whose numbers are, or one that
/// exercises negotiation (RFC 9000 section 15).
#[must_use]
pub fn guess(payload: &[u8]) -> Guess {
    match Packet::parse(payload) {
        Some((packet, _)) => match packet.kind {
            Kind::Initial if packet.number_at + 20 <= packet.bytes.len() => Guess::Yes,
            Kind::Initial => Guess::No,
            Kind::Protected | Kind::Retry => Guess::Maybe,
            Kind::VersionNegotiation if is_version_list(&packet) => Guess::Maybe,
            Kind::Unknown if is_noted(packet.version) => Guess::Maybe,
            Kind::VersionNegotiation | Kind::Unknown => Guess::No,
        },
        None => Guess::No,
    }
}

/// The decoder of one conversation; at most 10 KiB on the heap.
#[derive(Debug, Default)]
pub struct Quic {
    keys: Option<Box<Keys>>,
    crypto: CryptoStream,
    /// Source port of the first datagram that was opened.
    client_port: Option<u16>,
    /// Of the last packet opened, else of the first long header; 0 for none.
    version: u32,
    derivations: u8,
    datagrams: u8,
    silent: u8,
    is_reported: bool,
}

impl Quic {
    /// Before the first datagram.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The next datagram of either side. Adds one event of facts when the hello is complete, or
    /// known not to come; then all is done.
    pub fn datagram(&mut self, datagram: &Datagram<'_>, events: &mut Events) -> Verdict {
        if self.is_reported {
            return Verdict::Done;
        }
        self.datagrams = self.datagrams.saturating_add(1);
        if self.can_be_client(datagram) {
            self.read(datagram);
        }
        if self.crypto.message().is_some()
            || self.crypto.is_hopeless()
            || self.datagrams >= MAX_DATAGRAMS
        {
            self.end(events);
            return Verdict::Done;
        }
        if self.version == 0 && self.silent >= MAX_SILENT { Verdict::Wrong } else { Verdict::More }
    }

    /// Reports what is known and forgets the rest; nothing if that was done, or nothing is known.
    pub fn end(&mut self, events: &mut Events) {
        self.facts(events);
        if self.version != 0 {
            self.is_reported = true;
            self.crypto = CryptoStream::default();
            self.keys = None;
        }
    }

    /// Adds what is known so far and not reported yet, as at most one event: before the hello is
    /// whole, the version.
    pub fn facts(&self, events: &mut Events) {
        if self.is_reported || self.version == 0 {
            return;
        }
        let hello = self.crypto.message().and_then(ClientHello::parse);
        let mut draft = events.begin(App::Quic, EventKind::Facts);
        if let Some(name) = hello.and_then(|hello| hello.server_name) {
            draft.text(Field::QuicServerName, name);
        }
        draft.number(Field::QuicVersion, u64::from(self.version));
        if let Some(alpn) = hello.and_then(|hello| hello.alpn) {
            draft.text(Field::QuicAlpn, alpn);
        }
        if let Some(hello) = hello {
            draft.text(Field::QuicJa4, hello.ja4(Transport::Quic).as_bytes());
        }
    }

    /// Bytes held on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.crypto.heap_bytes() + self.keys.as_ref().map_or(0, |keys| size_of_val(&**keys))
    }

    fn can_be_client(&self, datagram: &Datagram<'_>) -> bool {
        // With equal ports the keys have to tell.
        datagram.src_port == datagram.dst_port
            || self.client_port.is_none_or(|port| port == datagram.src_port)
    }

    /// All packets of a datagram.
    fn read(&mut self, datagram: &Datagram<'_>) {
        let mut rest = datagram.payload;
        let mut says_nothing = true;
        let mut initials = 0;
        while let Some((packet, after)) = Packet::parse(rest) {
            rest = after;
            match packet.kind {
                Kind::Initial => {
                    initials += 1;
                    if initials > MAX_INITIALS || datagram.payload.len() < MIN_DATAGRAM_BYTES {
                        break;
                    }
                    if let Some(payload) = self.open(&packet) {
                        self.client_port = Some(datagram.src_port);
                        self.version = packet.version;
                        self.crypto.frames(&payload);
                        says_nothing = false;
                    }
                }
                // What a client offers first; the server's answer makes it offer another.
                Kind::Unknown if self.version == 0 && is_noted(packet.version) => {
                    self.version = packet.version;
                    says_nothing = false;
                }
                Kind::Protected | Kind::Retry | Kind::VersionNegotiation | Kind::Unknown => {}
            }
        }
        if says_nothing {
            self.silent = self.silent.saturating_add(1);
        }
    }

    /// Opens an Initial with the keys there are, else with those that follow from its own
    /// connection id: it is the first, or the first after a Retry.
    fn open(&mut self, packet: &Packet<'_>) -> Option<Vec<u8>> {
        if let Some(payload) = self.keys.as_mut().and_then(|keys| keys.open(packet)) {
            return Some(payload);
        }
        if self.derivations == MAX_DERIVATIONS || self.keys.is_none() && !packet.can_be_first() {
            return None;
        }
        self.derivations += 1;
        let mut keys = Keys::derive(packet.version, packet.dcid)?;
        let payload = keys.open(packet)?;
        self.keys = Some(Box::new(keys));
        Some(payload)
    }
}

/// Versions of which nothing but their number can be told: those that mean none, to keep
/// negotiation working; the drafts of versions 1 and 2; those of Google's (`Q0…`) and of mvfst.
fn is_noted(version: u32) -> bool {
    const DRAFT_OF_2: u32 = 0x709a_50c4;
    version & 0x0f0f_0f0f == 0x0a0a_0a0a
        || version & 0xffff_ff00 == 0xff00_0000
        || version == DRAFT_OF_2
        || version & 0xffff_f0f0 == 0x5130_3030
        || version & 0xffff_fff0 == 0xface_b000
}

/// A list of versions, and no connection ids that neither version would use.
fn is_version_list(packet: &Packet<'_>) -> bool {
    let ids = packet.bytes.get(5..).unwrap_or_default();
    let after_dcid = ids.get(1 + packet.dcid.len()..).unwrap_or_default();
    let scid_len = after_dcid.first().map_or(0, |&len| usize::from(len));
    let list = after_dcid.get(1 + scid_len..).unwrap_or_default();
    packet.dcid.len().max(scid_len) <= 20 && !list.is_empty() && list.len().is_multiple_of(4)
}

#[cfg(test)]
mod tests;
