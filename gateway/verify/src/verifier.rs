//! The only chain: presented key → lookup → decide → charge.
//!
//! Order is free checks first, spending last, so that a refused request costs little and charges nothing.
//! Knows nothing of routes or HTTP: callers say what they require.

use crate::{Clock, DeploymentId, KeySource, Limiter, Lookup, PermissionExpression, RuleSet, Verdict, VerifyError};
use std::net::IpAddr;
use std::sync::Arc;

/// Which apps' keys may open a door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppScope {
    /// The keys of every app of the deployment.
    Every,
    /// The keys of the apps with these slugs. Empty: nobody.
    Slugs(Box<[Box<str>]>),
}

/// What a door asks of a key.
#[derive(Debug, Clone)]
pub struct Requirement {
    /// The tenant whose keys are meant.
    pub deployment_id: DeploymentId,
    /// The apps whose keys are meant.
    pub apps: AppScope,
    /// All of these must hold.
    pub permissions: Vec<PermissionExpression>,
}

/// One request to decide.
#[derive(Debug, Clone, Copy)]
pub struct VerifyRequest<'a> {
    /// The credential as it came, unparsed.
    pub credential: &'a [u8],
    /// The request path, without query, starting with `/`.
    pub path: &'a str,
    /// The client's address (IPv4-mapped IPv6 already IPv4), when known.
    pub address: Option<IpAddr>,
    /// What the door asks.
    pub requirement: &'a Requirement,
}
