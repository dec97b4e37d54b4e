//! The decision API: /v1/authz/check and /v1/forward-auth.
