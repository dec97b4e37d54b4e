//! One request from a presented key to its rendered headers, as the gateway's own loop calls the engine.
//!
//! Decides nothing, opens no socket, parses no request and reads no clock: the gateway reads it twice a request, in the kernel's own
//! page, where callgrind sees nothing of it. Called by [`crate::cases`].

use crate::engine::Engine;
use anyhow::{Context, Result};
use portcullis_http::{Refusal, identity_headers, rate_limit_headers, request_id};
use portcullis_record::Surface;
use portcullis_verify::Verdict;
use std::time::Duration;

/// What is recorded as the time that the decision took: a usual one.
const ELAPSED: Duration = Duration::from_nanos(400);

/// What is written of a request, in buffers that a connection keeps.
#[derive(Default)]
pub(crate) struct Written {
    /// Lines of the head that goes on, or the whole refusal.
    pub(crate) out: Vec<u8>,
    limits: Vec<u8>,
}

/// Takes a request through: decides it from memory, counts it, and writes what the decision says. Answers the status that the
/// client would get, 200 for one that would be forwarded.
///
/// # Errors
/// When the engine could not decide from memory.
pub(crate) fn decide(engine: &Engine, credential: &str, index: usize, written: &mut Written) -> Result<u16> {
    let Written { out, limits } = written;
    out.clear();
    limits.clear();
    let request_id = request_id::generate();
    let now = engine.verifier.clock().now();
    let verdict = engine
        .verifier
        .verify_held(&engine.ask(credential, index), now)
        .context("the key is not held")??;
    engine.usage.note(&verdict, now);
    match &verdict {
        Verdict::Allow(permit) => {
            engine.metrics.decision(Surface::Proxy, "allowed", ELAPSED);
            identity_headers::write(&permit.key, out);
            request_id.write(out);
            rate_limit_headers::write(&permit.key.rules, &permit.charge, false, limits);
            Ok(200)
        }
        Verdict::Deny(denial) => {
            engine.metrics.decision(Surface::Proxy, denial.reason.name(), ELAPSED);
            let refusal = Refusal::of_denial(denial, false);
            if let (Some(key), Some(charge)) = (&denial.key, &denial.charge) {
                rate_limit_headers::write(&key.rules, charge, false, limits);
            }
            refusal.write_http1(&request_id, limits, false, false, out);
            Ok(refusal.status.as_u16())
        }
    }
}
