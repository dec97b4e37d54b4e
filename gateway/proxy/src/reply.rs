//! Writes refusals: the gateway's own answers, instead of an upstream's.
//!
//! What they say is decided elsewhere; here is how they are sent without breaking the connection more than needed.
//! Called by [`crate::flow`], and by [`crate::connection`] where there is no request yet.

use crate::client_stream::BodyLength;
use crate::exchange::Exchange;
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderName, Method, Version};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use portcullis_http::{Refusal, request_id};
use std::time::Duration;

/// The id of the request, on requests to upstreams and on every answer.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A body up to this size is read and thrown away, so that the connection can be used again.
const DRAINED_BYTES_MAX: u64 = 64 * 1024;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(2);

/// Answers a request with a refusal. `body` is what the request's head announced.
pub(crate) async fn refuse(
    session: &mut Session,
    refusal: &Refusal,
    exchange: &Exchange,
    body: Option<BodyLength>,
) -> pingora_core::Result<()> {
    if may_drain(session, body) {
        session.set_close_on_response_before_downstream_finish(false);
        session.set_total_drain_timeout(Some(DRAIN_TIME_MAX));
    }
    let text = refusal.body(exchange.request_id.as_str());
    let mut head = ResponseHeader::build_no_case(refusal.status, Some(8))?;
    for (name, value) in exchange.rate_limit_headers.iter().cloned().chain(refusal.headers()) {
        head.insert_header(name, value)?;
    }
    head.insert_header(CONTENT_LENGTH, text.len())?;
    head.insert_header(REQUEST_ID, exchange.request_id.header_value())?;
    let has_body = session.req_header().method != Method::HEAD;
    session.downstream_session.write_response_header(Box::new(head)).await?;
    let text = if has_body { text } else { bytes::Bytes::new() };
    session.downstream_session.write_response_body(text, true).await
}

/// Whether what is left of the request can be read in passing. A client that waits for `100 Continue` may not send it.
fn may_drain(session: &Session, body: Option<BodyLength>) -> bool {
    let request = session.req_header();
    request.version == Version::HTTP_11
        && !request.headers.contains_key(EXPECT)
        && matches!(body, Some(BodyLength::Exactly(bytes)) if bytes <= DRAINED_BYTES_MAX)
}

/// The same answer as bytes, for a connection on which no request could be read; it closes.
pub(crate) fn raw(refusal: &Refusal) -> Vec<u8> {
    let mut response = Vec::new();
    refusal.write_http1(&request_id::generate(), b"", true, false, &mut response);
    response
}
