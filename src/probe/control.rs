//! What reaches a running probe from outside: SIGHUP, and news about its device.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use capture::Filter;
use export::{Device, DeviceChange, DeviceSettings, DeviceWatch, ExporterControl};
use signal_hook::consts::SIGHUP;
use signal_hook::flag;
use tracing::{info, warn};

use super::backend::Connected;
use super::routes::Routes;
use super::settings::{LiveSettings, Values};
use crate::config::{self, Config, Reload, Sample, Source};
use crate::log;
use crate::status::RateReason;

/// Waits for SIGHUP.
pub(super) struct Control {
    hangup: Arc<AtomicBool>,
    reload: Reload,
}

impl Control {
    /// SIGHUP asks from now on, and ends nothing.
    ///
    /// # Errors
    /// The handler could not be installed.
    pub(super) fn new(reload: Reload) -> io::Result<Self> {
        let hangup = Arc::new(AtomicBool::new(false));
        flag::register(SIGHUP, Arc::clone(&hangup))?;
        Ok(Self { hangup, reload })
    }

    /// Reads the configuration again if SIGHUP asked for it. Call it now and then.
    pub(super) fn poll(&mut self, live: &LiveSettings, routes: &mut Routes) {
        if !self.hangup.swap(false, Ordering::Relaxed) {
            return;
        }
        let changes = match self.reload.again() {
            Ok(changes) => changes,
            Err(error) => {
                warn!("reload: {error}; everything stays as it is");
                return;
            }
        };
        // A replay is to give the same whenever it is asked.
        let is_fixed = |name: &&str| {
            matches!(changes.config.source, Source::Replay(_))
                && matches!(*name, "sample" | "cpu-budget" | "filter" | "translate")
        };
        let (fixed, live_now): (Vec<&str>, Vec<&str>) =
            changes.live.iter().partition(|n| is_fixed(n));
        for name in changes.at_start.iter().chain(&fixed) {
            warn!("reload: {name} has changed and takes effect with the next start");
        }
        if live_now.contains(&"filter")
            && let Some(Err(error)) = filter(&changes.config).map(|text| Filter::compile(&text, 1))
        {
            warn!("reload: {error}; everything stays as it is");
            return;
        }
        if let Some(backend) = &changes.config.backend
            && live_now.iter().any(|flag| config::is_route(flag))
            && let Err(error) = routes.redirect(backend)
        {
            warn!("reload: {error}; everything stays as it is");
            return;
        }
        self.reload.accept(&changes);
        if live_now.is_empty() {
            info!("reload: nothing changes now");
            return;
        }
        apply(&changes.config, &live_now, live);
        info!("reload: in force now: {}", live_now.join(", "));
    }
}

/// Brings changed flags into force.
fn apply(config: &Config, changed: &[&str], live: &LiveSettings) {
    live.change(|values| {
        for name in changed {
            match *name {
                "verbose" => log::set_verbosity(config.verbose),
                "sample" | "cpu-budget" => sample(config.sample, values),
                "filter" => values.filter = filter(config),
                "translate" => values.translations = Arc::new(config.translations.clone()),
                _ => {}
            }
        }
    });
}

/// Another `--sample`. One that is chosen by load goes on from the rate in force.
fn sample(sample: Sample, values: &mut Values) {
    let device = values.device.as_deref().map(export::device_rate);
    let was_auto = values.auto_cpu_percent.is_some();
    values.auto_cpu_percent = sample.cpu_percent();
    values.follows_device = sample.follows_device();
    if values.auto_cpu_percent.is_none() {
        values.rate = sample.at_start(device);
        values.reason = reason(sample);
    } else if !was_auto {
        values.reason = RateReason::Start;
    }
}

fn reason(sample: Sample) -> RateReason {
    match sample {
        Sample::Device => RateReason::Device,
        Sample::All | Sample::Every(_) => RateReason::Given,
        Sample::Auto { .. } => RateReason::Start,
    }
}

/// The live settings at the start.
pub(super) fn live_settings(
    config: &Config,
    rate: u32,
    connected: Option<&Connected>,
) -> Arc<LiveSettings> {
    LiveSettings::new(Values {
        rate,
        reason: reason(config.sample),
        auto_cpu_percent: config.sample.cpu_percent(),
        follows_device: config.sample.follows_device(),
        filter: filter(config),
        translations: Arc::new(config.translations.clone()),
        device: connected.map(|connected| Arc::new(connected.device.clone())),
    })
}

fn filter(config: &Config) -> Option<String> {
    match &config.source {
        Source::Live(live) => live.filter.clone(),
        Source::Replay(replay) => replay.filter.clone(),
    }
}

/// Looks at the device every 20 minutes, where there is one, and tells the exporter, where there
/// is one.
pub(super) fn watch_device(
    config: &Config,
    connected: Option<&Connected>,
    live: &Arc<LiveSettings>,
    exporter: Option<ExporterControl>,
) -> Option<DeviceWatch> {
    let (backend, connected) = (config.backend.as_ref()?, connected?);
    let live = Arc::clone(live);
    let (http, device) = (connected.http.clone(), connected.device.clone());
    let api = backend.urls.api.clone();
    let watch = DeviceWatch::start(http, api, device, move |device, changes| {
        device_changed(device, changes, &live);
        let told = exporter.as_ref().map(|exporter| exporter.apply(DeviceSettings::from(device)));
        if told == Some(false) {
            warn!("the exporter did not take the device's new settings");
        }
    });
    watch.inspect_err(|error| warn!("the device is not looked at again: {error}")).ok()
}

/// Puts what the device says now into the live settings.
fn device_changed(device: &Device, changes: &[DeviceChange], live: &LiveSettings) {
    for change in changes {
        match change {
            DeviceChange::Rate { old, new } => {
                info!("the device's sample rate has changed from 1:{old} to 1:{new}");
            }
            DeviceChange::Limit { old, new } => {
                info!("the device's flow limit has changed from {old}/s to {new}/s");
            }
            DeviceChange::Columns => info!("the device's custom columns have changed"),
        }
    }
    live.change(|values| {
        values.device = Some(Arc::new(device.clone()));
        for change in changes {
            if let (DeviceChange::Rate { new, .. }, true) = (change, values.follows_device) {
                (values.rate, values.reason) = (*new, RateReason::Device);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(sample: Sample) -> Arc<LiveSettings> {
        LiveSettings::new(Values {
            rate: sample.at_start(Some(4)),
            reason: reason(sample),
            auto_cpu_percent: sample.cpu_percent(),
            follows_device: sample.follows_device(),
            filter: None,
            translations: Arc::default(),
            device: None,
        })
    }

    #[test]
    fn a_new_rate_of_the_device_counts_unless_a_rate_was_given() {
        let every = Sample::Every(std::num::NonZeroU32::new(16).unwrap());
        let auto = Sample::Auto { cpu_percent: 80 };
        for (sample, start, after) in
            [(Sample::Device, 4, 8), (Sample::All, 1, 8), (every, 16, 16), (auto, 1, 1)]
        {
            let live = settings(sample);
            assert_eq!(live.values().rate, start);
            let device = Device { device_sample_rate: 8, ..Device::default() };
            device_changed(&device, &[DeviceChange::Rate { old: 4, new: 8 }], &live);
            assert_eq!(live.values().rate, after, "{sample:?}");
            assert_eq!(live.values().device.as_deref(), Some(&device));
        }
    }
}
