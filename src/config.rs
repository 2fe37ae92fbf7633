//! What the command line means: every value checked and typed once, at the edge.

mod cpus;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use capture::FanoutMode;

use crate::cli::{Typed, UsageError};

pub use cpus::parse as parse_cpus;

/// Largest `--sample`: the wire carries the rate times 100 in 32 bits.
const MAX_SAMPLE: u64 = 42_949_672;
/// What capturing costs depends on it; headers through the tallest stack of tags fit.
const HEADERS_SNAPLEN: u32 = 256;
/// "Everything": the largest frame of a ring is smaller.
const FULL_SNAPLEN: u32 = 262_144;

/// Everything the probe is told to do.
#[derive(Debug)]
pub struct Config {
    /// Live or replay.
    pub source: Source,
    /// Where records go, at least one.
    pub outputs: Vec<OutputChoice>,
    /// Needed for [`OutputChoice::Kflow`].
    pub backend: Option<Backend>,
    /// `--sample`; `None` leaves it to the device.
    pub sample: Option<u32>,
    /// Conversations held at once, all readers together.
    pub max_flows: usize,
    /// Ceiling for rings, tables and queues, MiB.
    pub max_memory_mib: usize,
    /// Where the status server listens, if anywhere.
    pub status: Option<SocketAddr>,
    /// Count of `-v`.
    pub verbose: u8,
}

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

/// One `--output`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputChoice {
    /// JSON lines; `None` is standard output.
    Json(Option<PathBuf>),
    /// kflow batches to the flow URL.
    Kflow,
}

/// Account, URLs and device as typed and checked.
#[derive(Debug)]
pub struct Backend {
    /// Account e-mail and token.
    pub credentials: export::Credentials,
    /// The URLs in force.
    pub urls: export::Urls,
    /// HTTP proxy.
    pub proxy: Option<export::Proxy>,
    /// Which device to report as.
    pub device: DeviceChoice,
}

/// The device selectors, of which the first in the order id, interface, address, name decides.
#[derive(Debug, Default)]
pub struct DeviceChoice {
    /// `--device-id`, not 0.
    pub id: Option<u32>,
    /// `--device-if`.
    pub interface: Option<String>,
    /// `--device-ip`.
    pub ip: Option<IpAddr>,
    /// `--device-name`.
    pub name: Option<String>,
    /// `--device-plan`, for creation.
    pub plan: Option<u32>,
    /// `--device-site`, for creation.
    pub site: Option<u32>,
}

/// Reads environment variables; a parameter, so that tests need not set the process's own.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Config {
    /// Checks what was typed.
    ///
    /// # Errors
    /// The first flag whose value cannot be meant, or a combination that cannot.
    pub fn new(typed: &Typed, environment: Environment<'_>) -> Result<Self, UsageError> {
        let (outputs, backend) = outputs(typed, environment)?;
        Ok(Self {
            source: source(typed)?,
            outputs,
            backend,
            sample: sample(typed)?,
            max_flows: number(typed, "max-flows", 1, 1 << 31)?.map_or(2_000_000, |n| n as usize),
            max_memory_mib: number(typed, "max-memory", 64, 1 << 24)?.map_or(1024, |n| n as usize),
            status: status(typed)?,
            verbose: typed.verbose,
        })
    }
}

fn source(typed: &Typed) -> Result<Source, UsageError> {
    match (typed.has("interface"), typed.one("read")) {
        (true, Some(_)) => Err(UsageError("--interface and --read exclude each other".to_owned())),
        (true, None) => live(typed).map(Source::Live),
        (false, Some(path)) => replay(typed, path).map(Source::Replay),
        (false, None) => Err(missing("interface")),
    }
}

fn replay(typed: &Typed, path: &str) -> Result<Replay, UsageError> {
    const LIVE_ONLY: [&str; 6] =
        ["promisc", "fanout-group", "buffer-size", "block-size", "retire-ms", "cpus"];
    if let Some(flag) = LIVE_ONLY.iter().find(|flag| typed.has(flag)) {
        return Err(UsageError(format!("--{flag} has no meaning with --read")));
    }
    Ok(Replay {
        path: path.into(),
        readers: readers(typed)?,
        filter: typed.one("filter").map(str::to_owned),
        snap_bytes: snap_bytes(typed, FULL_SNAPLEN)?,
        local_mac: typed.one("local-mac").map(mac).transpose()?,
    })
}

