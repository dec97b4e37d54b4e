//! The free checks of a key against a request, in order; the first that fails names the reason.
//!
//! Pure: told what time it is, asks nobody, changes nothing. Rate limits come after it and elsewhere, because they cost something.
//! Called by [`crate::verifier`] only.

#[cfg(test)]
mod tests;

use crate::{AppScope, DenialReason, Moment, Requirement, StoredKey, resource};

/// The first check that `key` fails for a request to `path` at `now`, or `None` when it passes them all.
///
/// A key of another deployment is [`DenialReason::AppNotAllowed`] whatever else is wrong with it: its state is that tenant's secret.
#[must_use]
pub fn decide(key: &StoredKey, requirement: &Requirement, path: &str, now: Moment) -> Option<DenialReason> {
    if !requirement.is_of_tenant(key) {
        return Some(DenialReason::AppNotAllowed);
    }
    if let Some(reason) = is_dead(key, now) {
        return Some(reason);
    }
    if !requirement.apps.includes(&key.app.slug) {
        return Some(DenialReason::AppNotAllowed);
    }
    if !resource::covers(&key.app.resources, path) {
        return Some(DenialReason::ResourceDenied);
    }
    if !requirement.is_granted(key) {
        return Some(DenialReason::PermissionDenied);
    }
    None
}

/// Whether what began with `key` may go on at `now`: every check of [`decide`] but the one of the path.
#[must_use]
pub fn may_go_on(key: &StoredKey, requirement: &Requirement, now: Moment) -> bool {
    requirement.is_of_tenant(key)
        && is_dead(key, now).is_none()
        && requirement.apps.includes(&key.app.slug)
        && requirement.is_granted(key)
}

/// Why `key` opens nothing at all at `now`, if so. Both times are the first moment at which it is dead.
#[must_use]
pub fn is_dead(key: &StoredKey, now: Moment) -> Option<DenialReason> {
    if key.revoked_at_us().is_some_and(|at_us| now.wall_us >= at_us) {
        Some(DenialReason::KeyRevoked)
    } else if !key.app.is_active {
        Some(DenialReason::AppInactive)
    } else if key.expires_at_us().is_some_and(|at_us| now.wall_us >= at_us) {
        Some(DenialReason::KeyExpired)
    } else {
        None
    }
}

impl Requirement {
    /// Whether a key is of the tenant whose keys are meant.
    pub(crate) fn is_of_tenant(&self, key: &StoredKey) -> bool {
        self.deployment_id.is_none_or(|id| key.deployment_id == id)
    }

    /// Whether a key holds all that is asked for.
    fn is_granted(&self, key: &StoredKey) -> bool {
        self.permissions
            .iter()
            .all(|expression| expression.allows(&key.permissions))
    }
}

impl AppScope {
    /// Whether the keys of the app with this slug are meant.
    #[must_use]
    pub fn includes(&self, slug: &str) -> bool {
        match self {
            AppScope::Every => true,
            AppScope::Slugs(slugs) => slugs.iter().any(|meant| **meant == *slug),
        }
    }
}
