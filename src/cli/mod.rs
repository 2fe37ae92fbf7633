//! What was typed: the command line as texts. What it means is [`crate::config`]'s business.

mod flags;
mod generate;
mod records;
mod settings;

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command};

pub use flags::{Change, FLAGS, Flag, Kind, Secret, flag};
pub use settings::{Origin, Settings};

/// The words that select what to do; flags may stand before and after them.
const WORD: &str = "word";
/// May be given once for flow mode and once more, after the word, for DNS mode (CLI-15).
const FILTER: &str = "filter";

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
    Run(Settings),
    /// Check what makes captures lie or drop: on this interface, or on the host and all that are up.
    Doctor(Option<String>),
    /// Capture or replay with these flags, and show who talks most.
    Top(Settings),
    /// Show who talks most in the probe behind this URL.
    TopOf(String),
}

/// The words that are commands of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Word {
    #[default]
    Run,
    Doctor,
    Top,
}

/// Reads the command line, program name first.
///
/// # Errors
/// An unknown flag, a missing or repeated value, a stray word.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Request, UsageError> {
    let mut matches = command().try_get_matches_from(words).map_err(|error| one_line(&error))?;
    if matches.get_flag("help") {
        return Ok(Request::Print(shown_command().render_help().to_string()));
    }
    if matches.get_flag("version") {
        return Ok(Request::Print(format!("Version: {}\n", env!("CARGO_PKG_VERSION"))));
    }
    if let Some(what) = matches.get_one::<String>("generate") {
        return generate::generate(what).map(Request::Print);
    }
    let mut settings = Settings::default();
    let word = words_and_filters(&mut matches, &mut settings)?;
    for flag in FLAGS.iter().filter(|flag| flag.long != FILTER) {
        if let Some(values) = values(&mut matches, flag) {
            if settings.has(flag.long) && !matches!(flag.kind, Kind::Switch) {
                return Err(twice(flag));
            }
            settings.set(flag.long, values, Origin::Flag);
        }
    }
    settings.check_pairs()?;
    match word {
        Word::Run if settings.has("status") => {
            Err(UsageError("--status has no meaning without the word top".to_owned()))
        }
        Word::Run => Ok(Request::Run(settings)),
        Word::Doctor => doctor(&settings),
        Word::Top => top(settings),
    }
}

/// Takes the words, and gives each `--filter` its place: after the word `dns` it is that mode's.
fn words_and_filters(
    matches: &mut ArgMatches,
    settings: &mut Settings,
) -> Result<Word, UsageError> {
    let places: Vec<usize> = matches.indices_of(WORD).into_iter().flatten().collect();
    let words: Vec<String> = matches.remove_many(WORD).into_iter().flatten().collect();
    let mut command = Word::Run;
    let mut dns_from = usize::MAX;
    for (word, place) in words.iter().zip(places) {
        match word.as_str() {
            "doctor" if command == Word::Run => command = Word::Doctor,
            "top" if command == Word::Run => command = Word::Top,
            "dns" if !settings.has("dns") => {
                settings.set("dns", Vec::new(), Origin::Flag);
                dns_from = place;
            }
            "radius" if !settings.has("radius") => {
                settings.set("radius", Vec::new(), Origin::Flag);
            }
            interface if command == Word::Top && !settings.has("interface") => {
                settings.set("interface", vec![interface.to_owned()], Origin::Flag);
            }
            _ => return Err(UsageError(format!("unexpected argument '{word}' found"))),
        }
    }
    let places: Vec<usize> = matches.indices_of(FILTER).into_iter().flatten().collect();
    let filters: Vec<String> = matches.remove_many(FILTER).into_iter().flatten().collect();
    for (filter, place) in filters.into_iter().zip(places) {
        let long = if place > dns_from { "dns-filter" } else { FILTER };
        if let (true, Some(flag)) = (settings.has(long), flag(FILTER)) {
            return Err(twice(flag));
        }
        settings.set(long, vec![filter], Origin::Flag);
    }
    Ok(command)
}

