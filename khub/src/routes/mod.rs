//! Requests to answers, one file per part of the API.

mod device;
mod dimension;
mod flow;
mod page;
mod query;
mod status;
mod telemetry;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post, put};

use crate::hub::Hub;

/// The device and tag API (KH-A-1 to KH-A-9), without prefix.
pub(crate) fn api() -> Router<Arc<Hub>> {
    Router::new()
        .route("/device", post(device::create))
        .route("/device/", post(device::create))
        .route("/device/{key}", get(device::look_up))
        .route("/devices", get(device::list))
        .route("/deviceAndSite", post(device::create_with_site))
        .route("/device/{key}/interfaces", get(device::interfaces))
        .route("/company/{company}/device/{key}/tags/snmp", put(device::update_interfaces))
        .route("/company/{company}/device/{key}/tags", get(device::tags))
        .route("/customdimensions", get(dimension::list))
        .route("/customdimension", post(dimension::create))
        .route("/batch/customdimensions/{column}/populators", post(dimension::populate))
}

/// What agents send all the time (KH-F-1, KH-T-1, KH-D-1), without prefix.
pub(crate) fn intake() -> Router<Arc<Hub>> {
    Router::new()
        .route("/chf", post(flow::receive))
        .route("/dns", post(telemetry::receive_dns))
        .route("/tsdb", post(telemetry::receive_metrics))
}

/// Pages and questions.
pub(crate) fn reading() -> Router<Arc<Hub>> {
    Router::new()
        .route("/", get(page::show))
        .route("/api/v1/flows", get(query::flows))
        .route("/api/v1/top", get(query::top))
        .route("/api/v1/dns", get(telemetry::list_dns))
        .route("/api/v1/agent-metrics", get(telemetry::list_metrics))
        .route("/api/v1/status", get(status::status))
        .route("/metrics", get(status::metrics))
}

/// What a supervisor asks, without authentication.
pub(crate) fn health() -> Router<Arc<Hub>> {
    Router::new().route("/healthz", get(status::health))
}
