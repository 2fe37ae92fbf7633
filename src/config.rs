//! What the command line means: every value checked and typed once, at the edge.

use std::net::IpAddr;
use std::path::PathBuf;

use capture::{Fanout, FanoutMode};

use crate::cli::{Typed, UsageError};

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
    /// Conversations held at once.
    pub max_flows: usize,
    /// Count of `-v`.
    pub verbose: u8,
}

/// Where frames come from.
#[derive(Debug)]
pub enum Source {
    /// A ring on an interface.
    Live(Live),
    /// A capture file, in packet time.
    Replay(Replay),
}

/// Settings of a live capture.
#[derive(Debug)]
pub struct Live {
    /// Interface name as given.
    pub interface: String,
    /// pcap-filter(7) expression.
    pub filter: Option<String>,
    /// Bytes captured of a packet.
    pub snap_bytes: u32,
    /// Promiscuous mode.
    pub promiscuous: bool,
    /// Ring size, MiB.
    pub buffer_mib: usize,
    /// Group to join.
    pub fanout: Option<Fanout>,
    /// CPU to pin the reader to; `None` chooses.
    pub cpu: Option<usize>,
}

/// Settings of a replay.
#[derive(Debug)]
pub struct Replay {
    /// The file; `-` is standard input.
    pub path: PathBuf,
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
            verbose: typed.verbose,
        })
    }
}

fn source(typed: &Typed) -> Result<Source, UsageError> {
    match (typed.one("interface"), typed.one("read")) {
        (Some(_), Some(_)) => {
            Err(UsageError("--interface and --read exclude each other".to_owned()))
        }
        (Some(name), None) => live(typed, name).map(Source::Live),
        (None, Some(path)) => {
            for flag in ["promisc", "fanout-group", "buffer-size", "cpus", "filter"] {
                if typed.has(flag) {
                    return Err(UsageError(format!("--{flag} has no meaning with --read")));
                }
            }
            let local_mac = typed.one("local-mac").map(mac).transpose()?;
            let snap_bytes = snap_bytes(typed, FULL_SNAPLEN)?;
            Ok(Source::Replay(Replay { path: path.into(), snap_bytes, local_mac }))
        }
        (None, None) => Err(missing("interface")),
    }
}

fn live(typed: &Typed, name: &str) -> Result<Live, UsageError> {
    if typed.has("local-mac") {
        return Err(UsageError("--local-mac has no meaning without --read".to_owned()));
    }
    let mode = match typed.one("fanout-mode") {
        Some(text) => text.parse().map_err(|error: &str| invalid("fanout-mode", text, error))?,
        None => FanoutMode::default(),
    };
    let group = number(typed, "fanout-group", 0, 65_535)?;
    Ok(Live {
        interface: name.to_owned(),
        filter: typed.one("filter").map(str::to_owned),
        snap_bytes: snap_bytes(typed, HEADERS_SNAPLEN)?,
        promiscuous: typed.has("promisc"),
        buffer_mib: number(typed, "buffer-size", 1, 65_536)?.map_or(128, |n| n as usize),
        fanout: group.map(|group| Fanout { group: group as u16, mode }),
        cpu: number(typed, "cpus", 0, 65_535)?.map(|n| n as usize),
    })
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
