//! URLs and the proxy change in a running capture: what waits goes to the new place, and a wrong URL
//! changes nothing.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;
#[path = "common/modes.rs"]
mod modes;
#[path = "../export/tests/support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use benches::mix::{Profile, Size};
use benches::traffic::Plan;
use common::backend::{Khub, device, wire_sums};
use common::namespace::with_veth;
use common::probe::Probe;
use common::{folder, total, traffic};
use etherparse::PacketBuilder;
use export::{Credentials, DeviceApi, HttpConfig, Identity, Selection, Timing, Token};
use khub::{DEV_EMAIL, DEV_TOKEN};
use modes::{posts, wait_for};
use nix::sys::signal::Signal;
use support::{Server, answer, status};

const PACKETS: usize = 6000;

/// Packets that are conversations of their own.
const PLAN: Plan = Plan {
    conversations: 1,
    unique: true,
    size: Size::Imix,
    profile: Profile::Uniform,
    ipv6_percent: 10,
    seed: 11,
};

/// A configuration file that the user whom the probe becomes may read.
struct File {
    _folder: tempfile::TempDir,
    path: PathBuf,
    base: String,
}

impl File {
    fn new(more: &str) -> Self {
        let folder = folder();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let path = folder.path().join("kprobe.toml");
        let base = format!("interface = 'vb'\nbuffer-size = 8\ndevice-name = 'dev'\n{more}");
        Self { _folder: folder, path, base }
    }

    fn write(&self, settings: &str) {
        let new = self.path.with_extension("new");
        fs::write(&new, format!("{}{settings}", self.base)).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).unwrap();
        fs::rename(new, &self.path).unwrap();
    }

    /// The account comes by the command line: a file that holds a token must be private.
    fn probe(&self) -> Probe {
        let account = ["--email", DEV_EMAIL, "--token", DEV_TOKEN, "--config"];
        Probe::capturing(
            account.into_iter().map(Into::into).chain([self.path.clone().into_os_string()]),
        )
    }
}

fn urls(address: &str) -> String {
    format!(
        "api-url = 'http://{address}/api/internal'\nflow-url = 'http://{address}/chf'\n\
         metrics-url = 'http://{address}/tsdb'\ndns-url = 'http://{address}/dns'\n"
    )
}

/// Makes a khub know the device; gives its id.
fn know_device(hub: &Khub) -> u64 {
    let credentials = Credentials { email: DEV_EMAIL.into(), token: Token::new(DEV_TOKEN) };
    let http = HttpConfig { credentials, proxy: None, version: "0".into(), ca_file: None };
    let api = format!("http://{}/api/internal", hub.address).parse().unwrap();
    let api = DeviceApi::new(&http, api, &Timing::default()).unwrap();
    let identity = Identity { name: "dev".to_owned(), ..Identity::default() };
    api.find(&Selection::Name, &identity).unwrap().id
}

