//! What the user wants decoded, and what of it may be known.

use decode::app::{App, PortLists, Redactor, Treatment};
use flowtable::AppConfig;

use super::setup::Outputs;
use crate::config::{Config, Decoding, OutputChoice, Privacy, RedactedField, Redaction};

/// Settings of application decoding; `None` when it is off.
///
/// With kflow as the only output, a protocol is decoded if the device has a column for anything of
/// it (spec 12.2).
pub(super) fn config(
    config: &Config,
    outputs: &Outputs,
    budget_bytes: usize,
    key: u64,
) -> Option<AppConfig> {
    if !config.decoding.enabled {
        return None;
    }
    let only_kflow = config.outputs.iter().all(|output| *output == OutputChoice::Kflow);
    let enabled = match &outputs.connected {
        Some(connected) if only_kflow => export::decodable(&connected.device.custom_column_data),
        _ => [true; App::ALL.len()],
    };
    Some(AppConfig {
        ports: ports(&config.decoding),
        classify: config.decoding.classify,
        budget_bytes,
        enabled,
        redactor: redactor(&config.privacy, key),
    })
}

/// Ports that the user has named; the usual ones are known where they are used.
fn ports(decoding: &Decoding) -> PortLists {
    let besides = |ports: &[u16]| ports.get(1..).unwrap_or_default().to_vec();
    let instead = |ports: &[u16], usual: &[u16]| {
        if ports == usual { Vec::new() } else { ports.to_vec() }
    };
    PortLists {
        http: besides(&decoding.http_ports),
        tls: besides(&decoding.tls_ports),
        dns: instead(&[decoding.dns_port], &[53]),
        radius: instead(&decoding.radius_ports, &[1812, 1813]),
    }
}

fn redactor(privacy: &Privacy, key: u64) -> Option<Redactor> {
    if privacy.redact.is_empty() && !privacy.cut_query {
        return None;
    }
    let mut redactor = Redactor::new(&key.to_le_bytes());
    if privacy.cut_query {
        redactor = redactor.with_cut_query();
    }
    for (field, redaction) in &privacy.redact {
        let class = match field {
            RedactedField::Url => decode::app::Redaction::Url,
            RedactedField::Name => decode::app::Redaction::Name,
            RedactedField::User => decode::app::Redaction::User,
            RedactedField::UserAgent => decode::app::Redaction::UserAgent,
            RedactedField::Query => decode::app::Redaction::Query,
        };
        let treatment = match redaction {
            Redaction::Drop => Treatment::Drop,
            Redaction::Hash => Treatment::Hash,
        };
        redactor = redactor.with(class, treatment);
    }
    Some(redactor)
}
