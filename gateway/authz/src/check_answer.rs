//! Spells a verdict as the answer of `/v1/authz/check`: what the published clients deserialise.
//!
//! Whose key it is and where its limits stand, for requests that may pass and for those that may not. Denials about the key
//! itself have no such answer and are refusals. Called by [`crate::flow`].

use crate::refuse::{self, Answer};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response};
use http_body_util::Full;
use portcullis_http::{RequestId, identity_headers, rate_limit_headers};
use portcullis_verify::{Charge, DenialReason, StoredKey, Verdict};
use serde::ser::{Serialize, SerializeMap, Serializer};

#[cfg(test)]
mod tests;

/// The one type of principal that there is.
const PRINCIPAL_TYPE: &str = "api_key";

/// The answer for a verdict. `legacy_headers`: `headers` tells of limits in `X-RateLimit-*` too.
pub(crate) fn of(verdict: &Verdict, request_id: &RequestId, legacy_headers: bool) -> Answer {
    match verdict {
        Verdict::Allow(permit) => decided(
            request_id,
            &permit.key,
            None,
            Some(&permit.charge),
            None,
            legacy_headers,
        ),
        Verdict::Deny(denial) => {
            // The clients' enum knows two reasons; a resource is denied for want of a right to it.
            let (reason, rule) = match denial.reason {
                DenialReason::ResourceDenied | DenialReason::PermissionDenied => ("permission_denied", None),
                DenialReason::RateLimited { blocked_rule, .. } => ("rate_limited", Some(blocked_rule)),
                DenialReason::KeyMissing
                | DenialReason::AmbiguousCredentials
                | DenialReason::KeyMalformed
                | DenialReason::TooManyFailures { .. }
                | DenialReason::KeyUnknown
                | DenialReason::KeyRevoked
                | DenialReason::AppInactive
                | DenialReason::KeyExpired
                | DenialReason::AppNotAllowed => return refuse::answer(&refuse::denied(denial), request_id),
            };
            match &denial.key {
                Some(key) => decided(
                    request_id,
                    key,
                    Some(reason),
                    denial.charge.as_ref(),
                    rule,
                    legacy_headers,
                ),
                // Nobody to answer about: the engine names the key with each of these.
                None => refuse::answer(&refuse::denied(denial), request_id),
            }
        }
    }
}

fn decided(
    request_id: &RequestId,
    key: &StoredKey,
    reason: Option<&'static str>,
    charge: Option<&Charge>,
    blocked_rule: Option<usize>,
    legacy_headers: bool,
) -> Answer {
    let mut headers = identity_headers::of(key);
    if let Some(charge) = charge {
        headers.extend(rate_limit_headers::of(&key.rules, charge, legacy_headers));
    }
    let body = Body {
        request_id: request_id.as_str(),
        allowed: reason.is_none(),
        reason,
        blocked_rule: blocked_rule
            .and_then(|rule| key.rules.rules.get(rule))
            .map(|rule| &*rule.name),
        identity: Identity::of(key),
        permissions: &key.permissions,
        metadata: Metadata(key),
        rate_limits: charge.map(|charge| rule_states(key, charge)).unwrap_or_default(),
        retry_after: charge
            .and_then(rate_limit_headers::retry_after_s)
            .map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX)),
        headers: Headers(headers),
    };
    // Strings, integers and the key's own JSON always serialise.
    let body = serde_json::to_vec(&body).map_or_else(|_| Bytes::from_static(b"{}"), Bytes::from);
    let mut answer = Response::new(Full::new(body));
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[derive(serde::Serialize)]
struct Body<'a> {
    request_id: &'a str,
    allowed: bool,
    reason: Option<&'static str>,
    blocked_rule: Option<&'a str>,
    identity: Identity<'a>,
    permissions: &'a [Box<str>],
    metadata: Metadata<'a>,
    rate_limits: Vec<RuleAnswer<'a>>,
    retry_after: Option<u32>,
    headers: Headers,
}

/// Ids are strings; the membership ids are not part of this product and stay null.
#[derive(serde::Serialize)]
struct Identity<'a> {
    principal_type: &'static str,
    key_id: Id,
    deployment_id: Id,
    app_slug: &'a str,
    key_name: &'a str,
    owner_user_id: Option<Id>,
    organization_id: Option<Id>,
    workspace_id: Option<Id>,
    organization_membership_id: Option<Id>,
    workspace_membership_id: Option<Id>,
}

impl Identity<'_> {
    fn of(key: &StoredKey) -> Identity<'_> {
        Identity {
            principal_type: PRINCIPAL_TYPE,
            key_id: Id(key.key_id.0),
            deployment_id: Id(key.deployment_id.0),
            app_slug: &key.app.slug,
            key_name: &key.name,
            owner_user_id: key.owner_user_id().map(Id),
            organization_id: key.organization_id().map(Id),
            workspace_id: key.workspace_id().map(Id),
            organization_membership_id: None,
            workspace_membership_id: None,
        }
    }
}

struct Id(i64);

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// The key's metadata with its type of principal, which no metadata of its own may overrule.
struct Metadata<'a>(&'a StoredKey);

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const OURS: &str = "principal_type";
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(OURS, PRINCIPAL_TYPE)?;
        for (name, value) in self.0.metadata().iter().filter(|(name, _)| *name != OURS) {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// The clients' integers have 32 bits and a sign.
#[derive(serde::Serialize)]
struct RuleAnswer<'a> {
    rule: &'a str,
    remaining: i32,
    limit: i32,
}

fn rule_states<'a>(key: &'a StoredKey, charge: &Charge) -> Vec<RuleAnswer<'a>> {
    let clamped = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    let states = charge
        .states
        .iter()
        .filter_map(|state| Some((key.rules.rules.get(state.rule)?, state)));
    states
        .map(|(rule, state)| RuleAnswer {
            rule: &rule.name,
            remaining: clamped(state.remaining),
            limit: clamped(state.limit),
        })
        .collect()
}

/// Headers as one JSON object.
struct Headers(Vec<(HeaderName, HeaderValue)>);

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // These are our own and ASCII.
        serializer.collect_map(
            self.0
                .iter()
                .filter_map(|(name, value)| Some((spelled(name), value.to_str().ok()?))),
        )
    }
}

/// A header's name as people write it: JSON, unlike HTTP, does not ignore its case.
fn spelled(name: &HeaderName) -> &str {
    match name.as_str() {
        "x-wacht-key-id" => "X-Wacht-Key-ID",
        "x-wacht-deployment-id" => "X-Wacht-Deployment-ID",
        "x-wacht-app-slug" => "X-Wacht-App-Slug",
        "x-wacht-key-name" => "X-Wacht-Key-Name",
        "x-wacht-owner-user-id" => "X-Wacht-Owner-User-ID",
        "x-wacht-organization-id" => "X-Wacht-Organization-ID",
        "x-wacht-workspace-id" => "X-Wacht-Workspace-ID",
        "x-wacht-permissions" => "X-Wacht-Permissions",
        "x-wacht-metadata" => "X-Wacht-Metadata",
        "ratelimit-policy" => "RateLimit-Policy",
        "ratelimit" => "RateLimit",
        "x-ratelimit-limit" => "X-RateLimit-Limit",
        "x-ratelimit-remaining" => "X-RateLimit-Remaining",
        "x-ratelimit-reset" => "X-RateLimit-Reset",
        "retry-after" => "Retry-After",
        other => other,
    }
}
