//! The first start: the first deployment and the first tokens.
//!
//! Decides only what is stored; whoever starts the server reads the environment and prints what is to be printed.

use crate::token;
use portcullis_store::entity::{Deployment, TokenKind};
use portcullis_store::{Store, StoreError};
use portcullis_verify::Secret;

/// What the first tokens are called in lists.
const TOKEN_NAME: &str = "bootstrap";

/// What a start found or made.
#[derive(Debug)]
pub struct Bootstrap {
    /// The first deployment.
    pub deployment: Deployment,
    /// A management token that was made now, to be printed once; only its hash is stored.
    pub printed_token: Option<Secret>,
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The store failed.
    #[error("the store failed while the first deployment was set up: {0}")]
    Store(#[from] StoreError),
    /// A given token is not fit to be one.
    #[error(
        "{variable} must be {} to {} visible ASCII characters without spaces",
        token::TOKEN_CHARS_MIN,
        token::TOKEN_CHARS_MAX
    )]
    UnfitToken {
        /// Where it came from.
        variable: &'static str,
    },
    /// The operating system gives no random numbers.
    #[error("no random numbers for a token: {0}")]
    Random(getrandom::Error),
}

/// Makes sure that there is a deployment and, at the first start, a management token.
///
/// `management` and `gateway` are the texts of `PORTCULLIS_BOOTSTRAP_TOKEN` and `PORTCULLIS_BOOTSTRAP_GATEWAY_TOKEN`. Each becomes
/// the first deployment's first token of its kind; once that deployment ever had one, revoked or not, it is ignored, so that a
/// restart revives nothing. Without `management` a first management token is generated.
pub async fn bootstrap(
    store: &Store,
    management: Option<String>,
    gateway: Option<String>,
) -> Result<Bootstrap, BootstrapError> {
    let deployment = store.ensure_first_deployment().await?;
    let given = |variable, token: Option<String>| match token.filter(|token| !token.is_empty()) {
        Some(token) if !token::is_acceptable(&token) => Err(BootstrapError::UnfitToken { variable }),
        token => Ok(token),
    };
    let management = given("PORTCULLIS_BOOTSTRAP_TOKEN", management)?;
    let gateway = given("PORTCULLIS_BOOTSTRAP_GATEWAY_TOKEN", gateway)?;

    let mut printed_token = None;
    let had = store.list_tokens(deployment.id).await?;
    let had = |kind| had.iter().any(|token| token.kind == kind);
    if !had(TokenKind::Management) {
        match management {
            Some(token) => keep(store, &deployment, TokenKind::Management, &token).await?,
            None => {
                let token = token::generate(TokenKind::Management).map_err(BootstrapError::Random)?;
                keep(store, &deployment, TokenKind::Management, token.expose()).await?;
                printed_token = Some(token);
            }
        }
    } else if let Some(token) = management {
        tell_if_dead(store, "PORTCULLIS_BOOTSTRAP_TOKEN", TokenKind::Management, &token).await?;
    }
    if let Some(token) = gateway {
        if had(TokenKind::Gateway) {
            tell_if_dead(store, "PORTCULLIS_BOOTSTRAP_GATEWAY_TOKEN", TokenKind::Gateway, &token).await?;
        } else {
            keep(store, &deployment, TokenKind::Gateway, &token).await?;
        }
    }
    Ok(Bootstrap {
        deployment,
        printed_token,
    })
}

/// Whoever sets another token at a later start should not have to guess why it opens nothing.
async fn tell_if_dead(store: &Store, variable: &'static str, kind: TokenKind, token: &str) -> Result<(), StoreError> {
    if store.find_token(kind, token::hash(token)).await?.is_none() {
        tracing::warn!(
            variable,
            "ignored, and this token opens nothing: it counts at the first start only; `portcullis tokens create` makes \
             another"
        );
    }
    Ok(())
}

async fn keep(store: &Store, deployment: &Deployment, kind: TokenKind, token: &str) -> Result<(), StoreError> {
    match store
        .create_token(deployment.id, kind, TOKEN_NAME, &[], token::hash(token))
        .await
    {
        // Two processes that start together with the same token both have what they want.
        Ok(_) | Err(StoreError::Duplicate { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
