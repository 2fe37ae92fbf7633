//! The device API: finding or creating the device that a probe reports as, and publishing its
//! interface (spec, section 4; wire contract, section 7).
//!
//! For start-up: calls block, nothing is repeated, an answer is at most [`MAX_ANSWER_BYTES`].

use std::net::IpAddr;

use kflow::api::{
    CreateDevice, Device, DeviceBody, NewDevice, StoredInterface, lookup_name, strict_name,
};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;
use tracing::info;

use crate::flow::Timing;
use crate::http::{Failure, Http, HttpConfig, HttpError, public_url, read_bounded};
use crate::interface::{Interface, changed};

/// Longest answer that is read.
pub const MAX_ANSWER_BYTES: usize = 4 << 20;

/// How the device is found (spec 4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// By id; never created.
    Id(u64),
    /// By the addresses of an interface, the first that is known; never created.
    Addresses(Vec<IpAddr>),
    /// By an address; created when unknown.
    Address(IpAddr),
    /// By [`Identity::name`]; created when unknown.
    Name,
}

/// What the device is called, and what a new one gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Configured name, else the host name. Nothing is created without one.
    pub name: String,
    /// Configured address, else the first IPv4 address of the capture interface, else its first
    /// global IPv6 address. Nothing is created without one.
    pub address: Option<IpAddr>,
    /// Plan of a new device; nothing is created when 0.
    pub plan_id: u64,
    /// Site of a new device; 0 for none.
    pub site_id: u64,
}

/// Why there is no device. The texts are those of the spec's failure table (2.6).
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// ERR-4.
    #[error("authentication failed")]
    AuthenticationFailed,
    /// ERR-5.
    #[error("device not found")]
    DeviceNotFound,
    /// ERR-6.
    #[error("failed to configure: {0}")]
    Setup(SetupError),
    /// ERR-6, before any request.
    #[error("failed to configure: {0}")]
    Http(#[from] HttpError),
    /// The runtime for requests.
    #[error("failed to configure: {0}")]
    Runtime(std::io::Error),
}

/// A request that did not give what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{method} {url}: {detail}")]
pub struct SetupError {
    /// `GET`, `POST` or `PUT`.
    pub method: Method,
    /// Without user and query.
    pub url: String,
    /// Status of the answer, if there was one.
    pub status: Option<u16>,
    /// Status and the server's text, or what failed.
    pub detail: String,
}

/// A client of the device API. Calls must not be made from asynchronous code.
#[derive(Debug)]
pub struct DeviceApi {
    http: Http,
    base: Url,
    runtime: Runtime,
}

