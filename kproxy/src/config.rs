//! What the flags mean.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::allow::Allow;
use crate::cli::FLAGS;
use crate::cli::syntax::{Class, SyntaxError, Value, find};
use crate::upstream::Upstream;

/// Most client connections that can be asked for.
const MOST_CONNECTIONS: i64 = 100_000;
/// Longest time limit that can be asked for: a day.
const LONGEST_SECONDS: i64 = 86_400;

/// Everything that is set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who the agent is to the service. The proxy does not use it.
    pub account: Account,
    /// The account's region.
    pub region: Region,
    /// Where the health page is.
    pub health: SocketAddr,
    /// What is logged.
    pub log_level: LogLevel,
    /// The forward proxy.
    pub proxy: ProxyConfig,
    /// Things to say at start.
    pub notices: Vec<String>,
}

/// E-mail and token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// User's e-mail address.
    pub email: String,
    /// The API token.
    pub token: Token,
}

/// An API token. Its `Debug` form is `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A region of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Region {
    /// The default.
    Us,
    /// `.kentik.eu`.
    Eu,
    /// Any other, below `.kentik.com`.
    Other(String),
}

/// What is logged, each level with those behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Each request and tunnel.
    Access,
    /// What helps to find a fault.
    Debug,
    /// Changes of state.
    Info,
    /// What somebody should look at.
    Warn,
    /// What does not work.
    Error,
    /// Nothing but a crash.
    Panic,
    /// Nothing but a crash.
    Off,
}

/// Settings of the forward proxy.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// Where it listens; port 0 lets the kernel choose.
    pub listen: SocketAddr,
    /// What it forwards to.
    pub allow: Allow,
    /// Whether allowed names may resolve to private and loopback addresses.
    pub private: bool,
    /// The proxy that everything goes through.
    pub upstream: Option<Upstream>,
    /// Bounds.
    pub limits: Limits,
}

/// Bounds of the forward proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most client connections at once, at least 1; the next one gets a 503.
    pub connections: usize,
    /// From the first byte of a request head, or from accepting, to its end.
    pub head_time: Duration,
    /// To resolve a name and connect.
    pub connect_time: Duration,
    /// Without a byte in either direction of a tunnel or of a request under way.
    pub idle_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            head_time: Duration::from_secs(10),
            connect_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(900),
        }
    }
}

/// Why the flags make no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// One value.
    #[error(transparent)]
    Value(#[from] SyntaxError),
    /// A value of the environment.
    #[error("invalid value {value:?} of {name}: {why}")]
    Environment {
        /// The variable.
        name: &'static str,
        /// Its value, which is no secret.
        value: String,
        /// What is wrong.
        why: String,
    },
    /// A required flag.
    #[error("{0}")]
    Missing(&'static str),
}

impl Config {
    /// From the flags that were given; `environment` gives the value of a variable.
    ///
    /// # Errors
    /// A value without meaning, or a required one that is missing.
    pub fn new(
        given: &HashMap<&'static str, Value>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let flags = Flags { given };
        let region = flags.region(environment)?;
        let host = flags.parsed("host", ip)?.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let port = flags.integer("port", 9995, 1, 65_534)? as u16;
        let health = flags.parsed("healthcheck", |text| ip_and_port(text, port + 1))?;
        let health = health.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, port + 1)));
        let log_level = flags.parsed("log_level", log_level)?;
        let verbose = if flags.switch("verbose") { LogLevel::Debug } else { LogLevel::Info };
        flags.parsed("proxy_host", ip)?;
        let account = flags.account(environment)?;
        let proxy = flags.proxy(host, &region)?;
        let mut notices = flags.notices();
        if !given.contains_key("host") && proxy.listen.ip().is_loopback() {
            notices.push("only programs on this machine reach the proxy: see -host".to_owned());
        }
        let log_level = log_level.unwrap_or(verbose);
        Ok(Self { account, region, health, log_level, proxy, notices })
    }
}

impl Region {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if text.is_empty() || text.len() > 63 || !text.bytes().all(letters) {
            return Err("a region consists of letters, digits and -");
        }
        Ok(match text.to_ascii_lowercase().as_str() {
            "us" => Self::Us,
            "eu" => Self::Eu,
            other => Self::Other(other.to_owned()),
        })
    }

    /// What `-proxy-http-allow` is when it is not given.
    fn allowed(&self) -> &'static str {
        match self {
            Self::Us | Self::Other(_) => ".kentik.com",
            Self::Eu => ".kentik.eu",
        }
    }
}

/// The flags that were given, by what they mean.
struct Flags<'g> {
    given: &'g HashMap<&'static str, Value>,
}

