//! The configuration file, TOML with the names of the flags as keys, and files that hold one secret.
//!
//! Bounds: 1 MiB for the configuration file, 4 KiB for a secret. A file with a secret in it has to
//! belong to root or to this user and must not be open to anybody else.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use toml::{Table, Value};

use crate::cli::{FLAGS, Flag, Kind, Origin, Secret, Settings, UsageError};

const MAX_FILE_BYTES: u64 = 1 << 20;
const MAX_SECRET_BYTES: u64 = 4096;

/// Reads a configuration file.
///
/// # Errors
/// It cannot be read, is no TOML, has a key that is no flag or a value that is none, or others can
/// read its secrets.
pub(super) fn read(path: &Path) -> Result<Settings, UsageError> {
    let (text, file) = content(path, MAX_FILE_BYTES)?;
    let refuse = |why: String| UsageError(format!("{}: {why}", path.display()));
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        // The message alone: the excerpt of the library may show a secret.
        refuse(format!("line {}: {}", before.matches('\n').count() + 1, error.message()))
    })?;
    let mut settings = Settings::default();
    for (key, value) in &table {
        let flag = FLAGS
            .iter()
            .find(|flag| flag.long == key || flag.aliases.contains(&key.as_str()))
            .filter(|flag| flag.is_key)
            .ok_or_else(|| refuse(format!("unknown key '{key}'")))?;
        if settings.has(flag.long) {
            return Err(refuse(format!("key '{key}' was given in two spellings")));
        }
        if let Some(values) =
            values(flag, value).map_err(|e| refuse(format!("key '{key}': {e}")))?
        {
            settings.set(flag.long, values, Origin::File);
        }
    }
    settings.check_pairs().map_err(|error| refuse(error.0))?;
    if FLAGS.iter().any(|flag| is_secret(flag, &settings)) {
        check_owner(&file).map_err(|why| refuse(format!("holds secrets and {why}")))?;
    }
    Ok(settings)
}

/// First line of a file that holds one value. `private`: it is a secret.
///
/// # Errors
/// It cannot be read, is empty, or others can read it.
pub(super) fn first_line(path: &Path, private: bool) -> Result<String, UsageError> {
    let (text, file) = content(path, MAX_SECRET_BYTES)?;
    let refuse = |why: String| UsageError(format!("{}: {why}", path.display()));
    if private {
        check_owner(&file).map_err(|why| refuse(format!("holds a secret and {why}")))?;
    }
    match text.lines().next().map(str::trim).filter(|line| !line.is_empty()) {
        Some(line) => Ok(line.to_owned()),
        None => Err(refuse("the first line is empty".to_owned())),
    }
}

fn content(path: &Path, most: u64) -> Result<(String, File), UsageError> {
    let refuse = |why: String| UsageError(format!("{}: {why}", path.display()));
    let file = File::open(path).map_err(|error| refuse(error.to_string()))?;
    if !file.metadata().is_ok_and(|facts| facts.is_file()) {
        return Err(refuse("is no regular file".to_owned()));
    }
    let mut text = String::new();
    (&file).take(most + 1).read_to_string(&mut text).map_err(|error| refuse(error.to_string()))?;
    if text.len() as u64 > most {
        return Err(refuse(format!("has more than {most} bytes")));
    }
    Ok((text, file))
}

/// `None` for a switch that is off.
fn values(flag: &Flag, value: &Value) -> Result<Option<Vec<String>>, String> {
    match (flag.kind, value) {
        (Kind::Switch, Value::Boolean(on)) => Ok(on.then(Vec::new)),
        (Kind::Switch, _) => Err("expected true or false".to_owned()),
        (Kind::Count, Value::Integer(count @ 0..=255)) => {
            Ok((*count > 0).then(|| vec![count.to_string()]))
        }
        (Kind::Count, _) => Err("expected a number from 0 to 255".to_owned()),
        (Kind::Value(_), value) => match scalar(value) {
            Some(text) => Ok(Some(vec![text])),
            None => Err("expected a text or a number".to_owned()),
        },
        (Kind::Repeated(_) | Kind::List(_), Value::Array(values)) => {
            let values: Option<Vec<String>> = values.iter().map(scalar).collect();
            values.map(Some).ok_or_else(|| "expected a list of texts or numbers".to_owned())
        }
        (Kind::Repeated(_) | Kind::List(_), value) => match scalar(value) {
            Some(text) => Ok(Some(vec![text])),
            None => Err("expected a list of texts or numbers".to_owned()),
        },
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Whether the settings tell a secret with this flag.
fn is_secret(flag: &Flag, settings: &Settings) -> bool {
    match flag.secret {
        Secret::No | Secret::Personal => false,
        Secret::Whole => settings.has(flag.long),
        Secret::UrlLogin => settings.one(flag.long).is_some_and(|text| text.contains('@')),
    }
}

/// Looks at the open file, so that nobody can exchange it in between.
fn check_owner(file: &File) -> Result<(), String> {
    let facts = file.metadata().map_err(|error| error.to_string())?;
    let (owner, own) = (facts.uid(), nix::unistd::geteuid().as_raw());
    if owner != 0 && owner != own {
        return Err(format!("belongs to user {owner}, neither to root nor to user {own}"));
    }
    match facts.mode() & 0o077 {
        0 => Ok(()),
        _ => Err(format!(
            "is open to others (mode {:03o}); chmod 600 mends that",
            facts.mode() & 0o777
        )),
    }
}
