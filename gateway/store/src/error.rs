//! Why a call of the store failed, with the public text apart from the private cause.
//!
//! `Display` is for the caller of the API; the cause of [`StoreError::Unavailable`] is its `source()`, for logs only.
//! Every file of this crate makes these; the control API turns them into answers.

/// PostgreSQL's code for text that it cannot hold. It holds all of Unicode but U+0000.
const NO_SUCH_CHARACTER: &str = "22021";

/// A failed call. Nothing of it was committed, except as [`StoreError::Unavailable`] says.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such thing in this deployment, or it is in no state to be acted on (deleted, already revoked).
    #[error("{what} not found")]
    NotFound {
        /// What was looked for: `app`, `key`, `rate-limit scheme`, `deployment`, `token`.
        what: &'static str,
    },
    /// A name that must be unique is taken.
    #[error("{what} already exists")]
    Duplicate {
        /// What exists, with its name.
        what: String,
    },
    /// Something else depends on it.
    #[error("{what} is in use by {users}")]
    InUse {
        /// What cannot be deleted, with its name.
        what: String,
        /// The first few that use it, by name.
        users: String,
    },
    /// The values do not fit what is stored.
    #[error("{message}")]
    Invalid {
        /// Names the field and the value; for the caller.
        message: String,
    },
    /// The deployment's plan does not include creating apps.
    #[error("creating apps needs the plan `growth`")]
    PlanForbids,
    /// The app's key prefix changed after the secret was made: make another secret with the current one.
    #[error("the app's key prefix is now `{current}`")]
    PrefixChanged {
        /// The prefix by now.
        current: String,
    },
    /// This idempotency key was used by an earlier or simultaneous call: read what that one answered.
    #[error("this idempotency key was used before")]
    IdempotentReplay,
    /// The database cannot be asked, answers nonsense, or did not say whether a commit happened. A caller cannot know
    /// whether a mutation took place; the change log does.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    pub(crate) fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
        StoreError::Unavailable(cause.into())
    }

    pub(crate) fn invalid(message: impl Into<String>) -> StoreError {
        StoreError::Invalid {
            message: message.into(),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    /// A violated constraint that a caller must hear of is told apart with `duplicate` before it comes here.
    fn from(error: sqlx::Error) -> StoreError {
        let code = error.as_database_error().and_then(|error| error.code());
        if code.as_deref() == Some(NO_SUCH_CHARACTER) {
            return StoreError::invalid("text with the character U+0000 can neither be stored nor looked for");
        }
        StoreError::unavailable(error)
    }
}

/// Turns a violated unique constraint into [`StoreError::Duplicate`].
pub(crate) fn duplicate(error: sqlx::Error, what: impl FnOnce() -> String) -> StoreError {
    if is_unique_violation(&error) {
        StoreError::Duplicate { what: what() }
    } else {
        error.into()
    }
}

/// Whether a unique constraint refused a write.
pub(crate) fn is_unique_violation(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}