#[test]
fn records_follow_the_urls_and_none_is_lost_on_the_way() {
    with_veth(|| {
        let (frames, truth) = traffic::frames(&PLAN, PACKETS);
        let mut parts = frames.chunks(PACKETS / 3);
        let mut send = || traffic::send("va", parts.next().unwrap(), 4000);
        let is_failing = Arc::new(AtomicBool::new(false));
        let failing = Arc::clone(&is_failing);
        let new = Khub::start();
        // A second place of the same account: the device has the same id there.
        let id = format!(r#""id": "{}""#, know_device(&new));
        let known = device("dev", 1_000_000).replace(r#""id": "1""#, &id);
        let old = Server::start(move |_, seen| match seen.uri.path() {
            "/chf" if failing.load(Ordering::Relaxed) => status(503),
            "/chf" | "/tsdb" => status(200),
            path if path.ends_with("/interfaces") => answer(200, "[]"),
            _ => answer(200, &known),
        });
        let file = File::new("");
        file.write(&urls(old.url.authority()));
        let mut probe = file.probe();
        send();
        wait_for("a first record", || old.accepted().first().map(drop));
        is_failing.store(true, Ordering::Relaxed);
        send();
        probe.wait_for("failed, will be repeated");
        // A mistake first.
        file.write("flow-url = 'ftp://127.0.0.1/chf'\n");
        probe.signal(Signal::SIGHUP);
        probe.wait_for(
            "--flow-url: invalid flow URL: the scheme must be http or https; everything stays",
        );
        file.write(&urls(&new.address.to_string()));
        probe.signal(Signal::SIGHUP);
        probe.wait_for("reload: in force now: api-url, flow-url, metrics-url, dns-url");
        wait_for("a record at the new place", || (new.counter("records_in") > 0).then_some(()));
        // By way of a proxy in the end, which takes all for itself.
        let proxy = Server::start(|_, _| status(200));
        let by_proxy = format!("proxy-url = '{}'\n", proxy.url.authority());
        file.write(&(urls(&new.address.to_string()) + &by_proxy));
        probe.signal(Signal::SIGHUP);
        probe.wait_for("reload: in force now: proxy-url");
        send();
        let ended = probe.stop(Signal::SIGTERM);
        assert_eq!(ended.code, 0, "{}", ended.log);
        assert!(ended.log.contains(", 0 lost"), "{}", ended.log);
        let by_proxy = proxy.accepted();
        let whole = proxy.seen()[0].uri.to_string();
        assert!(whole.starts_with(&format!("http://{}/", new.address)), "{whole}");
        let at_new: u64 =
            new.flows("dev").iter().map(|flow| flow["packets"].as_u64().unwrap()).sum();
        let [at_old, by_proxy] =
            [old.accepted(), by_proxy].map(|flows| total(&wire_sums(&flows)).packets);
        assert!(at_old > 0 && at_new > 0 && by_proxy > 0, "{at_old} {at_new} {by_proxy}");
        assert_eq!(at_old + at_new + by_proxy, total(&truth).packets, "{}", ended.log);
    });
}

/// ERR-10: no exit, and what is counted from then on carries the new rate.
#[test]
fn a_rate_that_the_device_has_at_the_new_place_is_in_force_at_once() {
    with_veth(|| {
        let place = |rate: u32| {
            let known = device("dev", 1_000_000).replace(
                r#""device_sample_rate": "1""#,
                &format!(r#""device_sample_rate": "{rate}""#),
            );
            Server::start(move |_, seen| match seen.uri.path() {
                "/chf" | "/tsdb" => status(200),
                path if path.ends_with("/interfaces") => answer(200, "[]"),
                _ => answer(200, &known),
            })
        };
        let [old, new] = [1, 4].map(place);
        let (frames, _) = traffic::frames(&PLAN, PACKETS);
        let (first, second) = frames.split_at(PACKETS / 2);
        let file = File::new("");
        file.write(&urls(old.url.authority()));
        let mut probe = file.probe();
        traffic::send("va", first, 10_000);
        // All of the first part was counted before.
        wait_for("a first record", || old.accepted().first().map(drop));
        file.write(&urls(new.url.authority()));
        probe.signal(Signal::SIGHUP);
        probe.wait_for("the device's sample rate has changed from 1:1 to 1:4");
        assert!(probe.is_running());
        traffic::send("va", second, 10_000);
        let ended = probe.stop(Signal::SIGTERM);
        assert_eq!(ended.code, 0, "{}", ended.log);
        let flows = [old.accepted(), new.accepted()].concat();
        let at = |rate: u32| {
            let flows = flows.iter().filter(|flow| flow.sample_rate == 100 * rate);
            flows.map(|flow| flow.in_packets + flow.out_packets).sum::<u64>()
        };
        // The reader hears of it a moment after the log does.
        assert!(at(1) >= PACKETS as u64 / 2 && at(4) > 0, "{} {}", at(1), ended.log);
        // Of 3,000 conversations 1 in 4, six standard deviations.
        let estimate = at(1) + 4 * at(4);
        assert!(estimate.abs_diff(PACKETS as u64) < 570, "{} {}: {}", at(1), at(4), ended.log);
    });
}

#[test]
fn dns_mode_follows_its_url() {
    with_veth(|| {
        let [old, new] = [503, 200].map(|answered| modes::backend(move |_| status(answered)));
        let file = File::new("dns = true\n");
        file.write(&urls(old.url.authority()));
        let mut probe = file.probe();
        let mut frame = Vec::new();
        // example A 192.0.2.7
        let response = b"\0\x01\x81\x80\0\x01\0\x01\0\0\0\0\x07example\0\0\x01\0\x01\
            \xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x07";
        let packet =
            PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
        packet.udp(53, 4000).write(&mut frame, response).unwrap();
        traffic::send("va", std::slice::from_ref(&frame), 0);
        wait_for("a request at the old place", || posts(&old, "/dns").first().map(drop));
        file.write(&urls(new.url.authority()));
        probe.signal(Signal::SIGHUP);
        probe.wait_for("reload: in force now: api-url, flow-url, metrics-url, dns-url");
        wait_for("a request at the new place", || posts(&new, "/dns").first().map(drop));
        // The device is looked at there, too.
        wait_for("a look at the device", || posts(&new, "/device/1").first().map(drop));
        let ended = probe.stop(Signal::SIGTERM);
        assert_eq!(ended.code, 0, "{}", ended.log);
        assert!(ended.log.contains("dns: 1 records, 1 accepted"), "{}", ended.log);
    });
}
