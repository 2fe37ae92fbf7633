//! The settings as texts, with where each came from. What they mean is [`crate::config`]'s business.

use std::collections::BTreeMap;
use std::fmt;

use super::UsageError;

/// What is given in one of two ways; the first source that has either decides.
const EITHER: [(&str, &str); 2] = [("token", "token-file"), ("email", "email-file")];

/// Where a setting came from, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// This environment variable.
    Variable(&'static str),
    /// The configuration file.
    File,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Variable(name) => write!(f, "environment {name}"),
            Self::File => f.write_str("file"),
        }
    }
}

/// One setting as given.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its values; none for a switch, the number for a count.
    pub values: Vec<String>,
    /// Who said so.
    pub origin: Origin,
}

/// Values may be secrets.
impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} values by {}", self.values.len(), self.origin)
    }
}

/// All settings that were given, by long name of the flag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    given: BTreeMap<&'static str, Setting>,
}

impl Settings {
    /// The value of a single-valued flag.
    pub fn one(&self, flag: &str) -> Option<&str> {
        self.given.get(flag).and_then(|setting| setting.values.first()).map(String::as_str)
    }

    /// All values of a repeated flag.
    pub fn all(&self, flag: &str) -> &[String] {
        self.given.get(flag).map_or(&[], |setting| &setting.values)
    }

    /// Whether a switch or flag was given.
    pub fn has(&self, flag: &str) -> bool {
        self.given.contains_key(flag)
    }

    /// How often `-v` was given.
    pub fn verbose(&self) -> u8 {
        self.one("verbose").and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// One setting with its origin.
    pub fn get(&self, flag: &str) -> Option<&Setting> {
        self.given.get(flag)
    }

    /// Long names of what was given.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.given.keys().copied()
    }

    /// Sets a flag.
    pub fn set(&mut self, flag: &'static str, values: Vec<String>, origin: Origin) {
        self.given.insert(flag, Setting { values, origin });
    }

    /// Takes a flag back.
    pub fn unset(&mut self, flag: &str) {
        self.given.remove(flag);
    }

    /// Takes what is not given yet from a weaker source.
    pub fn fill(&mut self, weaker: Self) {
        let decided: Vec<&str> = EITHER
            .iter()
            .filter(|(one, other)| self.has(one) || self.has(other))
            .flat_map(|(one, other)| [*one, *other])
            .collect();
        for (flag, setting) in weaker.given {
            if !decided.contains(&flag) {
                self.given.entry(flag).or_insert(setting);
            }
        }
    }

    /// One source must not say the same thing in two ways.
    ///
    /// # Errors
    /// Names the two.
    pub fn check_pairs(&self) -> Result<(), UsageError> {
        match EITHER.iter().find(|(one, other)| self.has(one) && self.has(other)) {
            Some((one, other)) => {
                Err(UsageError(format!("--{one} and --{other} exclude each other")))
            }
            None => Ok(()),
        }
    }
}
