//! Why the control API could not be asked, as an operator needs to hear it.
//!
//! Never holds the token nor anything that the other end sent.

use http::StatusCode;
use std::time::Duration;

/// A call or a watch failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// No connection.
    #[error("cannot connect to the control API: {0}")]
    Connect(String),
    /// Whatever answers there speaks something else.
    #[error(
        "what answers at the control API's address does not speak HTTP/2: is it the control API's port, and http or https as it should be?"
    )]
    NotHttp2,
    /// 401.
    #[error("the control API does not accept the gateway token: it is unknown or was revoked")]
    TokenRefused,
    /// 403.
    #[error("the control API does not accept the token for this: a gateway token is needed")]
    Forbidden,
    /// 404 or 405.
    #[error(
        "what answers at the control API's address knows no gateways: it is no control API of Portcullis, or an older one"
    )]
    NotControl,
    /// Any other answer that is not a success.
    #[error("the control API answered {0}")]
    Refused(StatusCode),
    /// The connection ended, or broke a rule.
    #[error("the connection to the control API broke: {0}")]
    Broken(String),
    /// No answer yet.
    #[error("the control API did not answer within {0:?}")]
    TimedOut(Duration),
    /// An answer, or a line, is longer than it may be.
    #[error("the control API sent more than may be")]
    TooLong,
    /// An answer, or a line, is not what it should be.
    #[error("the control API sent what cannot be read: {0}")]
    Unreadable(String),
}

impl LinkError {
    /// Where in the text it went wrong, and never the text.
    pub(super) fn unreadable(error: &serde_json::Error) -> LinkError {
        LinkError::Unreadable(format!(
            "{} at line {} column {}",
            match error.classify() {
                serde_json::error::Category::Io => "not to be read",
                serde_json::error::Category::Syntax => "not JSON",
                serde_json::error::Category::Data => "not a message",
                serde_json::error::Category::Eof => "cut short",
            },
            error.line(),
            error.column()
        ))
    }

    /// Whether it says that something is set up wrongly, which seldom mends itself soon.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        match self {
            LinkError::NotHttp2 | LinkError::TokenRefused | LinkError::Forbidden | LinkError::NotControl => true,
            LinkError::Connect(_)
            | LinkError::Refused(_)
            | LinkError::Broken(_)
            | LinkError::TimedOut(_)
            | LinkError::TooLong
            | LinkError::Unreadable(_) => false,
        }
    }

    /// Whether the connection is of no further use.
    pub(super) fn is_of_connection(&self) -> bool {
        matches!(
            self,
            LinkError::Connect(_) | LinkError::NotHttp2 | LinkError::Broken(_) | LinkError::TimedOut(_)
        )
    }
}

/// The error and what caused it, on one line.
pub(super) fn with_sources(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
