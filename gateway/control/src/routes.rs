//! The handlers, one file per entity. Each reads its request, acts on its caller's deployment only, and answers.

pub(crate) mod apps;
pub(crate) mod gateway_tokens;
pub(crate) mod gateways;
pub(crate) mod keys;
pub(crate) mod limits;
pub(crate) mod schemes;
pub(crate) mod verify;
