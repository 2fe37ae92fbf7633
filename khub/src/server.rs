//! All paths, and the life of the server.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

use crate::connection::{Limited, Peer};
use crate::hub::Hub;
use crate::refusal::Refusal;
use crate::{auth, routes};

/// How long requests under way may take when the server stops.
const STOP_TIME: Duration = Duration::from_secs(5);

/// The paths of a hub: the API under `/api/internal`, `/api/v5` and `/api`, intake there and at the
/// root, pages and queries.
pub fn router(hub: Arc<Hub>) -> Router {
    let agents = |router: Router<Arc<Hub>>| {
        router.route_layer(from_fn_with_state(hub.clone(), auth::agents))
    };
    let api = || agents(routes::api().merge(routes::intake()));
    Router::new()
        .merge(agents(routes::intake()))
        .nest("/api/internal", api())
        .nest("/api/v5", api())
        .nest("/api", api())
        .merge(routes::reading().route_layer(from_fn_with_state(hub.clone(), auth::readers)))
        .merge(routes::health())
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(hub)
}

/// Serves until `stop` is ready, then ends requests under way (5 s at most) and the printer (1 s).
///
/// # Errors
/// The listener cannot be used.
pub async fn serve(
    listener: TcpListener,
    hub: Arc<Hub>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (stopping, mut stopped) = tokio::sync::watch::channel(false);
    let listener = Limited::new(listener, hub.clone());
    let service = router(hub.clone()).into_make_service_with_connect_info::<Peer>();
    let server = axum::serve(listener, service).with_graceful_shutdown(async move {
        stop.await;
        stopping.send_replace(true);
    });
    tokio::select! {
        ended = server.into_future() => ended?,
        () = async {
            // An error means that the server dropped the sender, and has ended by itself.
            let _ = stopped.wait_for(|stopping| *stopping).await;
            tokio::time::sleep(STOP_TIME).await;
        } => tracing::warn!("requests were cut off"),
    }
    hub.finish();
    Ok(())
}

async fn unknown_path(uri: Uri) -> Response {
    Refusal::not_found(uri.path()).into_response()
}

async fn wrong_method(method: Method) -> Response {
    let message = format!("{method} is not allowed here");
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, message).into_response()
}
