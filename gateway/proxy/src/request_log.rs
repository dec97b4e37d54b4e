//! The line that each request leaves in the log, when requests are logged.
//!
//! Never the path or the query, where a key may stand, and never a header. Both ways through the proxy end here.

use crate::route::Route;
use portcullis_http::RequestId;
use portcullis_verify::StoredKey;
use std::net::IpAddr;
use std::time::Duration;

/// The status recorded for an exchange whose client left before it was answered.
pub(crate) const CLIENT_LEFT: u16 = 499;

/// What is logged of a request.
pub(crate) struct RequestLine<'a> {
    /// Its id.
    pub(crate) request_id: &'a RequestId,
    /// Its method.
    pub(crate) method: &'a str,
    /// Its route, if one was found.
    pub(crate) route: Option<&'a Route>,
    /// The client's address, if it is known.
    pub(crate) client: Option<IpAddr>,
    /// Its key, as far as it is known.
    pub(crate) key: Option<&'a StoredKey>,
    /// The true reason of how it went.
    pub(crate) outcome: &'a str,
    /// Index in the key's rules of the rule that refused it.
    pub(crate) blocked_rule: Option<usize>,
    /// What the client was answered.
    pub(crate) status: u16,
    /// From its head to its end.
    pub(crate) elapsed: Duration,
}

impl RequestLine<'_> {
    /// Writes the line.
    pub(crate) fn log(&self) {
        tracing::info!(
            request_id = %self.request_id,
            method = %self.method,
            route = self.route.map(|route| &*route.path),
            client = self.client.map(tracing::field::display),
            app = self.key.map(|key| key.app.slug.as_str()),
            key_id = self.key.map(|key| key.key_id.0),
            outcome = self.outcome,
            blocked_rule = self.blocked_rule(),
            status = self.status,
            elapsed_us = u64::try_from(self.elapsed.as_micros()).unwrap_or(u64::MAX),
            "request"
        );
    }

    /// The name of the rule that refused the request, as the client is told it.
    fn blocked_rule(&self) -> Option<&str> {
        let rule = self.key?.rules.rules.get(self.blocked_rule?)?;
        Some(&rule.name)
    }
}
