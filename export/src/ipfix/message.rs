//! IPFIX messages (RFC 7011): templates from the table of fields, data sets, sampling as options.
//!
//! A message stays within [`MAX_MESSAGE_BYTES`], so that a datagram is not cut into fragments.

use std::net::IpAddr;

use flowtable::{Direction, Record};

use super::pair::Biflow;
use crate::schema::{Element, FIELDS, FieldValue};

/// The longest message, which fits the usual 1,500 with headers of tunnels to spare.
pub(super) const MAX_MESSAGE_BYTES: usize = 1400;
const VERSION: u16 = 10;
const HEADER_BYTES: usize = 16;
const SEQUENCE_PLACE: std::ops::Range<usize> = 8..12;
const SET_HEADER_BYTES: usize = 4;
const TEMPLATE_SET: u16 = 2;
const OPTIONS_SET: u16 = 3;
/// Template of the sampling options; data templates are [`template_id`].
const SAMPLING_TEMPLATE: u16 = 260;
/// RFC 5103: the reverse of an element.
const REVERSE_ENTERPRISE: u32 = 29305;
const ENTERPRISE_BIT: u16 = 0x8000;
/// Elements beside the table: `ingressInterface`, `egressInterface`, `biflowDirection`.
const INGRESS: u16 = 10;
const EGRESS: u16 = 14;
const BIFLOW_DIRECTION: u16 = 239;
/// `observationDomainId` as the scope, `selectorId`, `selectorAlgorithm`, `samplingPacketInterval`,
/// `samplingPacketSpace`, `samplingProbability` (RFC 5477). nfcapd looks for the selector among the
/// fields behind the scope.
const SAMPLING_FIELDS: [(u16, u16); 6] =
    [(149, 4), (302, 8), (304, 2), (305, 4), (306, 4), (311, 8)];
/// Uniform probabilistic sampling; what is sampled are whole conversations.
const UNIFORM_PROBABILISTIC: u16 = 4;

/// A complete message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub bytes: Vec<u8>,
    /// Data records in it, which the sequence number counts.
    pub data_records: u32,
    /// Our records that went into them.
    pub records: u64,
}

impl Message {
    /// Sets the number of data records sent before.
    pub(super) fn number(&mut self, sequence: u32) {
        if let Some(place) = self.bytes.get_mut(SEQUENCE_PLACE) {
            place.copy_from_slice(&sequence.to_be_bytes());
        }
    }
}

/// Puts records into messages.
pub(super) struct Writer {
    domain: u32,
    bytes: Vec<u8>,
    /// Template and place of the set that is open.
    set: Option<(u16, usize)>,
    data_records: u32,
    records: u64,
    /// One data record.
    row: Vec<u8>,
}

impl Writer {
    pub(super) fn new(domain: u32) -> Self {
        let (bytes, row) = (Vec::new(), Vec::new());
        Self { domain, bytes, set: None, data_records: 0, records: 0, row }
    }

    /// Adds a record; gives the message that was full before it.
    pub(super) fn push(&mut self, biflow: &Biflow<'_>, time_s: u32) -> Option<Message> {
        self.row.clear();
        write_row(&mut self.row, biflow);
        let template = template_id(biflow.forward.src.is_ipv6(), biflow.reverse.is_some());
        let opens = self.set.is_none_or(|(open, _)| open != template);
        let needed = self.row.len() + if opens { SET_HEADER_BYTES } else { 0 };
        let is_full = !self.bytes.is_empty() && self.bytes.len() + needed > MAX_MESSAGE_BYTES;
        let full = if is_full { self.finish(time_s) } else { None };
        if self.bytes.is_empty() {
            self.bytes.resize(HEADER_BYTES, 0);
        }
        if self.set.is_none_or(|(open, _)| open != template) {
            self.open_set(template);
        }
        self.bytes.extend_from_slice(&self.row);
        self.data_records += 1;
        self.records += 1 + u64::from(biflow.reverse.is_some());
        full
    }

    /// The message that is not full yet, if it has anything.
    pub(super) fn finish(&mut self, time_s: u32) -> Option<Message> {
        if self.bytes.is_empty() {
            return None;
        }
        self.close_set();
        let bytes = std::mem::take(&mut self.bytes);
        let data_records = std::mem::take(&mut self.data_records);
        let records = std::mem::take(&mut self.records);
        Some(Message { bytes: with_header(bytes, time_s, self.domain), data_records, records })
    }

    fn open_set(&mut self, id: u16) {
        self.close_set();
        self.set = Some((id, self.bytes.len()));
        self.bytes.extend_from_slice(&id.to_be_bytes());
        self.bytes.extend_from_slice(&[0, 0]);
    }

    fn close_set(&mut self) {
        if let Some((_, start)) = self.set.take() {
            close_set(&mut self.bytes, start);
        }
    }
}

/// Templates, and what each sampling rate means.
pub(super) fn preamble(domain: u32, time_s: u32, rates: &[u32]) -> Message {
    let mut bytes = vec![0; HEADER_BYTES];
    set(&mut bytes, TEMPLATE_SET, |out| {
        for (is_v6, is_biflow) in [(false, false), (true, false), (false, true), (true, true)] {
            template(out, is_v6, is_biflow);
        }
    });
    set(&mut bytes, OPTIONS_SET, |out| {
        put(out, &[SAMPLING_TEMPLATE, SAMPLING_FIELDS.len() as u16, 1]);
        for (id, bytes) in SAMPLING_FIELDS {
            put(out, &[id, bytes]);
        }
    });
    if !rates.is_empty() {
        set(&mut bytes, SAMPLING_TEMPLATE, |out| {
            rates.iter().for_each(|rate| options(out, domain, *rate));
        });
    }
    let bytes = with_header(bytes, time_s, domain);
    Message { bytes, data_records: rates.len() as u32, records: 0 }
}

