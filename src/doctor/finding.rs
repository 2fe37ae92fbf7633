//! What a check found: a grade, the numbers it rests on, and the commands that help.

use std::fmt;
use std::io;

/// How a finding is meant, mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// As it should be.
    Ok,
    /// Worth knowing; harmless by itself.
    Note,
    /// Could not be read; the evidence says why.
    Unknown,
    /// Costs speed, or loses packets under load.
    Warn,
    /// Loses packets now, falsifies counts, or keeps the probe from running.
    Bad,
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Unknown => "unknown",
            Self::Warn => "warn",
            Self::Bad => "bad",
        })
    }
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Name of the check, the same in every run.
    pub check: &'static str,
    /// How it is meant.
    pub grade: Grade,
    /// What was read and what follows from it, in one or two sentences.
    pub evidence: String,
    /// Commands that help, each complete; empty when there is nothing to do.
    pub advice: Vec<String>,
}

impl Finding {
    /// A finding without advice.
    pub fn new(check: &'static str, grade: Grade, evidence: impl Into<String>) -> Self {
        Self { check, grade, evidence: evidence.into(), advice: Vec::new() }
    }

    /// What a check says when `what` could not be read.
    pub fn unread(check: &'static str, what: &str, error: &io::Error) -> Self {
        Self::new(check, Grade::Unknown, format!("{what} could not be read: {error}"))
    }

    /// Adds a command that helps.
    pub fn advise(mut self, command: impl Into<String>) -> Self {
        self.advice.push(command.into());
        self
    }
}

/// `text` as one word for a shell: names of interfaces and groups may hold nearly any byte.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-@/".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_when_a_shell_would_take_them_apart() {
        assert_eq!(shell_word("eth0.100"), "eth0.100");
        assert_eq!(shell_word("a b;c"), "'a b;c'");
        assert_eq!(shell_word("it's$x"), r"'it'\''s$x'");
    }
}
