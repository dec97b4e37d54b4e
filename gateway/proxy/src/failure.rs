//! Turns a failure on the way into what the client is told and what is counted.
//!
//! It reads the kind of an error and whose it is, never its text. Called by [`crate::flow`].

use pingora_core::{Error, ErrorSource, ErrorType};
use portcullis_http::Refusal;

/// What a failure is answered with; `None` when there is nobody to answer.
///
/// An upstream that is silent while the request's body is not `body_is_whole` waits for the client: HTTP/2 streams have no
/// timeout of their own for their bodies.
pub(crate) fn refusal_of(error: &Error, body_is_whole: bool) -> Option<Refusal> {
    match (error.esource(), error.etype()) {
        (ErrorSource::Upstream, ErrorType::ReadTimedout) if !body_is_whole => Some(Refusal::request_timeout()),
        (ErrorSource::Upstream, kind) if is_timeout(kind) => Some(Refusal::upstream_timeout()),
        (ErrorSource::Downstream, kind) if is_timeout(kind) => Some(Refusal::request_timeout()),
        (ErrorSource::Downstream, ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed) => None,
        (ErrorSource::Downstream, _) => Some(Refusal::bad_request("The request is malformed.")),
        (ErrorSource::Upstream | ErrorSource::Internal | ErrorSource::Unset, _) => {
            Some(Refusal::upstream_unreachable())
        }
    }
}

/// Whether the client took too long to take its answer.
pub(crate) fn is_slow_reader(error: &Error) -> bool {
    matches!(
        (error.esource(), error.etype()),
        (ErrorSource::Downstream, ErrorType::WriteTimedout)
    )
}

fn is_timeout(kind: &ErrorType) -> bool {
    matches!(
        kind,
        ErrorType::ConnectTimedout
            | ErrorType::TLSHandshakeTimedout
            | ErrorType::ReadTimedout
            | ErrorType::WriteTimedout
    )
}

/// The metric's word for a failure at an upstream.
pub(crate) fn kind_of(kind: &ErrorType) -> &'static str {
    match kind {
        ErrorType::ConnectRefused => "connect_refused",
        ErrorType::ConnectTimedout => "connect_timeout",
        ErrorType::TLSHandshakeFailure | ErrorType::TLSHandshakeTimedout | ErrorType::InvalidCert => "tls",
        ErrorType::ReadTimedout => "read_timeout",
        ErrorType::WriteTimedout => "write_timeout",
        ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed => "reset",
        ErrorType::InvalidHTTPHeader | ErrorType::H1Error | ErrorType::H2Error | ErrorType::InvalidH2 => "protocol",
        // What pingora calls a chunk that is none.
        ErrorType::Custom("InvalidChunk") => "protocol",
        _ => "unreachable",
    }
}
