//! khub, the embedded backend: device API, intake of flow records, recent records, top talkers.
//!
//! Agents work against it unchanged; only their URLs differ. Everything is in memory and bounded:
//! the most recent records (a million unless told otherwise), devices, user tags, responses and
//! metrics; nothing survives a restart. What is lost at a bound has a counter in `/api/v1/status`
//! and `/metrics`.
//!
//! Agents authenticate with e-mail and token. Pages and read-only queries need neither when asked
//! from the same machine (any local user can read them), otherwise the same pair, as headers or as
//! HTTP basic authentication.
//!
//! With `--dev` the pair is `test@example.com` / `token`, device 1 is `dev1` at 127.0.0.1, and an
//! unknown device name or address is created when it is first looked up, so that an agent starts
//! without any set-up. Unknown numeric ids are never created.
#![forbid(unsafe_code)]

mod auth;
mod body;
pub mod cli;
mod clock;
mod columns;
mod config;
mod connection;
mod counters;
mod dimension;
mod directory;
mod generate;
mod hub;
mod pack;
mod print;
mod query;
mod refusal;
mod ring;
mod routes;
mod row;
mod server;

pub use config::{Config, DEV_EMAIL, DEV_TOKEN};
pub use hub::Hub;
pub use server::{router, serve};
