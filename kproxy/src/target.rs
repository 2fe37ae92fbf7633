//! Where a client wants to go: the `host:port` of a CONNECT request or of an absolute URI.
//!
//! What a resolver might read differently from us is no host: user names, zones, and numbers that
//! are an address in disguise (`2130706433`, `0x7f.1`, `127.1`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const MAX_NAME_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;

/// A DNS name in lower case without trailing dot, or an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// Labels of letters, digits, `-` and `_`, the last of which is no number.
    Name(String),
    /// An address; one of IPv4 inside IPv6 counts as IPv4.
    Address(IpAddr),
}

/// A host and a port that is not 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Which host.
    pub host: Host,
    /// Which port.
    pub port: u16,
}

/// Why a text names no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// `user@host`.
    #[error("a user name stands before the host")]
    UserName,
    /// A last label that some resolvers take for a part of an address.
    #[error("the host is an address in disguise")]
    Disguised,
    /// Letters or lengths that no host has.
    #[error("the host is malformed")]
    Host,
    /// No port where one is needed, or none of 1 to 65535.
    #[error("the port is missing or malformed")]
    Port,
}

impl Host {
    /// Reads a name, an IPv4 address, or an IPv6 address in brackets.
    ///
    /// # Errors
    /// [`TargetError`], but never [`TargetError::Port`].
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(TargetError::Host)?;
            let address: Ipv6Addr = inner.parse().map_err(|_| TargetError::Host)?;
            return Ok(Self::Address(IpAddr::V6(address).to_canonical()));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Address(address.into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.contains('@') {
            return Err(TargetError::UserName);
        }
        if name.len() > MAX_NAME_BYTES || !name.split('.').all(is_label) {
            return Err(TargetError::Host);
        }
        let last = name.rsplit('.').next().unwrap_or_default();
        if is_number(last) {
            return Err(TargetError::Disguised);
        }
        Ok(Self::Name(name.to_ascii_lowercase()))
    }
}

impl Target {
    /// Reads `host:port`, or `host` where there is a default.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str, default_port: Option<u16>) -> Result<Self, TargetError> {
        if text.contains('@') {
            return Err(TargetError::UserName);
        }
        let after_brackets = text.rfind(']').map_or(0, |end| end + 1);
        let colon = text.get(after_brackets..).and_then(|rest| rest.find(':'));
        let (host, port) =
            match colon.and_then(|colon| text.split_at_checked(after_brackets + colon)) {
                Some((host, port)) => (host, Some(parse_port(port.get(1..).unwrap_or_default())?)),
                None => (text, default_port),
            };
        Ok(Self { host: Host::parse(host)?, port: port.ok_or(TargetError::Port)? })
    }
}

/// Digits of 1 to 65535, and nothing else.
pub(crate) fn parse_port(text: &str) -> Result<u16, TargetError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(TargetError::Port);
    }
    text.parse().ok().filter(|&port| port != 0).ok_or(TargetError::Port)
}

fn is_label(label: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=MAX_LABEL_BYTES).contains(&label.len()) && label.bytes().all(fits)
}

/// Whether `inet_aton` could take the label for a part of an address.
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    hex.map_or_else(
        || label.bytes().all(|byte| byte.is_ascii_digit()),
        |digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
    )
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(text: &str) -> Result<String, TargetError> {
        Target::parse(text, None).map(|target| target.to_string())
    }

    #[test]
    fn names_and_addresses_are_read_with_their_port() {
        for (text, shown) in [
            ("flow.kentik.com:443", "flow.kentik.com:443"),
            ("FLOW.Kentik.COM.:443", "flow.kentik.com:443"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("[2001:DB8::1]:8443", "[2001:db8::1]:8443"),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80"),
            ("_srv.x-1.example:1", "_srv.x-1.example:1"),
            ("localhost:65535", "localhost:65535"),
        ] {
            assert_eq!(target(text).as_deref(), Ok(shown), "{text}");
        }
        let without = Target::parse("a.example", Some(80)).unwrap();
        assert_eq!(without.to_string(), "a.example:80");
        assert_eq!(Target::parse("[::1]", Some(80)).unwrap().to_string(), "[::1]:80");
    }

    #[test]
    fn a_user_name_is_refused_as_such() {
        for text in ["kentik.com@evil:443", "u:p@kentik.com:443", "@a:1", "a:1@b"] {
            assert_eq!(target(text), Err(TargetError::UserName), "{text}");
        }
        assert_eq!(Host::parse("a@b"), Err(TargetError::UserName));
    }

    #[test]
    fn an_address_in_disguise_is_no_name() {
        for text in ["2130706433:80", "127.1:80", "0x7f.1:80", "a.0X7F:80", "1.2.3.4.5:80", "0x:1"]
        {
            assert_eq!(target(text), Err(TargetError::Disguised), "{text}");
        }
        // As an octet, 0177 would be 127 to some.
        assert_eq!(target("0177.0.0.1:80"), Err(TargetError::Disguised));
    }

    #[test]
    fn what_no_host_has_is_refused() {
        let long = format!("{}:1", "a.".repeat(127) + "aa");
        for text in [
            ":80",
            ".:80",
            "a..b:80",
            ".a:80",
            "a b:80",
            "a%00:80",
            "é:80",
            "::1]:80",
            "[fe80::1%eth0]:80",
            "[1.2.3.4]:80",
            "[::1]x:80",
            "a/b:80",
            long.as_str(),
        ] {
            assert_eq!(target(text), Err(TargetError::Host), "{text}");
        }
        assert!(target(&format!("{}:1", "a".repeat(63))).is_ok());
        assert_eq!(target(&format!("{}:1", "a".repeat(64))), Err(TargetError::Host));
    }

    #[test]
    fn a_port_is_digits_of_1_to_65535() {
        for text in
            ["a", "a:", "a:0", "a:65536", "a:+1", "a:1x", "a:1:2", "::1:80", "[::1]", "[::1:80"]
        {
            assert_eq!(target(text), Err(TargetError::Port), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_a_target_that_reads_the_same_again_or_an_error(text in "\\PC{0,40}|[a-z0-9.:@\\[\\]-]{0,40}") {
            if let Ok(target) = Target::parse(&text, Some(80)) {
                prop_assert_eq!(Target::parse(&target.to_string(), None), Ok(target));
            }
        }

        #[test]
        fn any_address_is_an_address(address: IpAddr, port in 1..u16::MAX) {
            let text = std::net::SocketAddr::new(address, port).to_string();
            let target = Target::parse(&text, None).unwrap();
            prop_assert_eq!(target, Target { host: Host::Address(address.to_canonical()), port });
        }
    }
}
