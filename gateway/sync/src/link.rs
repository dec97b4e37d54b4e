//! The way to the control API: one connection for the watch, another for every other call.
//!
//! Bounds whatever the other end may send and how long it may take; makes no sense of what is said. The follower, the remote source, the
//! preloader and the reporter of usage speak through it.

mod connection;
mod error;
mod greeting;
mod outgoing;
mod target;
mod tls;
mod watch_stream;

pub(crate) use connection::CONNECT_MAX;
pub use error::LinkError;
pub use target::NotAControlUrl;
pub use watch_stream::WatchStream;

use crate::message::{
    FromGateway, Hello, KEYS, KeyPage, LOOK_UP, LookUp, LookedUp, Recorded, USAGE, UsageBatch, WATCH,
};
use bytes::Bytes;
use connection::{Connection, Dialler};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use outgoing::Outgoing;
use portcullis_verify::{AppId, KeyId};
use rustls::RootCertStore;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use target::Target;
use tokio::sync::Mutex;

/// Longest answer to a call, in bytes. Whoever asked for many keys asks for fewer when it is not enough.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Connections to one control API, with one gateway token.
pub struct Link {
    dialler: Dialler,
    authorization: HeaderValue,
    calls: Mutex<CallConnection>,
    /// Connections that were begun for calls.
    attempts: AtomicU64,
}

/// The connection that calls share.
#[derive(Default)]
struct CallConnection {
    open: Option<Arc<Connection>>,
    /// The last attempt that failed, for those who waited for it.
    failed: Option<(u64, LinkError)>,
}

/// Why a [`Link`] cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum LinkSetupError {
    /// The address makes no sense.
    #[error(transparent)]
    Url(#[from] NotAControlUrl),
    /// A header cannot carry the token.
    #[error("the gateway token holds characters that no header can carry")]
    Token,
    /// The system's certificates cannot be used.
    #[error("the certificates of the system cannot be used: {0}")]
    Roots(String),
}

impl Link {
    /// A link to `control_url`: `http://` or `https://`, a host, and perhaps a port and a path in front of the control API's own.
    ///
    /// Connects to nothing yet. `https` trusts whom the system trusts.
    pub fn new(control_url: &str, token: &str) -> Result<Link, LinkSetupError> {
        Link::with_roots(control_url, token, None)
    }

