//! The data plane: the reverse proxy. The only user of pingora.
