//! The `kprobe` command: reads the command line and runs the probe.
#![forbid(unsafe_code)]

mod cli;
mod config;
mod doctor;
mod log;
mod mode;
mod privileges;
mod probe;
mod secrets;
mod status;

use std::io::{self, Write};
use std::process::ExitCode;

use config::{Config, Reload, Sources};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            // One line: every cause behind its context.
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let usage = |error: cli::UsageError| anyhow::anyhow!("Error: {error}");
    let typed = match cli::parse(std::env::args_os()).map_err(usage)? {
        cli::Request::Print(text) => {
            // A closed pipe behind --help is nobody's error.
            let _ = io::stdout().write_all(text.as_bytes());
            return Ok(ExitCode::SUCCESS);
        }
        cli::Request::Doctor(interface) => {
            let verdict = doctor::run(interface.as_deref(), &mut io::stdout().lock());
            return Ok(verdict.map_err(|error| anyhow::anyhow!("Error: {error:#}"))?.into());
        }
        cli::Request::Run(typed) => typed,
    };
    let mut sources = Sources::new(typed, &|name| std::env::var(name).ok());
    let hidden = secrets::hide();
    let settings = sources.gather().map_err(usage)?;
    let config = Config::new(&settings).map_err(usage)?;
    cli::refuse_unwired(&settings).map_err(usage)?;
    if settings.has("print-config") {
        let text = config::print(&settings).map_err(usage)?;
        let _ = io::stdout().write_all(text.as_bytes());
        return Ok(ExitCode::SUCCESS);
    }
    log::start(config.verbose, config.log_format);
    if let Err(error) = hidden {
        tracing::warn!("secrets stay readable in /proc: {error}");
    }
    secrets::guard_memory();
    probe::run(&config, Reload::new(sources, settings))
}
