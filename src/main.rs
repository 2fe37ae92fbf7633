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
mod top;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
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
    let (typed, is_top) = match cli::parse(std::env::args_os()).map_err(usage)? {
        cli::Request::Print(text) => {
            // A closed pipe behind --help is nobody's error.
            let _ = io::stdout().write_all(text.as_bytes());
            return Ok(ExitCode::SUCCESS);
        }
        cli::Request::Doctor(interface) => {
            let verdict = doctor::run(interface.as_deref(), &mut io::stdout().lock());
            return Ok(verdict.map_err(|error| anyhow::anyhow!("Error: {error:#}"))?.into());
        }
        cli::Request::TopOf(url) => {
            let stop = probe::on_signals().context("Error: cannot handle signals")?;
            top::run_remote(&url, &stop)?;
            return Ok(ExitCode::SUCCESS);
        }
        cli::Request::Top(typed) => (typed, true),
        cli::Request::Run(typed) => (typed, false),
    };
    let mut sources = Sources::new(typed, &|name| std::env::var(name).ok());
    let hidden = secrets::hide();
    let mut settings = sources.gather().map_err(usage)?;
    if is_top {
        // It needs no account and writes nothing, whatever environment and file say.
        ["output", "email", "token"].iter().for_each(|flag| settings.unset(flag));
    }
    let mut config = Config::new(&settings).map_err(usage)?;
    if is_top {
        config.outputs.clear();
        config.top = true;
    }
    if settings.has("print-config") {
        let text = config::print(&settings).map_err(usage)?;
        let _ = io::stdout().write_all(text.as_bytes());
        return Ok(ExitCode::SUCCESS);
    }
    if !config.top || !io::stderr().is_terminal() {
        log::start(config.verbose, config.log_format);
    }
    if let Err(error) = hidden {
        tracing::warn!("secrets stay readable in /proc: {error}");
    }
    secrets::guard_memory();
    probe::run(&config, Reload::new(sources, settings))
}
