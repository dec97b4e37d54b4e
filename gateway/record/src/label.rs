//! Label values: fixed sets, decided here, so that no stranger can make up a time series.
//!
//! Knows the words and their order, not what they are attached to. Only [`crate::metrics`] uses it. Every set ends with [`OTHER`].

/// The word for everything that is not in its set.
pub(crate) const OTHER: &str = "other";

/// Outcomes of a decision, the frequent ones first.
pub(crate) const OUTCOMES: &[&str] = &[
    "allowed",
    "rate_limited",
    "key_missing",
    "key_unknown",
    "key_malformed",
    "permission_denied",
    "key_revoked",
    "key_expired",
    "app_inactive",
    "app_not_allowed",
    "resource_denied",
    "ambiguous_credentials",
    "too_many_failures",
    "control_unavailable",
    OTHER,
];

/// Why a request was turned away before any decision.
pub(crate) const REFUSALS: &[&str] = &[
    "no_route",
    "bad_request",
    "payload_too_large",
    "uri_too_long",
    "header_too_large",
    "request_timeout",
    "shutting_down",
    "not_found",
    "method_not_allowed",
    "unsupported_media_type",
    "unsupported_principal",
    OTHER,
];

/// Why a connection was turned away, or closed before its client was done with it.
pub(crate) const TURNED_AWAY: &[&str] = &[
    "address_full",
    "made_room",
    "no_request",
    "slow_head",
    "slow_body",
    "slow_reader",
    "handshake",
    "resets",
    OTHER,
];

/// What went wrong at an upstream.
pub(crate) const UPSTREAM_ERRORS: &[&str] = &[
    "unreachable",
    "connect_refused",
    "connect_timeout",
    "tls",
    "read_timeout",
    "write_timeout",
    "reset",
    "protocol",
    OTHER,
];

/// Classes of answers.
pub(crate) const STATUS_CLASSES: &[&str] = &["1xx", "2xx", "3xx", "4xx", "5xx", OTHER];

/// The place of a word in its set, or that of [`OTHER`], which is the last.
#[inline]
pub(crate) fn index(words: &[&str], word: &str) -> usize {
    let index = words.iter().position(|known| *known == word);
    index.unwrap_or(words.len().saturating_sub(1))
}
