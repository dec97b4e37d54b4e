//! What the proxy and the decision API share of HTTP: client address, paths, identity and rate-limit headers, refusals.
