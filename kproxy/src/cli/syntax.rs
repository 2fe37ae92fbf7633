//! Flags as Go's `flag` package reads them, over a table.
//!
//! One or two dashes; `-name value` and `-name=value`; a switch takes a value with `=` only;
//! reading ends at `--` or at the first word without a dash, and what is left is an error; the last
//! of repeated flags wins. Hyphen and underscore in names mean the same.

use std::collections::HashMap;

/// What a flag's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On when named, or by one of Go's texts after `=`.
    Switch,
    /// A 64-bit integer in Go's notation: decimal, `0x`, `0o` or `0`, `0b`, underscores.
    Integer,
    /// Any text.
    Text,
    /// Text that no message may show.
    Secret,
}

/// What became of a flag's function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Works.
    Works,
    /// Accepted without effect, for good: the design has no use for it.
    Ignored,
    /// Accepted, and a warning at start says that the function is absent.
    Absent,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// As documented, without dash.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// What becomes of it.
    pub class: Class,
    /// Default as help shows it; empty when there is none.
    pub default: &'static str,
    /// One line of help.
    pub help: &'static str,
}

/// A value that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of a [`Kind::Switch`].
    Switch(bool),
    /// Of a [`Kind::Integer`].
    Integer(i64),
    /// Of a [`Kind::Text`] or [`Kind::Secret`].
    Text(String),
}

/// Why a command line cannot be read. Values of secrets are shown as `***`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// No such flag.
    #[error("flag provided but not defined: -{0}")]
    NotDefined(String),
    /// Dashes without a name, or too many of them.
    #[error("bad flag syntax: {0}")]
    BadSyntax(String),
    /// The value is missing.
    #[error("flag needs an argument: -{0}")]
    NeedsArgument(&'static str),
    /// The value is none of this kind or has no meaning.
    #[error("invalid value {value} for flag -{name}: {why}")]
    InvalidValue {
        /// The flag's name in the table.
        name: &'static str,
        /// The value, quoted.
        value: String,
        /// What is wrong.
        why: String,
    },
    /// A word that belongs to no flag.
    #[error("unexpected argument: {0:?}")]
    Leftover(String),
}

impl SyntaxError {
    /// A value of `flag` that has no meaning.
    pub fn invalid(flag: &Flag, value: &str, why: &impl ToString) -> Self {
        let value =
            if flag.kind == Kind::Secret { "\"***\"".to_owned() } else { format!("{value:?}") };
        Self::InvalidValue { name: flag.name, value, why: why.to_string() }
    }
}

/// What a command line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// `-h` or `-help`, unless an error came before it.
    Help,
    /// The flags that were given, by their name in the table.
    Flags(HashMap<&'static str, Value>),
}

/// Reads the words behind the program's name.
///
/// # Errors
/// The first thing that is wrong.
pub fn parse<'w>(
    table: &'static [Flag],
    words: impl IntoIterator<Item = &'w str>,
) -> Result<Typed, SyntaxError> {
    let mut words = words.into_iter();
    let mut given = HashMap::new();
    while let Some(word) = words.next() {
        let Some(body) = word.strip_prefix('-').filter(|body| !body.is_empty()) else {
            return Err(SyntaxError::Leftover(word.to_owned()));
        };
        if body == "-" {
            return match words.next() {
                None => break,
                Some(word) => Err(SyntaxError::Leftover(word.to_owned())),
            };
        }
        let body = body.strip_prefix('-').unwrap_or(body);
        if body.starts_with(['-', '=']) {
            // Without what may be a value.
            let name = word.split_once('=').map_or(word, |(name, _)| name);
            return Err(SyntaxError::BadSyntax(printable(name)));
        }
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (body, None),
        };
        let Some(flag) = find(table, name) else {
            if matches!(name, "h" | "help") {
                return Ok(Typed::Help);
            }
            return Err(SyntaxError::NotDefined(printable(name)));
        };
        let text = match (flag.kind, value) {
            (Kind::Switch, None) => "true",
            (_, Some(value)) => value,
            (_, None) => words.next().ok_or(SyntaxError::NeedsArgument(flag.name))?,
        };
        given.insert(flag.name, read(flag, text)?);
    }
    Ok(Typed::Flags(given))
}

