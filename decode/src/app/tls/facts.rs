//! What the hellos and the certificate have told.

use super::certificate::Certificate;
use super::client_hello::ClientHello;
use super::ja4::{Ja4, Transport};
use super::server_hello::ServerHello;
use crate::app::{App, Events, Field, Kind, MAX_TEXT_BYTES};

/// What is known of a connection.
#[derive(Debug, Default)]
pub(super) struct Facts {
    server_name: Option<Box<[u8]>>,
    offered: Option<Box<[u8]>>,
    chosen: Option<Box<[u8]>>,
    ja4: Option<Ja4>,
    pub(super) version: Option<u16>,
    cipher: Option<u16>,
    certificate: Certificate,
    alert: Option<u8>,
}

impl Facts {
    pub(super) fn client(&mut self, hello: &ClientHello<'_>) {
        self.server_name = hello.server_name.map(text);
        self.offered = hello.alpn.map(text);
        self.ja4 = Some(hello.ja4(Transport::Tcp));
    }

    pub(super) fn server(&mut self, hello: &ServerHello<'_>) {
        self.version = Some(hello.version);
        self.cipher = Some(hello.cipher);
        self.chosen = hello.alpn.map(text);
    }

    pub(super) fn certificate(&mut self, certificate: Certificate) {
        self.certificate = certificate;
    }

    pub(super) fn alert(&mut self, description: u8) {
        self.alert = Some(description);
    }

    pub(super) fn has_client_hello(&self) -> bool {
        self.ja4.is_some()
    }

    pub(super) fn has_server_hello(&self) -> bool {
        self.cipher.is_some()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let texts = [&self.server_name, &self.offered, &self.chosen, &self.certificate.subject];
        texts.into_iter().flatten().map(|text| text.len()).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ja4.is_none() && self.version.is_none() && self.alert.is_none()
    }

    /// One event with all that is known, none when that is nothing.
    pub(super) fn report(&self, events: &mut Events) {
        if self.is_empty() {
            return;
        }
        let mut draft = events.begin(App::Tls, Kind::Facts);
        let alpn = self.chosen.as_ref().or(self.offered.as_ref());
        let texts = [
            (Field::TlsServerName, self.server_name.as_deref()),
            (Field::TlsAlpn, alpn.map(AsRef::as_ref)),
            (Field::TlsJa4, self.ja4.as_ref().map(Ja4::as_bytes)),
            (Field::TlsCertSubject, self.certificate.subject.as_deref()),
            (Field::TlsAlert, self.alert.map(|alert| alert_name(alert).as_bytes())),
        ];
        for (field, text) in texts {
            if let Some(text) = text {
                draft.text(field, text);
            }
        }
        let numbers = [
            (Field::TlsVersion, self.version.map(u64::from)),
            (Field::TlsCipher, self.cipher.map(u64::from)),
            (Field::TlsCertExpiry, self.certificate.not_after),
        ];
        for (field, number) in numbers {
            if let Some(number) = number {
                draft.number(field, number);
            }
        }
    }
}

fn text(bytes: &[u8]) -> Box<[u8]> {
    bytes.get(..MAX_TEXT_BYTES).unwrap_or(bytes).into()
}

/// Names of the IANA registry of TLS alerts.
fn alert_name(description: u8) -> &'static str {
    match description {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        60 => "export_restriction",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        121 => "ech_required",
        _ => "unassigned",
    }
}
