//! `/api-auth/gateways`: the gateways of a deployment, and how far behind each is.

use crate::auth::Tenant;
use crate::error::ApiError;
use crate::gateways::known;
use crate::path::IncludeInactive;
use crate::router::Api;
use crate::wire::{Gateway, GatewayList};
use axum::Json;
use axum::extract::State;
use jiff::SignedDuration;

/// How long ago a gateway may have been seen that is listed anyway.
const SEEN: SignedDuration = SignedDuration::from_hours(24);
/// The same where all are asked for: nobody is remembered for longer.
const SEEN_EVER: SignedDuration = SignedDuration::from_hours(31 * 24);

/// Lists the gateways that follow this control API with a token of the deployment, by name.
///
/// A gateway has a new id each time it starts; those not seen for a day are left out.
#[utoipa::path(
    get,
    path = "/api-auth/gateways",
    tag = "gateways",
    params(("include_inactive" = Option<bool>, Query, description = "Also those last seen up to 30 days ago; false by default.")),
    responses((status = 200, body = GatewayList, description = "All of them."))
)]
pub(crate) async fn list_gateways(
    State(api): State<Api>,
    tenant: Tenant,
    IncludeInactive(include_inactive): IncludeInactive,
) -> Result<Json<GatewayList>, ApiError> {
    let seen = if include_inactive { SEEN_EVER } else { SEEN };
    let (head, known) = known(&api, tenant.id(), seen).await?;
    Ok(Json(GatewayList {
        gateways: known.into_iter().map(Gateway::from).collect(),
        revision: crate::wire::id(head.revision),
    }))
}
