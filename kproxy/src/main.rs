//! The `kproxy` command.
#![forbid(unsafe_code)]

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use kproxy::cli::{self, Request};
use kproxy::config::LogLevel;
use kproxy::{Agent, Config, descriptors};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use tracing_subscriber::filter::LevelFilter;

/// Names that are being resolved at once; further ones wait within their time limit.
const MOST_LOOKUPS: usize = 64;

fn main() -> ExitCode {
    match cli::request(std::env::args_os().skip(1), &|name| std::env::var(name).ok()) {
        Ok(Request::Print(text)) => {
            // A closed pipe behind -help is nobody's error.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Ok(Request::Run(config)) => match run(*config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("kproxy: {error}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("{error}");
            if error.wants_usage() {
                eprint!("{}", cli::usage());
            }
            ExitCode::from(2)
        }
    }
}

fn run(mut config: Config) -> Result<(), Box<dyn std::error::Error>> {
    start_log(config.log_level);
    for notice in &config.notices {
        warn!("{notice}");
    }
    let wanted = config.proxy.limits.connections;
    let (connections, limit) = descriptors::make_room(wanted)?;
    if connections < wanted {
        warn!(
            "the limit of open files is {limit}: {connections} connections at once instead of \
             {wanted}; raise it (ulimit -n, LimitNOFILE=)"
        );
        config.proxy.limits.connections = connections;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MOST_LOOKUPS)
        .build()?;
    let result = runtime.block_on(serve(&config));
    // A look-up that hangs is not worth waiting for.
    runtime.shutdown_background();
    result
}

async fn serve(config: &Config) -> Result<(), Box<dyn std::error::Error>> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let agent = Agent::bind(config).await?;
    let stop = async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        info!("stopping");
    };
    agent.run(stop).await;
    Ok(())
}

fn start_log(level: LogLevel) {
    let filter = match level {
        LogLevel::Access => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Panic | LogLevel::Off => LevelFilter::OFF,
    };
    tracing_subscriber::fmt()
        .with_max_level(filter)
        .with_ansi(std::io::stdout().is_terminal())
        .with_target(false)
        .init();
}
