//! A secret reaches no log, at any level, and no answer but the one that shows it.

use crate::server::{Server, TOKEN};
use serde_json::{Value, json};
use std::io::Write;
use std::sync::{Arc, Mutex};

/// Keeps every log line of this test process.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_is_logged() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    tracing_subscriber::util::SubscriberInitExt::try_init(subscriber).expect("no other test sets a subscriber");

    let server = Server::start().await;
    server.app("a").await;
    let key = server.key("a").await;
    let id = key["id"].as_str().unwrap();
    let first_secret = key["secret"].as_str().unwrap().to_owned();
    server.reason(&key).await;
    let body = json!({"defaultHeaders": {"Authorization": format!("Bearer {TOKEN}")}, "key": first_secret});
    let path = format!("/api-auth/apps/a/keys/{id}/rotate");
    let rotated = server.post(&path, body.clone()).await.expect(200);
    let secret = rotated["secret"].as_str().unwrap().to_owned();

    // In every place where someone might put it by mistake.
    let wrong = format!("wrong-{TOKEN}");
    server
        .bare("GET", "/api-auth/apps")
        .token(&wrong)
        .send()
        .await
        .expect(401);
    server
        .bare("GET", "/api-auth/apps")
        .token(&secret)
        .send()
        .await
        .expect(401);
    server
        .bare("GET", "/api-auth/apps")
        .header("x-api-key", &secret)
        .send()
        .await
        .expect(401);
    server.get(&format!("/api-auth/apps/{secret}")).await.expect(404);
    server
        .get(&format!("/api-auth/apps?include_inactive={secret}"))
        .await
        .expect(400);
    server
        .post(&format!("/api-auth/apps/a/keys/{secret}/revoke"), json!({"reason": 5}))
        .await
        .expect(404);
    server
        .post(
            "/api-auth/apps",
            json!({"app_slug": secret, "name": [secret], "key_prefix": secret}),
        )
        .await
        .expect(400);
    server
        .post("/api-auth/verify", json!({"key": format!("{secret}x")}))
        .await
        .expect(200);
    server
        .call("POST", "/api-auth/apps")
        .bytes("application/json", format!("{{{secret}"))
        .send()
        .await
        .expect(400);
    server
        .call("POST", "/api-auth/apps")
        .bytes("text/plain", secret.clone())
        .send()
        .await
        .expect(415);
    let call = server
        .call("POST", "/api-auth/apps")
        .header("idempotency-key", &format!("{secret} x"));
    call.json(&json!({})).send().await.expect(400);
    server.store.close().await;
    server.post("/api-auth/verify", body).await.expect(503);

    let logged = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(
        logged.contains("answered") && logged.contains("request_id"),
        "the log was listened to"
    );
    assert!(logged.contains("the store failed"), "private causes are logged");
    for kept in [TOKEN, &first_secret, &secret] {
        let place = logged.find(kept).map(|at| &logged[at.saturating_sub(300)..at]);
        assert_eq!(place, None, "a secret was logged");
    }
    assert_ne!(key["secret"], Value::Null);
}
