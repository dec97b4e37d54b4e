//! A plain client of the control API for tests: what a backend would send.

use serde_json::{Value, json};
use std::net::SocketAddr;

/// The control API, seen with one token.
#[derive(Clone)]
pub struct Api {
    client: reqwest::Client,
    base: String,
    token: String,
}

/// An issued key.
#[derive(Debug, Clone)]
pub struct Issued {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

impl Api {
    pub fn new(address: SocketAddr, token: &str) -> Api {
        Api {
            client: super::client(),
            base: format!("http://{address}"),
            token: token.to_owned(),
        }
    }

    /// Sends a call and gives status and body (`null` when there is none).
    pub async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self
            .client
            .request(method.parse().expect("a method"), format!("{}{path}", self.base))
            .bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("the control API answers");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("a body");
        (
            status,
            if text.is_empty() {
                Value::Null
            } else {
                serde_json::from_str(&text).expect("JSON")
            },
        )
    }

    /// The same, for a server that may die: `None` when no whole answer came.
    pub async fn try_call(&self, method: &str, path: &str, body: Option<Value>) -> Option<(u16, Value)> {
        let mut request = self
            .client
            .request(method.parse().expect("a method"), format!("{}{path}", self.base))
            .bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        let text = answer.text().await.ok()?;
        Some((status, serde_json::from_str(&text).ok()?))
    }

    /// Sends a call that must succeed.
    pub async fn must(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.call(method, path, body).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// Creates an app with the prefix `sk`.
    pub async fn app(&self, slug: &str) -> Value {
        self.app_with(slug, json!({})).await
    }

    /// Creates an app with further fields.
    pub async fn app_with(&self, slug: &str, more: Value) -> Value {
        let mut body = json!({"app_slug": slug, "name": slug, "key_prefix": "sk"});
        merge(&mut body, more);
        self.must("POST", "/api-auth/apps", Some(body)).await
    }

    /// Issues a key.
    pub async fn key(&self, app: &str) -> Issued {
        self.key_with(app, json!({})).await
    }

    /// Issues a key with further fields.
    pub async fn key_with(&self, app: &str, more: Value) -> Issued {
        let mut body = json!({"name": "test key"});
        merge(&mut body, more);
        let made = self
            .must("POST", &format!("/api-auth/apps/{app}/keys"), Some(body))
            .await;
        issued(&made)
    }

    /// Revokes a key.
    pub async fn revoke(&self, app: &str, id: &str) {
        self.must(
            "POST",
            &format!("/api-auth/apps/{app}/keys/{id}/revoke"),
            Some(json!({"reason": "test"})),
        )
        .await;
    }

    /// Rotates a key.
    pub async fn rotate(&self, app: &str, id: &str, body: Option<Value>) -> Issued {
        issued(
            &self
                .must("POST", &format!("/api-auth/apps/{app}/keys/{id}/rotate"), body)
                .await,
        )
    }

    /// Creates a scheme.
    pub async fn scheme(&self, slug: &str, rules: Value) {
        let body = json!({"slug": slug, "name": slug, "rules": rules});
        self.must("POST", "/api-auth/rate-limit-schemes", Some(body)).await;
    }
}

fn issued(answer: &Value) -> Issued {
    Issued {
        id: answer["id"].as_str().expect("an id").to_owned(),
        secret: answer["secret"].as_str().expect("a secret").to_owned(),
    }
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}
