//! Devices and their interfaces (KH-A-1 to KH-A-7).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use kflow::api::{CreateDevice, Device, InterfaceUpdate, NewDevice, Site, StoredInterface};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::body;
use crate::connection::Peer;
use crate::directory::{COMPANY_ID, CreateError};
use crate::hub::{Hub, read, write};
use crate::refusal::Refusal;

const MAX_KEY_BYTES: usize = 255;

/// `GET /device/{key}`
pub(crate) async fn look_up(
    State(hub): State<Arc<Hub>>,
    peer: Option<Extension<ConnectInfo<Peer>>>,
    Path(key): Path<String>,
) -> Result<Response, Refusal> {
    if key.len() > MAX_KEY_BYTES {
        return Err(Refusal::not_found("device"));
    }
    let known = read(&hub.directory).find(&key).map(|device| device.id);
    let id = known
        .or_else(|| hub.adopt(&key, peer.map(|peer| peer.0.0.0.ip().to_canonical())))
        .ok_or_else(|| Refusal::not_found("device"))?;
    shown(&hub, id, StatusCode::OK)
}

/// `GET /devices`; of the parameters `subtypes[]` is applied, `columns[]` and others are not.
pub(crate) async fn list(State(hub): State<Arc<Hub>>, RawQuery(query): RawQuery) -> Json<Value> {
    let wanted = subtypes(&query.unwrap_or_default());
    let directory = read(&hub.directory);
    let devices: Vec<_> = directory
        .all()
        .filter(|device| wanted.is_empty() || wanted.contains(&device.device_subtype))
        .map(|device| json!(FullDevice::new(&hub, device, &[])))
        .collect();
    Json(json!({ "devices": devices }))
}

/// `POST /device/`
pub(crate) async fn create(
    State(hub): State<Arc<Hub>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let request: CreateDevice = body::object(&hub, &headers, body).await?;
    add(&hub, request.device, None)
}

/// `POST /deviceAndSite`
pub(crate) async fn create_with_site(
    State(hub): State<Arc<Hub>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let request: CreateDeviceAndSite = body::object(&hub, &headers, body).await?;
    if request.site.title.len() > MAX_KEY_BYTES {
        return Err(Refusal::bad("site title has more than 255 bytes"));
    }
    // Sites are known by their devices only, so they have no ids of their own.
    let site = Site { id: request.device.site_id, site_name: request.site.title };
    add(&hub, request.device, Some(site))
}

/// `GET /device/{id}/interfaces`
pub(crate) async fn interfaces(
    State(hub): State<Arc<Hub>>,
    Path(id): Path<String>,
) -> Result<Json<Vec<StoredInterface>>, Refusal> {
    let directory = read(&hub.directory);
    let stored = id.parse().ok().and_then(|id| directory.interfaces(id));
    stored.map(Json).ok_or_else(|| Refusal::not_found("device"))
}

/// `PUT /company/{cid}/device/{did}/tags/snmp`
pub(crate) async fn update_interfaces(
    State(hub): State<Arc<Hub>>,
    Path((company, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    let id = device_of_company(&hub, &company, &id)?;
    let updates: BTreeMap<String, InterfaceUpdate> = body::object(&hub, &headers, body).await?;
    let dropped = write(&hub.directory).update_interfaces(id, updates);
    hub.counters.interfaces_dropped.add(dropped.unwrap_or_default());
    Ok(Json(json!({})))
}

/// `GET /company/{cid}/device/{did}/tags`: there are no flow tags.
pub(crate) async fn tags(
    State(hub): State<Arc<Hub>>,
    Path((company, id)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    device_of_company(&hub, &company, &id)?;
    Ok(Json(json!({ "tags": [] })))
}

#[derive(Deserialize)]
struct CreateDeviceAndSite {
    site: NewSite,
    device: NewDevice,
}

#[derive(Deserialize)]
struct NewSite {
    title: String,
}

/// The device object of the public API: ours and the members that have fixed values here.
#[derive(Serialize)]
struct FullDevice<'a> {
    #[serde(flatten)]
    device: &'a Device,
    device_status: &'static str,
    device_flow_type: &'static str,
    max_big_flow_rate: u64,
    labels: [(); 0],
    all_interfaces: &'a [StoredInterface],
    minimize_snmp: bool,
    custom_columns: String,
}

impl<'a> FullDevice<'a> {
    fn new(hub: &Hub, device: &'a Device, all_interfaces: &'a [StoredInterface]) -> Self {
        Self {
            device,
            device_status: "V",
            device_flow_type: "auto",
            max_big_flow_rate: device.max_flow_rate,
            labels: [],
            all_interfaces,
            minimize_snmp: false,
            custom_columns: hub.columns.as_text(),
        }
    }
}

fn add(hub: &Hub, new: NewDevice, site: Option<Site>) -> Result<Response, Refusal> {
    let created = write(&hub.directory).create(new, site).map(|device| device.id);
    match created {
        Ok(id) => {
            hub.counters.devices_created.add(1);
            tracing::info!(id, "device created");
            shown(hub, id, StatusCode::CREATED)
        }
        Err(CreateError::Exists) => {
            Err(Refusal::new(StatusCode::CONFLICT, "a device of this name exists"))
        }
        Err(CreateError::Bad(why)) => Err(Refusal::bad(why)),
        Err(CreateError::Full) => {
            hub.counters.devices_refused.add(1);
            Err(Refusal::new(StatusCode::FORBIDDEN, "no room for more devices"))
        }
    }
}

fn shown(hub: &Hub, id: u64, status: StatusCode) -> Result<Response, Refusal> {
    let directory = read(&hub.directory);
    let mut device = directory.by_id(id).cloned().ok_or_else(|| Refusal::not_found("device"))?;
    device.custom_column_data = hub.columns.announced().to_vec();
    let interfaces = directory.interfaces(id).unwrap_or_default();
    let device = FullDevice::new(hub, &device, &interfaces);
    Ok((status, Json(json!({ "device": device }))).into_response())
}

fn device_of_company(hub: &Hub, company: &str, id: &str) -> Result<u64, Refusal> {
    if company.parse() != Ok(COMPANY_ID) {
        return Err(Refusal::not_found("company"));
    }
    let directory = read(&hub.directory);
    let device = id.parse().ok().and_then(|id| directory.by_id(id));
    device.map(|device| device.id).ok_or_else(|| Refusal::not_found("device"))
}

/// Values of `subtypes[]` in a query; only the brackets may be percent-encoded.
fn subtypes(query: &str) -> Vec<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let wanted = pairs
        .filter(|(name, _)| matches!(*name, "subtypes[]" | "subtypes%5B%5D" | "subtypes%5b%5d"));
    wanted.map(|(_, value)| value.to_owned()).collect()
}
