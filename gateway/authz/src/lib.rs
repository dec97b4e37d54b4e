//! The decision API: another program's question "may this request pass?", answered over HTTP.
//!
//! It reads the question and spells the answer; what is decided, and by which rules, is the engine's business alone.
//! `/v1/authz/check` serves programs, `/v1/forward-auth` serves proxies; the `serve` and `gateway` roles start it.

mod check_answer;
mod check_request;
mod credential;
mod flow;
mod forward_auth;
mod original_request;
mod refuse;
mod server;

#[cfg(test)]
mod fixture;

use ipnet::IpNet;
use portcullis_record::Metrics;
use portcullis_record::usage::UsageMeter;
use portcullis_verify::{AppScope, DeploymentId, Verifier};
use std::sync::Arc;

pub use server::serve;

/// What the decision API is made of.
pub struct AuthzParts {
    /// Decides.
    pub verifier: Arc<Verifier>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Counts what keys are used for.
    pub usage: Arc<UsageMeter>,
    /// The tenant whose keys it answers for. `None`: that of the key source, which has no others.
    pub deployment_id: Option<DeploymentId>,
    /// The apps whose keys it answers for.
    pub apps: AppScope,
    /// Largest request body in bytes.
    pub body_bytes_max: usize,
    /// Peers whose forwarding headers and request ids are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether limits are told of in `X-RateLimit-*` headers too.
    pub legacy_headers: bool,
    /// Whether each decision is logged.
    pub log_requests: bool,
}