/// The row of a name, hyphens and underscores alike.
pub fn find(table: &'static [Flag], name: &str) -> Option<&'static Flag> {
    let plain = |byte: u8| if byte == b'-' { b'_' } else { byte };
    table.iter().find(|flag| flag.name.bytes().map(plain).eq(name.bytes().map(plain)))
}

fn read(flag: &'static Flag, text: &str) -> Result<Value, SyntaxError> {
    let value = match flag.kind {
        Kind::Switch => switch(text).map(Value::Switch),
        Kind::Integer => integer(text).map(Value::Integer),
        Kind::Text | Kind::Secret => Ok(Value::Text(text.to_owned())),
    };
    value.map_err(|why| SyntaxError::invalid(flag, text, &why))
}

/// The texts of Go's `strconv.ParseBool`.
fn switch(text: &str) -> Result<bool, &'static str> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("parse error"),
    }
}

/// Go's `strconv.ParseInt` with base 0 and 64 bits.
fn integer(text: &str) -> Result<i64, &'static str> {
    const BAD: &str = "parse error";
    let (negative, magnitude) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..)),
        Some(b'+') => (false, text.get(1..)),
        _ => (false, Some(text)),
    };
    let magnitude = magnitude.ok_or(BAD)?;
    let lower = magnitude.to_ascii_lowercase();
    let prefixed = [("0x", 16), ("0o", 8), ("0b", 2), ("0", 8)]
        .into_iter()
        .find_map(|(prefix, base)| Some((lower.strip_prefix(prefix)?, base)))
        .filter(|(digits, _)| !digits.is_empty());
    let (digits, base) = prefixed.unwrap_or((&lower, 10));
    // An underscore stands between digits, or between prefix and digit; plain decimals are of base
    // 10 and may have them, too, as in a Go literal.
    let inner =
        if prefixed.is_some() { digits.strip_prefix('_').unwrap_or(digits) } else { digits };
    if inner.starts_with(['_', '+', '-']) || inner.ends_with('_') || inner.contains("__") {
        return Err(BAD);
    }
    let plain: String = inner.chars().filter(|&c| c != '_').collect();
    if plain.is_empty() || !plain.chars().all(|c| c.is_digit(base)) {
        return Err(BAD);
    }
    let range = "value out of range";
    let magnitude = i128::from_str_radix(&plain, base).map_err(|_| range)?;
    i64::try_from(if negative { -magnitude } else { magnitude }).map_err(|_| range)
}

