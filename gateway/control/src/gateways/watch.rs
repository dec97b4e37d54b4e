//! `POST /gateway/v1/watch`: takes a gateway's watch up, or says why not.
//!
//! What is said on it is [`super::watcher`]'s business. The answer's head is sent at once; whatever is wrong with what follows ends
//! the stream.

use crate::auth::GatewayCaller;
use crate::connection::ConnectionHandle;
use crate::error::ApiError;
use crate::error_code::ErrorCode;
use crate::gateways::lines::Lines;
use crate::gateways::outlet::Outlet;
use crate::gateways::watcher::Watcher;
use crate::router::Api;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{Version, header};
use std::sync::Arc;
use tracing::Instrument as _;

/// Starts to tell a gateway of every change.
pub(crate) async fn watch(
    State(api): State<Api>,
    caller: GatewayCaller,
    request: Request,
) -> Result<Response, ApiError> {
    if request.version() != Version::HTTP_2 {
        return Err(ApiError::refused(
            ErrorCode::Http2Needed,
            "A watch is a stream in both directions: it needs HTTP/2.",
        ));
    }
    let Ok(place) = Arc::clone(api.watch_places()).try_acquire_owned() else {
        return Err(ApiError::TooManyGateways);
    };
    let connection = request.extensions().get::<ConnectionHandle>().cloned();
    let address = connection
        .as_ref()
        .map_or(ConnectionHandle::UNKNOWN, ConnectionHandle::peer);
    let (outlet, body) = Outlet::new(connection);
    let watcher = Watcher::new(api, caller, address, Lines::new(request.into_body()));
    tokio::spawn(
        async move {
            watcher.run(outlet).await;
            drop(place);
        }
        .in_current_span(),
    );
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}
