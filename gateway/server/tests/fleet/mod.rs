//! A fleet under faults: a control API and many gateways as real processes, links between them that fail as told, a workload, a
//! record of all that was called and answered, and the rules that the record is held against.
//!
//! Knows no single scenario; the files beside this folder walk through them.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::panic, reason = "a test ends where what it needs is not there")]
#![allow(unreachable_pub, reason = "shared by many test binaries")]

pub mod asking;
pub mod book;
pub mod calling;
pub mod checker;
pub mod cluster;
pub mod dice;
pub mod fault_proxy;
pub mod history;
pub mod mixture;
pub mod places;
pub mod process;
pub mod run;
pub mod setup;
