//! All sources of settings in their order: flag, environment, file (the device and the default come
//! later).

use std::fmt;
use std::path::{Path, PathBuf};

use super::file;
use crate::cli::{FLAGS, Origin, Settings, UsageError};

/// Reads environment variables; a parameter, so that tests need not set the process's own.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What was said at the start, kept for reading the configuration file again.
#[derive(Debug)]
pub struct Sources {
    flags: Settings,
    environment: Settings,
    /// Folder whose files the service manager guards.
    guarded: Option<PathBuf>,
    /// Contents of files with one value, for when this user may not read them any more.
    lines: Vec<(PathBuf, Line)>,
}

/// May be a secret. Its `Debug` form is `***`.
#[derive(Clone)]
struct Line(String);

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Sources {
    /// Takes the flags and reads the environment; an empty variable counts as absent.
    pub fn new(flags: Settings, environment: Environment<'_>) -> Self {
        let variable = |name: &str| environment(name).filter(|text| !text.is_empty());
        let mut given = Settings::default();
        for flag in FLAGS {
            let found =
                flag.variables.iter().find_map(|name| variable(name).map(|text| (*name, text)));
            if let Some((name, text)) = found {
                given.set(flag.long, vec![text], Origin::Variable(name));
            }
        }
        let guarded = variable("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        Self { flags, environment: given, guarded, lines: Vec::new() }
    }

    /// Reads the configuration file and the files that it and the flags name, and puts all
    /// together. May be called again.
    ///
    /// # Errors
    /// One of the files cannot be used.
    pub fn gather(&mut self) -> Result<Settings, UsageError> {
        let mut settings = self.flags.clone();
        settings.fill(self.environment.clone());
        if let Some(path) = self.flags.one("config") {
            settings.fill(file::read(Path::new(path))?);
        }
        for (flag, file_flag) in [("token", "token-file"), ("email", "email-file")] {
            let Some(given) = settings.get(file_flag) else { continue };
            let (path, origin) = (PathBuf::from(given.values.concat()), given.origin);
            let line = self.line(&path, flag == "token")?;
            settings.set(flag, vec![line], origin);
        }
        Ok(settings)
    }

    fn line(&mut self, path: &Path, private: bool) -> Result<String, UsageError> {
        let guarded = self.guarded.as_ref().is_some_and(|folder| path.starts_with(folder));
        let known = self.lines.iter().find(|(known, _)| known == path);
        match (file::first_line(path, private && !guarded), known) {
            (Ok(line), _) => {
                self.lines.retain(|(known, _)| known != path);
                self.lines.push((path.to_owned(), Line(line.clone())));
                Ok(line)
            }
            // Read by root at the start, and this user may not.
            (Err(_), Some((_, Line(line)))) => Ok(line.clone()),
            (Err(error), None) => Err(error),
        }
    }
}
