//! The account's side: find the device, publish the interface, make the kflow output.

use std::net::IpAddr;

use anyhow::{Context, anyhow};
use capture::Interface;
use export::{
    Device, DeviceApi, DeviceError, HttpConfig, Identity, KflowConfig, Output, QueueLimits,
    Selection, SpoolConfig, Timing,
};
use tracing::{debug, warn};

use crate::config::{Backend, Delivery, DeviceChoice};

/// Requests in flight at most.
const IN_FLIGHT: usize = 3;

/// The device, and how it was asked for.
pub(super) struct Connected {
    pub(super) device: Device,
    pub(super) http: HttpConfig,
    pub(super) host_name: String,
}

/// Looks the device up (or creates it) and publishes the capture interface.
///
/// # Errors
/// With the lines of the failure table (spec 2.6, ERR-4 to ERR-6).
pub(super) fn connect(
    backend: &Backend,
    interface: Option<&Interface>,
) -> anyhow::Result<Connected> {
    let refused = |error: DeviceError| anyhow!("error: {error}");
    let http = HttpConfig {
        credentials: backend.credentials.clone(),
        proxy: backend.proxy.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ca_file: backend.ca_file.clone(),
    };
    let host_name = host_name()?;
    let selection = selection(&backend.device)?;
    let identity = identity(&backend.device, &host_name, interface);
    let api = DeviceApi::new(&http, backend.urls.api.clone(), &Timing::default());
    let api = api.map_err(refused)?;
    let device = api.find(&selection, &identity).map_err(refused)?;
    if let Some(interface) = interface {
        match api.publish(&device, &published(interface)) {
            Ok(true) => debug!("interface {} published", interface.name),
            Ok(false) => debug!("interface {} needs no publishing", interface.name),
            Err(error) => debug!("publishing the interface: {error}"),
        }
    }
    Ok(Connected { device, http, host_name })
}

impl Connected {
    /// The kflow output.
    pub(super) fn output(&self, backend: &Backend, delivery: &Delivery) -> Output {
        let spool = delivery.spool.as_ref();
        Output::Kflow(Box::new(KflowConfig {
            flow_url: backend.urls.flow.clone(),
            metrics_url: Some(backend.urls.metrics.clone()),
            http: self.http.clone(),
            device: self.device.clone(),
            host_name: self.host_name.clone(),
            queue: QueueLimits {
                max_bytes: usize::try_from(delivery.queue_bytes).unwrap_or(usize::MAX),
                ..QueueLimits::default()
            },
            max_in_flight: IN_FLIGHT,
            timing: Timing::default(),
            keep_heavy: delivery.keep_heavy,
            spool: spool
                .map(|spool| SpoolConfig { dir: spool.folder.clone(), max_bytes: spool.bytes }),
        }))
    }

    /// The device's sample rate, if it has one.
    pub(super) fn rate(&self) -> Option<u32> {
        Some(export::device_rate(&self.device)).filter(|rate| *rate > 1)
    }
}

/// The first selector in the order id, interface, address, name decides; others that name a
/// device too are ignored with a warning (spec 4.1, CLI-11).
fn selection(choice: &DeviceChoice) -> anyhow::Result<Selection> {
    let given = [
        ("--device-id", choice.id.is_some()),
        ("--device-if", choice.interface.is_some()),
        ("--device-ip", choice.ip.is_some()),
        ("--device-name", choice.name.is_some()),
    ];
    let mut used = given.iter().filter(|(_, given)| *given).map(|(flag, _)| *flag);
    let first = used.next();
    let ignored: Vec<&str> = used.collect();
    // Address and name together say what a device to be created gets.
    let creates = first == Some("--device-ip") && choice.plan.is_some();
    if let (Some(first), false, false) = (first, ignored.is_empty(), creates) {
        warn!("the device is chosen by {first}; ignored: {}", ignored.join(", "));
    }
    Ok(match (choice.id, &choice.interface, choice.ip) {
        (Some(id), _, _) => Selection::Id(u64::from(id)),
        (None, Some(name), _) => {
            let interface = Interface::find(name).map_err(|error| anyhow!("Error: {error}"))?;
            Selection::Addresses(interface.addresses.iter().map(|(address, _)| *address).collect())
        }
        (None, None, Some(ip)) => Selection::Address(ip),
        (None, None, None) => Selection::Name,
    })
}

fn identity(choice: &DeviceChoice, host_name: &str, interface: Option<&Interface>) -> Identity {
    let own = interface.map_or(&[][..], |interface| &interface.addresses);
    let v4 = own.iter().map(|(address, _)| *address).find(IpAddr::is_ipv4);
    let v6 = own.iter().map(|(address, _)| *address).find(is_global_v6);
    Identity {
        name: choice.name.clone().unwrap_or_else(|| host_name.to_owned()),
        address: choice.ip.or(v4).or(v6),
        plan_id: u64::from(choice.plan.unwrap_or(0)),
        site_id: u64::from(choice.site.unwrap_or(0)),
    }
}

fn is_global_v6(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6)
        if !v6.is_unicast_link_local() && !v6.is_loopback() && !v6.is_multicast())
}

fn published(interface: &Interface) -> export::Interface {
    export::Interface {
        name: interface.name.clone(),
        mac: interface.mac,
        addresses: interface.addresses.clone(),
    }
}

fn host_name() -> anyhow::Result<String> {
    let name = nix::unistd::gethostname().context("error: cannot read the host name")?;
    Ok(name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(addresses: &[&str]) -> Interface {
        Interface {
            name: "eth0".to_owned(),
            index: 2,
            mac: None,
            addresses: addresses.iter().map(|text| (text.parse().unwrap(), 24)).collect(),
            loopback: false,
            linktype: Some(1),
            hardware_type: 1,
        }
    }

    #[test]
    fn the_selectors_have_their_order() {
        let ip = "192.0.2.1".parse().unwrap();
        let name = Some("probe".to_owned());
        let all = DeviceChoice { id: Some(7), ip: Some(ip), name, ..DeviceChoice::default() };
        assert_eq!(selection(&all).unwrap(), Selection::Id(7));
        let ip_and_name = DeviceChoice { id: None, ..all };
        assert_eq!(selection(&ip_and_name).unwrap(), Selection::Address(ip));
        let name_only = DeviceChoice { ip: None, ..ip_and_name };
        assert_eq!(selection(&name_only).unwrap(), Selection::Name);
        let by_interface =
            DeviceChoice { interface: Some("lo".to_owned()), ..DeviceChoice::default() };
        let Selection::Addresses(found) = selection(&by_interface).unwrap() else { panic!() };
        assert!(found.contains(&"127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_new_device_gets_the_first_ipv4_address_or_else_a_global_ipv6_one() {
        let choice = DeviceChoice::default();
        let address = |texts| identity(&choice, "host", Some(&interface(texts))).address;
        assert_eq!(address(&["fe80::1", "10.0.0.7"]), Some("10.0.0.7".parse().unwrap()));
        assert_eq!(address(&["fe80::1", "2001:db8::7"]), Some("2001:db8::7".parse().unwrap()));
        assert_eq!(address(&["fe80::1"]), None);
    }
}
