//! One kept-alive HTTP/1.1 connection, for calls whose times matter.
//!
//! Knows nothing of what is asked; connects again when the other end has closed.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// A connection to one address.
pub(crate) struct Caller {
    address: SocketAddr,
    bearer: String,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Caller {
    /// A caller that shows `bearer`.
    pub(crate) fn new(address: SocketAddr, bearer: &str) -> Caller {
        Caller {
            address,
            bearer: bearer.to_owned(),
            sender: None,
        }
    }

    /// Asks with GET, and gives the status.
    pub(crate) async fn status(&mut self, path: &str) -> Result<u16> {
        Ok(self.send(Method::GET, path, Bytes::new()).await?.0)
    }

    /// Asks with GET, and gives status and body.
    pub(crate) async fn get(&mut self, path: &str) -> Result<(u16, Bytes)> {
        self.send(Method::GET, path, Bytes::new()).await
    }

    /// Sends JSON that must be answered 2xx with JSON.
    pub(crate) async fn must(&mut self, path: &str, body: &Value) -> Result<Value> {
        let (status, answer) = self.send(Method::POST, path, body.to_string().into()).await?;
        let text = String::from_utf8_lossy(&answer);
        ensure!((200..300).contains(&status), "{path} was answered {status}: {text}");
        serde_json::from_slice(&answer).with_context(|| format!("{path} was answered no JSON"))
    }

    async fn send(&mut self, method: Method, path: &str, body: Bytes) -> Result<(u16, Bytes)> {
        let mut sender = match self.sender.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        sender.ready().await?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.address.to_string())
            .header(header::AUTHORIZATION, format!("Bearer {}", self.bearer))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let answer = sender.send_request(request).await?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await?.to_bytes();
        self.sender = Some(sender);
        Ok((status, body))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // Its caller sees the same error.
            let _ = connection.await;
        });
        Ok(sender)
    }
}
