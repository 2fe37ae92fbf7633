//! Reading the configuration file again while the probe runs: what changed, what of it can take
//! effect at once, and what has to wait for the next start.

use super::{Config, Mode, Sources};
use crate::cli::{Change, FLAGS, Settings, UsageError};

/// The settings in force, and how to gather them again.
#[derive(Debug)]
pub struct Reload {
    sources: Sources,
    settings: Settings,
}

/// Whether a flag says where requests go.
pub fn is_route(flag: &str) -> bool {
    ["region", "api-url", "flow-url", "metrics-url", "dns-url", "proxy-url"].contains(&flag)
}

/// What a new reading of the file changes.
#[derive(Debug)]
pub struct Changes {
    /// The meaning of the settings, those that wait included.
    pub config: Config,
    /// Flags that take effect now.
    pub live: Vec<&'static str>,
    /// Flags that wait for the next start.
    pub at_start: Vec<&'static str>,
    settings: Settings,
}

impl Reload {
    /// `settings` are in force.
    pub fn new(sources: Sources, settings: Settings) -> Self {
        Self { sources, settings }
    }

    /// Reads the file again. Nothing counts as in force before it is accepted.
    ///
    /// # Errors
    /// The file, or a value in it, cannot be used; everything stays as it was.
    pub fn again(&mut self) -> Result<Changes, UsageError> {
        let new = self.sources.gather()?;
        let config = Config::new(&new)?;
        let (mut live, mut at_start) = (Vec::new(), Vec::new());
        for flag in FLAGS {
            let values = |settings: &Settings| settings.get(flag.long).map(|s| s.values.clone());
            if values(&self.settings) == values(&new) {
                continue;
            }
            match flag.change {
                // The others' readers follow no settings: what concerns them waits.
                Change::Live
                    if config.mode == Mode::Flow
                        || flag.long == "verbose"
                        || is_route(flag.long) =>
                {
                    live.push(flag.long);
                }
                Change::Live | Change::AtStart => at_start.push(flag.long),
            }
        }
        Ok(Changes { config, live, at_start, settings: new })
    }

    /// The live changes are in force. Those that wait are not, so that they are named again with
    /// every reload until the next start.
    pub fn accept(&mut self, changes: &Changes) {
        for flag in &changes.live {
            match changes.settings.get(flag) {
                Some(given) => self.settings.set(flag, given.values.clone(), given.origin),
                None => self.settings.unset(flag),
            }
        }
    }
}