/// On one line.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn flag(name: &'static str, kind: Kind) -> Flag {
        Flag { name, kind, class: Class::Works, default: "", help: "" }
    }

    const TABLE: &[Flag] = &[
        flag("syslog", Kind::Switch),
        flag("port", Kind::Integer),
        flag("proxy-http", Kind::Text),
        flag("log_level", Kind::Text),
        flag("api_token", Kind::Secret),
    ];

    fn flags(words: &[&str]) -> HashMap<&'static str, Value> {
        match parse(TABLE, words.iter().copied()) {
            Ok(Typed::Flags(flags)) => flags,
            other => panic!("{words:?}: {other:?}"),
        }
    }

    fn error(words: &[&str]) -> String {
        parse(TABLE, words.iter().copied()).unwrap_err().to_string()
    }

    #[test]
    fn one_or_two_dashes_and_both_spellings_of_the_value_mean_the_same() {
        for words in [
            &["-proxy-http", "2020"][..],
            &["--proxy-http", "2020"],
            &["-proxy-http=2020"],
            &["--proxy_http=2020"],
        ] {
            assert_eq!(flags(words)["proxy-http"], Value::Text("2020".into()), "{words:?}");
        }
        assert_eq!(flags(&["-log-level", "warn"])["log_level"], Value::Text("warn".into()));
        assert_eq!(flags(&["-proxy-http="])["proxy-http"], Value::Text(String::new()));
        assert_eq!(flags(&["-proxy-http", "a=b"])["proxy-http"], Value::Text("a=b".into()));
        assert_eq!(flags(&["-port", "-5"])["port"], Value::Integer(-5));
    }

    #[test]
    fn a_switch_takes_a_value_with_an_equals_sign_only() {
        assert_eq!(flags(&["-syslog"])["syslog"], Value::Switch(true));
        for text in ["0", "f", "F", "false", "FALSE", "False"] {
            assert_eq!(flags(&[&format!("-syslog={text}")])["syslog"], Value::Switch(false));
        }
        for text in ["1", "t", "T", "true", "TRUE", "True"] {
            assert_eq!(flags(&[&format!("-syslog={text}")])["syslog"], Value::Switch(true));
        }
        assert_eq!(error(&["-syslog", "false"]), "unexpected argument: \"false\"");
        assert_eq!(error(&["-syslog=yes"]), "invalid value \"yes\" for flag -syslog: parse error");
    }

    #[test]
    fn the_last_of_repeated_flags_wins_and_two_dashes_end_them() {
        assert_eq!(flags(&["-port", "1", "-port=2", "--"])["port"], Value::Integer(2));
        assert_eq!(error(&["-port=2", "--", "-port=3"]), "unexpected argument: \"-port=3\"");
        assert_eq!(error(&["-"]), "unexpected argument: \"-\"");
        assert_eq!(error(&[""]), "unexpected argument: \"\"");
    }

    #[test]
    fn what_is_wrong_is_said_as_go_says_it() {
        assert_eq!(error(&["-nope=1"]), "flag provided but not defined: -nope");
        assert_eq!(error(&["---port"]), "bad flag syntax: ---port");
        assert_eq!(error(&["-=port"]), "bad flag syntax: -");
        assert_eq!(error(&["-port"]), "flag needs an argument: -port");
        assert_eq!(error(&["-port", "x"]), "invalid value \"x\" for flag -port: parse error");
        assert_eq!(
            error(&["-port=9223372036854775808"]),
            "invalid value \"9223372036854775808\" for flag -port: value out of range"
        );
    }

    #[test]
    fn help_is_found_unless_an_error_comes_first() {
        for word in ["-h", "--h", "-help", "--help"] {
            assert_eq!(parse(TABLE, [word, "-nope"]), Ok(Typed::Help));
        }
        assert_eq!(error(&["-nope", "-h"]), "flag provided but not defined: -nope");
    }

    #[test]
    fn integers_are_those_of_go() {
        for (text, value) in [
            ("0", 0),
            ("-0", 0),
            ("9995", 9995),
            ("+7", 7),
            ("0x1F", 31),
            ("0X_1f", 31),
            ("0b101", 5),
            ("0o17", 15),
            ("017", 15),
            ("1_000", 1000),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(integer(text), Ok(value), "{text}");
        }
        for text in
            ["", "-", "x", "0x", "08", "1__0", "_1", "1_", "0b2", "--1", "0x-1", " 1", "1e3"]
        {
            assert_eq!(integer(text), Err("parse error"), "{text}");
        }
        let long = "9".repeat(100);
        assert_eq!(integer(&long), Err("value out of range"));
    }

    #[test]
    fn no_message_shows_a_secret() {
        let flag = find(TABLE, "api-token").unwrap();
        let text = SyntaxError::invalid(flag, "s3cret", &"empty").to_string();
        assert_eq!(text, "invalid value \"***\" for flag -api_token: empty");
    }

    proptest! {
        #[test]
        fn any_words_give_flags_or_one_line(words in prop::collection::vec("(-{0,3}(syslog|port|proxy-http|h)?=?)?\\PC{0,6}", 0..6)) {
            if let Err(error) = parse(TABLE, words.iter().map(String::as_str)) {
                prop_assert!(!error.to_string().contains('\n'));
            }
        }

        #[test]
        fn any_integer_is_read_back(value: i64) {
            prop_assert_eq!(integer(&value.to_string()), Ok(value));
            prop_assert_eq!(integer(&format!("{:#x}", value.unsigned_abs() >> 1)), Ok((value.unsigned_abs() >> 1) as i64));
        }

        #[test]
        fn any_value_is_kept_as_it_is(value: String) {
            let word = format!("-proxy-http={value}");
            let given = parse(TABLE, [word.as_str()]);
            prop_assert_eq!(given, Ok(Typed::Flags(HashMap::from([("proxy-http", Value::Text(value))]))));
        }
    }
}
