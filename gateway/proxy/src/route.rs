//! Finds the route of a request from its host and path.
//!
//! Compares text and nothing else: paths come checked for ambiguity, hosts in lower case. Built once from the settings;
//! [`crate::flow`] asks it per request.

use crate::fast;
use crate::upstream_pool::{UpstreamError, UpstreamPool};
use portcullis_config::settings::{self, CredentialPlace};
use portcullis_verify::{AppScope, DeploymentId, Requirement};
use std::collections::HashMap;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// One route, ready to serve.
pub(crate) struct Route {
    /// The prefix of the configuration: what is logged in the place of a path.
    pub(crate) path: Box<str>,
    /// What it asks of a key.
    pub(crate) requirement: Requirement,
    /// Where keys are looked for, in order.
    pub(crate) places: Box<[CredentialPlace]>,
    /// The upstream sees the key too.
    pub(crate) keep_credential: bool,
    /// A missing key is answered with 401 and a challenge.
    pub(crate) challenge: bool,
    /// Where requests go.
    pub(crate) upstreams: UpstreamPool,
    /// Plain requests to it may take the fast path.
    pub(crate) is_plain: bool,
}

impl Route {
    /// Compiles a route. Reads the file of its certificate authorities.
    pub(crate) fn compile(route: settings::Route, deployment_id: Option<DeploymentId>) -> Result<Route, UpstreamError> {
        let upstreams = UpstreamPool::compile(&route)?;
        Ok(Route {
            is_plain: upstreams.is_plain() && fast::can_find_keys_in(&route.credentials),
            path: route.path.into_boxed_str(),
            requirement: Requirement {
                deployment_id,
                apps: AppScope::Slugs(route.apps.into_iter().map(String::into_boxed_str).collect()),
                permissions: route.permissions,
            },
            places: route.credentials.into_boxed_slice(),
            keep_credential: route.keep_credential,
            challenge: route.challenge,
            upstreams,
        })
    }
}

/// All routes, by host.
///
/// The most specific host that has a route for the path wins: the exact name, then the longest `*.suffix`, then `*`.
/// Within a host the longest path wins.
pub(crate) struct RouteTable<R> {
    /// By the host as configured; the routes of each, longest path first.
    hosts: HashMap<Box<str>, Vec<(Box<str>, R)>>,
    /// No route names a host.
    is_for_any_host: bool,
}

impl RouteTable<Arc<Route>> {
    /// A table of compiled routes and their hosts.
    pub(crate) fn of_routes(routes: impl Iterator<Item = (String, Route)>) -> Self {
        RouteTable::new(routes.map(|(host, route)| (host, route.path.to_string(), Arc::new(route))))
    }
}

impl<R> RouteTable<R> {
    /// A table of hosts, paths, and what they stand for. Of two with the same host and path the first holds.
    pub(crate) fn new(entries: impl Iterator<Item = (String, String, R)>) -> Self {
        let mut hosts: HashMap<Box<str>, Vec<(Box<str>, R)>> = HashMap::new();
        for (host, path, route) in entries {
            hosts
                .entry(host.to_ascii_lowercase().into())
                .or_default()
                .push((path.into(), route));
        }
        for routes in hosts.values_mut() {
            // Stable: the order of the configuration holds among equals.
            routes.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        }
        RouteTable {
            is_for_any_host: hosts.len() == 1 && hosts.contains_key("*"),
            hosts,
        }
    }

    /// The route for a host (lower case, without port) and a path.
    pub(crate) fn find(&self, host: &str, path: &str) -> Option<&R> {
        let of_host = |pattern: &str| {
            let routes = self.hosts.get(pattern)?;
            routes
                .iter()
                .find(|(prefix, _)| covers(prefix, path))
                .map(|(_, route)| route)
        };
        if !self.is_for_any_host {
            if let Some(route) = of_host(host) {
                return Some(route);
            }
            let mut pattern = String::with_capacity(host.len() + 2);
            for (dot, _) in host.match_indices('.') {
                pattern.clear();
                pattern.push('*');
                pattern.push_str(host.get(dot..)?);
                if let Some(route) = of_host(&pattern) {
                    return Some(route);
                }
            }
        }
        of_host("*")
    }
}

/// Whether a prefix ends where a segment of the path ends.
fn covers(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'))
}
