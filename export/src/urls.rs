//! Where requests go: regions and their default URLs (spec, section 3).

use std::fmt;
use std::str::FromStr;

use reqwest::Url;

/// A region of the service: letters, digits and `-`, in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Region {
    domain: Domain,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Domain {
    #[default]
    Us,
    Eu,
    Other(String),
}

/// A text that is no region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a region consists of letters, digits and -")]
pub struct RegionError;

impl FromStr for Region {
    type Err = RegionError;

    fn from_str(text: &str) -> Result<Self, RegionError> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(RegionError);
        }
        let name = text.to_ascii_lowercase();
        let domain = match name.as_str() {
            "us" => Domain::Us,
            "eu" => Domain::Eu,
            _ => Domain::Other(name),
        };
        Ok(Self { domain })
    }
}

impl fmt::Display for Region {
    /// The region's domain.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.domain {
            Domain::Us => f.write_str("kentik.com"),
            Domain::Eu => f.write_str("kentik.eu"),
            Domain::Other(name) => write!(f, "{name}.kentik.com"),
        }
    }
}

/// The URLs that a probe uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Urls {
    /// Device API, including `/api/internal`.
    pub api: Url,
    /// Flow records.
    pub flow: Url,
    /// Own metrics.
    pub metrics: Url,
    /// DNS responses.
    pub dns: Url,
}

impl Urls {
    /// The defaults of a region; replace single members by [`parse_url`].
    ///
    /// # Errors
    /// When the region makes no host name, such as one with a broken `xn--` label.
    pub fn of_region(region: &Region) -> Result<Self, UrlError> {
        Ok(Self {
            api: parse_url("API", &format!("https://api.{region}/api/internal"))?,
            flow: parse_url("flow", &format!("https://flow.{region}/chf"))?,
            metrics: parse_url("metrics", &format!("https://flow.{region}/tsdb"))?,
            dns: parse_url("DNS", &format!("https://flow.{region}/dns"))?,
        })
    }
}

/// A text that is no usable URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} URL: {why}")]
pub struct UrlError {
    /// `flow`, `API`, `metrics`, `proxy` or `DNS`.
    pub what: &'static str,
    /// What is wrong with it. Never the text itself, which may hold a password.
    pub why: String,
}

/// Reads an absolute `http` or `https` URL; `what` names it in the error: `flow`, `API`,
/// `metrics`, `proxy`, `DNS`.
///
/// # Errors
/// With the message of the spec, `invalid flow URL: …`.
pub fn parse_url(what: &'static str, text: &str) -> Result<Url, UrlError> {
    let url = Url::parse(text).map_err(|e| UrlError { what, why: e.to_string() })?;
    if matches!(url.scheme(), "http" | "https") {
        Ok(url)
    } else {
        Err(UrlError { what, why: "the scheme must be http or https".into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_have_their_domains() {
        assert_eq!(Region::default().to_string(), "kentik.com");
        for (text, domain) in [
            ("US", "kentik.com"),
            ("us", "kentik.com"),
            ("Eu", "kentik.eu"),
            ("JP1", "jp1.kentik.com"),
            ("a-b", "a-b.kentik.com"),
        ] {
            assert_eq!(text.parse::<Region>().unwrap().to_string(), domain);
        }
        for text in ["", "a.b", "a b", "é", "a/b"] {
            assert_eq!(text.parse::<Region>(), Err(RegionError), "{text}");
        }
    }

    #[test]
    fn a_region_gives_four_urls() {
        let urls = Urls::of_region(&"eu".parse().unwrap()).unwrap();
        assert_eq!(urls.api.as_str(), "https://api.kentik.eu/api/internal");
        assert_eq!(urls.flow.as_str(), "https://flow.kentik.eu/chf");
        assert_eq!(urls.metrics.as_str(), "https://flow.kentik.eu/tsdb");
        assert_eq!(urls.dns.as_str(), "https://flow.kentik.eu/dns");
    }

    #[test]
    fn a_region_that_makes_no_host_name_is_an_error() {
        assert!(Urls::of_region(&"xn--a".parse().unwrap()).is_err());
    }

    #[test]
    fn only_absolute_http_urls_are_accepted() {
        assert!(parse_url("flow", "http://127.0.0.1:8999/chf?x=1").is_ok());
        let text = |text| parse_url("flow", text).unwrap_err().to_string();
        assert!(text("ftp://a/").starts_with("invalid flow URL: the scheme must be http"));
        assert!(text("nonsense").starts_with("invalid flow URL: "));
        assert!(text("").starts_with("invalid flow URL: "));
    }

    proptest::proptest! {
        #[test]
        fn any_text_gives_a_url_with_a_host_or_an_error(text: String) {
            if let Ok(url) = parse_url("flow", &text) {
                proptest::prop_assert!(url.has_host());
            }
            if let Ok(region) = text.parse::<Region>() {
                let _ = Urls::of_region(&region);
            }
        }

        #[test]
        fn any_region_of_the_right_letters_gives_urls_or_an_error(text in "[a-zA-Z0-9-]{1,80}") {
            let region: Region = text.parse().unwrap();
            if let Ok(urls) = Urls::of_region(&region) {
                proptest::prop_assert!(urls.api.as_str().ends_with("/api/internal"));
            }
        }
    }
}
