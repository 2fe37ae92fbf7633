//! What the settings mean: every value checked and typed once, at the edge.

mod backend;
mod cpus;
mod features;
mod file;
mod gather;
mod mode;
mod print;
mod reload;
mod source;
mod value;

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use flowtable::Translations;

use crate::cli::{Settings, UsageError};
use crate::log::Format;

pub use backend::{Backend, DeviceChoice, OutputChoice};
pub use cpus::parse as parse_cpus;
pub use features::{Decoding, Delivery, Privacy, RedactedField, Redaction, Rotation, SampleSecret};
pub use gather::Sources;
pub use mode::Mode;
pub use print::print;
pub use reload::{Reload, is_route};
pub use source::{Live, Readers, Replay, Source};
pub use value::Sample;

use value::{invalid, number, text, word};

/// Everything the probe is told to do.
#[derive(Debug)]
pub struct Config {
    /// Flows, DNS answers or RADIUS accounting.
    pub mode: Mode,
    /// Live or replay.
    pub source: Source,
    /// Where records go, at least one.
    pub outputs: Vec<OutputChoice>,
    /// Needed for [`OutputChoice::Kflow`].
    pub backend: Option<Backend>,
    /// `--sample`.
    pub sample: Sample,
    /// Shared by probes that are to choose the same flows; `None` is a random one.
    pub sample_secret: Option<SampleSecret>,
    /// Addresses and ports to be reported as others.
    pub translations: Translations,
    /// Application data.
    pub decoding: Decoding,
    /// What is left out of them.
    pub privacy: Privacy,
    /// Batches that wait, and which records leave when they are too many.
    pub delivery: Delivery,
    /// For every [`OutputChoice::Json`] with a file.
    pub rotation: Option<Rotation>,
    /// Conversations held at once, all readers together.
    pub max_flows: usize,
    /// Ceiling for rings, tables and queues, MiB.
    pub max_memory_mib: usize,
    /// Where the status server listens, if anywhere.
    pub status: Option<SocketAddr>,
    /// The command is `top`: the terminal shows who talks most.
    pub top: bool,
    /// Who to become when started by root; `None` chooses.
    pub user: Option<String>,
    /// Whether system calls and file access are restricted.
    pub sandbox: bool,
    /// The configuration file and those with one value, which SIGHUP reads again.
    pub files_read_again: Vec<PathBuf>,
    /// How log lines look and where they go.
    pub log_format: Format,
    /// Count of `-v`.
    pub verbose: u8,
}

impl Config {
    /// Checks what was set.
    ///
    /// # Errors
    /// The first flag whose value cannot be meant, or a combination that cannot.
    pub fn new(settings: &Settings) -> Result<Self, UsageError> {
        let mode = mode::mode(settings)?;
        let (outputs, backend) = backend::outputs(settings, mode != Mode::Flow)?;
        if mode != Mode::Flow && settings.has("output") {
            return Err(UsageError("--output has no meaning with --dns or --radius".to_owned()));
        }
        let has_file = outputs.iter().any(|output| matches!(output, OutputChoice::Json(Some(_))));
        let format = "expected plain, json, journald or auto";
        let number = |flag, least, most| number(settings, flag, least, most);
        Ok(Self {
            source: source::source(settings)?,
            mode,
            outputs,
            backend,
            sample: value::sample(settings)?,
            sample_secret: features::sample_secret(settings)?,
            translations: features::translations(settings)?,
            decoding: features::decoding(settings)?,
            privacy: features::privacy(settings)?,
            delivery: features::delivery(settings)?,
            rotation: features::rotation(settings, has_file)?,
            max_flows: number("max-flows", 1, 1 << 31)?.map_or(2_000_000, |n| n as usize),
            max_memory_mib: number("max-memory", 64, 1 << 24)?.map_or(1024, |n| n as usize),
            status: status(settings)?,
            top: false,
            user: text(settings, "user", "expected a user name")?,
            sandbox: !settings.has("no-sandbox"),
            files_read_again: ["config", "token-file", "email-file"]
                .iter()
                .filter_map(|flag| settings.one(flag).map(PathBuf::from))
                .collect(),
            log_format: word(settings, "log-format", format)?.unwrap_or(Format::Auto),
            verbose: settings.verbose(),
        })
    }
}

/// Port 0 means no server, whatever the host.
fn status(settings: &Settings) -> Result<Option<SocketAddr>, UsageError> {
    let Some(port) = number(settings, "status-port", 0, 65_535)?.filter(|&port| port != 0) else {
        return Ok(None);
    };
    let Some(host) = settings.one("status-host") else {
        return Ok(Some((Ipv4Addr::LOCALHOST, port as u16).into()));
    };
    let mut found = (host, port as u16)
        .to_socket_addrs()
        .map_err(|error| invalid("status-host", host, &error.to_string()))?;
    found.next().map(Some).ok_or_else(|| invalid("status-host", host, "no address found"))
}

#[cfg(test)]
mod tests;