fn live(typed: &Typed) -> Result<Live, UsageError> {
    if typed.has("local-mac") {
        return Err(UsageError("--local-mac has no meaning without --read".to_owned()));
    }
    let mut interfaces: Vec<String> = Vec::new();
    for name in typed.all("interface") {
        if interfaces.contains(name) {
            return Err(UsageError(format!("--interface {name} was given twice")));
        }
        interfaces.push(name.clone());
    }
    let (buffer_bytes, block_bytes) = ring(typed)?;
    let cpus = match typed.one("cpus") {
        Some(text) => cpus::parse(text).map_err(|expected| invalid("cpus", text, expected))?,
        None => Vec::new(),
    };
    Ok(Live {
        interfaces,
        readers: readers(typed)?,
        filter: typed.one("filter").map(str::to_owned),
        snap_bytes: snap_bytes(typed, HEADERS_SNAPLEN)?,
        promiscuous: typed.has("promisc"),
        buffer_bytes,
        block_bytes,
        retire_ms: number(typed, "retire-ms", 1, 10_000)?.map_or(10, |n| n as u32),
        group: number(typed, "fanout-group", 0, 65_535)?.map(|group| group as u16),
        mode: fanout_mode(typed)?,
        cpus,
    })
}

/// Bytes of the ring and of a block.
fn ring(typed: &Typed) -> Result<(usize, usize), UsageError> {
    let block_kib = number(typed, "block-size", 64, 65_536)?.unwrap_or(1024);
    if !block_kib.is_power_of_two() {
        return Err(invalid("block-size", &block_kib.to_string(), "expected a power of two"));
    }
    let buffer_kib = number(typed, "buffer-size", 1, 65_536)?.unwrap_or(128) << 10;
    if buffer_kib < 2 * block_kib {
        let expected = format!("expected at least two blocks of {block_kib} KiB");
        return Err(invalid("buffer-size", &(buffer_kib >> 10).to_string(), &expected));
    }
    Ok(((buffer_kib as usize) << 10, (block_kib as usize) << 10))
}

fn fanout_mode(typed: &Typed) -> Result<Option<FanoutMode>, UsageError> {
    let parse =
        |text: &str| text.parse().map_err(|error: &str| invalid("fanout-mode", text, error));
    typed.one("fanout-mode").map(parse).transpose()
}

fn readers(typed: &Typed) -> Result<Readers, UsageError> {
    match typed.one("readers") {
        Some("auto") => Ok(Readers::Auto),
        Some(text) => match text.parse() {
            Ok(n) if (1..=64).contains(&n) => Ok(Readers::Exactly(n)),
            _ => Err(invalid("readers", text, "expected auto or a number from 1 to 64")),
        },
        None => Ok(Readers::Exactly(1)),
    }
}

/// Port 0 means no server, whatever the host.
fn status(typed: &Typed) -> Result<Option<SocketAddr>, UsageError> {
    let Some(port) = number(typed, "status-port", 0, 65_535)?.filter(|&port| port != 0) else {
        return Ok(None);
    };
    let Some(host) = typed.one("status-host") else {
        return Ok(Some((Ipv4Addr::LOCALHOST, port as u16).into()));
    };
    let mut found = (host, port as u16)
        .to_socket_addrs()
        .map_err(|error| invalid("status-host", host, &error.to_string()))?;
    found.next().map(Some).ok_or_else(|| invalid("status-host", host, "no address found"))
}

fn snap_bytes(typed: &Typed, default: u32) -> Result<u32, UsageError> {
    Ok(match number(typed, "snaplen", 0, u64::from(u32::MAX >> 1))? {
        None => default,
        Some(0) => FULL_SNAPLEN,
        Some(bytes) => bytes as u32,
    })
}

fn outputs(
    typed: &Typed,
    environment: Environment<'_>,
) -> Result<(Vec<OutputChoice>, Option<Backend>), UsageError> {
    let mut outputs = Vec::new();
    for text in typed.all("output") {
        outputs.push(output(text)?);
    }
    // An empty variable counts as absent.
    let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
    let credential = |flag, names: [&'static str; 2]| {
        typed.one(flag).map(str::to_owned).or_else(|| names.into_iter().find_map(variable))
    };
    let email = credential("email", ["KENTIK_EMAIL", "KENTIK_API_EMAIL"]);
    let token = credential("token", ["KENTIK_TOKEN", "KENTIK_API_TOKEN"]);
    if outputs.is_empty() {
        let local = email.is_none() && token.is_none();
        outputs.push(if local { OutputChoice::Json(None) } else { OutputChoice::Kflow });
    }
    // Wrong values are reported also where nothing is sent.
    let urls = urls(typed)?;
    let proxy = typed.one("proxy-url").map(export::Proxy::parse).transpose();
    let proxy = proxy.map_err(|error| UsageError(format!("--proxy-url: {error}")))?;
    let device = device(typed)?;
    if !outputs.contains(&OutputChoice::Kflow) {
        return Ok((outputs, None));
    }
    let email = email.ok_or_else(|| missing("email"))?;
    let token = export::Token::new(token.ok_or_else(|| missing("token"))?);
    Ok((
        outputs,
        Some(Backend { credentials: export::Credentials { email, token }, urls, proxy, device }),
    ))
}

