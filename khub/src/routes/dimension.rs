//! Custom dimensions and their values (KH-A-8, KH-A-9).

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use kflow::tags::{Populators, PopulatorsAnswer};
use serde_json::{Value, json};

use crate::dimension::{CreateError, Dimension};
use crate::hub::{Hub, read, write};
use crate::refusal::Refusal;
use crate::{body, clock};

/// `GET /customdimensions`
pub(crate) async fn list(State(hub): State<Arc<Hub>>) -> Json<Value> {
    Json(json!({ "customDimensions": read(&hub.dimensions).list() }))
}

/// `POST /customdimension`
pub(crate) async fn create(
    State(hub): State<Arc<Hub>>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let dimension: Dimension = body::object(&hub, &headers, body).await?;
    let created = add(&hub, dimension)?;
    Ok((StatusCode::CREATED, Json(json!({ "customDimension": created }))))
}

/// `POST /batch/customdimensions/{column}/populators`; an unknown dimension is created.
pub(crate) async fn populate(
    State(hub): State<Arc<Hub>>,
    Path(column): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PopulatorsAnswer>, Refusal> {
    let batch: Populators = body::object(&hub, &headers, body).await?;
    if !read(&hub.dimensions).knows(&column) {
        let new = Dimension {
            name: column.clone(),
            display_name: column.clone(),
            kind: "string".into(),
            is_bulk: true,
            ..Dimension::default()
        };
        add(&hub, new)?;
    }
    let now_ms = clock::now_ms();
    let guid = batch.guid.clone().unwrap_or_else(|| format!("khub-{now_ms:x}"));
    write(&hub.dimensions).apply(&column, batch, now_ms, &hub.counters);
    Ok(Json(PopulatorsAnswer { message: "applied".into(), guid }))
}

fn add(hub: &Hub, dimension: Dimension) -> Result<Dimension, Refusal> {
    let mut dimensions = write(&hub.dimensions);
    let created = dimensions.create(dimension).map_err(|error| match error {
        CreateError::Exists => {
            Refusal::new(StatusCode::CONFLICT, "a dimension of this name exists")
        }
        CreateError::BadName => Refusal::bad("name must have 1 to 128 bytes"),
        CreateError::Full => Refusal::new(StatusCode::FORBIDDEN, "no room for more dimensions"),
    })?;
    hub.refresh_names(&dimensions);
    Ok(created)
}
