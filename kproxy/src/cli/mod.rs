//! The command line: what was typed becomes a request to run, to print, or an error.

mod generate;
pub mod syntax;
mod table;
mod usage;

use std::ffi::OsString;

pub use table::FLAGS;

use crate::config::{Config, ConfigError};
use syntax::{SyntaxError, Typed, Value};

/// What the command line asks for.
#[derive(Debug)]
pub enum Request {
    /// To print this and end well.
    Print(String),
    /// To run.
    Run(Box<Config>),
}

/// Why nothing can be run; the program ends with status 2.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// An argument that is no UTF-8; it is not shown.
    #[error("argument {0} is not UTF-8")]
    NotText(usize),
    /// Nothing that can be generated.
    #[error("-generate {0}: expected man, completions-bash, completions-zsh or completions-fish")]
    Generate(String),
    /// Not a flag, or no value for it.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// A value without meaning, or a required one that is missing.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl UsageError {
    /// Whether a list of the flags helps.
    pub fn wants_usage(&self) -> bool {
        matches!(self, Self::Syntax(SyntaxError::NotDefined(_)))
    }
}

/// Reads the words behind the program's name; `environment` gives the value of a variable.
///
/// # Errors
/// The first thing that is wrong.
pub fn request(
    words: impl IntoIterator<Item = OsString>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Request, UsageError> {
    let words = words
        .into_iter()
        .enumerate()
        .map(|(at, word)| word.into_string().map_err(|_| UsageError::NotText(at + 1)))
        .collect::<Result<Vec<_>, _>>()?;
    if let [flag, what] = &words[..]
        && matches!(flag.as_str(), "-generate" | "--generate")
    {
        let text = generate::text(what, FLAGS);
        return text.map(Request::Print).ok_or_else(|| UsageError::Generate(what.clone()));
    }
    let given = match syntax::parse(FLAGS, words.iter().map(String::as_str))? {
        Typed::Help => return Ok(Request::Print(usage::text(FLAGS))),
        Typed::Flags(given) => given,
    };
    if given.get("v") == Some(&Value::Switch(true)) {
        return Ok(Request::Print(format!("kproxy {}\n", env!("CARGO_PKG_VERSION"))));
    }
    Ok(Request::Run(Box::new(Config::new(&given, environment)?)))
}

/// The list of the flags.
pub fn usage() -> String {
    usage::text(FLAGS)
}
