//! The probe wired together: sources, reader threads, exporter thread, and an orderly end.

mod apps;
mod auto;
mod backend;
mod collect;
mod consume;
mod control;
mod describe;
mod governor;
mod live;
mod memory;
mod offline;
mod online;

mod place;
mod progress;
mod reader;
mod replay;
mod routes;
mod selection;
mod settings;
mod setup;
mod share;
mod stop;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use export::posts::Endpoint;
use export::{Lost, OutputSummary, Summary};
use tracing::{info, warn};

use crate::config::{Config, Mode, Reload, Source};
use crate::mode;
use crate::privileges::Privileges;
use collect::Job;
use control::Control;

pub use stop::on_signals;

/// What an end may take after a signal, all together (spec 16.6: 10 s).
const STOP_WITHIN: Duration = Duration::from_secs(8);
/// What the end of a replay waits for a backend that refuses or is away.
const DELIVER_WITHIN: Duration = Duration::from_secs(600);

/// Runs the probe to its end.
///
/// # Errors
/// Setting up failed, or the capture failed while running (then after the flush).
pub fn run(config: &Config, reload: Reload) -> anyhow::Result<ExitCode> {
    let stop = on_signals().context("Error: cannot handle signals")?;
    let control = Control::new(reload).context("Error: cannot handle signals")?;
    let privileges = Privileges::at_start(config)?;
    match &config.mode {
        Mode::Flow => match &config.source {
            Source::Live(live) => online::run(config, live, &stop, control, privileges),
            Source::Replay(replay) => offline::run(config, replay, &stop, control, privileges),
        },
        Mode::Dns(dns) => {
            let job = Job {
                name: "dns",
                filter: dns.filter.clone(),
                collector: || mode::Dns::new(dns.juniper_mirror),
                endpoint: |urls| Endpoint::Dns(urls.dns.clone()),
            };
            collect::run(config, &job, &stop, control, privileges)
        }
        Mode::Radius(radius) => {
            let job = Job {
                name: "radius",
                filter: radius.filter.clone(),
                collector: || mode::Radius::new(radius.ports.clone()),
                endpoint: |urls| Endpoint::Tags(urls.api.clone()),
            };
            collect::run(config, &job, &stop, control, privileges)
        }
    }
}

/// Says in the log what became of the records.
fn report(summary: &Summary) {
    for output in &summary.outputs {
        info!(
            "{}: {} records, {} accepted, {} left out by the flow limit, {} lost",
            output.name,
            output.offered,
            output.accepted,
            output.sampled_out,
            output.lost_total()
        );
        if output.recovered + output.spooled > 0 {
            info!(
                "{}: the spool held {} records at the start and keeps {} for the next",
                output.name, output.recovered, output.spooled
            );
        }
    }
    if summary.channel_full > 0 {
        warn!("{} records lost because the exporter was late", summary.channel_full);
    }
    if let Some(losses) = losses(summary, |_| true) {
        warn!("records lost: {losses}");
    }
}

/// Those of the reasons that matter for which records were lost, with counts.
fn losses(summary: &Summary, matters: impl Fn(Lost) -> bool) -> Option<String> {
    let reasons = summary.outputs.iter().flat_map(|output: &OutputSummary| output.lost.iter());
    let shown: Vec<String> = reasons
        .filter(|(reason, count)| *count > 0 && matters(*reason))
        .map(|(reason, count)| format!("{} {count}", reason.name()))
        .collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}
