//! The one shape of every error answer.

use serde::Serialize;
use utoipa::ToSchema;

/// What every error answer holds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// Everything that is wrong, at least one entry.
    pub(crate) errors: Vec<ErrorEntry>,
    /// All messages in one text.
    pub(crate) message: String,
    /// Only where a key was created whose secret is not in this answer (codes 40903 and 50301): its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_id: Option<String>,
}

/// One thing that is wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorEntry {
    /// A whole sentence for people; may change.
    pub(crate) message: String,
    /// A stable number for programs; see the table in this document's description.
    pub(crate) code: u32,
}
