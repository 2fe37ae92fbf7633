//! Texts to values, each refused in one line that names the flag.

use std::num::NonZeroU32;
use std::str::FromStr;

use crate::cli::{Settings, UsageError};

/// Largest `--sample`: the wire carries the rate times 100 in 32 bits (spec 4.5).
const MAX_SAMPLE: u64 = 42_949_672;

/// `--cpu-budget` when it is not given.
const DEFAULT_CPU_PERCENT: u8 = 80;

/// `--sample`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// Not given: the device's rate, also when it changes.
    Device,
    /// 0: all flows, until the device's rate changes (spec 4.6).
    All,
    /// 1 of N, whatever the device says.
    Every(NonZeroU32),
    /// Chosen by load.
    Auto {
        /// Percent of a CPU that each reader may take.
        cpu_percent: u8,
    },
}

impl Sample {
    /// Whether a new rate of the device is to be used.
    pub fn follows_device(self) -> bool {
        matches!(self, Self::Device | Self::All)
    }

    /// The CPU budget of [`Self::Auto`].
    pub fn cpu_percent(self) -> Option<u8> {
        match self {
            Self::Auto { cpu_percent } => Some(cpu_percent),
            _ => None,
        }
    }

    /// N of 1:N at the start, with the device's own rate at hand (spec 4.5).
    pub fn at_start(self, device_rate: Option<u32>) -> u32 {
        match self {
            Self::Device => device_rate.unwrap_or(1).max(1),
            Self::All | Self::Auto { .. } => 1,
            Self::Every(n) => n.get(),
        }
    }
}

pub(super) fn sample(settings: &Settings) -> Result<Sample, UsageError> {
    let cpu_percent = number(settings, "cpu-budget", 1, 100)?.map(|n| n as u8);
    if settings.one("sample") == Some("auto") {
        if settings.has("read") {
            let text = "--sample auto has no meaning with --read: a file waits; give a number";
            return Err(UsageError(text.to_owned()));
        }
        return Ok(Sample::Auto { cpu_percent: cpu_percent.unwrap_or(DEFAULT_CPU_PERCENT) });
    }
    if cpu_percent.is_some() {
        return Err(UsageError("--cpu-budget has no meaning without --sample auto".to_owned()));
    }
    let n = number(settings, "sample", 0, MAX_SAMPLE);
    let n =
        n.map_err(|UsageError(text)| UsageError(text.replace("expected a", "expected auto or a")));
    let Some(n) = n? else { return Ok(Sample::Device) };
    Ok(NonZeroU32::new(n as u32).map_or(Sample::All, Sample::Every))
}

/// A whole number within bounds.
pub(super) fn number(
    settings: &Settings,
    flag: &str,
    least: u64,
    most: u64,
) -> Result<Option<u64>, UsageError> {
    let Some(text) = settings.one(flag) else { return Ok(None) };
    // A sign is no digit, though the library takes one.
    match text.parse::<u64>().ok().filter(|_| !text.starts_with('+')) {
        Some(n) if (least..=most).contains(&n) => Ok(Some(n)),
        _ => Err(invalid(flag, text, &format!("expected a whole number from {least} to {most}"))),
    }
}

/// A number of bytes: digits, then perhaps K, M or G, or KiB and so on; 1K is 1024.
pub(super) fn size(settings: &Settings, flag: &str, least: u64) -> Result<Option<u64>, UsageError> {
    let Some(text) = settings.one(flag) else { return Ok(None) };
    let refuse = |expected: &str| invalid(flag, text, expected);
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        _ => return Err(refuse("expected a size like 64M or 1G")),
    };
    let number: u64 = number.parse().map_err(|_| refuse("expected a size like 64M or 1G"))?;
    match number.checked_mul(1 << shift) {
        Some(bytes) if (least..=1 << 46).contains(&bytes) => Ok(Some(bytes)),
        _ => Err(refuse(&format!("expected from {least} bytes to 65536G"))),
    }
}

/// All ports of a list flag; `None` when it was not given.
pub(super) fn ports(settings: &Settings, flag: &str) -> Result<Option<Vec<u16>>, UsageError> {
    if !settings.has(flag) {
        return Ok(None);
    }
    let mut ports = Vec::new();
    for text in settings.all(flag).iter().filter(|text| !text.is_empty()) {
        for part in text.split(',') {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            let port: Option<u16> = part.parse().ok().filter(|_| digits);
            let port = port.ok_or_else(|| invalid(flag, text, "expected ports from 0 to 65535"))?;
            if !ports.contains(&port) {
                ports.push(port);
            }
        }
    }
    if ports.is_empty() {
        return Err(UsageError(format!("--{flag}: no ports specified")));
    }
    Ok(Some(ports))
}

/// One of a few words.
pub(super) fn word<T: FromStr>(
    settings: &Settings,
    flag: &str,
    expected: &str,
) -> Result<Option<T>, UsageError> {
    let parse = |text: &str| text.parse().map_err(|_| invalid(flag, text, expected));
    settings.one(flag).map(parse).transpose()
}

/// A text that must not be empty.
pub(super) fn text(
    settings: &Settings,
    flag: &str,
    expected: &str,
) -> Result<Option<String>, UsageError> {
    match settings.one(flag) {
        Some("") => Err(invalid(flag, "", expected)),
        other => Ok(other.map(str::to_owned)),
    }
}

/// A MAC address in the usual notations.
pub(super) fn mac(text: &str) -> Result<[u8; 6], UsageError> {
    let refuse = || invalid("local-mac", text, "expected six bytes like 00:1c:42:60:bb:37");
    let mut mac = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut mac {
        let part = parts.next().filter(|part| (1..=2).contains(&part.len())).ok_or_else(refuse)?;
        *byte = u8::from_str_radix(part, 16).map_err(|_| refuse())?;
    }
    if parts.next().is_some() { Err(refuse()) } else { Ok(mac) }
}

/// Refuses a value.
pub(super) fn invalid(flag: &str, value: &str, expected: &str) -> UsageError {
    UsageError(format!("invalid value '{value}' for --{flag}: {expected}"))
}

/// The original's words for what must be there (spec 2.6, ERR-1).
pub(super) fn missing(flag: &str) -> UsageError {
    UsageError(format!("expected `--{flag}=<{flag}>`, pass `--help` for usage information"))
}
