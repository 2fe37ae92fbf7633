//! Which hosts and ports the proxy forwards to.
//!
//! A list of `host[:port]`. A name stands for itself and everything below it, at label boundaries,
//! with or without a leading dot; an address for itself; `*` for every host. Ports 443 and 80 are
//! open on whatever is listed, and the port of an entry on that entry; `*` as port opens all.

use std::fmt;
use std::str::FromStr;

use crate::target::{Host, Target, TargetError, parse_port};

/// Ports that need not be listed.
const OPEN_PORTS: [u16; 2] = [443, 80];
const MAX_ENTRIES: usize = 256;

/// The list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    hosts: Hosts,
    port: Ports,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    All,
    /// The domain itself and all below.
    Domain(String),
    Address(std::net::IpAddr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ports {
    Usual,
    AndThis(u16),
    All,
}

/// What the list says of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be reached; `listed` if it is an address that stands in the list itself.
    Allowed {
        /// See above.
        listed: bool,
    },
    /// No entry covers the name.
    Host,
    /// It is an address, and none of those listed.
    Address,
    /// The host is covered, the port is not.
    Port,
}

/// Why a text is no list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowError {
    /// One entry is wrong.
    #[error("{entry:?}: {why}")]
    Entry {
        /// The entry.
        entry: String,
        /// What is wrong with it.
        why: TargetError,
    },
    /// Nothing between two commas, or nothing at all.
    #[error("an entry is empty")]
    Empty,
    /// More than 256.
    #[error("there are more than 256 entries")]
    TooMany,
}

impl Allow {
    /// What is to be done with a target.
    pub fn check(&self, target: &Target) -> Verdict {
        let mut covering =
            self.entries.iter().filter(|entry| entry.hosts.cover(&target.host)).peekable();
        if covering.peek().is_none() {
            return match target.host {
                Host::Name(_) => Verdict::Host,
                Host::Address(_) => Verdict::Address,
            };
        }
        let mut verdict = Verdict::Port;
        for entry in covering.filter(|entry| entry.port.cover(target.port)) {
            let listed = matches!(entry.hosts, Hosts::Address(_));
            if listed || verdict == Verdict::Port {
                verdict = Verdict::Allowed { listed };
            }
        }
        verdict
    }
}

impl Hosts {
    fn cover(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::All, _) => true,
            (Self::Address(listed), Host::Address(address)) => listed == address,
            (Self::Domain(domain), Host::Name(name)) => name
                .strip_suffix(domain.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
            _ => false,
        }
    }
}

impl Ports {
    fn cover(self, port: u16) -> bool {
        self == Self::All || self == Self::AndThis(port) || OPEN_PORTS.contains(&port)
    }
}

impl FromStr for Allow {
    type Err = AllowError;

    fn from_str(text: &str) -> Result<Self, AllowError> {
        let entry = |text: &str| match text.trim() {
            "" => Err(AllowError::Empty),
            text => {
                Entry::parse(text).map_err(|why| AllowError::Entry { entry: text.to_owned(), why })
            }
        };
        let entries =
            text.split(',').take(MAX_ENTRIES + 1).map(entry).collect::<Result<Vec<_>, _>>()?;
        if entries.len() > MAX_ENTRIES {
            return Err(AllowError::TooMany);
        }
        Ok(Self { entries })
    }
}