/// `doctor` takes one interface and nothing else.
fn doctor(settings: &Settings) -> Result<Request, UsageError> {
    if let Some(flag) = settings.names().find(|flag| !["interface", "verbose"].contains(flag)) {
        return Err(UsageError(format!("--{flag} has no meaning with doctor")));
    }
    match settings.all("interface") {
        [] => Ok(Request::Doctor(None)),
        [one] => Ok(Request::Doctor(Some(one.clone()))),
        _ => Err(UsageError("doctor looks at one --interface at a time".to_owned())),
    }
}

/// `top` shows a running probe, or captures or replays by itself.
fn top(settings: Settings) -> Result<Request, UsageError> {
    if let Some(flag) = ["output", "dns", "radius"].iter().find(|flag| settings.has(flag)) {
        return Err(UsageError(format!("--{flag} has no meaning with top")));
    }
    match settings.one("status") {
        Some(url) => match settings.names().find(|flag| !["status", "verbose"].contains(flag)) {
            Some(flag) => Err(UsageError(format!("--{flag} has no meaning with --status"))),
            None => Ok(Request::TopOf(url.to_owned())),
        },
        None => Ok(Request::Top(settings)),
    }
}

fn values(matches: &mut ArgMatches, flag: &Flag) -> Option<Vec<String>> {
    match flag.kind {
        Kind::Value(_) | Kind::Repeated(_) | Kind::List(_) => {
            matches.remove_many::<String>(flag.long).map(Iterator::collect)
        }
        Kind::Switch => matches.get_flag(flag.long).then(Vec::new),
        Kind::Count => {
            let count = matches.get_count(flag.long);
            (count > 0).then(|| vec![count.to_string()])
        }
    }
}

/// What the parser knows: every flag.
fn command() -> Command {
    with_flags(FLAGS.iter())
}

/// What people see: the flags that work.
fn shown_command() -> Command {
    with_flags(FLAGS.iter().filter(|flag| flag.is_shown()))
}

fn with_flags<'a>(flags: impl Iterator<Item = &'a Flag>) -> Command {
    let mut command = Command::new("kprobe")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Host and sensor network probe: captures packets, keeps flows, ships records")
        .override_usage(
            "kprobe -i NAME [options]\n       kprobe --read FILE [options]\n       kprobe dns|radius -i NAME \
             [options]\n       kprobe top NAME | --read FILE | --status URL\n       kprobe doctor [-i NAME]",
        )
        .disable_help_flag(true)
        .disable_version_flag(true)
        .max_term_width(100)
        .arg(Arg::new(WORD).hide(true).num_args(0..).action(ArgAction::Append));
    for flag in flags {
        let mut arg = Arg::new(flag.long)
            .long(flag.long)
            .aliases(flag.aliases.iter().copied())
            .help(flag.sentence())
            .help_heading(flag.group);
        if let Some(short) = flag.short {
            arg = arg.short(short);
        }
        command = command.arg(match flag.kind {
            Kind::Value(name) if flag.long == FILTER => {
                arg.value_name(name).action(ArgAction::Append)
            }
            Kind::Value(name) => arg.value_name(name).action(ArgAction::Set),
            Kind::Repeated(name) | Kind::List(name) => {
                arg.value_name(name).action(ArgAction::Append)
            }
            Kind::Switch => arg.action(ArgAction::SetTrue),
            Kind::Count => arg.action(ArgAction::Count),
        });
    }
    command
}

/// In the parser's words.
fn twice(flag: &Flag) -> UsageError {
    let name = flag.value_name().unwrap_or_default();
    let long = flag.long;
    UsageError(format!("the argument '--{long} <{name}>' cannot be used multiple times"))
}

/// The parser explains in several lines; ours is the first.
fn one_line(error: &clap::Error) -> UsageError {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    UsageError(line.strip_prefix("error: ").unwrap_or(line).to_owned())
}

#[cfg(test)]
mod tests;