impl DeviceApi {
    /// `base` is the API URL including `/api/internal`.
    ///
    /// # Errors
    /// [`DeviceError::Http`] and [`DeviceError::Runtime`].
    pub fn new(config: &HttpConfig, base: Url, timing: &Timing) -> Result<Self, DeviceError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(DeviceError::Runtime)?;
        let http = Http::new(config, timing, base.scheme() == "https")?;
        Ok(Self { http, base, runtime })
    }

    /// Looks the device up, and creates it where the selection allows and the identity suffices.
    ///
    /// # Errors
    /// See [`DeviceError`].
    pub fn find(&self, wanted: &Selection, identity: &Identity) -> Result<Device, DeviceError> {
        let found = match wanted {
            Selection::Id(id) => self.look_up(&[id.to_string()])?,
            Selection::Addresses(addresses) => self.by_address(addresses)?,
            Selection::Address(address) => match self.look_up(&[address.to_string()])? {
                None => self.create(identity)?,
                found => found,
            },
            Selection::Name => {
                let keys = [lookup_name(&identity.name), strict_name(&identity.name)];
                let different = if keys[0] == keys[1] { 1 } else { 2 };
                match self.look_up(&keys[..different])? {
                    None => self.create(identity)?,
                    found => found,
                }
            }
        };
        found.ok_or(DeviceError::DeviceNotFound)
    }

    /// Reads a device again, for changed limits, rates and columns.
    ///
    /// # Errors
    /// See [`DeviceError`].
    pub fn by_id(&self, id: u64) -> Result<Device, DeviceError> {
        self.find(&Selection::Id(id), &Identity::default())
    }

    /// Publishes the capture interface unless it is stored already (4.4). False when there was
    /// nothing to send: unchanged, or no address or MAC.
    ///
    /// # Errors
    /// See [`DeviceError`]; worth a debug line only.
    pub fn publish(&self, device: &Device, interface: &Interface) -> Result<bool, DeviceError> {
        let Some(updates) = interface.updates() else { return Ok(false) };
        let id = device.id.to_string();
        let url = self.url(&["device", &id, "interfaces"]);
        let stored: Vec<StoredInterface> = self.get(url)?.ok_or(DeviceError::DeviceNotFound)?;
        let changed = changed(updates, &stored);
        if changed.is_empty() {
            return Ok(false);
        }
        let company = device.company_id.to_string();
        let url = self.url(&["company", &company, "device", &id, "tags", "snmp"]);
        let request = self.json(Method::PUT, &url, &changed);
        let place = Place { method: Method::PUT, url };
        self.runtime.block_on(async {
            let answer = self.send(request, &place).await?;
            match answer.status() {
                StatusCode::OK => Ok(true),
                _ => Err(self.refused(answer, place).await),
            }
        })
    }

    /// The first of the addresses that is known; says which, since it may surprise.
    fn by_address(&self, addresses: &[IpAddr]) -> Result<Option<Device>, DeviceError> {
        for address in addresses {
            if let Some(device) = self.look_up(&[address.to_string()])? {
                info!("device {} was found by address {address}", device.device_name);
                return Ok(Some(device));
            }
        }
        Ok(None)
    }

    /// The first of `keys` that is known.
    fn look_up(&self, keys: &[String]) -> Result<Option<Device>, DeviceError> {
        for key in keys.iter().filter(|key| !key.is_empty()) {
            let found: Option<DeviceBody> = self.get(self.url(&["device", key]))?;
            if let Some(found) = found {
                return Ok(Some(found.device));
            }
        }
        Ok(None)
    }

    /// Creates the device and reads it, since the answer to a creation lacks the columns. `None`
    /// when the identity does not suffice.
    fn create(&self, identity: &Identity) -> Result<Option<Device>, DeviceError> {
        let Identity { name, address, plan_id, site_id } = identity;
        let (Some(address), false, false) = (address, name.is_empty(), *plan_id == 0) else {
            return Ok(None);
        };
        let device = NewDevice::probe(name, *address, *plan_id, *site_id);
        // With its trailing slash.
        let url = self.url(&["device", ""]);
        let request = self.json(Method::POST, &url, &CreateDevice { device });
        let place = Place { method: Method::POST, url };
        let id = self.runtime.block_on(async {
            let answer = self.send(request, &place).await?;
            match answer.status() {
                StatusCode::CREATED => {
                    let body: Created = read_json(answer, &place).await?;
                    body.id().ok_or_else(|| place.error(None, "the answer has no device id"))
                }
                _ => Err(self.refused(answer, place).await),
            }
        })?;
        self.by_id(id).map(Some)
    }

    /// `None` for 404.
    fn get<T: DeserializeOwned>(&self, url: Url) -> Result<Option<T>, DeviceError> {
        let request = self.http.read.get(url.clone());
        let place = Place { method: Method::GET, url };
        self.runtime.block_on(async {
            let answer = self.send(request, &place).await?;
            match answer.status() {
                StatusCode::OK => read_json(answer, &place).await.map(Some),
                StatusCode::NOT_FOUND => Ok(None),
                _ => Err(self.refused(answer, place).await),
            }
        })
    }

    async fn send(&self, request: RequestBuilder, place: &Place) -> Result<Response, DeviceError> {
        match request.send().await {
            Ok(answer) => Ok(answer),
            Err(error) => {
                let failure = self.http.explained_failure(error, &place.url).await;
                Err(place.error(None, &failure.to_string()))
            }
        }
    }

    async fn refused(&self, answer: Response, place: Place) -> DeviceError {
        if answer.status() == StatusCode::UNAUTHORIZED {
            return DeviceError::AuthenticationFailed;
        }
        let failure: Failure = self.http.refusal(answer).await;
        place.error(failure.status, &failure.to_string())
    }

    fn json(&self, method: Method, url: &Url, body: &impl serde::Serialize) -> RequestBuilder {
        let body = serde_json::to_vec(body).expect("plain structs have a JSON form");
        let request = self.http.send.request(method, url.clone());
        request.header(CONTENT_TYPE, "application/json").body(body)
    }

    /// The base with path segments appended, each percent-encoded.
    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }
}

/// Answer to a creation, of which only the id is used.
#[derive(serde::Deserialize)]
struct Created {
    device: CreatedDevice,
}

#[derive(serde::Deserialize)]
struct CreatedDevice {
    id: serde_json::Value,
}

impl Created {
    /// A number, or a number in a text.
    fn id(&self) -> Option<u64> {
        let id = &self.device.id;
        id.as_u64().or_else(|| id.as_str()?.trim().parse().ok())
    }
}

/// Where an error happened.
struct Place {
    method: Method,
    url: Url,
}

impl Place {
    fn error(&self, status: Option<u16>, detail: &str) -> DeviceError {
        DeviceError::Setup(SetupError {
            method: self.method.clone(),
            url: public_url(&self.url),
            status,
            detail: detail.into(),
        })
    }
}

async fn read_json<T: DeserializeOwned>(answer: Response, place: &Place) -> Result<T, DeviceError> {
    let status = Some(answer.status().as_u16());
    let body = read_bounded(answer, MAX_ANSWER_BYTES).await.ok_or_else(|| {
        place.error(
            status,
            &format!("the answer breaks off or has more than {MAX_ANSWER_BYTES} bytes"),
        )
    })?;
    serde_json::from_slice(&body).map_err(|error| {
        // The position says enough; the message may quote the body.
        let (line, column) = (error.line(), error.column());
        place.error(status, &format!("unexpected JSON at line {line}, column {column}"))
    })
}