/// 256 and 257 for one direction, 258 and 259 for both; odd ones are IPv6.
fn template_id(is_v6: bool, is_biflow: bool) -> u16 {
    256 + u16::from(is_v6) + 2 * u16::from(is_biflow)
}

fn template(out: &mut Vec<u8>, is_v6: bool, is_biflow: bool) {
    let start = out.len();
    put(out, &[template_id(is_v6, is_biflow), 0]);
    let mut count = 0;
    for field in FIELDS {
        let (id, bytes) = match field.element {
            Element::None => continue,
            Element::One { id, bytes } | Element::Each { id, bytes } => (id, bytes),
            Element::Address { v6, .. } if is_v6 => (v6, 16),
            Element::Address { v4, .. } => (v4, 4),
        };
        put(out, &[id, bytes]);
        count += 1;
    }
    put(out, &[INGRESS, 4, EGRESS, 4]);
    count += 2;
    if is_biflow {
        for field in FIELDS {
            if let Element::Each { id, bytes } = field.element {
                put(out, &[id | ENTERPRISE_BIT, bytes]);
                out.extend_from_slice(&REVERSE_ENTERPRISE.to_be_bytes());
                count += 1;
            }
        }
        put(out, &[BIFLOW_DIRECTION, 1]);
        count += 1;
    }
    if let Some(place) = out.get_mut(start + 2..start + 4) {
        place.copy_from_slice(&u16::to_be_bytes(count));
    }
}

fn write_row(out: &mut Vec<u8>, biflow: &Biflow<'_>) {
    let forward = biflow.forward;
    for field in FIELDS {
        match field.element {
            Element::None => {}
            Element::Address { .. } => write_value(out, (field.value)(forward), 0),
            Element::One { bytes, .. } | Element::Each { bytes, .. } => {
                write_value(out, (field.value)(forward), bytes);
            }
        }
    }
    let (ingress, egress) = interfaces(forward);
    out.extend_from_slice(&ingress.to_be_bytes());
    out.extend_from_slice(&egress.to_be_bytes());
    if let Some(reverse) = biflow.reverse {
        for field in FIELDS {
            if let Element::Each { bytes, .. } = field.element {
                write_value(out, (field.value)(reverse), bytes);
            }
        }
        // 1 from the initiator, 0 arbitrary.
        out.push(u8::from(biflow.from_initiator));
    }
}

fn write_value(out: &mut Vec<u8>, value: FieldValue, bytes: u16) {
    match value {
        FieldValue::Time(ns) => out.extend_from_slice(&(ns / 1_000_000).to_be_bytes()),
        FieldValue::Address(IpAddr::V4(address)) => out.extend_from_slice(&address.octets()),
        FieldValue::Address(IpAddr::V6(address)) => out.extend_from_slice(&address.octets()),
        FieldValue::Mac(mac) => out.extend_from_slice(&mac),
        FieldValue::Number(number) => {
            let all = number.to_be_bytes();
            out.extend_from_slice(all.last_chunk::<8>().map_or(&[][..], |all| {
                all.get(8 - usize::from(bytes).min(8)..).unwrap_or_default()
            }));
        }
        FieldValue::Word(_) | FieldValue::Absent => {
            out.resize(out.len() + usize::from(bytes), 0);
        }
    }
}

/// The capture interface as kflow numbers it, on the side where the packets passed it; 0 where
/// nothing is known.
fn interfaces(record: &Record) -> (u32, u32) {
    let number = |mac: [u8; 6]| u32::from(u16::from_be_bytes([mac[4], mac[5]]));
    match record.direction {
        Direction::In => (number(record.dst_mac), 0),
        Direction::Out => (0, number(record.src_mac)),
        Direction::Unknown => (0, 0),
    }
}

fn options(out: &mut Vec<u8>, domain: u32, rate: u32) {
    let rate = rate.max(1);
    out.extend_from_slice(&domain.to_be_bytes());
    out.extend_from_slice(&u64::from(rate).to_be_bytes());
    out.extend_from_slice(&UNIFORM_PROBABILISTIC.to_be_bytes());
    out.extend_from_slice(&1_u32.to_be_bytes());
    out.extend_from_slice(&(rate - 1).to_be_bytes());
    out.extend_from_slice(&(1.0 / f64::from(rate)).to_be_bytes());
}

fn put(out: &mut Vec<u8>, words: &[u16]) {
    words.iter().for_each(|word| out.extend_from_slice(&word.to_be_bytes()));
}

fn set(out: &mut Vec<u8>, id: u16, content: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    put(out, &[id, 0]);
    content(out);
    close_set(out, start);
}

fn close_set(out: &mut [u8], start: usize) {
    let length = (out.len() - start) as u16;
    if let Some(place) = out.get_mut(start + 2..start + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

fn with_header(mut bytes: Vec<u8>, time_s: u32, domain: u32) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    put(&mut header, &[VERSION, bytes.len() as u16]);
    header.extend_from_slice(&time_s.to_be_bytes());
    header.extend_from_slice(&[0; 4]);
    header.extend_from_slice(&domain.to_be_bytes());
    if let Some(place) = bytes.get_mut(..HEADER_BYTES) {
        place.copy_from_slice(&header);
    }
    bytes
}
