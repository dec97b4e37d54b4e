//! The stable integer codes of the control API's error answers, with what each means.
//!
//! Knows neither requests nor causes. [`crate::error`] picks a code, [`crate::openapi`] prints the table.

use http::StatusCode;

/// Declares the codes once: the enum, the list and their meanings cannot drift apart.
macro_rules! error_codes {
    ($($name:ident = $number:literal, $meaning:literal;)+) => {
        /// One kind of error. Its number is the answer's status followed by two digits, and never changes meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $(#[doc = $meaning] $name,)+
        }

        impl ErrorCode {
            /// Every code, in numeric order.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name,)+];

            /// The `code` of the answer.
            #[must_use]
            pub const fn number(self) -> u32 {
                match self { $(ErrorCode::$name => $number,)+ }
            }

            /// What it means, as one sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(ErrorCode::$name => $meaning,)+ }
            }
        }
    };
}

error_codes! {
    MalformedJson = 40000, "The body is not valid JSON.";
    WrongType = 40001, "A field, or the body itself, has the wrong JSON type.";
    MissingField = 40002, "A required field is missing, null or empty.";
    InvalidField = 40003, "A field's value is out of its bounds, or does not go with another one.";
    InvalidQuery = 40004, "A query parameter's value is out of its bounds.";
    InvalidHeader = 40005, "A request header's value is out of its bounds.";
    UnreadableBody = 40006, "The body could not be read to its end.";
    Http2Needed = 40007, "The call needs HTTP/2.";
    Unauthenticated = 40100, "The token is missing or wrong.";
    PlanTooSmall = 40300, "The deployment's plan does not allow this.";
    WrongTokenKind = 40301, "The token is good, but of the other kind: management tokens administer, gateway tokens watch.";
    NoSuchRoute = 40400, "The control API has no such path.";
    NoSuchApp = 40401, "The deployment has no such app.";
    NoSuchKey = 40402, "The app or deployment has no such key, or the key is revoked already.";
    NoSuchScheme = 40403, "The deployment has no such rate-limit scheme.";
    NoSuchToken = 40404, "The deployment has no such token, or the token is revoked already.";
    NoCounters = 40405, "This process admits no requests and counts none; each gateway counts for itself.";
    MethodNotAllowed = 40500, "The path does not take this method; the Allow header names those it takes.";
    BodyTooSlow = 40800, "The body did not arrive in time.";
    Duplicate = 40900, "The slug is taken.";
    SchemeInUse = 40901, "Apps or keys still use the rate-limit scheme.";
    IdempotencyMismatch = 40902, "The Idempotency-Key was used with a different request.";
    KeyAlreadyCreated = 40903, "The Idempotency-Key has created a key already, whose secret cannot be shown again.";
    Conflict = 40904, "Another change came in between; read again and retry.";
    BodyTooLarge = 41300, "The body is larger than the server takes.";
    WrongMediaType = 41500, "The body must be sent with Content-Type application/json.";
    TooManyFailures = 42900, "This address sent too many wrong tokens; Retry-After says when to try again.";
    Internal = 50000, "The server failed; its log has the cause under the answer's X-Request-ID.";
    StoreUnavailable = 50300, "The store cannot be asked; read before you retry, since a change may have been made.";
    NotConfirmed = 50301, "The change is committed but not yet confirmed as applied.";
    TooSlow = 50302, "The request took too long; whether it changed anything is not known.";
    TooManyGateways = 50303, "As many gateways are connected as this process takes.";
}

impl ErrorCode {
    /// The status of an answer with this code.
    #[must_use]
    pub fn status(self) -> StatusCode {
        u16::try_from(self.number() / 100)
            .ok()
            .and_then(|status| StatusCode::from_u16(status).ok())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

#[cfg(test)]
mod tests {
    use super::ErrorCode;

    /// Clients match on the numbers: they must be unique, ordered, and name a status that the contract allows.
    #[test]
    fn numbers_are_unique_and_name_their_status() {
        let mut before = 0;
        for code in ErrorCode::ALL {
            assert!(code.number() > before, "{code:?} is out of order");
            before = code.number();
            let allowed = [400, 401, 403, 404, 405, 408, 409, 413, 415, 429, 500, 503];
            assert!(allowed.contains(&code.status().as_u16()), "{code:?}");
            assert_eq!(u32::from(code.status().as_u16()), code.number() / 100, "{code:?}");
        }
    }
}
