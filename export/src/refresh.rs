//! Looking at the device again while the probe runs (spec 4.6): limits, rates and columns may change
//! there, and the device may be gone for a while.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use kflow::api::Device;
use reqwest::Url;
use tracing::{info, warn};

use crate::device::{DeviceApi, DeviceError};
use crate::flow::Timing;
use crate::http::HttpConfig;

/// How often the device is looked at.
const INTERVAL: Duration = Duration::from_secs(20 * 60);
/// The wire carries the rate times 100 in 32 bits.
const MAX_RATE: u64 = 42_949_672;

/// What is different about the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChange {
    /// N of its 1:N.
    Rate {
        /// Until now.
        old: u32,
        /// From now on.
        new: u32,
    },
    /// Records per second that it may send; 0 for none given.
    Limit {
        /// Until now.
        old: u64,
        /// From now on.
        new: u64,
    },
    /// Its custom columns.
    Columns,
}

/// N of the device's 1:N flow sampling, at least 1 and at most what a record can carry.
#[must_use]
pub fn device_rate(device: &Device) -> u32 {
    device.device_sample_rate.clamp(1, MAX_RATE) as u32
}

/// What is known of the device, and what an answer changes about it.
#[derive(Debug)]
struct Refresh {
    device: Device,
    failures: u64,
}

/// What to do after an answer.
#[derive(Debug, PartialEq)]
enum Step {
    /// Nothing is different.
    Nothing,
    /// Tell everybody.
    Changed(Vec<DeviceChange>),
    /// Say that it failed, the first time in a row; values stay.
    Warn(String),
    /// It failed again.
    StillFailing,
}

impl Refresh {
    fn take(&mut self, answer: Result<Device, DeviceError>) -> Step {
        let new = match answer {
            Ok(new) => new,
            Err(error) => {
                self.failures += 1;
                if self.failures > 1 {
                    return Step::StillFailing;
                }
                let name = &self.device.device_name;
                return Step::Warn(format!("looking at device {name} again: {error}"));
            }
        };
        if std::mem::take(&mut self.failures) > 0 {
            info!("device {} is there again", new.device_name);
        }
        let mut changes = Vec::new();
        let (old_rate, new_rate) = (device_rate(&self.device), device_rate(&new));
        if old_rate != new_rate {
            changes.push(DeviceChange::Rate { old: old_rate, new: new_rate });
        }
        let (old_limit, new_limit) = (self.device.max_flow_rate, new.max_flow_rate);
        if old_limit != new_limit {
            changes.push(DeviceChange::Limit { old: old_limit, new: new_limit });
        }
        if self.device.custom_column_data != new.custom_column_data {
            changes.push(DeviceChange::Columns);
        }
        self.device = new;
        if changes.is_empty() { Step::Nothing } else { Step::Changed(changes) }
    }
}

/// A thread that looks at the device every 20 minutes. Dropping it ends the thread, at the latest
/// with the request that is under way.
#[derive(Debug)]
pub struct DeviceWatch {
    api: Option<Sender<(HttpConfig, Url)>>,
    thread: Option<JoinHandle<()>>,
}

impl DeviceWatch {
    /// Starts it. `changed` gets the device as it is now and what is different.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        http: HttpConfig,
        api_url: Url,
        device: Device,
        changed: impl FnMut(&Device, &[DeviceChange]) + Send + 'static,
    ) -> io::Result<Self> {
        Self::every(INTERVAL, http, api_url, device, changed)
    }

    /// Like [`Self::start`] with another interval.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn every(
        interval: Duration,
        mut http: HttpConfig,
        mut api_url: Url,
        device: Device,
        mut changed: impl FnMut(&Device, &[DeviceChange]) + Send + 'static,
    ) -> io::Result<Self> {
        let (api, new_api) = channel();
        let body = move || {
            let mut refresh = Refresh { device, failures: 0 };
            loop {
                match new_api.recv_timeout(interval) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                    Ok(new) => (http, api_url) = new,
                }
                // A client of its own each time: none has to live for 20 minutes.
                let api = DeviceApi::new(&http, api_url.clone(), &Timing::default());
                let answer = api.and_then(|api| api.by_id(refresh.device.id));
                match refresh.take(answer) {
                    Step::Nothing | Step::StillFailing => {}
                    Step::Warn(text) => warn!("{text}; its last values stay in force"),
                    Step::Changed(changes) => changed(&refresh.device, &changes),
                }
            }
        };
        let thread = std::thread::Builder::new().name("device".into()).spawn(body)?;
        Ok(Self { api: Some(api), thread: Some(thread) })
    }

    /// Asks this API from now on, and at once.
    pub fn redirect(&self, http: HttpConfig, api_url: Url) {
        if let Some(api) = &self.api {
            // The thread ends with this value alone.
            let _ = api.send((http, api_url));
        }
    }
}

impl Drop for DeviceWatch {
    fn drop(&mut self) {
        self.api.take();
        // A request that hangs must not hold up the end.
        if let Some(thread) = self.thread.take().filter(JoinHandle::is_finished) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use kflow::api::CustomColumn;

    use super::*;

    fn device(rate: u64, limit: u64) -> Device {
        Device {
            id: 7,
            device_name: "a".to_owned(),
            device_sample_rate: rate,
            max_flow_rate: limit,
            ..Device::default()
        }
    }

    #[test]
    fn what_is_different_is_told_once() {
        let mut refresh = Refresh { device: device(0, 100), failures: 0 };
        // 0 and 1 both mean unsampled.
        assert_eq!(refresh.take(Ok(device(1, 100))), Step::Nothing);
        let changes =
            vec![DeviceChange::Rate { old: 1, new: 8 }, DeviceChange::Limit { old: 100, new: 50 }];
        assert_eq!(refresh.take(Ok(device(8, 50))), Step::Changed(changes));
        assert_eq!(refresh.take(Ok(device(8, 50))), Step::Nothing);
        let column = CustomColumn { field_id: 3, ..CustomColumn::default() };
        let with_column = Device { custom_column_data: vec![column], ..device(8, 50) };
        assert_eq!(refresh.take(Ok(with_column)), Step::Changed(vec![DeviceChange::Columns]));
    }

    #[test]
    fn a_device_that_is_gone_keeps_its_values_and_is_told_once_in_a_row() {
        let mut refresh = Refresh { device: device(4, 100), failures: 0 };
        let gone = || Err(DeviceError::DeviceNotFound);
        let warning = Step::Warn("looking at device a again: device not found".to_owned());
        assert_eq!(refresh.take(gone()), warning);
        assert_eq!(refresh.take(gone()), Step::StillFailing);
        assert_eq!(refresh.device, device(4, 100));
        assert_eq!(refresh.take(Ok(device(4, 100))), Step::Nothing);
        assert_eq!(refresh.take(gone()), warning);
    }

    #[test]
    fn a_rate_that_no_record_can_carry_is_cut() {
        assert_eq!(device_rate(&device(u64::MAX, 1)), 42_949_672);
    }
}
