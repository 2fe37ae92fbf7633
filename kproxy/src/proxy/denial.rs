//! Answers of the proxy's own: a status and one line that names the rule.

use std::fmt::Display;
use std::net::IpAddr;

use hyper::StatusCode;

use crate::counters::Cause;
use crate::head::HeadError;
use crate::reach::Reach;
use crate::target::{Target, TargetError};

/// A request that is not, or could not be, forwarded.
#[derive(Debug)]
pub(crate) struct Denial {
    pub(crate) status: StatusCode,
    pub(crate) cause: Cause,
    /// For counting and logging; `None` when the request names none.
    pub(crate) host: Option<String>,
    pub(crate) text: String,
    /// Whether the connection cannot be used again.
    pub(crate) closes: bool,
}

impl Denial {
    fn new(status: StatusCode, cause: Cause, text: impl Display) -> Self {
        Self { status, cause, host: None, text: text.to_string(), closes: false }
    }

    fn about(target: &Target, status: StatusCode, cause: Cause, text: impl Display) -> Self {
        Self { host: Some(target.host.to_string()), ..Self::new(status, cause, text) }
    }

    pub(crate) fn head(error: HeadError) -> Self {
        let status = match error {
            HeadError::TooLong => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self { closes: true, ..Self::new(status, Cause::Malformed, error) }
    }

    pub(crate) fn full(connections: usize) -> Self {
        let text = format!("all {connections} connections are in use");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Cause::Full, text)
    }

    pub(crate) fn form(text: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Cause::Form, text)
    }

    pub(crate) fn target(error: TargetError) -> Self {
        match error {
            TargetError::UserName | TargetError::Disguised => {
                Self::new(StatusCode::FORBIDDEN, Cause::Disguise, error)
            }
            TargetError::Host | TargetError::Port => {
                Self::new(StatusCode::BAD_REQUEST, Cause::Malformed, error)
            }
        }
    }

    pub(crate) fn host(target: &Target, allowed: impl Display) -> Self {
        let text = format!("{} is not in -proxy-http-allow ({allowed})", target.host);
        Self::about(target, StatusCode::FORBIDDEN, Cause::Host, text)
    }

    pub(crate) fn address(target: &Target) -> Self {
        let text = format!("the address {} is not listed in -proxy-http-allow", target.host);
        Self::about(target, StatusCode::FORBIDDEN, Cause::Address, text)
    }

    pub(crate) fn port(target: &Target) -> Self {
        let text = format!(
            "port {} of {} is neither 443 nor 80 nor listed in -proxy-http-allow",
            target.port, target.host
        );
        Self::about(target, StatusCode::FORBIDDEN, Cause::Port, text)
    }

    /// The text does not say which address, lest the proxy tell what the names inside are.
    pub(crate) fn reach(target: &Target, address: IpAddr) -> Self {
        let kind = Reach::of(address).text();
        let hint = match Reach::of(address) {
            Reach::Private | Reach::Loopback => "; see -proxy-http-private",
            _ => "",
        };
        let text =
            format!("{} is at a {kind} address, which is not forwarded to{hint}", target.host);
        Self::about(target, StatusCode::FORBIDDEN, Cause::Reach, text)
    }

    pub(crate) fn itself(target: &Target) -> Self {
        let text = format!("{target} leads back to this proxy");
        Self::about(target, StatusCode::FORBIDDEN, Cause::Loop, text)
    }

    pub(crate) fn circle(target: &Target) -> Self {
        let text = format!("the request for {target} has been through this proxy already");
        Self::about(target, StatusCode::LOOP_DETECTED, Cause::Loop, text)
    }

    pub(crate) fn unresolved(target: &Target, host: &Target, error: impl Display) -> Self {
        let text = format!("cannot resolve {}: {error}", host.host);
        Self::about(target, StatusCode::BAD_GATEWAY, Cause::Resolve, text)
    }

    pub(crate) fn unreachable(target: &Target, host: &Target, error: impl Display) -> Self {
        let text = format!("cannot connect to {host}: {error}");
        Self::about(target, StatusCode::BAD_GATEWAY, Cause::Connect, text)
    }

    pub(crate) fn late(target: &Target) -> Self {
        let text = format!("no connection to {target} in time");
        Self::about(target, StatusCode::GATEWAY_TIMEOUT, Cause::Timeout, text)
    }

    pub(crate) fn upstream(target: &Target, text: impl Display) -> Self {
        let text = format!("the proxy of -local_proxy {text}");
        Self::about(target, StatusCode::BAD_GATEWAY, Cause::Upstream, text)
    }

    pub(crate) fn broken(target: &Target, error: impl Display) -> Self {
        let text = format!("{target} gave no answer: {error}");
        Self::about(target, StatusCode::BAD_GATEWAY, Cause::Answer, text)
    }
}