impl Entry {
    fn parse(text: &str) -> Result<Self, TargetError> {
        // An IPv6 address needs no brackets where no port can follow.
        if let Ok(address) = text.parse::<std::net::IpAddr>() {
            return Ok(Self { hosts: Hosts::Address(address.to_canonical()), port: Ports::Usual });
        }
        let after_brackets = text.rfind(']').map_or(0, |end| end + 1);
        let colon = text.get(after_brackets..).and_then(|rest| rest.find(':'));
        let (host, port) =
            match colon.and_then(|colon| text.split_at_checked(after_brackets + colon)) {
                None => (text, Ports::Usual),
                Some((host, ":*")) => (host, Ports::All),
                Some((host, port)) => {
                    (host, Ports::AndThis(parse_port(port.get(1..).unwrap_or_default())?))
                }
            };
        let hosts = match host {
            "*" => Hosts::All,
            _ => match Host::parse(host.strip_prefix('.').unwrap_or(host))? {
                Host::Name(name) => Hosts::Domain(name),
                Host::Address(address) => Hosts::Address(address),
            },
        };
        Ok(Self { hosts, port })
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, entry) in self.entries.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            match &entry.hosts {
                Hosts::All => f.write_str("*")?,
                Hosts::Domain(domain) => write!(f, ".{domain}")?,
                Hosts::Address(address) => Host::Address(*address).fmt(f)?,
            }
            match entry.port {
                Ports::Usual => {}
                Ports::AndThis(port) => write!(f, ":{port}")?,
                Ports::All => f.write_str(":*")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn verdict(list: &str, target: &str) -> Verdict {
        list.parse::<Allow>().unwrap().check(&Target::parse(target, None).unwrap())
    }

    const NAME: Verdict = Verdict::Allowed { listed: false };
    const LISTED: Verdict = Verdict::Allowed { listed: true };

    #[test]
    fn a_domain_covers_itself_and_what_is_below_at_label_boundaries() {
        for list in [".kentik.com", "kentik.com", " .KENTIK.com. "] {
            for name in ["flow.kentik.com:443", "kentik.com:80", "A.b.Kentik.Com.:443"] {
                assert_eq!(verdict(list, name), NAME, "{list} {name}");
            }
            for name in
                ["evilkentik.com:443", "kentik.com.evil.org:443", "com:443", "kentik.co:443"]
            {
                assert_eq!(verdict(list, name), Verdict::Host, "{list} {name}");
            }
            assert_eq!(verdict(list, "8.8.8.8:443"), Verdict::Address);
        }
    }

    #[test]
    fn other_ports_than_443_and_80_need_an_entry() {
        assert_eq!(verdict("a.example", "a.example:25"), Verdict::Port);
        assert_eq!(verdict("a.example:8443", "a.example:8443"), NAME);
        assert_eq!(verdict("a.example:8443", "a.example:443"), NAME);
        assert_eq!(verdict("a.example:8443,b.example", "b.example:8443"), Verdict::Port);
        assert_eq!(verdict("a.example:*", "x.a.example:1"), NAME);
        assert_eq!(verdict("a.example,a.example:25", "a.example:25"), NAME);
    }

    #[test]
    fn addresses_are_covered_when_listed_themselves() {
        for list in ["::1", "[::1]", "192.0.2.1,[::1]:8999"] {
            assert_eq!(verdict(list, "[::1]:80"), LISTED, "{list}");
            assert_eq!(verdict(list, "[::2]:80"), Verdict::Address, "{list}");
        }
        assert_eq!(verdict("127.0.0.1:8999", "[::ffff:127.0.0.1]:8999"), LISTED);
        assert_eq!(verdict("*,127.0.0.1", "127.0.0.1:80"), LISTED);
        assert_eq!(verdict("*,127.0.0.1", "127.0.0.1:81"), Verdict::Port);
        assert_eq!(verdict("*:*,127.0.0.1", "127.0.0.1:81"), NAME);
    }

    #[test]
    fn a_star_covers_every_host() {
        assert_eq!(verdict("*", "any.example:443"), NAME);
        assert_eq!(verdict("*", "8.8.8.8:443"), NAME);
        assert_eq!(verdict("*", "any.example:22"), Verdict::Port);
        assert_eq!(verdict("*:22", "any.example:22"), NAME);
    }

    #[test]
    fn a_list_that_cannot_be_meant_is_refused_with_the_entry() {
        let error = |text: &str| text.parse::<Allow>().unwrap_err().to_string();
        assert_eq!(error(""), "an entry is empty");
        assert_eq!(error("a.example,,b.example"), "an entry is empty");
        assert_eq!(error("a b"), "\"a b\": the host is malformed");
        assert_eq!(error("http://a"), "\"http://a\": the port is missing or malformed");
        assert_eq!(error("a:0"), "\"a:0\": the port is missing or malformed");
        assert_eq!(error("*.a.example"), "\"*.a.example\": the host is malformed");
        assert_eq!(error(&"a,".repeat(300)), "there are more than 256 entries");
    }

    proptest! {
        #[test]
        fn any_text_gives_a_list_that_reads_the_same_again_or_an_error(text in "[a-z0-9.:*,\\[\\] -]{0,40}") {
            if let Ok(allow) = text.parse::<Allow>() {
                prop_assert_eq!(allow.to_string().parse(), Ok(allow));
            }
        }

        #[test]
        fn nothing_but_a_label_boundary_leads_into_a_domain(prefix in "[a-z0-9-]{1,10}") {
            prop_assert_eq!(verdict("kentik.com", &format!("{prefix}kentik.com:443")), Verdict::Host);
            prop_assert_eq!(verdict("kentik.com", &format!("{prefix}.kentik.com:443")), NAME);
        }
    }
}
