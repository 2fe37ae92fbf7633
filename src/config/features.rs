//! What decoders, privacy, delivery and rotation are told.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use decode::app::Classify;
use flowtable::{Translation, Translations};

use super::mode::{dns_port, radius_ports};
use super::value::{invalid, number, ports, size, text, word};
use crate::cli::{Settings, UsageError};

/// Application decoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoding {
    /// False with `--no-decode`: application id 0 everywhere, no application data.
    pub enabled: bool,
    /// How a conversation's protocol is found.
    pub classify: Classify,
    /// TCP ports of HTTP: 80 and those given.
    pub http_ports: Vec<u16>,
    /// TCP ports of TLS: 443 and those given.
    pub tls_ports: Vec<u16>,
    /// UDP port of DNS, instead of 53.
    pub dns_port: u16,
    /// UDP ports of RADIUS, instead of 1812 and 1813.
    pub radius_ports: Vec<u16>,
}

/// `--classify`.
#[derive(Clone, Copy)]
struct ClassifyWord(Classify);

impl FromStr for ClassifyWord {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "content" => Ok(Self(Classify::Content)),
            "ports" => Ok(Self(Classify::Ports)),
            _ => Err(()),
        }
    }
}

/// What does not leave the host as it was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Privacy {
    /// `--redact`, each field at most once.
    pub redact: Vec<(RedactedField, Redaction)>,
    /// URLs lose their query.
    pub cut_query: bool,
}

/// Fields that `--redact` knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedactedField {
    /// URLs, paths, referers.
    Url,
    /// Names of servers and domains.
    Name,
    /// Users, their hosts and devices.
    User,
    /// Programs that people use.
    UserAgent,
    /// DNS names and answers, SQL statements, keys.
    Query,
}

/// What becomes of a redacted field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redaction {
    /// It is left out.
    Drop,
    /// Its keyed hash is reported, so that equal values stay equal.
    Hash,
}

/// How records wait when they cannot be sent, and which are left out when they are too many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Most memory for encoded batches, bytes.
    pub queue_bytes: u64,
    /// Where batches wait on disk.
    pub spool: Option<Spool>,
    /// Above the flow limit, keep flows with probability by their size (threshold sampling).
    pub keep_heavy: bool,
}

/// A folder for batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    /// The folder.
    pub folder: PathBuf,
    /// Most bytes in it; the oldest batch goes first.
    pub bytes: u64,
}

/// When a JSON file is finished and a new one begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// At this size, bytes.
    pub bytes: u64,
    /// Finished files to keep, at least 1.
    pub files: u32,
}

/// What makes several probes choose the same flows. Its `Debug` form is `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct SampleSecret(String);

impl SampleSecret {
    /// The secret, to derive a hash key from.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for SampleSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

pub(super) fn decoding(settings: &Settings) -> Result<Decoding, UsageError> {
    let classify: Option<ClassifyWord> = word(settings, "classify", "expected content or ports")?;
    let with = |first: u16, flag| {
        let mut all = vec![first];
        all.extend(ports(settings, flag)?.unwrap_or_default());
        all.dedup();
        Ok(all)
    };
    Ok(Decoding {
        enabled: !settings.has("no-decode"),
        classify: classify.map_or(Classify::Content, |word| word.0),
        http_ports: with(80, "http-port")?,
        tls_ports: with(443, "tls-port")?,
        dns_port: dns_port(settings)?,
        radius_ports: radius_ports(settings)?,
    })
}

pub(super) fn privacy(settings: &Settings) -> Result<Privacy, UsageError> {
    let mut redact: Vec<(RedactedField, Redaction)> = Vec::new();
    for text in settings.all("redact") {
        let one = redaction(text)?;
        if redact.iter().any(|(field, _)| *field == one.0) {
            return Err(invalid("redact", text, "the field was given twice"));
        }
        redact.push(one);
    }
    Ok(Privacy { redact, cut_query: settings.has("cut-query") })
}

fn redaction(text: &str) -> Result<(RedactedField, Redaction), UsageError> {
    use RedactedField::{Name, Query, Url, User, UserAgent};
    let expected =
        "expected FIELD=drop or FIELD=hash, FIELD one of url, name, user, user-agent, query";
    let refuse = || invalid("redact", text, expected);
    let (field, how) = text.split_once('=').ok_or_else(refuse)?;
    let field = match field {
        "url" => Url,
        "name" => Name,
        "user" => User,
        "user-agent" => UserAgent,
        "query" => Query,
        _ => return Err(refuse()),
    };
    match how {
        "drop" => Ok((field, Redaction::Drop)),
        "hash" => Ok((field, Redaction::Hash)),
        _ => Err(refuse()),
    }
}

pub(super) fn delivery(settings: &Settings) -> Result<Delivery, UsageError> {
    let bytes = size(settings, "spool-size", 1 << 20)?;
    let spool = match (text(settings, "spool", "expected a folder")?, bytes) {
        (None, Some(_)) => {
            return Err(UsageError("--spool-size has no meaning without --spool".to_owned()));
        }
        (None, None) => None,
        (Some(folder), bytes) => {
            Some(Spool { folder: folder.into(), bytes: bytes.unwrap_or(1 << 30) })
        }
    };
    Ok(Delivery {
        queue_bytes: size(settings, "queue-size", 1 << 20)?.unwrap_or(64 << 20),
        spool,
        keep_heavy: settings.has("keep-heavy"),
    })
}

pub(super) fn rotation(
    settings: &Settings,
    has_file: bool,
) -> Result<Option<Rotation>, UsageError> {
    let bytes = size(settings, "rotate-size", 4096)?;
    let files = number(settings, "rotate-files", 1, 100_000)?;
    match (bytes, files) {
        (None, None) => Ok(None),
        (None, Some(_)) => {
            Err(UsageError("--rotate-files has no meaning without --rotate-size".to_owned()))
        }
        (Some(_), _) if !has_file => {
            Err(UsageError("--rotate-size has no meaning without --output json:PATH".to_owned()))
        }
        (Some(bytes), files) => Ok(Some(Rotation { bytes, files: files.unwrap_or(10) as u32 })),
    }
}

pub(super) fn sample_secret(settings: &Settings) -> Result<Option<SampleSecret>, UsageError> {
    match settings.one("sample-secret") {
        Some("") => Err(UsageError("--sample-secret: expected a text".to_owned())),
        other => Ok(other.map(|text| SampleSecret(text.to_owned()))),
    }
}

pub(super) fn translations(settings: &Settings) -> Result<Translations, UsageError> {
    let rule = |text: &String| {
        text.parse::<Translation>().map_err(|error| invalid("translate", text, &error.to_string()))
    };
    settings.all("translate").iter().map(rule).collect()
}
