//! The gateway's end of the protocol, against a control end that does as it is told, over real sockets.
//!
//! One file per promise. No test sleeps to wait for something: each waits for what must come, and fails when it does not.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod acknowledging;
mod calls;
mod control_end;
mod faults;
mod gateway;
mod logging;
mod preloading;
mod random_faults;
mod reconnecting;
mod staleness;
mod tls;
