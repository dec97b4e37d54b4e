//! The command line that administers a running control API.
