//! What a hub is told at start.

use std::net::{Ipv4Addr, SocketAddr};

/// E-mail of `--dev`.
pub const DEV_EMAIL: &str = "test@example.com";
/// Token of `--dev`.
pub const DEV_TOKEN: &str = "token";

/// Settings of a hub.
#[derive(Clone)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The account's e-mail.
    pub email: String,
    /// The account's token.
    pub token: String,
    /// Whether unknown device names and addresses are created on first look-up.
    pub dev: bool,
    /// Records kept in memory, at least 1.
    pub keep: usize,
    /// `device_sample_rate` of devices that khub makes up itself, at least 1.
    pub sample_rate: u32,
    /// `max_flow_rate` of every device in records per second, at least 1.
    pub max_flow_rate: u32,
    /// Whether records are printed as JSON lines.
    pub print: bool,
}

impl Config {
    /// The settings of `--dev` with all other flags at their defaults.
    pub fn dev() -> Self {
        Self { dev: true, ..Self::new(DEV_EMAIL, DEV_TOKEN) }
    }

    /// The settings for one account with all other flags at their defaults.
    pub fn new(email: impl Into<String>, token: impl Into<String>) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8999)),
            email: email.into(),
            token: token.into(),
            dev: false,
            keep: 1_000_000,
            sample_rate: 1,
            max_flow_rate: 4000,
            print: true,
        }
    }
}
