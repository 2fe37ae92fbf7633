//! Log lines go to standard error; `-v` sets the level, `RUST_LOG` refines it (spec 16.3).

use std::io::IsTerminal;

use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;

/// Starts logging for the life of the process.
pub fn start(verbose: u8) {
    let level = match verbose {
        0 => Level::INFO,
        1 => Level::DEBUG,
        _ => Level::TRACE,
    };
    // The HTTP stack's own chatter helps nobody on call.
    let quiet = ["hyper=info", "hyper_util=info", "reqwest=info", "rustls=info", "h2=info"];
    let mut filter = EnvFilter::default().add_directive(Directive::from(level));
    for directive in quiet.iter().filter_map(|text| text.parse().ok()) {
        filter = filter.add_directive(directive);
    }
    let wanted = std::env::var("RUST_LOG").unwrap_or_default();
    for directive in wanted.split(',').filter_map(|text| text.parse().ok()) {
        filter = filter.add_directive(directive);
    }
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
