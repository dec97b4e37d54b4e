//! Apps, keys, schemes, deployments, what gateways report, and the change log, in SQL. The only user of SQL.
//!
//! It decides what needs the database: what exists, what is unique, what refers to what, and the order of all changes.
//! It knows nothing of HTTP, of secrets (only their hashes), or of what a key may do; the control API validates before
//! it calls, and the verifier asks through [`portcullis_verify::KeySource`].

mod app;
pub mod change_log;
mod column;
mod compaction;
mod database;
mod deployment;
pub mod entity;
mod error;
mod gateway;
mod history;
pub mod idempotency;
mod key;
mod key_page;
mod key_record;
mod key_source;
mod migration;
mod new_id;
mod placeholders;
mod postgres;
mod rotation;
mod scheme;
mod sql;
mod sqlite;
mod store;
mod token;
mod usage;
mod write;

pub use change_log::Changes;
pub use entity::Committed;
pub use error::StoreError;
pub use gateway::GatewayRow;
pub use idempotency::{FirstAnswer, Once, StoredAnswer};
pub use key_page::KeyPage;
pub use store::Store;
pub use usage::KeyUsage;
