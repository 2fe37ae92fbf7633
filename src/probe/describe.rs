//! What one `-v` prints at the start (spec 16.3).

use capture::Interface;
use tracing::debug;

use super::backend::Connected;
use crate::config::Config;

/// Version, interfaces, URLs, device, rate, limit, columns and decoders. Secrets are not among them.
pub(super) fn start(
    config: &Config,
    interfaces: &[Interface],
    connected: Option<&Connected>,
    rate: u32,
) {
    debug!("kprobe {}", env!("CARGO_PKG_VERSION"));
    for Interface { name, index, mac, addresses, .. } in interfaces {
        let mac = mac.map_or_else(|| "none".to_owned(), text);
        let list = addresses.iter().map(|(address, prefix)| format!("{address}/{prefix}"));
        let list: Vec<String> = list.collect();
        debug!("interface {name}: index {index}, MAC {mac}, addresses {}", list.join(" "));
    }
    if let Some(backend) = &config.backend {
        let urls = &backend.urls;
        for (what, url) in [
            ("API", &urls.api),
            ("flow", &urls.flow),
            ("metrics", &urls.metrics),
            ("DNS", &urls.dns),
        ] {
            debug!("{what} URL {}", export::public_url(url));
        }
        match &backend.proxy {
            Some(proxy) => debug!("proxy {proxy:?}"),
            None => debug!("no proxy"),
        }
    }
    if let Some(Connected { device, .. }) = connected {
        debug!("device {} ({}), company {}", device.id, device.device_name, device.company_id);
        debug!(
            "flow limit {}/s, device's sample rate {}",
            device.max_flow_rate, device.device_sample_rate
        );
        let columns = device.custom_column_data.iter();
        let columns: Vec<String> =
            columns.map(|column| format!("{}={}", column.col_name, column.field_id)).collect();
        debug!("columns: {}", columns.join(" "));
    }
    debug!("sample rate in force 1:{rate}");
    let names: Vec<&str> = decode::app::App::ALL.iter().map(|app| app.name()).collect();
    let decoders = if config.decoding.enabled { names.join(" ") } else { "none".to_owned() };
    debug!("decoders: {decoders}");
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
