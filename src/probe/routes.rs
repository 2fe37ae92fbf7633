//! Where requests go, for a reload that changes it: who sends is told, and nothing that waits is
//! lost.

use export::posts::{Endpoint, PostsControl};
use export::{DeviceWatch, ExporterControl, HttpConfig, Route, Timing, Urls};

use super::backend::Connected;
use crate::config::Backend;

/// Those who make requests of a running probe.
pub(super) struct Routes {
    http: Option<HttpConfig>,
    sender: Sender,
    device: Option<DeviceWatch>,
}

/// Who sends what was captured.
pub(super) enum Sender {
    /// Flow records.
    Exporter(ExporterControl),
    /// DNS responses or users, to the endpoint that the URLs give.
    Posts(PostsControl, fn(&Urls) -> Endpoint),
}

impl Routes {
    /// `connected`: with a backend; `device`: who looks at the device again.
    pub(super) fn new(
        connected: Option<&Connected>,
        sender: Sender,
        device: Option<DeviceWatch>,
    ) -> Self {
        Self { http: connected.map(|connected| connected.http.clone()), sender, device }
    }

    /// Sends every request that begins from now on by way of these URLs and this proxy.
    ///
    /// # Errors
    /// In words; then everything stays as it is.
    pub(super) fn redirect(&mut self, backend: &Backend) -> Result<(), String> {
        let Some(http) = &self.http else { return Ok(()) };
        // Account and certificates are those of the start.
        let http = HttpConfig { proxy: backend.proxy.clone(), ..http.clone() };
        let Urls { api, flow, metrics, .. } = backend.urls.clone();
        match &self.sender {
            Sender::Exporter(exporter) => {
                let timing = Timing::default();
                let route =
                    Route { flow_url: flow, metrics_url: metrics, http: http.clone(), timing };
                match exporter.redirect(route) {
                    Ok(true) => {}
                    Ok(false) => return Err("the exporter is too busy to listen".to_owned()),
                    Err(error) => return Err(error.to_string()),
                }
            }
            Sender::Posts(posts, endpoint) => posts
                .redirect(endpoint(&backend.urls), metrics, &http)
                .map_err(|error| error.to_string())?,
        }
        if let Some(device) = &self.device {
            device.redirect(http.clone(), api);
        }
        self.http = Some(http);
        Ok(())
    }
}
