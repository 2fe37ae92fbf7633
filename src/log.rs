//! Log lines go to standard error, or to journald where that reads it; `-v` sets the level,
//! `RUST_LOG` refines it by module (spec 16.3).

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::str::FromStr;
use std::sync::OnceLock;

use tracing::{Level, warn};
use tracing_subscriber::filter::Directive;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

/// `--log-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// journald where it reads standard error, else plain.
    Auto,
    /// A line for people.
    Plain,
    /// A JSON object a line.
    Json,
    /// journald's own protocol, with fields.
    Journald,
}

impl FromStr for Format {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "auto" => Ok(Self::Auto),
            "plain" => Ok(Self::Plain),
            "json" => Ok(Self::Json),
            "journald" => Ok(Self::Journald),
            _ => Err(()),
        }
    }
}

static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Starts logging for the life of the process.
pub fn start(verbose: u8, format: Format) {
    let (filter, handle) = reload::Layer::new(filter(verbose, &modules()));
    // Set once: this function runs once.
    let _ = FILTER.set(handle);
    let wants_journal = match format {
        Format::Journald => true,
        Format::Auto => journal_reads_stderr(),
        Format::Plain | Format::Json => false,
    };
    let journal = wants_journal.then(tracing_journald::layer).transpose();
    let refused = journal.as_ref().err().map(ToString::to_string);
    let journal = journal.ok().flatten();
    let json = (format == Format::Json).then(|| {
        fmt::layer().json().flatten_event(true).with_target(false).with_writer(std::io::stderr)
    });
    let plain = (journal.is_none() && json.is_none()).then(|| {
        fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
    });
    tracing_subscriber::registry().with(filter).with(plain).with(json).with(journal).init();
    if let Some(refused) = refused {
        warn!("no journald ({refused}): log lines go to standard error");
    }
}

/// Changes the level while the probe runs.
pub fn set_verbosity(verbose: u8) {
    if let Some(handle) = FILTER.get() {
        // Fails only when the subscriber is gone, with the process.
        let _ = handle.reload(filter(verbose, &modules()));
    }
}

/// The user's filters, by module.
fn modules() -> String {
    std::env::var("RUST_LOG").unwrap_or_default()
}

/// The level of the whole comes from `-v` alone; a bare level in `RUST_LOG` changes nothing.
fn filter(verbose: u8, modules: &str) -> EnvFilter {
    let (level, sender) = match verbose {
        0 => (Level::INFO, "export=info"),
        1 => (Level::DEBUG, "export=info"),
        2 => (Level::TRACE, "export=debug"),
        _ => (Level::TRACE, "export=trace"),
    };
    // The HTTP stack's own chatter helps nobody on call, and may quote what is sent.
    let quiet = ["hyper=info", "hyper_util=info", "reqwest=info", "rustls=info", "h2=info"];
    let mut filter = EnvFilter::default().add_directive(Directive::from(level));
    let own = quiet.iter().copied().chain([sender]);
    let wanted = modules.split(',').filter(|text| text.parse::<Level>().is_err() && *text != "off");
    for directive in own.chain(wanted).filter_map(|text| text.trim().parse().ok()) {
        filter = filter.add_directive(directive);
    }
    filter
}

/// systemd names the journal's stream by device and inode in `JOURNAL_STREAM`
/// (systemd.exec(5)); a child whose standard error was redirected inherits the variable, not the
/// stream.
fn journal_reads_stderr() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    match nix::sys::stat::fstat(std::io::stderr().as_fd()) {
        Ok(facts) => stream == format!("{}:{}", facts.st_dev, facts.st_ino),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbosity_has_the_levels_of_the_table() {
        for (verbose, level, sender) in [
            (0, "info", "export=info"),
            (1, "debug", "export=info"),
            (2, "trace", "export=debug"),
            (3, "trace", "export=trace"),
            (4, "trace", "export=trace"),
        ] {
            let text = filter(verbose, "").to_string();
            let directives: Vec<&str> = text.split(',').collect();
            assert!(directives.contains(&level) && directives.contains(&sender), "{text}");
        }
    }

    #[test]
    fn modules_are_refined_and_the_level_of_the_whole_is_not() {
        let text = filter(0, "trace,kprobe::probe=debug,off,nonsense=x").to_string();
        let directives: Vec<&str> = text.split(',').collect();
        assert!(directives.contains(&"info") && directives.contains(&"kprobe::probe=debug"));
        assert!(!directives.contains(&"trace") && !directives.contains(&"off"), "{text}");
    }
}
