//! The `khub` command.
#![forbid(unsafe_code)]

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Context;
use khub::Hub;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let config = match khub::cli::config() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("khub: {error:#}");
            return ExitCode::from(2);
        }
    };
    let filter = EnvFilter::try_from_env("KHUB_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("khub: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: khub::Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(run(config));
    // Work under way may be stuck in a long query; nothing of it is worth waiting for.
    runtime.shutdown_background();
    result
}

async fn run(config: khub::Config) -> anyhow::Result<()> {
    let listen = config.listen;
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let hub = Hub::new(config, std::io::stdout())?;
    let listener =
        TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    tracing::info!(%address, page = %format_args!("http://{address}/"), "listening");
    let stop = async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        tracing::info!("stopping");
    };
    khub::serve(listener, hub, stop).await?;
    Ok(())
}
