//! What was typed: the command line as texts. What it means is [`crate::config`]'s business.

mod flags;

use std::collections::HashMap;
use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command};

use flags::{FLAGS, Flag, Kind};

/// The word that selects what to do; flags may stand before and after it.
const WORD: &str = "word";

/// A usage error: one line that names the flag or value and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// Print this and end well.
    Print(String),
    /// Run with these flags.
    Run(Typed),
    /// Check what makes captures lie or drop: on this interface, or on the host and all that are up.
    Doctor(Option<String>),
}

/// The flags that were given, by long name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Typed {
    values: HashMap<&'static str, Vec<String>>,
    /// How often `-v` was given.
    pub verbose: u8,
}

impl Typed {
    /// The value of a single-valued flag.
    pub fn one(&self, flag: &str) -> Option<&str> {
        self.values.get(flag).and_then(|values| values.first()).map(String::as_str)
    }

    /// All values of a repeated flag.
    pub fn all(&self, flag: &str) -> &[String] {
        self.values.get(flag).map_or(&[], Vec::as_slice)
    }

    /// Whether a switch or flag was given.
    pub fn has(&self, flag: &str) -> bool {
        self.values.contains_key(flag)
    }
}

/// Reads the command line, program name first.
///
/// # Errors
/// An unknown flag, a missing or repeated value, a stray word.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Request, UsageError> {
    let mut matches = command().try_get_matches_from(words).map_err(|error| one_line(&error))?;
    if matches.get_flag("help") {
        return Ok(Request::Print(command().render_help().to_string()));
    }
    if matches.get_flag("version") {
        return Ok(Request::Print(format!("Version: {}\n", env!("CARGO_PKG_VERSION"))));
    }
    let mut typed = Typed { verbose: matches.get_count("verbose"), ..Typed::default() };
    for flag in FLAGS {
        if let Some(values) = values(&mut matches, flag) {
            typed.values.insert(flag.long, values);
        }
    }
    match matches.get_one::<String>(WORD).map(String::as_str) {
        None => Ok(Request::Run(typed)),
        Some("doctor") => doctor(&typed),
        Some(word) => Err(UsageError(format!("unexpected argument '{word}' found"))),
    }
}

/// `doctor` takes one interface and nothing else.
fn doctor(typed: &Typed) -> Result<Request, UsageError> {
    if let Some(flag) = typed.values.keys().find(|flag| **flag != "interface") {
        return Err(UsageError(format!("--{flag} has no meaning with doctor")));
    }
    match typed.all("interface") {
        [] => Ok(Request::Doctor(None)),
        [one] => Ok(Request::Doctor(Some(one.clone()))),
        _ => Err(UsageError("doctor looks at one --interface at a time".to_owned())),
    }
}

fn values(matches: &mut ArgMatches, flag: &Flag) -> Option<Vec<String>> {
    match flag.kind {
        Kind::Value(_) | Kind::Repeated(_) => {
            matches.remove_many::<String>(flag.long).map(Iterator::collect)
        }
        Kind::Switch => matches.get_flag(flag.long).then(Vec::new),
        Kind::Count => None,
    }
}

fn command() -> Command {
    let mut command = Command::new("kprobe")
        .about("Host and sensor network probe: captures packets, keeps flows, ships records")
        .override_usage(
            "kprobe -i NAME [options]\n       kprobe --read FILE [options]\n       kprobe doctor [-i NAME]",
        )
        .disable_help_flag(true)
        .disable_version_flag(true)
        .max_term_width(100)
        .arg(Arg::new(WORD).hide(true));
    for flag in FLAGS {
        let mut arg = Arg::new(flag.long)
            .long(flag.long)
            .aliases(flag.aliases.iter().copied())
            .help(flag.help)
            .help_heading(flag.group);
        if let Some(short) = flag.short {
            arg = arg.short(short);
        }
        command = command.arg(match flag.kind {
            Kind::Value(name) => arg.value_name(name).action(ArgAction::Set),
            Kind::Repeated(name) => arg.value_name(name).action(ArgAction::Append),
            Kind::Switch => arg.action(ArgAction::SetTrue),
            Kind::Count => arg.action(ArgAction::Count),
        });
    }
    command
}

/// The parser explains in several lines; ours is the first.
fn one_line(error: &clap::Error) -> UsageError {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    UsageError(line.strip_prefix("error: ").unwrap_or(line).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Result<Typed, String> {
        let words = std::iter::once("kprobe").chain(line.split_whitespace()).map(OsString::from);
        match parse(words).map_err(|error| error.to_string())? {
            Request::Run(typed) => Ok(typed),
            Request::Print(text) => Err(text),
            Request::Doctor(interface) => Err(format!("doctor {interface:?}")),
        }
    }

    #[test]
    fn the_doctor_takes_an_interface_before_or_after_the_word() {
        assert_eq!(run("doctor").unwrap_err(), "doctor None");
        for line in ["doctor -i eth0", "-i eth0 doctor"] {
            assert_eq!(run(line).unwrap_err(), "doctor Some(\"eth0\")");
        }
        assert!(run("doctor --promisc").unwrap_err().contains("--promisc has no meaning"));
    }

    #[test]
    fn the_flag_table_makes_a_sound_parser() {
        command().debug_assert();
    }

    #[test]
    fn values_may_stand_behind_a_space_or_an_equals_sign() {
        for line in ["-i eth0", "-ieth0", "-i=eth0", "--interface eth0", "--interface=eth0"] {
            assert_eq!(run(line).unwrap().one("interface"), Some("eth0"), "{line}");
        }
    }

    #[test]
    fn verbosity_counts_in_any_mix() {
        assert_eq!(run("-v -vv -i eth0").unwrap().verbose, 3);
    }

    #[test]
    fn a_flag_given_twice_is_an_error_that_names_it() {
        let text = run("--snaplen 1 --snaplen 2").unwrap_err();
        assert!(text.contains("--snaplen") && text.contains("multiple times"), "{text}");
    }

    #[test]
    fn unknown_flags_and_stray_words_are_named() {
        assert!(run("--fanuot 3").unwrap_err().contains("--fanuot"));
        assert!(run("-i eth0 word").unwrap_err().contains("word"));
        assert!(!run("--fanuot 3").unwrap_err().contains('\n'));
    }

    #[test]
    fn the_old_spelling_of_the_group_is_accepted() {
        assert_eq!(run("--fanout 7").unwrap().one("fanout-group"), Some("7"));
    }

    #[test]
    fn version_prints_in_the_documented_form() {
        assert!(run("-V").unwrap_err().starts_with("Version: "));
    }
}
