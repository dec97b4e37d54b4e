//! `/api-auth/verify`: what a gateway would decide about a key, and the true reason.
//!
//! Asks the same engine as the gateway does, and charges nothing. A key of another deployment is as unknown as one that never
//! was, and the key itself is repeated nowhere.

use crate::auth::Tenant;
use crate::body::RequestBody;
use crate::error::ApiError;
use crate::router::Api;
use crate::wire::{AsOf, RateLimitState, VerifyAnswer, VerifyKeyRequest};
use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use portcullis_store::StoreError;
use portcullis_verify::{Charge, Denial, DenialReason, DeploymentId, StoredKey, Verdict, Version};
use std::sync::Arc;

/// Tells what a gateway would decide about a key now, and why. Charges nothing.
#[utoipa::path(
    post,
    path = "/api-auth/verify",
    tag = "verify",
    request_body = VerifyKeyRequest,
    responses((status = 200, body = VerifyAnswer, description = "The decision, whatever it is."))
)]
pub(crate) async fn verify_key(
    State(api): State<Api>,
    tenant: Tenant,
    body: RequestBody,
) -> Result<Json<VerifyAnswer>, ApiError> {
    let key = body.required::<VerifyKeyRequest>()?.validate()?;
    let verdict = api.verifier().inspect(key.as_bytes(), tenant.id()).await?;
    let finding = Finding::of(verdict, tenant.id());
    let revocation = match &finding.key {
        // When and why is for people; the decision itself only knows that it is revoked.
        Some(key) if key.revoked_at_us().is_some() => match api.store().get_key(tenant.id(), key.key_id).await {
            Ok(key) => Revocation {
                at: key.revoked_at,
                reason: key.revoked_reason,
            },
            Err(StoreError::NotFound { .. }) => Revocation::default(),
            Err(error) => return Err(error.into()),
        },
        _ => Revocation::default(),
    };
    Ok(Json(finding.answer(revocation, api.tailer().applied())))
}

/// When and why a key was revoked, as far as it was.
#[derive(Default)]
struct Revocation {
    at: Option<Timestamp>,
    reason: Option<String>,
}

/// A verdict as far as this deployment may see it.
struct Finding {
    reason: Option<DenialReason>,
    key: Option<Arc<StoredKey>>,
    charge: Option<Charge>,
}

impl Finding {
    fn of(verdict: Verdict, deployment_id: DeploymentId) -> Finding {
        let finding = match verdict {
            Verdict::Allow(permit) => Finding {
                reason: None,
                key: Some(permit.key),
                charge: Some(permit.charge),
            },
            Verdict::Deny(Denial { reason, key, charge }) => Finding {
                reason: Some(reason),
                key,
                charge,
            },
        };
        if finding
            .key
            .as_ref()
            .is_some_and(|key| key.deployment_id != deployment_id)
        {
            return Finding {
                reason: Some(DenialReason::KeyUnknown),
                key: None,
                charge: None,
            };
        }
        finding
    }

    /// `applied` is the version to name when no key was found.
    fn answer(self, revocation: Revocation, applied: Version) -> VerifyAnswer {
        let time = |us: Option<i64>| us.and_then(|us| Timestamp::from_microsecond(us).ok());
        let as_of = self.key.as_ref().map_or(applied, |key| key.as_of);
        let status = match self.reason {
            None => 200,
            Some(DenialReason::RateLimited { .. } | DenialReason::TooManyFailures { .. }) => 429,
            Some(_) => 403,
        };
        let key = self.key.as_deref();
        VerifyAnswer {
            decision: if self.reason.is_none() { "allow" } else { "deny" },
            reason: self.reason.map(DenialReason::name),
            status,
            message: self.message(revocation.at),
            key_id: key.map(|key| key.key_id.to_string()),
            app_slug: key.map(|key| key.app.slug.clone()),
            key_name: key.map(|key| key.name.to_string()),
            permissions: key.map_or_else(Vec::new, |key| {
                key.permissions.iter().map(|name| name.to_string()).collect()
            }),
            expires_at: time(key.and_then(|key| key.expires_at_us())),
            revoked_at: revocation.at,
            revoked_reason: revocation.reason,
            rate_limits: self.rate_limits(),
            as_of: AsOf {
                epoch: as_of.epoch.to_string(),
                revision: as_of.revision.to_string(),
            },
        }
    }

    fn rate_limits(&self) -> Vec<RateLimitState> {
        let (Some(key), Some(charge)) = (&self.key, &self.charge) else {
            return Vec::new();
        };
        let states = charge.states.iter().filter_map(|state| {
            let rule = key.rules.rules.get(state.rule)?.name.to_string();
            Some(RateLimitState {
                rule,
                limit: state.limit,
                remaining: state.remaining,
            })
        });
        states.collect()
    }

    fn message(&self, revoked_at: Option<Timestamp>) -> String {
        let time = |us: Option<i64>| us.and_then(|us| Timestamp::from_microsecond(us).ok());
        let key = self.key.as_deref();
        match self.reason {
            None => "The key is good: a gateway would let the request through to the routes of its app.".to_owned(),
            Some(DenialReason::KeyMissing) => "No key was given.".to_owned(),
            Some(DenialReason::AmbiguousCredentials) => "More than one key was given.".to_owned(),
            Some(DenialReason::KeyMalformed) => {
                "This is no key of Portcullis: its shape or its checksum is wrong. Was all of it copied?".to_owned()
            }
            Some(DenialReason::TooManyFailures { .. }) => "This address asked for too many unknown keys.".to_owned(),
            Some(DenialReason::KeyUnknown) => {
                "The key has the right shape and checksum, but this deployment never issued it.".to_owned()
            }
            Some(DenialReason::KeyRevoked) => match revoked_at {
                Some(at) => format!("The key was revoked at {at}."),
                None => "The key is revoked.".to_owned(),
            },
            Some(DenialReason::AppInactive) => "The key's app is switched off or deleted.".to_owned(),
            Some(DenialReason::KeyExpired) => match time(key.and_then(|key| key.expires_at_us())) {
                Some(at) => format!("The key expired at {at}."),
                None => "The key is expired.".to_owned(),
            },
            Some(DenialReason::AppNotAllowed) => "The key is good, but not for this route.".to_owned(),
            Some(DenialReason::ResourceDenied) => "The path is not among the resources of the key's app.".to_owned(),
            Some(DenialReason::PermissionDenied) => "The key lacks a permission.".to_owned(),
            Some(DenialReason::RateLimited {
                blocked_rule,
                retry_after_us,
            }) => {
                let rule = key
                    .and_then(|key| key.rules.rules.get(blocked_rule))
                    .map_or("?", |rule| &*rule.name);
                let wait_s = retry_after_us.div_ceil(1_000_000);
                format!("The rate limit `{rule}` is used up; there is room again in {wait_s} s.")
            }
        }
    }
}
