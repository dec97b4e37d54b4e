//! Every request leaves one line that says how it went, and none that says with which key.

use crate::client::{Client, ask};
use crate::gateway::{eventually, get_with, start_with};
use crate::upstream::{answering, upstream};
use portcullis_config::settings::CredentialPlace;
use std::io::Write;
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn one_line_a_request_and_no_key_in_any() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // One for the whole process: one for this thread would miss what other tests' threads were the first to log.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let upstream = upstream().await;
    let endless =
        answering("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let gateway = start_with(&[upstream.address, crate::upstream::nobody().await], |setup| {
        setup.routes[0].path = "/api".to_owned();
        setup.routes[0]
            .credentials
            .push(CredentialPlace::Query("key".to_owned()));
        setup.routes.push(portcullis_config::settings::Route {
            path: "/events".to_owned(),
            ..crate::gateway::route(&[endless.address])
        });
    })
    .await;
    let unknown = portcullis_verify::Secret::generate("sk_test")
        .unwrap()
        .expose()
        .to_owned();
    let check = async |key: &str, expect: &[&str]| {
        let request = format!("GET /api/{key}?key={key} HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\n\r\n");
        let id = ask(gateway.address, request).await.header("x-request-id").unwrap();
        let found = || -> Vec<String> {
            let text = lines.text();
            text.lines()
                .filter(|line| line.contains(&id) && line.contains("INFO"))
                .map(str::to_owned)
                .collect()
        };
        eventually("a line for the request", || !found().is_empty()).await;
        let found = found();
        assert_eq!(found.len(), 1, "{found:?}");
        for word in expect
            .iter()
            .chain(&["method=GET", "route=\"/api\"", "client=127.0.0.1", "elapsed_us="])
        {
            assert!(found[0].contains(word), "{word} is not in {}", found[0]);
        }
    };
    for _ in 0..2 {
        check(&gateway.key, &["outcome=\"allowed\"", "status=200", "key_id=1"]).await;
        check(&unknown, &["outcome=\"key_unknown\"", "status=403"]).await;
    }
    let revoked = gateway.issue(|_| {});
    let mut client = Client::connect(gateway.address).await;
    client.send(get_with(&revoked, "/events", "")).await;
    client.head().await;
    gateway.revoke(&revoked);
    client.rest().await;
    let is_cut = |line: &str| {
        ["outcome=\"cut\"", "status=200", "key_id=2"]
            .iter()
            .all(|word| line.contains(word))
    };
    eventually("a line for what was cut", || lines.text().lines().any(is_cut)).await;
    let text = lines.text();
    assert!(text.contains("an upstream cannot be reached"), "{text}");
    for key in [&gateway.key, &unknown, &revoked] {
        assert!(!text.contains(key.as_str()), "a key is in the log");
    }
}