    /// The same, but `https` trusts `roots` and nobody else.
    pub fn with_roots(control_url: &str, token: &str, roots: Option<RootCertStore>) -> Result<Link, LinkSetupError> {
        let target = Target::parse(control_url)?;
        let mut authorization = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| LinkSetupError::Token)?;
        authorization.set_sensitive(true);
        let tls = match (target.is_tls, roots) {
            (false, _) => None,
            (true, Some(roots)) => Some(tls::connector(roots)?),
            (true, None) => Some(tls::connector(tls::system_roots()?)?),
        };
        Ok(Link {
            dialler: Dialler { target, tls },
            authorization,
            calls: Mutex::default(),
            attempts: AtomicU64::new(0),
        })
    }

    /// Begins to watch, on a connection of its own, and waits until the control API accepts. Callers bound the wait.
    pub async fn watch(&self, hello: &Hello) -> Result<WatchStream, LinkError> {
        let connection = self.dialler.connect().await?;
        let (lines, body) = Outgoing::lines();
        // The body is new and empty: the first line has room.
        let _ = lines.try_send(watch_stream::line(&FromGateway::Hello(hello.clone()))?);
        let request = self.request(Method::POST, WATCH, body)?;
        let answer = accepted(connection.send(request).await?)?;
        Ok(WatchStream::new(connection, lines, answer.into_body()))
    }

    /// Asks for the keys with these hashes. The answer has as many records as there are hashes.
    pub async fn look_up(&self, question: &LookUp, patience: Duration) -> Result<LookedUp, LinkError> {
        let answer: LookedUp = self.call(Method::POST, LOOK_UP, json(question)?, patience).await?;
        if answer.records.len() == question.hashes.len() {
            Ok(answer)
        } else {
            Err(LinkError::Unreadable(format!(
                "{} answers to {} questions",
                answer.records.len(),
                question.hashes.len()
            )))
        }
    }

    /// Asks for at most `limit` keys with ids above `after`, of one app or of all.
    pub async fn keys(
        &self,
        after: Option<KeyId>,
        app: Option<AppId>,
        limit: u32,
        patience: Duration,
    ) -> Result<KeyPage, LinkError> {
        let mut path = format!("{KEYS}?limit={limit}");
        if let Some(after) = after {
            path.push_str(&format!("&after={after}"));
        }
        if let Some(app) = app {
            path.push_str(&format!("&app_id={app}"));
        }
        self.call(Method::GET, &path, Bytes::new(), patience).await
    }

    /// Reports what keys were used for. May be called again with the same batch after an error.
    pub async fn report(&self, batch: &UsageBatch, patience: Duration) -> Result<Recorded, LinkError> {
        self.call(Method::POST, USAGE, json(batch)?, patience).await
    }

    /// One question and its answer, within `patience`. All calls may be repeated without harm.
    async fn call<A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<A, LinkError> {
        let mut used = None;
        let exchange = self.exchange(&mut used, &method, path, &body);
        let Ok(outcome) = tokio::time::timeout(patience, exchange).await else {
            // Whether the other end is slow or gone cannot be told: the next call takes another connection.
            if let Some(connection) = used {
                connection.retire();
            }
            return Err(LinkError::TimedOut(patience));
        };
        serde_json::from_slice(&outcome?).map_err(|error| LinkError::unreadable(&error))
    }

    async fn exchange(
        &self,
        used: &mut Option<Arc<Connection>>,
        method: &Method,
        path: &str,
        body: &Bytes,
    ) -> Result<Bytes, LinkError> {
        loop {
            let (connection, is_new) = self.call_connection().await?;
            *used = Some(Arc::clone(&connection));
            let request = self.request(method.clone(), path, Outgoing::whole(body.clone()))?;
            let outcome = match connection.send(request).await {
                Ok(answer) => read(accepted(answer)?, &connection).await,
                Err(error) => Err(error),
            };
            match outcome {
                // It stood idle, and the other end may have given it up long ago.
                Err(LinkError::Broken(_)) if !is_new => connection.retire(),
                Err(error) => {
                    if error.is_of_connection() {
                        connection.retire();
                    }
                    return Err(error);
                }
                Ok(answer) => return Ok(answer),
            }
        }
    }

    /// The connection for calls, and whether it was made for this one. One attempt at a time; all who wait share its failure.
    async fn call_connection(&self) -> Result<(Arc<Connection>, bool), LinkError> {
        let begun_before = self.attempts.load(Ordering::Acquire);
        let mut calls = self.calls.lock().await;
        if let Some(connection) = calls.open.as_ref().filter(|connection| connection.is_open()) {
            return Ok((Arc::clone(connection), false));
        }
        calls.open = None;
        if let Some((attempt, error)) = &calls.failed
            && *attempt > begun_before
        {
            return Err(error.clone());
        }
        let attempt = self.attempts.fetch_add(1, Ordering::AcqRel) + 1;
        match self.dialler.connect().await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                calls.open = Some(Arc::clone(&connection));
                calls.failed = None;
                Ok((connection, true))
            }
            Err(error) => {
                calls.failed = Some((attempt, error.clone()));
                Err(error)
            }
        }
    }

    fn request(&self, method: Method, path: &str, body: Outgoing) -> Result<Request<Outgoing>, LinkError> {
        Request::builder()
            .method(method)
            .uri(self.dialler.target.uri(path))
            .header(AUTHORIZATION, self.authorization.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| LinkError::Broken(error.to_string()))
    }
}

impl std::fmt::Debug for Link {
    /// Never the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("control", &self.dialler.target)
            .finish_non_exhaustive()
    }
}

fn json(message: &impl Serialize) -> Result<Bytes, LinkError> {
    serde_json::to_vec(message)
        .map(Bytes::from)
        .map_err(|error| LinkError::unreadable(&error))
}

fn accepted(answer: Response<Incoming>) -> Result<Response<Incoming>, LinkError> {
    match answer.status() {
        status if status.is_success() => Ok(answer),
        StatusCode::UNAUTHORIZED => Err(LinkError::TokenRefused),
        StatusCode::FORBIDDEN => Err(LinkError::Forbidden),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Err(LinkError::NotControl),
        status => Err(LinkError::Refused(status)),
    }
}

async fn read(answer: Response<Incoming>, connection: &Connection) -> Result<Bytes, LinkError> {
    match Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(LinkError::TooLong),
        Err(error) => Err(connection.broken(&*error)),
    }
}
