//! One request from a presented key to its rendered headers, as the gateway's stages call the engine.
//!
//! Decides nothing, opens no socket, parses no request and reads no clock: the gateway reads it twice a request, in the kernel's own
//! page, where callgrind sees nothing of it. Called by [`crate::cases`].

use crate::engine::Engine;
use anyhow::{Context, Result};
use portcullis_http::{Refusal, identity_headers, rate_limit_headers, request_id};
use portcullis_record::Surface;
use portcullis_verify::Verdict;
use std::time::Duration;

/// Takes a request through: decides it from memory, counts it, and renders what the decision says into `head`. Answers the status
/// that the client would get, 200 for one that would be forwarded.
///
/// # Errors
/// When the engine could not decide from memory.
pub(crate) fn decide(engine: &Engine, credential: &str, index: usize, head: &mut Vec<u8>) -> Result<u16> {
    head.clear();
    let request_id = request_id::generate();
    let now = engine.verifier.clock().now();
    let verdict = engine
        .verifier
        .verify_held(&engine.ask(credential, index), now)
        .context("the key is not held")??;
    engine.usage.note(&verdict, now);
    let elapsed = Duration::from_nanos(400);
    match &verdict {
        Verdict::Allow(permit) => {
            engine.metrics.decision(Surface::Proxy, "allowed", elapsed);
            render(head, identity_headers::of(&permit.key));
            render(head, &rate_limit_headers::of(&permit.key.rules, &permit.charge, false));
            Ok(200)
        }
        Verdict::Deny(denial) => {
            engine.metrics.decision(Surface::Proxy, denial.reason.name(), elapsed);
            let refusal = Refusal::of_denial(denial, false);
            if let (Some(key), Some(charge)) = (&denial.key, &denial.charge) {
                render(head, &rate_limit_headers::of(&key.rules, charge, false));
            }
            let headers: Vec<_> = refusal.headers().collect();
            render(head, &headers);
            head.extend_from_slice(&refusal.body(request_id.as_str()));
            Ok(refusal.status.as_u16())
        }
    }
}

fn render(head: &mut Vec<u8>, headers: &[(http::HeaderName, http::HeaderValue)]) {
    for (name, value) in headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
}
