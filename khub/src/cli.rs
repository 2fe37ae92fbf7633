//! The command line of `khub`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, bail};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::config::{Config, DEV_EMAIL, DEV_TOKEN};
use crate::generate;

/// Environment variable with the token.
const TOKEN_VARIABLE: &str = "KHUB_TOKEN";
const MAX_TOKEN_BYTES: u64 = 4096;

/// Reads the command line; prints help or a usage error and ends the process when that is what is
/// due.
///
/// # Errors
/// Credentials are missing, or the token file cannot be used.
pub fn config() -> anyhow::Result<Config> {
    let matches = command().get_matches();
    if let Some(what) = matches.get_one::<String>("generate") {
        let text = generate::text(what, command())?;
        // A closed pipe behind it is nobody's error.
        let _ = std::io::stdout().write_all(&text);
        std::process::exit(0);
    }
    settings(&matches, std::env::var_os(TOKEN_VARIABLE))
}

pub(crate) fn command() -> Command {
    let number = |name: &'static str, default: &'static str| {
        Arg::new(name).long(name).value_name("N").default_value(default)
    };
    Command::new("khub")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Receives flow records and shows who talks most, without an account elsewhere")
        .after_help(
            "Agents need three URLs, here with the default address:\n  \
             --api-url http://127.0.0.1:8999/api/internal\n  \
             --flow-url http://127.0.0.1:8999/chf\n  \
             --metrics-url http://127.0.0.1:8999/tsdb\n\
             The page is at http://127.0.0.1:8999/. Everything is kept in memory only.",
        )
        .arg(Arg::new("dev").long("dev").action(ArgAction::SetTrue).help(
            "Use test@example.com / token, know device 1 (dev1, 127.0.0.1) and create devices \
             whose unknown name or address is looked up",
        ))
        .arg(
            Arg::new("listen")
                .long("listen")
                .value_name("ADDR:PORT")
                .default_value("127.0.0.1:8999")
                .value_parser(value_parser!(SocketAddr))
                .help("Where to listen"),
        )
        .arg(
            Arg::new("email")
                .long("email")
                .value_name("EMAIL")
                .conflicts_with("dev")
                .help("E-mail that agents authenticate with"),
        )
        .arg(
            Arg::new("token-file")
                .long("token-file")
                .value_name("FILE")
                .conflicts_with("dev")
                .value_parser(value_parser!(std::path::PathBuf))
                .help("File with the token that agents authenticate with [default: $KHUB_TOKEN]"),
        )
        .arg(
            number("max-flow-rate", "4000")
                .value_parser(value_parser!(u32).range(1..))
                .help("Records per second that each device is allowed"),
        )
        .arg(
            number("sample-rate", "1")
                .value_parser(value_parser!(u32).range(1..=42_949_672))
                .help("Sample rate, 1 in N, of devices created by a look-up"),
        )
        .arg(
            number("keep", "1000000")
                .value_parser(value_parser!(u32).range(1..=100_000_000))
                .help("Records kept in memory, about 200 bytes each"),
        )
        .arg(
            Arg::new("quiet")
                .long("quiet")
                .short('q')
                .action(ArgAction::SetTrue)
                .help("Do not print records as JSON lines"),
        )
        .arg(Arg::new("generate").long("generate").value_name("WHAT").hide(true))
}

fn settings(matches: &ArgMatches, token_variable: Option<OsString>) -> anyhow::Result<Config> {
    let dev = matches.get_flag("dev");
    let (email, token) = if dev {
        (DEV_EMAIL.to_owned(), DEV_TOKEN.to_owned())
    } else {
        let email = matches
            .get_one::<String>("email")
            .context("give --dev to try it out, or --email and a token")?;
        let file = matches.get_one::<std::path::PathBuf>("token-file");
        (email.clone(), token(file.map(AsRef::as_ref), token_variable)?)
    };
    let number = |name| matches.get_one::<u32>(name).copied().unwrap_or(1);
    let defaults = Config::new(email, token);
    Ok(Config {
        listen: matches.get_one("listen").copied().unwrap_or(defaults.listen),
        dev,
        keep: number("keep") as usize,
        sample_rate: number("sample-rate"),
        max_flow_rate: number("max-flow-rate"),
        print: !matches.get_flag("quiet"),
        ..defaults
    })
}

fn token(file: Option<&Path>, variable: Option<OsString>) -> anyhow::Result<String> {
    let text = match (file, variable) {
        (Some(path), _) => {
            let mut text = String::new();
            File::open(path)
                .and_then(|file| file.take(MAX_TOKEN_BYTES).read_to_string(&mut text))
                .with_context(|| format!("token file {} cannot be read", path.display()))?;
            text
        }
        (None, Some(text)) => {
            text.into_string().ok().with_context(|| format!("{TOKEN_VARIABLE} is not a text"))?
        }
        (None, None) => bail!("a token is missing: give --token-file or set {TOKEN_VARIABLE}"),
    };
    match text.trim() {
        "" => bail!("the token is empty"),
        token if token.chars().all(|c| c.is_ascii_graphic()) => Ok(token.to_owned()),
        _ => bail!("the token has characters that no header can carry"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str, token: Option<&str>) -> anyhow::Result<Config> {
        let matches = command().try_get_matches_from(line.split_whitespace())?;
        settings(&matches, token.map(OsString::from))
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn dev_mode_needs_nothing_else() {
        let config = parse("khub --dev", None).unwrap();
        assert_eq!((config.email.as_str(), config.token.as_str()), ("test@example.com", "token"));
        assert_eq!(config.listen.to_string(), "127.0.0.1:8999");
        assert_eq!((config.keep, config.max_flow_rate, config.sample_rate), (1_000_000, 4000, 1));
        assert!(config.dev && config.print);
    }

    #[test]
    fn an_account_comes_from_flag_and_environment() {
        let config = parse("khub --email a@b.c -q --keep 5", Some("secret\n")).unwrap();
        assert_eq!((config.email.as_str(), config.token.as_str()), ("a@b.c", "secret"));
        assert!(!config.dev && !config.print);
        assert_eq!(config.keep, 5);
    }

    #[test]
    fn what_is_missing_or_wrong_is_refused() {
        for line in [
            "khub",
            "khub --email a@b.c",
            "khub --dev --email a@b.c",
            "khub --dev --keep 0",
            "khub --dev --sample-rate 42949673",
            "khub --dev --listen nowhere",
            "khub --email a@b.c --token-file /does/not/exist",
        ] {
            assert!(parse(line, None).is_err(), "{line}");
        }
        assert!(parse("khub --email a@b.c", Some(" ")).is_err());
        assert!(parse("khub --email a@b.c", Some("to ken")).is_err());
    }
}
