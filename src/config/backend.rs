//! Account, URLs, device and outputs (spec sections 3 and 4).

use std::net::IpAddr;
use std::path::PathBuf;

use super::value::{invalid, missing, number, text};
use crate::cli::{Settings, UsageError};

/// One `--output`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputChoice {
    /// JSON lines; `None` is standard output.
    Json(Option<PathBuf>),
    /// kflow batches to the flow URL.
    Kflow,
    /// IPFIX messages to a collector.
    Ipfix(export::IpfixConfig),
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
    /// Certificates to trust besides those of the system, PEM.
    pub ca_file: Option<PathBuf>,
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

/// The outputs, at least one, and the backend where one of them needs it. `needs_backend`: the
/// mode itself talks to it.
pub(super) fn outputs(
    settings: &Settings,
    needs_backend: bool,
) -> Result<(Vec<OutputChoice>, Option<Backend>), UsageError> {
    let mut outputs = Vec::new();
    for text in settings.all("output") {
        let one = output(text)?;
        if outputs.contains(&one) {
            return Err(invalid("output", text, "given twice"));
        }
        outputs.push(one);
    }
    let (email, token) = (settings.one("email"), settings.one("token"));
    if outputs.is_empty() {
        let local = email.is_none() && token.is_none();
        outputs.push(if local { OutputChoice::Json(None) } else { OutputChoice::Kflow });
    }
    // Wrong values are reported also where nothing is sent.
    let urls = urls(settings)?;
    let proxy = settings.one("proxy-url").map(export::Proxy::parse).transpose();
    let proxy = proxy.map_err(|error| UsageError(format!("--proxy-url: {error}")))?;
    let device = device(settings)?;
    let ca_file = text(settings, "ca-file", "expected a file")?.map(PathBuf::from);
    if !needs_backend && !outputs.contains(&OutputChoice::Kflow) {
        return Ok((outputs, None));
    }
    let email = email.ok_or_else(|| missing("email"))?.to_owned();
    let token = export::Token::new(token.ok_or_else(|| missing("token"))?);
    let credentials = export::Credentials { email, token };
    Ok((outputs, Some(Backend { credentials, urls, proxy, ca_file, device })))
}

fn output(text: &str) -> Result<OutputChoice, UsageError> {
    let refuse = || invalid("output", text, "expected json, json:PATH, kflow or ipfix://HOST:PORT");
    match text.split_once(':') {
        None if text == "json" => Ok(OutputChoice::Json(None)),
        None if text == "kflow" => Ok(OutputChoice::Kflow),
        Some(("json", path)) if !path.is_empty() => Ok(OutputChoice::Json(Some(path.into()))),
        Some(("ipfix" | "ipfix+udp" | "ipfix+tcp", _)) => {
            let collector = export::IpfixConfig::parse(text).ok().filter(|place| place.port != 0);
            collector.map(OutputChoice::Ipfix).ok_or_else(refuse)
        }
        _ => Err(refuse()),
    }
}

/// The URLs in force: those of the region, replaced one by one.
///
/// # Errors
/// The region or one of the URLs is none.
pub fn urls(settings: &Settings) -> Result<export::Urls, UsageError> {
    let region: export::Region = settings
        .one("region")
        .unwrap_or("US")
        .parse()
        .map_err(|error: export::RegionError| UsageError(format!("--region: {error}")))?;
    let mut urls = export::Urls::of_region(&region).map_err(|e| UsageError(e.to_string()))?;
    for (flag, what, url) in [
        ("api-url", "API", &mut urls.api),
        ("flow-url", "flow", &mut urls.flow),
        ("metrics-url", "metrics", &mut urls.metrics),
        ("dns-url", "DNS", &mut urls.dns),
    ] {
        if let Some(text) = settings.one(flag) {
            *url = export::parse_url(what, text)
                .map_err(|error| UsageError(format!("--{flag}: {error}")))?;
        }
    }
    Ok(urls)
}

fn device(settings: &Settings) -> Result<DeviceChoice, UsageError> {
    let ip = match settings.one("device-ip") {
        Some(text) => {
            Some(text.parse().map_err(|_| invalid("device-ip", text, "expected an IP address"))?)
        }
        None => None,
    };
    let id = |flag| number(settings, flag, 0, u64::from(u32::MAX));
    let nonzero = |n: Option<u64>| n.filter(|&n| n != 0).map(|n| n as u32);
    Ok(DeviceChoice {
        id: nonzero(id("device-id")?),
        interface: text(settings, "device-if", "expected an interface")?,
        ip,
        name: text(settings, "device-name", "expected a name")?,
        plan: nonzero(id("device-plan")?),
        site: nonzero(id("device-site")?),
    })
}