fn output(text: &str) -> Result<OutputChoice, UsageError> {
    match text.split_once(':') {
        None if text == "json" => Ok(OutputChoice::Json(None)),
        None if text == "kflow" => Ok(OutputChoice::Kflow),
        Some(("json", path)) if !path.is_empty() => Ok(OutputChoice::Json(Some(path.into()))),
        _ => Err(invalid("output", text, "expected json, json:PATH or kflow")),
    }
}

fn urls(typed: &Typed) -> Result<export::Urls, UsageError> {
    let usage = |error: &dyn std::fmt::Display| UsageError(error.to_string());
    let region: export::Region = typed
        .one("region")
        .unwrap_or("US")
        .parse()
        .map_err(|error: export::RegionError| UsageError(format!("--region: {error}")))?;
    let mut urls = export::Urls::of_region(&region).map_err(|error| usage(&error))?;
    for (flag, what, url) in [
        ("api-url", "API", &mut urls.api),
        ("flow-url", "flow", &mut urls.flow),
        ("metrics-url", "metrics", &mut urls.metrics),
    ] {
        if let Some(text) = typed.one(flag) {
            *url = export::parse_url(what, text)
                .map_err(|error| UsageError(format!("--{flag}: {error}")))?;
        }
    }
    Ok(urls)
}

fn device(typed: &Typed) -> Result<DeviceChoice, UsageError> {
    let ip = match typed.one("device-ip") {
        Some(text) => {
            Some(text.parse().map_err(|_| invalid("device-ip", text, "expected an IP address"))?)
        }
        None => None,
    };
    let name = typed.one("device-name").map(str::to_owned);
    if name.as_deref() == Some("") {
        return Err(invalid("device-name", "", "expected a name"));
    }
    let id = |flag| number(typed, flag, 0, u64::from(u32::MAX));
    let nonzero = |n: Option<u64>| n.filter(|&n| n != 0).map(|n| n as u32);
    Ok(DeviceChoice {
        id: nonzero(id("device-id")?),
        interface: typed.one("device-if").map(str::to_owned),
        ip,
        name,
        plan: nonzero(id("device-plan")?),
        site: nonzero(id("device-site")?),
    })
}

fn sample(typed: &Typed) -> Result<Option<u32>, UsageError> {
    Ok(number(typed, "sample", 0, MAX_SAMPLE)?.map(|n| n.max(1) as u32))
}

fn number(typed: &Typed, flag: &str, least: u64, most: u64) -> Result<Option<u64>, UsageError> {
    let Some(text) = typed.one(flag) else { return Ok(None) };
    match text.parse::<u64>() {
        Ok(n) if (least..=most).contains(&n) => Ok(Some(n)),
        _ => Err(invalid(flag, text, &format!("expected a whole number from {least} to {most}"))),
    }
}

fn mac(text: &str) -> Result<[u8; 6], UsageError> {
    let refuse = || invalid("local-mac", text, "expected six bytes like 00:1c:42:60:bb:37");
    let mut mac = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut mac {
        let part = parts.next().filter(|part| (1..=2).contains(&part.len())).ok_or_else(refuse)?;
        *byte = u8::from_str_radix(part, 16).map_err(|_| refuse())?;
    }
    if parts.next().is_some() { Err(refuse()) } else { Ok(mac) }
}

fn invalid(flag: &str, value: &str, expected: &str) -> UsageError {
    UsageError(format!("invalid value '{value}' for --{flag}: {expected}"))
}

/// The original's words for what must be there (spec 2.6, ERR-1).
fn missing(flag: &str) -> UsageError {
    UsageError(format!("expected `--{flag}=<{flag}>`, pass `--help` for usage information"))
}

#[cfg(test)]
mod tests;
