//! A device that changes, vanishes and comes back at a real backend while it is watched (spec 4.6).
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use common::backend::Khub;
use export::{
    Credentials, DeviceApi, DeviceChange, DeviceWatch, HttpConfig, Identity, Selection, Timing,
    Token,
};
use khub::{Config, DEV_EMAIL, DEV_TOKEN};

const INTERVAL: Duration = Duration::from_millis(50);

fn config(sample_rate: u32, max_flow_rate: u32) -> Config {
    Config { sample_rate, max_flow_rate, ..Config::dev() }
}

/// Watches device 1, which `--dev` knows from the start.
fn watch(hub: &Khub) -> (DeviceWatch, Receiver<Vec<DeviceChange>>) {
    let credentials = Credentials { email: DEV_EMAIL.into(), token: Token::new(DEV_TOKEN) };
    let http = HttpConfig { credentials, proxy: None, version: "0".into(), ca_file: None };
    let api = format!("http://{}/api/internal", hub.address).parse::<export::Url>().unwrap();
    let device = DeviceApi::new(&http, api.clone(), &Timing::default())
        .unwrap()
        .find(&Selection::Id(1), &Identity::default())
        .unwrap();
    let (told, changes) = channel();
    let watch = DeviceWatch::every(INTERVAL, http, api, device, move |_, changes| {
        told.send(changes.to_vec()).unwrap();
    });
    (watch.unwrap(), changes)
}

#[test]
fn new_rate_and_limit_are_told_once_and_a_backend_that_is_away_changes_nothing() {
    let hub = Khub::with(config(1, 100));
    let address = hub.address.to_string();
    let (_watch, changes) = watch(&hub);
    assert!(changes.recv_timeout(4 * INTERVAL).is_err());
    // Away for a while.
    drop(hub);
    assert!(changes.recv_timeout(4 * INTERVAL).is_err());
    // Without the device.
    let hub = Khub::at(&address, Config::new(DEV_EMAIL, DEV_TOKEN));
    assert!(changes.recv_timeout(4 * INTERVAL).is_err());
    drop(hub);
    let _hub = Khub::at(&address, config(8, 50));
    let told = changes.recv_timeout(Duration::from_secs(20)).unwrap();
    let expected =
        [DeviceChange::Rate { old: 1, new: 8 }, DeviceChange::Limit { old: 100, new: 50 }];
    assert_eq!(told, expected);
    assert!(changes.recv_timeout(4 * INTERVAL).is_err());
}

#[test]
fn another_api_is_asked_at_once() {
    let old = Khub::with(config(1, 100));
    let new = Khub::with(config(4, 100));
    let credentials = Credentials { email: DEV_EMAIL.into(), token: Token::new(DEV_TOKEN) };
    let http = HttpConfig { credentials, proxy: None, version: "0".into(), ca_file: None };
    let api = |hub: &Khub| format!("http://{}/api/internal", hub.address).parse().unwrap();
    let device = DeviceApi::new(&http, api(&old), &Timing::default())
        .unwrap()
        .find(&Selection::Id(1), &Identity::default())
        .unwrap();
    let (told, changes) = channel();
    let hour = Duration::from_secs(3600);
    let watch = DeviceWatch::every(hour, http.clone(), api(&old), device, move |_, changes| {
        told.send(changes.to_vec()).unwrap();
    });
    let watch = watch.unwrap();
    watch.redirect(http, api(&new));
    let told = changes.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(told, [DeviceChange::Rate { old: 1, new: 4 }]);
}