impl Flags<'_> {
    fn text(&self, name: &'static str) -> Option<&str> {
        match self.given.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    fn switch(&self, name: &'static str) -> bool {
        self.given.get(name) == Some(&Value::Switch(true))
    }

    /// A value with a meaning, if given.
    fn parsed<T, E: ToString>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        parse(text).map(Some).map_err(|why| invalid(name, text, &why))
    }

    fn integer(
        &self,
        name: &'static str,
        default: i64,
        least: i64,
        most: i64,
    ) -> Result<i64, ConfigError> {
        match self.given.get(name) {
            Some(&Value::Integer(value)) if !(least..=most).contains(&value) => {
                let why = format!("must be {least} to {most}");
                Err(invalid(name, &value.to_string(), &why))
            }
            Some(&Value::Integer(value)) => Ok(value),
            _ => Ok(default),
        }
    }

    fn seconds(&self, name: &'static str, default: Duration) -> Result<Duration, ConfigError> {
        let seconds = self.integer(name, default.as_secs() as i64, 1, LONGEST_SECONDS)?;
        Ok(Duration::from_secs(seconds.unsigned_abs()))
    }

    fn region(&self, environment: &dyn Fn(&str) -> Option<String>) -> Result<Region, ConfigError> {
        if let Some(region) = self.parsed("region", Region::parse)? {
            return Ok(region);
        }
        let name = "KENTIK_REGION";
        match environment(name).filter(|value| !value.is_empty()) {
            None => Ok(Region::Us),
            Some(value) => Region::parse(&value).map_err(|why| ConfigError::Environment {
                name,
                value,
                why: why.to_owned(),
            }),
        }
    }

    fn account(
        &self,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Account, ConfigError> {
        let or_variable = |given: Option<&str>, variable| {
            let value = given.map(str::to_owned).or_else(|| environment(variable));
            value.filter(|value| !value.is_empty())
        };
        let email = or_variable(self.text("api_email"), "KENTIK_API_EMAIL").ok_or(
            ConfigError::Missing("no e-mail of the account: give -api_email or KENTIK_API_EMAIL"),
        )?;
        let token = self.text("api_token").or(self.text("api_pass"));
        let token = or_variable(token, "KENTIK_API_TOKEN").ok_or(ConfigError::Missing(
            "no token of the account: set KENTIK_API_TOKEN or give -api_token",
        ))?;
        Ok(Account { email, token: Token(token) })
    }

    fn proxy(&self, host: IpAddr, region: &Region) -> Result<ProxyConfig, ConfigError> {
        let listen = self.parsed("proxy-http", |text| listen(text, host))?;
        let listen = listen.ok_or(ConfigError::Missing(
            "nothing to do: give -proxy-http [addr:]port; the proxy is all there is so far",
        ))?;
        let allow = match self.parsed("proxy-http-allow", str::parse::<Allow>)? {
            Some(allow) => allow,
            None => region
                .allowed()
                .parse()
                .map_err(|why| invalid("proxy-http-allow", region.allowed(), &why))?,
        };
        let usual = Limits::default();
        let connections =
            self.integer("proxy-http-connections", usual.connections as i64, 1, MOST_CONNECTIONS)?;
        let limits = Limits {
            connections: connections as usize,
            head_time: self.seconds("proxy-http-head-timeout", usual.head_time)?,
            connect_time: self.seconds("proxy-http-connect-timeout", usual.connect_time)?,
            idle_time: self.seconds("proxy-http-idle-timeout", usual.idle_time)?,
        };
        let upstream = self.parsed("local_proxy", Upstream::parse)?;
        let private = self.switch("proxy-http-private");
        Ok(ProxyConfig { listen, allow, private, upstream, limits })
    }

    /// What was asked for and is not there, and secrets that all users can see.
    fn notices(&self) -> Vec<String> {
        let is_given = |name| self.given.contains_key(name);
        let absent = FLAGS.iter().filter(|flag| flag.class == Class::Absent && is_given(flag.name));
        let mut notices: Vec<String> =
            absent.map(|flag| format!("-{} has no effect: not there yet", flag.name)).collect();
        if is_given("api_token") || is_given("api_pass") {
            notices.push(
                "all users of this machine can read the token on the command line: better set \
                 KENTIK_API_TOKEN"
                    .to_owned(),
            );
        }
        notices
    }
}

fn invalid(name: &'static str, value: &str, why: &impl ToString) -> ConfigError {
    match find(FLAGS, name) {
        Some(flag) => SyntaxError::invalid(flag, value, why).into(),
        None => SyntaxError::NotDefined(name.to_owned()).into(),
    }
}

fn ip(text: &str) -> Result<IpAddr, &'static str> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    inner.parse().map_err(|_| "not an IP address")
}

fn ip_and_port(text: &str, default_port: u16) -> Result<SocketAddr, &'static str> {
    match text.parse() {
        Ok(address) => Ok(address),
        Err(_) => Ok(SocketAddr::new(ip(text)?, default_port)),
    }
}

/// `port`, or `ip:port`.
fn listen(text: &str, host: IpAddr) -> Result<SocketAddr, &'static str> {
    if text.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(port) = text.parse()
    {
        return Ok(SocketAddr::new(host, port));
    }
    text.parse().map_err(|_| "must be port or ip:port")
}

fn log_level(text: &str) -> Result<LogLevel, &'static str> {
    Ok(match text {
        "access" => LogLevel::Access,
        "debug" => LogLevel::Debug,
        "info" => LogLevel::Info,
        "warn" => LogLevel::Warn,
        "error" => LogLevel::Error,
        "panic" => LogLevel::Panic,
        "off" => LogLevel::Off,
        _ => return Err("must be access, debug, info, warn, error, panic or off"),
    })
}

#[cfg(test)]
mod tests;
