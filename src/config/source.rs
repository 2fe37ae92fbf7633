//! Where frames come from: live interfaces or a capture file, and how they are read.

use std::path::PathBuf;

use capture::FanoutMode;

use super::value::{invalid, mac, missing, number};
use crate::cli::{Settings, UsageError};

/// What capturing costs depends on it; headers through the tallest stack of tags fit.
const HEADERS_SNAPLEN: u32 = 256;
/// What decoders see of a packet (spec 2.2).
const DECODING_SNAPLEN: u32 = 65_535;
/// "Everything": the largest frame of a ring is smaller.
const FULL_SNAPLEN: u32 = 262_144;

/// Where frames come from.
#[derive(Debug)]
pub enum Source {
    /// Rings on interfaces.
    Live(Live),
    /// A capture file, in packet time.
    Replay(Replay),
}

/// Settings of a live capture.
#[derive(Debug)]
pub struct Live {
    /// Interface names as given, at least one, each once.
    pub interfaces: Vec<String>,
    /// Reader threads for each interface.
    pub readers: Readers,
    /// pcap-filter(7) expression.
    pub filter: Option<String>,
    /// Bytes captured of a packet.
    pub snap_bytes: u32,
    /// Promiscuous mode.
    pub promiscuous: bool,
    /// Size of each reader's ring, bytes.
    pub buffer_bytes: usize,
    /// Size of a block of the ring, bytes; a power of two, at most `buffer_bytes`.
    pub block_bytes: usize,
    /// Retire timeout of a block, ms.
    pub retire_ms: u32,
    /// Group to join with every reader; `None` makes one of our own when there are several.
    pub group: Option<u16>,
    /// How the group spreads frames; `None` is hash for a group that was named, ebpf for our own.
    pub mode: Option<FanoutMode>,
    /// CPUs to pin readers to; empty chooses.
    pub cpus: Vec<usize>,
}

/// How many reader threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// As many as the interface has receive queues, and CPUs allow.
    Auto,
    /// So many, 1–64.
    Exactly(usize),
}

/// Settings of a replay.
#[derive(Debug)]
pub struct Replay {
    /// The file; `-` is standard input.
    pub path: PathBuf,
    /// Reader threads that share the frames.
    pub readers: Readers,
    /// pcap-filter(7) expression.
    pub filter: Option<String>,
    /// Bytes looked at of a packet.
    pub snap_bytes: u32,
    /// Gives records their direction.
    pub local_mac: Option<[u8; 6]>,
}

pub(super) fn source(settings: &Settings) -> Result<Source, UsageError> {
    match (settings.has("interface"), settings.one("read")) {
        (true, Some(_)) => Err(UsageError("--interface and --read exclude each other".to_owned())),
        (true, None) => live(settings).map(Source::Live),
        (false, Some(path)) => replay(settings, path).map(Source::Replay),
        (false, None) => Err(missing("interface")),
    }
}

fn replay(settings: &Settings, path: &str) -> Result<Replay, UsageError> {
    const LIVE_ONLY: [&str; 6] =
        ["promisc", "fanout-group", "buffer-size", "block-size", "retire-ms", "cpus"];
    if let Some(flag) = LIVE_ONLY.iter().find(|flag| settings.has(flag)) {
        return Err(UsageError(format!("--{flag} has no meaning with --read")));
    }
    Ok(Replay {
        path: path.into(),
        readers: readers(settings)?,
        filter: settings.one("filter").map(str::to_owned),
        snap_bytes: snap_bytes(settings, FULL_SNAPLEN)?,
        local_mac: settings.one("local-mac").map(mac).transpose()?,
    })
}

fn live(settings: &Settings) -> Result<Live, UsageError> {
    if settings.has("local-mac") {
        return Err(UsageError("--local-mac has no meaning without --read".to_owned()));
    }
    let mut interfaces: Vec<String> = Vec::new();
    for name in settings.all("interface") {
        if interfaces.contains(name) {
            return Err(UsageError(format!("--interface {name} was given twice")));
        }
        interfaces.push(name.clone());
    }
    let (buffer_bytes, block_bytes) = ring(settings)?;
    let cpus = match settings.one("cpus") {
        Some(text) => {
            super::cpus::parse(text).map_err(|expected| invalid("cpus", text, expected))?
        }
        None => Vec::new(),
    };
    Ok(Live {
        interfaces,
        readers: readers(settings)?,
        filter: settings.one("filter").map(str::to_owned),
        snap_bytes: snap_bytes(settings, default_snaplen(settings))?,
        promiscuous: settings.has("promisc"),
        buffer_bytes,
        block_bytes,
        retire_ms: number(settings, "retire-ms", 1, 10_000)?.map_or(10, |n| n as u32),
        group: number(settings, "fanout-group", 0, 65_535)?.map(|group| group as u16),
        mode: fanout_mode(settings)?,
        cpus,
    })
}

/// Decoders and modes read payload; without them, copying more than headers would be for nothing.
fn default_snaplen(settings: &Settings) -> u32 {
    let reads_payload = ["dns", "radius"].iter().any(|mode| settings.has(mode));
    if settings.has("no-decode") && !reads_payload { HEADERS_SNAPLEN } else { DECODING_SNAPLEN }
}

/// Bytes of the ring and of a block.
fn ring(settings: &Settings) -> Result<(usize, usize), UsageError> {
    let block_kib = number(settings, "block-size", 64, 65_536)?.unwrap_or(1024);
    if !block_kib.is_power_of_two() {
        return Err(invalid("block-size", &block_kib.to_string(), "expected a power of two"));
    }
    let buffer_kib = number(settings, "buffer-size", 1, 65_536)?.unwrap_or(128) << 10;
    if buffer_kib < 2 * block_kib {
        let expected = format!("expected at least two blocks of {block_kib} KiB");
        return Err(invalid("buffer-size", &(buffer_kib >> 10).to_string(), &expected));
    }
    Ok(((buffer_kib as usize) << 10, (block_kib as usize) << 10))
}

fn fanout_mode(settings: &Settings) -> Result<Option<FanoutMode>, UsageError> {
    let parse =
        |text: &str| text.parse().map_err(|error: &str| invalid("fanout-mode", text, error));
    settings.one("fanout-mode").map(parse).transpose()
}

fn readers(settings: &Settings) -> Result<Readers, UsageError> {
    match settings.one("readers") {
        Some("auto") => Ok(Readers::Auto),
        Some(text) => match text.parse() {
            Ok(n) if (1..=64).contains(&n) => Ok(Readers::Exactly(n)),
            _ => Err(invalid("readers", text, "expected auto or a number from 1 to 64")),
        },
        None => Ok(Readers::Exactly(1)),
    }
}

fn snap_bytes(settings: &Settings, default: u32) -> Result<u32, UsageError> {
    Ok(match number(settings, "snaplen", 0, u64::from(u32::MAX >> 1))? {
        None => default,
        Some(0) => FULL_SNAPLEN,
        Some(bytes) => bytes as u32,
    })
}
